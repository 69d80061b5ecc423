"""What every brief has in common, read off the run."""

from __future__ import annotations

from typing import TypedDict

from claudetm.stages.context import Context
from claudetm.workflow.run import Material


class Common(TypedDict):
    """The fields that each brief begins with."""

    goal: str
    subject: str
    cwd: str
    run: str
    learnings: tuple[str, ...]
    material: tuple[Material, ...]


def common(ctx: Context, subject: str, cwd: str) -> Common:
    """Return them for one session."""
    run = ctx.run
    return Common(
        goal=run.goal, subject=subject, cwd=cwd, run=run.id, learnings=tuple(run.learnings), material=run.material
    )
