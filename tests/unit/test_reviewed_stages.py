"""What planning, reviews and their views do when a driver dies, a limit is reached or a question is left open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from claudetm.adapters.store.directory import StateDirectory
from claudetm.adapters.store.journal import encode
from claudetm.cli.views import Lines, conclude
from claudetm.engine.loop import Ending
from claudetm.ports.agent import Role, SessionReport, SessionRequest
from claudetm.ports.forge import Note
from claudetm.testing.memory import GREEN, MemoryForge, MemoryRepository
from claudetm.workflow import events as e
from claudetm.workflow.markdown import progress_markdown, state_data
from claudetm.workflow.policy import Policy
from claudetm.workflow.pull_request import Check, PullRequest
from story import STARTED, Story, change, plan
from terminal import terminal
from world import Killed, World, answered, honest, proposal, task

ONE: Final = proposal({"id": "c1", "title": "Greet", "tasks": [task("Say hello")]})
REVIEWED: Final = Policy(self_review=True, poll_seconds=30.0)


def found(*claims: str, severity: str = "blocking") -> SessionReport:
    """Return a reviewer's answer with these findings."""
    more = {"severity": severity, "path": "README.md", "line": 1, "failure": "It fails.", "confidence": "high"}
    findings = [{"claim": claim, **more} for claim in claims]
    return answered({"findings": findings, "earlier": [], "examined": ["README.md"]})


def merged(*reviews: SessionReport) -> SessionReport:
    """Return one review with the findings of all."""
    findings = [f for r in reviews for f in (r.answer or {})["findings"]]
    return answered({"findings": findings, "earlier": [], "examined": ["README.md"]})


def reviewing(*reviews: SessionReport, policy: Policy = REVIEWED) -> World:
    """Return a world whose reviews say this, one after the other, and then find nothing."""
    left = list(reviews)

    async def play(world: World, request: SessionRequest) -> SessionReport:
        if request.role is Role.REVIEWER:
            return left.pop(0) if left else found()
        return await honest(world, request)

    return World(plan=ONE, policy=policy, play=play)


def threads(world: World, number: int = 1) -> list[str]:
    """Return the first line of each thread."""
    return [t.comments[0].body.splitlines()[0] for t in world.forge.pulls[number].threads.values()]


# --- what the reviewer finds -----------------------------------------------------------------------------------


class DyingForge(MemoryForge):
    """Kills the driver before its second remark, once."""

    remarks = 0

    async def note(self, number: int, note: Note) -> str:
        """Write a remark, or die."""
        self.remarks += 1
        if self.remarks == 2:
            raise Killed("before the second remark")
        return await super().note(number, note)


def test_a_review_held_again_after_a_crash_posts_what_only_it_found() -> None:
    world = reviewing(found("A1", "A2"), found("B1", "A1"))
    world.forge = DyingForge(world.repository, world.fault)
    with pytest.raises(Killed):
        asyncio.run(world.drive())
    assert asyncio.run(world.drive()) is Ending.VERIFIED
    assert threads(world) == ["A1", "B1"]


def test_what_does_not_block_is_kept_as_remarks_in_every_round_and_once() -> None:
    first = merged(found("A1"), found("M1", severity="minor"), found("P1", severity="pre_existing"))
    second = merged(found("M2", "M1", severity="minor"), found("P1", "P2", severity="pre_existing"))
    world = reviewing(first, second)
    assert asyncio.run(world.drive()) is Ending.VERIFIED
    assert threads(world) == ["A1", "M1", "P1", "M2", "P2"]
    assert [t.blocking for t in world.forge.pulls[1].threads.values()] == [True, *[False] * 4]
    assert [r.data["findings"] for r in world.records if r.type == "SelfReviewed"] == [3, 4]


def test_a_head_that_is_not_read_is_not_told_as_reviewed(capsys: pytest.CaptureFixture[str]) -> None:
    world = reviewing(found("A1"), found("A2"), policy=replace(REVIEWED, review_rounds=1))
    assert asyncio.run(world.drive()) is Ending.VERIFIED
    read, skipped = [r for r in world.records if r.type == "SelfReviewed"]
    assert (read.data["findings"], read.data["skipped"]) == (1, "")
    assert skipped.data["skipped"] == "rounds used up"
    assert world.run.changes["c1"].reviewed_head == read.data["head"] != skipped.data["head"]
    for record in (read, skipped):
        Lines().event(world.run, record)
    told = capsys.readouterr().out
    assert "reviewed: 1 finding" in told.splitlines()[0]
    assert "not reviewed: rounds used up" in told


def test_a_review_that_is_off_says_so_and_has_read_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    world = reviewing(policy=replace(REVIEWED, self_review=False))
    assert asyncio.run(world.drive()) is Ending.VERIFIED
    [record] = [r for r in world.records if r.type == "SelfReviewed"]
    assert record.data["skipped"] == "off"
    Lines().event(world.run, record)
    told = capsys.readouterr().out
    assert "claudetm's own reviewer is off" in told
    assert "not reviewed" not in told  # people may review it yet
    assert not world.run.changes["c1"].reviewed_head


def declined(world: World, number: int = 1) -> SessionReport:
    """Return a responder's answer that declines every open remark."""
    waiting = [t for t in world.forge.pulls[number].threads.values() if t.unanswered]
    replies = [{"thread_id": t.id, "outcome": "declined", "text": "README.md:1 is right."} for t in waiting]
    return answered({"replies": replies, "checks": []})


def test_rounds_of_people_do_not_use_up_the_reviewers() -> None:
    remarks = ["First.", "Second."]

    async def play(w: World, request: SessionRequest) -> SessionReport:
        return declined(w) if request.role is Role.RESPONDER else await honest(w, request)

    def checks(pull: PullRequest) -> tuple[Check, ...]:
        if world.count("ReviewsAnswered") == 2 and "more.txt" not in world.repository.nodes[pull.head].tree:
            world.repository.push_by_person(pull.branch, {"more.txt": "more"})
        elif remarks and world.count("ReviewsAnswered") == 2 - len(remarks):
            world.forge.remark(1, remarks.pop(0))
        for i, thread in world.forge.pulls[1].threads.items():
            world.forge.pulls[1].threads[i] = replace(thread, resolved=not thread.unanswered)
        return GREEN

    world = World(plan=ONE, policy=replace(REVIEWED, review_rounds=2), play=play)
    world.forge.checks = checks
    assert asyncio.run(world.drive()) is Ending.VERIFIED
    change = world.run.changes["c1"]
    assert world.count("ReviewsAnswered") == 2
    assert change.reviewed_head == change.head == world.repository.branches[change.branch]
    assert world.repository.nodes[change.head].subject == "A person's commit"


# --- what the responder asks -----------------------------------------------------------------------------------


def test_a_question_about_the_reviewers_finding_goes_to_the_user_and_is_answered_after_the_resume() -> None:
    world = reviewing(found("Unclear"))
    honest_enough = world.play
    told: list[tuple[str, ...]] = []

    async def play(w: World, request: SessionRequest) -> SessionReport:
        if request.role is not Role.RESPONDER:
            return await honest_enough(w, request)
        told.append(tuple(request.says))
        if request.says:
            return await honest(w, request)
        world.repository.work("c1", {"half.txt": "half"}, "Fix what is clear")
        return answered({"replies": [{"thread_id": "t1.1", "outcome": "question", "text": "Which?"}], "checks": []})

    world.play = play
    assert asyncio.run(world.drive()) is Ending.BLOCKED
    hold = world.run.changes["c1"].hold
    assert hold is not None
    assert "Which?" in hold.reason
    assert hold.next == 'claudetm say "…", then claudetm resume'
    world.inbox.send("say", text="The second.")
    assert asyncio.run(world.drive()) is Ending.VERIFIED
    assert told == [(), ("The second.",)]
    [thread] = world.forge.pulls[1].threads.values()
    assert thread.resolved
    assert world.tree()["half.txt"] == "half"


def test_what_to_do_next_about_a_disagreement_is_never_empty() -> None:
    async def play(w: World, request: SessionRequest) -> SessionReport:
        if request.role is Role.RESPONDER:
            w.forge.remark(1, "Once more.")
            return declined(w)
        return await honest(w, request)

    world = World(plan=ONE, policy=Policy(self_review=False, review_rounds=1, poll_seconds=30.0), play=play)

    def checks(_pull: PullRequest) -> tuple[Check, ...]:
        if not world.forge.pulls[1].threads:
            world.forge.remark(1, "Why?")
        return GREEN

    world.forge.checks = checks
    assert asyncio.run(world.drive()) is Ending.BLOCKED
    hold = world.run.changes["c1"].hold
    assert hold is not None
    assert hold.next == "look at memory://1, then claudetm resume"


# --- plans -----------------------------------------------------------------------------------------------------


def test_a_plan_that_a_person_rejects_is_not_told_beside_an_older_refused_one() -> None:
    old = plan(change("c1"), change("c2"))
    run = Story(*STARTED, e.PlanRefused(("Too large.",), old), e.PlanProposed(plan()), e.PlanRejected("No.")).run
    assert run.refused_plan == plan()
    assert (run.plan_findings, run.rejection) == ((), "No.")


def planners(world: World) -> int:
    """Return how many sessions planned."""
    return sum(r.role is Role.PLANNER for r in world.agent.requests)


def drafted(world: World) -> list[object]:
    return [r.data["plan"] for r in world.records if r.type in {"PlanDrafted", "PlanProposed"}]


def test_a_driver_killed_while_the_criteria_run_goes_on_with_the_same_plan() -> None:
    world = World(plan=ONE)
    before = world.exit_code
    kills = [Killed("in a criterion")]

    def exit_code(command: str) -> int:
        if kills:
            raise kills.pop()
        return before(command)

    world.commands.answer = lambda request: exit_code(request.command)
    with pytest.raises(Killed):
        asyncio.run(world.drive())
    world.plan = proposal({"id": "other", "title": "Another", "tasks": [task("Say bye")]})
    assert asyncio.run(world.drive()) is Ending.VERIFIED
    assert planners(world) == 1
    first, proposed = drafted(world)
    assert first == proposed
    assert world.run.draft is None


@pytest.mark.parametrize("point", ["after:PlanDrafted", "before:SessionEnded", "after:SessionEnded"])
def test_a_driver_killed_around_the_end_of_planning_goes_on_with_the_same_plan(point: str) -> None:
    when, event = point.split(":")
    whole = World(plan=ONE)
    assert asyncio.run(whole.drive()) is Ending.VERIFIED
    point = next(p for p in whole.points if p.startswith(when) and p.endswith(event))
    world = World(plan=ONE)
    asyncio.run(world.drive_until_killed(point))
    assert asyncio.run(world.drive()) is Ending.VERIFIED
    assert planners(world) == 1


def test_a_stop_while_the_criteria_run_keeps_the_plan() -> None:
    world = World(plan=ONE)
    before = world.exit_code

    def exit_code(command: str) -> int:
        if not world.count("RunPaused"):
            world.context.stop.set()
            world.inbox.send("stop", "stop-1")
        return before(command)

    plan_two = proposal(criteria=[{"text": "Hello", "command": "hello"}, {"text": "Bye", "command": "bye"}])
    world.plan = plan_two
    world.commands.answer = lambda request: exit_code(request.command)
    assert asyncio.run(world.drive()) is Ending.PAUSED
    assert world.run.phase == "planning"
    assert asyncio.run(world.drive()) is Ending.VERIFIED
    assert planners(world) == 1


def test_a_plan_of_guards_alone_is_drafted_refused_and_then_forgotten() -> None:
    run = Story(*STARTED, e.PlanDrafted(plan()), e.PlanRefused(("All hold.",), plan())).run
    assert run.draft is None


class NumberedCheckouts(MemoryRepository):
    """Gives every checkout a path of its own, as the real one does."""

    checkouts = 0

    @asynccontextmanager
    async def checkout(self, commit: str) -> AsyncIterator[Path]:
        """Return a path that no other checkout has."""
        self.checkouts += 1
        yield Path("/memory/checkouts") / str(self.checkouts) / commit


def test_before_the_work_no_criterion_sees_what_another_left() -> None:
    criteria = [{"text": "Hello", "command": "hello"}, {"text": "Bye", "command": "bye"}]
    world = World(plan=proposal(criteria=criteria), policy=Policy(self_review=False, setup=("setup",)))
    world.repository = NumberedCheckouts({"README.md": "hello\n", "Makefile": "test:\n"}, world.fault)
    world.forge = MemoryForge(world.repository, world.fault)
    world.commands.answer = lambda request: 0 if request.command == "setup" or world.forge.merges else 1
    assert asyncio.run(world.drive()) is Ending.VERIFIED
    before = [(r.command, r.cwd) for r in world.commands.requests[:4]]
    first, second = before[0][1], before[2][1]
    assert before == [("setup", first), ("hello", first), ("setup", second), ("bye", second)]
    assert first != second
    base = world.run.base[:10]
    assert [p.text for p in world.progress if not p.session][:2] == [
        f"set-up for k1 at {base}: setup; then hello",
        f"set-up for k2 at {base}: setup; then bye",
    ]


# --- what is told of a run that is verified ---------------------------------------------------------------------


COMMAND: Final = "git merge --ff-only claudetm/r1/base"


def left_alone() -> World:
    """Return a world whose run is verified and not landed, as asked."""
    world = World(plan=ONE, policy=Policy(self_review=False, land=False))
    assert asyncio.run(world.drive()) is Ending.VERIFIED
    return world


def test_a_verified_run_that_was_not_landed_is_told_as_verified_with_the_command_left(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = left_alone().run
    assert conclude(run, Ending.VERIFIED) == 0
    told = capsys.readouterr().out
    assert told.startswith("verified: ")
    assert told.endswith(f"next: {COMMAND}\n")
    assert f"Next: `{COMMAND}`" in progress_markdown(run)
    assert "Paused" not in progress_markdown(run)
    data = state_data(run)
    assert (data["phase"], data["halt"], data["next"]) == ("verified", None, COMMAND)


@pytest.mark.e2e
def test_status_tells_the_command_that_is_left_and_of_no_pause(tmp_path: Path) -> None:
    person = terminal(tmp_path)
    state = StateDirectory(person.state)
    state.create(person.here / ".git")
    state.journal.write_bytes(b"".join(encode(r) for r in left_alone().records))
    state.lock.touch()
    told = person("status").stdout
    assert f"next: {COMMAND}" in told
    assert "paused" not in told
