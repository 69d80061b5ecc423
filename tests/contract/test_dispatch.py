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
from claudetm.ports.dispatch import Dispatch
from claudetm.ports.source import Job
from claudetm.testing.dispatch_conformance import DispatchConformance, DispatchWorld
from claudetm.workflow.events import RunResumed
from claudetm.workflow.run import Run

pytestmark = pytest.mark.anyio


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


@pytest.fixture(params=["processes"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[DispatchWorld]:
    match request.param:
        case "processes":
            yield ProcessWorld(tmp_path.resolve())
        case other:
            raise AssertionError(f"{other} has no world in {tmp_path}")


class TestDispatch(DispatchConformance):
    pass
