"""The one step that writes into the user's checkout, made safe to die in: written down first, undone if cut short.

Only what git itself had written for that landing is taken back. A file that holds anything else is the user's.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from claudetm.adapters.git.git import commit_id

InCheckout = Callable[..., bytes]
"""Runs git in the user's worktree: arguments, then `stdin`; returns its output."""


@dataclass(frozen=True, slots=True)
class Landing:
    """A landing that is held. `begun` is the commit that a killed driver was landing, or ""."""

    begun: str
    descriptor: int

    def begin(self, commit: str) -> None:
        """Write down that the checkout may change from here on."""
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, commit.encode(), 0)
        os.fsync(self.descriptor)


@contextlib.contextmanager
def held(file: Path) -> Iterator[Landing]:
    """Hold the run's landing, and wait first for a git that outlived its driver: it inherits this lock."""
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield Landing(os.pread(descriptor, 100, 0).decode(), descriptor)
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def take_back(git: InCheckout, root: Path, git_dirs: set[Path], at: str, commit: str) -> None:
    """Put a checkout at `at` back as it was before git, killed, had half moved it to `commit`.

    Where git had only the branch left to move, files and index stay: they are the commit's. Leaves everything alone
    as soon as one file holds what neither commit accounts for.
    """
    for lock in (d / name for d in git_dirs for name in ("index.lock", "HEAD.lock")):
        if lock.exists() and not in_use(lock):
            lock.unlink()
    if not git("diff-index", "--cached", "--name-only", commit_id(commit)):
        git("read-tree", "--reset", commit_id(at))  # the index alone; the files are looked at below
    if git("diff-index", "--cached", "--name-only", commit_id(at)):
        return
    moved = _names(git("diff-tree", "-r", "-z", "--name-only", "--no-renames", commit_id(at), commit_id(commit)))
    before = _names(git("ls-files", "-z"))
    differing = _names(git("diff-files", "-z", "--name-only", "--no-renames"))
    begun = {p for p in moved if p in differing or (p not in before and os.path.lexists(root / p))}
    if not all(_accounted_for(git, root / p, p, at, commit) for p in begun):
        return
    for path in begun - before:
        (root / path).unlink()
    restored = b"".join(os.fsencode(p) + b"\0" for p in begun & before)
    git("checkout-index", "--force", "-z", "--stdin", stdin=restored)


def _names(output: bytes) -> set[str]:
    return {os.fsdecode(name) for name in output.split(b"\0") if name}


def _accounted_for(git: InCheckout, path: Path, name: str, at: str, commit: str) -> bool:
    """Whether the file is gone, as it was, or holds the beginning (or all) of what git was writing into it."""
    if not os.path.lexists(path):
        return True
    if path.is_dir() and not path.is_symlink():
        return False
    found = os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
    old, new = (_content(git, name, c) for c in (at, commit))
    return found == old or (new is not None and new.startswith(found))


def _content(git: InCheckout, name: str, commit: str) -> bytes | None:
    """Return what a checkout of the commit writes into the file, or None where it has none."""
    return git("cat-file", "--filters", f"{commit}:{name}") if git("ls-tree", commit, "--", name) else None


def in_use(path: Path) -> bool:
    """Whether any process has the file open."""
    inode = path.stat()
    for folder in Path("/proc").glob("[0-9]*/fd"):
        with contextlib.suppress(OSError):
            for name in folder.iterdir():
                with contextlib.suppress(OSError):
                    if os.path.samestat(name.stat(), inode):
                        return True
    return False
