"""The run's own repository, beside the user's: a clean room, and for each change a clone made from it.

    <folder>/clean-room.git     every commit, merge and push of ours
    <folder>/changes/<change>/  the agent's: worktree and clone in one
    <folder>/views/<change>/    our index of that worktree, and whether it was set up
    <folder>/checkouts/         throw-away checkouts, and a file beside each that its driver holds

Each method runs in a thread. Each can be killed at any point and called again. Where pull requests live on a host,
its branches are what is pushed to and read; else those of the user's repository are. Snapshots are always kept there.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import itertools
import os
import shutil
import threading
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Concatenate, Final, ParamSpec, TypeVar

from claudetm.adapters.git import snapshots
from claudetm.adapters.git.clean_room import START, CleanRoom, open_clean_room, remove_tree
from claudetm.adapters.git.clone import unlock
from claudetm.adapters.git.git import GitFailed, commit_id, is_commit_id, transfer
from claudetm.adapters.git.landing import Landing, held, in_use
from claudetm.adapters.git.remote import Remote, branch_ref
from claudetm.adapters.git.user_refs import Ref, UserRefs, ours
from claudetm.adapters.git.worktree_view import WorktreeView
from claudetm.errors import ForgeBusy, RepositoryError
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

Faults = Callable[[str], None]
P = ParamSpec("P")
T = TypeVar("T")

_GONE: Final = ".gone"
_PATIENCE: Final = 2.0  # seconds for the removal of a checkout
MOST_HAVES: Final = 100


def no_fault(_point: str) -> None:
    """Do nothing: the fault point of ordinary runs."""


async def _in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run blocking work in a thread. What the file system refuses becomes a RepositoryError."""
    try:
        return await asyncio.to_thread(work, *args, **kwargs)
    except OSError as e:
        raise RepositoryError(f"{e.filename or 'The run folder'}: {e.strerror or e}.") from e


async def _briefly(work: Callable[[], None]) -> None:
    """Wait a moment for blocking work; then it goes on in a thread of its own, which no end of the process awaits.

    What the file system refuses until then becomes a RepositoryError.
    """
    loop, ended, refused = asyncio.get_running_loop(), asyncio.Event(), list[OSError]()

    def run() -> None:
        try:
            work()
        except OSError as e:
            refused.append(e)
        with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
            loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=run, name="remove a checkout", daemon=True).start()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE):
            await ended.wait()
    for e in refused:
        raise RepositoryError(f"{e.filename or 'The run folder'}: {e.strerror or e}.") from e


class RunRepository:
    """The port `Repository`, on real git."""

    def __init__(
        self,
        folder: Path,
        user: UserRefs,
        run: str,
        base: str,
        copy_files: Sequence[str] = (),
        faults: Faults = no_fault,
        *,
        remote: Remote | None = None,
    ) -> None:
        """Name the run's folder, the user's repository, the run's id and the commit it began at.

        `copy_files` are paths below the user's checkout that go into each fresh worktree and never into a commit.
        `remote` is where branches go that are pushed; without one, into the user's repository.
        """
        self.folder = folder.resolve()  # clones name it in their alternates, and that text is compared
        self.user = user
        self.run = run
        self.base = commit_id(base)
        self.copy_files = tuple(inside(p) for p in copy_files)
        self.remote = remote
        self._adopted: set[str] = set()  # branches that are pushed to though others made them
        self._faults = faults
        self._opening = threading.Lock()
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._here: set[str] = set()  # commits known to be in the clean room
        self._there: set[str] = set()  # commits known to be in the user's repository
        self._pushes: dict[str, str] = {}  # branch -> what we pushed last

    async def _in_room(self, work: Callable[Concatenate[CleanRoom, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do something in the clean room, in a thread, and make the room there when it is not yet."""
        return await _in_thread(lambda: self._knowing(args, lambda: work(self.room, *args, **kwargs)))

    def _knowing(self, commits: Sequence[object], work: Callable[[], T]) -> T:
        """Do something with commits. Where it fails for want of one that the remote has, bring that in first."""
        try:
            return work()
        except GitFailed:
            missing = [c for c in commits if isinstance(c, str) and is_commit_id(c) and not self.room.has(c)]
            if self.remote is None or not missing:
                raise
        for commit in missing:
            self._ensure(commit)
        return work()

    @property
    def room(self) -> CleanRoom:
        """The clean room, made on first use."""
        with self._opening:
            return self._room

    @cached_property
    def _room(self) -> CleanRoom:
        self._sweep_checkouts()
        self._sweep_locks()
        path = self.folder / "clean-room.git"
        bring = self._bring_from_afar if self.remote else None
        return open_clean_room(path, self.user.git_dir, self.base, self.user.author, self.copy_files, bring)

    def _bring_from_afar(self, room: CleanRoom, commit: str) -> None:
        if self.remote is None or not self.remote.take(room, commit):
            raise RepositoryError(f"Commit {commit[:10]} is neither in {self.user.root} nor on its remote.")

    @cached_property
    def _private(self) -> tuple[str, ...]:
        """The copied paths that the project itself does not track."""
        if not self.copy_files:
            return ()
        tracked = self.room.tracked(self.base, self.copy_files)
        return tuple(p for p in self.copy_files if not any(PurePosixPath(t).is_relative_to(p) for t in tracked))

    def _sweep_checkouts(self) -> None:
        """Remove the checkouts that drivers left behind which are no more, and so hold them no more."""
        for path in (self.folder / "checkouts").glob("*"):
            with contextlib.suppress(BlockingIOError), _held(path.with_suffix(".lock")):
                remove_tree(path.with_suffix(""))
                remove_tree(path.with_suffix(_GONE))

    def _sweep_locks(self) -> None:
        """Remove the lock files that a killed git left on what is ours: every later git would be refused."""
        refs = [self.user.git_dir / "refs" / kind / self.run for kind in ("heads/claudetm", "claudetm")]
        room = self.folder / "clean-room.git"
        found = [f.rglob("*.lock") for f in (*refs, room / "refs", self.folder / "views")]
        for lock in itertools.chain(room.glob("*.lock"), *found):
            if not in_use(lock):
                lock.unlink(missing_ok=True)

    def _path(self, change: str) -> Path:
        return self.folder / "changes" / named(change)

    def _view(self, change: str) -> WorktreeView:
        path = self._path(change)
        view = WorktreeView(self.room, self.folder / "views" / change, path)
        if not path.exists():
            raise RepositoryError(f"Change {change} has no worktree.")
        return view

    def _ensure(self, commit: str) -> str:
        """Bring a commit of the user's repository, or of the remote, into the clean room, unless it is there."""
        if commit not in self._here:
            if not self.room.has(commit_id(commit)):
                self._take(commit)
            self._here.add(commit)
        return commit

    def _take(self, commit: str) -> None:
        try:
            self.room.take(self.user.objects, commit, (START,))
        except GitFailed:
            if self.remote is None:
                raise
            self._bring_from_afar(self.room, commit)

    # worktrees

    async def open_worktree(self, change: str, branch: str, commit: str) -> Path:
        """Return the change's worktree, made at `commit` on `branch` when it is not there yet."""
        return await _in_thread(self._open_worktree, change, branch, commit)

    def _open_worktree(self, change: str, branch: str, commit: str) -> Path:
        path = self._path(change)
        with self._locks[change]:
            if path.exists():
                unlock(path)
            else:
                self._build(change, branch, commit).rename(path)
        return path

    def _build(self, change: str, branch: str, commit: str) -> Path:
        """Make a fresh worktree beside its place; return where."""
        path = self._path(change)
        fresh = path.with_name(f".{change}.new")
        remove_tree(fresh)
        self.room.lay_out(fresh, self._ensure(commit), branch)
        self._faults(f"worktree:laid_out:{change}")
        self._copy_files(fresh)
        WorktreeView(self.room, self.folder / "views" / change, path).begin(fresh, commit)
        self._faults(f"worktree:ready:{change}")
        return fresh

    def _copy_files(self, folder: Path) -> None:
        """Bring the user's untracked files; what they do not have, or the project tracks, is passed over."""
        for name in self.copy_files:
            source, target = self.user.root / name, folder / name
            if os.path.lexists(target) or not source.exists():
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target)
            else:
                shutil.copy2(source, target)

    async def worktree(self, change: str) -> Path | None:
        """Return the change's worktree, or None."""
        path = self._path(change)
        return path if path.exists() else None

    async def is_set_up(self, change: str, by: str) -> bool:
        """Whether the worktree that is there now was marked as set up by just that."""
        return await _in_thread(lambda: self._path(change).exists() and self._view(change).is_set_up(by))

    async def mark_set_up(self, change: str, by: str) -> None:
        """Mark the worktree as set up."""
        await _in_thread(lambda: self._view(change).mark_set_up(by))

    async def reset_worktree(self, change: str, branch: str, commit: str) -> Path:
        """Put a fresh worktree in the place of the old one."""
        return await _in_thread(self._reset_worktree, change, branch, commit)

    def _reset_worktree(self, change: str, branch: str, commit: str) -> Path:
        path = self._path(change)
        old = path.with_name(f".{change}.old")
        with self._locks[change]:
            fresh = self._build(change, branch, commit)
            remove_tree(old)
            if path.exists():
                path.rename(old)
            self._faults(f"worktree:set_aside:{change}")
            fresh.rename(path)
            remove_tree(old)
        return path

    async def state(self, change: str) -> WorktreeState:
        """Return what stands in the worktree."""
        return await _in_thread(self._state, change)

    def _state(self, change: str) -> WorktreeState:
        view = self._view(change)
        with self._locks[change]:
            head, refused = _synced(view)
            standing = view.standing()
        if standing.nested and not refused:
            refused = f"{standing.nested[0]} is a repository of its own; remove it or its .git"
        return WorktreeState(head, standing.modified, standing.untracked + standing.nested, refused)

    async def adopt(self, change: str) -> str:
        """Bring the worktree's commits into the clean room; return its head."""
        return await _in_thread(self._adopt, change)

    def _adopt(self, change: str) -> str:
        view = self._view(change)
        with self._locks[change]:
            head = view.sync()
        self._refuse_private(head)
        self.room.keep(f"refs/claudetm/work/{change}", head)
        self._here.add(head)
        return head

    async def bring(self, change: str, commit: str) -> None:
        """Make a commit of the clean room readable in the change's worktree; nothing there moves."""
        await _in_thread(self._bring, change, commit)

    def _bring(self, change: str, commit: str) -> None:
        self._view(change)
        self._ensure(commit)  # what is in the clean room, a clone can read

    def _refuse_private(self, commit: str) -> None:
        if self._private and (found := self.room.touched(commit, self.base, self._private)):
            raise RepositoryError(f"{', '.join(found)} was committed, though worktree.copy keeps it out of commits.")

    async def remove_untracked(self, change: str) -> Sequence[str]:
        """Remove untracked, unignored files; return their paths."""
        return await _in_thread(self._remove_untracked, change)

    def _remove_untracked(self, change: str) -> Sequence[str]:
        view = self._view(change)
        with self._locks[change]:
            standing = view.standing()
            for path in (p for p in standing.untracked if view.present(p)):
                (view.worktree / path).unlink()
                _prune(view.worktree, (view.worktree / path).parent)
        return standing.untracked

    async def snapshot(self, change: str, why: str) -> Snapshot | None:
        """Keep head and every uncommitted file under a ref; None when nothing is there to lose."""
        return await _in_thread(self._snapshot, change, why)

    def _snapshot(self, change: str, why: str) -> Snapshot | None:
        view, prefix = self._view(change), f"refs/claudetm/{self.run}/snapshots"
        with self._locks[change]:
            head, _ = _synced(view)
            standing = view.standing()
            if standing.modified or standing.untracked or standing.nested:
                commit = snapshots.commit_everything(view, standing, head, why)
            elif self.room.unpublished(head):
                commit = head
            else:
                return None
            ref, newest = snapshots.place(prefix, change, self.user.list(prefix))
            if newest and self.room.parents(self._ensure(newest)) == self.room.parents(commit):
                return Snapshot(snapshots.before(ref), newest)
            self.room.keep(ref, commit)
            self._publish(ref, commit, "")
        return Snapshot(ref, commit)

    async def keep(self, change: str, commit: str) -> Snapshot:
        """Keep a commit under a snapshot's ref, unless the newest one has it."""
        return await _in_thread(self._keep, named(change), commit_id(commit))

    def _keep(self, change: str, commit: str) -> Snapshot:
        prefix = f"refs/claudetm/{self.run}/snapshots"
        with self._locks[change]:
            ref, newest = snapshots.place(prefix, change, self.user.list(prefix))
            if newest == commit:
                return Snapshot(snapshots.before(ref), commit)
            self._faults(f"keep:before:{change}")
            self.room.keep(ref, commit)
            self._publish(ref, commit, "")
            self._faults(f"keep:after:{change}")
        return Snapshot(ref, commit)

    async def keep_branch(self, branch: str, commit: str) -> Pushed | PushRefused:
        """Move a branch of the user's repository to the commit, forward only."""
        return await _in_thread(lambda: self._push_here(branch, commit_id(commit)) or Pushed())

    # commits

    async def commits(self, since: str, head: str) -> Sequence[Commit]:
        """Return the commits reachable from head and not from since, oldest first, at most 200."""
        return await self._in_room(CleanRoom.commits, since, head)

    async def changed_paths(self, since: str, head: str) -> Sequence[str]:
        """Return the paths that differ between two commits."""
        return await self._in_room(CleanRoom.changed_paths, since, head)

    async def diff(self, since: str, head: str, paths: Sequence[str]) -> str:
        """Return the patch between two commits on these paths, at most 64 KiB of it; "" for no path."""
        return await self._in_room(CleanRoom.diff, since, head, paths) if paths else ""

    async def contains(self, descendant: str, ancestor: str) -> bool:
        """Whether the ancestor is reachable from the descendant."""
        return await self._in_room(CleanRoom.contains, descendant, ancestor)

    async def merge_base(self, a: str, b: str) -> str:
        """Return the best common ancestor of two commits, or "" for unrelated ones."""
        return await self._in_room(CleanRoom.relation, a, b)

    async def read_file(self, commit: str, path: str) -> str | None:
        """Return a file of a commit as text, or None."""
        return await self._in_room(CleanRoom.read_file, commit, path)

    async def list_files(self, commit: str) -> Sequence[str]:
        """Return the paths of a commit's files."""
        return await self._in_room(CleanRoom.tracked, commit, ())

    async def merge(self, ours: str, theirs: str, message: str) -> Merged | Conflicted:
        """Build the merge of two commits. Ours when it contains theirs; theirs when it is ahead."""
        return await _in_thread(lambda: self._knowing((ours, theirs), lambda: self._merge(ours, theirs, message)))

    def _merge(self, ours: str, theirs: str, message: str) -> Merged | Conflicted:
        fork = self.room.relation(ours, theirs)
        if fork in (ours, theirs):
            return Merged(theirs if fork == ours else ours)
        return self._build_merge(ours, theirs, message, (ours, theirs))

    async def build_merge(
        self, base: str, head: str, message: str, parents: Sequence[str] = ()
    ) -> Merged | Conflicted:
        """Build a commit with the merged tree of both, also where one contains the other; parents: base and head."""
        return await _in_thread(self._build_merge, base, head, message, parents or (base, head))

    def _build_merge(self, base: str, head: str, message: str, parents: Sequence[str]) -> Merged | Conflicted:
        tree = self.room.merge_tree(base, head)
        if isinstance(tree, Conflicted):
            return tree
        commit = self.room.commit_tree(tree, parents, message)
        self._here.add(commit)
        return Merged(commit)

    @contextlib.asynccontextmanager
    async def checkout(self, commit: str) -> AsyncIterator[Path]:
        """Return a throw-away checkout of the commit, a clone of its own, gone at exit.

        A big one's removal is not waited for: what it has not come to when the process ends, the next driver sweeps.
        """
        path = self.folder / "checkouts" / uuid.uuid4().hex[:12]
        made = contextlib.ExitStack()
        try:
            await _in_thread(self._check_out, path, commit, made)
            yield path
        finally:
            await _briefly(made.close)

    def _check_out(self, path: Path, commit: str, made: contextlib.ExitStack) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        made.enter_context(_held(path.with_suffix(".lock")))
        made.callback(self._throw_away, path)
        self.room.lay_out(path, self._ensure(commit))
        self._copy_files(path)

    def _throw_away(self, path: Path) -> None:
        """Remove a checkout: out of its place at once, however much there is to remove."""
        gone = path.with_suffix(_GONE)
        if path.exists():
            path.rename(gone)
        self._faults(f"checkout:gone:{path.name}")
        remove_tree(gone)

    # the remote

    def adopt_branch(self, branch: str) -> None:
        """Let a branch that somebody else made be pushed to and deleted: that of an adopted pull request."""
        branch_ref(branch)
        self._adopted.add(branch)

    def push_to(self, url: str) -> None:
        """Push to another address from now on: to the fork that an adopted pull request came from."""
        self._afar.push_to(url)

    @property
    def _afar(self) -> Remote:
        if self.remote is None:
            raise RepositoryError(f"Run {self.run} has no remote.")
        return self.remote

    def _is_ours(self, branch: str) -> bool:
        return branch.startswith("claudetm/") or branch in self._adopted

    def _may_move(self, branch: str) -> str:
        """Return the full name of a branch that we may move. Raises RepositoryError: never the target."""
        ref = branch_ref(branch)
        return ref if self._is_ours(branch) else ours(ref)

    async def fetch(self, branch: str) -> str:
        """Return the tip of a branch of the repository that pull requests are opened in; "" when absent.

        It is brought into the clean room, by one run of git. Raises ForgeBusy, RepositoryError.
        """
        return await _in_thread(lambda: self._fetch(branch_ref(branch)))

    async def fetch_pull(self, number: int) -> str:
        """Return the head of a pull request, wherever it came from, brought into the clean room; "" when absent."""
        return await _in_thread(lambda: self._fetch(f"refs/pull/{int(number)}/head"))

    def _fetch(self, ref: str, *, pushed: bool = False) -> str:
        tip = self._afar.tip(self.room, ref, self._afar.pushed if pushed else self._afar.main)
        if tip:
            self._here.add(tip)
        return tip

    async def delete_branch(self, branch: str, at: str) -> bool:
        """Delete a branch where it is pushed to, if it stands at the commit; False when it does not, or must stay."""
        return await _in_thread(self._delete_branch, branch, commit_id(at))

    def _delete_branch(self, branch: str, at: str) -> bool:
        ref = self._may_move(branch)
        now = self._fetch(ref, pushed=True)
        if now == at:
            self._faults(f"delete:before:{branch}")
            refused = self._move(branch, "", at)
            self._faults(f"delete:after:{branch}")
            return refused is None
        return not now

    def _push_afar(self, branch: str, commit: str) -> PushRefused | None:
        """Move a branch of the remote to the commit, forward only."""
        at = self._fetch(self._may_move(branch), pushed=True)
        if at == commit:
            return None
        if at and not self.room.contains(commit, at):
            return PushRefused(at, f"{branch} has commits that are not ours")
        if not at and self.room.ref(_pushed(branch)):
            return PushRefused("", "somebody deleted it; its pull request's page can restore it")
        self._faults(f"push:before:{branch}")
        refused = self._move(branch, commit, at)
        self._faults(f"push:after:{branch}")
        return refused

    def _move(self, branch: str, commit: str, at: str) -> PushRefused | None:
        """Let a branch of the remote go from one commit to another, "" for absent.

        Where no answer came, or a refusal, it is looked at again: it may stand there by now, or have moved meanwhile.
        """
        ref, lost, reason = branch_ref(branch), None, ""
        try:
            reason = self._afar.move(self.room, ref, commit, at)
        except ForgeBusy as e:
            lost = e
        if not lost and not reason:
            return None
        now = self._fetch(ref, pushed=True)
        if now == commit:
            return None
        if now != at:
            return PushRefused(now, f"{branch} moved meanwhile")
        if lost:
            raise lost
        return PushRefused(at, reason)

    # the user's repository

    async def push(self, branch: str, commit: str) -> Pushed | PushRefused:
        """Move the branch to the commit on the remote, or else in the user's repository, forward only.

        Raises ForgeBusy where the remote is out of reach, RepositoryError where it lets nobody in.
        """
        return await _in_thread(self._push, branch, commit)

    def _push(self, branch: str, commit: str) -> Pushed | PushRefused:
        self._may_move(branch)
        self._refuse_private(commit_id(commit))
        refused = self._push_afar(branch, commit) if self.remote else self._push_here(branch, commit)
        if refused:
            return refused
        if self._pushes.get(branch) != commit:
            self.room.keep(_pushed(branch), commit)
            self._pushes[branch] = commit
        return Pushed()

    def _push_here(self, branch: str, commit: str) -> PushRefused | None:
        """Move a branch of the user's repository to the commit, forward only."""
        ref = ours(f"refs/heads/{branch}")
        at = self.user.find(ref) or Ref("")
        if at.commit == commit:
            return None
        if refused := self._refusal(branch, at, commit):
            return refused
        if not at.commit and (last := self.room.ref(_pushed(branch))):
            return PushRefused("", f"somebody deleted it; `git branch {branch} {last[:12]}` brings it back")
        self._faults(f"push:before:{branch}")
        if not self._publish(ref, commit, at.commit):
            now = self.user.find(ref) or Ref("")
            return None if now.commit == commit else PushRefused(now.commit, f"{branch} moved meanwhile")
        self._faults(f"push:after:{branch}")
        return None

    def _refusal(self, branch: str, at: Ref, commit: str) -> PushRefused | None:
        """Return why the branch must stay where it is, or None."""
        if at.commit and not self.room.contains(commit, self._ensure(at.commit)):
            return PushRefused(at.commit, f"{branch} has commits that are not ours")
        if at.worktree:
            remedy = f"switch to another branch in {at.worktree}"
            return PushRefused(
                at.commit, f"{branch} is checked out in {at.worktree}: switch to another there", remedy
            )
        return None

    def _publish(self, ref: str, commit: str, old: str) -> bool:
        """Bring the commit into the user's repository and move a ref of ours to it, from `old`."""
        self._deliver(commit, old)
        return self.user.swap(ref, commit, old)

    def _deliver(self, commit: str, old: str = "") -> None:
        """Bring a commit into the user's repository, unless it is there; `old` is one that is."""
        if commit not in self._there:
            transfer(self.room.git, self.user.git, commit_id(commit), [*self._shared, *([old] if old else [])])
            self._there.add(commit)

    @cached_property
    def _shared(self) -> tuple[str, ...]:
        """Commits that the user's repository has whole, as branches of theirs contain them, and the clean room, too.

        The run's base need not be one: a target that lives elsewhere may be ahead of what they have fetched.
        """
        if self.user.reaches(self.base):
            return (START,)
        return tuple(self.room.among(self.user.tips(MOST_HAVES)))

    async def publish(self, ref: str, commit: str, old: str) -> bool:
        """Move a ref of ours in the user's repository from `old` ("" for absent); False when it stands elsewhere."""
        return await _in_thread(self._publish, ref, commit, old)

    async def refs(self, *prefixes: str) -> Mapping[str, Ref]:
        """Return the user's refs at or below the prefixes, by full name; their commits are brought in."""
        return await _in_thread(self._refs, prefixes)

    def _refs(self, prefixes: tuple[str, ...]) -> Mapping[str, Ref]:
        found = self.user.list(*prefixes)
        for ref in found.values():
            self._there.add(self._ensure(ref.commit))
        return found

    async def branch_tip(self, branch: str) -> str:
        """Return the commit of a branch, brought into the clean room; "" when absent.

        It is the remote's, where there is one: of what is pushed to for branches of ours, else of where pull requests
        are opened. Without one, it is the user's.
        """
        if self.remote:
            return await _in_thread(lambda: self._fetch(branch_ref(branch), pushed=self._is_ours(branch)))
        name = f"refs/heads/{branch}"
        found = (await self.refs(name)).get(name)
        return found.commit if found else ""

    async def last_push(self, branch: str) -> str:
        """Return the commit that was pushed last to a branch, or ""."""
        if branch not in self._pushes:
            self._pushes[branch] = await self._in_room(CleanRoom.ref, _pushed(branch))
        return self._pushes[branch]

    async def forget_push(self, branch: str) -> None:
        """Take a branch for one that was never pushed, if it is gone: then it may be made again."""
        if not await self.branch_tip(branch):
            await self._in_room(CleanRoom.forget, _pushed(branch))
            self._pushes.pop(branch, None)

    async def parents(self, commit: str) -> tuple[str, tuple[str, ...]]:
        """Return a commit's tree and parents."""
        return await self._in_room(CleanRoom.parents, commit)

    async def entered(self, base: str, head: str) -> str:
        """Return the commit by which head came into base."""
        return await self._in_room(CleanRoom.entered, base, head)

    async def land(self, commit: str, target: str) -> Landed | NotLanded:
        """Bring the commit to the user's branch, fast-forward only, checkout included where it is clean."""
        return await _in_thread(self._land, commit, target)

    def _land(self, commit: str, target: str) -> Landed | NotLanded:
        with held(self.folder / "landing") as landing, one_at_a_time(self.folder.parent):
            return self._land_now(commit, target, landing)

    def _land_now(self, commit: str, target: str, landing: Landing) -> Landed | NotLanded:
        base = f"refs/heads/claudetm/{self.run}/base"
        found = self.user.list(f"refs/heads/{target}", base)
        at = found.get(f"refs/heads/{target}")
        named = base.removeprefix("refs/heads/") if found.get(base, Ref("")).commit == commit else commit
        self._deliver(commit)
        if at is None:
            return NotLanded(f"there is no branch {target}", f"git branch {target} {named}")
        if self.room.contains(self._ensure(at.commit), commit):
            return Landed("already")
        if not self.room.contains(commit, at.commit):
            first = "" if at.worktree else f"git switch {target} && "
            return NotLanded(f"{target} has moved on by itself", f"{first}git merge {named}")
        self._faults(f"land:before:{target}")
        return self.user.land(commit, target, at, named, landing)


def _synced(view: WorktreeView) -> tuple[str, str]:
    """Return the worktree's head and "", or the last head we know and why there is no newer one."""
    try:
        return view.sync(), ""
    except RepositoryError as e:
        return view.known(), str(e)


def _pushed(branch: str) -> str:
    return f"refs/claudetm/pushed/{branch}"


def inside(path: str) -> str:
    """Return a path below the checkout in its plain form. Raises RepositoryError for any other."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts or ".git" in pure.parts or "\n" in path:
        raise RepositoryError(f"worktree.copy: {path!r} is not a path inside the repository.")
    return str(pure)


@contextlib.contextmanager
def _held(file: Path) -> Iterator[None]:
    """Hold a file of ours while the block lasts, or this process; then it is gone. Raises BlockingIOError if held.

    A process's number would not do: in a container, the next driver may well have that of the dead one.
    """
    with file.open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            yield
        finally:
            file.unlink(missing_ok=True)


@contextlib.contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Wait until no other run does the same with a folder.

    Of those that land in a repository: a checkout that moves looks like one with changes.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # some network disks lock no folders
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _prune(top: Path, folder: Path) -> None:
    """Remove folders that became empty, up to the worktree."""
    while folder != top and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
