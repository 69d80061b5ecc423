"""How long commands take before they can do anything, as ratios to a floor measured in the same run."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from claudetm.adapters.store.directory import NAME, StateDirectory
from claudetm.adapters.store.journal import FileJournal
from claudetm.adapters.store.lock import acquire
from world import World

pytestmark = pytest.mark.bench

ROUNDS = 15
FLOOR = Path(__file__).with_name("floor_app.py")
CLAUDETM = Path(sys.executable).with_name("claudetm")


def _once(command: Sequence[str], cwd: Path) -> float:
    began = time.perf_counter()
    subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def _ratio(ours: Sequence[str], floor: Sequence[str], cwd: Path) -> float:
    """Return the ratio of the fastest of many, taken in turns, so that both see the same machine."""
    _once(ours, cwd), _once(floor, cwd)
    pairs = [(_once(ours, cwd), _once(floor, cwd)) for _ in range(ROUNDS)]
    fastest = min(p[0] for p in pairs), min(p[1] for p in pairs)
    print(f"\n{' '.join(map(str, ours[1:]))}: {fastest[0] * 1000:.0f} ms, floor {fastest[1] * 1000:.0f} ms")
    return fastest[0] / fastest[1]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the state directory of a run that is over."""
    state = StateDirectory(tmp_path / NAME)
    state.create()
    world = World()
    asyncio.run(world.drive())

    async def write() -> None:
        with acquire(state.lock) as lock:
            journal = FileJournal(state.journal, lock)
            for record in world.records:
                await journal.append(record)
            journal.close()

    asyncio.run(write())
    return tmp_path


def test_status_is_at_most_a_quarter_slower_than_an_empty_app(project: Path) -> None:
    assert _ratio([str(CLAUDETM), "status"], [sys.executable, str(FLOOR), "status"], project) <= 1.25


def test_help_is_at_most_15_percent_slower_than_an_empty_app(project: Path) -> None:
    assert _ratio([str(CLAUDETM), "--help"], [sys.executable, str(FLOOR), "--help"], project) <= 1.15


def test_version_takes_at_most_five_times_an_empty_interpreter(project: Path) -> None:
    assert _ratio([str(CLAUDETM), "--version"], [sys.executable, "-c", "pass"], project) <= 5
