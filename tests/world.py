"""A whole world in memory: what survives a killed driver, and a driver to kill. A run takes milliseconds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from claudetm.engine.commit import Writer
from claudetm.engine.loop import Driver, Ending
from claudetm.ports.agent import Progress, Role, SessionReport, SessionRequest
from claudetm.ports.store import Journal
from claudetm.prompts.render import Prompts
from claudetm.stages.context import Context
from claudetm.testing.memory import (
    FakeClock,
    MemoryAgent,
    MemoryCommands,
    MemoryForge,
    MemoryInbox,
    MemoryJournal,
    MemoryRepository,
)
from claudetm.workflow.events import RunStarted
from claudetm.workflow.limits import Wait
from claudetm.workflow.outcomes import Outcome, Usage
from claudetm.workflow.policy import Policy, policy_to_data
from claudetm.workflow.records import Record
from claudetm.workflow.run import Run, fold

USAGE = Usage(cost_usd=0.5, input_tokens=100, output_tokens=50, turns=2)


class Killed(BaseException):
    """kill -9, as far as one process can tell."""


def task(title: str = "Do it") -> dict[str, Any]:
    return {"title": title, "what": f"{title}.", "files": [], "acceptance": [f"{title} works"], "check": "make test"}


def proposal(*changes: Mapping[str, Any], criteria: list[dict[str, str]] | None = None) -> dict[str, Any]:
    """Return a planner's answer; without changes, one change of two tasks."""
    one = {"id": "c1", "title": "Greet people", "why": "They like it.", "tasks": [task("Say hello"), task("Say bye")]}
    return {
        "outcome": "planned",
        "summary": "A plan",
        "changes": [{"depends_on": [], "paths": [], "why": "It is wanted.", **c} for c in (changes or (one,))],
        "criteria": criteria if criteria is not None else [{"text": "People are greeted", "command": "greet"}],
        "assumptions": [],
        "evidence": [],
    }


def work(outcome: str = "done", **more: Any) -> dict[str, Any]:
    """Return a worker's answer."""
    empty: dict[str, Any] = {"checks": [], "evidence": [], "remaining": [], "learnings": [], "follow_ups": []}
    return {"outcome": outcome, "summary": f"It is {outcome}.", "blocker": None, **empty, **more}


def answered(answer: Mapping[str, Any]) -> SessionReport:
    return SessionReport(Outcome.ANSWERED, answer, USAGE)


Play = Callable[["World", SessionRequest], Awaitable[SessionReport]]


async def honest(world: World, request: SessionRequest) -> SessionReport:
    """Do what the role is for, as well as it can be done."""
    match request.role:
        case Role.PLANNER:
            return answered(world.plan)
        case Role.WORKER:
            return await world.commits(request)
        case Role.FIXER:
            world.repository.work(change_of(request), {f"fix-{len(world.agent.requests)}.txt": "fixed"}, "Fix")
            return answered(work("fixed", cause="A typo", reproduced=True))
        case Role.REVIEWER:
            return answered({"findings": [], "earlier": [], "examined": ["everything"]})
        case Role.RESPONDER:
            world.repository.work(
                change_of(request), {"review.txt": str(len(world.agent.requests))}, "Address review"
            )
            pull = world.forge.by_branch(world.repository.worktrees[change_of(request)].branch)
            open_threads = [t for t in pull.threads.values() if t.unanswered and not t.resolved] if pull else []
            replies = [{"thread_id": t.id, "outcome": "fixed", "text": "Done."} for t in open_threads]
            return answered({"replies": replies, "checks": []})
        case Role.UPDATER:
            return world.resolves(request)
        case Role.VERIFIER:
            judged = [
                {"criterion_id": i, "verdict": "holds", "evidence": ["README.md:1"], "missing": ""}
                for i in world.criteria_in(request.prompt)
            ]
            return answered({"results": judged})
        case Role.AUDITOR:
            return answered({"score": 100, "notes": "", "findings": [], "examined": ["everything"]})
        case Role.ANALYST:
            return answered({"answer": "It greets.", "evidence": ["README.md:1: hello"]})


def change_of(request: SessionRequest) -> str:
    """Return the change whose worktree the session sits in."""
    return request.cwd.name


@dataclass
class World:
    """Everything that outlives a driver, and a way to run one."""

    plan: dict[str, Any] = field(default_factory=proposal)
    policy: Policy = field(default_factory=lambda: Policy(self_review=False, poll_seconds=30.0))
    play: Play = honest
    holds_before: bool = False
    files: Mapping[str, str] = field(default_factory=lambda: {"README.md": "hello\n", "Makefile": "test:\n"})
    kill_at: str = ""
    dry: bool = False
    begun: Mapping[str, Any] = field(default_factory=dict)  # what else the run starts with
    inbox_seconds: float = 30.0  # a test that sends commands while a handler works wants less

    def __post_init__(self) -> None:
        self.lines: list[str] = []
        self.clock = FakeClock()
        self.points: list[str] = []
        self.progress: list[Progress] = []
        self.repository = MemoryRepository(self.files, self.fault)
        self.forge = MemoryForge(self.repository, self.fault)
        self.agent = MemoryAgent(lambda request: self.play(self, request))
        self.commands = MemoryCommands(lambda request: self.exit_code(request.command))
        self.inbox = MemoryInbox()
        self.waits: list[Wait] = []  # that were shown

    def fault(self, point: str) -> None:
        """Be killed at this point, if that is what the test wants."""
        self.points.append(point)
        if point == self.kill_at or f"#{len(self.points)}" == self.kill_at:
            raise Killed(point)

    def exit_code(self, _command: str) -> int:
        """Criteria fail until something was merged."""
        return 0 if self.holds_before or self.forge.merges else 1

    @property
    def run(self) -> Run:
        """The run, folded anew from the journal."""
        return fold(MemoryJournal(self.lines).read())

    @property
    def records(self) -> list[Record]:
        return list(MemoryJournal(self.lines).read())

    @property
    def events(self) -> list[str]:
        """The names of what happened, in order."""
        return [r.type for r in self.records]

    def count(self, event: str) -> int:
        return self.events.count(event)

    def journal(self) -> Journal:
        """Return the journal as the next driver opens it."""
        return MemoryJournal(self.lines, self.fault)

    async def drive(self, *, resume: bool = True, leaves: bool = False, **raised: Any) -> Ending:
        """Run one driver to its end: the first begins the run, later ones resume it."""
        journal = self.journal()
        run = fold(journal.read())
        writer = Writer(run, journal, self.clock)
        context = Context(
            run=run,
            agent=self.agent,
            forge=self.forge,
            repository=self.repository,
            commands=self.commands,
            clock=self.clock,
            prompts=Prompts(None),
            logs=Path("/memory/state/logs"),
            record=writer.append,
            progress=self.progress.append,
        )
        self.context, self.context_writer = context, writer
        if not run.seq:
            settings = policy_to_data(self.policy)
            first = self.repository.first
            started = RunStarted("r1", "Greet people", "main", first, settings, dry=self.dry, **self.begun)
            await writer.append(started)
        elif resume:
            self.inbox.send("resume", f"resume-{len(self.lines)}", **raised)
        seconds = self.inbox_seconds
        driver = Driver(
            context, writer, self.inbox, "test", on_wait=self.waits.append, inbox_seconds=seconds, leaves=leaves
        )
        return await driver.drive()

    async def drive_until_killed(self, point: str) -> None:
        """Run a driver that dies at the point; the next one is not killed."""
        self.kill_at = point
        try:
            ending = await self.drive()
        except Killed:
            self.kill_at = ""
            return
        raise AssertionError(f"{point} was never reached; the run ended {ending}")

    # what agents do

    async def commits(self, request: SessionRequest, files: Mapping[str, str] | None = None) -> SessionReport:
        """Commit something for the task and say that it is done."""
        name = subject_of(request.prompt)
        self.repository.work(change_of(request), files or {f"{name}.txt": f"{name}\n"}, f"Work on {name}")
        return answered(work())

    def resolves(self, request: SessionRequest) -> SessionReport:
        """Merge the target into the worktree, keeping both sides."""
        tree = self.repository.worktrees[change_of(request)]
        base = self.repository.branches["main"]
        theirs = self.repository.nodes[base].tree
        clash = [p for p in tree.files if p in theirs and tree.files[p] != theirs[p]]
        tree.files = {**theirs, **tree.files, **{p: f"{tree.files[p]}\n{theirs[p]}" for p in clash}}
        tree.head = self.repository.commit((tree.head, base), tree.files, "Merge")
        settled = [{"path": p, "kept": "both", "why": "Both are wanted."} for p in clash]
        return answered({"outcome": "resolved", "files": settled, "checks": []})

    def criteria_in(self, prompt: str) -> list[str]:
        run = self.context.run
        ids = [c.id for c in run.plan.criteria if c.id in prompt]
        return ids or ["k1"]

    def tree(self) -> Mapping[str, str]:
        """Return the files of the target branch."""
        return self.repository.nodes[self.repository.branches["main"]].tree


def subject_of(prompt: str) -> str:
    return next(line.removeprefix("Subject: ") for line in prompt.splitlines() if line.startswith("Subject: "))


def play(world: World) -> Ending:
    """Drive a world once, from outside asyncio."""
    return asyncio.run(world.drive())
