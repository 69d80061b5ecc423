"""How many pull requests a run makes: one a task where that is wanted, and never more than the user allows."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claudetm.engine.loop import Ending
from claudetm.plan.model import CHANGE_ID_LENGTH, Change, Plan, Task, problems
from claudetm.plan.split import one_task_each
from claudetm.ports.agent import Role, SessionReport, SessionRequest
from claudetm.workflow.limits import below_use
from claudetm.workflow.policy import Policy
from story import change
from world import World, answered, honest, proposal, task

TWO = {"id": "c1", "title": "Greet", "tasks": [task("Say hello"), task("Say bye")]}
AFTER = {"id": "c2", "title": "Sing", "tasks": [task("Sing")], "depends_on": ["c1"]}


def world(**policy: Any) -> World:
    return World(plan=proposal(TWO, AFTER), policy=Policy(self_review=False, **policy))


def drive(made: World, **raised: Any) -> Ending:
    return asyncio.run(made.drive(**raised))


# --- cutting ---------------------------------------------------------------------------------------------------


def test_a_change_of_several_tasks_becomes_a_chain_and_dependants_wait_for_its_end() -> None:
    first, second, third, other = one_task_each((change("c1", tasks=3), change("c2", "c1")))
    assert [c.id for c in (first, second, third, other)] == ["c1-1", "c1-2", "c1-3", "c2"]
    assert [c.depends_on for c in (first, second, third, other)] == [(), ("c1-1",), ("c1-2",), ("c1-3",)]
    assert [t.id for c in (first, second, third) for t in c.tasks] == ["c1-1.t1", "c1-2.t1", "c1-3.t1"]
    assert (second.title, second.why) == ("Step 2", "Part 2 of 3 of: Change c1.")


def test_ids_that_are_taken_or_too_long_are_not_made() -> None:
    long = "c" * CHANGE_ID_LENGTH
    cut = one_task_each((change("c1", tasks=2), change(long, tasks=2)), taken={"c1-1"})
    assert [c.id for c in cut][:2] == ["c1-2", "c1-3"]
    assert problems(Plan(cut)) == ()


@st.composite
def plans(draw: st.DrawFn) -> tuple[Change, ...]:
    made: list[Change] = []
    for n in range(draw(st.integers(1, 6))):
        needs = draw(st.sets(st.sampled_from([c.id for c in made]))) if made else set()
        name = draw(st.sampled_from([f"c{n}", f"c{n}-1", f"c{max(n - 1, 0)}-{n}x", "x" * 31 + str(n)]))
        if name not in {c.id for c in made}:
            made.append(change(name, *sorted(needs), tasks=draw(st.integers(1, 4))))
    return tuple(made)


@given(plans())
def test_a_cut_keeps_every_task_in_order_and_what_waits_for_what(changes: tuple[Change, ...]) -> None:
    cut = one_task_each(changes)
    assert problems(Plan(cut)) == ()
    assert [t.title for c in cut for t in c.tasks] == [t.title for c in changes for t in c.tasks]
    assert all(len(c.tasks) == 1 for c in cut)
    assert one_task_each(cut) == cut

    def order(of: tuple[Change, ...]) -> dict[str, set[str]]:
        known: dict[str, set[str]] = {}
        for c in of:
            known[c.id] = set(c.depends_on).union(*(known[d] for d in c.depends_on))
        return known

    before, after = order(changes), order(cut)
    count = iter(cut)
    last = {c.id: [next(count) for _ in c.tasks][-1].id for c in changes}
    assert all({last[d] for d in needs} <= after[last[i]] for i, needs in before.items())


# --- one pull request a task -----------------------------------------------------------------------------------


def test_every_task_is_a_pull_request_of_its_own() -> None:
    made = world(pr_per_task=True)
    assert drive(made) is Ending.VERIFIED
    assert [p.title for p in made.forge.pulls.values()] == ["Say hello", "Say bye", "Sing"]
    assert "exactly one task" in made.agent.requests[0].prompt


def test_a_plan_killed_while_its_criteria_ran_is_cut_once() -> None:
    made = world(pr_per_task=True)
    asyncio.run(made.drive_until_killed("before:6:PlanProposed"))
    drive(made)
    assert list(made.run.changes) == ["c1-1", "c1-2", "c2"]
    assert sum(r.role is Role.PLANNER for r in made.agent.requests) == 1


def mends(made: World, *changes: dict[str, Any]) -> None:
    """Let the criterion fail until something besides the plan was merged; the planner mends it with `changes`."""

    async def play(world: World, request: SessionRequest) -> SessionReport:
        if request.role is Role.PLANNER and "Subject: extend" in request.prompt:
            return answered(proposal(*changes, criteria=[]))
        return await honest(world, request)

    planned = len(made.plan["changes"])
    made.play = play
    made.commands.answer = lambda _request: 0 if len(made.forge.merges) > planned else 1


def test_what_mends_a_criterion_is_cut_too() -> None:
    made = World(plan=proposal(AFTER | {"depends_on": []}), policy=Policy(self_review=False, pr_per_task=True))
    mends(made, {"id": "c1", "title": "Mend", "tasks": [task("Mend this"), task("Mend that")]})
    assert drive(made) is Ending.VERIFIED
    assert list(made.run.changes) == ["c2", "c1-1", "c1-2"]


# --- at most so many -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "says", "needed"),
    [
        ({"max_prs": 1}, "The plan makes 2 pull requests, and at most 1 is allowed: merge or drop changes.", 2),
        (
            {"max_prs": 2, "pr_per_task": True},
            "The plan makes 3 pull requests, one a task, and at most 2 are allowed: merge or drop tasks.",
            3,
        ),
    ],
)
def test_a_plan_of_too_many_goes_back_and_then_blocks(policy: dict[str, Any], says: str, needed: int) -> None:
    made = world(**policy)
    assert drive(made) is Ending.BLOCKED
    assert made.count("PlanRefused") == 2
    assert all(says in r.prompt for r in made.agent.requests[1:])
    halt = made.run.halt
    assert halt is not None
    assert (halt.reason, halt.next) == (
        f"no workable plan came about: {says}",
        f"claudetm resume --max-prs {needed}",
    )
    assert made.count("PlanProposed") == 0
    assert drive(made, max_prs=needed) is Ending.VERIFIED
    assert len(made.forge.pulls) == needed


def test_a_planner_that_heeds_the_limit_is_worked() -> None:
    made = world(max_prs=1)
    whole = made.plan

    async def play(world: World, request: SessionRequest) -> SessionReport:
        world.plan = proposal(TWO) if "It was sent back" in request.prompt else whole
        return await honest(world, request)

    made.play = play
    assert drive(made) is Ending.VERIFIED
    assert (made.count("PlanRefused"), len(made.forge.pulls)) == (1, 1)


@pytest.mark.parametrize(("most", "sessions"), [(1, 0), (2, 1)])
def test_mending_beyond_the_limit_blocks_with_the_evidence(most: int, sessions: int) -> None:
    made = World(plan=proposal(TWO), policy=Policy(self_review=False, max_prs=most))
    ones = [{"id": f"m{n}", "title": f"Mend {n}", "tasks": [task(f"Mend {n}")]} for n in range(2)]
    mends(made, *ones)
    assert drive(made) is Ending.BLOCKED
    halt = made.run.halt
    assert halt is not None
    needed = 2 if most == 1 else 3
    assert f"makes {needed} pull requests of the run where {most} are allowed: k1" in halt.reason
    assert halt.next == f"claudetm resume --max-prs {needed}"
    assert sum("Subject: extend" in r.prompt for r in made.agent.requests) == sessions
    assert drive(made, max_prs=3) is Ending.VERIFIED
    assert len(made.forge.pulls) == 3


# --- limits that cannot be -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ({"sessions": 3}, "The run has used 4 sessions already, so 3 cannot be its limit: name more, or leave it."),
        ({"cost_usd": 1.0}, "The run has used $2.00 already, so $1.00 cannot be its limit: name more, or leave it."),
        (
            {"max_prs": 0},
            "The run has used 1 pull request already, so 0 cannot be its limit: name more, or leave it.",
        ),
        ({"sessions": 4, "cost_usd": 2.0, "max_prs": 1}, ""),
        ({"sessions": None, "cost_usd": None, "max_prs": None, "turns": 1}, ""),
    ],
)
def test_a_limit_below_what_is_used_is_refused(limits: dict[str, Any], says: str) -> None:
    made = World(plan=proposal(TWO), policy=Policy(auto_merge=False, reviews_required=0))
    drive(made)
    assert (made.run.sessions, len(made.forge.pulls)) == (4, 1)
    assert below_use(made.run, limits) == says


def test_an_id_that_could_leave_its_folder_is_refused() -> None:
    odd = Plan((Change("../c1", "Out", (Task("c1.t1", "Do it"),)),))
    assert problems(odd) == ("'../c1' cannot be an id: use a-z, 0-9, dots and dashes, as in c1.",)
