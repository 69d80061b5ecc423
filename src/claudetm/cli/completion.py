"""What `claudetm <TAB>` offers as an option's or argument's value. Nothing heavy is loaded, nothing ever raises."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from typer.models import ParameterInfo

if TYPE_CHECKING:
    import typer

    from claudetm.workflow.run import Run

Offer = str | tuple[str, str]
"""A value, or a value with a word on it."""


def teach(app: typer.Typer) -> None:
    """Let every parameter of every command of the application offer its values."""
    for group in app.registered_groups:
        if group.typer_instance is not None:
            teach(group.typer_instance)
    called = [app.registered_callback, *app.registered_commands]
    for callback in (c.callback for c in called if c is not None):
        for name, parameter in inspect.signature(callback).parameters.items() if callback is not None else ():
            info = parameter.default
            if isinstance(info, ParameterInfo) and info.autocompletion is None and name in _VALUES:
                info.autocompletion = _offering(_VALUES[name])


def _offering(values: Callable[[], Iterable[Offer]]) -> Callable[[str], list[Offer]]:
    def offer(incomplete: str) -> list[Offer]:
        try:
            found = list(values())
        except Exception:  # noqa: BLE001 - a prompt is no place for an error; there is nothing to offer then
            return []
        return [v for v in found if (v if isinstance(v, str) else v[0]).startswith(incomplete)]

    return offer


def _run() -> Run:
    from claudetm.cli.state import find, load

    return load(find())


def _tiers() -> Iterable[Offer]:
    from claudetm.config import TIERS

    return TIERS


def _keys() -> Iterable[Offer]:
    from claudetm.config import KEYS

    return KEYS


def _subjects() -> Iterable[Offer]:
    for change in _run().changes.values():
        yield change.id, change.plan.title
        yield from ((task.id, task.title) for task in change.plan.tasks)


def _pull_requests() -> Iterable[Offer]:
    return [(str(c.number), c.plan.title) for c in _run().changes.values() if c.number]


def _sessions() -> Iterable[Offer]:
    from claudetm.cli.state import find

    newest = sorted(find().logs.glob("session-*.jsonl"), key=lambda p: p.stat().st_mtime, reverse=True)
    return [p.stem.removeprefix("session-") for p in newest]


def _tasks() -> Iterable[Offer]:
    from claudetm.cli.state import find, task_name

    return [task_name(state) for state in find(foreign=True).tasks()]


def _git(*arguments: str) -> Iterable[Offer]:
    import subprocess

    listed = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, timeout=5)
    return listed.stdout.split()


def _branches() -> Iterable[Offer]:
    return _git("for-each-ref", "--format=%(refname:short)", "refs/heads")


def _snapshots() -> Iterable[Offer]:
    refs = _git("for-each-ref", "--format=%(refname)", "refs/claudetm/*/snapshots/*")
    return [str(ref).rpartition("/")[2] for ref in refs]


def _scenarios() -> Iterable[Offer]:
    import claudetm

    return sorted(p.stem for p in (Path(claudetm.__file__).parent / "testing" / "scenarios").glob("*.yaml"))


def _words(*words: str) -> Callable[[], Iterable[Offer]]:
    return lambda: words


_VALUES: Final[Mapping[str, Callable[[], Iterable[Offer]]]] = {
    "model": _tiers,
    "forge": _words("auto", "local", "github"),
    "sandbox": _words("auto", "on", "off"),
    "log_level": _words("quiet", "normal", "verbose"),
    "log_format": _words("text", "json"),
    "base": _branches,
    "rehearse": _scenarios,
    "session": _sessions,
    "snapshot": _snapshots,
    "number": _pull_requests,
    "what": _subjects,
    "task": _tasks,
    "action": _words("show", "get", "set", "path"),
    "key": _keys,
}
"""The values of a parameter, by its name: one name means the same thing in every command."""
