"""Whole runs on the memory adapters: what a look at branches and worktrees must not get wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from claudetm.engine.loop import Ending
from claudetm.ports.agent import Role, SessionReport, SessionRequest
from claudetm.ports.commands import CommandRequest
from claudetm.testing.memory import GREEN, PENDING, ROOT
from claudetm.workflow.outcomes import Outcome
from claudetm.workflow.policy import Policy
from claudetm.workflow.pull_request import Check, PullRequest
from world import Killed, World, change_of, honest, play, proposal, task

TWO = proposal({"id": "c1", "title": "First", "tasks": [task()]}, {"id": "c2", "title": "Second", "tasks": [task()]})
ONE = proposal({"id": "c1", "title": "First", "tasks": [task("One"), task("Two")]})


def test_a_conflict_is_resolved_though_the_branch_lacks_what_it_was_tested_with() -> None:
    """c2 begins before c1 is merged, is tested with c1, and then a person's commit conflicts with it."""
    world = World(TWO, Policy(self_review=True, poll_seconds=30.0))

    def checks(pull: PullRequest) -> tuple[Check, ...]:
        return PENDING if pull.number == 1 and "c2" not in world.repository.worktrees else GREEN

    async def overtaken(w: World, request: SessionRequest) -> SessionReport:
        if request.role is Role.WORKER and change_of(request) == "c2":
            if 1 in w.forge.pulls and not w.forge.merges:
                await w.forge.merge_by_person(1)
            return await w.commits(request, {"shared.txt": "c2\n"})
        if request.role is Role.REVIEWER and 2 in w.forge.pulls and "shared.txt" not in w.tree():
            w.repository.push_by_person("main", {"shared.txt": "a person\n"})
        return await honest(w, request)

    world.forge.checks, world.play = checks, overtaken
    ending = play(world)
    assert world.count("ConflictFound") == 1
    assert ending is Ending.VERIFIED, world.run.halt
    assert world.tree()["shared.txt"] == "c2\n\na person\n"


class Setting(World):
    """A world whose changes need a set-up, which a test can break."""

    def __init__(self) -> None:
        super().__init__(ONE, Policy(self_review=False, setup=("install", "build")))
        self.broken = ""  # the set-up command that fails

    def exit_code(self, command: str) -> int:
        if command in self.policy.setup:
            return 1 if command == self.broken else 0
        return super().exit_code(command)

    def set_ups(self) -> list[str]:
        """Return the set-up commands that ran in the change's worktree; each throw-away checkout has its own."""
        return [r.command for r in self.commands.requests if r.command in self.policy.setup and r.cwd == ROOT / "c1"]


def test_a_worktree_is_set_up_once() -> None:
    world = Setting()
    assert play(world) is Ending.VERIFIED
    assert world.set_ups() == ["install", "build"]


def test_a_set_up_that_is_set_meanwhile_runs_in_the_worktree_that_is_there() -> None:
    """Found missing when the checks were red, then configured: the sessions that go on need it as the checks do."""
    world = Setting()
    told = False

    async def is_told(w: World, request: SessionRequest) -> SessionReport:
        nonlocal told
        if request.role is Role.WORKER and not told:
            told = True
            w.inbox.send("settings", setup=["build"])
        return await honest(w, request)

    world.play = is_told
    assert play(world) is Ending.VERIFIED
    assert world.set_ups() == ["install", "build", "build"]


def _looked_at() -> Setting:
    world = Setting()
    world.policy = replace(world.policy, self_review=True)
    world.plan = {**ONE, "criteria": [{"text": "Everybody likes it", "command": ""}]}
    return world


def test_those_who_look_at_a_checkout_can_run_what_lies_in_it() -> None:
    """Reviewer and verifier are told to try things, and the set-up is what makes that possible."""
    world = _looked_at()
    seen: dict[Role, list[str]] = {}

    async def looks(w: World, request: SessionRequest) -> SessionReport:
        seen[request.role] = [r.command for r in w.commands.requests if r.cwd == request.cwd]
        w.commands.requests.clear()
        return await honest(w, request)

    world.play = looks
    assert play(world) is Ending.VERIFIED
    assert seen[Role.REVIEWER] == seen[Role.VERIFIER] == ["install", "build"]


@pytest.mark.parametrize("kind", ["review", "verify"])
def test_a_set_up_that_fails_for_those_who_look_stops_the_run_with_its_log(kind: str) -> None:
    world = _looked_at()
    world.commands.answer = lambda r: 1 if r.log and kind in r.log.name else world.exit_code(r.command)
    assert play(world) is Ending.BLOCKED
    assert world.run.halt is not None
    assert "the set-up command `install` failed" in world.run.halt.reason


def test_a_set_up_that_failed_is_run_again_before_a_session_uses_the_worktree() -> None:
    world = Setting()
    lost = False

    async def loses_its_worktree(w: World, request: SessionRequest) -> SessionReport:
        nonlocal lost
        if request.role is Role.WORKER and not lost:
            lost, world.broken = True, "build"
            del w.repository.worktrees["c1"]
            return SessionReport(Outcome.CRASHED)
        return await honest(w, request)

    world.play = loses_its_worktree
    assert play(world) is Ending.BLOCKED
    assert world.run.changes["c1"].hold is not None
    assert "the set-up command `build` failed" in world.run.changes["c1"].hold.reason
    world.broken, done = "", len(world.set_ups())
    assert play(world) is Ending.VERIFIED
    assert world.set_ups()[done:] == ["install", "build"]


@pytest.mark.parametrize("when", ["the change begins", "its worktree is replaced"])
def test_a_set_up_that_was_killed_is_run_again_before_a_session_uses_the_worktree(when: str) -> None:
    world = Setting()
    armed = when == "the change begins"

    def dies(request: CommandRequest) -> int:
        nonlocal armed
        if armed and request.command == "build":
            armed = False
            raise Killed("in the set-up")
        return world.exit_code(request.command)

    async def loses_its_worktree(w: World, request: SessionRequest) -> SessionReport:
        nonlocal armed
        if request.role is Role.WORKER and not w.count("SessionEnded") > 1:
            armed = True
            del w.repository.worktrees["c1"]
            return SessionReport(Outcome.CRASHED)
        return await honest(w, request)

    world.commands.answer = dies
    world.play = honest if armed else loses_its_worktree
    with pytest.raises(Killed):
        play(world)
    done = len(world.set_ups())
    assert play(world) is Ending.VERIFIED
    assert world.set_ups()[done:] == ["install", "build"]
