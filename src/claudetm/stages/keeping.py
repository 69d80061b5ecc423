"""keeping: a session's work goes to the user's repository, as a snapshot or onto a branch of its own, and no further.

Each step is looked up before it is made; a branch that holds anything else is left alone.
"""

from __future__ import annotations

from typing import assert_never

from claudetm.ports.repository import Pushed, PushRefused
from claudetm.stages.context import Context
from claudetm.stages.single import set_aside
from claudetm.workflow.events import ChangeBlocked, ChangeKept
from claudetm.workflow.limits import Wait
from claudetm.workflow.run import ChangeState, Kept, Run


async def keep_work(ctx: Context, change: ChangeState) -> ChangeKept | ChangeBlocked | Wait:
    """Keep what differs from where the work began; nothing, where nothing does."""
    branch, head = ctx.run.keep.branch, change.head
    if not await ctx.repository.changed_paths(change.base, head):
        return ChangeKept(change.id, "", change.base)
    if not branch:
        kept = await ctx.repository.keep(change.id, head)
        return ChangeKept(change.id, kept.ref, kept.commit)
    if refused := _refused(change, branch, "kept", await ctx.repository.keep_branch(branch, head)):
        await set_aside(ctx, change, f"{branch} did not take it")
        return refused
    pushes = bool(ctx.run.keep.remote)
    if pushes and (refused := _refused(change, branch, "pushed", await ctx.repository.push(branch, head))):
        return refused
    return ChangeKept(change.id, f"refs/heads/{branch}", head, branch, pushed=pushes)


def _refused(change: ChangeState, branch: str, what: str, outcome: Pushed | PushRefused) -> ChangeBlocked | None:
    match outcome:
        case Pushed():
            return None
        case PushRefused(at, reason, remedy):
            where = f" (it is at {at[:10]})" if at else ""
            there = " at the remote" if what == "pushed" else ""
            away = f"rename or delete {branch}{there}" if at else "see to that"
            return ChangeBlocked(
                change.id,
                f"the work could not be {what} on {branch}{where}: {reason}",
                f"{remedy or away}, then claudetm resume",
            )
        case _:
            assert_never(outcome)


def told(run: Run) -> tuple[str, str]:
    """Return where a session's work is, in a clause, and the command that shows it, or ""."""
    scored = f", scored {run.audit.score} of 100" if run.audit is not None and run.audit.passed else ", not audited"
    assert run.kept is not None  # noqa: S101 - nothing is verified of work that was dropped
    match run.kept:
        case Kept(ref=""):
            return f"nothing was changed{scored}", ""
        case Kept(ref=ref, branch=""):
            return f"the work is kept as {ref}{scored}", f"git diff {run.base[:10]} {ref}"
        case Kept(branch=branch, pushed=pushed):
            where = f"the work is kept on {branch}{' and pushed' if pushed else ''}"
            return f"{where}{scored}", f"git diff {run.base[:10]} {branch}"
