"""A forge that is busy right after a session was paid for: the session's work is neither lost nor paid for again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from claudetm.engine.loop import Ending
from claudetm.errors import ForgeBusy
from claudetm.ports.agent import Role, SessionReport, SessionRequest
from claudetm.ports.forge import Note
from claudetm.ports.repository import Pushed, PushRefused
from claudetm.testing.memory import GREEN, RED, MemoryForge, MemoryRepository
from world import Killed, World, answered, honest, play, proposal, task

ONE = proposal({"id": "c1", "title": "Greet", "tasks": [task("Say hello")]})
HOSTED: dict[str, Any] = {"forge": "github", "hosted": {"owner": "acme", "name": "widgets"}}
FINDING = {
    "path": "c1.t1.txt",
    "line": 1,
    "severity": "blocking",
    "claim": "It is loud.",
    "failure": "Ears hurt.",
    "confidence": "high",
}


class Lone(ForgeBusy):
    """What a forge raises that is busy over one pull request alone."""

    alone = True


class Outage:
    """A forge that is out of reach from a moment on, for so many tries; each says to ask again in a minute."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.tries = 0
        self.met = 0
        self.kinds: dict[int, type[ForgeBusy]] = {}  # of the tries, by how many are left; else all is out of reach
        self.meanwhile: Callable[[], object] = lambda: None

    def passes(self) -> None:
        """Raise what a forge out of reach raises, if it is."""
        if self.tries > 0:
            self.tries -= 1
            self.met += 1
            self.meanwhile()
            raise self.kinds.get(self.tries, ForgeBusy)("GitHub cannot be reached.", self.world.clock.now() + 60)


class Pushing(MemoryRepository):
    """What is pushed through the outage."""

    outage: Outage

    async def push(self, branch: str, commit: str) -> Pushed | PushRefused:
        self.outage.passes()
        return await super().push(branch, commit)


class Noting(MemoryForge):
    """What is said through the outage."""

    outage: Outage

    async def note(self, number: int, note: Note) -> str:
        self.outage.passes()
        return await super().note(number, note)


def unlucky(role: Role, tries: int = 4, **policy: Any) -> tuple[World, Outage]:
    """Return a world whose forge is out of reach, so many times, as soon as a session of the role has ended."""
    world = World(plan=ONE, begun=HOSTED)
    world.policy = replace(world.policy, **policy)
    outage = Outage(world)
    repository = Pushing(world.files, world.fault)
    repository.outage = outage
    forge = Noting(repository, world.fault)
    forge.outage = outage
    world.repository, world.forge = repository, forge

    async def ends_in_an_outage(w: World, request: SessionRequest) -> SessionReport:
        if request.role is not role:
            return await honest(w, request)
        held = len([r for r in w.agent.requests if r.role is role])
        if role is Role.REVIEWER and held == 1:
            report = answered({"findings": [FINDING], "earlier": [], "examined": ["everything"]})
        else:
            report = await honest(w, request)
        outage.tries = tries if held == 1 else 0
        return report

    world.play = ends_in_an_outage
    return world, outage


def red_until_fixed(world: World) -> None:
    def checks(pull: Any) -> Any:
        mended = any(f.startswith("fix") for f in world.repository.nodes[pull.head].tree)
        return GREEN if mended else RED

    world.forge.checks = checks


def clashing(world: World) -> None:
    """Let somebody push to the base what conflicts, once there is a pull request."""

    async def also(w: World, request: SessionRequest) -> SessionReport:
        report = await before(w, request)
        if request.role is Role.WORKER:
            w.repository.push_by_person("main", {"c1.t1.txt": "theirs\n"})
        return report

    before = world.play
    world.play = also


def remarked(world: World) -> None:
    """Let ada say something once there is a pull request."""

    def checks(pull: Any) -> Any:
        if not world.forge.pulls[pull.number].threads:
            world.forge.remark(pull.number, "Louder, please.", path="c1.t1.txt")
        return GREEN

    world.forge.checks = checks


def sessions(world: World, role: Role) -> int:
    return len([r for r in world.agent.requests if r.role is role])


CASES: dict[Role, Callable[[World], None]] = {
    Role.FIXER: red_until_fixed,
    Role.UPDATER: clashing,
    Role.RESPONDER: remarked,
    Role.REVIEWER: lambda _world: None,
}


@pytest.mark.parametrize("role", CASES)
def test_an_outage_after_a_session_is_waited_for_and_the_session_is_not_held_again(role: Role) -> None:
    world, outage = unlucky(role, self_review=role is Role.REVIEWER)
    CASES[role](world)
    assert play(world) is Ending.VERIFIED
    assert outage.met == 4
    assert sessions(world, role) == (2 if role is Role.REVIEWER else 1)  # the second reads what was answered
    assert [w.why for w in world.waits].count("GitHub cannot be reached") == 4
    assert "ChangeBlocked" not in world.events


@pytest.mark.parametrize("role", CASES)
@pytest.mark.parametrize("command", ["pause", "stop"])
def test_a_pause_and_a_stop_are_heard_in_an_outage_after_a_session(role: Role, command: str) -> None:
    world, outage = unlucky(role, self_review=role is Role.REVIEWER)
    world.inbox_seconds = 0.001
    CASES[role](world)

    def says_so() -> None:
        outage.tries = 1_000_000  # until it is heard
        if outage.met == 2:
            world.inbox.send(command, "p1")

    outage.meanwhile = says_so
    assert play(world) is Ending.PAUSED
    assert outage.met < 1_000_000


def test_all_others_wait_ten_minutes_at_most_for_one_that_the_forge_is_busy_over_alone() -> None:
    world, outage = unlucky(Role.RESPONDER, 100)
    remarked(world)
    outage.kinds = dict.fromkeys(range(100), Lone)
    assert play(world) is Ending.VERIFIED
    assert outage.met == 11
    assert sessions(world, Role.RESPONDER) == 2  # the loop has looked at all changes in between
    assert "ChangeBlocked" not in world.events


@pytest.mark.parametrize("elsewhere", [range(100), range(0, 100, 10)])
def test_an_outage_of_all_is_waited_for_however_long_it_lasts(elsewhere: range) -> None:
    world, outage = unlucky(Role.RESPONDER, 100)
    remarked(world)
    outage.kinds = {left: Lone for left in range(100) if left not in elsewhere}
    assert play(world) is Ending.VERIFIED
    assert outage.met == 100
    assert sessions(world, Role.RESPONDER) == 1


@pytest.mark.parametrize("role", [Role.FIXER, Role.UPDATER])
def test_work_that_a_killed_driver_could_not_push_is_pushed_and_not_paid_for_again(role: Role) -> None:
    world, outage = unlucky(role)
    CASES[role](world)

    def dies() -> None:
        raise Killed

    outage.meanwhile = dies
    with pytest.raises(Killed):
        play(world)
    outage.tries, outage.meanwhile = 0, lambda: None
    assert play(world) is Ending.VERIFIED
    assert sessions(world, role) == 1
    assert world.count("FixPushed" if role is Role.FIXER else "BranchUpdated") == 1


def test_a_fix_that_was_not_pushed_is_worked_on_where_the_worktree_does_not_bear_it_out() -> None:
    world, outage = unlucky(Role.FIXER)
    red_until_fixed(world)

    def dies() -> None:
        raise Killed

    outage.meanwhile = dies
    with pytest.raises(Killed):
        play(world)
    outage.tries, outage.meanwhile = 0, lambda: None
    world.repository.worktrees["c1"].files["README.md"] = "changed by nobody knows whom"
    seen = []

    async def looks(w: World, request: SessionRequest) -> SessionReport:
        if request.role is Role.FIXER:
            seen.append(w.repository.worktrees["c1"].files["README.md"])
        return await honest(w, request)

    world.play = looks
    assert play(world) is Ending.VERIFIED
    assert seen == ["changed by nobody knows whom"]
