"""Which run the command line looks at: the user's own, or with `--task ID` that of a task of the monitor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from claudetm.errors import UsageError

if TYPE_CHECKING:
    from claudetm.bootstrap.monitor_places import Places

_chosen: list[str] = []
_places: list[Places | None] = [None]


def choose(task: str, command: str) -> None:
    """Look at a task's run. Raises UsageError for a command that looks at no run."""
    from claudetm.adapters.dispatch.hints import TASKED

    if command not in TASKED:
        raise UsageError(f"--task goes with a command that looks at a run: {', '.join(TASKED)}")
    look_at(task)


def look_at(task: str, places: Places | None = None) -> None:
    """Look at a task's run, whatever the command; of the monitor with these places where it is said which.

    With "" at the user's own.
    """
    _chosen[:] = [task] if task else []
    _places[:] = [places]


def task() -> str:
    """Return the task that was chosen, "" for the user's own run."""
    return _chosen[0] if _chosen else ""


def places() -> Places | None:
    """Return the places of the monitor whose task was chosen, None where nobody said which monitor."""
    return _places[0]


def aimed(text: str) -> str:
    """Return a text with the commands that it names as they have to be typed for the run that is looked at."""
    if not _chosen:
        return text
    from claudetm.adapters.dispatch.hints import for_task

    return for_task(text, _chosen[0])
