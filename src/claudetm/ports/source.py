"""Where the monitor's tasks come from. In the code such a task is a job: "task" is a step of a plan there.

Every source keeps one contract: what is eligible is listed, one is claimed, its progress is told, and it is finished
with a result or given back. What came of a claim is always found again by its name at the source, so each call may
be made again after a kill.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Protocol, runtime_checkable

from claudetm.errors import ClaudetmError
from claudetm.workflow.run import Material as Material  # noqa: PLC0414 - it is named here, too
from claudetm.workflow.stages import Mode as Mode  # noqa: PLC0414 - it is named here, too

SLUG_LENGTH: Final = 60  # characters of a job's name in paths and branches


class Lane(StrEnum):
    """What a job waits behind. Lanes go side by side, each one job at a time unless more are asked for."""

    WORK = "work"
    TALK = "talk"  # somebody waits for the answer


@dataclass(frozen=True, slots=True)
class Job:
    """One task as it was claimed. Amounts are US dollars, times seconds (`created`: since the epoch).

    `settings` are values by dotted configuration key, laid over the repository's own. `handle` is what the source
    needs to find it again, JSON values.
    """

    id: str  # names it everywhere: the result's file, the command line; see `refuse_name`
    source: str  # the source's `name`
    text: str  # what is asked: the words of somebody trusted
    title: str = ""
    mode: Mode = Mode.GOAL
    created: float = 0.0
    material: tuple[Material, ...] = ()
    skill: str = ""  # of the project, named in the prompt (session mode)
    repository: str = ""  # a path, relative to where the monitor runs; "": there
    issue: str = ""  # on GitHub, that says the goal and is closed by its last merge; then `text` is not used
    settings: Mapping[str, Any] = field(default_factory=dict)
    handle: Mapping[str, Any] = field(default_factory=dict)
    lease: float = 0.0  # for how long it is worked on where no monitor keeps its claim; 0: for good


@dataclass(frozen=True, slots=True)
class Offer:
    """What a listing tells of one job. `why_not`, where it says anything, is why it is not taken: one clause."""

    id: str
    title: str = ""
    created: float = 0.0
    priority: int = 0  # the lower goes first; within one, first come first served
    lane: Lane = Lane.WORK
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Claimed:
    """The job is ours until it is finished or given back. `deaths` counts the monitors that died with it."""

    job: Job
    deaths: int = 0


@dataclass(frozen=True, slots=True)
class Taken:
    """Another monitor works it."""

    by: str = "another monitor"


@dataclass(frozen=True, slots=True)
class Gone:
    """It is no longer a task there: removed, closed, or finished by somebody."""

    why: str


@dataclass(frozen=True, slots=True)
class Refused:
    """It cannot be a task; that is its result, unless somebody mends it there (`line` 0: the whole)."""

    why: str


ClaimOutcome = Claimed | Taken | Gone | Refused


@dataclass(frozen=True, slots=True)
class Note:
    """What is told of a job under way. `stage` is one word for a table, `text` one line for people."""

    stage: str
    text: str
    cost_usd: float = 0.0
    waiting: bool = False  # for a person
    link: str = ""  # of a pull request


class Status(StrEnum):
    """Where a job stands, in the words of results and tables."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    RETRYING = "retrying"


FINAL: Final = frozenset({Status.COMPLETED, Status.FAILED})


@dataclass(frozen=True, slots=True)
class Output:
    """What working a job brought. Amounts are US dollars and tokens."""

    summary: str = ""  # a few sentences for people
    raw: str = ""  # the agent's own last words
    usage: Mapping[str, int] = field(default_factory=dict)
    cost_usd: float = 0.0
    score: int | None = None  # the audit's, 0 to 100
    notes: str = ""  # the audit's
    artifacts: tuple[Mapping[str, str], ...] = ()  # {"kind": branch|commit|snapshot|pull_request|log, "name", "url"?}
    run: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """How a job ended: exactly one a job. Times are seconds since the epoch."""

    job: str
    status: Status  # completed or failed
    created: float
    started: float
    completed: float
    position: int  # in the queue, when it came
    output: Output = field(default_factory=Output)
    error: str = ""  # why it failed, and the next command
    retries: int = 0


class SourceBusy(ClaudetmError):  # noqa: N818 - a fact about the source
    """The source cannot be asked now; nothing is wrong with any task. `until` is when to ask again, epoch seconds."""

    def __init__(self, sentence: str, until: float) -> None:
        """Say why, and when to ask again."""
        super().__init__(sentence)
        self.until = until


class SourceRefused(ClaudetmError):  # noqa: N818 - a fact about the source
    """The source lets nobody in, and will not by itself: a key that is refused, a project that is not there."""


class Source(Protocol):
    """One place that tasks come from. Every method may raise SourceBusy and SourceRefused."""

    @property
    def name(self) -> str:
        """Return `directory`, `github` or `sego`."""
        ...

    async def list(self) -> Sequence[Offer]:
        """Return what waits to be taken, and what does not qualify with `why_not`; nothing that has ended.

        What this monitor holds a claim on may be among them; the order is that in which they came.
        """
        ...

    async def claim(self, job: str) -> ClaimOutcome:
        """Take a job, or learn why not. Ours already: Claimed, read anew. At most one monitor is told Claimed."""
        ...

    async def keep(self, job: Job) -> bool:
        """Show that the claim is alive, as often as the source wants.

        False where another has taken it over, or a person has taken it back there: it is not ours any more.
        """
        ...

    async def progress(self, job: Job, note: Note) -> None:
        """Show how far a job of ours is. Called often: the source decides what it passes on, and how often."""
        ...

    async def finish(self, job: Job, result: Result) -> None:
        """Report the result and end the claim. Made again after a kill, it changes nothing more."""
        ...

    async def give_back(self, job: Job, why: str) -> None:
        """End the claim without a result, so that anybody may take the job. Idempotent."""
        ...

    async def hint(self) -> None:
        """Return when something may have come. It may also never return: the sweep finds everything."""
        ...

    async def close(self) -> None:
        """Let go of connections and threads. Claims stay."""
        ...


@runtime_checkable
class Reopening(Protocol):
    """What a source has besides where it notes at the place itself that a job has ended."""

    async def reopen(self, job: str) -> None:
        """Make a finished job a task again: a person asked for it. Idempotent; unknown ones are passed over."""
        ...


@runtime_checkable
class Reclaiming(Protocol):
    """What a source has besides whose tasks are texts that somebody may change or remove while they are worked."""

    async def reclaim(self, job: Job) -> ClaimOutcome:
        """Take up a claim of ours of the process before this one: what was begun goes on as it was claimed.

        Claimed, with the job as it is given; Taken; Gone where it has ended.
        """
        ...


def refuse_name(name: str) -> str:
    """Return why a name cannot be a job's, as a clause, or ""."""
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    if not 0 < size <= _LONGEST_NAME:
        return f"its name has {size} bytes; {_LONGEST_NAME} is the most" if size else "it has no name"
    if not name.isprintable() or "/" in name or "\\" in name:
        return "its name holds a character that cannot be shown"
    if name[0] in "-. " or name[-1] in " .":
        return "its name begins or ends with a dash, a dot or a blank"
    return ""


_LONGEST_NAME: Final = 120  # bytes: `.json`, drafts and locks are named by it


def slug(name: str) -> str:
    """Return a job's name as a path or a branch can hold it: equal for equal names, else different."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:SLUG_LENGTH]
    return plain if plain == name else f"{plain or 'task'}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
