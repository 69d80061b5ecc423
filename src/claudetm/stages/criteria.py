"""Judging a criterion by its command, in a clean checkout of one commit: the receipt says what was run and seen."""

from __future__ import annotations

from pathlib import Path

from claudetm.plan.model import Criterion
from claudetm.ports.commands import CommandRequest
from claudetm.stages.context import Context
from claudetm.workflow.events import CriterionChecked

_TIMEOUT = 900.0  # seconds


async def check(ctx: Context, criterion: Criterion, commit: str, tree: Path) -> CriterionChecked | None:
    """Run the criterion's command in `tree`; None when it was interrupted. The log stands below logs/criteria."""
    log = ctx.logs / "criteria" / f"{criterion.id}-{commit[:12]}.txt"
    result = await ctx.commands.run(CommandRequest(criterion.command, tree, _TIMEOUT, log), ctx.stop)
    if result.stopped:
        return None
    return CriterionChecked(
        criterion.id,
        "holds" if result.ok else "fails",
        commit,
        criterion.command,
        result.exit_code,
        result.sha256,
        str(log.relative_to(ctx.logs.parent)),
        missing="" if result.ok else result.output[-2000:],
    )
