"""What the agent and other people's commands find in their environment: an allow-list, never what is left of ours.

No forge, server or source credential is ever on the list. The model's own credential reaches the agent alone, and
stays within the agent's reach: the CLI hands an API key on to the commands it runs.
"""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

MARKER: Final = "CLAUDETM_RUN"
"""Names the run in every process that a session or a command starts, so that a sweep finds what was left."""

SESSION_MARKER: Final = "CLAUDETM_SESSION"
"""Names the one session or command, so that the sweep after it spares those that run beside it."""

_SHARED: Final = re.compile(
    r"PATH|LANG|LANGUAGE|LC_[A-Z]+|TZ|TERM|COLORTERM|USER|LOGNAME|SHELL"
    r"|SSL_CERT_FILE|SSL_CERT_DIR|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|NODE_EXTRA_CA_CERTS|GIT_SSL_CAINFO"
    r"|JAVA_HOME|GOROOT|SOURCE_DATE_EPOCH"
)
TOOL_FOLDERS: Final = {
    "RUSTUP_HOME": ".rustup",
    "PYENV_ROOT": ".pyenv",
    "NVM_DIR": ".nvm",
    "UV_PYTHON_INSTALL_DIR": ".local/share/uv/python",
}
"""Where version managers keep programs, below the home folder unless the variable says otherwise: no keys lie there,
and behind a private home they would not be found."""
_PROXIES: Final = re.compile(r"(?i)(http|https|all|no)_proxy")
_MODEL: Final = re.compile(r"ANTHROPIC_[A-Z0-9_]+|CLAUDE_CODE_OAUTH_TOKEN|CLAUDE_CODE_MAX_RETRIES|API_TIMEOUT_MS")
_MODEL_CREDENTIALS: Final = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN")

_NO_CREDENTIALS: Final = {
    "GH_CONFIG_DIR": "/nonexistent",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "/bin/false",
    "SSH_ASKPASS": "/bin/false",
    "SSH_AUTH_SOCK": "",
}
_CLI: Final = {
    "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",
    "DISABLE_AUTOUPDATER": "1",
    # short: longer waits are the journal's, where they survive a restart
    "CLAUDE_CODE_MAX_RETRIES": "4",
}


def command_environment(
    parent: Mapping[str, str], *, run: str, session: str, home: Path, tmp: Path, also: Sequence[str] = ()
) -> dict[str, str]:
    """Return the environment of a command: `also` names further variables of `parent` that the user lets through."""
    return {
        **_shared(parent, run, session, home, tmp),
        **{k: v for k, v in parent.items() if _PROXIES.fullmatch(k) and "@" not in v},
        **{name: parent[name] for name in also if name in parent},
        "CI": "1",
    }


def agent_environment(
    parent: Mapping[str, str],
    *,
    run: str,
    session: str,
    home: Path,
    tmp: Path,
    identity: tuple[str, str] = ("", ""),
    also: Sequence[str] = (),
) -> dict[str, str]:
    """Return the environment of the CLI. `identity` is the name and address that the agent's commits carry.

    Where no credential of the model stands in `parent`, the login in the user's own `.claude` folder is used.
    """
    name, email = identity
    authors = {f"GIT_{who}_{k}": v for who in ("AUTHOR", "COMMITTER") for k, v in (("NAME", name), ("EMAIL", email))}
    return {
        **_shared(parent, run, session, home, tmp),
        **{k: v for k, v in parent.items() if _PROXIES.fullmatch(k)},
        **{name: parent[name] for name in also if name in parent},
        **_CLI,
        **{k: v for k, v in parent.items() if _MODEL.fullmatch(k)},
        **{k: v for k, v in authors.items() if v},
        "CLAUDE_CONFIG_DIR": str(claude_folder(parent, home)),
        "CLAUDE_CODE_TMPDIR": str(tmp),
        # no push has a protocol to travel by, wherever it is spelled
        "GIT_ALLOW_PROTOCOL": "none",
        "GIT_EDITOR": "true",
        "GIT_PAGER": "cat",
    }


def rehearsal_environment(url: str) -> dict[str, str]:
    """Return what sends the CLI to a scripted model at `url`, and keeps a real credential or login out of it.

    As a subscriber it tells usage limits by their event; with an API key it would hide when they end.
    """
    return {
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_KEY": "",
        "ANTHROPIC_AUTH_TOKEN": "",
        "CLAUDE_CODE_OAUTH_TOKEN": "rehearsal",
    }


def claude_folder(parent: Mapping[str, str], home: Path) -> Path:
    """Return the CLI's own folder: private with a credential in the environment, else where the user logged in."""
    if any(parent.get(name) for name in _MODEL_CREDENTIALS):
        return home / ".claude"
    if configured := parent.get("CLAUDE_CONFIG_DIR"):
        return Path(configured)
    real = Path(parent.get("HOME") or "/nonexistent") / ".claude"
    return real if (real / ".credentials.json").exists() else home / ".claude"


def _shared(parent: Mapping[str, str], run: str, session: str, home: Path, tmp: Path) -> dict[str, str]:
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        **_NO_CREDENTIALS,
        **_tool_folders(parent),
        **{k: v for k, v in parent.items() if _SHARED.fullmatch(k)},
        "HOME": str(home),
        "TMPDIR": str(tmp),
        MARKER: run,
        SESSION_MARKER: session,
        "PYTHONDONTWRITEBYTECODE": "1",  # no leftovers in a worktree, and no failure in a read-only one
    }


def account_home() -> Path:
    """Return the account's home, whatever HOME says; a container may run as a user without an account."""
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        return Path("/nonexistent")


def _tool_folders(parent: Mapping[str, str]) -> dict[str, str]:
    homes = (Path(parent.get("HOME") or "/nonexistent"), account_home())
    named = {
        name: [Path(parent[name])] if parent.get(name) else [h / f for h in homes] for name, f in TOOL_FOLDERS.items()
    }
    found = {name: next((f for f in folders if f.is_dir()), None) for name, folders in named.items()}
    return {name: str(folder) for name, folder in found.items() if folder}
