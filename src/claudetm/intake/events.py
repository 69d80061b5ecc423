"""What happens to the monitor's queue, in the past tense, and how it is written as JSON values.

An event is a frozen value. One that names a `job` belongs to that job; every other belongs to the queue.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from claudetm.ports.source import Job, Lane, Material, Mode, Output, Result, Status


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to the queue."""


@dataclass(frozen=True, slots=True)
class QueueCarried(Event):
    """What a compacted journal keeps of the jobs that have left it."""

    completed: int
    failed: int
    again: Mapping[str, int] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CommandTaken(Event):
    """A person asked for something. `refusal` says why it was not done, or nothing."""

    name: str
    subject: str = ""
    refusal: str = ""
    retries: int = 0  # how often the job has begun anew by now
    source: str = ""  # that it came from


@dataclass(frozen=True, slots=True)
class JobEvent(Event):
    """Something that happened to one job."""

    job: str


@dataclass(frozen=True, slots=True)
class JobQueued(JobEvent):
    """A source offers it. `position` counts from 1: where it came to stand."""

    source: str
    title: str
    created: float
    priority: int
    lane: Lane
    position: int
    retries: int = 0  # it was there before, and a person has let it begin anew


@dataclass(frozen=True, slots=True)
class JobRanked(JobEvent):
    """It waits elsewhere in the order, because its priority was changed."""

    priority: int


@dataclass(frozen=True, slots=True)
class JobClaimed(JobEvent):
    """It is ours. `deaths` is how often another monitor died while it had the claim: of the task, or of anything."""

    claim: Job
    deaths: int = 0


@dataclass(frozen=True, slots=True)
class JobDied(JobEvent):
    """Its worker ended without a word."""

    evidence: str
    progressed: bool
    until: float  # when the next one begins
    seen: bool = True  # by a monitor


@dataclass(frozen=True, slots=True)
class JobPostponed(JobEvent):
    """It could not go on for a reason that passes."""

    why: str
    until: float


@dataclass(frozen=True, slots=True)
class JobHastened(JobEvent):
    """A person does not want to wait until then."""


@dataclass(frozen=True, slots=True)
class JobWaiting(JobEvent):
    """It waits for a person; `next` is the command that carries it on."""

    why: str
    next: str = ""


@dataclass(frozen=True, slots=True)
class JobResumed(JobEvent):
    """It goes on: what it waited for has come."""


@dataclass(frozen=True, slots=True)
class JobGivenBack(JobEvent):
    """Our claim is over, its work kept; anybody may take it, so may we."""

    why: str


@dataclass(frozen=True, slots=True)
class JobLost(JobEvent):
    """Its claim is not ours any more: another monitor has it, `by` name, or ("") that or a person has ended it."""

    by: str


@dataclass(frozen=True, slots=True)
class JobWithdrawn(JobEvent):
    """It is no task any more, and has no result."""

    why: str


@dataclass(frozen=True, slots=True)
class JobCompleted(JobEvent):
    """It is done."""

    result: Result


@dataclass(frozen=True, slots=True)
class JobFailed(JobEvent):
    """It can go no further."""

    result: Result


@dataclass(frozen=True, slots=True)
class JobReported(JobEvent):
    """Its source knows the result, and it leaves the queue."""


# by name in this module: `__subclasses__` would also tell of each class as it was before it got its slots
EVENTS: Final[Mapping[str, type[Event]]] = {
    name: c
    for name, c in list(globals().items())
    if isinstance(c, type) and issubclass(c, Event) and c not in (Event, JobEvent)
}
"""Every event by the name it has in a journal."""


def event_to_data(event: Event) -> dict[str, Any]:
    """Return the event's fields as JSON values."""
    return {f.name: _plain(getattr(event, f.name)) for f in fields(event)}


def _plain(value: Any) -> Any:
    if isinstance(value, (Job, Result, Output, Material)):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return dict(value) if isinstance(value, Mapping) else value


def job_from_data(data: Mapping[str, Any]) -> Job:
    """Return the job that was written so."""
    known = _known(Job, data)
    material = tuple(Material(m["title"], m["text"]) for m in data.get("material", ()))
    return Job(**{**known, "mode": Mode(data["mode"]), "material": material})


def result_from_data(data: Mapping[str, Any]) -> Result:
    """Return the result that was written so."""
    told = data["output"]
    output = Output(**{**_known(Output, told), "artifacts": tuple(told.get("artifacts", ()))})
    return Result(**{**_known(Result, data), "status": Status(data["status"]), "output": output})


def _known(of: type[Job | Output | Result], data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what this version knows of a value: a newer one may have added fields."""
    return {f.name: data[f.name] for f in fields(of) if f.name in data}
