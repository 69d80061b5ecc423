"""Branches of a run that are left on GitHub, and the one command that deletes them. Nothing is deleted here."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from claudetm.workflow.run import Run


def deletion(root: Path, run: Run, branches: Iterable[str]) -> str:
    """Return the command that deletes branches where the run has pushed them, called in `root`."""
    from claudetm.redact import redact

    return f"git push {shlex.quote(redact(_remote(root, run)))} --delete {shlex.join(branches)}"


def _remote(root: Path, run: Run) -> str:
    """Return the name of the remote that the run pushes to, or git's address of it where none has it."""
    from claudetm.adapters.forge.github.place import address, hosted_from_data
    from claudetm.adapters.git.git import Git, GitFailed

    push = hosted_from_data(run.hosted).push
    listed, there = "", address(push)
    with suppress(GitFailed, OSError):
        listed = Git(root / ".git").text("remote", "-v")
    rows = [line.split() for line in listed.splitlines() if line.endswith("(push)")]
    names = [row[0] for row in rows if there and (found := address(row[1])) and found.same(there)]
    return "origin" if "origin" in names else (*names, push)[0]


def perhaps_left(run: Run) -> list[str]:
    """Return the branches that the run has pushed and not deleted itself, as its journal tells."""
    if run.forge == "local":
        return []
    pushed = [c for c in run.changes.values() if c.number and c.number != run.adopts]
    return [c.branch for c in pushed if c.merged_by != "claudetm"]
