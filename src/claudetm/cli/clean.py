"""`claudetm clean`: put a run away. The record goes to history/; a commit that is nowhere else is never dropped.

A `start` only archives the record of the run before, so what is left of the runs in history/ goes as well.
Each step looks at what is there, and the journal leaves last: killed half-way, the same call ends the same.
"""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from claudetm.adapters.git.user_refs import Ref, UserRefs
    from claudetm.adapters.store.directory import StateDirectory
    from claudetm.errors import UsageError
    from claudetm.workflow.run import Run

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
"""What names a folder that is removed; whoever wrote a journal could have written anything there."""


def command(
    force: bool = typer.Option(False, "-f", "--force", help="Do not ask."),
) -> None:
    """Put the run away: its record goes to history/, its own repository and its merged branches are removed."""
    from claudetm.adapters.store.directory import TASKS
    from claudetm.adapters.store.lock import acquire
    from claudetm.cli.state import find

    state = find(foreign=True)
    if not (state.foreign or state.journal.exists() or state.history.is_dir()):
        raise _nothing(state)
    with acquire(state.lock):
        if state.foreign:
            what = "the state of another program (claude-task-master), which is not read"
            _put_away(state, "foreign", what, force, {"lock", "history", "config.json", TASKS})
        elif not state.journal.exists():
            _clean(state, None, force)
        elif (run := _readable(state)) is None:
            what = "a journal that cannot be read; the branches claudetm/… of its run are left as they are"
            _put_away(state, "damaged", what, force)
        else:
            _clean(state, run, force)


def _nothing(state: StateDirectory) -> UsageError:
    from claudetm.errors import UsageError

    return UsageError(f"There is nothing to clean in {state.root}: no run has left anything there")


def _put_away(state: StateDirectory, name: str, what: str, force: bool, kept: set[str] | None = None) -> None:
    """Move everything into history/ as it is."""
    from claudetm.adapters.store.directory import KEPT

    last = state.journal if state.journal.exists() else state.root / "state.json"
    target = next(t for n in range(1, sys.maxsize) if not ((t := state.history / f"{name}-{n}") / last.name).exists())
    _ask([f"{state.root} holds {what}.", f"  moved all of it, to {target}"], force)
    print(f"moved to {state.archive(target.name, frozenset(kept) if kept else KEPT)}")


def _clean(state: StateDirectory, run: Run | None, force: bool) -> None:
    from claudetm.adapters.git.user_repository import refuse_tracked
    from claudetm.adapters.store.directory import KEPT, NAME

    refuse_tracked(state.repository, NAME, state.config.name)
    left = _left_behind(state)
    if run is None and not left:
        raise _nothing(state)
    lines = [line for old in left for line in _planned(old, state, "is over, and its record is in history/")]
    if run is not None:
        lines += [
            *_planned(run, state, "is put away"),
            f"  kept {state.logs}, {state.history}",
            f"  moved the rest of its record, to {state.history / run.id}",
        ]
    _ask(lines, force)
    for one in [*left, *([run] if run is not None else [])]:
        _remove(one, state)
    if run is not None:
        state.keep_logs(run.id)
        print(f"moved its record to {state.archive(run.id, KEPT | {state.logs.name}, run)}")


def _planned(run: Run, state: StateDirectory, why: str) -> list[str]:
    """Return what the user is told before anything of a run is removed."""
    user, folder = _places(run, state)
    return [
        f"The run {run.id} ({run.phase}) {why}:",
        f"  removed {folder}",
        *(f"  {_fate(name, kept)}" for name, _, kept in _refs(run, user)),
        "  kept what its worktrees hold and nothing else does, below refs/claudetm/",
    ]


def _remove(run: Run, state: StateDirectory) -> None:
    """Remove a run's repository and those of its refs that hold nothing of their own, and say so."""
    from claudetm.adapters.git.removal import remove
    from claudetm.cli.branches import deletion, perhaps_left

    user, folder = _places(run, state)
    unkept = remove(run, folder, user, "claudetm clean")
    for name, ref, why in _refs(run, user):
        if not why:
            user.git.run("update-ref", "--no-deref", "-d", name, ref.commit)
        print(_fate(name, why))
    print(f"kept {folder}: {unkept}" if unkept else f"removed {folder}")
    if branches := perhaps_left(run):
        print(f"left on GitHub, where nobody has deleted it yet: {deletion(state.repository, run, branches)}")


def _places(run: Run, state: StateDirectory) -> tuple[UserRefs, Path]:
    """Return the user's repository, and the folder of the run's own."""
    from claudetm.adapters.git.user_refs import UserRefs
    from claudetm.adapters.git.user_repository import locate
    from claudetm.adapters.store.directory import run_folder

    user = UserRefs(*locate(state.repository), run.author)
    return user, run_folder(user.root, run.id)


def _left_behind(state: StateDirectory) -> list[Run]:
    """Return the runs in history/ of which something is left that can go; nobody can resume one of those."""
    from claudetm.adapters.git.removal import emptied
    from claudetm.adapters.store.directory import StateDirectory

    found = []
    for record in sorted(state.history.glob("*/journal.jsonl")):
        run = _readable(StateDirectory(record.parent))
        if run is None or run.id != record.parent.name:
            continue
        user, folder = _places(run, state)
        if any(map(os.path.lexists, (folder, emptied(folder)))) or any(not why for *_, why in _refs(run, user)):
            found.append(run)
    return found


def _fate(name: str, why: str) -> str:
    return f"kept {name}: {why}" if why else f"removed {name}"


def _ask(lines: list[str], force: bool) -> None:
    """Say what will happen and have it confirmed. Raises UsageError where nobody can, or wants to."""
    from claudetm.errors import UsageError
    from claudetm.redact import printable

    if force:
        return
    print("\n".join(map(printable, lines)), flush=True)
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError("Nothing was cleaned, as nobody is there to ask: `claudetm clean --force` does it")
    try:
        answer = input("Go on? [y/N] ")
    except EOFError:
        answer = ""
    if answer.strip().lower() not in {"y", "yes"}:
        raise UsageError("Nothing was cleaned; `claudetm clean` asks again")


def _readable(state: StateDirectory) -> Run | None:
    """Return the run, or None where the journal does not tell one that could be cleaned by its name."""
    from claudetm.cli.state import load
    from claudetm.errors import JournalError, UsageError

    try:
        run = load(state)
    except (JournalError, UsageError):
        return None
    return run if _RUN_ID.fullmatch(run.id) else None


def _refs(run: Run, user: UserRefs) -> list[tuple[str, Ref, str]]:
    """Return the run's refs, each with the reason for which it must stay, or ""."""
    found = user.list(f"refs/heads/claudetm/{run.id}/", f"refs/claudetm/{run.id}/")
    squashed = {f"refs/heads/{c.branch}": (c.head, c.merge_commit) for c in run.changes.values() if c.merge_commit}

    def why(name: str, ref: Ref) -> str:
        if ref.worktree:
            return f"it is checked out in {ref.worktree}"
        head, merge = squashed.get(name, ("", ""))
        if _elsewhere(ref.commit, user) or (ref.commit == head and _elsewhere(merge, user)):
            return ""
        return "it has commits that are nowhere else"

    return [(name, ref, why(name, ref)) for name, ref in found.items()]


def _elsewhere(commit: str, user: UserRefs) -> bool:
    """Whether a branch, a remote's branch or a tag that is not ours has the commit and all before it."""
    from claudetm.adapters.git.git import GitFailed

    others = ("--exclude=claudetm/*", "--branches", "--remotes", "--tags")
    try:
        return not user.git.text("rev-list", "--max-count=1", commit, "--not", *others)
    except GitFailed:
        return False  # it is not even there
