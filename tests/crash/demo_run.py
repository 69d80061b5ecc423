"""One demo in a world of its own (home, state, temporary folder), the drivers to kill, and what must hold at its end.

A driver is a real process in its own session. A moment is told by the journal and a delay after it, so that a busy
machine moves it no further than the run itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from claudetm.adapters.agent.environment import TOOL_FOLDERS
from claudetm.cli.demo import GOAL, make_repository

SMALL: Final = str(Path(__file__).with_name("one_pull_request.yaml"))
"""A third of the demo: one pull request, and nothing goes wrong."""
OF_DRIVERS: Final = frozenset({"DriverStarted", "SessionStarted", "SessionEnded", "SnapshotTaken"})
PATIENCE: Final = 200.0  # seconds for a run of twelve, on a machine with other things to do
SOON: Final = 20.0  # seconds for what is under way already
COMMAND: Final = (sys.executable, "-m", "claudetm")


def until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> None:
    """Wait until the condition holds; fail, saying what did not come."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds} seconds")
        time.sleep(0.005)


@dataclass(frozen=True, slots=True)
class Moment:
    """So many records in the journal, and so many seconds after the last of them."""

    records: int
    seconds: float = 0.0
    steps: bool = False  # count only what every run has, not what a killed one has besides


class Demo:
    """The demo's repository below `place`, and everything that its drivers touch. They play `scenario`."""

    def __init__(self, place: Path, scenario: str = SMALL) -> None:
        self.scenario = scenario
        self.repository = place / "greet"
        self.temporary = place / "tmp"
        self.states = place / "state"
        for folder in (self.repository, self.temporary, self.states, place / "home"):
            folder.mkdir(parents=True)
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(place / "home"),
            "XDG_STATE_HOME": str(self.states),
            "XDG_CONFIG_HOME": str(place / "home" / ".config"),
            "TMPDIR": str(self.temporary),
            "LANG": "C.UTF-8",
            # behind a private home, version managers find their programs by these
            **{k: os.environ.get(k) or str(Path.home() / folder) for k, folder in TOOL_FOLDERS.items()},
        }
        self.output = place / "output.txt"
        self._drivers: list[subprocess.Popen[bytes]] = []
        make_repository(self.repository)

    # drivers

    def begin(self, *options: str, **variables: str) -> subprocess.Popen[bytes]:
        """Start the driver of a new run."""
        return self._start("start", GOAL, "--rehearse", self.scenario, *options, **variables)

    def carry_on(self, **variables: str) -> subprocess.Popen[bytes]:
        """Start a driver by `claudetm resume`."""
        return self._start("resume", **variables)

    def _start(self, *arguments: str, **variables: str) -> subprocess.Popen[bytes]:
        with self.output.open("ab") as output:
            driver = subprocess.Popen(
                [*COMMAND, *arguments],
                cwd=self.repository,
                env=self.environment | variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._drivers.append(driver)
        return driver

    def end(self, driver: subprocess.Popen[bytes]) -> int:
        """Wait for a driver that is to end by itself; return its exit code."""
        return driver.wait(PATIENCE)

    def resume(self) -> int:
        """Resume to the end; return the exit code."""
        return self.end(self.carry_on())

    def reach(self, driver: subprocess.Popen[bytes], moment: Moment) -> None:
        """Wait for the moment; a driver that ends before it is too fast, which is no failure."""
        reached = self.steps if moment.steps else lambda: self.length
        until(lambda: driver.poll() is not None or reached() >= moment.records, f"record {moment.records}")
        try:
            driver.wait(moment.seconds)
        except subprocess.TimeoutExpired:
            return

    def kill(self, driver: subprocess.Popen[bytes]) -> None:
        """Kill -9 the driver alone; bury it."""
        driver.kill()
        driver.wait(PATIENCE)

    def close(self) -> None:
        """Kill what a failed test left."""
        for driver in self._drivers:
            if driver.poll() is None:
                self.kill(driver)
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    # what is there

    @property
    def journal(self) -> Path:
        return self.repository / ".claude-task-master" / "journal.jsonl"

    @property
    def length(self) -> int:
        """The journal's length in whole records."""
        return self.journal.read_bytes().count(b"\n") if self.journal.exists() else 0

    @property
    def over(self) -> bool:
        return bool(self.length) and bool(self.records[-1]["type"] == "GoalVerified")

    def steps(self) -> int:
        """Return how many whole records the journal has that tell of the run and not of its drivers and sessions."""
        lines = self.journal.read_bytes().split(b"\n")[:-1] if self.journal.exists() else []
        return sum(json.loads(line)["type"] not in OF_DRIVERS for line in lines)

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.journal.read_text().splitlines()]

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Return the data of all events of a type."""
        return [r["data"] for r in self.records if r["type"] == kind]

    @property
    def run(self) -> str:
        return str(self.records[0]["data"]["run"])

    @property
    def run_folder(self) -> Path:
        [folder] = self.states.glob(f"claudetm/*/{self.run}")
        return folder

    def git(self, *arguments: str) -> str:
        command = ["git", "-C", str(self.repository), *arguments]
        return subprocess.run(
            command, check=True, capture_output=True, text=True, env=self.environment
        ).stdout.strip()

    def forge(self, kind: str) -> list[dict[str, Any]]:
        """Return the local forge's records of a kind."""
        file = self.repository / ".claude-task-master" / "forge" / "journal.jsonl"
        return [r for r in map(json.loads, file.read_text().splitlines()) if r["kind"] == kind]

    def processes(self) -> set[int]:
        """Return what is alive anywhere and carries the run's marker."""
        if not self.length:
            return set()
        marker = f"CLAUDETM_RUN={self.run}".encode()
        return {pid for pid, variables in _environments() if marker in variables}

    def outcome(self) -> Mapping[str, Any]:
        """Return what every run of the demo must come to, however often it was killed."""
        run = self.run
        base = f"claudetm/{run}/base"
        dot_git = self.repository / ".git"
        return {
            "tree": self.git("rev-parse", "main^{tree}"),
            "checkout": self.git("ls-files", "--stage"),
            "status": self.git("status", "--porcelain"),
            "stash": self.git("stash", "list"),
            "landed": self.git("rev-parse", "main") == self.git("rev-parse", base),
            "commits": sorted(self.git("log", "--format=%s", base).splitlines()),
            "merges": self.git("rev-list", "--merges", "--count", base),
            "refs": [r for r in self._refs() if "/snapshots/" not in r],  # kept where a session was stopped
            "pulls": [[p["number"], p["change"]] for p in self.forge("opened")],
            "config": (dot_git / "config").read_text(),
            "git directory": sorted(p.name for p in dot_git.iterdir()),
            "locks": sorted(str(p) for p in dot_git.rglob("*.lock")),
            "tasks": [t["task"] for t in self.events("TaskFinished")],
            "updated": len(self.events("BranchUpdated")),
            "fixed": [f["change"] for f in self.events("FixPushed")],
            "settled": sorted(n["marker"].split(":")[0] for n in self.forge("noted")),
            "opened": [p["number"] for p in self.events("PullRequestOpened")],
            "merged": sorted(m["change"] for m in self.events("PullRequestMerged")),
            "receipts": {c["criterion"]: c["verdict"] for c in self.events("CriterionChecked")},
            "last": self.records[-1]["type"],
        }

    def _refs(self) -> list[str]:
        return self.git("for-each-ref", "--format=%(refname)").replace(self.run, "RUN").splitlines()

    def leftovers(self) -> Mapping[str, list[str]]:
        """Return what should not be there once a run is over."""
        folder = self.run_folder
        return {
            "temporary folders": sorted(p.name for p in self.temporary.glob("claudetm-*")),
            "checkouts": sorted(p.name for p in folder.glob("checkouts/*")),
            "unfinished": sorted(p.name for p in (*folder.glob(".*"), *folder.glob("changes/.*"))),
            "locks": sorted(str(p.relative_to(folder)) for p in folder.glob("clean-room.git/**/*.lock")),
            "drafts": sorted(p.name for p in self.journal.parent.glob(".*.tmp")),
            "inbox": sorted(p.name for p in self.journal.parent.glob("inbox/*")),
        }

    def lost(self) -> list[dict[str, Any]]:
        """Return the ends of the sessions whose driver died."""
        return [s for s in self.events("SessionEnded") if s["outcome"] == "lost"]


def _environments() -> Iterator[tuple[int, list[bytes]]]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            yield int(folder.name), (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue


def below(pid: int) -> set[int]:
    """Return the processes that descend from one."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text(errors="replace")
        except OSError:
            continue
        parents[int(stat.parent.name)] = int(text[text.rindex(")") + 2 :].split()[1])
    found = {pid}
    while more := {p for p, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def assert_same_end(demo: Demo, reference: Mapping[str, Any]) -> None:
    """Check that the run ended as an undisturbed one does, with nothing done twice, lost or left."""
    said = demo.output.read_text(errors="replace")
    found = demo.outcome()
    differs = {name: (found[name], wanted) for name, wanted in reference.items() if found[name] != wanted}
    assert not differs, f"{differs}\n{said}"
    assert [r["seq"] for r in demo.records] == list(range(1, demo.length + 1)), "the journal has no gap"
    assert not any(demo.leftovers().values()), demo.leftovers()
    until(lambda: not demo.processes(), "the end of every process of the run", SOON)
    assert_sessions_charged(demo)


def assert_sessions_charged(demo: Demo) -> None:
    """Check that each session that began has ended once for each beginning, and was paid for where it was lost."""
    began = Counter(s["id"] for s in demo.events("SessionStarted"))
    assert began == Counter(s["id"] for s in demo.events("SessionEnded"))
    assert all(s["usage"]["cost_usd"] > 0 for s in demo.lost()), "a killed session is charged"


def moments(steps: Sequence[float], end: float, count: int, seed: int) -> list[Moment]:
    """Return `count` moments, one at random in each of as many equal parts of a run that took `end` seconds.

    `steps` are when its steps came, in seconds after its driver was started.
    """
    chance = random.Random(seed)
    found = []
    for n in range(count):
        at = (n + chance.random()) / count * end
        reached = sum(1 for t in steps if t <= at)
        found.append(Moment(reached, at - (steps[reached - 1] if reached else 0.0), steps=True))
    return found
