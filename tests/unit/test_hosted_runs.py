"""A run whose pull requests live elsewhere: what the core makes of a forge that is busy, undecided or has a queue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from claudetm.engine.loop import Ending
from claudetm.errors import ForgeBusy, ForgeError
from claudetm.ports.agent import Role, SessionReport, SessionRequest
from claudetm.ports.forge import (
    CheckLog,
    MergeOutcome,
    MergeQueuedUp,
    NewPullRequest,
    NotYet,
)
from claudetm.testing.memory import GREEN, RED, MemoryForge
from claudetm.workflow.policy import Policy
from claudetm.workflow.pull_request import Check, PullRequest, PullRequestState
from world import Play, World, answered, honest, play, proposal, subject_of, task

HOSTED = {"forge": "github", "hosted": {"owner": "acme", "name": "widgets"}}
ONE = proposal({"id": "c1", "title": "Greet", "tasks": [task("Say hello")]})
TWO = proposal(
    {"id": "c1", "title": "Greet", "tasks": [task("Say hello")]},
    {"id": "c2", "title": "Part", "tasks": [task("Say bye")], "depends_on": ["c1"]},
)


def hosted(**begun: Any) -> World:
    return World(plan=ONE, begun={**HOSTED, **begun})


class Troubled(MemoryForge):
    """Answers a call with an error, or another outcome, as often as the test says."""

    def __init__(self, world: World) -> None:
        super().__init__(world.repository, world.fault)
        self.read_errors: list[Exception] = []
        self.open_errors: list[Exception] = []
        self.titles: list[str] = []
        self.outcomes: list[MergeOutcome | Callable[[], MergeOutcome]] = []
        self.asked_to_merge = 0
        self.factor = 1.0
        self.paces: list[float] = []
        self.no_verdict = ""

    async def read(self, numbers: Sequence[int]) -> Mapping[int, PullRequest]:
        if self.read_errors:
            raise self.read_errors.pop(0)
        return await super().read(numbers)

    async def open(self, new: NewPullRequest) -> PullRequest:
        if self.open_errors:
            raise self.open_errors.pop(0)
        self.titles.append(new.title)
        return await super().open(new)

    async def merge(self, number: int, head: str, base: str, method: str) -> MergeOutcome:
        self.asked_to_merge += 1
        if self.outcomes:
            outcome = self.outcomes.pop(0)
            return outcome() if callable(outcome) else outcome
        return await super().merge(number, head, base, method)

    async def check_log(self, number: int, check: str) -> CheckLog:
        return CheckLog("", no_verdict=self.no_verdict) if self.no_verdict else await super().check_log(number, check)

    def pace(self, quiet: float) -> float:
        self.paces.append(quiet)
        return self.factor


def troubled(world: World) -> Troubled:
    world.forge = forge = Troubled(world)
    return forge


# --- a forge that cannot be asked now ---------------------------------------------------------------------------


def test_a_forge_that_is_busy_for_hours_is_waited_for_and_blocks_nothing() -> None:
    world = hosted()
    forge, start = troubled(world), world.clock.now()
    forge.read_errors = [ForgeBusy("GitHub's quota is used up", start + 3600 * n) for n in range(1, 9)]
    assert play(world) is Ending.VERIFIED
    assert world.clock.now() >= start + 8 * 3600
    assert "RunBlocked" not in world.events
    assert any(w.why == "GitHub's quota is used up" and w.until for w in world.waits)


def test_a_write_that_may_have_happened_is_looked_up_again_later() -> None:
    world = hosted()
    forge, start = troubled(world), world.clock.now()
    forge.open_errors = [ForgeBusy("GitHub has not answered", start + 60), ForgeBusy("GitHub has not answered", 0)]
    assert play(world) is Ending.VERIFIED
    assert world.count("PullRequestOpened") == len(forge.pulls) == 1
    assert "ChangeBlocked" not in world.events


def test_a_forge_that_refuses_blocks_the_change_with_its_reason() -> None:
    world = hosted()
    troubled(world).open_errors = [ForgeError("acme/widgets is archived")]
    assert play(world) is Ending.BLOCKED
    assert world.run.halt is not None
    assert "acme/widgets is archived" in world.run.halt.reason


def test_a_stop_is_heard_while_a_busy_forge_is_waited_for() -> None:
    world = hosted()
    troubled(world).read_errors = [ForgeBusy("GitHub's quota is used up", world.clock.now() + 3600)]

    async def stopped() -> Ending:
        world.inbox.send("pause", "p1")
        return await world.drive()

    assert asyncio.run(stopped()) is Ending.PAUSED


def test_a_planned_title_closes_no_issue_and_calls_nobody() -> None:
    changes = {"id": "c1", "title": "Greet @ada, fixes #7", "tasks": [task("Say hello")]}
    world = World(plan=proposal(changes), begun=HOSTED)
    forge = troubled(world)
    assert play(world) is Ending.VERIFIED
    assert forge.titles == ["Greet `@ada`, fixes `#7`"]


# --- a pull request that a person opens before the work is done -------------------------------------------------


class Early:
    """Ada opens a pull request from the branch while its last task is worked on, and may do more with it."""

    def __init__(self, then: str) -> None:
        self.then = then
        self.world = World(begun=HOSTED, play=self.play)

    async def play(self, world: World, request: SessionRequest) -> SessionReport:
        if subject_of(request.prompt) == "c1.t2":
            branch = "claudetm/r1/c1"
            forge, tip = world.forge, world.repository.branches[branch]
            one = (await forge.open(NewPullRequest("c1", branch, tip, "Ada's", ""))).number
            if self.then == "merges":
                await forge.merge_by_person(one)
            elif self.then == "closes":
                forge.close_by_person(one)
        return await honest(world, request)


def test_a_pull_request_that_somebody_opened_early_gets_the_rest_of_the_work() -> None:
    world = Early("leaves it open").world
    assert play(world) is Ending.VERIFIED
    assert {"c1.t1.txt", "c1.t2.txt"} <= set(world.tree())
    assert world.forge.merges == [1]
    assert "HeadMoved" not in world.events


def test_what_somebody_merged_before_the_work_was_done_is_followed_by_the_rest() -> None:
    world = Early("merges").world
    assert play(world) is Ending.VERIFIED
    assert {"c1.t1.txt", "c1.t2.txt"} <= set(world.tree())
    assert world.forge.merges == [1, 2]


def test_what_somebody_closed_before_the_work_was_done_is_a_veto() -> None:
    world = Early("closes").world
    assert play(world) is Ending.BLOCKED
    assert "pull request #1 was closed unmerged" in str(world.run.halt)
    assert (
        "c1.t2.txt" in world.repository.nodes[world.repository.branches["claudetm/r1/c1"]].tree
    )  # kept for reopening
    assert not world.forge.merges


# --- what is said -----------------------------------------------------------------------------------------------


def saying(text: str) -> Play:
    """Let the responder answer every thread with this."""

    async def says(world: World, request: SessionRequest) -> SessionReport:
        report = await honest(world, request)
        if request.role is Role.RESPONDER:
            replies = [{**r, "text": text} for r in (report.answer or {})["replies"]]
            return replace(report, answer={**(report.answer or {}), "replies": replies})
        return report

    return says


def test_replies_and_findings_close_no_issue_and_call_nobody() -> None:
    world = hosted()
    world.policy = Policy(poll_seconds=30.0)
    finding = {"path": "c1.t1.txt", "line": 1, "severity": "blocking", "confidence": "high"}
    finding |= {"claim": "@bob wrote this.", "failure": "It fixes #8."}
    answers = saying("As @ada wants; closes #7.")

    async def finds(world: World, request: SessionRequest) -> SessionReport:
        if request.role is Role.REVIEWER and not world.forge.notes:
            return answered({"findings": [finding], "earlier": [], "examined": ["everything"]})
        return await answers(world, request)

    world.play = finds
    assert play(world) is Ending.VERIFIED
    (thread,) = world.forge.pulls[1].threads.values()
    said = [c.body for c in thread.comments]
    assert said[0] == "`@bob` wrote this.\n\nIt fixes `#8`."
    assert said[1].startswith("As `@ada` wants; closes `#7`.\n\nFixed in ")


def rewording(role: Role) -> tuple[list[str], Play]:
    """Let a role's commits say that they close an issue, unless it is told not to; return what it called them."""
    said: list[str] = []

    async def rewords(world: World, request: SessionRequest) -> SessionReport:
        if request.role is not role:
            return await honest(world, request)
        tree = world.repository.worktrees["c1"]
        if said:  # it was told
            tree.head = world.repository.nodes[tree.head].parents[0]
        report = await honest(world, request)
        node = world.repository.nodes[tree.head]
        said.append("Look into #7" if said else "Louder; fixes #7")
        tree.head = world.repository.commit(node.parents, tree.files, said[-1])
        return report

    return said, rewords


MEET: Mapping[Role, Callable[[World], Callable[[PullRequest], tuple[Check, ...]]]] = {
    Role.WORKER: lambda _world: lambda _pull: GREEN,
    Role.FIXER: lambda world: (
        lambda pull: GREEN if any(f.startswith("fix") for f in world.repository.nodes[pull.head].tree) else RED
    ),
    Role.RESPONDER: lambda world: (
        lambda pull: GREEN if world.forge.pulls[1].threads or world.forge.remark(pull.number, "Louder.") else RED
    ),
}


@pytest.mark.parametrize("role", MEET)
def test_a_commit_whose_message_closes_an_issue_is_reworded_where_it_would(role: Role) -> None:
    world = hosted()
    world.forge.checks = MEET[role](world)
    said, world.play = rewording(role)
    assert play(world) is Ending.VERIFIED
    assert said == ["Louder; fixes #7", "Look into #7"]
    landed = world.repository.ancestors(world.repository.branches["main"])
    assert "Louder; fixes #7" not in {world.repository.nodes[c].subject for c in landed}


def test_a_message_may_say_anything_where_there_are_no_issues() -> None:
    world = World(plan=ONE)
    said, world.play = rewording(Role.WORKER)
    assert play(world) is Ending.VERIFIED
    assert said == ["Louder; fixes #7"]


def test_a_message_that_came_with_the_base_is_nobodys_to_reword() -> None:
    world = hosted()
    world.repository.push_by_person("main", {"theirs.txt": "theirs\n"}, "Fixes #3")
    world.forge.checks = MEET[Role.FIXER](world)
    answers = []

    async def merges_it_in(w: World, request: SessionRequest) -> SessionReport:
        if request.role is Role.WORKER:
            report = await honest(w, request)
            w.repository.push_by_person("main", {"more.txt": "more\n"}, "Closes #4")
            return report
        if request.role is Role.FIXER:
            answers.append(w.resolves(request))
            tree = w.repository.worktrees["c1"]
            mine, theirs = w.repository.nodes[tree.head].parents
            tree.head = w.repository.commit((theirs, mine), tree.files, "Merge")  # theirs are listed, too
        return await honest(w, request)

    world.play = merges_it_in
    assert play(world) is Ending.VERIFIED
    assert len(answers) == 1  # nothing was said against it


def test_a_remark_is_answered_though_others_were_taken_back_before_it() -> None:
    world = hosted()

    def checks(pull: PullRequest) -> tuple[Check, ...]:
        threads = world.forge.pulls[pull.number].threads
        if not threads:
            name = world.forge.remark(pull.number, "Louder.")
            for more in ("Please.", "Now."):
                world.forge.remark(pull.number, more, thread=name)
        name = next(iter(threads))
        said = threads[name].comments
        if len(said) == 4 and said[0].body == "Louder.":  # ours is the last; two of hers go, and a new one comes
            threads[name] = replace(threads[name], comments=said[2:])
            world.forge.remark(pull.number, "And softer.", thread=name)
        return GREEN

    world.forge.checks = checks
    assert play(world) is Ending.VERIFIED
    (thread,) = world.forge.pulls[1].threads.values()
    assert [c.author for c in thread.comments] == ["ada", "claudetm", "ada", "claudetm"]


# --- merging ----------------------------------------------------------------------------------------------------


def test_an_undecided_forge_is_asked_again() -> None:
    world = hosted()
    forge = troubled(world)
    forge.outcomes = [NotYet("GitHub computes whether it can be merged")] * 3
    assert play(world) is Ending.VERIFIED
    assert (forge.asked_to_merge, len(forge.merges)) == (4, 1)
    assert "ChangeBlocked" not in world.events


def test_what_leaves_the_merge_queue_unmerged_again_and_again_is_blocked() -> None:
    world = hosted()
    forge = troubled(world)
    forge.outcomes = [MergeQueuedUp()] * 9
    assert play(world) is Ending.BLOCKED
    assert forge.asked_to_merge == 3
    assert world.run.halt is not None
    assert "put claudetm/r1/c1 out of its merge queue 3 times" in world.run.halt.reason


def test_resumed_it_goes_into_the_queue_again() -> None:
    world = hosted()
    forge = troubled(world)
    forge.outcomes = [MergeQueuedUp()] * 3
    assert play(world) is Ending.BLOCKED
    assert play(world) is Ending.VERIFIED


def test_the_last_change_to_be_merged_closes_the_issue() -> None:
    world = World(plan=TWO, begun={**HOSTED, "issue": 9})
    assert play(world) is Ending.VERIFIED
    assert world.forge.closing == {2: 9}


def test_without_an_issue_none_is_closed() -> None:
    world = hosted()
    assert play(world) is Ending.VERIFIED
    assert (world.forge.closing, world.forge.closed) == ({}, [])


def test_the_issue_is_closed_at_the_end_where_people_merged_the_changes_themselves() -> None:
    world = World(plan=TWO, policy=Policy(self_review=False, auto_merge=False), begun={**HOSTED, "issue": 9})
    for number in (1, 2):
        assert play(world) is Ending.PAUSED
        asyncio.run(world.forge.merge_by_person(number))
    assert play(world) is Ending.VERIFIED
    assert (world.forge.closing, world.forge.closed) == ({}, [9])
    assert world.run.landed == "merged into main"


def test_an_issue_that_stays_open_is_told() -> None:
    world = hosted(issue=9)
    world.forge.stays_open = "somebody has opened it again"
    assert play(world) is Ending.VERIFIED
    assert world.run.landed == "merged into main; issue #9 is still open: somebody has opened it again"


def test_an_issue_that_nothing_was_merged_for_is_left_alone() -> None:
    world = hosted(issue=9)
    world.plan, world.holds_before = {**ONE, "outcome": "nothing_to_do", "changes": []}, True
    world.plan["evidence"] = ["README.md:1"]
    assert play(world) is Ending.VERIFIED
    assert world.forge.closed == []
    assert world.run.landed == "nothing to land; issue #9 is left to you"


def test_what_is_verified_is_not_landed_where_it_was_merged_elsewhere() -> None:
    world = hosted()
    assert play(world) is Ending.VERIFIED
    assert world.run.landed == "merged into main"
    told = world.records[-1].data
    assert told["next"] == "git pull"


# --- looking ----------------------------------------------------------------------------------------------------


def test_the_forge_says_how_long_to_leave_between_looks() -> None:
    world = hosted()
    world.policy = Policy(self_review=False, poll_seconds=30.0, review_wait=600.0)
    forge = troubled(world)
    forge.factor = 4.0
    assert play(world) is Ending.VERIFIED
    assert len(forge.paces) == 5  # 600 seconds, 120 apart
    assert forge.paces == sorted(forge.paces)


def test_a_check_without_a_verdict_costs_no_session() -> None:
    world = hosted()
    forge = troubled(world)
    forge.checks, forge.no_verdict = (lambda _pull: RED), "it was cancelled"
    assert play(world) is Ending.BLOCKED
    assert world.run.halt is not None
    assert "no change of the code mends that: tests: it was cancelled" in world.run.halt.reason
    assert not [r for r in world.agent.requests if r.role == "fixer"]


# --- a pull request that was made elsewhere ---------------------------------------------------------------------


def adopting(world: World) -> MemoryForge:
    """Put a pull request of a person's at the forge."""
    base = world.repository.branches["main"]
    tree = {**world.repository.nodes[base].tree, "theirs.txt": "theirs\n"}
    world.repository.branches["feature"] = world.repository.commit((base,), tree, "Theirs")
    asyncio.run(world.forge.open(NewPullRequest("", "feature", world.repository.branches["feature"], "Theirs", "")))
    return world.forge


def test_an_adopted_pull_request_is_driven_to_merged_without_planning_or_working() -> None:
    world = World(begun={**HOSTED, "adopts": 1})
    adopting(world)
    assert play(world) is Ending.VERIFIED
    assert world.tree()["theirs.txt"] == "theirs\n"
    assert not [r for r in world.agent.requests if r.role in {"planner", "worker"}]
    change = world.run.changes["c1"]
    assert (change.number, change.branch, change.task) == (1, "feature", None)
    assert change.plan.tasks[0].title == "The work of #1, as it was found"


def test_an_adopted_one_that_is_red_is_fixed_on_its_own_branch() -> None:
    world = World(begun={**HOSTED, "adopts": 1})
    forge = adopting(world)
    forge.checks = lambda pull: (
        GREEN if any(f.startswith("fix") for f in world.repository.nodes[pull.head].tree) else RED
    )
    assert play(world) is Ending.VERIFIED
    assert world.count("FixPushed") == 1
    assert forge.pulls[1].state is PullRequestState.MERGED
    assert [r.role for r in world.agent.requests] == ["fixer"]


@pytest.mark.parametrize("point", [f"#{n}" for n in range(1, 40, 3)])
def test_an_adopted_one_survives_a_kill(point: str) -> None:
    world = World(begun={**HOSTED, "adopts": 1})
    adopting(world)
    world.points.clear()
    try:
        asyncio.run(world.drive_until_killed(point))
    except AssertionError:
        return  # it was over before
    world.kill_at = ""
    assert play(world) is Ending.VERIFIED
    assert len(world.forge.merges) == 1
    assert world.count("PullRequestAdopted") == 1
