"""A run for each test, and undisturbed ones that all are compared with, run once by whichever worker is first."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from crash.demo_run import OF_DRIVERS, SMALL, Demo, assert_same_end


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """How a run ends that nobody kills, and when its records came, in seconds after its driver was started.

    `steps` are those that every run has, however often it was killed.
    """

    outcome: dict[str, Any]
    times: list[float]
    steps: list[float]


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    made = Demo(tmp_path)
    yield made
    made.close()


@pytest.fixture
def whole_demo(tmp_path: Path) -> Iterator[Demo]:
    made = Demo(tmp_path, "demo")
    yield made
    made.close()


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return _undisturbed(tmp_path_factory, SMALL)


@pytest.fixture(scope="session")
def undisturbed_demo(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return _undisturbed(tmp_path_factory, "demo")


def _undisturbed(tmp_path_factory: pytest.TempPathFactory, scenario: str) -> Undisturbed:
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    file = shared / f"undisturbed-{Path(scenario).stem}.json"
    with file.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            file.write_text(json.dumps(_run(tmp_path_factory.mktemp("undisturbed"), scenario)))
    return Undisturbed(**json.loads(file.read_text()))


def _run(place: Path, scenario: str) -> dict[str, Any]:
    demo = Demo(place, scenario)
    try:
        began = time.time()
        assert demo.end(demo.begin()) == 0, demo.output.read_text()
        outcome = json.loads(json.dumps(demo.outcome()))
        assert_same_end(demo, demo.outcome())
        times = [(r["type"], r["time"] - began) for r in demo.records]
        steps = [at for kind, at in times if kind not in OF_DRIVERS]
        return {"outcome": outcome, "times": [at for _, at in times], "steps": steps}
    finally:
        demo.close()
