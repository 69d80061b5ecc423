"""Installing the service: everything is asked and refused first, then written, then begun.

Its variables are named and never shown. A file of variables that is there already is added to: a key that this shell
does not have is not lost by it.
"""

from __future__ import annotations

import os
import pwd
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from claudetm.adapters.service import environment_file, systemd
from claudetm.adapters.store.directory import disk, write_atomically
from claudetm.cli.monitor.service import described_service, going_along, offered, refuse_foreign, standing
from claudetm.cli.monitor.setup import ask_yes, at_a_terminal
from claudetm.errors import UsageError

if TYPE_CHECKING:
    from claudetm.adapters.service.described import Manager, Service


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be installed, as the command line has it."""

    working_dir: Path | None
    arguments: tuple[str, ...]
    user: str
    start: bool
    dry_run: bool
    linger: bool | None


@dataclass(frozen=True, slots=True)
class Asked:
    """What may be asked and told: variables by name, yes to all, nothing but JSON on standard output."""

    names: tuple[str, ...]
    yes: bool
    as_json: bool

    def say(self, line: str) -> None:
        """Tell a person."""
        print(line, file=sys.stderr if self.as_json else sys.stdout, flush=True)


def installed(manager: Manager, wish: Wish, asked: Asked) -> dict[str, Any]:
    """Install the service; return what was done, as JSON values. Raises ClaudetmError, with nothing half-written."""
    from claudetm.bootstrap.monitor_settings import monitor_settings

    settings = monitor_settings(where=wish.working_dir, look=True)
    folder = settings.places.here
    _refuse_arguments(wish.arguments)
    system = manager.file.is_relative_to("/etc") or manager.file.is_relative_to("/Library")
    user = _owner(folder, wish.user, system=system)
    service = described_service(manager, folder, wish.arguments, settings.grace, user)
    text = manager.text(service)
    if not wish.dry_run:
        _refuse(manager, folder, system=system)
    variables = _variables(service, asked, dry_run=wish.dry_run)
    if wish.dry_run:
        return _shown(manager, service, text, variables, asked)
    whose = user or pwd.getpwuid(os.getuid()).pw_name
    lingering = not system and manager.kind == "systemd" and _wants_linger(wish.linger, whose, asked)
    created = _written(manager, service, text, variables, asked)
    manager.taken_up()
    if lingering:
        systemd.linger(whose)
        created.append("linger")
        asked.say(f"services of {whose} go on after the last logout")
    if wish.start:
        manager.restart()
        asked.say(f"{service.name} is started; `claudetm monitor service status` shows it")
    return _done(manager, service, created, system=system)


def _done(manager: Manager, service: Service, created: list[str], *, system: bool) -> dict[str, Any]:
    data = standing(manager, system=system)
    return {
        "setup_complete": True,
        "components_created": created,
        "service_type": manager.kind,
        "status": data["state"] or "installed",
        "service": service.name,
        "file": str(manager.file),
        "working_dir": str(service.folder),
        "variables": data["variables"],
        "next": "claudetm monitor service status",
    }


def _shown(manager: Manager, service: Service, text: str, variables: dict[str, str], asked: Asked) -> dict[str, Any]:
    """Say what would be written; of variables the names."""
    asked.say(f"{manager.file} would say:\n\n{text}")
    asked.say(f"{service.variables} would set: {', '.join(variables)}")
    return {
        "setup_complete": False,
        "components_created": [],
        "service_type": manager.kind,
        "status": "dry run",
        "service": service.name,
        "file": str(manager.file),
        "working_dir": str(service.folder),
        "variables": list(variables),
        "text": text,
    }


def _refuse_arguments(arguments: tuple[str, ...]) -> None:
    """Raise UsageError for a key, and typer's own error for what `claudetm monitor` does not take."""
    if any(word.partition("=")[0] == "--api-key" for word in arguments):
        raise UsageError("A key on the service's command line could be read by all: give it as --env SEGO_API_KEY")
    if arguments:
        from typer.main import get_command

        from claudetm.cli.monitor import app

        with get_command(app).make_context("claudetm monitor", list(arguments)):
            return


def _owner(folder: Path, user: str, *, system: bool) -> str:
    """Return whose the service is, where it is the machine's; else ""."""
    if not system:
        if user:
            raise UsageError("--user is for --system: a service of your account is yours")
        return ""
    try:
        return (pwd.getpwnam(user) if user else pwd.getpwuid(folder.stat().st_uid)).pw_name
    except KeyError:
        raise UsageError(f"There is no user {user or folder.stat().st_uid} here; name one with --user") from None


def _refuse(manager: Manager, folder: Path, *, system: bool) -> None:
    """Raise where nothing can be installed."""
    if system and os.geteuid() != 0:
        raise UsageError(f"{manager.file} can be written by root alone: call it with sudo, or leave --system out")
    manager.refuse_absent()
    refuse_foreign(manager)
    there = manager.works_in()
    if there not in {None, folder}:
        raise UsageError(
            f"{manager.file.stem} works in {there} already: give this one a name with --name, or uninstall that"
        )


def _variables(service: Service, asked: Asked, *, dry_run: bool) -> dict[str, str]:
    """Return what the service gets: what goes along, what it has already, what is named, and what is agreed to."""
    there = offered(os.environ)
    everything = {**os.environ, **there}
    if absent := [name for name in asked.names if name not in everything]:
        raise UsageError(f"{absent[0]} is not set here, so no service can get it; set it, or leave --env out")
    kept = environment_file.read(service.variables)
    new = {name: everything[name] for name in asked.names}
    open_ = {name: value for name, value in there.items() if name not in new and kept.get(name) != value}
    if open_ and not (asked.yes or dry_run or at_a_terminal()):
        raise UsageError(
            f"Nobody can be asked here whether the service gets {', '.join(open_)}: --yes gives it all of them"
        )
    asked_of = "Give the service {}, as it is set here?"
    new |= {n: v for n, v in open_.items() if asked.yes or dry_run or ask_yes(asked_of.format(n), default=True)}
    yours = service.user in {"", pwd.getpwuid(os.getuid()).pw_name}
    found = {**kept, **going_along(os.environ, yours=yours), **new}
    environment_file.text(found)  # refused before anything is written
    return found


def _wants_linger(wanted: bool | None, user: str, asked: Asked) -> bool:
    """Return whether lingering is to be switched on: without it a user's service ends at the last logout."""
    if wanted is False or systemd.lingers(user):
        return False
    if wanted or asked.yes:
        return True
    why = "Without lingering, the service ends when you log out and starts when you log in. Let it go on (linger)?"
    return at_a_terminal() and ask_yes(why, default=True)


def _written(manager: Manager, service: Service, text: str, variables: dict[str, str], asked: Asked) -> list[str]:
    """Write the variables, then what describes the service; return which are new."""
    created = []
    for file, content, mode, folder_mode in (
        (service.variables, environment_file.text(variables), 0o600, 0o700),
        (manager.file, text, 0o644, 0o755),
    ):
        if not file.exists():
            created.append(str(file))
        with disk(file):
            file.parent.mkdir(mode=folder_mode, parents=True, exist_ok=True)
        write_atomically(file, content)
        with disk(file):
            file.chmod(mode)
    if manager.kind == "launchd":
        with disk(service.folder):
            (service.folder / "logs").mkdir(mode=0o700, exist_ok=True)
    asked.say(f"{manager.file}: written")
    asked.say(f"{service.variables}: {', '.join(variables)}; to be read by {service.user or 'you'} alone")
    return created
