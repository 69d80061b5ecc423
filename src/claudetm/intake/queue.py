"""The queue, folded from its journal: what waits, in which order, what is under way, what has to be reported.

Pure: records in, facts out. A job leaves once its source knows its result, so a queue is as large as what is open.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from heapq import merge
from typing import Any, Final

from claudetm.intake import events as e
from claudetm.intake.transitions import LEFT
from claudetm.ports.source import Job, Lane, Result, Status
from claudetm.workflow.records import Record

REMEMBERED: Final = 100  # commands whose outcome can still be asked for
Rank = tuple[int, int, str]
BEGUN_SECONDS: Final = 600.0  # who worked that long had begun: what postpones it then is another matter


@dataclass(slots=True)
class Entry:
    """One job in the queue. Times are epoch seconds."""

    id: str
    source: str
    title: str
    created: float
    priority: int
    lane: Lane
    order: int  # the record that queued it
    position: int  # where it came to stand
    queued: float
    status: Status = Status.QUEUED
    job: Job | None = None  # as it was claimed
    started: float = 0.0  # when it was first worked
    until: float = 0.0  # before which it is not tried again
    paused: float = 0.0  # when that was said
    why: str = ""  # it is retrying, or waits
    next: str = ""  # the command that carries on what waits for a person
    waiting: bool = False  # for a person
    deaths: int = 0  # in a row, without progress
    unseen: int = 0  # the same of those that no monitor has seen, or that ended with a monitor elsewhere
    evidence: tuple[str, ...] = ()  # of each of them
    postponed: int = 0  # times in a row
    resumed: float = 0.0  # when it last went on
    postponed_since: float = 0.0
    postponed_at: float = 0.0  # the last time
    retries: int = 0  # all of them
    result: Result | None = None

    @property
    def rank(self) -> Rank:
        """Sorts what waits: by priority, then as it was queued."""
        return self.priority, self.order, self.id

    def due(self, now: float) -> bool:
        """Whether it may be worked now; also where the clock was set back, which else would make it wait for days."""
        return now >= self.until or now < self.paused

    @property
    def ours(self) -> Job | None:
        """The job, while the claim on it is ours."""
        return self.job if self.status in (Status.RUNNING, Status.RETRYING) else None


@dataclass(slots=True)
class Queue:
    """What the journal comes to. `apply` it record by record."""

    jobs: dict[str, Entry] = field(default_factory=dict)
    seq: int = 0
    completed: int = 0
    failed: int = 0
    answers: dict[str, str] = field(default_factory=dict)  # by command: why it was refused, or ""
    again: dict[str, int] = field(default_factory=dict)  # jobs that a person has let begin anew: how often by now
    origins: dict[str, str] = field(default_factory=dict)  # of those, the source
    _lines: dict[tuple[str, Lane], list[Rank]] = field(default_factory=dict)  # by source: what waits, sorted
    _held: dict[str, Entry] = field(default_factory=dict)  # running and retrying, as they were claimed
    _concluded: dict[str, Entry] = field(default_factory=dict)

    def line(self, lane: Lane | None = None, sources: Collection[str] | None = None) -> Iterator[Entry]:
        """Yield what waits to be claimed, in order; of a lane or of some sources, and then no other is looked at."""
        lines = (
            ranks
            for (name, of), ranks in self._lines.items()
            if lane in (None, of) and (sources is None or name in sources)
        )
        return (self.jobs[id_] for _, _, id_ in merge(*lines))

    @property
    def size(self) -> int:
        """How many wait to be claimed."""
        return sum(map(len, self._lines.values()))

    def position(self, id_: str) -> int:
        """Return where a job stands among those that wait, from 1; 0 where it does not wait."""
        entry = self.jobs.get(id_)
        waits = entry is not None and entry.status is Status.QUEUED
        return self._before(entry.rank) + 1 if entry is not None and waits else 0

    def position_for(self, priority: int) -> int:
        """Return where the next job of a priority would come to stand, from 1."""
        return self._before((priority, self.seq + 1, "")) + 1

    def _before(self, rank: Rank) -> int:
        return sum(bisect_left(ranks, rank) for ranks in self._lines.values())

    def _line_of(self, entry: Entry) -> list[Rank]:
        return self._lines.setdefault((entry.source, entry.lane), [])

    @property
    def held(self) -> list[Entry]:
        """What is ours: running and retrying, in the order in which it was claimed."""
        return list(self._held.values())

    @property
    def concluded(self) -> list[Entry]:
        """What has ended and is not reported, in the order in which it ended."""
        return list(self._concluded.values())

    def apply(self, record: Record) -> None:
        """Take one more record in. The edge on it is the truth, whatever this version's table says."""
        self.seq = record.seq
        id_ = record.data.get("job")
        if not isinstance(id_, str):
            self._note(record)
            return
        entry = self._enter(record) if record.type == "JobQueued" else self.jobs[id_]
        before = entry.rank
        if (change := _CHANGES.get(record.type)) is not None:
            change(entry, record.data, record.time)
        self._move(entry, before, record.edge[1])

    def _enter(self, record: Record) -> Entry:
        d = record.data
        entry = Entry(
            d["job"],
            d["source"],
            d["title"],
            d["created"],
            d["priority"],
            Lane(d["lane"]),
            record.seq,
            d["position"],
            record.time,
            retries=d["retries"],
        )
        self.again.pop(entry.id, None)
        self.origins.pop(entry.id, None)
        self.jobs[entry.id] = entry
        insort(self._line_of(entry), entry.rank)
        return entry

    def _move(self, entry: Entry, before: Rank, to: str) -> None:
        """Keep the line, what is held and what has ended equal to the entry's status."""
        if entry.status is Status.QUEUED:
            line = self._line_of(entry)
            del line[bisect_left(line, before)]
        if to == LEFT:
            self._leave(entry)
            return
        entry.status = Status(to)
        if entry.status is Status.QUEUED:
            insort(self._line_of(entry), entry.rank)
        _keep(self._held, entry, entry.ours is not None)
        _keep(self._concluded, entry, entry.result is not None)

    def _leave(self, entry: Entry) -> None:
        self.completed += entry.status is Status.COMPLETED
        self.failed += entry.status is Status.FAILED
        for known in (self.jobs, self._held, self._concluded):
            known.pop(entry.id, None)

    def _note(self, record: Record) -> None:
        d = record.data
        if record.type == "QueueCarried":
            self.completed, self.failed, self.again = d["completed"], d["failed"], dict(d["again"])
            self.origins = dict(d.get("origins", {}))
        elif record.type == "CommandTaken":
            self.answers[record.command] = d["refusal"]
            if d["retries"]:
                self.again[d["subject"]] = d["retries"]
                self.origins[d["subject"]] = d.get("source", "")
            for old in list(self.answers)[:-REMEMBERED]:
                del self.answers[old]


def _keep(among: dict[str, Entry], entry: Entry, belongs: bool) -> None:
    if belongs:
        among.setdefault(entry.id, entry)
    else:
        among.pop(entry.id, None)


# --- what an event changes of its job, besides the status ---------------------------------------------------

Data = Mapping[str, Any]


def _ranked(entry: Entry, data: Data, _now: float) -> None:
    entry.priority = data["priority"]


def _claimed(entry: Entry, data: Data, now: float) -> None:
    entry.job = e.job_from_data(data["claim"])
    entry.started = entry.started or now
    entry.resumed = now
    entry.unseen = max(entry.unseen, data["deaths"])


def _died(entry: Entry, data: Data, now: float) -> None:
    if data["progressed"]:
        entry.deaths, entry.unseen, entry.evidence = 0, 0, ()
    seen = data.get("seen", True)
    entry.deaths, entry.unseen = entry.deaths + seen, entry.unseen + (not seen)
    entry.evidence = (*entry.evidence, data["evidence"])
    entry.until, entry.paused, entry.why = data["until"], now, "its worker died"
    entry.retries += 1
    entry.postponed, entry.postponed_since = 0, 0.0


def _postponed(entry: Entry, data: Data, now: float) -> None:
    if entry.resumed and now - entry.resumed > BEGUN_SECONDS:
        entry.postponed, entry.postponed_since = 0, 0.0
    entry.postponed_since = entry.postponed_since or now
    entry.postponed_at = now
    entry.postponed += 1
    entry.until, entry.paused, entry.why = data["until"], now, data["why"]
    entry.retries += 1


def _hastened(entry: Entry, _data: Data, _now: float) -> None:
    entry.until = 0.0


def _waiting(entry: Entry, data: Data, _now: float) -> None:
    entry.waiting, entry.why, entry.next = True, data["why"], data["next"]
    entry.postponed, entry.postponed_since = 0, 0.0
    entry.deaths, entry.unseen, entry.evidence = 0, 0, ()


def _resumed(entry: Entry, _data: Data, now: float) -> None:
    entry.waiting, entry.why, entry.next, entry.until = False, "", "", 0.0
    entry.resumed = now


def _let_go(entry: Entry, _data: Data, _now: float) -> None:
    entry.waiting, entry.why, entry.next, entry.until = False, "", "", 0.0
    entry.job = None


def _ended(entry: Entry, data: Data, _now: float) -> None:
    entry.result = e.result_from_data(data["result"])


_CHANGES: Final[Mapping[str, Callable[[Entry, Data, float], None]]] = {
    "JobRanked": _ranked,
    "JobClaimed": _claimed,
    "JobDied": _died,
    "JobPostponed": _postponed,
    "JobHastened": _hastened,
    "JobWaiting": _waiting,
    "JobResumed": _resumed,
    "JobGivenBack": _let_go,
    "JobLost": _let_go,
    "JobCompleted": _ended,
    "JobFailed": _ended,
}


def fold(records: Iterable[Record]) -> Queue:
    """Return what a journal comes to."""
    queue = Queue()
    for record in records:
        queue.apply(record)
    return queue


def survivors(read: Callable[[], Iterable[Record]]) -> Iterator[Record]:
    """Yield the records of a compacted journal: of open jobs all, of the rest their numbers.

    `read` is called twice: once to learn what is open, once to copy it.
    """
    queue, began, now = Queue(), dict[str, int](), 0.0
    for record in read():
        queue.apply(record)
        now = record.time
        if record.type == "JobQueued":
            began[record.data["job"]] = record.seq
        elif record.edge[1] == LEFT:
            began.pop(record.data.get("job", ""), None)
    carried = e.QueueCarried(queue.completed, queue.failed, queue.again, queue.origins)
    yield Record(1, now, "QueueCarried", (LEFT, LEFT), e.event_to_data(carried))
    seq = 1
    for record in read():
        if record.seq >= began.get(record.data.get("job", ""), record.seq + 1):
            seq += 1
            yield replace(record, seq=seq)
