"""A whole run on the tests' GitHub in one process: engine, forge and git are real; agents, time and commands are not.

Its drivers can be killed at every record and around every write. Time passes when the run sleeps; then CI comes to
its end, and people do what they were to do.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from claudetm.adapters.forge.github.client import GithubClient
from claudetm.adapters.forge.github.place import hosted_to_data
from claudetm.engine.commit import Writer
from claudetm.engine.loop import Driver, Ending
from claudetm.ports.agent import Role, SessionReport, SessionRequest
from claudetm.prompts.render import Prompts
from claudetm.stages.context import Context
from claudetm.testing.memory import FakeClock, MemoryAgent, MemoryCommands, MemoryInbox, MemoryJournal
from claudetm.workflow.events import RunStarted
from claudetm.workflow.limits import Wait
from claudetm.workflow.policy import Policy, policy_to_data
from claudetm.workflow.records import Record
from claudetm.workflow.run import Run, fold
from github_double.double import Double
from github_double.state import Event, PullRequest
from github_world import GitHubForgeWorld
from integration.repositories import RUN, git, write
from world import Killed, answered, change_of, proposal, subject_of, task, work

__all__ = ["GithubRun", "Hours", "Killed", "honest", "one_change", "proposal", "task"]

Play = Callable[["GithubRun", SessionRequest], Awaitable[SessionReport]]
LONGEST = 7 * 24 * 3600.0
"""Seconds after which a run that still waits is one that waits for ever."""


def one_change() -> dict[str, Any]:
    """Return a plan of one change with one task."""
    return proposal({"id": "c1", "title": "Greet people", "why": "They like it.", "tasks": [task("Say hello")]})


class Hours(FakeClock):
    """Time that passes when somebody sleeps, and what happens in it."""

    def __init__(self) -> None:
        super().__init__(time.time())  # git's own limits go by that
        self.meanwhile: Callable[[], object] = lambda: None
        self.failure: BaseException | None = None

    def now(self) -> float:
        """Return the time; fail where something went wrong while somebody slept: a nap's failure is nobody's."""
        if self.failure:
            raise self.failure
        return super().now()

    async def sleep(self, seconds: float) -> None:
        """Let the time pass, and the world go on."""
        await super().sleep(seconds)
        try:
            await asyncio.to_thread(self.meanwhile)
        except Exception as failure:
            self.failure = failure
            raise

    def pass_by(self, seconds: float) -> None:
        """Let a thread wait."""
        self.time += seconds


async def honest(world: GithubRun, request: SessionRequest) -> SessionReport:
    """Do what is still to do, as an agent does that looks at what a session before it has left."""
    match request.role:
        case Role.PLANNER:
            return answered(world.plan)
        case Role.WORKER:
            name = subject_of(request.prompt)
            world.work(request, {f"{name}.txt": f"{name}\n", **world.written.get(name, {})})
            return answered(work())
        case Role.FIXER:
            world.work(request, {"red": None, "fix.txt": "fixed\n"})
            return answered(work("fixed", cause="A file called red.", reproduced=True))
        case Role.REVIEWER:
            return answered({"findings": [], "earlier": [], "examined": ["everything"]})
        case Role.RESPONDER:
            world.work(request, {f"review-{thread}.txt": "done\n" for thread in world.threads_in(request)})
            replies = [{"thread_id": t, "outcome": "fixed", "text": "Done."} for t in world.threads_in(request)]
            return answered({"replies": replies, "checks": []})
        case Role.UPDATER:
            return answered({"outcome": "resolved", "files": world.resolved(request), "checks": []})
        case Role.VERIFIER:
            ids = [c.id for c in world.context.run.plan.criteria if c.id in request.prompt]
            held = [{"criterion_id": i, "verdict": "holds", "evidence": ["README.md:1"], "missing": ""} for i in ids]
            return answered({"results": held})
        case Role.AUDITOR | Role.ANALYST:
            raise AssertionError("a goal has neither")


class GithubRun(GitHubForgeWorld):
    """Everything that outlives a driver, and a way to run one."""

    def __init__(self, folder: Path, github: Double, clock: Hours, **more: Any) -> None:
        self.clock = clock
        self.kill_at = ""
        self.points: list[str] = []
        self.lines: list[str] = []
        self.waits: list[Wait] = []
        self.plan: dict[str, Any] = one_change()
        self.policy = Policy(self_review=False, poll_seconds=30.0, merge_method="squash")
        self.play: Play = honest
        self.written: dict[str, Mapping[str, str]] = {}  # by a worker's subject: what it writes besides
        self.begun: dict[str, Any] = {}
        self.inbox = MemoryInbox()
        self.inbox_seconds = 30.0
        self.people: list[tuple[Callable[[], bool], Callable[[], object]]] = []
        self.agent = MemoryAgent(lambda request: self.play(self, request))
        self.commands = MemoryCommands(lambda _request: 0 if self.ended else 1)
        super().__init__(folder, github, **more)
        self.begins = clock.time
        clock.meanwhile = self.meanwhile

    # time, and people in it

    def now(self) -> float:
        """Return the forge's time."""
        return self.clock.time

    def connected(self) -> GithubClient:
        return GithubClient(self.hosted.api, self.token, spacing=0.0, clock=self.now, sleep=self.clock.pass_by)

    def landed(self) -> Sequence[str]:
        """Return the commits by which this run's changes were merged."""
        return [c.merge_commit for c in self.run.changes.values() if c.merge_commit]

    def meanwhile(self) -> None:
        """Let CI come to its end, and people do what is due; each once, whatever becomes of drivers."""
        assert self.clock.time < self.begins + LONGEST, f"it waits for ever: {self.waits[-1:]}"
        self.github.ci.settle()
        for person in list(self.people):
            due, act = person
            if due():
                self.people.remove(person)
                act()

    def when(self, due: Callable[[], bool] | str, act: Callable[[], object]) -> None:
        """Have a person act once something is so, or an event stands in the journal."""
        self.people.append(((lambda: due in self.events) if isinstance(due, str) else due, act))

    def at_opening(self, act: Callable[[], object]) -> None:
        """Have a person act as soon as the first pull request is open."""
        due = [act]

        def heard(event: Event) -> None:
            if event.name == "pull_request" and event.action == "opened" and due:
                due.pop()()

        self.github.state.listeners.append(heard)

    # the run

    def fault(self, point: str) -> None:
        """Be killed at this point, if that is what the test wants."""
        self.points.append(point)
        if point == self.kill_at or f"#{len(self.points)}" == self.kill_at:
            raise Killed(point)

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

    def data(self, event: str) -> list[Mapping[str, Any]]:
        return [r.data for r in self.records if r.type == event]

    @property
    def roles(self) -> list[str]:
        """Whose sessions were held, in order."""
        return [str(r.role) for r in self.agent.requests]

    @property
    def ended(self) -> bool:
        """Whether everything that was opened is merged, or closed."""
        return bool(self.hub.pulls) and all(p.state == "closed" for p in self.hub.pulls.values())

    @property
    def only(self) -> PullRequest:
        """The one pull request there is."""
        (pull,) = self.hub.pulls.values()
        return pull

    def hosted_git(self, *arguments: str) -> str:
        """Ask git in the repository on GitHub."""
        return git(self.hub.git, *arguments)

    async def drive(self, *, resume: bool = True, **raised: Any) -> Ending:
        """Run one driver to its end: the first begins the run, later ones resume it."""
        journal = MemoryJournal(self.lines, self.fault)
        run = fold(journal.read())
        writer = Writer(run, journal, self.clock)
        forge = self.driver(self.fault)
        self.context = Context(
            run=run,
            agent=self.agent,
            forge=forge,
            repository=self.repository,
            commands=self.commands,
            clock=self.clock,
            prompts=Prompts(None),
            logs=self.folder / "logs",
            record=writer.append,
        )
        if not run.seq:
            hosted = hosted_to_data(self.hosted)
            settings = policy_to_data(self.policy)
            begun = {"forge": "github", "hosted": hosted, "author": "Octo <octo@example.org>", **self.begun}
            await writer.append(RunStarted(RUN, "Greet people", "main", self.first, settings, **begun))
        elif resume:
            self.inbox.send("resume", f"resume-{len(self.lines)}", **raised)
        driver = Driver(
            self.context, writer, self.inbox, "test", on_wait=self.waits.append, inbox_seconds=self.inbox_seconds
        )
        return await driver.drive()

    async def to_the_end(self) -> None:
        """Drive, and resume what was killed, until the run is over; nothing else may halt it."""
        while not self.run.finished:
            try:
                assert await self.drive() is Ending.VERIFIED, self.run.halt
            except Killed:
                self.kill_at = ""

    def settings(self, **changed: Any) -> None:
        """Change settings while the run goes on, as `claudetm config set` does."""
        self.inbox.send("settings", **changed)

    def configured(self, **policy: Any) -> None:
        """Begin with other settings."""
        self.policy = replace(self.policy, **policy)

    # what agents do

    def work(self, request: SessionRequest, files: Mapping[str, str | None], message: str = "") -> None:
        """Commit files in the worktree; None deletes one. What is there already is not done again."""
        for path in [p for p, text in files.items() if text is None]:
            (request.cwd / path).unlink(missing_ok=True)
        write(request.cwd, {p: text for p, text in files.items() if text is not None})
        git(request.cwd, "add", "-A", "--", *(p for p in files if files[p] is not None))
        git(request.cwd, "add", "-u")
        if git(request.cwd, "status", "--porcelain", "--untracked-files=no"):
            said = message or f"Work of the {request.role} on {change_of(request)}"
            git(request.cwd, "commit", "-q", "-m", said, _OCTO)

    @staticmethod
    def threads_in(request: SessionRequest) -> list[str]:
        """Return the threads that a responder is to answer."""
        return re.findall(r"^Thread id: (\S+)$", request.prompt, re.MULTILINE)

    def resolved(self, request: SessionRequest) -> list[dict[str, str]]:
        """Merge what the prompt names as the base into the worktree, both sides kept."""
        base = self.hub.tip("main")
        git(request.cwd, "merge", "-q", "--no-commit", base, accept=(0, 1))
        clash = git(request.cwd, "diff", "--name-only", "--diff-filter=U").splitlines()
        for path in clash:
            kept = [line for line in (request.cwd / path).read_text().splitlines() if line[:7] not in _MARKS]
            (request.cwd / path).write_text("\n".join(kept) + "\n")
        git(request.cwd, "add", "-A")
        git(request.cwd, "commit", "-q", "-m", "Merge the base", _OCTO)
        return [{"path": p, "kept": "both", "why": "Both are wanted."} for p in clash]


_OCTO = "--author=Octo <octo@example.org>"
_MARKS = {"<<<<<<<", "=======", ">>>>>>>", "|||||||"}
