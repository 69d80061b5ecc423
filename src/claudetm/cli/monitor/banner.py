"""What a monitor says at its start: each setting with its value and where that comes from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from claudetm.bootstrap.monitor_settings import MonitorSettings

_ALL: Final = (
    "monitor.mode",
    "monitor.poll",
    "monitor.timeout",
    "monitor.grace",
    "monitor.jobs",
    "monitor.auto_commit",
    "monitor.auto_push",
    "agent.cli",
    "model",
    "monitor.update_check",
)
_OF: Final = {
    "directory": ("monitor.tasks_dir",),
    "github": ("monitor.label", "monitor.trusted"),
    "sego": (
        "monitor.sego.api_url",
        "monitor.sego.api_key",
        "monitor.sego.project_id",
        "monitor.client_request_timeout",
        "monitor.sego.sse",
        "monitor.sego.stream_progress",
        "monitor.sego.conversation_only",
    ),
}
"""What is told besides, of each source that is worked."""


def settings_shown(settings: MonitorSettings) -> dict[str, dict[str, Any]]:
    """Return each setting that this monitor goes by, as JSON values: `value`, secrets masked, and `source`."""
    names = [*(name for source in settings.sources for name in _OF[source]), *_ALL]
    shown: dict[str, dict[str, Any]] = {
        "source": {"value": list(settings.sources), "source": settings.origins["monitor.source"]},
        "working_dir": {"value": str(settings.places.here), "source": settings.working_dir_origin},
    }
    return shown | {short: said for name in names for short, said in _shown(settings, name)}


def _shown(settings: MonitorSettings, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a setting as it holds: once, or for each source by its name where sources differ in it."""
    from claudetm.config import KEYS

    short = name.removeprefix("monitor.")
    match name:
        case "monitor.mode":
            held = {s: (str(settings.mode_of(s)), settings.origins[name]) for s in settings.sources}
        case "monitor.timeout":
            found = {s: settings.timeout_of(s) for s in settings.sources}
            held = {s: (KEYS[name].shown(seconds), origin) for s, (seconds, origin) in found.items()}
        case _:
            held = {"": (KEYS[name].shown(settings.resolved[name]), settings.origins[name])}
    alike = len(set(map(str, held.values()))) == 1
    for source, (value, origin) in held.items():
        yield short if alike else f"{short}.{source}", {"value": value, "source": origin}


def lines(settings: MonitorSettings, version: str) -> Iterator[str]:
    """Yield the banner."""
    yield f"claudetm {version} monitor"
    shown = settings_shown(settings)
    width = max(map(len, shown))
    for name, setting in shown.items():
        yield f"  {name:<{width}}  {_words(name, setting['value'])}  [{setting['source']}]"


_UNITS: Final = {"poll": "s", "grace": "s", "timeout": " min", "client_request_timeout": " min"}


def _words(name: str, value: Any) -> str:
    from claudetm.redact import printable, redact

    if value is None or value in ("", []):
        return "-"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list):
        return redact(printable(", ".join(map(str, value))))
    return redact(printable(f"{value}{_UNITS.get(name.partition('.')[0], '')}"))
