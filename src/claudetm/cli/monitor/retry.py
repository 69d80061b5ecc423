"""`claudetm monitor retry ID`: lets a failed task go on, or one that waits for its next try begin at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from claudetm.cli.monitor.options import AS_JSON, NAME, WORKING_DIR

if TYPE_CHECKING:
    from claudetm.bootstrap.monitor_places import Places
    from claudetm.ports.source import Job

_ANSWER_SECONDS: Final = 5.0
_STEP_SECONDS: Final = 0.05


def command(
    task: str = typer.Argument(help="The task's name."),
    working_dir: Path = WORKING_DIR,
    name: str = NAME,
    wanted: list[str] = typer.Option(
        None, "--set", metavar="KEY=VALUE", help="A setting that its run goes by from now on: limits.cost_usd=10."
    ),
    as_json: bool = AS_JSON,
) -> None:
    """Let a task go on from where it failed; its result so far is kept in results/replaced."""
    from claudetm.bootstrap.monitor_places import find_places
    from claudetm.cli.monitor.look import dump
    from claudetm.errors import UsageError
    from claudetm.ports.source import refuse_name

    task = task.removesuffix(".md")
    if why := refuse_name(task):
        raise UsageError(f"{task!r} is no task: {why}")
    places = find_places(working_dir, name)
    if wanted:
        _set(places, task, wanted)
    said = _ask(places, task)
    if as_json:
        dump({"task": task, "said": said})
    else:
        print(f"{task}: {said}")


def _set(places: Places, task: str, wanted: list[str]) -> None:
    """Have a task's run go by other settings. Raises ClaudetmError for the first that it cannot go by."""
    from claudetm.adapters.dispatch.place import below, state_of
    from claudetm.bootstrap.configuration import configuration
    from claudetm.bootstrap.opening import changed
    from claudetm.cli.config import parsed
    from claudetm.cli.state import load, send
    from claudetm.config import KEYS, named
    from claudetm.errors import UsageError
    from claudetm.workflow.policy import policy_to_data

    if (job := _retriable(places, task)) is None:
        return  # which is said when it is asked for
    state = state_of(below(places.here)(job), task)
    for key, equals, text in (one.partition("=") for one in wanted):
        if not equals or not (field := named(key).field):
            raise UsageError(f"--set {key} is no setting of a run: name one as `claudetm config` does, KEY=VALUE")
        run, root = load(state), state.repository
        resolved = configuration(root, {key: parsed(key, [text])})
        policy = changed(key, run, resolved, root, lambda said: print(said, file=sys.stderr))
        send(state, "settings", {KEYS[key].field: policy_to_data(policy)[field]})


def _retriable(places: Places, task: str) -> Job | None:
    """Return where a task is worked, from the queue, or else from its result; None for one that is on its way."""
    from claudetm.adapters.store.journal import FileJournal
    from claudetm.adapters.store.results import FileResults
    from claudetm.intake.queue import fold
    from claudetm.ports.source import Job, Status

    entry = fold(FileJournal(places.journal).read()).jobs.get(task) if places.journal.exists() else None
    if entry is not None:
        return entry.job if entry.waiting or entry.status is Status.RETRYING else None
    kept = FileResults(places.results).read(task)
    return Job(task, "", "", repository=kept.repository if kept is not None else "")


def _ask(places: Places, task: str) -> str:
    """Ask the monitor that runs, or do it here; return what came of it. Raises UsageError with why not."""
    from claudetm.adapters.store.lock import holder
    from claudetm.errors import UsageError

    if not places.state.is_dir():
        raise UsageError(f"No monitor has worked in {places.here} yet: claudetm monitor begins one")
    if holder(places.lock) is not None:
        refusal = _told(places, task)
        if refusal is None:
            return "the monitor was asked, and does it at its next step"
    else:
        refusal = _done_here(places, task)
    if refusal:
        raise UsageError(refusal.rstrip("."))
    return "it goes on" if holder(places.lock) else "it goes on at the monitor's next start: claudetm monitor"


def _told(places: Places, task: str) -> str | None:
    """Leave a command for the monitor; return why it refuses, "" when it is done, None when it has not answered."""
    import time
    import uuid

    from claudetm.adapters.store.directory import FileInbox
    from claudetm.adapters.store.journal import FileJournal
    from claudetm.intake.commands import RETRY
    from claudetm.intake.queue import fold
    from claudetm.ports.store import Command

    command = Command(str(uuid.uuid4()), RETRY, {"job": task})
    FileInbox(places.inbox).send(command)
    until = time.monotonic() + _ANSWER_SECONDS
    while time.monotonic() < until:
        answers = fold(FileJournal(places.journal).read()).answers
        if command.id in answers:
            return answers[command.id]
        time.sleep(_STEP_SECONDS)
    return None


def _done_here(places: Places, task: str) -> str:
    import asyncio

    from claudetm.bootstrap import monitor

    with monitor.held(places) as journal:
        return asyncio.run(monitor.retry(places, journal, task, lambda said: print(said, file=sys.stderr)))
