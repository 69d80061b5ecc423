"""git.auto_push: a branch is pushed after each finished task, or not before a person has allowed it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from claudetm.engine.loop import Ending
from claudetm.ports.agent import Role, SessionReport, SessionRequest
from world import World, honest, play, proposal, task

TWO_TASKS = {"id": "c1", "title": "One", "tasks": [task("First"), task("Second")]}
THEN = {"id": "c2", "title": "Two", "tasks": [task("Third")], "depends_on": ["c1"]}


def pushes(world: World) -> list[str]:
    return [point for point in world.points if point.startswith("after:push:claudetm/")]


def asking(world: World | None = None) -> World:
    return World(proposal(TWO_TASKS, THEN), replace((world or World()).policy, auto_push=False))


def test_the_branch_is_pushed_when_a_task_is_finished_before_the_next_begins() -> None:
    world = World(proposal(TWO_TASKS))
    heads: list[str] = []

    async def looks(w: World, request: SessionRequest) -> SessionReport:
        if request.role is Role.WORKER:
            heads.append(w.repository.branches.get("claudetm/r1/c1", ""))
        return await honest(w, request)

    world.play = looks
    assert play(world) is Ending.VERIFIED
    first = world.run.changes["c1"].tasks["c1.t1"].commit
    assert heads == ["", first]


def test_a_push_that_is_refused_fails_no_task() -> None:
    world = World(proposal(TWO_TASKS))

    async def meets_a_stranger(w: World, request: SessionRequest) -> SessionReport:
        if request.role is Role.WORKER:
            w.repository.branches["claudetm/r1/c1"] = w.repository.commit((), {"theirs.txt": "x"}, "A stranger's")
        return await honest(w, request)

    world.play = meets_a_stranger
    assert play(world) is Ending.BLOCKED
    assert world.count("TaskFinished") == 2
    assert "could not be pushed" in (world.run.halt.reason if world.run.halt else "")


def test_without_permission_the_run_stops_before_its_first_push_and_resume_is_the_permission() -> None:
    world = asking()
    assert play(world) is Ending.PAUSED
    halt = world.run.halt
    assert halt is not None
    assert halt.reason == "claudetm/r1/c1 is ready to be pushed, and git.auto_push is false"
    assert halt.next.startswith("claudetm resume")
    assert pushes(world) == []
    assert world.forge.pulls == {}
    assert asyncio.run(world.drive()) is Ending.VERIFIED  # and the second change is pushed without another word
    assert world.count("RunPaused") == 1
    assert world.run.policy.auto_push
    allowed = next(r for r in world.records if r.type == "SettingsChanged")
    assert allowed.data == {"settings": {"auto_push": True}}


def test_a_resume_after_another_pause_allows_no_push() -> None:
    world = asking()
    world.inbox.send("pause", "early")
    assert play(world) is Ending.PAUSED
    assert asyncio.run(world.drive()) is Ending.PAUSED
    assert pushes(world) == []
    assert asyncio.run(world.drive()) is Ending.VERIFIED


@pytest.mark.parametrize("when", ["before", "after"])
def test_the_permission_is_kept_across_a_kill(when: str) -> None:
    async def story() -> None:
        whole = asking()
        assert await whole.drive() is Ending.PAUSED
        assert await whole.drive() is Ending.VERIFIED
        allowed = next(r for r in whole.records if r.type == "SettingsChanged")
        world = asking()
        assert await world.drive() is Ending.PAUSED
        await world.drive_until_killed(f"{when}:{allowed.seq}:SettingsChanged")
        assert pushes(world) == []
        assert await world.drive() is Ending.VERIFIED

    asyncio.run(story())
