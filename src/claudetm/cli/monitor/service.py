"""`claudetm monitor service`: the monitor under systemd or launchd. Only what says that it is ours is changed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from claudetm.cli.monitor.setup import ask_yes, at_a_terminal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from claudetm.adapters.service.described import Manager, Service

app = typer.Typer(help="Run the monitor as a service of systemd or launchd.")

_SYSTEM: Final[Any] = typer.Option(False, "--system", help="Of the whole machine, not of your account; as root.")
_NAME: Final[Any] = typer.Option("", "--name", help="Tells several services apart: claudetm-monitor-NAME.")
_YES: Final[Any] = typer.Option(False, "-y", "--yes", help="Ask nothing: yes to all.")

OFFERED: Final = ("ANTHROPIC_", "SEGO_", "CLAUDETM_")
"""How the names begin of the variables that a service is offered."""
OFFERED_NAMES: Final = (
    "CLAUDE_CODE_OAUTH_TOKEN",
    "OPENROUTER_API_KEY",
    "GH_TOKEN",
    "GITHUB_TOKEN",
    "GH_ENTERPRISE_TOKEN",
    "GITHUB_ENTERPRISE_TOKEN",
    *("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy"),  # may name a password
)
_ALONG: Final = re.compile(
    r"PATH|LANG|LANGUAGE|LC_[A-Z]+|TZ|NO_PROXY|no_proxy|GH_HOST"
    r"|SSL_CERT_FILE|SSL_CERT_DIR|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|NODE_EXTRA_CA_CERTS|GIT_SSL_CAINFO"
)
"""Names what goes along unasked: no secrets, and without it tools, texts and servers are not what they are here."""
_YOURS: Final = re.compile(
    r"XDG_(CONFIG|STATE|CACHE|DATA)_HOME|(CLAUDE|GH)_CONFIG_DIR|NVM_DIR|PYENV_ROOT|RUSTUP_HOME"
)
"""The same, where the service is of whoever installs it: their folders, so that both see one login and one state."""
_NEVER: Final = ("SEGO_WORKING_DIR", "CLAUDETM_TASK")  # the service has a working directory of its own


@app.command("install")
def install(
    arguments: list[str] = typer.Argument(None, help="Options of `claudetm monitor`, after `--`.", metavar="[-- …]"),
    working_dir: Path = typer.Option(None, "--working-dir", help="Where the monitor works; by default here."),
    env: list[str] = typer.Option(None, "--env", help="A variable that the service gets as it is now; repeat it."),
    user: str = typer.Option(
        "", "--user", help="With --system: whose the monitor is; by default the folder's owner."
    ),
    linger: bool = typer.Option(None, "--linger/--no-linger", help="Go on after your last logout (systemd)."),
    start: bool = typer.Option(True, "--start/--no-start", help="Start it now, too."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Print what would be written, and write nothing."),
    system: bool = _SYSTEM,
    name: str = _NAME,
    yes: bool = _YES,
    as_json: bool = typer.Option(False, "--json", help="Print what was done as an object."),
) -> None:
    """Install the monitor as a service, and start it: at your login, or with --system when the machine starts."""
    from claudetm.bootstrap.service import manager_of
    from claudetm.cli.monitor.service_install import Asked, Wish, installed

    wish = Wish(working_dir, tuple(arguments or ()), user, start, dry_run, linger)
    asked = Asked(tuple(env or ()), yes, as_json)
    done = installed(manager_of(name, system=system), wish, asked)
    if as_json:
        print(json.dumps(done, indent=2, ensure_ascii=False))


@app.command("uninstall")
def uninstall(system: bool = _SYSTEM, name: str = _NAME, yes: bool = _YES) -> None:
    """Stop the service, and remove what install has made."""
    from claudetm.bootstrap.service import variables_file

    manager = _installed(name, system=system)
    manager.forgotten()
    manager.file.unlink(missing_ok=True)
    manager.removed()
    print(f"removed {manager.file}")
    variables = variables_file(manager.file.stem, system=system)
    if not variables.exists():
        return
    if yes or (at_a_terminal() and ask_yes(f"Remove its variables, too ({variables})?", default=True)):
        variables.unlink()
        print(f"removed {variables}")
    else:
        print(f"kept {variables}, which holds keys; --yes removes it, too")


@app.command("start")
def start(system: bool = _SYSTEM, name: str = _NAME) -> None:
    """Start the service."""
    manager = _installed(name, system=system)
    manager.start()
    print(f"{manager.file.stem} is started")


@app.command("stop")
def stop(system: bool = _SYSTEM, name: str = _NAME) -> None:
    """Stop the service; tasks under way are stopped with their work kept, and carried on after the next start."""
    manager = _installed(name, system=system)
    manager.stop()
    print(f"{manager.file.stem} is stopped")


@app.command("restart")
def restart(system: bool = _SYSTEM, name: str = _NAME) -> None:
    """Stop the service and start it again, by the settings as they are now."""
    manager = _installed(name, system=system)
    manager.restart()
    print(f"{manager.file.stem} is restarted")


@app.command("status")
def status(
    system: bool = _SYSTEM,
    name: str = _NAME,
    as_json: bool = typer.Option(False, "--json", help="Print as JSON."),
) -> None:
    """Say whether the service runs, what it does, and what is amiss."""
    from claudetm.bootstrap.service import manager_of

    manager = manager_of(name, system=system)
    manager.refuse_absent()
    data = standing(manager, system=system)
    if as_json:
        print(json.dumps(data, indent=2, ensure_ascii=False))
        return
    for key, value in data.items():
        if value not in ("", [], None):
            shown = {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value
            print(f"{key.replace('_', ' ') + ':':15}{', '.join(shown) if isinstance(shown, list) else shown}")


@app.command("logs")
def logs(
    lines: int = typer.Option(50, "-n", "--lines", min=1, help="How many of the last lines."),
    follow: bool = typer.Option(False, "-f", "--follow", help="Go on with what comes; Ctrl+C ends it."),
    system: bool = _SYSTEM,
    name: str = _NAME,
) -> None:
    """Print what the service has said."""
    from claudetm.errors import ServiceError

    manager = _installed(name, system=system)
    command = manager.logs(lines, follow=follow)
    if (folder := manager.works_in()) is not None:  # a journal that is kept nowhere has nothing for its users
        print(
            f"the monitor's own log, which is longer: {folder / 'logs' / 'monitor.log'}", file=sys.stderr, flush=True
        )
    try:
        code = subprocess.run(command, check=False).returncode
    except OSError as error:
        raise ServiceError(f"{command[0]} cannot be run here ({error.strerror}); look at logs/monitor.log") from error
    raise typer.Exit(1 if code else 0)


def standing(manager: Manager, *, system: bool) -> dict[str, Any]:
    """Return how a service stands, as JSON values; `variables` are names alone."""
    from claudetm.adapters.service.environment_file import read
    from claudetm.bootstrap.service import variables_file

    found = manager.standing()
    return {
        "service": manager.file.stem,
        "service_type": manager.kind,
        "installed": found.installed,
        "state": found.state,
        "detail": found.detail,
        "enabled": found.enabled,
        "pid": found.pid or None,
        "restarts": found.restarts,
        "says": found.status,
        "file": str(manager.file) if found.installed else "",
        "variables": list(read(variables_file(manager.file.stem, system=system))),
    }


def _installed(name: str, *, system: bool) -> Manager:
    """Return the manager of a service of ours that is installed. Raises ClaudetmError."""
    from claudetm.bootstrap.service import manager_of
    from claudetm.errors import UsageError

    manager = manager_of(name, system=system)
    manager.refuse_absent()
    refuse_foreign(manager)
    if not manager.file.exists():
        raise UsageError(f"{manager.file.stem} is not installed; `claudetm monitor service install` does that")
    return manager


def refuse_foreign(manager: Manager) -> None:
    """Raise UsageError where a service of that name is somebody else's."""
    from claudetm.adapters.service.described import OURS
    from claudetm.errors import UsageError

    known = manager.described()
    for file in dict.fromkeys([manager.file, *([known] if known is not None else [])]):
        if not os.path.lexists(file):
            continue
        ours = file == manager.file and file.is_file() and OURS in file.read_text(errors="replace")
        if not ours:
            raise UsageError(f"{file} is not of claudetm's making and is left alone; take another name with --name")


def offered(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that a service is offered, those that left the environment at the start included."""
    from claudetm.credentials import SECRET_NAMES, credential

    held = {name: value for name in SECRET_NAMES if (value := credential(name))}
    return {
        name: value
        for name, value in sorted({**environment, **held}.items())
        if value and name not in _NEVER and (name.startswith(OFFERED) or name in OFFERED_NAMES)
    }


def going_along(environment: Mapping[str, str], *, yours: bool) -> dict[str, str]:
    """Return the variables that a service gets unasked; `yours`: it runs as whoever installs it."""
    found = {
        name: value
        for name, value in sorted(environment.items())
        if value and (_ALONG.fullmatch(name) or (yours and _YOURS.fullmatch(name)))
    }
    return {"PATH": os.defpath, **found}


def program(arguments: tuple[str, ...]) -> tuple[str, ...]:
    """Return the command line of the service. -P: nothing that lies where it works is imported."""
    return (sys.executable, "-P", "-m", "claudetm", "monitor", *arguments)


def described_service(manager: Manager, folder: Path, arguments: tuple[str, ...], grace: float, user: str) -> Service:
    """Return what is to run."""
    from claudetm.adapters.service.described import Service
    from claudetm.bootstrap.service import variables_file

    variables = variables_file(manager.file.stem, system=bool(user))
    return Service(manager.file.stem, program(arguments), folder, variables, grace, user)
