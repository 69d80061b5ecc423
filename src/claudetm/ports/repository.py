"""The git side of a run: a worktree a change, what an agent left there, commits made in the clean room, pushes.

Commits are full hexadecimal ids. Nothing here runs under a configuration that an agent could have written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from claudetm.errors import RepositoryError


@dataclass(frozen=True, slots=True)
class WorktreeState:
    """What stands in a change's worktree."""

    head: str
    modified: tuple[str, ...] = ()  # tracked files that differ from head, deletions included
    untracked: tuple[str, ...] = ()  # not ignored
    refused: str = ""  # why git cannot be trusted with it (a nested repository, foreign alternates), or ""

    @property
    def clean(self) -> bool:
        """Whether nothing would be lost by leaving it."""
        return not self.modified and not self.untracked


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit."""

    id: str
    subject: str
    author: str = ""
    body: str = ""  # the message below its subject


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A worktree kept as a commit under a ref in the user's repository."""

    ref: str
    commit: str


@dataclass(frozen=True, slots=True)
class Merged:
    """A merge commit was built in the clean room."""

    commit: str


@dataclass(frozen=True, slots=True)
class Conflicted:
    """The two sides touch the same lines of these paths.

    `attempt` is the tree that git made of both, exact but for them; `changed_paths` takes it as it does a commit.
    """

    paths: tuple[str, ...]
    attempt: str = ""


@dataclass(frozen=True, slots=True)
class Pushed:
    """The branch stands at the commit."""


@dataclass(frozen=True, slots=True)
class PushRefused:
    """The branch is somewhere else, or was deleted after it had been pushed; nothing was forced, or brought back."""

    at: str  # the commit it stands at, or ""
    reason: str
    remedy: str = ""  # what a person can do, where that follows from the reason


@dataclass(frozen=True, slots=True)
class Landed:
    """The target has the work. `how`: fast_forwarded | checkout_updated | already."""

    how: str


@dataclass(frozen=True, slots=True)
class NotLanded:
    """The target was left alone; `command` is what the user can run."""

    reason: str
    command: str


_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def named(change: str) -> str:
    """Return the name of a change, which names its folder, too. Raises RepositoryError for what could not."""
    if not _NAME.fullmatch(change):
        raise RepositoryError(f"{change[:80]!r} cannot be the name of a change.")
    return change


class Repository(Protocol):
    """One run's own repository, beside the user's. What takes a change refuses a name that `named` refuses."""

    async def open_worktree(self, change: str, branch: str, commit: str) -> Path:
        """Return the change's worktree, made at `commit` on `branch` when it is not there yet. Idempotent."""
        ...

    async def worktree(self, change: str) -> Path | None:
        """Return the change's worktree, or None."""
        ...

    async def is_set_up(self, change: str, by: str) -> bool:
        """Whether the worktree that is there now was marked as set up by just that; a fresh one was not."""
        ...

    async def mark_set_up(self, change: str, by: str) -> None:
        """Mark the worktree as set up, for every driver to come. Raises RepositoryError when there is none."""
        ...

    async def state(self, change: str) -> WorktreeState:
        """Return what stands in the worktree. Raises RepositoryError when there is none."""
        ...

    async def commits(self, since: str, head: str) -> Sequence[Commit]:
        """Return the commits reachable from head and not from since, oldest first, at most 200."""
        ...

    async def changed_paths(self, since: str, head: str) -> Sequence[str]:
        """Return the paths that differ between two commits."""
        ...

    async def diff(self, since: str, head: str, paths: Sequence[str]) -> str:
        """Return the patch between two commits on these paths, at most 64 KiB of it; "" for no path."""
        ...

    async def adopt(self, change: str) -> str:
        """Bring the worktree's commits into the clean room; return its head. Raises RepositoryError if refused."""
        ...

    async def reset_worktree(self, change: str, branch: str, commit: str) -> Path:
        """Put a fresh worktree at `commit` in the place of the old one. The caller has taken a snapshot."""
        ...

    async def bring(self, change: str, commit: str) -> None:
        """Make a commit of the clean room readable in the change's worktree; nothing there moves."""
        ...

    async def snapshot(self, change: str, why: str) -> Snapshot | None:
        """Keep head and every uncommitted file under refs/claudetm/…; None when nothing is there to lose."""
        ...

    async def keep(self, change: str, commit: str) -> Snapshot:
        """Keep an adopted commit of a change under a snapshot's ref; the newest one, where that has it already."""
        ...

    async def keep_branch(self, branch: str, commit: str) -> Pushed | PushRefused:
        """Move a branch of the user's repository to the commit, forward only; also where pushes go to a remote."""
        ...

    async def remove_untracked(self, change: str) -> Sequence[str]:
        """Remove untracked, unignored files; return their paths. The caller has taken a snapshot."""
        ...

    async def push(self, branch: str, commit: str) -> Pushed | PushRefused:
        """Move the branch to the commit where the forge reads it, forward only. Already there counts.

        A branch that was pushed and is gone, somebody deleted: that closes its pull request, and is not undone.
        """
        ...

    async def last_push(self, branch: str) -> str:
        """Return the commit that was pushed last to a branch, or ""; a killed driver may not have recorded it."""
        ...

    async def forget_push(self, branch: str) -> None:
        """Take a branch for one that was never pushed, if it is gone: then it may be made again."""
        ...

    async def branch_tip(self, branch: str) -> str:
        """Return the commit of a branch where the forge reads it, brought into the clean room; "" when absent."""
        ...

    async def merge(self, ours: str, theirs: str, message: str) -> Merged | Conflicted:
        """Build the merge of two commits in the clean room. Ours when it contains theirs; theirs when it is ahead."""
        ...

    async def contains(self, descendant: str, ancestor: str) -> bool:
        """Whether the ancestor is reachable from the descendant."""
        ...

    async def merge_base(self, a: str, b: str) -> str:
        """Return the best common ancestor of two commits, or "" for unrelated ones."""
        ...

    def checkout(self, commit: str) -> AbstractAsyncContextManager[Path]:
        """Return a throw-away checkout of the commit, made from the clean room, gone at exit."""
        ...

    async def read_file(self, commit: str, path: str) -> str | None:
        """Return a file of a commit as text (undecodable bytes replaced), or None."""
        ...

    async def list_files(self, commit: str) -> Sequence[str]:
        """Return the paths of a commit's files."""
        ...

    async def land(self, commit: str, target: str) -> Landed | NotLanded:
        """Bring the commit to the user's branch, fast-forward only, checkout included where it is clean."""
        ...
