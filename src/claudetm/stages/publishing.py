"""publishing: the branch is pushed and the pull request opened; both are looked up before they are done."""

from __future__ import annotations

from typing import Final

from claudetm.ports.forge import NewPullRequest
from claudetm.stages.context import Context
from claudetm.stages.description import description, harmless, template_among
from claudetm.stages.pushing import Stands, push
from claudetm.workflow.events import ChangeBlocked, PullRequestOpened
from claudetm.workflow.limits import Wait
from claudetm.workflow.run import ChangeState


async def publish(ctx: Context, change: ChangeState) -> PullRequestOpened | ChangeBlocked | Wait:
    """Push the change's head and open its pull request."""
    head, found = change.head, await ctx.forge.find(change.branch)
    if found is None:
        pushed = await push(ctx, change, change.head)
        if not isinstance(pushed, Stands):
            return pushed
        head = pushed.head
        title = harmless(change.plan.title)  # it becomes a part of the merge's message
        about = await _description(ctx, change)
        found = await ctx.forge.open(NewPullRequest(change.id, change.branch, head, title, about))
    return PullRequestOpened(change.id, found.number, head, found.url)


async def _description(ctx: Context, change: ChangeState) -> str:
    """Return what the pull request says of itself, in the repository's own form where people read it elsewhere."""
    if not ctx.run.hosted:
        return description(ctx.run, change)
    path = template_among(await ctx.repository.list_files(change.base))
    template = await ctx.repository.read_file(change.base, path) if path else None
    return description(ctx.run, change, (template or "")[:_LARGEST])


_LARGEST: Final = 1 << 15  # characters of a template
