"""What a person pushes to a branch of ours, with git itself: merged in, brought to the worktree, and read once."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from claudetm.plan.model import Change
from claudetm.prompts.render import Prompts
from claudetm.stages.context import Context
from claudetm.stages.pushing import Stands, push
from claudetm.stages.reviews import review
from claudetm.stages.worktree import prepare
from claudetm.testing.memory import FakeClock, MemoryAgent, MemoryCommands, MemoryForge, MemoryRepository
from claudetm.workflow.events import ChangeBlocked, Event, SelfReviewed
from claudetm.workflow.limits import Wait
from claudetm.workflow.run import ChangeState, Run, TaskState
from integration.repositories import RealWorld, git
from world import answered

pytestmark = pytest.mark.anyio

BRANCH: Final = "claudetm/r1/c1"


async def _unheard(_event: Event) -> None:
    pass


def context(world: RealWorld) -> Context:
    """Return what a handler is given, its repository the real one."""

    async def silent(_request: object) -> object:
        return answered({})

    return Context(
        run=Run(id="r1"),
        agent=MemoryAgent(silent),  # type: ignore[arg-type] # nobody asks it
        forge=MemoryForge(MemoryRepository()),
        repository=world.repository,
        commands=MemoryCommands(),
        clock=FakeClock(),
        prompts=Prompts(None),
        logs=world.state / "logs",
        record=_unheard,
    )


async def begun(world: RealWorld, ctx: Context) -> ChangeState:
    """Return a change whose first task is pushed, and whose second is done."""
    change = ChangeState(Change("c1", "Greet", ()), branch=BRANCH, base=world.first)
    await world.repository.open_worktree("c1", BRANCH, world.first)
    change.head = world.work("c1", {"one.txt": "1\n"})
    change.tasks["c1.t1"] = TaskState(world.first, change.head)
    await world.repository.adopt("c1")
    assert await push(ctx, change, change.head) == Stands(change.head)
    change.tasks["c1.t2"] = TaskState(change.head)
    change.head = change.tasks["c1.t2"].commit = world.work("c1", {"two.txt": "2\n"})
    await world.repository.adopt("c1")
    return change


async def test_both_stand_on_the_branch_and_in_the_worktree_and_the_base_is_not_read_again(tmp_path: Path) -> None:
    world = RealWorld(tmp_path)
    ctx = context(world)
    change = await begun(world, ctx)
    theirs = world.push_by_person(BRANCH, {"hers.txt": "h\n"})
    pushed = await push(ctx, change, change.head)
    assert isinstance(pushed, Stands)
    assert git(world.user, "rev-parse", f"{BRANCH}^1", f"{BRANCH}^2").split() == [change.head, theirs]
    change.head = pushed.head
    path = await prepare(ctx, change)
    assert {"one.txt", "two.txt", "hers.txt"} <= {p.name for p in path.iterdir()}

    change.reviewed_head = change.head
    change.base = world.push_by_person("main", {"base.txt": "b\n"})
    assert await world.repository.branch_tip("main") == change.base
    merged = await world.repository.merge(change.head, change.base, "Merge the base")
    change.head = getattr(merged, "commit", "")
    assert await review(ctx, change) == SelfReviewed("c1", change.head, skipped="read before")


async def test_a_conflict_waits_for_the_next_look_and_a_forced_push_for_a_person(tmp_path: Path) -> None:
    world = RealWorld(tmp_path)
    ctx = context(world)
    change = await begun(world, ctx)
    theirs = world.push_by_person(BRANCH, {"two.txt": "hers\n"})
    clash = await push(ctx, change, change.head)
    assert isinstance(clash, ChangeBlocked)
    assert "conflicts with the work in two.txt" in clash.reason
    ours, change.head, change.number = change.head, change.tasks["c1.t2"].from_commit, 1
    assert isinstance(await push(ctx, change, ours), Wait)
    assert git(world.user, "rev-parse", BRANCH) == theirs
    forced = world.push_by_person(BRANCH, {"three.txt": "3\n"}, force=True)
    assert await push(ctx, change, ours) == Stands(git(world.user, "rev-parse", BRANCH))  # it only took hers back
    world.push_by_person(BRANCH, {"four.txt": "4\n"}, force=True)
    change.head = forced
    assert isinstance(await push(ctx, change, forced), ChangeBlocked)  # which is gone from the branch
