"""Which token goes to a GitHub host, and what ssh calls that host. A token goes only to the host it was given for."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from claudetm.adapters.forge.github.place import is_known
from claudetm.credentials import credential
from claudetm.redact import learn

GITHUB_NAMES: Final = ("GH_TOKEN", "GITHUB_TOKEN")
"""Where a token for github.com and *.ghe.com is looked for, in gh's order."""

ENTERPRISE_NAMES: Final = ("GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN")
"""Where one for any other host is."""

WORKFLOW: Final = "github-actions[bot]"
"""The account that a workflow's own token acts as."""

_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Token:
    """A credential, and the words for where it was found."""

    value: str = field(repr=False)
    source: str


def find(host: str, environment: Mapping[str, str]) -> Token | None:
    """Return the token for a host of repositories (github.com, ghe.example.com): of a variable, else gh's login."""
    for name in _names(host, environment):
        if value := (credential(name) or environment.get(name, "")).strip():
            learn(value)
            return Token(value, name)
    if value := _said(("gh", "auth", "token", "--hostname", host), environment).strip():
        learn(value)
        return Token(value, f"gh auth token --hostname {host}")
    return None


def is_actions_token(token: Token, environment: Mapping[str, str], login: str = "") -> bool:
    """Tell whether it is the one a workflow of GitHub Actions was given: its pull requests start no workflow.

    An app's token looks the same and does start them; `login`, where it is known, tells the two apart.
    """
    inside = environment.get("GITHUB_ACTIONS") == "true" and token.value.startswith("ghs_")
    return inside and login in {"", WORKFLOW}


def ssh_host(alias: str, environment: Mapping[str, str]) -> str:
    """Return the host that ssh connects to for a name of ~/.ssh/config; the name itself where there is no ssh."""
    for line in _said(("ssh", "-G", "--", alias), environment).splitlines():
        key, _, value = line.partition(" ")
        if key == "hostname" and value.strip():
            return value.strip().lower()
    return alias


def _names(host: str, environment: Mapping[str, str]) -> Sequence[str]:
    """Return the variables in their order; those for github.com serve another server's own workflows, too."""
    if is_known(host):
        return GITHUB_NAMES
    servers = [environment.get(name, "") for name in ("GITHUB_SERVER_URL", "GITHUB_API_URL")]
    return (*ENTERPRISE_NAMES, *(GITHUB_NAMES if host in {urlsplit(s).hostname for s in servers if s} else ()))


def _said(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """Return what a program of the user's says, "" where it is not there, fails or does not end."""
    program = shutil.which(command[0], path=environment.get("PATH", ""))
    if not program or not Path(program).is_absolute():  # one that lies in the repository is not the user's
        return ""
    try:
        done = subprocess.run(
            [program, *command[1:]],
            env=dict(environment),
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode(errors="replace") if done.returncode == 0 else ""
