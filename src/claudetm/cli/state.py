"""What every command that looks at a run shares: finding its state, folding its journal, sending it commands."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from claudetm.adapters.store.directory import NAME, FileInbox, StateDirectory
from claudetm.adapters.store.journal import FileJournal
from claudetm.cli import chosen
from claudetm.errors import JournalError, UsageError
from claudetm.workflow.run import Run, UnreadableRecord

_ANSWER_SECONDS: Final = 5.0
_STEP_SECONDS: Final = 0.05
_WIDTH: Final = 80  # columns


def of_task() -> StateDirectory | None:
    """Return the state directory of the task that was chosen, None for none. UsageError where it is not here."""
    return find() if chosen.task() else None


def task_state(task: str, where: Path | None = None, monitor: str = "") -> StateDirectory:
    """Return the state directory of a task of the monitor that works in `where`, by default here, by its name.

    UsageError without one, and for a folder or a name that can be no monitor's.
    """
    from claudetm.bootstrap.monitor_places import find_places

    chosen.look_at(task, find_places(where, monitor) if where or monitor else None)
    return find()


def here() -> Path:
    """Return the folder that is looked at: the working directory, or the repository that a task is worked in.

    That is another where the monitor that runs here says so. UsageError when the working directory was removed.
    """
    name, places = chosen.task(), chosen.places()
    try:
        cwd = places.here if places else Path.cwd()
    except FileNotFoundError:
        raise UsageError("The working directory is gone; go to one that is there") from None
    named = places is not None and places.name  # of two monitors, only that one's word counts
    if not name or (not named and (state := _around(cwd)) is not None and _of_task(state, name) is not None):
        return cwd
    from claudetm.cli.monitor.worked_in import repository_of

    return repository_of(name, places) or cwd


def find(*, foreign: bool = False) -> StateDirectory:
    """Return the state directory of the repository that is looked at. UsageError without one.

    Raises StoreError for another program's, unless that is what is looked for.
    """
    start, name = here(), chosen.task()
    found = _around(start)
    if found is None and name:
        raise UsageError(
            f"No task of the monitor has been worked in {start}; call it where the monitor runs, or in the task's"
            " repository; `claudetm monitor tasks` lists them"
        )
    if found is None:
        raise UsageError(f'There is no run in {start}: `claudetm start "goal"` begins one')
    if name:
        return _task(found, name)
    if not foreign:
        found.refuse_foreign()
    return found


def _around(start: Path) -> StateDirectory | None:
    """Return the state directory of the repository that a folder lies in, or None."""
    for folder in (start, *start.parents):
        if (folder / NAME).is_dir():
            return StateDirectory(folder / NAME)
        if (folder / ".git").exists():
            break
    return None


def _of_task(state: StateDirectory, name: str) -> StateDirectory | None:
    """Return the state directory of a task by its name, or by that of its folder, or None."""
    known = {found.root.name: found for found in state.tasks()}
    return known.get(state.of_task(name).root.name) or known.get(name)


def _task(state: StateDirectory, name: str) -> StateDirectory:
    if (found := _of_task(state, name)) is None:
        known = state.tasks()
        there = f"those here are {', '.join(map(task_name, known))}" if known else "none has been here"
        raise UsageError(
            f"No task {name} has been worked here, {there}; call it where the monitor runs, or in the task's"
            " repository; `claudetm monitor tasks` lists all"
        )
    return found


def task_name(state: StateDirectory) -> str:
    """Return a task's own name, which its folder may only have in part."""
    import json

    from claudetm.adapters.store.directory import ORDER

    try:
        return str(json.loads((state.root / ORDER).read_bytes())["job"]["id"])
    except (OSError, ValueError, KeyError, TypeError):
        return state.root.name


def no_run(state: StateDirectory) -> UsageError:
    """Return what is said where there is no journal."""
    if state.task:
        return UsageError(f"The task {task_name(state)} has begun no run yet; `claudetm monitor tasks` shows it")
    return UsageError(f'There is no run in {state.repository}: `claudetm start "goal"` begins one')


def load(state: StateDirectory) -> Run:
    """Return the run folded from its journal. UsageError when there is none, JournalError for damage."""
    state.refuse_foreign()
    run = Run()
    if not state.journal.exists():
        raise no_run(state)
    try:
        for record in FileJournal(state.journal).read():
            run.apply(record)
    except UnreadableRecord as error:
        raise JournalError(f"{state.journal} cannot be read: {error}") from error
    if not run.seq:
        raise no_run(state)
    return run


def show(markdown: str) -> None:
    """Print Markdown in lines of at most 80 columns; a list's item stays one, and a long word is never broken.

    A sign that a backslash makes plain is shown without it; a code span stays as it is.
    """
    import re
    import textwrap

    plain = re.sub(r"\\([!-/:-@\[-`{-~])|((`+)(?!`).*?(?<!`)\3(?!`))", r"\1\2", markdown)
    for line in plain.rstrip("\n").splitlines():
        indent = "  " if line.startswith("- ") else ""
        print(textwrap.fill(line, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False))


def send(state: StateDirectory, name: str, arguments: Mapping[str, Any]) -> str:
    """Ask the run for something; return what came of it, for the screen.

    A live driver takes it from the inbox; without one the command takes the lock and does the same.
    """
    from claudetm.adapters.store.lock import holder
    from claudetm.ports.store import Command

    run = load(state)
    if run.finished:
        raise UsageError(f"The run is over ({run.phase}); there is nothing to {name.replace('_', ' ')}")
    command_id = str(uuid.uuid4())
    if holder(state.lock) is None:
        return _apply_here(state, command_id, name, arguments)
    FileInbox(state.inbox).send(Command(command_id, name, arguments))
    deadline = time.monotonic() + _ANSWER_SECONDS
    while time.monotonic() < deadline:
        run = load(state)
        if command_id in run.commands:
            if reason := run.refused.get(command_id):
                raise UsageError(reason.rstrip("."))
            return "done"
        time.sleep(_STEP_SECONDS)
    return "queued: the driver takes it at its next step"


def _apply_here(state: StateDirectory, command_id: str, name: str, arguments: Mapping[str, Any]) -> str:
    import asyncio

    from claudetm.adapters.agent import transcript
    from claudetm.adapters.agent.containment import sweep
    from claudetm.adapters.store.lock import acquire
    from claudetm.bootstrap.clock import SystemClock
    from claudetm.engine import inbox
    from claudetm.engine.commit import Writer
    from claudetm.ports.store import Command
    from claudetm.workflow.outcomes import Usage

    with acquire(state.lock) as lock:
        journal = FileJournal(state.journal, lock)
        run = load(state)
        lock.name(run.id)
        writer = Writer(run, journal, SystemClock())

        async def take() -> str:
            if name == "cancel":  # no driver will come back to see to this
                await sweep(run.id)
                await writer.charge_lost(charge)
            return await inbox.apply(writer, Command(command_id, name, arguments))

        async def charge(session: str) -> Usage | None:
            return transcript.charge(state.logs, session)

        if reason := asyncio.run(take()):
            raise UsageError(reason.rstrip("."))
    return "done"
