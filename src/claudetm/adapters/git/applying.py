"""Bringing kept work into the user's checkout, uncommitted: merged with what is checked out, by git itself.

Either all of it arrives or nothing is changed: whatever stands in the way is found before anything is written, and
called again after a kill, the same ends the same. No hook runs, and no filter but the user's own.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from claudetm.adapters.git.git import GitFailed, commit_id
from claudetm.adapters.git.user_refs import UserRefs

_NOTHING: Final = "000000"
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
    """A path that the work changes: its mode in what is checked out and in the merged tree, "000000" for nothing."""

    path: str
    old: str
    mode: str

    @property
    def there(self) -> bool:
        """Whether it is in what is checked out."""
        return self.old != _NOTHING

    @property
    def submodule(self) -> bool:
        """Whether it is one, or was: what is in its folder is its own."""
        return _SUBMODULE in {self.old, self.mode}


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
        yield _Entry(path, old, new)


def _brought(user: UserRefs, head: str, tree: str, changed: Sequence[_Entry]) -> Outcome:
    unseen, staged = _unseen(user), _staged(user, tree)

    def stands(entry: _Entry) -> bool:
        """Whether it is there: in the index alone, where the checkout shows no such file."""
        if entry.submodule or entry.path in unseen:
            return entry.path not in staged
        return _stands(user, tree, entry)

    written = [e for e in changed if not stands(e)]
    if not written:
        return InPlace()
    modified, leaving = _modified(user), {e.path for e in changed if e.mode == _NOTHING}
    if dirty := [
        e.path for e in written if e.path in modified or (not e.there and _lies(user.root, e.path, leaving))
    ]:
        return InTheWay("they have changes of yours that are not committed", tuple(dirty))
    arrived = [e.path for e in changed if e not in written and not e.submodule and e.path not in unseen]
    if begun := [path for path in arrived if path in modified or _untracked(user, path)]:
        user.in_checkout("update-index", "--add", "--remove", "-z", "--stdin", stdin=_listed(begun))
    with contextlib.suppress(GitFailed):  # it fails where files are modified, which others may be
        user.in_checkout("update-index", "-q", "--refresh")  # one that was rewritten as it was counts as modified
    try:
        user.in_checkout("read-tree", "-m", "-u", head, tree)
    except GitFailed as error:
        _take_back(user, tree, [e for e in written if not e.submodule and e.path not in unseen])
        return InTheWay(f"git could not write them ({error})", tuple(e.path for e in written))
    return Applied(tuple(e.path for e in changed))


def _take_back(user: UserRefs, tree: str, entries: Sequence[_Entry]) -> None:
    """Undo what git has written before it failed, of a full disk or a filter. No file of the user's stood there."""
    for entry in entries:
        if not entry.there and _written(user, tree, entry):
            (user.root / entry.path).unlink()
            _prune(user.root, (user.root / entry.path).parent)
    there = [e for e in entries if e.there]
    lost = [e.path for e in there if not os.path.lexists(user.root / e.path) or _written(user, tree, e)]
    rules = [path for path in lost if Path(path).name == ".gitattributes"]  # they say how the others are written
    for paths in filter(None, (rules, [path for path in lost if path not in rules])):
        user.in_checkout("checkout-index", "-f", "-u", "-z", "--stdin", stdin=_listed(paths))


def _written(user: UserRefs, tree: str, entry: _Entry) -> bool:
    try:
        return entry.mode != _NOTHING and _stands(user, tree, entry)
    except GitFailed:  # of a filter; so git has not written it either
        return False


def _prune(top: Path, folder: Path) -> None:
    """Remove folders that became empty, up to the checkout."""
    while folder != top and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


def _unseen(user: UserRefs) -> frozenset[str]:
    """Return the tracked files that the checkout leaves out, as a sparse one does."""
    rows = user.in_checkout("ls-files", "-t", "-z").split(b"\0")
    return frozenset(os.fsdecode(row[2:]) for row in rows if row.startswith(b"S "))


def _staged(user: UserRefs, tree: str) -> frozenset[str]:
    """Return the paths that the index does not have as the tree has them."""
    options = ("--cached", "--name-only", "-z", "--no-renames")
    rows = user.in_checkout("diff-index", *options, tree).split(b"\0")
    return frozenset(os.fsdecode(row) for row in rows if row)


def _modified(user: UserRefs) -> frozenset[str]:
    """Return the tracked files that differ from what is checked out, staged or not."""
    options = ("--porcelain", "-z", "--untracked-files=no", "--ignore-submodules=all", "--no-renames")
    return frozenset(os.fsdecode(row[3:]) for row in user.in_checkout("status", *options).split(b"\0") if row)


def _lies(root: Path, path: str, leaving: Collection[str]) -> bool:
    """Whether something that stays lies where a new file goes, or a file where one of its folders goes."""
    for parent in reversed(_above(path)):
        place = root / parent
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            return str(parent) not in leaving
    return os.path.lexists(root / path) and not _leaves(root, path, leaving)


def _above(path: str) -> Sequence[Path]:
    """Return the folders that a path of the checkout lies in, the nearest first."""
    return Path(path).parents[:-1]


def _leaves(root: Path, path: str, leaving: Collection[str]) -> bool:
    """Whether a folder holds nothing but files that the work removes."""
    place = root / path
    if place.is_symlink() or not place.is_dir():
        return False
    for folder, names, files in os.walk(place):
        links = [name for name in names if Path(folder, name).is_symlink()]
        if any(str(Path(folder, name).relative_to(root)) not in leaving for name in (*files, *links)):
            return False
    return True


def _untracked(user: UserRefs, path: str) -> bool:
    return not user.in_checkout("ls-files", "-z", "--", path) and os.path.lexists(user.root / path)


def _stands(user: UserRefs, tree: str, entry: _Entry) -> bool:
    """Whether the checkout has the path as the merged tree has it."""
    path = user.root / entry.path
    if any((user.root / parent).is_symlink() for parent in _above(entry.path)):
        return entry.mode == _NOTHING  # what is seen there is elsewhere
    if entry.mode == _NOTHING:
        return path.is_dir() or not os.path.lexists(path)
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
