"""What every command that looks at a run shares: finding its state, folding its journal, sending it commands."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from claudetm.adapters.store.directory import NAME, FileInbox, StateDirectory
from claudetm.adapters.store.journal import FileJournal
from claudetm.errors import JournalError, UsageError
from claudetm.workflow.run import Run, UnreadableRecord

_ANSWER_SECONDS: Final = 5.0
_STEP_SECONDS: Final = 0.05
_WIDTH: Final = 80  # columns


def here() -> Path:
    """Return the working directory. UsageError when it was removed."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise UsageError("The working directory is gone; go to one that is there") from None


def find(*, foreign: bool = False) -> StateDirectory:
    """Return the state directory of the repository that the working directory lies in. UsageError without one.

    Raises StoreError for another program's, unless that is what is looked for.
    """
    start = here()
    for folder in (start, *start.parents):
        if (folder / NAME).is_dir():
            found = StateDirectory(folder / NAME)
            if not foreign:
                found.refuse_foreign()
            return found
        if (folder / ".git").exists():
            break
    raise UsageError(f'There is no run in {start}: `claudetm start "goal"` begins one')


def load(state: StateDirectory) -> Run:
    """Return the run folded from its journal. UsageError when there is none, JournalError for damage."""
    state.refuse_foreign()
    run = Run()
    if not state.journal.exists():
        raise UsageError(f'There is no run in {state.repository}: `claudetm start "goal"` begins one')
    try:
        for record in FileJournal(state.journal).read():
            run.apply(record)
    except UnreadableRecord as error:
        raise JournalError(f"{state.journal} cannot be read: {error}") from error
    if not run.seq:
        raise UsageError(f'There is no run in {state.repository}: `claudetm start "goal"` begins one')
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
