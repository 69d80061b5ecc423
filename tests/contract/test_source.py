"""Every Source passes one suite. A source adds its world here: a class, and its name among the fixture's params."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from claudetm.ports.source import Job, Result, Source, Status
from claudetm.testing.memory import FakeClock
from claudetm.testing.memory_source import LEASE, MemoryPlace, MemorySource
from claudetm.testing.source_conformance import SourceConformance, SourceWorld
from directory_world import DirectoryWorld
from github_double.double import Double
from issues_world import GithubIssuesWorld
from sego_world import sego_world

pytestmark = pytest.mark.anyio


class MemoryWorld:
    name, lease, hints = "memory", LEASE, 5.0

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.place = MemoryPlace(self.clock)
        self.sources: dict[str, MemorySource] = {}

    def source(self, monitor: str = "one") -> Source:
        return self.sources.setdefault(monitor, MemorySource(self.place, monitor))

    async def die(self, monitor: str = "one") -> None:
        self.sources.pop(monitor, None)

    async def wait(self, seconds: float) -> None:
        await self.clock.sleep(seconds)

    async def add(self, text: str, title: str = "") -> str:
        await self.clock.sleep(1)
        return self.place.add(f"t{len(self.place.items) * 7 % 10}", text, title).job.id

    async def add_ineligible(self) -> str:
        return self.place.add("odd", why_not="it is odd").job.id

    async def withdraw(self, job: str) -> None:
        self.place.items[job].gone = True

    async def end(self, job: Job, result: Result) -> None:
        assert job.id == result.job

    def text_of(self, job: Job) -> str:
        return job.text

    async def reported(self, job: str) -> Sequence[Status]:
        return [r.status for r in self.place.items[job].results]

    async def busy(self, seconds: float) -> None:
        self.place.busy_until = self.clock.now() + seconds

    async def refuse(self) -> None:
        self.place.refusal = "The place in memory lets nobody in."


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["memory", "directory", "github", "sego"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SourceWorld]:
    match request.param:
        case "memory":
            yield MemoryWorld()
        case "directory":
            place = DirectoryWorld(tmp_path)
            yield place
            await place.close()
        case "github":
            clock = FakeClock()
            with Double(tmp_path, clock.now) as github:
                yield GithubIssuesWorld(github, clock)
        case "sego":
            async with sego_world() as made:
                yield made
        case other:
            raise AssertionError(f"{other} has no world in {tmp_path}")


class TestSource(SourceConformance):
    pass
