"""The table of the monitor's options in docs/monitor.md, made from the command itself and from the settings.

What an option stands for is said here: its setting, from which default and variables follow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from claudetm.bootstrap.monitor_settings import CLI_KEY, CLI_MODE, VARIABLES
from claudetm.config import KEYS, resolve
from commands_reference import commands

SETTINGS: Final[Mapping[str, str]] = {
    "source": "monitor.source",
    "mode": "monitor.mode",
    "model": "model",
    "jobs": "monitor.jobs",
    "poll": "monitor.poll",
    "timeout": "monitor.timeout",
    "use_cli_mode": CLI_KEY,
    "no_update_check": "monitor.update_check",
    "auto_commit": "monitor.auto_commit",
    "auto_push": "monitor.auto_push",
    "api_key": "monitor.sego.api_key",
    "api_url": "monitor.sego.api_url",
    "project_id": "monitor.sego.project_id",
    "client_request_timeout": "monitor.client_request_timeout",
    "no_sse": "monitor.sego.sse",
    "no_stream_progress": "monitor.sego.stream_progress",
    "conversation_only": "monitor.sego.conversation_only",
}
"""The settings that options of `claudetm monitor` stand in for."""

_BARE: Final = {**{key: name for name, key in VARIABLES.items()}, CLI_KEY: CLI_MODE}
_OTHERWISE: Final = {"working_dir": "`SEGO_WORKING_DIR`"}
_DEFAULTS: Final = {
    "source": "Sego PM where anything of it is set, else the directory",
    "timeout": "10 minutes for Sego PM, else `limits.session_minutes`",
    "model": "by role, and by a task's complexity",
    "working_dir": "here",
    "project_id": "every project that the key reaches",
    "poll": "30 s",
    "client_request_timeout": "2 minutes",
    "log_level": "`normal`",
    "log_format": "`text`",
    "use_cli_mode": "off",
}


def options() -> str:
    """Return a row an option: what it is called, its default, variables and setting, what it does."""
    rows = "\n".join(_row(p) for p in dict(commands())["monitor"].params)
    return f"| option | default | variable | setting | |\n|---|---|---|---|---|\n{rows}"


def _row(option: Any) -> str:
    names = ", ".join(f"`{name}`" for name in [*reversed(option.opts), *option.secondary_opts])
    key = SETTINGS.get(option.name, "")
    variables = ", ".join(_variables(key)) if key else _OTHERWISE.get(option.name, "")
    return f"| {names} | {_default(option, key)} | {variables} | {f'`{key}`' if key else ''} | {option.help} |"


def _variables(key: str) -> Iterator[str]:
    if key in _BARE:
        yield f"`{_BARE[key]}`"
    yield f"`{KEYS[key].variable}`"


def _default(option: Any, key: str) -> str:
    if option.name in _DEFAULTS:
        return _DEFAULTS[option.name]
    if not key or option.name.startswith("no_"):
        return "off" if option.is_flag else ""
    value = KEYS[key].shown(resolve()[key])
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"`{value}`" if value not in {"", None} else "none"
