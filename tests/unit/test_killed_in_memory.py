"""kill -9 at every journal append and around every outside effect, on the memory adapters, in the runs that are
longer than the straight way: two changes, a review, red checks, a moved base; once, and twice in a row."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

import pytest

from claudetm.engine.loop import Ending
from claudetm.ports.agent import Role, SessionReport, SessionRequest
from claudetm.testing.memory import GREEN, RED
from world import Killed, World, answered, change_of, honest, proposal, subject_of, task, work

pytestmark = pytest.mark.sweep

FOUND = {
    "path": "c1.t1.txt",
    "line": 1,
    "severity": "blocking",
    "claim": "It greets nobody.",
    "failure": "Run it.",
    "confidence": "high",
}


async def careful(world: World, request: SessionRequest) -> SessionReport:
    """Do what is still to do, as an agent does that looks at what a session before it has left."""
    files = {Role.FIXER: {"fix.txt": "fixed"}, Role.RESPONDER: {"review.txt": "answered"}}.get(request.role)
    if request.role is Role.WORKER:
        files = {f"{subject_of(request.prompt)}.txt": "done\n"}
    if files is None:
        return await honest(world, request)
    change = change_of(request)
    there = files.items() <= world.repository.worktrees[change].files.items()
    if not there:
        world.repository.work(change, files, "Fix" if request.role is Role.FIXER else f"Add {', '.join(files)}")
    world.fault(f"committed:{request.role}")
    if request.role is Role.WORKER:
        return answered(work())
    if request.role is Role.FIXER:
        return answered(work("fixed", cause="A typo", reproduced=True))
    pull = world.forge.by_branch(world.repository.worktrees[change].branch)
    threads = [t for t in pull.threads.values() if t.unanswered and not t.resolved] if pull else []
    replies = [{"thread_id": t.id, "outcome": "fixed", "text": "Done."} for t in threads]
    return answered({"replies": replies, "checks": []})


def straight() -> World:
    return World(play=careful)


def two_changes_reviewed() -> World:
    """Both are reviewed; the reviewer finds something in the first, which is answered."""

    async def finds(w: World, request: SessionRequest) -> SessionReport:
        if request.role is Role.REVIEWER and not w.count("SelfReviewed"):
            return answered({"findings": [FOUND], "earlier": [], "examined": ["c1.t1.txt"]})
        return await careful(w, request)

    plan = proposal(
        {"id": "c1", "title": "First", "tasks": [task("One")]},
        {"id": "c2", "title": "Second", "tasks": [task("Two"), task("Three")], "depends_on": ["c1"]},
    )
    return World(plan, policy=replace(World().policy, self_review=True), play=finds)


def red_checks_fixed() -> World:
    world = World(play=careful)
    world.forge.checks = lambda pull: GREEN if world.repository.nodes[pull.head].subject == "Fix" else RED
    return world


def a_base_that_moves_under_it() -> World:
    """Once c1 has its pull request, a person pushes to the base: it is merged in and tested again."""
    world = World(play=careful)

    def checks(_pull: object) -> tuple[object, ...]:
        if "theirs.txt" not in world.tree():
            world.repository.push_by_person("main", {"theirs.txt": "theirs"})
        return GREEN

    world.forge.checks = checks  # type: ignore[assignment]
    return world


RUNS: Final = [straight, two_changes_reviewed, red_checks_fixed, a_base_that_moves_under_it]


async def _driven_to_the_end(world: World) -> None:
    """Drive, and resume what was killed, until the run is over; nothing else may halt it."""
    while not world.run.finished:
        try:
            assert await world.drive() is Ending.VERIFIED, world.run.halt
        except Killed:
            world.kill_at = ""


def _ends(world: World) -> dict[str, object]:
    """Return what must be the same however often the run was killed."""
    first, tip = world.repository.first, world.repository.branches["main"]
    nodes = world.repository.nodes
    seen, open_ = set[str](), [tip]
    while open_:
        if (commit := open_.pop()) not in seen and commit != first:
            seen.add(commit)
            open_ += nodes[commit].parents
    return {
        "tree": dict(world.tree()),
        "pulls": [(p.number, p.change, str(p.state)) for p in world.forge.pulls.values()],
        "merges": world.forge.merges,
        "commits": Counter(nodes[c].subject for c in seen),
        "stages": {i: str(c.stage) for i, c in world.run.changes.items()},
        "once": {name: world.count(name) for name in ("TaskFinished", "PullRequestOpened", "PullRequestMerged")},
        "remarks": {n: [len(t.comments) for t in p.threads.values()] for n, p in world.forge.pulls.items()},
    }


def _check(world: World, whole: World, where: str) -> None:
    assert _ends(world) == _ends(whole), where
    assert not world.run.open_sessions, where
    began = Counter(r.data["id"] for r in world.records if r.type == "SessionStarted")
    assert began == Counter(r.data["id"] for r in world.records if r.type == "SessionEnded"), where
    lost = [r for r in world.records if r.type == "SessionEnded" and r.data["outcome"] == "lost"]
    assert all(r.data["usage"]["cost_usd"] > 0 for r in lost), where
    assert [r.seq for r in world.records] == list(range(1, len(world.records) + 1)), where


def _whole(make: Callable[[], World]) -> World:
    whole = make()
    asyncio.run(_driven_to_the_end(whole))
    return whole


@pytest.mark.parametrize("make", RUNS)
def test_killed_at_any_point_a_run_resumes_to_the_same_end(make: Callable[[], World]) -> None:
    whole = _whole(make)
    for point in range(1, len(whole.points) + 1):
        world = make()
        world.kill_at = f"#{point}"
        asyncio.run(_driven_to_the_end(world))
        _check(world, whole, f"killed at {whole.points[point - 1]}")


@pytest.mark.parametrize("make", RUNS)
@pytest.mark.parametrize("gap", range(1, 8))
def test_killed_again_soon_after_it_resumed(make: Callable[[], World], gap: int) -> None:
    whole = _whole(make)
    for point in range(1, len(whole.points) + 1, 3):
        world = make()
        for n in (point, point + gap):
            world.kill_at = f"#{n}"
            with suppress(Killed):  # near the end there are not that many points left
                asyncio.run(world.drive())
        world.kill_at = ""
        asyncio.run(_driven_to_the_end(world))
        _check(world, whole, f"killed at {whole.points[point - 1]}, and {gap} points later")
