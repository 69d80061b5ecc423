"""Whole runs on the memory adapters: what a look at branches and worktrees must not get wrong."""

from __future__ import annotations

from claudetm.engine.loop import Ending
from claudetm.ports.agent import Role, SessionReport, SessionRequest
from claudetm.testing.memory import GREEN, PENDING
from claudetm.workflow.policy import Policy
from claudetm.workflow.pull_request import Check, PullRequest
from world import World, change_of, honest, play, proposal, task

TWO = proposal({"id": "c1", "title": "First", "tasks": [task()]}, {"id": "c2", "title": "Second", "tasks": [task()]})


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
