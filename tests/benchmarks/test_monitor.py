"""What the monitor costs: idle beside 10,000 finished tasks, an event of its queue, a file until it is claimed.

The monitor is a real process over a real directory; only its workers are tiny (see tests/crash/monitor_driver.py).
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import psutil
import pytest

from claudetm.adapters.store.journal import FileJournal
from claudetm.adapters.store.lock import acquire
from claudetm.adapters.store.results import FileResults
from claudetm.bootstrap.clock import SystemClock
from claudetm.intake import events as e
from claudetm.intake.writer import QueueWriter
from claudetm.ports.source import Job, Lane, Result, Status
from crash import monitor_driver

pytestmark = pytest.mark.bench

FINISHED = 10_000
IDLE_SECONDS = 30.0


def finished(root: Path, tasks: int) -> None:
    """Leave so many finished tasks: their files, and their results."""
    for name in ("tasks", "results"):
        (root / name).mkdir()
    results = FileResults(root / "results")
    for n in range(tasks):
        id_ = f"task-{n:05}"
        (root / "tasks" / f"{id_}.md").write_text(f"Do {n}.\n")
        if n == 0:
            results.write(Result(id_, Status.COMPLETED, 1.0, 2.0, 3.0, 1), Job(id_, "directory", "Do it."))
            text = (root / "results" / f"{id_}.json").read_text()
        else:
            (root / "results" / f"{id_}.json").write_text(text.replace("task-00000", id_))


@contextmanager
def monitor(root: Path, poll: float) -> Iterator[psutil.Process]:
    """Run the monitor; yield it once its view stands."""
    command = [sys.executable, monitor_driver.__file__, str(root), str(poll)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        try:
            until = time.monotonic() + 30
            while not (root / "state" / "queue_state.json").exists():
                assert time.monotonic() < until
                time.sleep(0.05)
            yield psutil.Process(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0


def cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def test_idle_beside_10000_finished_tasks_it_takes_less_than_half_a_percent_of_a_core(tmp_path: Path) -> None:
    finished(tmp_path, FINISHED)
    with monitor(tmp_path, 30.0) as process:
        time.sleep(5)  # its start-up sweep
        before, began = cpu(process), time.monotonic()
        time.sleep(IDLE_SECONDS)
        share = (cpu(process) - before) / (time.monotonic() - began)
    print(f"idle: {share:.3%} of a core")
    assert share < 0.005


def test_a_file_that_is_dropped_is_claimed_within_a_second(tmp_path: Path) -> None:
    finished(tmp_path, FINISHED)
    took = []
    with monitor(tmp_path, 30.0):
        time.sleep(5)
        for n in range(10):
            draft = tmp_path / ".draft"
            draft.write_text("Do it.\n")
            draft.rename(tmp_path / "tasks" / f"task-new-{n}.md")
            dropped = time.time()
            while not (tmp_path / "results" / f"task-new-{n}.json").exists():
                time.sleep(0.005)
            took.append(claimed_at(tmp_path, f"task-new-{n}") - dropped)
    print(f"from drop to claim: median {median(took):.3f} s, longest {max(took):.3f} s")
    assert max(took) < 1.0


def claimed_at(root: Path, id_: str) -> float:
    """Return when a job was claimed, by the journal."""
    records = FileJournal(root / "state" / "queue.jsonl").read()
    return next(r.time for r in records if r.type == "JobClaimed" and r.data["job"] == id_)


def event_seconds(folder: Path, before: int) -> float:
    """Return what an event costs, without its fsync, after so many jobs have been finished."""
    with acquire(folder / "lock") as lock:
        journal = FileJournal(folder / "queue.jsonl", lock)
        writer = QueueWriter(journal, SystemClock(), lambda: None)
        asyncio.run(_finish(writer, range(before)))
        synced, began = journal.sync_seconds, time.perf_counter()
        events = asyncio.run(_finish(writer, range(before, before + 300)))
        seconds = (time.perf_counter() - began - (journal.sync_seconds - synced)) / events
        journal.close()
    (folder / "queue.jsonl").unlink()
    return seconds


async def _finish(writer: QueueWriter, jobs: range) -> int:
    for n in jobs:
        id_ = f"t{n}"
        await writer.append(e.JobQueued(id_, "directory", "Do it.", 1.0, 0, Lane.WORK, 1))
        await writer.append(e.JobClaimed(id_, Job(id_, "directory", "Do it.")))
        await writer.append(e.JobCompleted(id_, Result(id_, Status.COMPLETED, 1.0, 2.0, 3.0, 1)))
        await writer.append(e.JobReported(id_))
    return 4 * len(jobs)


def test_an_event_costs_the_same_after_10000_finished_tasks_as_after_10() -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        few = min(event_seconds(Path(folder), 10) for _ in range(3))
        many = min(event_seconds(Path(folder), FINISHED) for _ in range(2))
    print(
        f"an event: {few * 1e6:.0f} us after 10 tasks, {many * 1e6:.0f} us after {FINISHED}: ratio {many / few:.2f}"
    )
    assert many / few < 1.5


def test_a_start_beside_10000_finished_tasks_is_quick(tmp_path: Path) -> None:
    with acquire(tmp_path / "lock") as lock:
        journal = FileJournal(tmp_path / "queue.jsonl", lock)
        asyncio.run(_finish(QueueWriter(journal, SystemClock(), lambda: None), range(2000)))
        journal.close()
        size = (tmp_path / "queue.jsonl").stat().st_size
        began = time.perf_counter()
        writer = QueueWriter(FileJournal(tmp_path / "queue.jsonl"), SystemClock(), lambda: None)
        seconds = (time.perf_counter() - began) * FINISHED / 2000
    print(f"folding the journal of {FINISHED} tasks ({size * 5 >> 20} MiB): {seconds:.2f} s")
    assert writer.queue.completed == 2000
    assert seconds < 2.0
