"""A person pushes to a branch that we work on: the commits of both stay, and no finished session is held again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Final

import pytest

from claudetm.engine.loop import Ending
from claudetm.ports.agent import Role, SessionReport, SessionRequest
from claudetm.ports.forge import MergeOutcome
from claudetm.ports.repository import PushRefused
from claudetm.testing.memory import GREEN, RED
from claudetm.workflow.pull_request import Check, PullRequest
from world import World, honest, play, proposal, task

BRANCH: Final = "claudetm/r1/c1"
THREE: Final = proposal({"id": "c1", "title": "One", "tasks": [task("First"), task("Second"), task("Third")]})


def meddled(world: World, role: Role, nth: int, meddle: Callable[[World], object]) -> World:
    """Let a person do something while the nth session of a role is at work."""
    met: list[str] = []

    async def plays(w: World, request: SessionRequest) -> SessionReport:
        if request.role is role:
            met.append(request.id)
            if len(met) == nth:
                meddle(w)
        return await honest(w, request)

    world.play = plays
    return world


def pushes(name: str = "person.txt", text: str = "mine", *, force: bool = False) -> Callable[[World], object]:
    return lambda world: world.repository.push_by_person(BRANCH, {name: text}, force=force)


def reason(world: World) -> str:
    return world.run.halt.reason if world.run.halt else ""


def roles(world: World) -> Counter[Role]:
    return Counter(r.role for r in world.agent.requests)


# --- before the pull request is open ---------------------------------------------------------------------------


def test_a_commit_on_the_branch_before_its_pull_request_is_open_is_taken_in() -> None:
    world = meddled(World(), Role.WORKER, 2, pushes())
    assert play(world) is Ending.VERIFIED, reason(world)
    assert {"person.txt", "c1.t1.txt", "c1.t2.txt"} <= set(world.tree())
    opened = next(r for r in world.records if r.type == "PullRequestOpened")
    assert opened.data["head"] == world.repository.branches[BRANCH]
    assert roles(world)[Role.WORKER] == 2


def test_the_next_task_is_worked_on_upon_what_a_person_has_pushed() -> None:
    world = meddled(World(THREE), Role.WORKER, 2, pushes())
    seen: list[bool] = []
    meddles = world.play

    async def looks(w: World, request: SessionRequest) -> SessionReport:
        if request.role is Role.WORKER:
            seen.append("person.txt" in w.repository.worktrees["c1"].files)
        return await meddles(w, request)

    world.play = looks
    assert play(world) is Ending.VERIFIED, reason(world)
    assert seen == [False, False, True]
    assert {"person.txt", "c1.t1.txt", "c1.t2.txt", "c1.t3.txt"} <= set(world.tree())


@pytest.mark.parametrize("nth", [2, 3])
def test_a_branch_that_was_pushed_by_force_before_its_pull_request_is_open_blocks_the_change(nth: int) -> None:
    world = meddled(World(THREE), Role.WORKER, nth, pushes(force=True))
    assert play(world) is Ending.BLOCKED
    assert "could not be pushed" in reason(world)
    assert world.forge.pulls == {}


def test_a_branch_that_is_nowhere_to_be_pushed_to_says_why_without_a_place() -> None:
    world = World()

    async def refuses(_branch: str, _commit: str) -> PushRefused:
        return PushRefused("", "it was deleted")

    world.repository.push = refuses  # type: ignore[method-assign,assignment] # as the real one does
    assert play(world) is Ending.BLOCKED
    assert reason(world) == f"c1: {BRANCH} could not be pushed: it was deleted"


def test_commits_that_conflict_before_the_pull_request_is_open_are_named_with_the_way_out() -> None:
    world = meddled(World(), Role.WORKER, 2, pushes("c1.t2.txt", "hers"))
    assert play(world) is Ending.BLOCKED
    assert "what was pushed there conflicts with the work in c1.t2.txt" in reason(world)
    at = world.run.changes["c1"].tasks["c1.t2"].from_commit
    assert world.run.halt is not None
    assert f"back to {at[:10]}" in world.run.halt.next
    world.repository.branches[BRANCH] = at
    assert play(world) is Ending.VERIFIED, reason(world)
    assert roles(world)[Role.WORKER] == 2


# --- while a session answers the pull request ------------------------------------------------------------------


def red_until_fixed(world: World) -> World:
    def checks(pull: PullRequest) -> tuple[Check, ...]:
        tree = world.repository.nodes[pull.head].tree
        return GREEN if any(p.startswith("fix-") for p in tree) else RED

    world.forge.checks = checks
    return world


def test_a_push_while_the_fixer_works_costs_neither_its_fix_nor_a_second_session() -> None:
    world = meddled(red_until_fixed(World()), Role.FIXER, 1, pushes())
    assert play(world) is Ending.VERIFIED, reason(world)
    assert roles(world)[Role.FIXER] == 1
    assert "person.txt" in world.tree()
    assert any(p.startswith("fix-") for p in world.tree())


def test_a_branch_that_a_person_deletes_while_the_fixer_works_is_a_veto_at_the_next_look() -> None:
    world = meddled(red_until_fixed(World()), Role.FIXER, 1, lambda w: w.repository.delete_by_person(BRANCH))
    assert play(world) is Ending.BLOCKED
    assert world.count("PullRequestClosed") == 1
    assert world.count("ChangeBlocked") == 0
    assert roles(world)[Role.FIXER] == 1
    assert BRANCH not in world.repository.branches


def test_a_push_that_undoes_what_the_fixer_did_is_fixed_upon() -> None:
    clashes = lambda w: pushes(f"fix-{len(w.agent.requests)}.txt", "hers")(w)  # noqa: E731 - as short as the others
    world = meddled(World(), Role.FIXER, 1, clashes)

    def checks(pull: PullRequest) -> tuple[Check, ...]:
        return GREEN if "fixed" in world.repository.nodes[pull.head].tree.values() else RED

    world.forge.checks = checks
    assert play(world) is Ending.VERIFIED, reason(world)
    assert roles(world)[Role.FIXER] == 2
    assert world.count("ChangeBlocked") == 0
    assert "hers" in world.tree().values()


def remarked(world: World) -> World:
    """Let a person remark something just before the merge, once."""
    merge = world.forge.merge

    async def remarks(number: int, head: str, base: str, method: str) -> MergeOutcome:
        if not world.forge.pulls[number].threads:
            world.forge.remark(number, "Please.")
        return await merge(number, head, base, method)

    world.forge.merge = remarks  # type: ignore[method-assign] # a person at that very moment
    return world


def test_a_push_while_the_responder_works_costs_neither_its_replies_nor_a_second_session() -> None:
    world = meddled(remarked(World()), Role.RESPONDER, 1, pushes())
    assert play(world) is Ending.VERIFIED, reason(world)
    assert roles(world)[Role.RESPONDER] == 1
    assert {"person.txt", "review.txt"} <= set(world.tree())
    [thread] = world.forge.pulls[1].threads.values()
    assert thread.resolved
    answered = next(r for r in world.records if r.type == "ReviewsAnswered")
    assert {"person.txt", "review.txt"} <= set(world.repository.nodes[answered.data["head"]].tree)


def test_a_push_while_the_updater_works_costs_neither_its_merge_nor_a_second_session() -> None:
    world = meddled(World(), Role.UPDATER, 1, pushes())
    moved: list[str] = []

    def checks(_pull: PullRequest) -> tuple[Check, ...]:
        if not moved:
            moved.append(world.repository.push_by_person("main", {"c1.t1.txt": "theirs"}))
        return GREEN

    world.forge.checks = checks
    assert play(world) is Ending.VERIFIED, reason(world)
    assert roles(world)[Role.UPDATER] == 1
    assert "person.txt" in world.tree()


@pytest.mark.parametrize("role", [Role.FIXER, Role.RESPONDER])
def test_a_forced_push_while_a_session_works_is_not_overrun(role: Role) -> None:
    world = red_until_fixed(World()) if role is Role.FIXER else remarked(World())
    meddled(world, role, 1, pushes(force=True))
    assert play(world) is Ending.BLOCKED
    forced = world.repository.branches[BRANCH]
    assert world.repository.nodes[forced].subject == "A person's commit"
    assert asyncio.run(world.drive()) is Ending.VERIFIED  # resumed, it is taken as it is
    assert world.repository.ancestors(world.run.changes["c1"].head) >= {forced}


# --- just before the merge -------------------------------------------------------------------------------------


def before_the_merge(world: World, meddle: Callable[[World], object]) -> World:
    """Let a person do something between our last look and the merge, once."""
    merge = world.forge.merge
    met: list[object] = []

    async def merges(number: int, head: str, base: str, method: str) -> MergeOutcome:
        if not met:
            met.append(meddle(world))
        return await merge(number, head, base, method)

    world.forge.merge = merges  # type: ignore[method-assign] # a person at that very moment
    return world


def test_a_push_just_before_the_merge_is_tested_and_merged() -> None:
    world = before_the_merge(World(), pushes())
    assert play(world) is Ending.VERIFIED, reason(world)
    assert world.count("HeadMoved") == 1
    assert "person.txt" in world.tree()


def test_a_forced_push_just_before_the_merge_is_not_taken_unasked() -> None:
    world = before_the_merge(World(), pushes(force=True))
    assert play(world) is Ending.BLOCKED
    assert "was pushed by force" in reason(world)
    assert world.forge.merges == []
    assert asyncio.run(world.drive()) is Ending.VERIFIED  # resumed, it is taken as it is
    assert "person.txt" in world.tree()


def test_commits_that_conflict_in_the_middle_of_a_change_are_named_with_the_way_out() -> None:
    world = meddled(World(THREE), Role.WORKER, 2, pushes("c1.t2.txt", "hers"))
    assert play(world) is Ending.BLOCKED
    assert "what was pushed there conflicts with the work in c1.t2.txt" in reason(world)
    at = world.run.changes["c1"].tasks["c1.t2"].from_commit
    assert world.run.halt is not None
    assert f"bring {BRANCH} back to {at[:10]}" in world.run.halt.next
    world.repository.branches[BRANCH] = at
    assert play(world) is Ending.VERIFIED, reason(world)
    assert roles(world)[Role.WORKER] == 3
