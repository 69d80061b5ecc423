"""A change's worktree, ready for a session: set up once, at the recorded head or on the way from it."""

from __future__ import annotations

from pathlib import Path

from claudetm.errors import RepositoryError
from claudetm.ports.commands import CommandRequest
from claudetm.ports.repository import WorktreeState
from claudetm.stages.context import Context
from claudetm.workflow import events as e
from claudetm.workflow.run import ChangeState


async def prepare(ctx: Context, change: ChangeState) -> Path:
    """Return the worktree. What a session that died left there stays; what the forge has meanwhile replaces it.

    Raises RepositoryError when it cannot be set up.
    """
    path = await ctx.repository.open_worktree(change.id, change.branch, change.head)
    if reason := await _unusable(ctx, change):
        await _replace(ctx, change, reason)
    if (failure := await set_up(ctx, path, change.id)) and not ctx.stop.is_set():
        raise RepositoryError(failure)
    return path


async def _unusable(ctx: Context, change: ChangeState) -> str:
    """Return why a session cannot go on in the worktree (bent, or off the way from the recorded head), or ""."""
    try:
        head = await ctx.repository.adopt(change.id)
    except RepositoryError as error:
        return str(error)
    on_the_way = await ctx.repository.contains(head, change.head)
    return "" if on_the_way else "the branch moved on without the worktree"


async def _replace(ctx: Context, change: ChangeState, reason: str) -> None:
    """Put a fresh worktree in its place, unless what lies there cannot be kept: a session has to mend that."""
    try:
        await keep(ctx, change, reason)
    except RepositoryError:
        return
    await ctx.repository.reset_worktree(change.id, change.branch, change.head)


async def keep(ctx: Context, change: ChangeState, why: str) -> None:
    """Keep what lies in the worktree under a ref, before a step that could lose it."""
    if snapshot := await ctx.repository.snapshot(change.id, why):
        await ctx.record(e.SnapshotTaken(change.id, snapshot.ref, snapshot.commit, why))


async def set_up(ctx: Context, path: Path, change: str) -> str:
    """Run the set-up commands in a change's worktree, unless they succeeded there; return "" or what failed.

    Commands that were set since run there, too: a session works in what is tested.
    """
    by = "\n".join(ctx.run.policy.setup)
    if await ctx.repository.is_set_up(change, by):
        return ""
    failure = await furnish(ctx, path, change)
    if not failure:
        await ctx.repository.mark_set_up(change, by)
    return failure


async def furnish(ctx: Context, path: Path, name: str) -> str:
    """Run the set-up commands in a folder; return "" or what failed. `name` is for their logs."""
    for n, command in enumerate(ctx.run.policy.setup, start=1):
        log = ctx.logs / "setup" / f"{name}-{n}.txt"
        result = await ctx.commands.run(CommandRequest(command, path, log=log), ctx.stop)
        if not result.ok:
            return f"the set-up command `{command}` failed ({result.how}); see {log}"
    return ""


async def tidy(ctx: Context, change: ChangeState) -> WorktreeState:
    """Return the worktree's state with untracked leftovers kept under a ref and removed."""
    state = await ctx.repository.state(change.id)
    if state.untracked and not state.modified and not state.refused:
        await keep(ctx, change, "files left behind by a session")
        await ctx.repository.remove_untracked(change.id)
        state = await ctx.repository.state(change.id)
    return state
