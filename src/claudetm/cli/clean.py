"""`claudetm clean`: put a run away. The record goes to history/; a commit that is nowhere else is never dropped."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from claudetm.adapters.git.user_refs import UserRefs
    from claudetm.adapters.store.directory import StateDirectory
    from claudetm.workflow.run import Run


def command(
    force: bool = typer.Option(False, "-f", "--force", help="Do not ask."),
) -> None:
    """Put the run away: its record goes to history/, its own repository and its merged branches are removed."""
    from claudetm.adapters.store.lock import acquire
    from claudetm.cli.state import find
    from claudetm.errors import UsageError

    state = find()
    if not state.foreign and not state.journal.exists():
        raise UsageError(f"There is nothing to clean in {state.root}: no run has left anything there")
    with acquire(state.lock):
        if state.foreign:
            _ask(f"{state.root} holds the state of another program; all of it is moved to {state.history}.", force)
            print(f"moved to {state.archive(_foreign_name(state), frozenset({'lock', 'history'}))}")
            return
        run = _readable(state)
        if run is None:
            _ask(f"The journal cannot be read; {state.root} is moved to {state.history} as it is.", force)
            print(f"moved to {state.archive(_foreign_name(state))}")
            return
        _clean(state, run, force)


def _clean(state: StateDirectory, run: Run, force: bool) -> None:
    from claudetm.adapters.git.clean_room import remove_tree
    from claudetm.adapters.git.user_refs import UserRefs
    from claudetm.adapters.git.user_repository import locate
    from claudetm.bootstrap.opening import run_folder

    user = UserRefs(*locate(state.root.parent), run.author)
    folder = run_folder(user.root, run.id)
    _ask(
        f"The run {run.id} ({run.phase}) is moved to {state.history / run.id}; {folder} and the branches"
        f" claudetm/{run.id}/… that are merged are removed. Work that is nowhere else is kept under refs/claudetm/.",
        force,
    )
    if folder.exists():
        _keep_work(run, folder, user)
    for line in _remove_merged(run, user):
        print(line)
    remove_tree(folder)
    print(f"removed {folder}")
    print(f"moved to {state.archive(run.id)}")


def _ask(sentence: str, force: bool) -> None:
    """Say what will happen and have it confirmed. Raises UsageError where nobody can, or wants to."""
    from claudetm.errors import UsageError

    if force:
        return
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError(f"{sentence} Nobody is there to ask: `claudetm clean --force` does it")
    print(sentence)
    if input("Go on? [y/N] ").strip().lower() not in {"y", "yes"}:
        raise UsageError("Nothing was cleaned; `claudetm clean` asks again")


def _readable(state: StateDirectory) -> Run | None:
    from claudetm.cli.state import load
    from claudetm.errors import JournalError

    try:
        return load(state)
    except JournalError:
        return None


def _foreign_name(state: StateDirectory) -> str:
    """Return a name in history/ that is not taken."""
    taken = {p.name for p in state.history.iterdir()} if state.history.is_dir() else set()
    return next(name for n in range(len(taken) + 1) if (name := f"foreign-{n + 1}") not in taken)


def _keep_work(run: Run, folder: Path, user: UserRefs) -> None:
    """Keep what lies in the run's worktrees and nowhere else, under a ref of the user's repository."""
    import asyncio

    from claudetm.adapters.git.run_repository import RunRepository

    repository = RunRepository(folder, user, run.id, run.base, run.policy.copy)

    async def keep() -> None:
        for change in run.changes:
            if await repository.worktree(change) is not None:
                await repository.snapshot(change, "claudetm clean")

    asyncio.run(keep())


def _remove_merged(run: Run, user: UserRefs) -> list[str]:
    """Remove the run's refs whose commits a ref that is not ours has too; return a line for each ref."""
    lines = []
    for name, ref in user.list(f"refs/heads/claudetm/{run.id}/", f"refs/claudetm/{run.id}/").items():
        others = ("--exclude=claudetm/*", "--branches", "--remotes", "--tags")
        if user.git.text("rev-list", "--max-count=1", ref.commit, "--not", *others):
            lines.append(f"kept {name}: it has commits that are nowhere else")
        elif ref.worktree:
            lines.append(f"kept {name}: it is checked out in {ref.worktree}")
        else:
            user.git.run("update-ref", "--no-deref", "-d", name, ref.commit)
            lines.append(f"removed {name}")
    return lines
