"""updating_branch: the base, and what a person pushed, come into the branch; the updater only on a conflict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_never

from claudetm.ports.agent import Role
from claudetm.ports.repository import Conflicted, Merged, Pushed, PushRefused
from claudetm.prompts.answers import Answer, UpdaterAnswer
from claudetm.prompts.briefs import UpdaterBrief
from claudetm.stages.brief import common
from claudetm.stages.context import Context
from claudetm.stages.session import Seat, converse
from claudetm.stages.worktree import prepare, tidy
from claudetm.workflow.events import BranchUpdated, ChangeBlocked
from claudetm.workflow.limits import Blocked, Wait
from claudetm.workflow.run import ChangeState


async def update(ctx: Context, change: ChangeState) -> BranchUpdated | ChangeBlocked | Wait:
    """Merge the base into the branch, never the other way round and never by force."""
    if change.updates >= ctx.run.policy.updates:
        return ChangeBlocked(change.id, f"the base moved {change.updates} times while this was being tested")
    base = await ctx.forge.base()
    head = await ctx.repository.branch_tip(change.branch) or change.head
    merged = await ctx.repository.merge(head, base, f"Merge the base into {change.branch}")
    match merged:
        case Merged(commit):
            return await _push(ctx, change, commit, base)
        case Conflicted(paths):
            return await _resolve(ctx, change, base, paths)
        case _:
            assert_never(merged)


async def _push(ctx: Context, change: ChangeState, commit: str, base: str) -> BranchUpdated | ChangeBlocked:
    match await ctx.repository.push(change.branch, commit):
        case Pushed():
            return BranchUpdated(change.id, commit, base)
        case PushRefused(at, reason):
            return ChangeBlocked(change.id, f"{change.branch} could not be pushed (it is at {at[:10]}): {reason}")


async def _resolve(
    ctx: Context, change: ChangeState, base: str, paths: tuple[str, ...]
) -> BranchUpdated | ChangeBlocked | Wait:
    """Have the conflict resolved in a worktree that has both sides; both must be in what comes back."""
    path = await prepare(ctx, change)
    subject = f"{change.id}:update"
    await ctx.repository.bring(change.id, base)

    async def objection(answer: Mapping[str, Any]) -> str:
        return await _shortfall(ctx, change, base) if answer.get("outcome") == "resolved" else ""

    async def proof(answer: Answer) -> str:
        assert isinstance(answer, UpdaterAnswer)  # noqa: S101 - the role decides the answer's form
        if answer.outcome != "resolved":
            return ""
        await tidy(ctx, change)
        return await _shortfall(ctx, change, base) or await _lost(ctx, change, base, answer, paths)

    merged = [c.plan for c in ctx.run.changes.values() if c.merge_commit]
    brief = UpdaterBrief(
        **common(ctx, subject, str(path)),
        change=change.plan,
        theirs="\n".join(f"{c.title}: {c.why}" for c in merged),
        conflicted=paths,
        base=base,
        head=change.head,
    )
    seat = Seat(Role.UPDATER, subject, path, change.id, objection=objection, proof=proof)
    result = await converse(ctx, seat, brief)
    match result:
        case Wait():
            return result
        case Blocked(reason, next_step):
            return ChangeBlocked(change.id, reason, next_step)
        case _:
            assert isinstance(result.answer, UpdaterAnswer)  # noqa: S101 - the brief decides the answer's form
            return await _judge(ctx, change, result.answer, base)


async def _judge(
    ctx: Context, change: ChangeState, answer: UpdaterAnswer, base: str
) -> BranchUpdated | ChangeBlocked:
    match answer.outcome:
        case "resolved":
            return await _push(ctx, change, await ctx.repository.adopt(change.id), base)
        case "blocked":
            why = "; ".join(f"{f.path}: {f.why}" for f in answer.files if f.kept == "undecided")
            return ChangeBlocked(
                change.id, f"the conflict needs a decision: {why}", 'claudetm say "…", then claudetm resume'
            )
        case _:
            assert_never(answer.outcome)


async def _shortfall(ctx: Context, change: ChangeState, base: str) -> str:
    """Return what is missing from a merge that is said to be resolved, or ""."""
    state = await ctx.repository.state(change.id)
    if state.refused or state.modified:
        return state.refused or f"There are uncommitted changes: {', '.join(state.modified[:10])}."
    head = await ctx.repository.adopt(change.id)
    for side, commit in (("the branch", change.head), ("the base", base)):
        if not await ctx.repository.contains(head, commit):
            return f"The merge lacks {side}: {commit} is not an ancestor of HEAD."
    return ""


async def _lost(
    ctx: Context, change: ChangeState, base: str, answer: UpdaterAnswer, conflicted: tuple[str, ...]
) -> str:
    """Return which side's work a resolution has dropped without saying so, or "".

    A merge can name both parents and keep the files of one (`git merge -s ours`).
    """
    differ = ctx.repository.changed_paths
    head = await ctx.repository.adopt(change.id)
    fork = await ctx.repository.merge_base(base, change.head)  # what it was tested with, the branch need not have
    changed = {*await differ(fork, base), *await differ(fork, change.head)}
    if gone := sorted(changed - {*await differ(fork, head)}):
        return f"The merge takes back what a side has changed: {', '.join(gone[:10])}."
    kept = {f.path: f.kept for f in answer.files}
    for side, commit in (("ours", change.head), ("theirs", base)):
        same = set(conflicted) - {*await differ(commit, head)}
        if untold := sorted(p for p in same if kept.get(p) not in {side, "regenerated"}):
            return f"The merge keeps only {side} of {', '.join(untold[:10])}, and the answer does not say so."
    return ""
