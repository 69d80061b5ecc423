"""Every Dispatch passes one suite: processes and memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from claudetm.ports.dispatch import AwaitsPerson, Died, Dispatch, Done, Failed, TryAgain
from claudetm.ports.source import Job, Note, Output
from claudetm.testing.dispatch_conformance import DispatchConformance, DispatchWorld
from claudetm.testing.memory_dispatch import Hangs, Machine, MemoryDispatch, Play

pytestmark = pytest.mark.anyio

NOTE = Note("working", "it is at work")
MEMORY: dict[str, Play] = {
    "done": (NOTE, Done(Output("did it", run="r"))),
    "failed": (NOTE, Failed("it is blocked", "claudetm resume")),
    "awaits": (NOTE, AwaitsPerson("the plan awaits your approval", "claudetm resume")),
    "busy": (NOTE, TryAgain("the forge is busy", 5.0)),
    "hangs": (NOTE, Hangs()),
    "dies": (NOTE, Died("killed by signal 9 (SIGKILL)")),
}


class MemoryWorld:
    def __init__(self) -> None:
        self.machine = Machine()

    def dispatch(self) -> Dispatch:
        return MemoryDispatch(self.machine)

    def job(self, name: str = "a") -> Job:
        return Job(name, "memory", "Do it.")

    def script(self, job: Job, *plays: str) -> None:
        self.machine.script(job.id, *(MEMORY[play] for play in plays))

    def begun(self, job: Job) -> int:
        return self.machine.begun.count(job.id)

    async def running(self, job: Job) -> None:
        while job.id not in self.machine.workers:  # noqa: ASYNC110 - the machine has no event for it
            await asyncio.sleep(0)

    async def go_on(self, job: Job) -> None:
        self.machine.go_on(job.id)

    async def kill(self, job: Job) -> None:
        self.machine.kill(job.id)

    async def carry_on(self, job: Job) -> None:
        self.machine.carry_on(job.id)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["memory"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[DispatchWorld]:
    match request.param:
        case "memory":
            yield MemoryWorld()
        case other:
            raise AssertionError(f"{other} has no world in {tmp_path}")


class TestDispatch(DispatchConformance):
    pass
