"""What the engine itself costs: agent, forge and repository in memory, the journal a file on tmpfs."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from claudetm.adapters.store.directory import FileViews, RunViews
from claudetm.adapters.store.journal import FileJournal
from claudetm.adapters.store.lock import acquire
from claudetm.engine.loop import Ending
from claudetm.ports.store import Journal
from world import World, proposal, task

pytestmark = pytest.mark.bench

TASKS_A_CHANGE = 5


@dataclass
class Measured:
    """One whole run."""

    seconds: float
    fsync_seconds: float
    events: int

    @property
    def per_event(self) -> float:
        """Seconds of our own work an event."""
        return (self.seconds - self.fsync_seconds) / self.events


def plan_of(tasks: int) -> dict[str, Any]:
    changes = [
        {
            "id": f"c{n}",
            "title": f"Change {n}",
            "tasks": [task(f"Step {t}") for t in range(TASKS_A_CHANGE)],
            "depends_on": [f"c{n - 1}"] if n > 1 else [],
        }
        for n in range(1, tasks // TASKS_A_CHANGE + 1)
    ]
    return proposal(*changes)


def whole_run(tasks: int) -> Measured:
    """Drive a run of so many tasks from planning to verified."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        lock = acquire(Path(folder) / "lock")
        journal = FileJournal(Path(folder) / "journal.jsonl", lock)
        world = _OnFile(plan_of(tasks), journal, Path(folder))
        began = time.perf_counter()
        assert asyncio.run(world.drive()) is Ending.VERIFIED
        seconds = time.perf_counter() - began
        lock.release()
        return Measured(seconds, journal.sync_seconds, journal.syncs)


class _OnFile(World):
    def __init__(self, plan: dict[str, Any], journal: FileJournal, folder: Path) -> None:
        super().__init__(plan)
        self.file = journal
        self.views = RunViews(FileViews(folder))

    def journal(self) -> Journal:
        return self.file


def test_400_tasks_take_at_most_3_seconds() -> None:
    run = whole_run(400)
    print(f"\n400 tasks: {run.seconds:.2f} s, of it fsync {run.fsync_seconds:.2f} s; {run.events} events")
    assert run.seconds - run.fsync_seconds <= 3.0


def test_an_event_costs_the_same_however_long_the_plan_is() -> None:
    whole_run(10)
    small = min(whole_run(10).per_event for _ in range(15))
    large = min(whole_run(1000).per_event for _ in range(3))
    print(f"\nan event at 10 tasks {small * 1e6:.0f} µs, at 1,000 tasks {large * 1e6:.0f} µs: {large / small:.2f}")
    assert large / small <= 1.3


def test_the_orchestrator_needs_at_most_150_mb() -> None:
    """The driver's own process, with everything it imports; the CLI is another process."""
    code = (
        "import resource, claudetm.bootstrap.driving, claudetm.cli.views, claudetm.cli.start\n"
        "import git, claude_agent_sdk, jinja2\n"
        "from test_engine import whole_run\n"
        "whole_run(400)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)\n"
    )
    here = Path(__file__).parent
    paths = f"{here}:{here.parent}"
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    megabytes = int(done.stdout.split()[-1])
    print(f"\npeak {megabytes} MB")
    assert megabytes <= 150
