"""A monitor over ports in memory, in virtual time: killed by dropping it, and opened again over the same world."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from claudetm.intake.monitor import Ended, Monitor, MonitorPorts
from claudetm.intake.policy import MonitorPolicy
from claudetm.intake.queue import Queue, fold
from claudetm.ports.source import Source
from claudetm.testing.memory import MemoryInbox, MemoryJournal, MemoryViews
from claudetm.testing.memory_dispatch import MemoryDispatch, Script, at_once
from claudetm.testing.memory_source import MemoryPlace, MemoryResults, MemorySource
from claudetm.testing.virtual_time import VirtualClock


class Killed(BaseException):
    """The monitor is dead at this point."""


class Life:
    """A monitor's life: it ends at the n-th point it passes, and from then on it does nothing more."""

    def __init__(self, at: int = 0) -> None:
        self.at = at
        self.points: list[str] = []
        self.over = False

    def __call__(self, point: str) -> None:
        if self.over:
            raise Killed(point)
        self.points.append(point)
        if len(self.points) == self.at:
            self.over = True
            raise Killed(point)


@dataclass
class MonitorWorld:
    script: Script = at_once
    policy: MonitorPolicy = field(default_factory=MonitorPolicy)
    tick: float = 1.0

    def __post_init__(self) -> None:
        self.clock = VirtualClock()
        self.place = MemoryPlace(self.clock)
        self.dispatch = MemoryDispatch(self.script)
        self.results = MemoryResults()
        self.lines: dict[str, list[str]] = {}
        self.inbox = MemoryInbox()
        self.views = MemoryViews()
        self.said: list[str] = []
        self.beats = 0

    def monitor(self, name: str = "one", life: Life | None = None, more: tuple[Source, ...] = ()) -> Monitor:
        life = life or Life()
        self.place.faults = self.results.faults = life
        journal = MemoryJournal(self.lines.setdefault(name, []), life)
        sources = (MemorySource(self.place, name), *more)
        ports = MonitorPorts(sources, self.dispatch, journal, self.results, self.inbox, self.views, self.clock)
        return Monitor(ports, self.policy, self.said.append, self._beat, self.tick)

    def _beat(self) -> None:
        self.beats += 1

    def queue(self, name: str = "one") -> Queue:
        return fold(MemoryJournal(self.lines.get(name, [])).read())

    def events(self, id_: str, field_: str, name: str = "one") -> list[tuple[str, Any]]:
        """The events of a job that have a field, with its value."""
        records = MemoryJournal(self.lines.get(name, [])).read()
        return [(r.type, r.data[field_]) for r in records if r.data.get("job") == id_ and field_ in r.data]

    @property
    def state(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.views.files["queue_state.json"])
        return told

    def results_of(self, id_: str) -> list[str]:
        return [str(r.status) for r in self.place.items[id_].results]

    @property
    def errors(self) -> dict[str, str]:
        return {id_: r.error for id_, r in self.results.kept.items()}


async def until(holds: Callable[[], object], seconds: float = 100_000.0, step: float = 0.5) -> None:
    """Let time pass until something holds, looked at every `step` seconds."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - time is virtual: what holds is looked for, not told
            await asyncio.sleep(step)


async def stopped(monitor: Monitor, running: asyncio.Task[Ended]) -> Ended:
    """Stop a monitor gracefully and return how it ended."""
    monitor.stop()
    return await running


def started(monitor: Monitor) -> asyncio.Task[Ended]:
    return asyncio.get_running_loop().create_task(monitor.run())
