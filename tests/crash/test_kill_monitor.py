"""1,000 tasks dropped in bursts, the monitor killed again and again: one result each, never two at once, in order.

Two that share a folder and are killed work none of them twice, either.
"""

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
MONITORS = ("-one", "-two")
SHARED = 150


class Place:
    """A folder with monitors that are killed, and begun again."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.kills = 0
        self.dropped: list[str] = []
        self._monitors: dict[str, subprocess.Popen[bytes]] = {}
        self._log = (root / "monitor.log").open("wb")
        for name in ("tasks", "results", "die"):
            (root / name).mkdir()

    def begin(self, name: str = "") -> None:
        command = [sys.executable, monitor_driver.__file__, str(self.root), "0.5", *filter(None, [name])]
        started = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log)
        self._monitors[name] = started

    def kill(self, name: str = "") -> None:
        assert self._monitors[name].poll() is None, self.log
        self._monitors[name].kill()
        self._monitors[name].wait()
        self.kills += 1

    def end(self, name: str = "") -> int:
        """Stop a monitor as a service manager does; return its exit code."""
        self._monitors[name].send_signal(signal.SIGTERM)
        return self._monitors[name].wait(60)

    def close(self) -> None:
        for monitor in self._monitors.values():
            monitor.kill()
            monitor.wait()
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


def test_two_monitors_that_are_killed_in_turn_work_each_task_once(place: Place) -> None:
    chance, until = random.Random(SEED), time.monotonic() + 100
    names = [f"{n:04}" for n in range(1, SHARED + 1)]
    for monitor in MONITORS:
        place.begin(monitor)
    while names or place.results < SHARED:
        assert time.monotonic() < until, (place.results, place.log)
        if names:
            place.drop([names.pop(0) for _ in range(min(len(names), SHARED // 6))])
        time.sleep(chance.uniform(0.3, 1.2))
        if place.kills < 6:
            place.kill(killed := chance.choice(MONITORS))
            place.begin(killed)
    time.sleep(1)
    assert [place.end(monitor) for monitor in MONITORS] == [0, 0], place.log
    worked = place.worked
    assert place.kills == 6
    assert sorted(path.stem for path in (place.root / "results").glob("*.json")) == sorted(place.dropped)
    # each begun once, but for those that killed their worker; none while it was at work
    for task in place.dropped:
        at = [what for what, each in worked if each == task]
        assert at in (["start", "end"], ["start", "die", "start", "end"]), (task, at)
    assert list((place.root / "tasks" / ".claims").iterdir()) == []
    ended = [fold(FileJournal(place.root / f"state{name}" / "queue.jsonl").read()) for name in MONITORS]
    assert all(queue.completed and not queue.jobs for queue in ended)
