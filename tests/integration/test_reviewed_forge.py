"""The local forge with a person who merges in git, by hand, on the branch that is theirs; and a quiet one."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from claudetm.bootstrap.clock import SystemClock
from claudetm.engine.commit import Writer
from claudetm.engine.loop import Driver, Ending
from claudetm.ports.agent import Role, SessionReport, SessionRequest
from claudetm.ports.forge import MergeDone, NewPullRequest, Opposed
from claudetm.prompts.render import Prompts
from claudetm.stages.context import Context
from claudetm.testing.memory import MemoryAgent, MemoryInbox, MemoryJournal
from claudetm.workflow.events import RunStarted
from claudetm.workflow.policy import Policy, policy_to_data
from claudetm.workflow.pull_request import PullRequest, PullRequestState
from claudetm.workflow.run import Run, fold
from integration.repositories import RUN, LocalForgeWorld, commit, git, once
from world import answered, change_of, proposal, subject_of, task, work

pytestmark = pytest.mark.anyio

BASE = f"claudetm/{RUN}/base"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[LocalForgeWorld]:
    made = LocalForgeWorld(tmp_path)
    git(made.user, "switch", "-q", "main")
    yield made
    await made.close()


async def opened(world: LocalForgeWorld, change: str) -> PullRequest:
    """Open a pull request of one file and wait for its checks."""
    head = await world.push(change, {f"{change}.txt": f"{change}\n"})
    new = NewPullRequest(change, f"claudetm/{RUN}/{change}", head, f"Do {change}", "")
    return await world.settled((await world.forge.open(new)).number)


def take(world: LocalForgeWorld, change: str, *how: str) -> None:
    """Merge a change's branch as a person does: on main, in their own checkout."""
    git(world.user, "merge", "-q", *how, f"claudetm/{RUN}/{change}")


@pytest.mark.parametrize("how", [("--ff-only",), ("--no-ff", "-m", "Mine")], ids=["fast-forward", "merge commit"])
@pytest.mark.parametrize("driver", ["the same driver", "the next driver"])
async def test_a_branch_that_a_person_merges_into_their_own_is_merged(
    driver: str, how: tuple[str, ...], world: LocalForgeWorld
) -> None:
    pull = await opened(world, "c1")
    take(world, "c1", *how)
    if driver == "the next driver":
        await world.forge.close()
        world.driver()
    seen = (await world.forge.read([pull.number]))[pull.number]
    main = git(world.user, "rev-parse", "main")
    assert (seen.state, seen.by, seen.base) == (PullRequestState.MERGED, "a person", main)
    assert seen.merge_commit == main == git(world.user, "rev-parse", BASE)


async def test_pull_requests_are_merged_by_hand_in_any_order(world: LocalForgeWorld) -> None:
    pulls = [await opened(world, change) for change in ("c1", "c2", "c3")]
    open_, merged = PullRequestState.OPEN, PullRequestState.MERGED
    entered = {}
    for change, states in (("c3", (open_, open_, merged)), ("c1", (merged, open_, merged)), ("c2", (merged,) * 3)):
        take(world, change, "--no-ff", "-m", f"Take {change}")
        entered[change] = git(world.user, "rev-parse", "main")
        seen = await world.forge.read([p.number for p in pulls])
        assert tuple(p.state for p in seen.values()) == states
        assert all(p.behind for p in seen.values() if p.state is open_)
    assert [p.merge_commit for p in seen.values()] == [entered[c] for c in ("c1", "c2", "c3")]


async def test_what_is_left_to_a_person_names_the_branch_to_merge(world: LocalForgeWorld) -> None:
    pull = await opened(world, "c1")
    assert pull.url == pull.branch == f"claudetm/{RUN}/c1"
    take(world, "c1")
    assert (await world.forge.read([pull.number]))[pull.number].url == pull.branch


# --- a quiet forge ---------------------------------------------------------------------------------------------


def count_git(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a git first on PATH that leaves a line for each process; return where."""
    log, real = folder / "git.log", shutil.which("git")
    program = folder / "bin" / "git"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$*" >> {log}\nexec {real} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return log


def nothing(_world: LocalForgeWorld) -> None:
    """Leave it quiet."""


def conflict(world: LocalForgeWorld) -> None:
    commit(world.user, {"c1.txt": "a person's\n"}, "The same file")


def moved(world: LocalForgeWorld) -> None:
    commit(world.user, {"p.txt": "p\n"}, "Another file")


def stand_on_the_base(world: LocalForgeWorld) -> None:
    moved(world)
    git(world.user, "switch", "-q", BASE)


@pytest.mark.parametrize("meanwhile", [nothing, conflict, moved, stand_on_the_base])
async def test_a_read_is_one_look_at_the_refs_once_all_was_seen(
    meanwhile: Callable[[LocalForgeWorld], None],
    world: LocalForgeWorld,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, two = await opened(world, "c1"), await opened(world, "c2")
    await world.forge.merge(one.number, one.head, one.base, "merge")
    meanwhile(world)
    await world.forge.read([two.number])
    log = count_git(tmp_path, monkeypatch)
    for _ in range(3):
        await world.forge.read([two.number])
    lines = log.read_text().splitlines()
    assert len(lines) == 3, lines
    assert all("for-each-ref" in line for line in lines)


async def test_a_forge_that_reads_no_pull_request_hints_no_more_than_once_for_what_is_there(
    world: LocalForgeWorld,
) -> None:
    number = (await opened(world, "c1")).number
    await world.forge.close()
    forge = world.driver()
    await asyncio.wait_for(forge.hint(), 10)
    hint = asyncio.create_task(forge.hint())
    await asyncio.wait({hint}, timeout=0.05)
    assert not hint.done()
    world.remark(number, "Look here")
    await asyncio.wait_for(hint, 10)


async def test_reading_no_pull_request_takes_note_of_what_was_written(world: LocalForgeWorld) -> None:
    await opened(world, "c1")
    await world.forge.close()
    forge = world.driver()
    await forge.read([])
    assert world.journal.seen == world.journal.size()
    hint = asyncio.create_task(forge.hint())
    await asyncio.wait({hint}, timeout=0.05)
    assert not hint.done()
    hint.cancel()


# --- whole runs ------------------------------------------------------------------------------------------------


class HandMerged(LocalForgeWorld):
    """A run of three changes on real git whose merges are left to a person; only the agent is played."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        git(self.user, "switch", "-q", "main")
        self.lines: list[str] = []

    @property
    def run(self) -> Run:
        return fold(MemoryJournal(self.lines).read())

    async def play(self, request: SessionRequest) -> SessionReport:
        if request.role is Role.PLANNER:
            changes = ({"id": f"c{n}", "title": f"Do c{n}", "tasks": [task()]} for n in (1, 2, 3))
            criteria = [{"text": "All is there", "command": "test -e c1.txt -a -e c2.txt -a -e c3.txt"}]
            return answered(proposal(*changes, criteria=criteria))
        self.work(change_of(request), {f"{change_of(request)}.txt": subject_of(request.prompt)})
        return answered(work())

    async def drive(self) -> Ending:
        """Begin the run, or resume it, with nothing kept in memory."""
        journal = MemoryJournal(self.lines)
        run = fold(journal.read())
        writer = Writer(run, journal, SystemClock())
        box = MemoryInbox()
        context = Context(
            run=run,
            agent=MemoryAgent(self.play),
            forge=self.driver(),
            repository=self.repository,
            commands=self.commands,
            clock=SystemClock(),
            prompts=Prompts(None),
            logs=self.state / "logs",
            record=writer.append,
        )
        if run.seq:
            box.send("resume", f"resume-{run.seq}")
        else:
            policy = Policy(auto_merge=False, self_review=False, review_wait=0.0, poll_seconds=0.2)
            await writer.append(RunStarted(RUN, "Three files", "main", self.first, policy_to_data(policy)))
        return await Driver(context, writer, box, "test", inbox_seconds=0.01).drive()


async def test_a_run_goes_on_from_what_a_person_has_merged_by_hand(tmp_path: Path) -> None:
    world = HandMerged(tmp_path)
    for change in ("c3", "c1", "c2"):
        assert await world.drive() is Ending.PAUSED
        assert world.run.halt is not None
        assert "merging is left to you" in world.run.halt.reason
        assert f"claudetm/{RUN}/" in world.run.halt.reason
        take(world, change, "--no-ff", "-m", f"Take {change}")
    assert await world.drive() is Ending.VERIFIED
    assert [c.stage for c in world.run.changes.values()] == ["merged"] * 3
    assert git(world.user, "rev-parse", "main") == git(world.user, "rev-parse", BASE)


@pytest.mark.parametrize("step", ["merge:built", "merge:written"])
@pytest.mark.parametrize("how", ["closes", "deletes the branch"])
async def test_who_closes_at_the_last_moment_of_a_merge_is_heard(how: str, step: str, world: LocalForgeWorld) -> None:
    pull = await opened(world, "c1")
    await world.forge.close()

    def end() -> None:
        if how == "closes":
            world.close_by_person(pull.number)
        else:
            git(world.user, "branch", "-q", "-D", pull.branch)

    forge = world.driver(once(step, end))
    assert await forge.merge(pull.number, pull.head, pull.base, "merge") == Opposed()
    assert git(world.user, "rev-parse", BASE) == pull.base
    assert (await forge.read([pull.number]))[pull.number].state is PullRequestState.CLOSED


async def test_who_objects_at_the_last_moment_of_a_merge_is_heard(world: LocalForgeWorld) -> None:
    pull = await opened(world, "c1")
    await world.forge.close()

    def object_(point: str) -> None:
        if point == "merge:written":
            world._person().object_(pull.number, "ada")

    forge = world.driver(object_)
    assert await forge.merge(pull.number, pull.head, pull.base, "merge") == Opposed()
    assert git(world.user, "rev-parse", BASE) == pull.base
    world._person().approve(pull.number, "ada")
    assert isinstance(await world.driver().merge(pull.number, pull.head, pull.base, "merge"), MergeDone)
