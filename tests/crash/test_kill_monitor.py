"""1,000 tasks dropped in bursts, the monitor killed again and again: one result each, never two at once, in order."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from claudetm.adapters.store.journal import FileJournal
from claudetm.intake.queue import fold
from crash import monitor_driver

pytestmark = [pytest.mark.crash, pytest.mark.timeout(240)]

TASKS = 1000
BURSTS = 8
SEED = 20_231_114
DYING = 40  # one task in so many kills its first worker


class Place:
    """A folder with a monitor that is killed, and begun again."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.kills = 0
        self.dropped: list[str] = []
        self._monitor: subprocess.Popen[bytes] | None = None
        self._log = (root / "monitor.log").open("wb")
        for name in ("tasks", "results", "die"):
            (root / name).mkdir()

    def begin(self) -> None:
        command = [sys.executable, monitor_driver.__file__, str(self.root), "0.5"]
        self._monitor = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log)

    def kill(self) -> None:
        assert self._monitor is not None
        assert self._monitor.poll() is None, self.log
        self._monitor.kill()
        self._monitor.wait()
        self.kills += 1

    def end(self) -> int:
        """Stop the monitor as a service manager does; return its exit code."""
        assert self._monitor is not None
        self._monitor.send_signal(signal.SIGTERM)
        return self._monitor.wait(60)

    def close(self) -> None:
        if self._monitor is not None and self._monitor.poll() is None:
            self._monitor.kill()
            self._monitor.wait()
        self._log.close()

    def drop(self, names: list[str]) -> None:
        """Put tasks there, each in one step, as a program does."""
        for name in names:
            draft = self.root / f".{name}"
            draft.write_text(f"Do {name}.\n")
            if int(name) % DYING == 0:
                (self.root / "die" / f"task-{name}").touch()
            # the kernel stamps files by its tick: two of one tick would have come at one time
            os.utime(draft, ns=(time.time_ns(), time.time_ns()))
            self.dropped.append(f"task-{name}")
            draft.rename(self.root / "tasks" / f"task-{name}.md")

    @property
    def results(self) -> int:
        return sum(path.suffix == ".json" for path in (self.root / "results").iterdir())

    @property
    def log(self) -> str:
        return (self.root / "monitor.log").read_text()

    @property
    def worked(self) -> list[tuple[str, str]]:
        """What the workers wrote: what happened, and to which task."""
        lines = (self.root / "worked.log").read_text().splitlines()
        return [(what, task) for what, _, task in (line.partition(" ") for line in lines)]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.close()


def _disturb(place: Place, chance: random.Random, until: float) -> None:
    """Drop the tasks in bursts while the monitor is killed at random; then let the last one finish."""
    waiting = [f"{n:04}" for n in range(TASKS)]
    chance.shuffle(waiting)  # the order is that of coming, not of names
    bursts = [waiting[n : n + TASKS // BURSTS] for n in range(0, TASKS, TASKS // BURSTS)]
    place.begin()
    while bursts or place.results < TASKS * 0.8:
        assert time.monotonic() < until, (place.results, place.log)
        if bursts and chance.random() < 0.7:
            place.drop(bursts.pop(0))
        time.sleep(chance.uniform(0.2, 2.5))
        place.kill()
        place.begin()
    while place.results < TASKS:
        assert time.monotonic() < until, (place.results, place.log)
        time.sleep(0.1)


def test_a_thousand_tasks_have_one_result_each_however_often_the_monitor_is_killed(place: Place) -> None:
    began = time.monotonic()
    _disturb(place, random.Random(SEED), began + 200)
    time.sleep(1.5)
    assert place.end() == 0, place.log
    queue = fold(FileJournal(place.root / "state" / "queue.jsonl").read())
    worked = place.worked
    print(f"{place.kills} kills, {time.monotonic() - began:.0f} s")

    assert place.kills >= 8
    # one result each: none missed, none twice
    assert (queue.completed, queue.failed, queue.jobs) == (TASKS, 0, {})
    ended = [json.loads(p.read_text())["status"] for p in (place.root / "results").glob("*.json")]
    assert Counter(ended) == {"completed": TASKS}
    assert set(Counter(task for what, task in worked if what == "end").values()) == {1}
    # never two at a time, neither on one task nor in one lane
    assert [what for what, _ in worked][::2] == ["start"] * (len(worked) // 2)
    assert all(a[1] == b[1] for a, b in zip(worked[::2], worked[1::2], strict=True))
    # in the order in which they came
    first = list(dict.fromkeys(task for _, task in worked))
    assert first == place.dropped
