"""What became of a job, from its run's journal first, and from its worker's last words where that cannot tell."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Final, assert_never

from claudetm.adapters.dispatch.handover import Ended, Ending, Handover, Order
from claudetm.adapters.dispatch.hints import after_failure, for_failed, for_task
from claudetm.adapters.store.journal import FileJournal
from claudetm.errors import JournalError
from claudetm.ports.dispatch import (
    TOLD_TO_END,
    AwaitsPerson,
    Done,
    Failed,
    Stopped,
    TryAgain,
    WorkOutcome,
)
from claudetm.ports.source import Job, Output
from claudetm.redact import printable, redact
from claudetm.workflow.limits import FORGE, RAISE, turned_away
from claudetm.workflow.outcomes import Outcome
from claudetm.workflow.run import Run, UnreadableRecord
from claudetm.workflow.stages import Halt, Mode, Phase, Stage

LOOK_FIRST: Final = 60.0  # seconds
LOOK_MOST: Final = 1800.0
_NO_ADVANCE: Final = frozenset(
    {
        "RunStarted",
        "DriverStarted",
        "SessionStarted",
        "SessionEnded",
        "SnapshotTaken",
        "RunResumed",
        "RunPaused",
        "MessageAdded",
        "CommandRefused",
    }
)
"""Events that every worker brings, however far it comes."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a job's run stands: None where none was begun. `reached` counts the events that took it further."""

    run: Run | None
    reached: int = 0
    cancelled: str = ""  # why, where it was


def standing(handover: Handover, over: str = "") -> Standing:
    """Read the journal; of the run that is `over`, nothing is. Raises JournalError for what this version cannot."""
    state = handover.state
    run, reached, cancelled = Run(), 0, ""
    if not state.journal.exists():
        return Standing(None)
    try:
        for record in FileJournal(state.journal).read():
            run.apply(record)
            reached += record.type not in _NO_ADVANCE
            cancelled = str(record.data.get("reason", "")) if record.type == "RunCancelled" else ""
    except UnreadableRecord as error:
        raise JournalError(f"{state.journal} cannot be read: {error}") from error
    return Standing(run, reached, cancelled) if run.seq and run.id != over else Standing(None)


def settled(
    order: Order,
    stands: Standing,
    ended: Ended | None,
    handover: Handover,
    shared: Mapping[str, Any] = MappingProxyType({}),
) -> WorkOutcome | None:
    """Return what the job came to; None where a worker has to carry it on. `shared` settings are every job's."""
    job, run = order.job, stands.run
    if run is not None and run.phase is Phase.CANCELLED:
        return Failed(f"cancelled: {_plain(stands.cancelled) or 'by a person'}", output=_output(run, handover))
    if run is not None and run.finished:
        return Done(_output(run, handover))
    if run is not None and run.halt is not None:
        return _halted(job, run, handover, shared) if run.halted_at > order.lifted else None
    if ended is not None and ended.ending is Ending.REFUSED and ended.seq == (run.seq if run else 0):
        return Failed(for_failed(_plain(ended.error), job.id), output=_output(run, handover) if run else Output())
    return None


def told_to_end(run: Run | None) -> bool:
    """Whether nothing but a signal to its worker halts the run: the next one carries on."""
    return run is not None and run.halt is not None and run.halt.reason == TOLD_TO_END


def waits(job: Job, run: Run | None) -> AwaitsPerson | None:
    """Return what a person has to do, where the run waits for that."""
    halt = run.halt if run is not None else None
    if halt is None or halt.kind is not Halt.PAUSED or halt.reason == TOLD_TO_END or halt.next.startswith(RAISE):
        return None
    return AwaitsPerson(for_task(_plain(halt.reason), job.id), for_task(_plain(halt.next), job.id))


def look_at(run: Run | None) -> float | None:
    """Return when to look whether people have done what the run waits for, in epoch seconds; None: it must be told.

    The longer it waits, the more seldom, but each half-hour.
    """
    if run is None or run.halt is None or run.halt.kind is not Halt.PAUSED or run.halt.asks != FORGE:
        return None
    since = min((change.since for change in run.active.values()), default=run.time)
    return run.time + min(max((run.time - since) / 4, LOOK_FIRST), LOOK_MOST)


def _halted(
    job: Job, run: Run, handover: Handover, shared: Mapping[str, Any]
) -> Failed | AwaitsPerson | TryAgain | None:
    assert run.halt is not None  # noqa: S101 - the caller looked
    if (awaited := waits(job, run)) is not None:
        return awaited
    if told_to_end(run):
        return None
    error, step = for_failed(_plain(run.halt.reason), job.id), after_failure(_plain(run.halt.next), job.id)
    refused = turned_away(run)
    if refused is None or (refused is Outcome.UNKNOWN_MODEL and _names_a_model(job, shared)):
        return Failed(error, step, _output(run, handover))
    return TryAgain(f"{error}: {step}", everybody=refused is not Outcome.UNKNOWN_MODEL)


def _names_a_model(job: Job, shared: Mapping[str, Any]) -> bool:
    """Whether the task itself does: then nobody but whoever asked for it can mend that."""
    own = [name for name, value in job.settings.items() if shared.get(name) != value]
    return any(name == "model" or name.startswith("models.") or name.endswith(".model") for name in own)


def parting(ended: Ended, now: float | None = None) -> Stopped | TryAgain | None:
    """Return what a worker's last words alone come to; None where it died, or the journal has to tell."""
    match ended.ending:
        case Ending.STOPPED:
            return Stopped()
        case Ending.PASSING:
            left = None if ended.until is None else max(0.0, ended.until - (now or time.time()))
            return TryAgain(_plain(ended.error), left)
        case Ending.OVER | Ending.REFUSED | Ending.BUG:
            return None
        case _:
            assert_never(ended.ending)


# --- what it brought -------------------------------------------------------------------------------------------


def _output(run: Run, handover: Handover) -> Output:
    usage = asdict(run.used)
    cost = float(usage.pop("cost_usd"))
    return Output(
        summary=_plain(_summary(run)),
        raw=redact(run.answer or run.report or run.summary),
        usage={name: int(value) for name, value in usage.items()},
        cost_usd=round(cost, 6),
        score=run.audit.score if run.audit else None,
        notes=redact(run.audit.notes) if run.audit else "",
        artifacts=tuple(_artifacts(run, handover)),
        run=run.id,
    )


def _summary(run: Run) -> str:
    """Return a few sentences: the answer, what the session says it did, or what was merged and is proven."""
    match run.mode:
        case Mode.QUESTION:
            return run.answer
        case Mode.SESSION:
            return run.summary
        case Mode.GOAL:
            merged = [c.plan.title for c in run.changes.values() if c.stage is Stage.MERGED]
            holds = sum(r.verdict == "holds" for r in run.receipts.values())
            parts = [
                f"merged: {'; '.join(merged)}" if merged else "",
                f"{holds} of {len(run.receipts)} criteria hold" if run.receipts else "",
                run.landed,
                f"left to you: {run.landing_next}" if run.landing_next else "",
            ]
            return ". ".join(filter(None, parts)) or run.plan.summary
        case _:
            assert_never(run.mode)


def _artifacts(run: Run, handover: Handover) -> Iterator[Mapping[str, str]]:
    for change in run.changes.values():
        if change.number:
            yield {"kind": "pull_request", "name": f"#{change.number}", **({"url": change.url} if change.url else {})}
        if change.merge_commit:
            yield {"kind": "commit", "name": change.merge_commit}
        elif change.branch and change.number:
            yield {"kind": "branch", "name": change.branch}
    if run.kept is not None and run.kept.ref:
        kind = "branch" if run.kept.branch else "snapshot"
        yield {"kind": kind, "name": run.kept.branch or run.kept.ref}
        yield {"kind": "commit", "name": run.kept.commit}
    elif run.kept is None and run.mode is Mode.SESSION and run.snapshot:
        yield {"kind": "snapshot", "name": run.snapshot}  # work that was never good enough to be kept
    if run.forge == "local" and run.landed and run.last_merge:
        yield {"kind": "branch", "name": f"claudetm/{run.id}/base"}
    for path in (*sorted(handover.state.logs.glob("run-*.txt")), handover.log):
        if path.exists():
            yield {"kind": "log", "name": str(path)}


def _plain(text: str) -> str:
    return redact(printable(text))
