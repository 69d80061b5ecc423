"""What a person may ask of a live monitor, applied once: that a job be tried again.

The command is journalled before its effects, which are looked up and made again at the start after a kill.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from claudetm.errors import ClaudetmError
from claudetm.intake import events as e
from claudetm.intake.asking import UNASKABLE, Asking
from claudetm.intake.queue import Entry
from claudetm.intake.writer import QueueWriter
from claudetm.ports.dispatch import Dispatch
from claudetm.ports.results import Results
from claudetm.ports.source import Job, Reopening, Status
from claudetm.ports.store import Command

RETRY = "retry"


@dataclass(frozen=True, slots=True)
class Hands:
    """What commands are applied with."""

    writer: QueueWriter
    dispatch: Dispatch
    results: Results
    askings: Mapping[str, Asking]
    say: Callable[[str], None]
    said: set[str] = field(default_factory=set)


async def take(hands: Hands, command: Command) -> None:
    """Apply a command, or note why not; what stands in the journal already is not applied again."""
    queue = hands.writer.queue
    if command.id in queue.answers:
        return
    subject = command.arguments.get("job")
    if command.name != RETRY or not isinstance(subject, str):
        refusal = "The monitor knows no such command."
        await hands.writer.append(e.CommandTaken(command.name, "", refusal), command.id)
        return
    entry = queue.jobs.get(subject)
    if entry is not None:
        await hands.writer.append(e.CommandTaken(RETRY, subject, await _hasten(hands, entry)), command.id)
        return
    try:
        kept = hands.results.read(subject)
        refusal = "" if kept is not None else f"There is no task {subject}."
    except ClaudetmError as error:
        kept, refusal = None, str(error)
    retries, source = (kept.retries + 1, kept.source) if kept is not None else (0, "")
    await hands.writer.append(e.CommandTaken(RETRY, subject, refusal, retries, source), command.id)
    if kept is not None:
        await begin_anew(hands, subject)


async def _hasten(hands: Hands, entry: Entry) -> str:
    """Let a job that is on its way go on at once; return why not, or ""."""
    job = entry.ours
    if entry.status is Status.RETRYING:
        await hands.writer.append(e.JobHastened(entry.id))
    elif entry.waiting and job is not None:
        await hands.dispatch.retry(job)
    else:
        return f"Task {entry.id} is {entry.status}: there is nothing to try again."
    return ""


async def begin_anew(hands: Hands, id_: str) -> bool:
    """Lift what says that a job has ended; its result last, so that this is done again where it was cut short.

    Return whether all of it is done; its source is told in its turn where it cannot be asked now.
    """
    asking = hands.askings.get(hands.writer.queue.origins.get(id_, ""))
    try:
        if (kept := hands.results.read(id_)) is not None:
            await hands.dispatch.retry(Job(id_, kept.source, "", repository=kept.repository))
        if asking is not None and isinstance(asking.source, Reopening):
            await asking.ask(asking.source.reopen(id_))
        if id_ in hands.writer.queue.again:  # else it has begun in the meantime
            hands.results.replace(id_)
    except (*UNASKABLE, ClaudetmError) as error:
        if (sentence := f"{id_} cannot begin anew yet: {error}") not in hands.said:
            hands.said.add(sentence)
            hands.say(sentence)
        return False
    if asking is not None:
        asking.look.set()
    return True


async def finish_retries(hands: Hands, source: str, done: set[tuple[str, int]]) -> None:
    """Do for one source what was asked for while no monitor ran, or was cut short; `done` is not done again."""
    queue = hands.writer.queue
    for asked in [(i, n) for i, n in queue.again.items() if queue.origins.get(i) == source]:
        if asked not in done and await begin_anew(hands, asked[0]):
            done.add(asked)
    done &= set(queue.again.items())
