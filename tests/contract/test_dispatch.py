"""Every Dispatch passes one suite: processes and memory."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import fake_worker
from claudetm.adapters.dispatch.place import below, state_of
from claudetm.adapters.dispatch.processes import ProcessDispatch
from claudetm.adapters.store.directory import StateDirectory
from claudetm.adapters.store.journal import FileJournal
from claudetm.adapters.store.lock import acquire
from claudetm.bootstrap.clock import SystemClock
from claudetm.engine.commit import Writer
from claudetm.ports.dispatch import AwaitsPerson, Died, Dispatch, Done, Failed, Stopped, TryAgain, WorkOutcome
from claudetm.ports.source import Job, Note, Output
from claudetm.testing.dispatch_conformance import DispatchConformance, DispatchWorld
from claudetm.testing.memory_dispatch import MemoryDispatch, Working
from claudetm.workflow.events import RunResumed
from claudetm.workflow.run import Run

pytestmark = pytest.mark.anyio


NOTE = Note("working", "it is at work")
MEMORY: dict[str, WorkOutcome] = {
    "done": Done(Output("did it", run="r1")),
    "failed": Failed("it is blocked", "claudetm resume"),
    "awaits": AwaitsPerson("the plan awaits your approval", "claudetm resume"),
    "busy": TryAgain("the forge is busy", 5.0),
}


class MemoryWorld:
    def __init__(self) -> None:
        self.plays: dict[str, list[str]] = {}
        self.ends: dict[str, asyncio.Future[WorkOutcome]] = {}
        self.made = MemoryDispatch(self.play)

    async def play(self, working: Working) -> WorkOutcome:
        working.note(NOTE)
        move = self.plays[working.job.id].pop(0)
        if move != "hangs":
            return MEMORY[move]
        end = self.ends[working.job.id] = asyncio.get_running_loop().create_future()
        stop = asyncio.ensure_future(working.stop.wait())
        await asyncio.wait([end, stop], return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        return end.result() if end.done() else Stopped()

    def dispatch(self) -> Dispatch:
        return self.made

    def job(self, name: str = "a") -> Job:
        return Job(name, "memory", "Do it.")

    def script(self, job: Job, *plays: str) -> None:
        self.plays[job.id] = list(plays)

    def begun(self, job: Job) -> int:
        return self.made.began.count(job.id)

    async def running(self, job: Job) -> None:
        while job.id not in self.ends:  # noqa: ASYNC110 - it takes a turn or two of the loop
            await asyncio.sleep(0)

    async def go_on(self, job: Job) -> None:
        self.ends[job.id].set_result(MEMORY["done"])

    async def kill(self, job: Job) -> None:
        self.ends[job.id].set_result(Died("killed by signal 9 (SIGKILL)"))
        while job.id in self.made.living:  # noqa: ASYNC110 - the same
            await asyncio.sleep(0)

    async def carry_on(self, job: Job) -> None:
        self.made.answer(job.id)


class ProcessWorld:
    """Real processes, whose worker plays what it is told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        subprocess.run(["git", "init", "-q", folder], check=True)

    def dispatch(self) -> Dispatch:
        command = (sys.executable, fake_worker.__file__)
        return ProcessDispatch(below(self.folder), os.environ, command=command, look=0.02)

    def job(self, name: str = "a") -> Job:
        return Job(name, "memory", "Do it.")

    def state(self, job: Job) -> StateDirectory:
        return state_of(self.folder, job.id)

    def script(self, job: Job, *plays: str) -> None:
        self.state(job).create()
        (self.state(job).root / "plays").write_text(" ".join(plays))

    def begun(self, job: Job) -> int:
        path = self.state(job).root / "begun"
        return len(path.read_text().split()) if path.exists() else 0

    async def running(self, job: Job) -> None:
        await _there(self.state(job).root / "hangs")

    async def go_on(self, job: Job) -> None:
        (self.state(job).root / "go").touch()

    async def kill(self, job: Job) -> None:
        os.kill(int((self.state(job).root / "hangs").read_text()), signal.SIGKILL)

    async def carry_on(self, job: Job) -> None:
        """Lift the halt, as `claudetm --task ID resume` does, and leave the rest to the monitor."""
        state, run = self.state(job), Run()
        with acquire(state.lock) as lock:
            journal = FileJournal(state.journal, lock)
            for record in journal.read():
                run.apply(record)
            await Writer(run, journal, SystemClock()).append(RunResumed())


async def _there(path: Path) -> None:
    async with asyncio.timeout(30):
        while not (path.exists() and path.read_text()):  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.02)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["memory", "processes"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[DispatchWorld]:
    match request.param:
        case "memory":
            yield MemoryWorld()
        case "processes":
            yield ProcessWorld(tmp_path.resolve())
        case other:
            raise AssertionError(f"{other} has no world in {tmp_path}")


class TestDispatch(DispatchConformance):
    pass
