"""kill -9 in a whole run on GitHub, at every record and around every write, and each write lost: the end is the same.

A change with a red check, remarks of a person's who writes the description anew, a squash and an issue to close.
Engine, forge and git are real; the driver's death is an exception.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from claudetm.engine.loop import Ending
from github_double.double import Double
from github_run import GithubRun, Hours, Killed

OF_DRIVERS = {"DriverStarted", "SessionStarted", "SessionEnded", "SnapshotTaken"}
WRITES = [
    "push:before:claudetm/r1/c1",
    "open:before",
    "rerun:before:",
    "push:before:claudetm/r1/c1 again",
    "push:before:claudetm/r1/c1 once more",
    "note:before:reply:PRRT",
    "note:before:reply:comment",
    "resolve:before:reply:",
    "closes:before:",
    "merge:before:",
    "delete:before:claudetm/r1/c1",
]
LOST = {  # where it is about to happen, and what it is
    "push": ("push:before", "git push"),
    "create": ("open:before", "POST /repos/*/pulls"),
    "rerun": ("rerun:before", "POST /repos/*/rerun-failed-jobs"),
    "reply": ("note:before:reply:PRRT", "POST /repos/*/replies"),
    "comment": ("note:before:reply:comment", "POST /repos/*/issues/*/comments"),
    "resolve": ("resolve:before", "graphql resolveReviewThread"),
    "body": ("closes:before", "PATCH /repos/*/pulls/*"),
    "merge": ("merge:before", "PUT /repos/*/merge"),
    "delete": ("delete:before", "git push"),
}
END = {
    "pull requests": [("claudetm/r1/c1", "MERGED", "octo")],
    "remarks": [["And strangers?", "Done."]],
    "resolved": ["octo"],
    "conversation": ["And on Sundays?", "> And on Sundays?"],
    "branches": ["main"],
    "commits of main": 2,
    "files": ["README.md", "c1.t1.txt", "fix.txt", "review-PRRT", "review-comment", "src/app.py"],
    "attempts": [2, 1, 1],
    "issue": ("closed", "completed"),
    "once": {"TaskFinished": 1, "PullRequestOpened": 1, "PullRequestMerged": 1},
    "last": "GoalVerified",
}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GithubRun]:
    clock = Hours()
    with Double(tmp_path / "github", clock.now) as github:
        made = GithubRun(tmp_path, github, clock)
        made.written = {"c1.t1": {"red": "x\n"}}
        made.begun = {"issue": github.open_issue("Greet people", "They like it.")}
        github.state.listeners.append(lambda event: remark(made) if event.action == "opened" else None)
        yield made


def remark(world: GithubRun) -> None:
    """Let bob say something about a line, and at large, and write the description anew, which forgets the issue."""
    world.only.body = "They like it."
    world.github.remark(world.only.number, "And strangers?", "bob", "c1.t1.txt", 1)
    world.github.comment(world.only.number, "And on Sundays?", "bob")


def end(world: GithubRun) -> dict[str, Any]:
    """Return what must be the same however often the run was killed."""
    hub, pulls = world.hub, list(world.hub.pulls.values())
    return {
        "pull requests": [(p.head_ref, p.status, p.merged_by) for p in pulls],
        "remarks": [[c.body.split("\n")[0] for c in t.comments] for p in pulls for t in p.threads],
        "resolved": [t.resolved_by for p in pulls for t in p.threads],
        "conversation": [c.body.split("\n")[0] for p in pulls for c in world.comments(p.number)],
        "branches": world.hosted_git("for-each-ref", "--format=%(refname:short)", "refs/heads").splitlines(),
        "commits of main": int(world.hosted_git("rev-list", "--count", "main")),
        "files": [
            re.sub(r"(review-[a-zA-Z]+).*", r"\1", name)
            for name in world.hosted_git("ls-tree", "-r", "--name-only", "main").splitlines()
        ],
        "attempts": [r.attempt for r in hub.runs if r.event == "pull_request"],
        "issue": (hub.issues[1].state, hub.issues[1].state_reason),
        "once": {name: world.count(name) for name in END["once"]},  # type: ignore[attr-defined]
        "last": world.events[-1],
    }


def check(world: GithubRun, where: str) -> None:
    found = end(world)
    assert {k: v for k, v in found.items() if v != END[k]} == {}, where
    assert not world.run.open_sessions, where
    began = Counter(s["id"] for s in world.data("SessionStarted"))
    assert began == Counter(s["id"] for s in world.data("SessionEnded")), where
    assert [r.seq for r in world.records] == list(range(1, len(world.records) + 1)), where


def test_a_run_that_nobody_kills_comes_to_that_end(world: GithubRun) -> None:
    asyncio.run(world.to_the_end())
    check(world, "undisturbed")
    assert [w for w in WRITES if not any(p.startswith(w.partition(" ")[0]) for p in world.points)] == []


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("write", WRITES)
def test_killed_at_a_write_and_resumed_once(write: str, when: str, world: GithubRun) -> None:
    point, _, again = write.replace(":before", f":{when}").partition(" ")
    left = ["", "again", "once more"].index(again)

    class Deadly(list[str]):
        def append(self, passed: str) -> None:
            super().append(passed)
            if passed.startswith(point) and sum(p.startswith(point) for p in self) == left + 1:
                raise Killed(passed)

    world.points = Deadly()
    asyncio.run(world.to_the_end())
    assert world.count("DriverStarted") == 2, f"{write} was never reached"
    check(world, write)


@pytest.mark.parametrize("lost", ["answer", "request"])
@pytest.mark.parametrize("write", LOST)
def test_a_write_that_is_lost_happens_once_and_the_run_goes_on_by_itself(
    write: str, lost: str, world: GithubRun
) -> None:
    point, what = LOST[write]
    faults = world.github.faults
    lose = faults.lose_answer if lost == "answer" else faults.lose_request

    class Losing(list[str]):
        def append(self, passed: str) -> None:
            super().append(passed)
            if passed.startswith(point) and sum(p.startswith(point) for p in self) == 1:
                lose(what)

    world.points = Losing()
    assert asyncio.run(world.drive()) is Ending.VERIFIED, world.run.halt
    check(world, write)


def test_killed_at_every_record_and_every_write_in_turn(world: GithubRun) -> None:
    """Each driver dies at the first point that none before it has died at."""
    died: set[tuple[str, int]] = set()

    class Deadly(list[str]):
        def append(self, passed: str) -> None:
            super().append(passed)
            if passed.startswith("checkout:gone"):  # in a thread of its own, which outlives nobody
                return
            steps = sum(e not in OF_DRIVERS for e in world.events)
            kind = ":".join(part for part in passed.split(":") if not part.isdigit())
            if (kind, steps) not in died:
                died.add((kind, steps))
                raise Killed(passed)

    world.points = Deadly()
    asyncio.run(world.to_the_end())
    assert len(died) > 80
    check(world, "killed at every point")
