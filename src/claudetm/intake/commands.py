"""What a person may ask of a live monitor, applied once: that a job be tried again.

The command is journalled before its effects, which are looked up and made again at the start after a kill.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

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
    refusal, retries = await _hasten(hands, entry) if entry is not None else _anew(hands, subject)
    await hands.writer.append(e.CommandTaken(RETRY, subject, refusal, retries), command.id)
    if entry is None and not refusal:
        await _begin_anew(hands, subject)


async def _hasten(hands: Hands, entry: Entry) -> tuple[str, int]:
    """Let a job that is on its way go on at once; return why not, or ""."""
    job = entry.ours
    if entry.status is Status.RETRYING:
        await hands.writer.append(e.JobHastened(entry.id))
    elif entry.waiting and job is not None:
        await hands.dispatch.retry(job)
    else:
        return f"Task {entry.id} is {entry.status}: there is nothing to try again.", 0
    return "", 0


def _anew(hands: Hands, id_: str) -> tuple[str, int]:
    """Return why a job that has ended cannot begin anew, or "" and how often it has done so then."""
    try:
        kept = hands.results.read(id_)
    except ClaudetmError as error:
        return str(error), 0
    if kept is None:
        return f"There is no task {id_}.", 0
    return "", kept.retries + 1


async def _begin_anew(hands: Hands, id_: str) -> None:
    """Lift what says that a job has ended; its result last, so that this is done again where it was cut short."""
    try:
        kept = hands.results.read(id_)
        source = kept.source if kept is not None else ""
        await hands.dispatch.retry(Job(id_, source, ""))
        asking = hands.askings.get(source)
        if asking is not None and isinstance(asking.source, Reopening):
            await asking.ask(asking.source.reopen(id_))
        if id_ in hands.writer.queue.again:  # else it has begun in the meantime
            hands.results.replace(id_)
        if asking is not None:
            asking.look.set()
    except (*UNASKABLE, ClaudetmError) as error:
        hands.say(f"{id_} cannot begin anew yet: {error}")


async def finish_retries(hands: Hands) -> None:
    """Make the effects of commands that were journalled and then cut short, or that a source could not be told."""
    for id_ in list(hands.writer.queue.again):
        if hands.results.ended(id_):
            await _begin_anew(hands, id_)


async def tell_of_retries(hands: Hands) -> None:
    """Tell the sources what was retried while no monitor ran; each passes over what is not its own."""
    for asking in hands.askings.values():
        if isinstance(asking.source, Reopening):
            for id_ in list(hands.writer.queue.again):
                with suppress(*UNASKABLE):
                    await asking.ask(asking.source.reopen(id_))
