"""Which run the command line looks at: the user's own, or with `--task ID` that of a task of the monitor."""

from __future__ import annotations

from claudetm.errors import UsageError

_chosen: list[str] = []


def choose(task: str, command: str) -> None:
    """Look at a task's run. Raises UsageError for a command that looks at no run."""
    from claudetm.adapters.dispatch.hints import TASKED

    if command not in TASKED:
        raise UsageError(f"--task goes with a command that looks at a run: {', '.join(TASKED)}")
    look_at(task)


def look_at(task: str) -> None:
    """Look at a task's run, whatever the command."""
    _chosen[:] = [task]


def task() -> str:
    """Return the task that was chosen, "" for the user's own run."""
    return _chosen[0] if _chosen else ""


def aimed(text: str) -> str:
    """Return a text with the commands that it names as they have to be typed for the run that is looked at."""
    if not _chosen:
        return text
    from claudetm.adapters.dispatch.hints import for_task

    return for_task(text, _chosen[0])
