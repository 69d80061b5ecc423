"""A dry run plans, and can never do more: not when it is killed, resumed, approved or told to."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from claudetm.cli import dry_run
from claudetm.engine.loop import Ending
from claudetm.ports.agent import Role, SessionReport, SessionRequest
from claudetm.workflow import events as e
from claudetm.workflow.legality import IllegalEvent
from claudetm.workflow.policy import Policy
from claudetm.workflow.stages import Phase
from story import Story, plan
from world import Killed, World, honest, proposal


def dry(**policy: Any) -> World:
    """Return a world whose run has begun as a dry one."""
    return World(policy=Policy(**policy), dry=True)


def test_a_dry_run_ends_with_its_plan_and_has_written_nothing() -> None:
    made = dry(approve_plan=True)
    before = dict(made.repository.branches)
    assert asyncio.run(made.drive()) is Ending.PLANNED
    assert made.repository.branches == before
    assert (made.forge.pulls, made.repository.worktrees) == ({}, {})
    assert [r.role for r in made.agent.requests] == [Role.PLANNER]
    assert (made.run.finished, made.run.phase) == (True, Phase.CANCELLED)


def test_its_criteria_are_drafted_with_their_guards() -> None:
    made = dry()
    two = [{"text": "People are greeted", "command": "greet"}, {"text": "It is tested", "command": "make test"}]
    made.plan = proposal(criteria=two)
    made.commands.answer = lambda request: 0 if request.command == "make test" else 1
    asyncio.run(made.drive())
    assert made.run.guards == ("k2",)
    assert "criteria: 2 judged at the end; k2 hold already and prove nothing" in "\n".join(dry_run.lines(made.run))


def test_a_goal_that_is_met_already_ends_it_too() -> None:
    made = dry()

    held = proposal(criteria=[{"text": "It holds", "command": "true"}])
    made.plan = held | {"outcome": "nothing_to_do", "changes": [], "evidence": ["README.md:1"]}
    assert asyncio.run(made.drive()) is Ending.PLANNED
    assert "Nothing is to be done" in "\n".join(dry_run.lines(made.run))


def test_killed_anywhere_and_resumed_it_still_only_plans() -> None:
    whole = dry(approve_plan=True)
    asyncio.run(whole.drive())
    for n in range(len(whole.points)):
        made = dry(approve_plan=True)
        try:
            made.kill_at = f"#{n + 1}"
            asyncio.run(made.drive())
        except Killed:
            made.kill_at = ""
        if not made.run.finished:
            assert asyncio.run(made.drive()) is Ending.PLANNED
        assert {"PlanApproved", "ChangeStarted"} & set(made.events) == set()
        assert (made.forge.pulls, made.repository.worktrees) == ({}, {})


def test_a_dry_run_is_never_approved_and_no_other_ends_so() -> None:
    begun = Story(e.RunStarted("r1", "Make it work", "main", "b0", dry=True), e.PlanProposed(plan()))
    with pytest.raises(IllegalEvent, match="A dry run only plans: start the goal without --dry-run"):
        begun.tell(e.PlanApproved("user"))
    with pytest.raises(IllegalEvent, match="Only a dry run ends with its plan"):
        Story(e.RunStarted("r1", "Make it work", "main", "b0"), e.PlanProposed(plan())).tell(
            e.RunCancelled(planned=True)
        )


def test_a_dry_run_that_is_given_up_has_not_planned() -> None:
    made = dry()

    async def play(world: World, request: SessionRequest) -> SessionReport:
        world.inbox.send("cancel")
        return await honest(world, request)

    made.play = play
    assert asyncio.run(made.drive()) is Ending.CANCELLED


def test_a_goal_of_many_pages_is_shortened_on_the_screen_alone() -> None:
    made = dry()
    asyncio.run(made.drive())
    run = made.run
    run.goal = "g" * 65_000
    [goal] = [line for line in dry_run.lines(run) if line.startswith("Goal: ")]
    assert goal.endswith("g… (64406 characters more)")
    assert len(goal) < 640
    assert dry_run.data(run)["goal"] == "g" * 65_000


def test_it_tells_what_a_start_would_do() -> None:
    made = dry(checks=("make test",), auto_merge=False, cost_usd=5.0, max_prs=3, pause_on_pr=True)
    asyncio.run(made.drive())
    text = "\n".join(dry_run.lines(made.run))
    for line in (
        "## c1: Greet people (queued)",
        "- pull requests: 1, on the local forge, for main",
        "- checks: make test",
        "- merging: left to you",
        "- stops: at each pull request",
        "- limits: any number of sessions, $5.00 in all, 3 pull requests in all",
        "; a session: 200 turns, 60 minutes, $10.00",
        "- model of c1.t1: opus (medium effort)",
    ):
        assert line in text
    data = dry_run.data(made.run)
    assert data["plan"]["changes"][0]["id"] == "c1"
    assert data["would"]["models"]["c1.t2"] == {"model": "opus", "effort": "medium"}
    assert data["used"] == {"sessions": 1, "cost_usd": 0.5}
