"""How a stage pushes: forward only; what a person has pushed there meanwhile is merged in, never overrun."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from claudetm.ports.repository import Conflicted, Merged, Pushed, PushRefused
from claudetm.stages.context import Context
from claudetm.workflow.events import ChangeBlocked
from claudetm.workflow.limits import Wait
from claudetm.workflow.run import ChangeState


@dataclass(frozen=True, slots=True)
class Stands:
    """The branch stands at `head`: the commit, or its merge with what a person had pushed."""

    head: str


async def push(ctx: Context, change: ChangeState, commit: str) -> Stands | ChangeBlocked | Wait:
    """Push a commit of a change's branch.

    Wait for the next look where theirs conflicts, which is taken while ours is redone; and where the branch of an
    open pull request was deleted, which closes it.
    """
    refused = await ctx.repository.push(change.branch, commit)
    match refused:
        case Pushed():
            return Stands(commit)
        case PushRefused(at, reason):
            tip = await _pushed_on(ctx, change, commit)
            if change.number and not at:
                return Wait(ctx.clock.now() + ctx.run.policy.poll_seconds, f"{change.branch} was deleted")
            if not tip:
                where = f" (it is at {at[:10]})" if at else ""
                return ChangeBlocked(change.id, f"{change.branch} could not be pushed{where}: {reason}")
            merged = await ctx.repository.merge(commit, tip, f"Merge what was pushed to {change.branch}")
        case _:
            assert_never(refused)
    match merged:
        case Merged(both):
            return await push(ctx, change, both)
        case Conflicted(paths):
            return await _clash(ctx, change, tip, ", ".join(paths[:10]))
        case _:
            assert_never(merged)


async def _pushed_on(ctx: Context, change: ChangeState, commit: str) -> str:
    """Return the branch's tip where somebody has pushed on top of our last push, or ""."""
    tip = await ctx.repository.branch_tip(change.branch)
    if not tip or await ctx.repository.contains(commit, tip):
        return ""
    return tip if any([await ctx.repository.contains(tip, ours) for ours in await _ours(ctx, change)]) else ""


async def _ours(ctx: Context, change: ChangeState) -> set[str]:
    """Return what our last push can have been: as recorded; the head; what the last task began with."""
    begun = [] if change.number else [t.from_commit for t in change.tasks.values()][-1:]
    return {await ctx.repository.last_push(change.branch), change.head, *begun} - {"", change.base}


async def _clash(ctx: Context, change: ChangeState, tip: str, paths: str) -> ChangeBlocked | Wait:
    if change.number:
        soon = ctx.clock.now() + ctx.run.policy.poll_seconds
        return Wait(soon, f"somebody pushed {tip[:10]}, which conflicts with the work in {paths}")
    begun = [t.from_commit for t in change.tasks.values()]
    pushed = await ctx.repository.last_push(change.branch) or begun[-1]
    return ChangeBlocked(
        change.id,
        f"{change.branch} could not be pushed: what was pushed there conflicts with the work in {paths}",
        f"bring {change.branch} back to {pushed[:10]}, then claudetm resume",
    )
