"""What cannot go on is said once, with its reason, and costs nothing meanwhile. Each was once otherwise."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from claudetm.cli.board import rows
from claudetm.cli.explain import Driving, _of_run
from claudetm.cli.panel import held_lines
from claudetm.engine.loop import Ending
from claudetm.errors import ForgeError, RepositoryError
from claudetm.ports.agent import SessionReport, SessionRequest
from claudetm.testing.memory import GREEN, PENDING, MemoryForge
from claudetm.workflow import events as e
from claudetm.workflow.legality import IllegalEvent
from claudetm.workflow.pull_request import Check, PullRequest
from claudetm.workflow.run import Obstacle
from claudetm.workflow.stages import Phase
from story import PHASES, Story, change, working
from world import World, answered, honest, play, proposal, task

ONE = {"id": "c1", "title": "One", "tasks": [task()]}
TWO = {"id": "c2", "title": "Two", "tasks": [task()]}
SETUP = replace(World().policy, setup=("install",))
AFTER_ONE = {"id": "c3", "title": "Three", "tasks": [task()], "depends_on": ["c1"]}


def resumes(world: World, **raised: Any) -> Ending:
    return asyncio.run(world.drive(**raised))


def reason(world: World) -> str:
    return world.run.halt.reason if world.run.halt else ""


def set_up_fails(world: World, change: str) -> None:
    """Let the set-up fail in the change's worktree, and only there."""
    others = world.exit_code
    world.commands.answer = lambda r: int(r.cwd.name == change) if r.command == "install" else others(r.command)


# --- a change that cannot begin ------------------------------------------------------------------------------


def test_a_change_that_cannot_begin_is_held_once_and_the_rest_goes_on() -> None:
    world = World(proposal(ONE, TWO, AFTER_ONE), SETUP)
    set_up_fails(world, "c1")
    assert play(world) is Ending.BLOCKED
    assert world.count("ChangeBlocked") == 1
    assert reason(world).startswith("c1: the set-up command `install` failed")
    stages = {i: str(c.stage) for i, c in world.run.changes.items()}
    assert stages == {"c1": "queued", "c2": "merged", "c3": "queued"}


def test_a_resume_tries_to_begin_it_again() -> None:
    world = World(proposal(ONE, AFTER_ONE), SETUP)
    set_up_fails(world, "c1")
    assert [play(world), resumes(world)] == [Ending.BLOCKED, Ending.BLOCKED]
    assert world.count("ChangeBlocked") == 2
    set_up_fails(world, "")
    assert resumes(world) is Ending.VERIFIED


def test_a_change_that_cannot_begin_is_shown_while_the_others_go_on() -> None:
    story = working(*(change(f"c{n}") for n in (1, 2, 3))).tell(e.ChangeBlocked("c3", "the disk is full"))
    assert [str(line) for line in held_lines(story.run)] == ["held: c3: the disk is full"]
    marks = [row.mark for row in rows(story.run, 1 + 1)[0]]
    assert marks == ["held"]
    told = _of_run(story.run, None, Driving(1))
    assert "c3: the disk is full" in [w.why for w in told.waits]


# --- a block in verifying ------------------------------------------------------------------------------------


def missed(rounds: int) -> World:
    """Return a world where the criterion fails until a person has written `mended`, and no planner sees a way."""
    world = World(proposal(ONE), replace(World().policy, verify_rounds=rounds))
    nodes = world.repository.nodes
    world.commands.answer = lambda r: int(r.cwd.name not in nodes or "mended" not in nodes[r.cwd.name].tree)

    async def sees_no_way(w: World, request: SessionRequest) -> SessionReport:
        if "Subject: extend" in request.prompt:
            return answered({**proposal(), "outcome": "blocked", "changes": []})
        return await honest(w, request)

    world.play = sees_no_way
    return world


@pytest.mark.parametrize("rounds", [0, 2])
def test_what_a_person_has_mended_since_the_block_is_what_is_verified(rounds: int) -> None:
    world = missed(rounds)
    assert play(world) is Ending.BLOCKED
    mended = world.repository.push_by_person("main", {"mended": "y"})
    sessions = len(world.agent.requests)
    assert resumes(world) is Ending.VERIFIED
    assert world.run.verify_commit == mended == world.repository.branches["main"]
    assert len(world.agent.requests) == sessions


def test_a_base_that_has_not_moved_is_judged_again_as_it_is() -> None:
    world = missed(0)
    assert [play(world), resumes(world)] == [Ending.BLOCKED, Ending.BLOCKED]
    assert world.count("VerificationStarted") == 1
    assert world.count("CriterionChecked") == 2


def test_a_verification_begins_anew_only_after_a_block_was_lifted() -> None:
    story = Story(*PHASES[Phase.VERIFYING])
    with pytest.raises(IllegalEvent, match="m1 is being verified already"):
        story.tell(e.VerificationStarted("m2"))
    story.tell(e.RunPaused("later"), e.RunResumed())
    with pytest.raises(IllegalEvent):
        story.tell(e.VerificationStarted("m2"))
    story.tell(e.RunBlocked("it fails"), e.RunResumed(), e.VerificationStarted("m2"))
    assert (story.run.verify_commit, story.run.reverify) == ("m2", False)


# --- a forge that cannot be read -----------------------------------------------------------------------------


def unreadable(world: World, fails: Callable[[int], bool]) -> World:
    """Let reads of the pull requests fail, by the number of the read."""
    reads = itertools.count(1)

    def checks(_pull: PullRequest) -> tuple[Check, ...]:
        if fails(next(reads)):
            raise ForgeError("The index is locked.")
        return GREEN

    world.forge.checks = checks
    return world


def test_a_read_that_fails_is_tried_again_after_a_pause_that_is_shown() -> None:
    world = World(proposal(ONE))
    steady = unreadable(World(proposal(ONE)), lambda _n: False)
    assert play(steady) is Ending.VERIFIED
    unreadable(world, lambda n: n in (2, 3))
    assert play(world) is Ending.VERIFIED
    said = "the forge could not be read: The index is locked; try {} of 5 follows"
    assert [w.why for w in world.waits if "read" in w.why] == [said.format(2), said.format(3)]
    assert world.events == steady.events


def test_a_forge_that_stays_unreadable_blocks_the_run_with_the_reason() -> None:
    world = unreadable(World(proposal(ONE)), lambda n: n > 1)
    assert play(world) is Ending.BLOCKED
    assert reason(world) == "the forge could not be read: The index is locked"
    assert world.run.halt == Obstacle(reason(world), "claudetm doctor, then claudetm resume")
    ends = [w.until or 0.0 for w in world.waits]
    assert [round(b - a) for a, b in itertools.pairwise(ends)] == [15, 45, 135]
    unreadable(world, lambda _n: False)
    assert resumes(world) is Ending.VERIFIED


def test_a_failure_that_every_second_read_hides_blocks_the_run_as_well() -> None:
    # a check in the background died: its error is raised by one read, and the next one starts it anew
    world = World(proposal(ONE), replace(World().policy, poll_seconds=1.0))
    reads = itertools.count(1)

    def checks(_pull: PullRequest) -> tuple[Check, ...]:
        if (n := next(reads)) > 1 and n % 2:  # the first is the one that opens it
            raise RepositoryError("The disk is full.")
        return PENDING

    world.forge.checks = checks
    assert play(world) is Ending.BLOCKED
    assert reason(world) == "the forge could not be read: The disk is full"


def test_a_stop_is_heeded_while_a_forge_cannot_be_read() -> None:
    world = World(proposal(ONE))

    def fails(n: int) -> bool:
        if n == 3:
            world.inbox.send("stop", "s1")
        return n > 1

    assert play(unreadable(world, fails)) is Ending.PAUSED


def test_a_hint_that_fails_is_none() -> None:
    world = World(proposal(ONE))

    class Mute(MemoryForge):
        async def hint(self) -> None:
            raise ForgeError("The connection was lost.")

    world.forge = Mute(world.repository, world.fault)
    looks = itertools.count()
    world.forge.checks = lambda _pull: GREEN if next(looks) > 3 else PENDING
    assert play(world) is Ending.VERIFIED
    assert not [w for w in world.waits if "read" in w.why]
