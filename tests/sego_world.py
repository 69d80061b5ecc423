"""A Sego server on loopback, the monitors at it, and the people who use it."""

from __future__ import annotations

import re
import unittest
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from claudetm.adapters.sources.sego.settings import SegoSettings
from claudetm.adapters.sources.sego.source import SegoSource
from claudetm.ports.source import Job, Result, Source, Status
from claudetm.testing.memory import FakeClock
from claudetm.testing.sego.faults import Fault
from claudetm.testing.sego.serve import Serving, serve
from claudetm.testing.sego.state import Sandbox
from sego_contract import Held

PROJECT = "p1"
RESULT = re.compile(r"<!-- claudetm:result \S+ (\w+) -->\Z")


class SegoWorld:
    name, lease, hints = "sego", 0.0, 5.0

    def __init__(self, serving: Serving, **changed: object) -> None:
        self.serving = serving
        self.sandbox = serving.sandbox
        self.clock = FakeClock()
        self.notices: list[str] = []
        self.settings = SegoSettings(key=self.sandbox.key, address=serving.url, project=PROJECT)
        self.settings = replace(self.settings, **changed)  # type: ignore[arg-type]
        self.sources: dict[str, SegoSource] = {}
        self.dead: list[SegoSource] = []
        self._busy: tuple[float, Fault] | None = None

    def source(self, monitor: str = "one") -> Source:
        if monitor not in self.sources:
            settings = replace(self.settings, monitor=monitor)
            self.sources[monitor] = SegoSource(settings, self.clock, self.notices.append)
        return self.sources[monitor]

    async def die(self, monitor: str = "one") -> None:
        if monitor in self.sources:
            self.dead.append(self.sources.pop(monitor))

    async def wait(self, seconds: float) -> None:
        if self.dead and not seconds:
            raise unittest.SkipTest("one monitor a project: no claim passes over by itself")
        await self.clock.sleep(seconds)
        if self._busy and self.clock.now() >= self._busy[0]:
            self._busy[1].times = 0

    async def add(self, text: str, title: str = "") -> str:
        return f"sego-{self.sandbox.add_task(PROJECT, title=title, description=text)['id']}"

    async def add_ineligible(self) -> str:
        return f"sego-{self.sandbox.add_task(PROJECT, title='Doubtful', aiConfidence=0.7)['id']}"

    async def withdraw(self, job: str) -> None:
        del self.sandbox.tasks[job.removeprefix("sego-")]

    async def end(self, job: Job, result: Result) -> None:
        assert job.id == result.job

    def text_of(self, job: Job) -> str:
        return job.text.removeprefix(f"{job.title}\n\n") if job.title else job.text

    async def reported(self, job: str) -> Sequence[Status]:
        comments = self.sandbox.comments[job.removeprefix("sego-")]
        return [Status(found[1]) for c in comments if (found := RESULT.search(c["text"]))]

    async def busy(self, seconds: float) -> None:
        fault = Fault(times=10_000, status=429, headers={"Retry-After": str(int(seconds))})
        self._busy = (self.clock.now() + seconds, fault)
        self.serving.faults.append(fault)

    async def refuse(self) -> None:
        self.sandbox.key = "another"

    async def close(self) -> None:
        for source in [*self.sources.values(), *self.dead]:
            await source.close()


@asynccontextmanager
async def sego_world(sandbox: Sandbox | None = None, **changed: object) -> AsyncIterator[SegoWorld]:
    """Yield a world with one project; whatever is said there is held to the contract."""
    held = Held()
    box = sandbox or Sandbox()
    box.add_project(PROJECT)
    async with serve(box, around=held) as serving:
        world = SegoWorld(serving, **changed)
        try:
            yield world
        finally:
            await world.close()
    assert held.wrong == []
