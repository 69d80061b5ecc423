"""A red check on memory adapters: flaky, red on the base too, the fixer's; each told apart and told."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from claudetm.engine.loop import Ending
from claudetm.ports.agent import Role, SessionReport, SessionRequest
from claudetm.testing.memory import GREEN, PENDING, RED, ChecksOf, MemoryForge
from claudetm.workflow import events as e
from claudetm.workflow.limits import Wait
from claudetm.workflow.markdown import progress_markdown, state_data
from claudetm.workflow.observe import observe
from claudetm.workflow.policy import Policy
from claudetm.workflow.pull_request import Check, CheckState, PullRequest
from claudetm.workflow.stages import Stage
from story import at
from world import World, answered, change_of, honest, play, proposal, task, work

FAILURE = "tests/test_a.py:3: AssertionError: 3 != 4\n1 failed in 0.31s\n"


def red(world: World, at_base: str | None = FAILURE) -> World:
    """Let the checks be red until a fix is pushed; `at_base` is what they say at the base alone."""
    world.forge.checks = lambda pull: GREEN if world.repository.nodes[pull.head].subject == "Fix" else RED
    world.forge.logs["tests"] = FAILURE
    if at_base is not None:
        world.forge.logs_at[world.repository.first] = {"tests": at_base}
    return world


def fixers(world: World) -> list[str]:
    return [r.prompt for r in world.agent.requests if r.role is Role.FIXER]


def test_a_flaky_check_is_told_apart_everywhere_and_costs_no_session() -> None:
    world = World()
    world.forge.rerunnable = True
    world.forge.checks = lambda _pull: GREEN if world.count("ChecksRerun") else RED
    assert play(world) is Ending.VERIFIED
    assert fixers(world) == []
    passed = next(r.data for r in world.records if r.type == "ChecksPassed")
    assert (passed["note"], passed["flaky"]) == ("flaky: tests passed when run again", ["tests"])
    assert state_data(world.run)["changes"][0]["flaky"] == ["tests"]
    assert "Flaky in c1: tests passed when run again" in progress_markdown(world.run)


def test_what_a_fix_turned_green_is_not_flaky() -> None:
    world = red(World(), at_base=None)
    world.forge.rerunnable = True
    assert play(world) is Ending.VERIFIED
    assert world.run.changes["c1"].flaky == ()


def test_what_passes_with_another_base_is_not_flaky() -> None:
    story = at(Stage.WAITING_CI).tell(e.ChecksFailed("c1", "h1", ("test",), "b0"), e.ChecksRerun("c1", "h1"))
    green = PullRequest(7, "claudetm/c1", "h1", "b1", "b1", checks=(Check("test", CheckState.PASSED),))
    assert observe(story.change(), green, Policy(), 0.0) == e.ChecksPassed("c1", "h1", "b1")
    same = replace(green, tested_base="b0")
    note = "flaky: test passed when run again"
    assert observe(story.change(), same, Policy(), 0.0) == e.ChecksPassed("c1", "h1", "b0", note, ("test",))


def test_of_two_red_checks_the_flaky_one_is_told_apart_and_the_other_fixed() -> None:
    world = World()
    world.forge.rerunnable = True

    def checks(pull: PullRequest) -> tuple[Check, ...]:
        fixed = world.repository.nodes[pull.head].subject == "Fix"
        states = {"lint": fixed, "tests": fixed or bool(world.count("ChecksRerun"))}
        return tuple(Check(n, CheckState.PASSED if ok else CheckState.FAILED) for n, ok in states.items())

    world.forge.checks = checks
    assert play(world) is Ending.VERIFIED
    failed = [r.data for r in world.records if r.type == "ChecksFailed"]
    assert [(f["failed"], f["flaky"]) for f in failed] == [(["lint", "tests"], []), (["lint"], ["tests"])]
    assert len(fixers(world)) == 1
    assert world.run.changes["c1"].flaky == ("tests",)


def test_a_forge_that_ends_slow_checks_itself_is_waited_for() -> None:
    change = at(Stage.WAITING_CI).change()
    pending = PullRequest(7, "claudetm/c1", "h1", "b0", "b0", checks=(Check("test", CheckState.PENDING),))
    late = change.since + Policy().checks_timeout + 1
    assert isinstance(observe(change, pending, Policy(), late), e.ChangeBlocked)
    assert not isinstance(observe(change, replace(pending, bounded=True), Policy(), late), e.ChangeBlocked)


@pytest.mark.parametrize("bounded", [True, False])
def test_a_red_check_waits_for_the_others_so_that_one_fix_sees_all(bounded: bool) -> None:
    change = at(Stage.WAITING_CI).change()
    two = (Check("lint", CheckState.FAILED), Check("test", CheckState.PENDING))
    seen = PullRequest(7, "claudetm/c1", "h1", "b0", "b0", checks=two, bounded=bounded)
    soon = observe(change, seen, Policy(), change.since)
    assert isinstance(soon, Wait)
    late = observe(change, seen, Policy(), change.since + Policy().checks_timeout)
    assert isinstance(late, Wait if bounded else e.ChecksFailed)


def test_a_base_that_fails_in_the_same_way_blocks_before_a_session_is_spent() -> None:
    # other numbers and other paths do not make another failure
    world = red(World(), FAILURE.replace("0.31", "2.70").replace("tests/", "/somewhere/else/"))
    assert play(world) is Ending.BLOCKED
    assert fixers(world) == []
    reason = world.run.halt.reason if world.run.halt else ""
    assert f"the base is red, too: tests fails at {world.repository.first[:10]} in the same way" in reason
    assert world.count("BaseFoundRed") == 1


def test_a_resume_that_knows_of_the_red_base_lets_the_change_mend_it() -> None:
    world = red(World())
    assert play(world) is Ending.BLOCKED
    assert play(world) is Ending.VERIFIED
    assert len(fixers(world)) == 1
    assert "At the base alone, without this change, it fails, too: in the same way." in fixers(world)[0]
    assert world.count("BaseFoundRed") == 1
    assert not world.run.changes["c1"].mends_base


def test_a_driver_killed_between_finding_the_red_base_and_blocking_still_blocks() -> None:
    world = red(World())
    killed = red(World())
    play(world)
    seq = next(r.seq for r in world.records if r.type == "BaseFoundRed")
    asyncio.run(killed.drive_until_killed(f"after:{seq}:BaseFoundRed"))
    assert play(killed) is Ending.BLOCKED
    assert (killed.count("BaseFoundRed"), fixers(killed)) == (1, [])


def test_a_red_base_that_was_mended_meanwhile_has_the_checks_run_with_it() -> None:
    world = red(World())
    world.forge.rerunnable = True

    class Mended(dict[str, Any]):
        """The base is mended while its checks run."""

        def get(self, commit: str, default: Any = None) -> Any:
            world.repository.push_by_person("main", {"mended.txt": "yes\n"})
            return super().get(commit, default)

    world.forge.logs_at = Mended(world.forge.logs_at)
    world.forge.checks = lambda _pull: GREEN if world.count("ChecksRerun") == 2 else RED
    assert play(world) is Ending.VERIFIED
    assert (world.count("BaseFoundRed"), fixers(world), world.count("ChecksFailed")) == (0, [], 2)


def test_a_base_that_the_goal_is_to_mend_goes_to_the_fixer() -> None:
    world = red(World(plan=proposal(criteria=[{"text": "The tests pass", "command": "run tests"}])))
    assert play(world) is Ending.VERIFIED
    assert len(fixers(world)) == 1


def test_a_guard_does_not_make_a_red_base_the_goal() -> None:
    criteria = [{"text": "The tests pass", "command": "run tests"}, {"text": "It is there", "command": "greet"}]
    world = red(World(plan=proposal(criteria=criteria)))
    exit_code = world.exit_code
    world.commands.answer = lambda request: 0 if request.command == "run tests" else exit_code(request.command)
    assert play(world) is Ending.BLOCKED
    assert fixers(world) == []


@pytest.mark.parametrize("at_base", ["", "ImportError: no module named greet\n"])
def test_a_base_that_fails_in_another_way_is_told_to_the_fixer(at_base: str) -> None:
    world = red(World(), at_base)
    assert play(world) is Ending.VERIFIED
    assert "fails, too: in another way" in fixers(world)[0]


def test_one_failure_of_its_own_among_those_of_the_base_is_the_changes() -> None:
    world = red(World())
    world.forge.logs["tests"] = FAILURE + "tests/test_b.py: RuntimeError: new\n"
    assert play(world) is Ending.VERIFIED
    assert len(fixers(world)) == 1


def test_a_green_base_leaves_the_failure_to_the_fixer() -> None:
    world = red(World(), at_base=None)
    assert play(world) is Ending.VERIFIED
    assert "At the base alone" not in fixers(world)[0]
    assert world.forge.asked_at == [world.repository.first]


def test_the_base_is_waited_for_while_its_checks_run() -> None:
    world = red(World())
    world.forge.logs_at[world.repository.first] = None

    def after_a_while(_seconds: float) -> None:
        if len(world.forge.asked_at) > 2:
            world.forge.logs_at[world.repository.first] = {}

    slept = world.clock.sleep

    async def sleep(seconds: float) -> None:
        after_a_while(seconds)
        await slept(seconds)

    object.__setattr__(world.clock, "sleep", sleep)
    assert play(world) is Ending.VERIFIED
    assert len(world.forge.asked_at) > 2
    assert len(fixers(world)) == 1


def three_on_a_red_base() -> World:
    """Return a world where the base is red until a fix is merged, and checks that run again run with the new base."""
    world = World(proposal(*({"id": f"c{n}", "title": f"Change {n}", "tasks": [task()]} for n in (1, 2, 3))))
    nodes = world.repository.nodes

    def checks(pull: PullRequest) -> tuple[Check, ...]:
        trees = (nodes[pull.head].tree, nodes[world.repository.branches["main"]].tree)
        return GREEN if any(name.startswith("fix-") for tree in trees for name in tree) else RED

    world.forge.checks = taking_time(world, checks)
    world.forge.logs["tests"] = FAILURE
    world.forge.logs_at[world.repository.first] = {"tests": FAILURE}
    return world


def taking_time(world: World, checks: ChecksOf) -> ChecksOf:
    """Let what is green run for two minutes: time in which the other changes could pay for fixes of their own."""
    begun: dict[str, float] = {}

    def read(pull: PullRequest) -> tuple[Check, ...]:
        said, now = checks(pull), world.clock.now()
        return PENDING if said == GREEN and now < begun.setdefault(pull.head, now) + 120.0 else said

    return read


def test_one_change_mends_the_red_base_for_all_that_were_resumed() -> None:
    world = three_on_a_red_base()
    assert play(world) is Ending.BLOCKED
    assert world.count("BaseFoundRed") == 3
    assert play(world) is Ending.VERIFIED
    assert len(fixers(world)) == 1
    assert [str(c.stage) for c in world.run.changes.values()] == ["merged"] * 3
    assert world.count("RunBlocked") == 1


STUCK = {"kind": "access", "needs": "a database", "tried": "sqlite"}


async def finds_no_way(world: World, request: SessionRequest) -> SessionReport:
    if request.role is Role.FIXER:
        return answered(work("blocked", cause="", reproduced=False, blocker=STUCK))
    return await honest(world, request)


def test_a_held_mender_is_resumed_itself_and_not_another_in_its_place() -> None:
    world = three_on_a_red_base()
    assert play(world) is Ending.BLOCKED
    world.play = finds_no_way
    assert play(world) is Ending.BLOCKED
    assert [c.id for c in world.run.held] == [world.run.mender] == ["c1"]
    world.play = honest
    assert play(world) is Ending.VERIFIED
    assert [change_of(r) for r in world.agent.requests if r.role is Role.FIXER] == ["c1", "c1"]


class Rerunning(MemoryForge):
    """Runs checks again with the base as it is then, as the local forge does, and not by itself."""

    async def rerun_checks(self, number: int, head: str) -> bool:
        self.pulls[number].tested = (head, await self.base())
        return True


def test_what_waited_for_the_base_has_its_checks_run_with_the_mended_one() -> None:
    world = three_on_a_red_base()
    forge, nodes = Rerunning(world.repository, world.fault), world.repository.nodes
    forge.logs, forge.logs_at, world.forge = world.forge.logs, world.forge.logs_at, forge

    def checks(pull: PullRequest) -> tuple[Check, ...]:
        trees = (nodes[pull.head].tree, nodes[pull.tested_base or pull.base].tree)
        return GREEN if any(name.startswith("fix-") for tree in trees for name in tree) else RED

    forge.checks = taking_time(world, checks)
    assert play(world) is Ending.BLOCKED
    assert play(world) is Ending.VERIFIED
    assert len(fixers(world)) == 1
    assert world.count("RunBlocked") == 1


def test_when_what_mends_the_base_is_dropped_the_next_one_does() -> None:
    world = three_on_a_red_base()
    assert play(world) is Ending.BLOCKED
    world.play = finds_no_way
    assert play(world) is Ending.BLOCKED
    world.play = honest
    world.inbox.send("drop", "d1", change="c1")
    assert play(world) is Ending.VERIFIED
    assert [change_of(r) for r in world.agent.requests if r.role is Role.FIXER] == ["c1", "c2"]
    assert [str(c.stage) for c in world.run.changes.values()] == ["abandoned", "merged", "merged"]


def test_a_change_that_meets_the_red_base_later_waits_for_the_one_that_mends_it() -> None:
    world = three_on_a_red_base()
    world.policy = replace(world.policy, checks_timeout=300.0)
    checks = world.forge.checks

    async def story() -> tuple[Ending, Ending]:
        world.forge.checks = lambda pull: PENDING if pull.number == 3 else checks(pull)
        first = await world.drive()
        world.forge.checks = checks
        return first, await world.drive()

    assert asyncio.run(story()) == (Ending.BLOCKED, Ending.VERIFIED)
    assert "c3: the checks did not report" in next(r.data["reason"] for r in world.records if r.type == "RunBlocked")
    assert world.count("RunBlocked") == 1
    assert [change_of(r) for r in world.agent.requests if r.role is Role.FIXER] == ["c1"]
