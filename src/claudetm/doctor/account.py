"""The check of the account that sessions are billed to. Credentials are told by where they stand, never by value."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from claudetm.doctor.finding import Finding, fail, ok, warn
from claudetm.doctor.place import Place
from claudetm.errors import ClaudetmError

_CLOUDS: Final = ("CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX")


def credentials(place: Place) -> Iterator[Finding]:
    """Say by name which credential a session goes by, and that of two one is used."""
    from claudetm.adapters.agent import access
    from claudetm.config import PREFIX, resolve

    resolved = resolve({}, {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)})
    with suppress(ClaudetmError):  # that is another check's to say
        resolved = place.settings
    login = access.login(os.environ)
    keys = access.ways(resolved, os.environ)
    chosen = access.choose(resolved, os.environ)
    if sentence := access.conflict(resolved, os.environ):
        yield warn("credentials", sentence, f"remove {keys[0].name}, or the others")
    elif not keys and login.exists() and not os.access(login, os.R_OK):
        yield fail("credentials", f"{login} cannot be read", f"chmod u+r {login}, or log in again with `claude`")
    elif chosen is not None and not keys and not login.exists() and sys.platform == "darwin":
        yield ok("credentials", f"{chosen.name}; `claude` shows it")
    elif chosen is not None:
        yield ok("credentials", chosen.name)
    elif clouds := [name for name in _CLOUDS if os.environ.get(name)]:
        yield warn(
            "credentials", f"{clouds[0]} alone, which sessions are not given", "log in with `claude`, or set a key"
        )
    else:
        yield fail(
            "credentials",
            "none",
            "log in with `claude`, or set ANTHROPIC_API_KEY, CLAUDE_CODE_OAUTH_TOKEN or OPENROUTER_API_KEY",
        )
