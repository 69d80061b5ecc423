"""A session's run on real git, with drivers that die: one end, each file once, and nothing of the user's moved."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from claudetm.engine.loop import Ending
from claudetm.ports.agent import Role, SessionReport, SessionRequest
from claudetm.workflow.policy import Policy
from integration.repositories import fingerprint, git, make_run, make_user, write
from world import Killed, World, answered

BRANCH = "claudetm/task/greet"
POLICY = Policy(verify=False, land=False, self_review=False, poll_seconds=30.0, audit_rounds=3)
DONE: Mapping[str, Any] = {
    "outcome": "done",
    "summary": "It greets.",
    "report": "",
    "checks": [],
    "evidence": [],
    "blocker": None,
    "remaining": [],
    "learnings": [],
    "follow_ups": [],
}


async def plays(world: World, request: SessionRequest) -> SessionReport:
    """Commit a file a round, unless a session that was killed has done so; the first audit is not content."""
    audits = world.count("AuditFailed")
    if request.role is Role.AUDITOR:
        notes = {"score": 40 if not audits else 90, "notes": "Say it louder.", "findings": [], "examined": ["all"]}
        (request.cwd / "litter.txt").write_text("of the auditor\n")
        return answered(notes)
    name = f"round-{audits}.txt"
    if not (request.cwd / name).exists():
        write(request.cwd, {name: "hello\n"})
    if git(request.cwd, "status", "--porcelain"):
        git(request.cwd, "add", "-A")
        git(request.cwd, "commit", "-q", "-m", f"Round {audits}")
    return answered(DONE)


class Place:
    """The user's repository and what outlives the drivers of a session in it."""

    def __init__(self, folder: Path, keep: Mapping[str, Any]) -> None:
        self.folder = folder
        self.user = make_user(folder / "user")
        self.before = fingerprint(self.user)
        self.world = World(play=plays, policy=POLICY, begun={"mode": "session", "keep": keep})

    def drive(self, kill_at: int = 0) -> Ending | None:
        """Let one driver run; it dies at the point of that number, counted from its own beginning."""
        world = self.world
        world.kill_at = f"#{len(world.points) + kill_at}" if kill_at else ""
        world.repository = make_run(self.user, self.folder / "state", faults=world.fault)  # type: ignore[assignment] # as good
        world.repository.first = git(self.user, "rev-parse", "main")
        try:
            return asyncio.run(world.drive())
        except Killed:
            return None

    def held(self) -> None:
        """Hold the end against what it is to be."""
        run = self.world.run
        assert run.kept is not None
        assert git(self.user, "log", "--format=%s", f"main..{run.kept.ref}").splitlines() == ["Round 1", "Round 0"]
        assert git(self.user, "ls-tree", "--name-only", run.kept.ref).splitlines()[1:] == [
            "round-0.txt",
            "round-1.txt",
            "src",
        ]
        ours = git(self.user, "for-each-ref", "--format=%(refname)", "refs/claudetm", "refs/heads/claudetm")
        assert ours == run.kept.ref
        assert fingerprint(self.user) == self.before
        assert [self.world.count(name) for name in ("AuditFailed", "AuditPassed", "ChangeKept")] == [1, 1, 1]


STRIDE: Final = int(os.environ.get("CLAUDETM_TEST_STRIDE", "6"))  # 1 takes half a minute
KEPT: Mapping[str, Mapping[str, Any]] = {"snapshot": {}, "branch": {"branch": BRANCH}}


@pytest.mark.parametrize("kept", KEPT)
def test_killed_at_any_point_a_session_comes_to_the_same_end(tmp_path: Path, kept: str) -> None:
    whole = Place(tmp_path / "whole", KEPT[kept])
    assert whole.drive() is Ending.VERIFIED
    whole.held()
    points = whole.world.points
    for n in range(1, len(points) + 1, STRIDE):
        if points[n - 1].startswith("checkout:gone"):  # in a thread that no end of the driver awaits
            continue
        place = Place(tmp_path / str(n), KEPT[kept])
        assert place.drive(n) is None, points[n - 1]
        assert place.drive() is Ending.VERIFIED, points[n - 1]
        place.held()
