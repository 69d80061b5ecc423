"""Git on a bare repository, as a forge runs it: objects are written, refs are moved, nothing is checked out."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

NOTHING = "0" * 40
_HUNK = re.compile(r"^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")


class GitFailedError(Exception):
    """Git ended with an error, which is its message."""


@dataclass(frozen=True)
class Person:
    """Who git says wrote a commit."""

    name: str
    email: str


@dataclass(frozen=True)
class Commit:
    """A commit as git holds it."""

    sha: str
    tree: str
    parents: tuple[str, ...]
    author: Person
    authored_at: str
    committer: Person
    committed_at: str
    message: str
    signed: bool


@dataclass(frozen=True)
class ChangedFile:
    """A file of a diff; `patch` is what stands below its header."""

    path: str
    previous: str
    status: str  # added, removed, modified, renamed
    additions: int
    deletions: int
    patch: str
    blob: str


def environment(by: Person | None = None) -> dict[str, str]:
    """Git without this machine's settings; commits are by `by`."""
    by = by or Person("GitHub", "noreply@github.com")
    return {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C.UTF-8",
        "GIT_AUTHOR_NAME": by.name,
        "GIT_AUTHOR_EMAIL": by.email,
        "GIT_COMMITTER_NAME": by.name,
        "GIT_COMMITTER_EMAIL": by.email,
    }


def run(
    folder: Path, *arguments: str, by: Person | None = None, stdin: bytes = b"", **more: str
) -> subprocess.CompletedProcess[bytes]:
    """Run git there and return how it ended; `more` are variables of its environment."""
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, env=environment(by) | more, check=False)


def git(folder: Path, *arguments: str, by: Person | None = None, stdin: bytes = b"", **more: str) -> str:
    """Return what git printed, stripped; raise GitFailedError when it failed."""
    done = run(folder, *arguments, by=by, stdin=stdin, **more)
    if done.returncode:
        raise GitFailedError(f"git {' '.join(arguments)}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode(errors="replace").strip()


def tip(folder: Path, branch: str) -> str:
    """Return the branch's commit, or "" where there is none. Read from git's files: it is asked all the time."""
    ref = f"refs/heads/{branch}"
    if (loose := folder / ref).is_file():
        return loose.read_text().strip()
    packed = folder / "packed-refs"
    lines = packed.read_text().splitlines() if packed.is_file() else []
    return next((line.split(" ")[0] for line in lines if line.endswith(f" {ref}")), "")


def resolve(folder: Path, name: str, kind: str = "commit") -> str:
    """Return the commit, or the tree, of that name, or ""."""
    name = name if ":" in name else f"{name}^{{{kind}}}"
    done = run(folder, "rev-parse", "--verify", "--quiet", name)
    return done.stdout.decode().strip()


def branches(folder: Path) -> dict[str, str]:
    """Return branches and their commits, by name."""
    listed = git(folder, "for-each-ref", "--format=%(objectname) %(refname:lstrip=2)", "refs/heads")
    return {name: sha for sha, name in (line.split(" ", 1) for line in listed.splitlines())}


def move(folder: Path, ref: str, new: str, old: str = "") -> None:
    """Point the ref to `new`, where it stands at `old` ("" = wherever)."""
    git(folder, "update-ref", ref, new, *([old] if old else []))


def remove(folder: Path, ref: str) -> None:
    """Delete the ref."""
    git(folder, "update-ref", "-d", ref)


@lru_cache(maxsize=4096)
def contains(folder: Path, commit: str, ancestor: str) -> bool:
    """Whether `commit` has `ancestor` in its history."""
    return run(folder, "merge-base", "--is-ancestor", ancestor, commit).returncode == 0


@lru_cache(maxsize=4096)
def merge_base(folder: Path, one: str, other: str) -> str:
    """Return their newest common commit, or "" for histories that share none."""
    return run(folder, "merge-base", one, other).stdout.decode().strip()


def between(folder: Path, base: str, head: str) -> list[str]:
    """Return what `head` has and `base` lacks, oldest first."""
    return git(folder, "rev-list", "--reverse", "--topo-order", f"{base}..{head}").split()


@lru_cache(maxsize=4096)
def merged_tree(folder: Path, ours: str, theirs: str) -> str:
    """Return the tree of both merged, or "" where they conflict."""
    done = run(folder, "merge-tree", "--write-tree", ours, theirs)
    return done.stdout.decode().split("\n", 1)[0] if done.returncode == 0 else ""


@lru_cache(maxsize=4096)
def tree_of(folder: Path, commit: str) -> str:
    """Return the commit's tree."""
    return git(folder, "rev-parse", f"{commit}^{{tree}}")


def write_commit(
    folder: Path, tree: str, parents: Sequence[str], message: str, by: Person | None = None, **more: str
) -> str:
    """Return a new commit of that tree."""
    flags = [flag for parent in parents for flag in ("-p", parent)]
    return git(folder, "commit-tree", tree, *flags, stdin=message.encode(), by=by, **more)


def replay(folder: Path, commits: Sequence[str], onto: str) -> str:
    """Return the tip of the commits applied one after another on `onto`, or "" at the first conflict."""
    for commit in commits:
        known = read_commit(folder, commit)
        if len(known.parents) != 1:
            continue
        # Git 2.39 has no --merge-base: a commit of our tree on the commit's parent makes that parent the base.
        stand_in = write_commit(folder, tree_of(folder, onto), [known.parents[0]], "stand-in")
        tree = merged_tree(folder, stand_in, commit)
        if not tree:
            return ""
        onto = write_commit(
            folder,
            tree,
            [onto],
            known.message,
            None,
            GIT_AUTHOR_DATE=known.authored_at,
            GIT_AUTHOR_NAME=known.author.name,
            GIT_AUTHOR_EMAIL=known.author.email,
        )
    return onto


@lru_cache(maxsize=4096)
def read_commit(folder: Path, sha: str) -> Commit:
    """Return what git knows of the commit."""
    head, _, message = run(folder, "cat-file", "commit", sha).stdout.decode(errors="replace").partition("\n\n")
    if not head:
        raise GitFailedError(f"no commit {sha}")
    told: dict[str, str] = {}
    parents = []
    for line in head.splitlines():
        key, _, value = line.partition(" ")
        if key == "parent":
            parents.append(value)
        else:
            told.setdefault(key, value)
    author, authored = _person(told["author"])
    committer, committed = _person(told["committer"])
    return Commit(
        sha,
        told["tree"],
        tuple(parents),
        author,
        authored,
        committer,
        committed,
        message.rstrip("\n"),
        "gpgsig" in told,
    )


def _person(line: str) -> tuple[Person, str]:
    from datetime import UTC, datetime

    found = re.fullmatch(r"(.*?) ?<(.*?)> (\d+) [+-]\d{4}", line)
    assert found is not None, line
    at = datetime.fromtimestamp(int(found[3]), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Person(found[1], found[2]), at


@lru_cache(maxsize=1024)
def changed_files(folder: Path, base: str, head: str) -> tuple[ChangedFile, ...]:
    """Return the files between two commits, each with its patch of three lines of context."""
    listed = git(folder, "diff", "--raw", "-z", "-M", "--no-abbrev", base, head).split("\0")
    found, words = [], iter(listed)
    for word in words:
        if not word:
            continue
        _, _, _, blob, letter = word.split(" ")
        path = next(words)
        previous = path if letter[0] in "RC" else ""
        path = next(words) if previous else path
        kind = {"A": "added", "D": "removed", "R": "renamed", "C": "copied"}.get(letter[0], "modified")
        patch = _patch(folder, base, head, [p for p in (previous, path) if p])
        plus = sum(line.startswith("+") for line in patch.splitlines())
        minus = sum(line.startswith("-") for line in patch.splitlines())
        found.append(ChangedFile(path, previous, kind, plus, minus, patch, blob))
    return tuple(found)


def _patch(folder: Path, base: str, head: str, paths: Sequence[str]) -> str:
    whole = git(folder, "diff", "-M", "-U3", base, head, "--", *paths)
    start = whole.find("\n@@ ")
    return "" if start < 0 else whole[start + 1 :]


def hunk_at(patch: str, side: str, line: int) -> str:
    """Return the part of the patch that ends in that line of the side ("LEFT", "RIGHT"), or "" where it has none."""
    shown: list[str] = []
    left = right = 0
    for text in patch.splitlines():
        if start := _HUNK.match(text):
            shown, left, right = [text], int(start[1]), int(start[3])
            continue
        shown.append(text)
        on_left, on_right = not text.startswith("+"), not text.startswith("-")
        if text.startswith("\\"):
            continue
        if (side == "LEFT" and on_left and left == line) or (side == "RIGHT" and on_right and right == line):
            return "\n".join(shown)
        left, right = left + on_left, right + on_right
    return ""


def line_after(folder: Path, old: str, new: str, path: str, line: int) -> int | None:
    """Return where a line of `old` stands in `new`; None where it was changed or is gone."""
    if run(folder, "cat-file", "-e", f"{new}:{path}").returncode:
        return None
    shift = 0
    for text in git(folder, "diff", "-U0", old, new, "--", path).splitlines():
        if not (found := _HUNK.match(text)):
            continue
        start, gone = int(found[1]), int(found[2] or "1")
        came = int(found[4] or "1")
        if gone and start <= line < start + gone:
            return None
        if (start + gone <= line) if gone else (start < line):
            shift += came - gone
    return line + shift
