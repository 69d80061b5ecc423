"""What planning, reviews and their views do when a driver dies, a limit is reached or a question is left open."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Final

import pytest

from claudetm.engine.loop import Ending
from claudetm.ports.agent import Role, SessionReport, SessionRequest
from claudetm.ports.forge import Note
from claudetm.testing.memory import MemoryForge
from claudetm.workflow.policy import Policy
from world import Killed, World, answered, honest, proposal, task

ONE: Final = proposal({"id": "c1", "title": "Greet", "tasks": [task("Say hello")]})
REVIEWED: Final = Policy(self_review=True, poll_seconds=30.0)


def found(*claims: str, severity: str = "blocking") -> SessionReport:
    """Return a reviewer's answer with these findings."""
    more = {"severity": severity, "path": "README.md", "line": 1, "failure": "It fails.", "confidence": "high"}
    findings = [{"claim": claim, **more} for claim in claims]
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
