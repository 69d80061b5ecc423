"""publishing: the branch is pushed and the pull request opened; both are looked up before they are done."""

from __future__ import annotations

from typing import Final

from claudetm.errors import RepositoryError
from claudetm.ports.forge import NewPullRequest
from claudetm.stages.context import Context
from claudetm.stages.description import description, harmless, template_among
from claudetm.stages.pushing import Stands, push
from claudetm.workflow.events import ChangeBlocked, PullRequestOpened
from claudetm.workflow.limits import Wait
from claudetm.workflow.pull_request import PullRequest, PullRequestState
from claudetm.workflow.run import ChangeState


async def publish(ctx: Context, change: ChangeState) -> PullRequestOpened | ChangeBlocked | Wait:
    """Push the change's head and open its pull request, unless somebody has opened or closed one."""
    found = await ctx.forge.find(change.branch)
    if found and await _over(ctx, change, found):
        return PullRequestOpened(change.id, found.number, await _last_task(ctx, change, found), found.url)
    if found and found.state is PullRequestState.MERGED:
        await ctx.repository.forget_push(change.branch)  # a branch that went with the merge is no veto
    pushed = await push(ctx, change, change.head)
    if not isinstance(pushed, Stands):
        return pushed
    if found is None or found.state is not PullRequestState.OPEN:
        title = harmless(change.plan.title)  # it becomes a part of the merge's message
        about = await _description(ctx, change)
        found = await ctx.forge.open(NewPullRequest(change.id, change.branch, pushed.head, title, about))
    return PullRequestOpened(change.id, found.number, pushed.head, found.url)


async def _over(ctx: Context, change: ChangeState, found: PullRequest) -> bool:
    """Whether a pull request says what becomes of the change: it was closed, or merged with all of the work.

    Tasks are pushed as they finish, so a person may have opened and merged one before the last.
    """
    if found.state is not PullRequestState.MERGED:
        return found.state is PullRequestState.CLOSED
    await ctx.repository.branch_tip(change.branch)  # brings what somebody has pushed there
    try:
        return await ctx.repository.contains(found.head, change.head)
    except RepositoryError:  # it was merged with that, and the branch is gone
        pushed = await ctx.repository.last_push(change.branch)
        return bool(pushed) and await ctx.repository.contains(pushed, change.head)


async def _last_task(ctx: Context, change: ChangeState, found: PullRequest) -> str:
    """Return the head that is over; that of one which was closed has all of the work, should it be opened again."""
    if found.state is PullRequestState.CLOSED and await ctx.repository.branch_tip(change.branch):
        pushed = await push(ctx, change, change.head)
        return pushed.head if isinstance(pushed, Stands) else change.head
    return change.head


async def _description(ctx: Context, change: ChangeState) -> str:
    """Return what the pull request says of itself, in the repository's own form where people read it elsewhere."""
    if not ctx.run.hosted:
        return description(ctx.run, change)
    path = template_among(await ctx.repository.list_files(change.base))
    template = await ctx.repository.read_file(change.base, path) if path else None
    return description(ctx.run, change, (template or "")[:_LARGEST])


_LARGEST: Final = 1 << 15  # characters of a template
