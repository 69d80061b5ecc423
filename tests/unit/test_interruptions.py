"""What a kill, a pause or a person in the wrong moment must not change. Each was once otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from claudetm.engine.inbox import PAUSED, STOPPED
from claudetm.engine.loop import Ending
from claudetm.plan.model import plan_to_data
from claudetm.ports.agent import Role, SessionReport, SessionRequest
from claudetm.ports.commands import CommandRequest, CommandResult
from claudetm.ports.dispatch import TOLD_TO_END
from claudetm.testing.memory import GREEN, PENDING, MemoryCommands
from claudetm.workflow.outcomes import Outcome
from claudetm.workflow.pull_request import Check
from claudetm.workflow.stages import MONITOR, Stage
from world import Killed, World, answered, change_of, honest, play, proposal, task, work

ONE = {"id": "c1", "title": "One", "tasks": [task()]}
TWO = {"id": "c2", "title": "Two", "tasks": [task()]}


def resumes(world: World, **raised: Any) -> Ending:
    return asyncio.run(world.drive(**raised))


def reason(world: World) -> str:
    return world.run.halt.reason if world.run.halt else ""


def test_work_of_a_dead_session_is_not_taken_for_true_already() -> None:
    async def story() -> None:
        world = World(proposal(ONE))

        async def commits_and_dies(w: World, request: SessionRequest) -> SessionReport:
            if request.role is Role.WORKER:
                w.repository.work(change_of(request), {"half.txt": "done"}, "Half")
                raise Killed
            return await honest(w, request)

        world.play = commits_and_dies
        with pytest.raises(Killed):
            await world.drive()

        async def sees_it(w: World, request: SessionRequest) -> SessionReport:
            if request.role is Role.WORKER:
                evidence = [{"path": "half.txt", "line": 1, "command": ""}]
                sessions = len([r for r in w.agent.requests if r.role is Role.WORKER])
                return answered(work("already_true", evidence=evidence) if sessions < 3 else work())
            return await honest(w, request)

        world.play = sees_it
        assert await world.drive() is Ending.VERIFIED
        assert "half.txt" in world.tree()
        assert "TaskSkipped" not in world.events

    asyncio.run(story())


def test_what_people_merge_in_their_own_order_is_verified_whole() -> None:
    world = World(proposal(ONE, TWO), replace(World().policy, auto_merge=False))
    assert play(world) is Ending.PAUSED

    async def merges() -> None:
        await world.forge.merge_by_person(2)
        await world.forge.merge_by_person(1)

    asyncio.run(merges())
    assert resumes(world) is Ending.VERIFIED
    assert world.run.verify_commit == world.repository.branches["main"]
    assert {"c1.t1.txt", "c2.t1.txt"} <= set(world.repository.nodes[world.run.verify_commit].tree)


def test_a_criterion_that_failed_is_judged_again_once_the_user_has_seen_to_it() -> None:
    world = World()
    world.commands.answer = lambda _request: 1

    async def sees_no_way(w: World, request: SessionRequest) -> SessionReport:
        if "Subject: extend" in request.prompt:
            return answered({**proposal(), "outcome": "blocked", "changes": []})
        return await honest(w, request)

    world.play = sees_no_way
    assert play(world) is Ending.BLOCKED
    world.commands.answer = lambda _request: 0
    assert resumes(world) is Ending.VERIFIED


def test_a_plan_that_nobody_was_shown_is_not_approved_by_a_resume() -> None:
    world = World(policy=replace(World().policy, approve_plan=True))

    async def pauses(w: World, request: SessionRequest) -> SessionReport:
        w.inbox.send("pause", "p1")
        await asyncio.sleep(0)
        return await honest(w, request)

    world.play = pauses
    world.inbox.send("pause", "early")
    assert play(world) is Ending.PAUSED
    world.play = honest
    assert resumes(world) is Ending.PAUSED
    assert "awaits your approval" in reason(world)
    assert resumes(world) is Ending.VERIFIED


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_pause_on_pull_requests_is_kept_across_a_kill(when: str) -> None:
    async def story() -> None:
        whole = World(proposal(ONE), replace(World().policy, pause_on_pr=True))
        assert await whole.drive() is Ending.PAUSED
        pause = next(r for r in whole.records if r.type == "RunPaused")
        world = World(proposal(ONE), replace(World().policy, pause_on_pr=True))
        await world.drive_until_killed(f"{when}:{pause.seq}:RunPaused")
        assert not world.forge.merges
        if when == "before":
            assert await world.drive() is Ending.PAUSED
        assert await world.drive() is Ending.VERIFIED

    asyncio.run(story())


def test_a_stop_that_is_lifted_before_it_is_heeded_stops_nothing() -> None:
    world = World()
    world.inbox.send("stop", "s1")
    world.inbox.send("resume", "r1")
    assert play(world) is Ending.VERIFIED
    assert "interrupted" not in [r.data.get("outcome") for r in world.records]


def test_checks_have_their_whole_time_again_when_the_driver_was_away() -> None:
    world = World()
    world.forge.checks = lambda _pull: PENDING
    world.inbox.send("settings", pause_on_pr=True)
    assert play(world) is Ending.PAUSED
    world.inbox.send("settings", pause_on_pr=False)

    def stops() -> tuple[Check, ...]:
        if world.context.run.changes["c1"].stage is Stage.WAITING_CI:
            world.inbox.send("stop", "evening")
        return PENDING

    async def story() -> Ending:
        world.forge.checks = lambda _pull: stops()
        assert await world.drive() is Ending.PAUSED
        assert world.run.changes["c1"].stage is Stage.WAITING_CI
        world.clock.time += 10 * 3600
        answers = iter([PENDING, PENDING, *[GREEN] * 1000])
        world.forge.checks = lambda _pull: next(answers)
        return await world.drive()

    assert asyncio.run(story()) is Ending.VERIFIED


def test_a_login_that_was_renewed_after_a_kill_needs_one_resume() -> None:
    async def story() -> None:
        world = World(proposal(ONE))

        async def refused(_w: World, _request: SessionRequest) -> SessionReport:
            return SessionReport(Outcome.UNAUTHENTICATED)

        world.play = refused
        await world.drive_until_killed("before:5:RunBlocked")
        world.play = honest
        assert await world.drive() is Ending.VERIFIED

    asyncio.run(story())


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("edit_plan", {"plan": [], "based_on": 1}),
        ("edit_plan", {"plan": {"changes": [1]}, "based_on": 1}),
        ("limits", {"attempts": "many"}),
        ("limits", {"cost_usd": float("nan")}),
        ("settings", {"auto_merge": "perhaps"}),
        ("settings", {"colour": "blue"}),
        ("drop", {}),
        ("dance", {}),
    ],
)
def test_a_malformed_command_is_refused_and_the_run_goes_on(name: str, arguments: dict[str, Any]) -> None:
    world = World()
    world.inbox.send(name, "odd", **arguments)
    assert play(world) is Ending.VERIFIED
    assert world.run.refused["odd"]


def test_words_reach_the_first_session_that_can_hear_them() -> None:
    world = World(proposal(ONE))
    deaf: list[bool] = []

    async def is_busy(w: World, request: SessionRequest) -> SessionReport:
        if not deaf:
            deaf.append(True)
            return SessionReport(Outcome.OVERLOADED)
        return await honest(w, request)

    world.play = is_busy
    world.inbox.send("say", "s1", text="Mind the gap")
    assert play(world) is Ending.VERIFIED
    assert [r.says for r in world.agent.requests if r.role is Role.PLANNER] == [("Mind the gap",)] * 2
    assert [r.says for r in world.agent.requests if r.role is not Role.PLANNER] == [()]


def test_nothing_is_begun_that_the_budget_cannot_pay() -> None:
    changes = [{"id": f"c{n}", "title": f"Change {n}", "tasks": [task()]} for n in range(1, 6)]
    world = World(proposal(*changes), replace(World().policy, sessions=2))
    assert play(world) is Ending.PAUSED
    assert world.count("ChangeStarted") == 1
    assert resumes(world, sessions=99) is Ending.VERIFIED


def test_a_blocked_run_keeps_its_reason_when_it_is_paused() -> None:
    world = World()
    world.forge.checks = lambda _pull: ()
    assert play(world) is Ending.BLOCKED
    world.inbox.send("pause", "late")
    assert asyncio.run(world.drive(resume=False)) is Ending.BLOCKED
    assert "zero checks" in reason(world)
    assert "blocked already" in world.run.refused["late"]


async def until(happened: Callable[[], object]) -> None:
    """Let the driver go on until something has happened; never is a failure."""
    async with asyncio.timeout(10):
        while not happened():  # noqa: ASYNC110 - what the driver does tells nobody
            await asyncio.sleep(0)


def test_a_stop_after_a_pause_interrupts_the_session_that_the_pause_waits_for() -> None:
    world = World(inbox_seconds=0.001)

    async def is_paused_then_stopped(w: World, request: SessionRequest) -> SessionReport:
        if request.role is not Role.WORKER:
            return await honest(w, request)
        w.inbox.send("pause", "p1")
        await until(lambda: w.context.run.halt)
        assert not w.context.stop.is_set()
        w.inbox.send("stop", "s1")
        await until(w.context.stop.is_set)
        return SessionReport(Outcome.INTERRUPTED)

    world.play = is_paused_then_stopped
    assert play(world) is Ending.PAUSED
    assert (reason(world), world.run.refused) == (STOPPED, {})
    world.play = honest
    assert resumes(world) is Ending.VERIFIED


@pytest.mark.parametrize("commands", [("pause", "stop"), ("stop", "pause")])
def test_a_signal_to_the_process_does_not_take_the_place_of_a_person_s_pause(commands: tuple[str, str]) -> None:
    world = World(inbox_seconds=0.001)

    async def is_paused_and_signalled(w: World, _request: SessionRequest) -> SessionReport:
        for command in commands:
            w.inbox.send(command, command, **({"reason": TOLD_TO_END} if command == "stop" else {}))
            await until(lambda: command in w.context.run.commands)  # noqa: B023 - it is waited for in this round
        assert w.context.stop.is_set()
        return SessionReport(Outcome.INTERRUPTED)

    world.play = is_paused_and_signalled
    assert play(world) is Ending.PAUSED
    assert (reason(world), world.run.refused) == (PAUSED, {})


def test_a_stop_of_what_is_paused_and_at_rest_is_refused_with_the_reason_it_rests_for() -> None:
    world = World()
    world.inbox.send("pause", "p1")
    world.inbox.send("stop", "s1")
    assert play(world) is Ending.PAUSED
    assert world.run.refused == {"s1": "The run is paused already: paused by the user."}


def begun_in(world: World, change: str) -> list[str]:
    """Return the outcomes of the sessions of a change, in order."""
    return [r.data["outcome"] for r in world.records if r.type == "SessionEnded" and r.data.get("change") == change]


@pytest.mark.parametrize("how", ["drop", "edit_plan"])
def test_a_session_ends_when_its_change_is_dropped_and_the_others_go_on(how: str) -> None:
    world = World(proposal(ONE, TWO), inbox_seconds=0.001)

    async def is_dropped(w: World, request: SessionRequest) -> SessionReport:
        if request.role is not Role.WORKER or change_of(request) != "c1":
            return await honest(w, request)
        run = w.context.run
        left = replace(run.plan, changes=run.plan.changes[1:])
        edit = {"plan": plan_to_data(left), "based_on": run.plan_seq}
        w.repository.worktrees["c1"].files["half.txt"] = "half"
        w.inbox.send(how, "d1", **({"change": "c1"} if how == "drop" else edit))
        await until(w.context.stop.is_set)
        return SessionReport(Outcome.INTERRUPTED)

    world.play = is_dropped
    assert play(world) is Ending.VERIFIED
    assert begun_in(world, "c1") == ["interrupted"]
    assert begun_in(world, "c2") == ["answered"]
    assert world.run.changes["c1"].snapshots == 1
    assert {i: str(c.stage) for i, c in world.run.changes.items()} == {"c1": "abandoned", "c2": "merged"}


def test_what_sets_a_change_up_ends_when_an_edit_takes_the_change_out_of_the_plan() -> None:
    world = World(proposal(ONE, TWO), replace(World().policy, setup=("install",)), inbox_seconds=0.001)
    stopped: list[str] = []

    class Installing(MemoryCommands):
        async def run(self, request: CommandRequest, stop: asyncio.Event | None = None) -> CommandResult:
            if request.command == "install" and request.cwd.name == "c1" and stop is not None:
                run = world.context.run
                left = replace(run.plan, changes=run.plan.changes[1:])
                world.inbox.send("edit_plan", "e1", plan=plan_to_data(left), based_on=run.plan_seq)
                await until(stop.is_set)
                stopped.append(request.cwd.name)
            return await super().run(request, stop)

    world.commands = Installing(lambda r: 0 if r.command == "install" else world.exit_code(r.command))
    assert play(world) is Ending.VERIFIED
    assert (stopped, list(world.run.changes)) == (["c1"], ["c2"])


def test_a_stop_that_is_lifted_while_its_session_ends_lets_the_run_go_on() -> None:
    world = World(proposal(ONE), inbox_seconds=0.001)

    async def is_stopped_then_resumed(w: World, request: SessionRequest) -> SessionReport:
        if request.role is not Role.WORKER or w.count("RunResumed"):
            return await honest(w, request)
        w.inbox.send("stop", "s1")
        await until(w.context.stop.is_set)
        w.inbox.send("resume", "r1")
        await until(lambda: w.context.run.halt is None)
        return SessionReport(Outcome.INTERRUPTED)

    world.play = is_stopped_then_resumed
    assert play(world) is Ending.VERIFIED
    assert begun_in(world, "c1") == ["interrupted", "answered"]


# --- a monitor that looks by and by, and nobody has said anything ----------------------------------------------


def looks(world: World) -> Ending:
    return asyncio.run(world.drive(leaves=True, by=MONITOR))


def test_a_worker_waits_for_no_review_it_leaves_and_a_look_goes_on_once_there_is_one() -> None:
    world = World(proposal(ONE), replace(World().policy, reviews_required=1))
    assert asyncio.run(world.drive(leaves=True)) is Ending.PAUSED
    assert world.run.halt is not None
    assert (world.run.halt.asks, world.run.changes["c1"].stage) == ("forge", Stage.WAITING_REVIEWS)
    sessions = world.run.sessions
    assert looks(world) is Ending.PAUSED
    assert world.run.sessions == sessions
    world.forge.pulls[1].approvals = 1
    assert looks(world) is Ending.VERIFIED


def test_a_look_accepts_no_veto_and_lifts_no_hold() -> None:
    world = World(proposal(ONE, TWO), replace(World().policy, auto_merge=False))
    assert asyncio.run(world.drive(leaves=True)) is Ending.PAUSED
    world.forge.close_by_person(1)
    for _ in range(2):
        assert looks(world) is Ending.BLOCKED
        assert "closed unmerged" in reason(world)


def test_a_look_approves_no_plan() -> None:
    world = World(policy=replace(World().policy, approve_plan=True))
    assert play(world) is Ending.PAUSED
    assert looks(world) is Ending.PAUSED
    assert "PlanApproved" not in world.events
