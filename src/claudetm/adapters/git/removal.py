"""Removing a run's own repository: what lies in it and nowhere else is kept first, under refs of the user's."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

from claudetm.adapters.agent.containment import sweep
from claudetm.adapters.git.clean_room import remove_tree
from claudetm.adapters.git.run_repository import RunRepository
from claudetm.adapters.git.user_refs import UserRefs
from claudetm.errors import ClaudetmError
from claudetm.workflow.run import Run


def remove(run: Run, folder: Path, user: UserRefs, why: str) -> str:
    """Remove the folder; return why it had to stay, or "". `why` is written upon the snapshots of what is kept.

    Killed half-way, the same call ends the same.
    """
    if folder.exists():
        try:
            asyncio.run(_keep(run, folder, user, why))
        except (ClaudetmError, OSError) as error:
            return f"its work could not be kept elsewhere ({str(error).rstrip('.')})"
        remove_tree(emptied(folder))
        folder.rename(emptied(folder))  # at once: what is half removed could not be looked through again
    remove_tree(emptied(folder))
    with suppress(OSError):
        folder.parent.rmdir()
    return ""


def emptied(folder: Path) -> Path:
    """Return where a run's folder lies while it is being removed."""
    return folder.with_name(f"{folder.name}.removed")


async def _keep(run: Run, folder: Path, user: UserRefs, why: str) -> None:
    """Keep what lies in the run's worktrees and nowhere else, under a ref of the user's repository."""
    repository = RunRepository(folder, user, run.id, run.base, run.policy.copy)
    await sweep(run.id)  # an agent that outlived its driver would write on
    for change in run.changes:
        if await repository.worktree(change) is not None:
            await repository.snapshot(change, why)
