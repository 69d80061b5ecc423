"""Judging a criterion by its command, in a clean checkout of one commit: the receipt says what was run and seen."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from claudetm.plan.model import Criterion
from claudetm.ports.agent import Progress
from claudetm.ports.commands import CommandRequest
from claudetm.redact import printable, redact
from claudetm.stages.context import Context
from claudetm.stages.worktree import furnish
from claudetm.workflow.events import CriterionChecked, RunBlocked
from claudetm.workflow.limits import Wait

_TIMEOUT: Final = 900.0  # seconds
_SHOWN: Final = 200  # characters


async def judge(ctx: Context, criterion: Criterion, commit: str) -> CriterionChecked | RunBlocked | Wait:
    """Judge a criterion at a commit, in a checkout of its own: what its command leaves there helps no other."""
    if setup := ctx.run.policy.setup:  # it can take minutes, and nothing else is told meanwhile
        text = f"set-up for {criterion.id} at {commit[:10]}: {'; '.join(setup)}; then {criterion.command}"
        ctx.progress(Progress("", " ".join(text.split())[:_SHOWN]))
    async with ctx.repository.checkout(commit) as tree:
        failure = await furnish(ctx, tree, f"criteria-{criterion.id}")
        receipt = None if failure else await _check(ctx, criterion, commit, tree)
    if failure and not ctx.stop.is_set():
        return RunBlocked(failure)
    return receipt or Wait(ctx.clock.now(), "stopped")


async def _check(ctx: Context, criterion: Criterion, commit: str, tree: Path) -> CriterionChecked | None:
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
        missing="" if result.ok else redact(printable(f"{result.how}\n{result.output[-2000:]}")).strip(),
    )
