"""ready_to_merge: exactly what was tested is merged, or the pull request goes back to where it can be tested."""

from __future__ import annotations

from typing import Final, assert_never

from claudetm.ports.forge import (
    BaseChanged,
    HeadChanged,
    MergeConflict,
    MergeDone,
    MergeQueuedUp,
    MergeRefused,
    NotYet,
    Opposed,
)
from claudetm.stages.context import Context
from claudetm.workflow.events import (
    BaseMoved,
    ChangeBlocked,
    ConflictFound,
    MergeQueued,
    PullRequestMerged,
)
from claudetm.workflow.limits import Wait
from claudetm.workflow.run import ChangeState

_QUEUED_MOST: Final = 3
"""So often a head is put into the forge's merge queue: what comes out of it unmerged again and again never merges."""


async def merge(
    ctx: Context, change: ChangeState
) -> PullRequestMerged | MergeQueued | BaseMoved | ConflictFound | ChangeBlocked | Wait:
    """Merge the change's head as it was tested with its base. The last one of a run closes the issue it is for."""
    if change.queued >= _QUEUED_MOST:
        return ChangeBlocked(
            change.id,
            f"the forge put {change.branch} out of its merge queue {change.queued} times",
            f"look at {change.url}, then claudetm resume",
        )
    if ctx.run.issue and all(c.settled for c in ctx.run.changes.values() if c.id != change.id):
        await ctx.forge.closes(change.number, ctx.run.issue)
    outcome = await ctx.forge.merge(change.number, change.head, change.base, ctx.run.policy.merge_method)
    match outcome:
        case MergeDone(commit):
            return PullRequestMerged(change.id, commit, "claudetm")
        case MergeQueuedUp():
            return MergeQueued(change.id, change.head)
        case HeadChanged(head):
            # the next look tells a push from a forced one; where it does not show yet, there is time
            soon = ctx.clock.now() + ctx.run.policy.poll_seconds
            return Wait(soon, f"somebody pushed {head[:10]} just before the merge")
        case BaseChanged(base):
            return BaseMoved(change.id, base)
        case MergeConflict():
            return ConflictFound(change.id, change.head)
        case Opposed():
            return Wait(0.0, "somebody spoke up just before the merge")  # what they said is read at the next look
        case NotYet(reason):
            return Wait(ctx.clock.now() + ctx.run.policy.poll_seconds, reason)
        case MergeRefused(reason, next_step):
            return ChangeBlocked(change.id, reason, next_step)
        case _:
            assert_never(outcome)
