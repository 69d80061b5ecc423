"""updating_branch: the base, and what a person pushed, come into the branch; the updater only on a conflict."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, assert_never

from claudetm.ports.agent import Role
from claudetm.ports.repository import Conflicted, Merged
from claudetm.prompts.answers import Answer, UpdaterAnswer, parse
from claudetm.prompts.briefs import UpdaterBrief
from claudetm.stages.brief import common
from claudetm.stages.context import Context
from claudetm.stages.patience import patiently, said
from claudetm.stages.pushing import Stands, push
from claudetm.stages.session import Seat, converse
from claudetm.stages.worktree import keep, prepare, tidy
from claudetm.workflow.events import BranchUpdated, ChangeBlocked
from claudetm.workflow.limits import Blocked, Wait
from claudetm.workflow.run import ChangeState

_MARKER: Final = re.compile(r"^(<{7}|\|{7}|>{7})(\s|$)", re.MULTILINE)


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
        case Conflicted():
            return await _resolve(ctx, change, base, merged)
        case _:
            assert_never(merged)


async def _push(ctx: Context, change: ChangeState, commit: str, base: str) -> BranchUpdated | ChangeBlocked | Wait:
    pushed = await patiently(ctx, lambda: push(ctx, change, commit))
    return BranchUpdated(change.id, pushed.head, base) if isinstance(pushed, Stands) else pushed


async def _resolve(
    ctx: Context, change: ChangeState, base: str, clash: Conflicted
) -> BranchUpdated | ChangeBlocked | Wait:
    """Have the conflict resolved in a worktree that has both sides; both must be in what comes back."""
    path = await prepare(ctx, change)
    subject = f"{change.id}:update"
    await ctx.repository.bring(change.id, base)
    if said(ctx, subject, "resolved") and not await _shortfall(ctx, change, base):  # and not pushed
        return await _push(ctx, change, await ctx.repository.adopt(change.id), base)
    await keep(ctx, change, "before the base is merged in")

    async def objection(given: Mapping[str, Any]) -> str:
        answer = parse(Role.UPDATER, given)
        assert isinstance(answer, UpdaterAnswer)  # noqa: S101 - the role decides the answer's form
        if answer.outcome != "resolved":
            return ""
        return await _shortfall(ctx, change, base) or await _lost(ctx, change, base, answer, clash)

    async def proof(answer: Answer) -> str:
        assert isinstance(answer, UpdaterAnswer)  # noqa: S101 - the role decides the answer's form
        if answer.outcome != "resolved":
            return ""
        await tidy(ctx, change)
        return await _shortfall(ctx, change, base) or await _lost(ctx, change, base, answer, clash)

    state = await ctx.repository.state(change.id)
    fork = await ctx.repository.merge_base(base, change.head)
    brief = UpdaterBrief(
        **common(ctx, subject, str(path)),
        change=change.plan,
        ours=change.plan.why,
        theirs=await _landed(ctx, change, fork, base),
        their_diff=await ctx.repository.diff(fork, base, clash.paths) if fork else "",
        fork=fork,
        conflicted=clash.paths,
        base=base,
        head=change.head,
        modified=state.modified,
        untracked=state.untracked,
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


async def _landed(ctx: Context, change: ChangeState, fork: str, base: str) -> str:
    """Return what came into the base since the branch left it: changes of this run with their why, and commits."""
    merged = [c for c in ctx.run.changes.values() if c.merge_commit]
    new = [c.plan for c in merged if not await ctx.repository.contains(change.head, c.merge_commit)]
    commits = await ctx.repository.commits(fork, base) if fork else ()
    told = [f"{c.id}, of this run: {c.title}: {c.why}" for c in new]
    return "\n".join([*told, *(f"{c.id[:12]} {c.subject} ({c.author})" for c in reversed(commits))])


async def _judge(
    ctx: Context, change: ChangeState, answer: UpdaterAnswer, base: str
) -> BranchUpdated | ChangeBlocked | Wait:
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
    if marked := await _marked(ctx, change, base, head):
        return f"There are conflict markers in {', '.join(marked[:10])}."
    return ""


async def _marked(ctx: Context, change: ChangeState, base: str, head: str) -> list[str]:
    """Return the files that are neither side's and hold conflict markers which neither side has."""
    read, differ = ctx.repository.read_file, ctx.repository.changed_paths
    mixed = sorted({*await differ(change.head, head)} & {*await differ(base, head)})
    marked = [p for p in mixed if _MARKER.search(await read(head, p) or "")]
    sides = (change.head, base)
    return [p for p in marked if not any([_MARKER.search(await read(side, p) or "") for side in sides])]


async def _lost(ctx: Context, change: ChangeState, base: str, answer: UpdaterAnswer, clash: Conflicted) -> str:
    """Return what a resolution has done to a side's work without saying so, or "".

    A merge can name both parents and keep the files of one (`git merge -s ours`). What does not conflict is to be as
    git merges it, unless the answer names the file: a thing that one side renamed may have a new user. A file that is
    named and has work of both sides is one side's only where the answer says whose.
    """
    differ = ctx.repository.changed_paths
    head = await ctx.repository.adopt(change.id)
    fork = await ctx.repository.merge_base(base, change.head)  # what it was tested with, the branch need not have
    theirs, ours = {*await differ(fork, base)}, {*await differ(fork, change.head)}
    changed = theirs | ours
    if gone := sorted(changed - {*await differ(fork, head)}):
        return f"The merge takes back what a side has changed: {', '.join(gone[:10])}."
    kept = {f.path: f.kept for f in answer.files}
    if untold := sorted({*await differ(clash.attempt, head)} - {*clash.paths, *kept}):
        return f"The merge makes of {', '.join(untold[:10])} what neither side has, and the answer does not say so."
    mixed = theirs & ours & {*await differ(change.head, base)}
    for side, commit in (("ours", change.head), ("theirs", base)):
        same = {*clash.paths, *(mixed & {*kept})} - {*await differ(commit, head)}
        if untold := sorted(p for p in same if kept.get(p) not in {side, "regenerated"}):
            return f"The merge keeps only {side} of {', '.join(untold[:10])}, and the answer does not say so."
    return ""
