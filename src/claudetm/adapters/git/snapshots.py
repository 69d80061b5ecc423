"""Keeps what a next step could lose: head and every uncommitted file of a worktree, as a commit under a ref.

The commit is made in the clean room with an index of its own, so taking a snapshot changes nothing in the worktree.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping

from claudetm.adapters.git.git import Git
from claudetm.adapters.git.user_refs import Ref
from claudetm.adapters.git.worktree_view import Standing, WorktreeView


def commit_everything(view: WorktreeView, standing: Standing, head: str, why: str) -> str:
    """Return a commit on top of head with all that differs from it: modified, removed, untracked, nested."""
    index = view.folder / "index.snapshot"
    shutil.copy2(view.folder / "index", index)
    git = view.git.having(GIT_INDEX_FILE=str(index))
    try:
        tree = _tree(git, view, standing)
    finally:
        index.unlink(missing_ok=True)
    return view.room.commit_tree(tree, (head,), f"Snapshot: {why}\n")


def _tree(git: Git, view: WorktreeView, standing: Standing) -> str:
    """Write the tree of the whole worktree."""
    gone = [p for p in standing.modified if not view.present(p)]
    there = [p for p in standing.modified if view.present(p)]
    inside = [p for folder in standing.nested for p in _files_below(view, folder)]
    if gone:
        git.run("update-index", "-z", "--force-remove", "--stdin", stdin=_listed(gone))
    if kept := [*there, *standing.untracked, *inside]:
        git.run("update-index", "-z", "--add", "--replace", "--stdin", stdin=_listed(kept))
    return git.text("write-tree")


def _listed(paths: list[str]) -> bytes:
    return b"".join(os.fsencode(p) + b"\0" for p in paths)


def _files_below(view: WorktreeView, folder: str) -> Iterator[str]:
    """Yield the files of a nested repository, its own git directory left out."""
    for parent, names, files in os.walk(view.worktree / folder):
        links = [n for n in names if os.path.islink(f"{parent}/{n}")]  # noqa: PTH114 - os.walk yields text
        names[:] = [n for n in names if n.lower() != ".git" and n not in links]
        relative = os.path.relpath(parent, view.worktree)
        for name in (*files, *links):
            if name.lower() != ".git" and view.present(f"{relative}/{name}"):
                yield f"{relative}/{name}"


def before(ref: str) -> str:
    """Return the ref of the snapshot before one that `place` named."""
    start, _, number = ref.rpartition("-")
    return f"{start}-{int(number) - 1}"


def place(prefix: str, change: str, refs: Mapping[str, Ref]) -> tuple[str, str]:
    """Return the ref for the next snapshot of a change, and the commit of its newest one ("" for none)."""
    start = f"{prefix}/{change}-"
    numbers = sorted(int(n) for n in (r.removeprefix(start) for r in refs if r.startswith(start)) if n.isdigit())
    newest = numbers[-1] if numbers else 0
    return f"{start}{newest + 1}", refs[f"{start}{newest}"].commit if newest else ""
