"""ready_to_merge: exactly what was tested is merged, or the pull request goes back to where it can be tested."""

from __future__ import annotations

from typing import assert_never

from claudetm.ports.forge import (
    BaseChanged,
    HeadChanged,
    MergeConflict,
    MergeDone,
    MergeQueuedUp,
    MergeRefused,
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


async def merge(
    ctx: Context, change: ChangeState
) -> PullRequestMerged | MergeQueued | BaseMoved | ConflictFound | ChangeBlocked | Wait:
    """Merge the change's head as it was tested with its base."""
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
        case MergeRefused(reason, next_step):
            return ChangeBlocked(change.id, reason, next_step)
        case _:
            assert_never(outcome)
