"""The check of the account that sessions are billed to. The values of credentials are never looked at."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from claudetm.doctor.finding import Finding, fail, ok, warn
from claudetm.doctor.place import Place

_VARIABLES: Final = ("ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN")
"""In the order in which the CLI takes them."""
_CLOUDS: Final = ("CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX")


def credentials(_place: Place) -> Iterator[Finding]:
    """Say by name which credential a session goes by; values are never looked at."""
    login = Path(os.environ.get("CLAUDE_CONFIG_DIR") or Path.home() / ".claude") / ".credentials.json"
    found = [name for name in _VARIABLES if os.environ.get(name)]
    described = [_described(name) for name in found] + ([f"the login in {login}"] if login.exists() else [])
    if len(described) > 1:
        names = " and ".join(described[1:])
        yield warn(
            "credentials", f"{described[0]} is used, although there is {names}", f"unset {found[0]}, or the others"
        )
    elif not found and login.exists() and not os.access(login, os.R_OK):
        yield fail("credentials", f"{login} cannot be read", f"chmod u+r {login}, or log in again with `claude`")
    elif described:
        yield ok("credentials", described[0])
    elif sys.platform == "darwin":
        yield ok("credentials", "a login in the keychain, if there is one; `claude` shows it")
    elif clouds := [name for name in _CLOUDS if os.environ.get(name)]:
        yield warn(
            "credentials", f"{clouds[0]} alone, which sessions are not given", "log in with `claude`, or set a key"
        )
    else:
        yield fail("credentials", "none", "log in with `claude`, or set ANTHROPIC_API_KEY or CLAUDE_CODE_OAUTH_TOKEN")


def _described(name: str) -> str:
    with_url = name == "ANTHROPIC_AUTH_TOKEN" and os.environ.get("ANTHROPIC_BASE_URL")
    return f"{name} with ANTHROPIC_BASE_URL" if with_url else name
