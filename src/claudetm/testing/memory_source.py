"""A source in memory, the place that several monitors share (what people put there, claims), and results in memory.

A test kills a monitor by dropping its source and opens the next one under the same monitor's name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from claudetm.ports.clock import Clock
from claudetm.ports.results import Kept
from claudetm.ports.source import (
    Claimed,
    ClaimOutcome,
    Gone,
    Job,
    Lane,
    Note,
    Offer,
    Refused,
    Result,
    SourceBusy,
    SourceRefused,
    Taken,
)
from claudetm.testing.memory import FaultPoint, no_fault

LEASE = 900.0  # seconds


@dataclass(slots=True)
class Item:
    """One task at the place."""

    job: Job
    priority: int = 0
    lane: Lane = Lane.WORK
    why_not: str = ""  # it is listed with it, and not claimed
    refused: str = ""  # what a claim learns
    gone: bool = False
    holder: str = ""  # the monitor that has it
    kept: float = 0.0  # when its holder last showed itself
    deaths: int = 0
    claims: list[str] = field(default_factory=list)  # every monitor that got it, in order
    notes: list[Note] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    ended: list[Result] = field(default_factory=list)  # before a person let it begin anew
    given_back: list[str] = field(default_factory=list)
    ill: bool = False  # the place answers everything but how it ended


class MemoryPlace:
    """What all monitors see. `faults` is called with `before:` and `after:` of each effect, for a test to die there.

    `busy_until`, `refusal` and `hung` are the place's troubles; `hung` makes every call wait for ever.
    """

    def __init__(self, clock: Clock, faults: FaultPoint = no_fault, lease: float = LEASE) -> None:
        self.clock = clock
        self.faults = faults
        self.lease = lease
        self.items: dict[str, Item] = {}
        self.busy_until = 0.0
        self.refusal = ""
        self.hung = False
        self.calls: list[tuple[str, str]] = []  # (call, job), in order
        self._hints: list[asyncio.Event] = []

    def add(self, id_: str, text: str = "Do it.", title: str = "", *, priority: int = 0, **more: Any) -> Item:
        """Put a task there, as somebody trusted would. `more` are fields of the job, or of the item."""
        own = {k: more.pop(k) for k in ("lane", "why_not", "refused", "ill") if k in more}
        job = Job(id_, "memory", text, title or id_, created=self.clock.now(), **more)
        self.items[id_] = Item(job, priority, **own)
        self.wake()
        return self.items[id_]

    def wake(self) -> None:
        """Hint to every monitor that something may have come."""
        for event in self._hints:
            event.set()

    def listener(self) -> asyncio.Event:
        """Return an event that is set at each hint."""
        self._hints.append(asyncio.Event())
        return self._hints[-1]


class MemorySource:
    """Implements ports/source.Source for one monitor at a place."""

    def __init__(self, place: MemoryPlace, monitor: str = "one", name: str = "memory") -> None:
        self.place = place
        self.monitor = monitor
        self.closed = False
        self._name = name
        self._woken = place.listener()

    @property
    def name(self) -> str:
        """Return its name."""
        return self._name

    async def _ask(self, call: str, job: str = "") -> None:
        self.place.calls.append((call, job))
        await asyncio.sleep(0)  # as a real one, it lets others have their turn
        if self.place.hung:
            await asyncio.Event().wait()
        if self.place.refusal:
            raise SourceRefused(self.place.refusal)
        if self.place.clock.now() < self.place.busy_until:
            raise SourceBusy("The place in memory is busy.", self.place.busy_until)

    def _held(self, item: Item) -> str:
        alive = self.place.clock.now() - item.kept < self.place.lease
        return item.holder if alive or item.holder == self.monitor else ""

    def _taken(self, item: Item) -> str:
        by = self._held(item)
        return f"monitor {by} works it" if by not in ("", self.monitor) else ""

    async def list(self) -> Sequence[Offer]:
        """Return what is there and has not ended."""
        await self._ask("list")
        return [
            Offer(i.job.id, i.job.title, i.job.created, i.priority, i.lane, i.why_not or self._taken(i))
            for i in self.place.items.values()
            if not i.gone and not i.results
        ]

    async def claim(self, job: str) -> ClaimOutcome:
        """Take it, unless another has it."""
        await self._ask("claim", job)
        item = self.place.items.get(job)
        if item is None or item.gone or item.results:
            return Gone("it has ended" if item and item.results else "it was removed")
        if item.refused or item.why_not:
            return Refused(item.refused or item.why_not)
        if (by := self._held(item)) and by != self.monitor:
            return Taken(f"monitor {by}")
        self.place.faults(f"before:claim:{job}")
        item.holder, item.kept = self.monitor, self.place.clock.now()
        item.claims.append(self.monitor)
        self.place.faults(f"after:claim:{job}")
        return Claimed(item.job, item.deaths)

    async def keep(self, job: Job) -> bool:
        """Prolong the claim, if it is ours still."""
        await self._ask("keep", job.id)
        item = self.place.items.get(job.id)
        if item is None or item.gone or item.holder != self.monitor:
            return False
        item.kept = self.place.clock.now()
        return True

    async def progress(self, job: Job, note: Note) -> None:
        """Remember the note."""
        await self._ask("progress", job.id)
        if (item := self.place.items.get(job.id)) is not None and not item.results:
            item.notes.append(note)

    async def reopen(self, job: str) -> None:
        """Let it be a task again."""
        await self._ask("reopen", job)
        if (item := self.place.items.get(job)) is not None:
            item.ended.extend(item.results)
            item.results.clear()

    async def finish(self, job: Job, result: Result) -> None:
        """Remember the first result."""
        await self._ask("finish", job.id)
        item = self.place.items.get(job.id)
        if item is not None and item.ill:
            raise SourceBusy(f"The place in memory fails over {job.id}.", self.place.clock.now() + 1)
        if item is None or item.results:
            return
        self.place.faults(f"before:finish:{job.id}")
        item.results.append(result)
        item.holder = ""
        self.place.faults(f"after:finish:{job.id}")

    async def give_back(self, job: Job, why: str) -> None:
        """Let go of it."""
        await self._ask("give_back", job.id)
        item = self.place.items.get(job.id)
        if item is None or item.results or item.holder != self.monitor:
            return
        self.place.faults(f"before:give_back:{job.id}")
        item.holder = ""
        item.given_back.append(why)
        self.place.faults(f"after:give_back:{job.id}")

    async def hint(self) -> None:
        """Return when something came."""
        await self._woken.wait()
        self._woken.clear()

    async def close(self) -> None:
        """Take note of it."""
        self.closed = True


class MemoryResults:
    """Implements ports/results.Results in a dict that outlives a monitor. `written` counts by job."""

    def __init__(self, faults: FaultPoint = no_fault) -> None:
        self.faults = faults
        self.kept: dict[str, Result] = {}
        self.replaced: list[Result] = []
        self.jobs: dict[str, Job] = {}

    def write(self, result: Result, job: Job) -> None:
        """Keep it."""
        self.faults(f"before:result:{result.job}")
        self.kept[result.job] = result
        self.jobs[result.job] = job
        self.faults(f"after:result:{result.job}")

    def ended(self, job: str) -> bool:
        """Return whether one is kept."""
        return job in self.kept

    def read(self, job: str) -> Kept | None:
        """Return what is kept."""
        result = self.kept.get(job)
        if result is None:
            return None
        return Kept(job, result.status, self.jobs[job].source, result.retries, self.jobs[job].repository)

    def replace(self, job: str) -> bool:
        """Set it aside."""
        result = self.kept.pop(job, None)
        if result is not None:
            self.replaced.append(result)
        return result is not None
