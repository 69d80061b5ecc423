"""Where a job is worked: a repository below the folders that its monitor may work in, and no other."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from claudetm.adapters.store.directory import NAME, StateDirectory
from claudetm.errors import RepositoryError, UsageError
from claudetm.ports.source import Job


def below(*roots: Path) -> Callable[[Job], Path]:
    """Return what says where a job's repository is: its path is relative to the first root, and in one of them.

    Raises UsageError for a path that leads elsewhere, RepositoryError where there is no repository.
    """
    allowed = [root.resolve() for root in roots]
    return lambda job: _found(job, allowed)


def _found(job: Job, allowed: Sequence[Path]) -> Path:
    if "\0" in job.repository:
        raise UsageError("The repository of the task holds a NUL character; leave it out")
    named = allowed[0] / Path(job.repository)
    try:
        path = named.resolve()
        there = path.is_dir()
    except (OSError, RuntimeError):  # too long, or a loop of links
        path, there = named, False
    if not any(path.is_relative_to(root) for root in allowed):
        raise UsageError(
            f"The repository of the task, {job.repository}, lies outside of {allowed[0]}; run a monitor there"
        )
    if not there:
        raise UsageError(f"The repository of the task, {job.repository}, is not a folder in {allowed[0]}; correct it")
    for folder in (path, *path.parents):
        if os.path.lexists(folder / ".git"):
            return folder
    raise RepositoryError(f"{path} is not in a git repository: run git init there, or go to one.")


def state_of(repository: Path, job: str) -> StateDirectory:
    """Return the state directory of a job's run."""
    return StateDirectory(repository / NAME).of_task(job)
