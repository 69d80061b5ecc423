"""Bringing kept work into the user's checkout, uncommitted: merged with what is checked out, by git itself.

Either all of it arrives or nothing is changed: whatever stands in the way is found before anything is written, and
called again after a kill, the same ends the same. No hook runs, and no filter but the user's own.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from claudetm.adapters.git.git import GitFailed, commit_id
from claudetm.adapters.git.user_refs import UserRefs

_EXECUTABLE: Final = "100755"
_LINK: Final = "120000"
_SUBMODULE: Final = "160000"
_BUSY: Final = ("MERGE_HEAD", "rebase-merge", "rebase-apply", "CHERRY_PICK_HEAD", "REVERT_HEAD")


@dataclass(frozen=True, slots=True)
class Applied:
    """The work is in the checkout: these paths were written, and are staged."""

    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class InPlace:
    """It was there already: uncommitted, or in what is checked out."""


@dataclass(frozen=True, slots=True)
class InTheWay:
    """Files stand in the way: `why` says what is with them, in a clause. Nothing was changed."""

    why: str
    paths: tuple[str, ...] = ()


Outcome = Applied | InPlace | InTheWay


@dataclass(frozen=True, slots=True)
class _Entry:
    """A path that the work changes: what the merged tree has there, `mode` "000000" for nothing."""

    path: str
    mode: str
    there: bool  # in what is checked out


def bring(user: UserRefs, base: str, work: str) -> Outcome:
    """Merge what `work` changes since `base` into the checkout of `user.root`. Raises RepositoryError."""
    own = Path(os.fsdecode(user.in_checkout("rev-parse", "--absolute-git-dir").removesuffix(b"\n")))
    if busy := [name for name in _BUSY if (own / name).exists()]:
        return InTheWay(f"the checkout is in the middle of something ({busy[0]})")
    head = user.in_checkout("rev-parse", "--verify", "HEAD^{commit}").decode().strip()
    match _merged(user, commit_id(base), head, commit_id(work)):
        case InTheWay() as conflicts:
            return conflicts
        case tree:
            return _brought(user, head, tree, list(_changed(user, head, tree)))


def _merged(user: UserRefs, base: str, head: str, work: str) -> str | InTheWay:
    """Return the tree that both sides come to. Each is a commit upon `base` for it: no other ancestor shall count."""
    ours, theirs = (_upon(user, base, commit) for commit in (head, work))
    options = ("--write-tree", "--name-only", "--no-messages", "-z")
    done = user.git.run("merge-tree", *options, ours, theirs, accept=(0, 1))
    tree, *conflicts = done.items
    if done.code:
        return InTheWay("it conflicts with what is checked out", tuple(dict.fromkeys(conflicts)))
    return tree


def _upon(user: UserRefs, base: str, commit: str) -> str:
    dated = user.git.having(GIT_AUTHOR_DATE="@0 +0000", GIT_COMMITTER_DATE="@0 +0000")
    return dated.text(
        "commit-tree", "--no-gpg-sign", "-p", base, "-m", "claudetm monitor apply", f"{commit}^{{tree}}"
    )


def _changed(user: UserRefs, head: str, tree: str) -> Iterator[_Entry]:
    listed = user.git.run("diff-tree", "-r", "-z", "--no-renames", head, tree).items
    for row, path in zip(listed[::2], listed[1::2], strict=True):
        old, new, *_ = row.removeprefix(":").split()
        yield _Entry(path, new, there=old != "000000")


def _brought(user: UserRefs, head: str, tree: str, changed: Sequence[_Entry]) -> Outcome:
    written = [e for e in changed if e.mode != _SUBMODULE and not _stands(user, tree, e)]
    if not written:
        return InPlace()
    modified = _modified(user)
    if dirty := [e.path for e in written if e.path in modified or (not e.there and _lies(user.root, e.path))]:
        return InTheWay("they have changes of yours that are not committed", tuple(dirty))
    arrived = [e.path for e in changed if e not in written and e.mode != _SUBMODULE]
    if begun := [path for path in arrived if path in modified or _untracked(user, path)]:
        user.in_checkout("update-index", "--add", "--remove", "-z", "--stdin", stdin=_listed(begun))
    with contextlib.suppress(GitFailed):  # it fails where files are modified, which others may be
        user.in_checkout("update-index", "-q", "--refresh")  # one that was rewritten as it was counts as modified
    try:
        user.in_checkout("read-tree", "-m", "-u", head, tree)
    except GitFailed as error:
        return InTheWay(f"git could not write them ({error})", tuple(e.path for e in written))
    return Applied(tuple(e.path for e in changed))


def _modified(user: UserRefs) -> frozenset[str]:
    """Return the tracked files that differ from what is checked out, staged or not."""
    options = ("--porcelain", "-z", "--untracked-files=no", "--ignore-submodules=all", "--no-renames")
    return frozenset(os.fsdecode(row[3:]) for row in user.in_checkout("status", *options).split(b"\0") if row)


def _lies(root: Path, path: str) -> bool:
    """Whether something lies where a new file goes, or a file where one of its folders goes."""
    parents = [root / parent for parent in Path(path).parents if str(parent) != "."]
    return os.path.lexists(root / path) or any(
        os.path.lexists(p) and (p.is_symlink() or not p.is_dir()) for p in parents
    )


def _untracked(user: UserRefs, path: str) -> bool:
    return not user.in_checkout("ls-files", "-z", "--", path) and os.path.lexists(user.root / path)


def _stands(user: UserRefs, tree: str, entry: _Entry) -> bool:
    """Whether the checkout has the path as the merged tree has it."""
    path = user.root / entry.path
    if entry.mode == "000000":
        return not os.path.lexists(path)
    try:
        if entry.mode == _LINK:
            return path.is_symlink() and os.fsencode(path.readlink()) == _content(user, tree, entry.path)
        plain = path.is_file() and not path.is_symlink() and os.access(path, os.X_OK) == (entry.mode == _EXECUTABLE)
        return plain and path.read_bytes() == _content(user, tree, entry.path)
    except OSError:
        return False


def _content(user: UserRefs, tree: str, path: str) -> bytes:
    """Return what a checkout of the tree writes into the file."""
    return user.in_checkout("cat-file", "--filters", f"{tree}:{path}")


def _listed(paths: Sequence[str]) -> bytes:
    return b"".join(os.fsencode(path) + b"\0" for path in paths)
