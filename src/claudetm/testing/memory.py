"""Every port in memory: a whole run in milliseconds. What a real one keeps on disk, these keep in a `World`.

A test kills a driver by dropping it and builds the next one over the same world.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from difflib import unified_diff
from pathlib import Path
from typing import Any

from claudetm.errors import RepositoryError
from claudetm.ports.agent import Progress, SessionReport, SessionRequest
from claudetm.ports.commands import CommandRequest, CommandResult
from claudetm.ports.forge import (
    SETUP,
    BaseChanged,
    CheckLog,
    HeadChanged,
    MergeConflict,
    MergeDone,
    MergeOutcome,
    NewPullRequest,
    Note,
    Opposed,
)
from claudetm.ports.repository import (
    Commit,
    Conflicted,
    Landed,
    Merged,
    NotLanded,
    Pushed,
    PushRefused,
    Snapshot,
    WorktreeState,
    named,
)
from claudetm.ports.store import Command
from claudetm.workflow.outcomes import Outcome, Usage
from claudetm.workflow.pull_request import Check, CheckState, Comment, PullRequest, PullRequestState, Thread
from claudetm.workflow.records import Record

Tree = Mapping[str, str]
ROOT = Path("/memory")
FaultPoint = Callable[[str], None]


def no_fault(_point: str) -> None:
    """Do nothing: the fault point of ordinary runs."""


class FakeClock:
    """Time that passes only when somebody sleeps."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.time = now

    def now(self) -> float:
        """Return the time in seconds since the epoch."""
        return self.time

    async def sleep(self, seconds: float) -> None:
        """Let that much time pass at once."""
        await asyncio.sleep(0)
        self.time += max(seconds, 0.0)


class MemoryJournal:
    """Records in a list, through their form as JSON."""

    def __init__(self, lines: list[str] | None = None, faults: FaultPoint = no_fault) -> None:
        self.lines = [] if lines is None else lines
        self._faults = faults

    async def append(self, record: Record) -> None:
        """Keep the record."""
        self._faults(f"before:{record.seq}:{record.type}")
        row = [record.seq, record.time, record.type, record.edge, record.data, record.command, record.schema]
        self.lines.append(json.dumps(row))
        self._faults(f"after:{record.seq}:{record.type}")

    def read(self) -> Iterator[Record]:
        """Yield the records in order."""
        for line in self.lines:
            seq, time, kind, edge, data, command, schema = json.loads(line)
            yield Record(seq, time, kind, (edge[0], edge[1]), data, command, schema)


class MemoryInbox:
    """Commands in a list."""

    def __init__(self) -> None:
        self.commands: list[Command] = []

    def send(self, name: str, command_id: str = "", **arguments: Any) -> None:
        """Put a command in, as a person would."""
        self.commands.append(Command(command_id or f"{name}-{len(self.commands)}-{id(arguments):x}", name, arguments))

    def pending(self) -> Sequence[Command]:
        """Return the commands that wait."""
        return tuple(self.commands)

    def done(self, command: Command) -> None:
        """Forget a command."""
        self.commands = [c for c in self.commands if c.id != command.id]


class MemoryViews:
    """Views in a dict."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}

    def write(self, name: str, text: str) -> None:
        """Replace one view."""
        self.files[name] = text


@dataclass(frozen=True, slots=True)
class _Node:
    """A commit: its parents and the whole tree."""

    parents: tuple[str, ...]
    tree: Tree
    subject: str


@dataclass(slots=True)
class Worktree:
    """A change's worktree: the files as they lie there, untracked ones included."""

    branch: str
    head: str
    files: dict[str, str]
    set_up: str | None = None  # by what


class MemoryRepository:
    """Commits as whole trees; merges path by path."""

    def __init__(self, files: Tree | None = None, faults: FaultPoint = no_fault) -> None:
        self.nodes: dict[str, _Node] = {}
        self.worktrees: dict[str, Worktree] = {}
        self.branches: dict[str, str] = {}
        self.pushed: dict[str, str] = {}  # branch -> what was pushed last
        self.checked_out: dict[str, str] = {}  # branch -> the worktree of the user's that has it
        self.snapshots: dict[str, str] = {}
        self.refusal = ""  # why nothing can be taken out of worktrees, when the test says so
        self.faults = faults
        self.first = self.commit((), dict(files or {"README.md": "hello\n"}), "Begin")
        self.branches["main"] = self.first

    # what a test or a memory agent does

    def commit(self, parents: tuple[str, ...], tree: Tree, subject: str) -> str:
        """Make a commit; equal content has an equal id."""
        node = _Node(parents, dict(tree), subject)
        commit_id = hashlib.sha1(repr((parents, sorted(tree.items()), subject)).encode()).hexdigest()  # noqa: S324 - an id, as git's
        self.nodes[commit_id] = node
        return commit_id

    def work(self, change: str, files: Tree, subject: str = "Work") -> str:
        """Commit files in a change's worktree, as its agent would."""
        tree = self.worktrees[change]
        tree.files.update(files)
        tree.head = self.commit((tree.head,), tree.files, subject)
        return tree.head

    def push_by_person(
        self, branch: str, files: Tree, subject: str = "A person's commit", *, force: bool = False
    ) -> str:
        """Commit on a branch where the forge reads it."""
        at = self.nodes[self.branches[branch]]
        parents = at.parents if force else (self.branches[branch],)
        self.branches[branch] = self.commit(parents, {**at.tree, **files}, subject)
        return self.branches[branch]

    def delete_by_person(self, branch: str) -> None:
        """Delete a branch where the forge reads it."""
        del self.branches[branch]

    def bring_back_by_person(self, branch: str, commit: str) -> None:
        """Let a branch stand again where it was."""
        self.branches[branch] = commit

    def ancestors(self, commit: str) -> set[str]:
        """Return the commit and everything it descends from."""
        seen: set[str] = set()
        todo = [commit]
        while todo:
            c = todo.pop()
            if c not in seen:
                seen.add(c)
                todo += self.nodes[c].parents
        return seen

    # the port

    async def open_worktree(self, change: str, branch: str, commit: str) -> Path:
        """Return the change's worktree, made when it is not there yet."""
        if named(change) not in self.worktrees:
            await self.reset_worktree(change, branch, commit)
        return ROOT / change

    async def worktree(self, change: str) -> Path | None:
        """Return the change's worktree, or None."""
        return ROOT / change if named(change) in self.worktrees else None

    async def is_set_up(self, change: str, by: str) -> bool:
        """Whether the worktree that is there now was marked."""
        return named(change) in self.worktrees and self.worktrees[change].set_up == by

    async def mark_set_up(self, change: str, by: str) -> None:
        """Mark the worktree."""
        await self.state(change)
        self.worktrees[change].set_up = by

    async def state(self, change: str) -> WorktreeState:
        """Return what stands in the worktree."""
        if named(change) not in self.worktrees:
            raise RepositoryError(f"Change {change} has no worktree.")
        tree = self.worktrees[change]
        tracked = self.nodes[tree.head].tree
        modified = tuple(sorted(p for p in tracked if tree.files.get(p) != tracked[p]))
        return WorktreeState(tree.head, modified, tuple(sorted(set(tree.files) - set(tracked))))

    async def commits(self, since: str, head: str) -> Sequence[Commit]:
        """Return the commits between, oldest first."""
        if since == head:
            return ()
        old = self.ancestors(since)
        chain = [c for c in self._first_parents(head) if c not in old]
        return tuple(Commit(c, self.nodes[c].subject, "agent") for c in reversed(chain))

    def _first_parents(self, commit: str) -> Iterator[str]:
        while True:
            yield commit
            parents = self.nodes[commit].parents
            if not parents:
                return
            commit = parents[0]

    async def changed_paths(self, since: str, head: str) -> Sequence[str]:
        """Return the paths that differ."""
        a, b = self.nodes[since].tree, self.nodes[head].tree
        return tuple(sorted(p for p in {*a, *b} if a.get(p) != b.get(p)))

    async def diff(self, since: str, head: str, paths: Sequence[str]) -> str:
        """Return what the paths held, and hold."""
        a, b = self.nodes[since].tree, self.nodes[head].tree
        sides = ((p, a.get(p, "").splitlines(), b.get(p, "").splitlines()) for p in paths)
        patches = (unified_diff(old, new, f"a/{p}", f"b/{p}", lineterm="") for p, old, new in sides)
        return "\n".join(line for patch in patches for line in patch)

    async def adopt(self, change: str) -> str:
        """Return the worktree's head."""
        if self.refusal:
            raise RepositoryError(self.refusal)
        return (await self.state(change)).head

    async def reset_worktree(self, change: str, branch: str, commit: str) -> Path:
        """Put a fresh worktree in the place of the old one."""
        self.worktrees[named(change)] = Worktree(branch, commit, dict(self.nodes[commit].tree))
        return ROOT / change

    async def bring(self, change: str, commit: str) -> None:  # noqa: ARG002 - the port's
        """Every worktree can read every commit."""
        await self.state(change)

    async def snapshot(self, change: str, why: str) -> Snapshot | None:
        """Keep what lies in the worktree."""
        state = await self.state(change)
        if state.clean:
            return None
        tree = self.worktrees[change]
        commit = self.commit((tree.head,), tree.files, f"Snapshot: {why}")
        ref = f"refs/claudetm/snapshots/{change}-{len(self.snapshots) + 1}"
        self.snapshots[ref] = commit
        return Snapshot(ref, commit)

    async def keep(self, change: str, commit: str) -> Snapshot:
        """Keep a commit of a change."""
        newest = next((r for r in reversed(self.snapshots) if r.startswith(f"refs/claudetm/snapshots/{change}-")), "")
        if newest and self.snapshots[newest] == commit:
            return Snapshot(newest, commit)
        ref = f"refs/claudetm/snapshots/{named(change)}-{len(self.snapshots) + 1}"
        self.faults(f"before:keep:{change}")
        self.snapshots[ref] = commit
        self.faults(f"after:keep:{change}")
        return Snapshot(ref, commit)

    async def keep_branch(self, branch: str, commit: str) -> Pushed | PushRefused:
        """Move a branch of the user's forward."""
        at = self.branches.get(branch, "")
        if at and at not in self.ancestors(commit):
            return PushRefused(at, "the branch has commits that are not ours")
        if branch in self.checked_out:
            where = self.checked_out[branch]
            return PushRefused(at, f"{branch} is checked out in {where}", f"switch to another branch in {where}")
        self.faults(f"before:branch:{branch}")
        self.branches[branch] = commit
        self.faults(f"after:branch:{branch}")
        return Pushed()

    async def remove_untracked(self, change: str) -> Sequence[str]:
        """Remove untracked files."""
        paths = (await self.state(change)).untracked
        for p in paths:
            del self.worktrees[change].files[p]
        return paths

    async def push(self, branch: str, commit: str) -> Pushed | PushRefused:
        """Move the branch forward."""
        at = self.branches.get(branch, "")
        if at and at not in self.ancestors(commit):
            return PushRefused(at, "the branch has commits that are not ours")
        if not at and branch in self.pushed:
            return PushRefused("", "the branch was deleted")
        self.faults(f"before:push:{branch}")
        self.branches[branch] = commit
        self.pushed[branch] = commit
        self.faults(f"after:push:{branch}")
        return Pushed()

    async def last_push(self, branch: str) -> str:
        """Return what was pushed last."""
        return self.pushed.get(branch, "")

    async def forget_push(self, branch: str) -> None:
        """Forget what was pushed to a branch that is gone."""
        if branch not in self.branches:
            self.pushed.pop(branch, None)

    async def branch_tip(self, branch: str) -> str:
        """Return where the branch stands."""
        return self.branches.get(branch, "")

    async def merge(self, ours: str, theirs: str, message: str) -> Merged | Conflicted:
        """Merge path by path, against the nearest commit both have."""
        mine = self.ancestors(ours)
        if theirs in mine:
            return Merged(ours)
        if ours in self.ancestors(theirs):
            return Merged(theirs)
        fork = await self.merge_base(ours, theirs)
        o, a, b = self.nodes[fork].tree, self.nodes[ours].tree, self.nodes[theirs].tree
        tree: dict[str, str] = {}
        clash = []
        for p in sorted({*a, *b}):
            sides = {a.get(p), b.get(p)} - {o.get(p)}
            if len(sides) > 1:
                clash.append(p)
            value = next(iter(sides)) if sides else o.get(p)
            if value is not None:
                tree[p] = value
        merged = self.commit((ours, theirs), tree, message)
        return Conflicted(tuple(clash), merged) if clash else Merged(merged)

    async def contains(self, descendant: str, ancestor: str) -> bool:
        """Whether the ancestor is reachable from the descendant."""
        return descendant == ancestor or ancestor in self.ancestors(descendant)

    async def merge_base(self, a: str, b: str) -> str:
        """Return a common ancestor that no other one descends from, or ""."""
        both = self.ancestors(a) & self.ancestors(b)
        return min(both - {p for c in both for p in self.nodes[c].parents}, default="")

    @asynccontextmanager
    async def checkout(self, commit: str) -> AsyncIterator[Path]:
        """Return a path that names the commit."""
        yield ROOT / "checkouts" / commit

    async def read_file(self, commit: str, path: str) -> str | None:
        """Return a file of a commit."""
        return self.nodes[commit].tree.get(path)

    async def list_files(self, commit: str) -> Sequence[str]:
        """Return the paths of a commit's files."""
        return tuple(sorted(self.nodes[commit].tree))

    async def land(self, commit: str, target: str) -> Landed | NotLanded:
        """Move the target forward."""
        at = self.branches[target]
        if await self.contains(at, commit):
            return Landed("already")
        if not await self.contains(commit, at):
            return NotLanded(f"{target} has moved on", f"git merge {commit}")
        self.branches[target] = commit
        return Landed("fast_forwarded")


@dataclass(slots=True)
class _Pull:
    number: int
    change: str
    branch: str
    title: str
    body: str
    state: PullRequestState = PullRequestState.OPEN
    pushed: str = ""  # the head that was read last
    tested: tuple[str, str] = ("", "")  # head, base
    merge_commit: str = ""
    by: str = ""
    threads: dict[str, Thread] = field(default_factory=dict)
    approvals: int = 0
    objections: tuple[str, ...] = ()


ChecksOf = Callable[[PullRequest], tuple[Check, ...]]
GREEN = (Check("tests", CheckState.PASSED),)
RED = (Check("tests", CheckState.FAILED, summary="1 failed"),)
PENDING = (Check("tests", CheckState.PENDING),)


class MemoryForge:
    """Pull requests into `main` of a MemoryRepository. What checks say is the test's to decide."""

    def __init__(self, repository: MemoryRepository, faults: FaultPoint = no_fault, target: str = "main") -> None:
        self.repository = repository
        self.target = target
        self.pulls: dict[int, _Pull] = {}
        self.checks: ChecksOf = lambda _pull: GREEN
        self.rerunnable = False
        self.logs: dict[str, str] = {}
        self.logs_at: dict[str, Mapping[str, str] | None] = {}  # commit -> logs of what fails there; None: not in yet
        self.asked_at: list[str] = []
        self.notes: dict[str, str] = {}  # marker -> thread
        self.merges: list[int] = []
        self.closing: dict[int, int] = {}  # pull request -> the issue that its merge closes
        self.closed: list[int] = []  # issues that were to be closed at the end
        self.stays_open = ""  # why they are not
        self.reads = 0
        self.faults = faults
        self.woken = asyncio.Event()

    def by_branch(self, branch: str) -> _Pull | None:
        """Return the newest pull request of a branch."""
        return next((p for p in reversed(self.pulls.values()) if p.branch == branch), None)

    def remark(self, number: int, body: str, *, author: str = "ada", path: str = "", thread: str = "") -> str:
        """Write into a thread, or a new one, as a person would."""
        threads = self.pulls[number].threads
        name = thread or f"t{number}.{len(threads) + 1}"
        said = Comment(author, body)
        threads[name] = threads[name].with_reply(said) if thread else Thread(name, (said,), path)
        return name

    def resolve_by_person(self, number: int, thread: str) -> None:
        """Close a conversation."""
        threads = self.pulls[number].threads
        threads[thread] = replace(threads[thread], resolved=True)

    def close_by_person(self, number: int) -> None:
        """Close it unmerged."""
        self.pulls[number].state, self.pulls[number].by = PullRequestState.CLOSED, "ada"

    def reopen_by_person(self, number: int) -> None:
        """Open it again."""
        self.pulls[number].state, self.pulls[number].by = PullRequestState.OPEN, ""

    async def merge_by_person(self, number: int) -> None:
        """Merge it as it is."""
        await self._merge(self.pulls[number], "ada")

    async def base(self) -> str:
        """Return the target's tip."""
        return self.repository.branches[self.target]

    async def read(self, numbers: Sequence[int]) -> Mapping[int, PullRequest]:
        """Return pull requests as they are now."""
        self.reads += 1
        return {n: await self._read(self.pulls[n]) for n in numbers}

    async def _read(self, p: _Pull) -> PullRequest:
        gone = p.branch not in self.repository.branches
        if gone and p.state is PullRequestState.OPEN:
            p.state, p.by = PullRequestState.CLOSED, "ada"
        head, base = p.pushed if gone else self.repository.branches[p.branch], await self.base()
        forward = not p.pushed or await self.repository.contains(head, p.pushed)
        conflict = False
        if p.state is PullRequestState.OPEN:
            conflict = isinstance(await self.repository.merge(base, head, "?"), Conflicted)
        if p.tested[0] != head:
            p.tested = (head, base)
        pull = PullRequest(
            p.number,
            p.branch,
            head,
            base,
            p.tested[1],
            f"memory://{p.number}",
            p.state,
            p.merge_commit,
            p.by,
            conflict,
            behind=p.tested[1] != base,
            forward=forward,
            threads=tuple(p.threads.values()),
            approvals=p.approvals,
            objections=p.objections,
        )
        return replace(pull, checks=self.checks(pull)) if p.state is PullRequestState.OPEN else pull

    async def find(self, branch: str) -> PullRequest | None:
        """Return the newest pull request of a branch."""
        found = self.by_branch(branch)
        return await self._read(found) if found else None

    async def open(self, new: NewPullRequest) -> PullRequest:
        """Open a pull request, or return the open one."""
        found = self.by_branch(new.branch)
        if found is None or found.state is not PullRequestState.OPEN:
            self.faults("before:open")
            found = _Pull(len(self.pulls) + 1, new.change, new.branch, new.title, new.body, pushed=new.head)
            self.pulls[found.number] = found
            self.faults("after:open")
        found.pushed = new.head
        return await self._read(found)

    async def note(self, number: int, note: Note) -> str:
        """Write a remark, or find it."""
        if note.marker in self.notes:
            return self.notes[note.marker]
        threads = self.pulls[number].threads
        thread = note.thread or f"t{number}.{len(threads) + 1}"
        said = Comment("claudetm", note.body, ours=True)
        if note.thread:
            old = threads[thread]
            threads[thread] = old.with_reply(said, resolve=note.resolve, seen=note.seen, reopen=note.reopen)
        else:
            asks = note.blocking
            threads[thread] = Thread(thread, (said,), note.path, note.line, note.resolve, asks, asks)
        self.notes[note.marker] = thread
        return thread

    async def rerun_checks(self, number: int, head: str) -> bool:
        """Say whether the checks run once more."""
        return self.rerunnable and self.pulls[number].tested[0] == head

    async def failing_at(self, commit: str, checks: Sequence[str]) -> Mapping[str, CheckLog] | None:
        """Return what the test says."""
        self.asked_at.append(commit)
        found = self.logs_at.get(commit, {})
        return None if found is None else {n: CheckLog(text) for n, text in found.items() if n in {SETUP, *checks}}

    async def check_log(self, number: int, check: str) -> CheckLog:
        """Return a check's log."""
        return CheckLog(self.logs.get(check, f"{check} of #{number} failed"))

    async def merge(self, number: int, head: str, base: str, method: str) -> MergeOutcome:
        """Merge exactly what was tested."""
        p = self.pulls[number]
        if p.state is PullRequestState.MERGED:
            return MergeDone(p.merge_commit)
        if p.state is PullRequestState.CLOSED or p.branch not in self.repository.branches:
            return Opposed()
        if (at := self.repository.branches[p.branch]) != head:
            return HeadChanged(at)
        if base and (tip := await self.base()) != base:
            return BaseChanged(tip)
        if self._opposed(p):
            return Opposed()
        self.faults(f"before:merge:{method}")
        if self._opposed(p) or self.repository.branches.get(p.branch) != head:
            return Opposed()
        outcome = await self._merge(p, "claudetm")
        self.faults(f"after:merge:{method}")
        return outcome

    def _opposed(self, p: _Pull) -> bool:
        closed = p.state is PullRequestState.CLOSED
        return closed or bool(p.objections) or any(t.stands for t in p.threads.values())

    async def _merge(self, p: _Pull, by: str) -> MergeOutcome:
        base, head = await self.base(), self.repository.branches[p.branch]
        merged = await self.repository.merge(base, head, f"Merge {p.change}")
        if isinstance(merged, Conflicted):
            return MergeConflict()
        commit = merged.commit
        if commit == head:  # always a merge commit, as the real ones make
            commit = self.repository.commit((base, head), self.repository.nodes[head].tree, f"Merge {p.change}")
        self.repository.branches[self.target] = commit
        p.state, p.merge_commit, p.by = PullRequestState.MERGED, commit, by
        self.merges.append(p.number)
        return MergeDone(commit)

    async def closes(self, number: int, issue: int) -> None:
        """Remember it."""
        self.closing[number] = issue

    async def close_issue(self, issue: int) -> str:
        """Remember it; return what the test says."""
        self.closed.append(issue)
        return self.stays_open

    def pace(self, quiet: float) -> float:  # noqa: ARG002 - the port's
        """Look as often as usual."""
        return 1.0

    async def hint(self) -> None:
        """Return when the test says so."""
        await self.woken.wait()
        self.woken.clear()

    async def close(self) -> None:
        """Nothing runs in the background."""


class MemoryCommands:
    """Commands that a function answers."""

    def __init__(self, answer: Callable[[CommandRequest], int] = lambda _request: 0) -> None:
        self.answer = answer
        self.requests: list[CommandRequest] = []

    async def run(self, request: CommandRequest, stop: asyncio.Event | None = None) -> CommandResult:
        """Return what the function says the command's exit code is."""
        self.requests.append(request)
        await asyncio.sleep(0)  # as a real one, it lets others have their turn
        if stop is not None and stop.is_set():
            return CommandResult(None, "", hashlib.sha256(b"").hexdigest(), 0.0, stopped=True)
        code = self.answer(request)
        output = f"{request.command}: {code}\n"
        return CommandResult(code, output, hashlib.sha256(output.encode()).hexdigest(), 0.0)


Script = Callable[[SessionRequest], Awaitable[SessionReport]]


class MemoryAgent:
    """Sessions that a function plays."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: list[SessionRequest] = []
        self.running: set[str] = set()
        self.sweeps = 0
        self.charges: dict[str, Usage] = {}

    async def converse(
        self, request: SessionRequest, progress: Callable[[Progress], None], stop: asyncio.Event
    ) -> SessionReport:
        """Let the function hold the conversation; its objections are heard at most twice."""
        self.requests.append(request)
        if stop.is_set():
            return SessionReport(Outcome.INTERRUPTED)
        progress(Progress(request.id, f"{request.role} works"))
        report = await self.script(request)
        objected = 0
        while report.answer is not None and request.objection and objected < _OBJECTIONS:
            if not await request.objection(report.answer):
                break
            objected += 1
            report = await self.script(request)
        return report

    async def sweep(self, run: str) -> int:  # noqa: ARG002 - the port's
        """Forget what was running."""
        self.sweeps += 1
        left, self.running = len(self.running), set()
        return left

    async def charge(self, session: str) -> Usage | None:
        """Return what the test says a lost session used."""
        return self.charges.get(session)


_OBJECTIONS = 2
