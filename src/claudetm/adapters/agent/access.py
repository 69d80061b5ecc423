"""Which credential of the model a session goes by, of those that there are, and what the CLI needs for it.

The values reach the agent's environment alone: no sentence, record or command line holds one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from claudetm.config import Resolved
from claudetm.redact import learn, secrets_of

OPENROUTER: Final = "https://openrouter.ai/api"
_ANTHROPIC: Final = "https://api.anthropic.com"


@dataclass(frozen=True, slots=True)
class Access:
    """One way to the model. `name` says where the credential stands, `variables` what the CLI finds for it."""

    name: str
    variables: Mapping[str, str] = field(repr=False)


def ways(resolved: Resolved, environment: Mapping[str, str]) -> tuple[Access, ...]:
    """Return every way to the model that there is, the one that sessions go first.

    The environment goes before the files, and these before the login: in the CLI's own order, OpenRouter last.
    """
    found = list(_ways(resolved, environment))
    for access in found:
        for value in secrets_of(access.variables):
            learn(value)
    return tuple(sorted(found, key=lambda access: access.name.startswith("api.")))


def _ways(resolved: Resolved, environment: Mapping[str, str]) -> Iterator[Access]:
    address = _address(resolved, environment)
    gateway = " with ANTHROPIC_BASE_URL" if environment.get("ANTHROPIC_BASE_URL") else ""
    if token := environment.get("ANTHROPIC_AUTH_TOKEN"):
        yield Access(f"ANTHROPIC_AUTH_TOKEN{gateway}", {"ANTHROPIC_AUTH_TOKEN": token, **address})
    if key := resolved["api.anthropic_api_key"]:
        yield Access(_said(resolved, "api.anthropic_api_key"), {"ANTHROPIC_API_KEY": key, **address})
    if token := environment.get("CLAUDE_CODE_OAUTH_TOKEN"):
        yield Access("CLAUDE_CODE_OAUTH_TOKEN", {"CLAUDE_CODE_OAUTH_TOKEN": token, **address})
    if key := resolved["api.openrouter_api_key"]:
        yield Access(_said(resolved, "api.openrouter_api_key"), _openrouter(resolved, key))


def _openrouter(resolved: Resolved, key: str) -> dict[str, str]:
    """Return what its documentation asks for: the key as a token, and no other credential beside it."""
    address = resolved["api.openrouter_base_url"].removesuffix("/v1") or OPENROUTER
    return {
        "ANTHROPIC_AUTH_TOKEN": key,
        "ANTHROPIC_API_KEY": "",
        "CLAUDE_CODE_OAUTH_TOKEN": "",
        "ANTHROPIC_BASE_URL": address,
    }


def _address(resolved: Resolved, environment: Mapping[str, str]) -> dict[str, str]:
    """Return where the model is asked for, unless that is the CLI's own default."""
    address = resolved["api.anthropic_base_url"]
    if address in {"", _ANTHROPIC} and not environment.get("ANTHROPIC_BASE_URL"):
        return {}
    return {"ANTHROPIC_BASE_URL": address}


def _said(resolved: Resolved, name: str) -> str:
    setting = resolved.settings[name]
    return setting.variable or f"{name} in {setting.source}"


def logged_in(resolved: Resolved, environment: Mapping[str, str]) -> Access | None:
    """Return the user's own login, where there is one to be seen; on macOS it lies in the keychain."""
    file = login(environment)
    if file.exists():
        return Access(f"the login in {file}", _address(resolved, environment))
    if sys.platform == "darwin":
        return Access("a login in the keychain, if there is one", _address(resolved, environment))
    return None


def login(environment: Mapping[str, str]) -> Path:
    """Return where the CLI keeps a login, whether or not there is one."""
    folder = environment.get("CLAUDE_CONFIG_DIR")
    return (
        Path(folder) if folder else Path(environment.get("HOME") or Path.home()) / ".claude"
    ) / ".credentials.json"


def choose(resolved: Resolved, environment: Mapping[str, str]) -> Access | None:
    """Return the way that sessions go, or None where there is none."""
    return next(iter(ways(resolved, environment)), None) or logged_in(resolved, environment)


def conflict(resolved: Resolved, environment: Mapping[str, str]) -> str:
    """Return which one is used although there are others, as a sentence without its full stop; "" for one alone."""
    found = [access.name for access in ways(resolved, environment)]
    if (own := logged_in(resolved, environment)) is not None and login(environment).exists():
        found.append(own.name)
    return f"{found[0]} is used, although there is {' and '.join(found[1:])}" if len(found) > 1 else ""
