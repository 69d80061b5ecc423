"""verifying: every criterion is judged at our last merge; what fails becomes new changes; what holds is landed."""

from __future__ import annotations

from typing import Final, assert_never

from claudetm.plan.model import Criterion, Plan, problems
from claudetm.plan.split import one_task_each
from claudetm.ports.agent import Role
from claudetm.ports.repository import Landed, NotLanded
from claudetm.prompts.answers import PlannerAnswer, VerifierAnswer, plan_of
from claudetm.prompts.briefs import ExtendBrief, FailedCriterion, VerifierBrief
from claudetm.stages.brief import common
from claudetm.stages.context import Context
from claudetm.stages.criteria import judge
from claudetm.stages.keeping import told
from claudetm.stages.session import Seat, converse
from claudetm.stages.worktree import furnish
from claudetm.workflow.events import CriteriaFailed, CriterionChecked, GoalVerified, PlanExtended, RunBlocked
from claudetm.workflow.limits import Blocked, Wait, pull_requests, too_many
from claudetm.workflow.run import Run
from claudetm.workflow.stages import Mode, Stage

NOT_VERIFIED: Final = "not verified, as asked"


async def verify(ctx: Context) -> GoalVerified | CriteriaFailed | PlanExtended | RunBlocked | Wait:
    """Judge what is not judged yet; then say that the goal is met, or what fails, or what shall mend it."""
    if ctx.run.failing:
        return await _extend(ctx)
    if ctx.run.policy.verify and (result := await _judge_all(ctx)) is not None:
        return result
    failing = tuple(c.id for c in ctx.run.plan.criteria if not _holds(ctx, c))
    if failing and ctx.run.policy.verify:
        return CriteriaFailed(failing, ctx.run.verify_commit)
    return await _land(ctx)


def _holds(ctx: Context, criterion: Criterion) -> bool:
    receipt = ctx.run.receipts.get(criterion.id)
    return receipt is not None and receipt.verdict == "holds"


async def _judge_all(ctx: Context) -> RunBlocked | Wait | None:
    """Record a receipt for every criterion that has none: by its command, else by the verifier."""
    commit = ctx.run.verify_commit
    open_criteria = [c for c in ctx.run.plan.criteria if c.id not in ctx.run.receipts]
    if not open_criteria:
        return None
    for criterion in [c for c in open_criteria if c.command]:
        receipt = await judge(ctx, criterion, commit)
        if not isinstance(receipt, CriterionChecked):
            return receipt
        await ctx.record(receipt)
    judged = tuple(c for c in open_criteria if not c.command)
    return await _ask(ctx, judged, commit) if judged else None


async def _ask(ctx: Context, criteria: tuple[Criterion, ...], commit: str) -> RunBlocked | Wait | None:
    """Let the verifier judge what no command shows. A verdict without evidence is no proof."""
    async with ctx.repository.checkout(commit) as tree:
        if failure := await furnish(ctx, tree, "verify"):
            return Wait(None, "stopped") if ctx.stop.is_set() else RunBlocked(failure)
        brief = VerifierBrief(**common(ctx, "verify", str(tree)), criteria=criteria, commit=commit, base=ctx.run.base)
        result = await converse(ctx, Seat(Role.VERIFIER, "verify", tree, resumable=False), brief)
    match result:
        case Wait():
            return result
        case Blocked(reason, next_step):
            return RunBlocked(reason, next_step)
        case _:
            assert isinstance(result.answer, VerifierAnswer)  # noqa: S101 - the brief decides the answer's form
            given = {r.criterion_id: r for r in result.answer.results}
    for criterion in criteria:
        found = given.get(criterion.id)
        evidence = tuple(found.evidence) if found else ()
        verdict = found.verdict if found else "unproven"
        if verdict == "holds" and not evidence:
            verdict = "unproven"
        missing = (found.missing or "") if found else "the verifier gave no verdict"
        await ctx.record(CriterionChecked(criterion.id, verdict, commit, evidence=evidence, missing=missing))
    return None


async def _extend(ctx: Context) -> PlanExtended | RunBlocked | Wait:
    """Turn failing criteria into new changes, for as many rounds as the policy allows."""
    run = ctx.run
    failing = tuple(_failed(run, c) for c in run.plan.criteria if c.id in run.failing)
    said = "; ".join(f"{f.criterion.id} ({f.criterion.text}): {f.missing.strip()[-300:]}" for f in failing)
    if run.verify_rounds >= run.policy.verify_rounds:
        return RunBlocked(
            f"criteria fail after {run.verify_rounds} rounds of mending: {said}", "claudetm status --criteria"
        )
    left = _left(run)
    if left == 0:
        return _beyond(run, pull_requests(run, run.plan) + 1, said)
    async with ctx.repository.checkout(run.verify_commit) as tree:
        brief = ExtendBrief(
            **common(ctx, "extend", str(tree)),
            failing=failing,
            finished=tuple(c.plan for c in run.changes.values() if c.stage is Stage.MERGED),
            vetoed=tuple(c.plan for c in run.changes.values() if c.stage is Stage.ABANDONED),
            files=tuple(await ctx.repository.list_files(run.verify_commit)),
            checks=run.policy.checks,
            pr_per_task=run.policy.pr_per_task,
            max_prs=left,
        )
        result = await converse(ctx, Seat(Role.PLANNER, "extend", tree, resumable=False), brief)
    match result:
        case Wait():
            return result
        case Blocked(reason, next_step):
            return RunBlocked(reason, next_step)
        case _:
            assert isinstance(result.answer, PlannerAnswer)  # noqa: S101 - the brief decides the answer's form
            return _extension(ctx, result.answer, said)


def _left(run: Run) -> int | None:
    """Return how many pull requests may still be opened; None is unlimited."""
    most = run.policy.max_prs
    return None if most is None else max(0, most - pull_requests(run, run.plan))


def _beyond(run: Run, count: int, said: str) -> RunBlocked:
    return RunBlocked(
        f"criteria fail, and mending them makes {count} pull requests of the run where {run.policy.max_prs} are"
        f" allowed: {said}",
        f"claudetm resume --max-prs {count}",
    )


def _extension(ctx: Context, answer: PlannerAnswer, said: str) -> PlanExtended | RunBlocked | Wait:
    run, old = ctx.run, ctx.run.plan
    changes = plan_of(answer, run.changes).changes
    more = one_task_each(changes, run.changes) if run.policy.pr_per_task else changes
    match answer.outcome:
        case "planned":
            whole = Plan((*old.changes, *more), old.criteria)
            found = problems(whole) if more else ("no changes",)
            if found:
                return Wait(ctx.clock.now(), f"the extension is unusable: {' '.join(found)}")
            if too_many(run, whole):
                return _beyond(run, pull_requests(run, whole), said)
            return PlanExtended(more)
        case "nothing_to_do" | "blocked":
            return RunBlocked(f"criteria fail and the planner sees no way: {said}", "claudetm status --criteria")
        case _:
            assert_never(answer.outcome)


def _failed(run: Run, criterion: Criterion) -> FailedCriterion:
    receipt = run.receipts[criterion.id]
    return FailedCriterion(criterion, receipt.verdict, receipt.evidence, receipt.missing, receipt.log)


async def _land(ctx: Context) -> GoalVerified | Wait:
    """Move the user's branch, once, to what was verified."""
    run = ctx.run
    if run.mode is Mode.SESSION:
        return GoalVerified(run.verify_commit, *told(run))
    note = "" if run.policy.verify else f", {NOT_VERIFIED}"
    if run.verify_commit == run.base:
        return GoalVerified(run.verify_commit, f"nothing to land{note}{await _issue(ctx)}")
    if run.hosted:  # what is merged at a forge elsewhere is there
        landed = f"merged into {run.target}{note}{await _issue(ctx)}"
        return GoalVerified(run.verify_commit, landed, "git pull")
    if not run.policy.land:
        return GoalVerified(run.verify_commit, f"left on its branch (land: false){note}", _merge_command(run.id))
    match await ctx.repository.land(run.verify_commit, run.target):
        case Landed(how):
            return GoalVerified(run.verify_commit, f"{run.target} {_LANDED[how]}{note}")
        case NotLanded(reason, command):
            return GoalVerified(run.verify_commit, f"{run.target} was left alone: {reason}{note}", command)


async def _issue(ctx: Context) -> str:
    """Close the issue that the run is for, where no merge has; return what is to be said of it, or "".

    A forge closes it with a merge into its default branch that says so: not where people merged the changes in an
    order of their own, or where the last one came to nothing.
    """
    issue, changes = ctx.run.issue, ctx.run.changes.values()
    if not issue:
        return ""
    if not any(c.stage is Stage.MERGED for c in changes):
        return f"; issue #{issue} is left to you"
    why = await ctx.forge.close_issue(issue)
    return f"; issue #{issue} is still open: {why}" if why else ""


_LANDED: Final = {
    "fast_forwarded": "was fast-forwarded",
    "checkout_updated": "and its checkout were updated",
    "already": "has it already",
}


def _merge_command(run_id: str) -> str:
    return f"git merge --ff-only claudetm/{run_id}/base"
