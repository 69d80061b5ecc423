"""publishing: the branch is pushed and the pull request opened; both are looked up before they are done."""

from __future__ import annotations

from claudetm.ports.forge import NewPullRequest
from claudetm.ports.repository import Pushed, PushRefused
from claudetm.stages.context import Context
from claudetm.workflow.events import ChangeBlocked, PullRequestOpened
from claudetm.workflow.limits import Wait
from claudetm.workflow.run import ChangeState, Run


async def publish(ctx: Context, change: ChangeState) -> PullRequestOpened | ChangeBlocked | Wait:
    """Push the change's head and open its pull request."""
    found = await ctx.forge.find(change.branch)
    if found is None:
        match await ctx.repository.push(change.branch, change.head):
            case Pushed():
                pass
            case PushRefused(at, reason):
                return ChangeBlocked(change.id, f"{change.branch} could not be pushed (it is at {at[:10]}): {reason}")
        found = await ctx.forge.open(
            NewPullRequest(change.id, change.branch, change.head, change.plan.title, body(ctx.run, change))
        )
    return PullRequestOpened(change.id, found.number, change.head, found.url)


def body(run: Run, change: ChangeState) -> str:
    """Return the pull request's description: why, what, and how it was tested."""
    lines = [change.plan.why or run.goal, "", "## What", ""]
    for task in change.plan.tasks:
        state = change.tasks.get(task.id)
        note = "already true" if state and state.skipped else (state.summary if state else "")
        lines.append(f"- {task.title}" + (f": {note}" if note else ""))
    if any(task.check for task in change.plan.tasks):
        lines += ["", "## How it was tested", ""]
        lines += [f"- `{task.check}`" for task in change.plan.tasks if task.check]
    if run.plan.criteria:
        lines += ["", "## Part of", "", run.goal, ""]
        lines += [f"- {criterion.text}" for criterion in run.plan.criteria]
    return "\n".join(lines)
