"""publishing: the branch is pushed and the pull request opened; both are looked up before they are done."""

from __future__ import annotations

from claudetm.ports.forge import NewPullRequest
from claudetm.stages.context import Context
from claudetm.stages.pushing import Stands, push
from claudetm.workflow.events import ChangeBlocked, PullRequestOpened
from claudetm.workflow.limits import Wait
from claudetm.workflow.run import ChangeState, Run


async def publish(ctx: Context, change: ChangeState) -> PullRequestOpened | ChangeBlocked | Wait:
    """Push the change's head and open its pull request."""
    head, found = change.head, await ctx.forge.find(change.branch)
    if found is None:
        pushed = await push(ctx, change, change.head)
        if not isinstance(pushed, Stands):
            return pushed
        head = pushed.head
        found = await ctx.forge.open(
            NewPullRequest(change.id, change.branch, head, change.plan.title, body(ctx.run, change))
        )
    return PullRequestOpened(change.id, found.number, head, found.url)


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
