"""All legal events of a job in one table: its status x what happened -> its status then.

An event that is not in the table is refused and changes nothing. `LEFT` is where a job is that the queue knows no
more. Asked once, before a record is written; the fold never asks again, it applies the edges that are on record.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from claudetm.intake import events as e
from claudetm.ports.source import Status

if TYPE_CHECKING:
    from claudetm.intake.queue import Queue

LEFT: Final = ""

TABLE: Final[Mapping[Status, Mapping[type[e.JobEvent], Status | None]]] = {
    Status.QUEUED: {
        e.JobRanked: Status.QUEUED,
        e.JobClaimed: Status.RUNNING,
        e.JobFailed: Status.FAILED,  # refused: it cannot be a task
        e.JobWithdrawn: None,
    },
    Status.RUNNING: {
        e.JobWaiting: Status.RUNNING,
        e.JobResumed: Status.RUNNING,
        e.JobDied: Status.RETRYING,
        e.JobPostponed: Status.RETRYING,
        e.JobGivenBack: Status.QUEUED,
        e.JobLost: Status.QUEUED,
        e.JobWithdrawn: None,
        e.JobCompleted: Status.COMPLETED,
        e.JobFailed: Status.FAILED,
    },
    Status.RETRYING: {
        e.JobHastened: Status.RETRYING,
        e.JobResumed: Status.RUNNING,
        e.JobGivenBack: Status.QUEUED,
        e.JobLost: Status.QUEUED,
        e.JobWithdrawn: None,
        e.JobFailed: Status.FAILED,
    },
    Status.COMPLETED: {e.JobReported: None},
    Status.FAILED: {e.JobReported: None},
}
"""status x event -> status; None: it leaves. JobQueued, which brings a job in, stands before it."""


class IllegalEvent(Exception):  # noqa: N818 - a refusal, in the words of the table
    """The event is not legal where the job stands. Nothing has changed."""


def edge(queue: Queue, event: e.Event) -> tuple[str, str]:
    """Return the step that the event takes. Raises IllegalEvent, in one sentence, when it may not happen now."""
    if not isinstance(event, e.JobEvent):
        return LEFT, LEFT
    entry = queue.jobs.get(event.job)
    if isinstance(event, e.JobQueued):
        if entry is not None:
            raise IllegalEvent(f"Task {event.job} is {entry.status} already.")
        return LEFT, str(Status.QUEUED)
    if entry is None:
        raise IllegalEvent(f"There is no task {event.job}.")
    rows = TABLE[entry.status]
    if type(event) not in rows:
        raise IllegalEvent(f"{type(event).__name__} is not possible while task {event.job} is {entry.status}.")
    if reason := _refusal(event):
        raise IllegalEvent(reason)
    to = rows[type(event)]
    return str(entry.status), LEFT if to is None else str(to)


def _refusal(event: e.JobEvent) -> str:
    """Return why an event that the table allows is wrong in itself, or ""."""
    match event:
        case e.JobCompleted(_, result) if result.status is not Status.COMPLETED:
            return f"A completed task cannot have a result that is {result.status}."
        case e.JobFailed(_, result) if result.status is not Status.FAILED:
            return f"A failed task cannot have a result that is {result.status}."
        case e.JobCompleted(job, result) | e.JobFailed(job, result) if result.job != job:
            return f"The result of {result.job} is not the one of {job}."
        case e.JobClaimed(job, claim) if claim.id != job:
            return f"The claim is of {claim.id}, not of {job}."
        case _:
            return ""


def markdown() -> str:
    """Return the table as Markdown, for the documentation."""
    lines = ["| status | event -> status |", "|---|---|", "| (unknown) | JobQueued -> queued |"]
    for status, rows in TABLE.items():
        steps: dict[str, list[str]] = {}
        for event, to in rows.items():
            steps.setdefault("(left)" if to is None else str(to), []).append(event.__name__)
        told = " · ".join(f"{', '.join(names)} -> {to}" for to, names in steps.items())
        lines.append(f"| {status} | {told} |")
    return "\n".join(lines)
