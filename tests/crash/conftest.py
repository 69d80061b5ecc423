"""A demo for each test, and the undisturbed one that all are compared with, run once by whichever worker is first."""

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

from crash.demo_run import Demo, assert_same_end


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """How a run ends that nobody kills, and when its records came, in seconds after its driver was started."""

    outcome: dict[str, Any]
    times: list[float]


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    made = Demo(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    file = shared / "undisturbed.json"
    with (shared / "undisturbed.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            file.write_text(json.dumps(_run(tmp_path_factory.mktemp("undisturbed"))))
    return Undisturbed(**json.loads(file.read_text()))


def _run(place: Path) -> dict[str, Any]:
    demo = Demo(place)
    try:
        began = time.time()
        assert demo.end(demo.begin()) == 0, demo.output.read_text()
        outcome = json.loads(json.dumps(demo.outcome()))
        assert_same_end(demo, demo.outcome())
        return {"outcome": outcome, "times": [r["time"] - began for r in demo.records]}
    finally:
        demo.close()
