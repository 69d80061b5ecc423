"""How we look at a change's worktree: through our own git directory and index, the clean room's configuration.

What stands in the agent's `.git` is read as plain data (clone.py), never obeyed.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from claudetm.adapters.git.clean_room import START, CleanRoom
from claudetm.adapters.git.clone import head_of
from claudetm.adapters.git.git import Git, identity


@dataclass(frozen=True, slots=True)
class Standing:
    """What differs between the index (which is at head) and the worktree."""

    modified: tuple[str, ...]
    untracked: tuple[str, ...]
    nested: tuple[str, ...]  # folders that are repositories of their own


@dataclass(frozen=True, slots=True)
class WorktreeView:
    """One change's worktree as we see it. `folder` holds our HEAD (always in the clean room) and index for it."""

    room: CleanRoom
    folder: Path
    worktree: Path

    @property
    def git(self) -> Git:
        """Git on this worktree. The index is ours, so refreshing it is wanted."""
        variables = {"GIT_COMMON_DIR": str(self.room.path), "GIT_OPTIONAL_LOCKS": "1"}
        return Git(self.folder, self.worktree).having(**variables, **identity(self.room.author))

    def begin(self, laid_out: Path, commit: str) -> None:
        """Start afresh, with the index of a checkout that was just made."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._set_up.unlink(missing_ok=True)
        (self.folder / "index.lock").unlink(missing_ok=True)
        shutil.copy2(laid_out / ".git" / "index", self.folder / "index")
        self._remember(commit)

    @property
    def _set_up(self) -> Path:
        return self.folder / "set-up"

    def is_set_up(self, by: str) -> bool:
        """Whether this worktree was marked as set up by just that."""
        return self._set_up.exists() and self._set_up.read_text(encoding="utf-8") == by

    def mark_set_up(self, by: str) -> None:
        """Mark it, until one is begun afresh."""
        self._set_up.write_text(by, encoding="utf-8", newline="")

    def known(self) -> str:
        """Return the head that was taken over last."""
        return (self.folder / "HEAD").read_text().strip()

    def sync(self) -> str:
        """Take over what the agent committed; return its head. Raises RepositoryError for a bent clone."""
        head, known = head_of(self.worktree, self.room.lent), self.known()
        if head != known:
            self.room.take(self.worktree / ".git" / "objects", head, (START, known))
            (self.folder / "index.lock").unlink(missing_ok=True)
            self.git.run("read-tree", "--reset", "-i", head)
            self._remember(head)
        return head

    def _remember(self, head: str) -> None:
        fresh = self.folder / "HEAD.new"
        fresh.write_text(f"{head}\n")
        fresh.replace(self.folder / "HEAD")

    def standing(self) -> Standing:
        """Return what is modified, untracked (not ignored), and nested."""
        command = ("status", "--porcelain=v2", "-z", "--untracked-files=all", "--ignore-submodules=all")
        rows = self.git.run(*command, "--no-renames", "--no-ahead-behind").items
        changed = tuple(sorted(r.split(" ", _FIELDS)[-1] for r in rows if r[0] in "1u"))
        extra = sorted(r[2:] for r in rows if r[0] == "?")
        plain = tuple(p for p in extra if not p.endswith("/"))
        return Standing(changed, plain, tuple(p for p in extra if p.endswith("/")))

    def present(self, path: str) -> bool:
        """Whether a file or link lies at the path itself: not a folder, not something behind a link."""
        full = self.worktree / path
        behind = any(p.is_symlink() for p in full.parents if p.is_relative_to(self.worktree) and p != self.worktree)
        return os.path.lexists(full) and not behind and (full.is_symlink() or full.is_file())


_FIELDS = 8
