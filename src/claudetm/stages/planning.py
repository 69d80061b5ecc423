"""planning: a session proposes the plan, code judges its form, and the criteria are run once before any work.

A criterion that holds already is a guard: it must still hold at the end, but it proves nothing. Criteria can take
long, so the proposal is on record before the first of them runs, and before its session has ended.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final, assert_never

from claudetm.plan.model import Change, Criterion, Plan, Task, problems
from claudetm.plan.split import one_task_each
from claudetm.ports.agent import Role
from claudetm.prompts.answers import Answer, PlannerAnswer, plan_of
from claudetm.prompts.briefs import PlannerBrief
from claudetm.prompts.lint import CHANGES_MOST, TASKS_MOST, findings
from claudetm.stages.answering import answer
from claudetm.stages.brief import common
from claudetm.stages.context import Context
from claudetm.stages.criteria import judge
from claudetm.stages.session import Seat, converse
from claudetm.stages.single import whole
from claudetm.workflow.events import (
    CriterionChecked,
    NothingToDo,
    PlanDrafted,
    PlanProposed,
    PlanRefused,
    QuestionAnswered,
    RunBlocked,
)
from claudetm.workflow.limits import Blocked, Wait, pull_requests, too_many
from claudetm.workflow.policy import Policy
from claudetm.workflow.run import ADOPTED, Run
from claudetm.workflow.stages import Mode

REFUSALS: Final = 2  # how often a proposal goes back before a merely imperfect one is taken
_SAY_MORE: Final = "say more in the goal, or claudetm resume"


async def plan(ctx: Context) -> PlanProposed | PlanRefused | NothingToDo | QuestionAnswered | RunBlocked | Wait:
    """Bring about what a run of its mode begins with."""
    match ctx.run.mode:
        case Mode.GOAL:
            return await _plan_goal(ctx)
        case Mode.SESSION:
            return PlanProposed(whole(ctx.run))
        case Mode.QUESTION:
            return await answer(ctx)
        case _:
            assert_never(ctx.run.mode)


async def _plan_goal(ctx: Context) -> PlanProposed | PlanRefused | NothingToDo | RunBlocked | Wait:
    """Propose a plan for the goal, or go on with the one that was drafted when the run was interrupted."""
    if ctx.run.adopts:
        return PlanProposed(adoption(ctx.run))
    if ctx.run.draft is not None:
        return await _with_guards(ctx, ctx.run.draft)
    files = tuple(await ctx.repository.list_files(ctx.run.base))
    async with ctx.repository.checkout(ctx.run.base) as tree:
        brief = PlannerBrief(
            **common(ctx, "plan", str(tree)),
            user_criteria=ctx.run.user_criteria,
            files=files,
            checks=ctx.run.policy.checks,
            proposal=ctx.run.refused_plan,
            findings=ctx.run.plan_findings,
            rejection=ctx.run.rejection,
            pr_per_task=ctx.run.policy.pr_per_task,
            max_prs=ctx.run.policy.max_prs,
        )
        result = await converse(ctx, _seat(ctx, tree, frozenset(files)), brief)
    match result:
        case Wait():
            return result
        case Blocked(reason, next_step):
            return RunBlocked(reason, next_step)
        case _:
            assert isinstance(result.answer, PlannerAnswer)  # noqa: S101 - the brief decides the answer's form
            return await _judge(ctx, result.answer, frozenset(files))


def adoption(run: Run) -> Plan:
    """Return the plan of a run that drives a pull request made elsewhere: one change, whose work is there."""
    title = run.goal.strip().splitlines()[0][:_TITLE]
    work = Task("t1", f"The work of #{run.adopts}, as it was found")
    return with_user_criteria(Plan((Change(ADOPTED, title, (work,), why=run.goal),)), run.user_criteria)


_TITLE: Final = 200  # characters


def _seat(ctx: Context, tree: Path, files: frozenset[str]) -> Seat:
    async def drafted(answer: Answer) -> str:
        """Put what can be worked on record while the session still counts as open: no kill comes between the two."""
        assert isinstance(answer, PlannerAnswer)  # noqa: S101 - the role decides the answer's form
        proposed = with_user_criteria(plan_of(answer), ctx.run.user_criteria)
        if answer.outcome == "planned" and not _objections(ctx, proposed, files):
            await ctx.record(PlanDrafted(_cut(ctx, proposed)))
        return ""

    return Seat(Role.PLANNER, "plan", tree, proof=drafted, resumable=False)


async def _judge(
    ctx: Context, answer: PlannerAnswer, files: frozenset[str]
) -> PlanProposed | PlanRefused | NothingToDo | RunBlocked | Wait:
    proposed = with_user_criteria(plan_of(answer), ctx.run.user_criteria)
    last_chance = ctx.run.plan_refusals >= REFUSALS
    match answer.outcome:
        case "blocked":
            return RunBlocked(
                f"the planner cannot plan this: {answer.summary}", 'claudetm say "…", then claudetm resume'
            )
        case "nothing_to_do":
            if not proposed.criteria:
                return _refuse(proposed, ("A goal that is met already needs criteria that show it.",), last_chance)
            return NothingToDo(Plan((), proposed.criteria, proposed.summary), answer.summary)
        case "planned":
            found = _objections(ctx, proposed, files)
            if not found:
                return await _with_guards(ctx, _cut(ctx, proposed))
            return _refuse(proposed, found, last_chance, _remedy(ctx, proposed))
        case _:
            assert_never(answer.outcome)


def _cut(ctx: Context, proposed: Plan) -> Plan:
    """Return the plan as it is worked: with a pull request a task where the policy wants that."""
    return replace(proposed, changes=one_task_each(proposed.changes)) if ctx.run.policy.pr_per_task else proposed


def _objections(ctx: Context, proposed: Plan, files: frozenset[str]) -> tuple[str, ...]:
    """Return why a proposal goes back; at the last chance a merely imperfect one does not."""
    if ctx.run.policy.verify and not proposed.criteria:
        return ("The plan has no criteria: nothing would show the goal met.",)
    unworkable = problems(proposed)
    excess = "" if unworkable else too_many(ctx.run, _cut(ctx, proposed))
    if ctx.run.plan_refusals >= REFUSALS:
        return unworkable or ((excess,) if excess else ())
    found = findings(proposed, files, changes_most=_changes_most(ctx.run.policy))
    return (excess, *found) if excess else found


def _changes_most(policy: Policy) -> int:
    """Return how many changes are no reason to doubt a plan: where each is a task, there are more of them."""
    usual = CHANGES_MOST * TASKS_MOST if policy.pr_per_task else CHANGES_MOST
    return max(usual, policy.max_prs or 0)


def _remedy(ctx: Context, proposed: Plan) -> str:
    """Return what the user can do about a plan that cannot be worked."""
    if problems(proposed) or not too_many(ctx.run, _cut(ctx, proposed)):
        return _SAY_MORE
    return f"claudetm resume --max-prs {pull_requests(ctx.run, _cut(ctx, proposed))}"


def _refuse(
    proposed: Plan, reasons: tuple[str, ...], last_chance: bool, remedy: str = _SAY_MORE
) -> PlanRefused | RunBlocked:
    if last_chance:
        return RunBlocked(f"no workable plan came about: {' '.join(reasons)}", remedy)
    return PlanRefused(reasons, proposed)


async def _with_guards(ctx: Context, proposed: Plan) -> PlanProposed | PlanRefused | RunBlocked | Wait:
    """Run the criteria before the work: what holds now is a guard; a plan of guards alone goes back once."""
    guards: list[str] = []
    for criterion in proposed.criteria if ctx.run.policy.verify else ():
        if criterion.command:
            receipt = await judge(ctx, criterion, ctx.run.base)
            if not isinstance(receipt, CriterionChecked):
                return receipt
            guards += [criterion.id] if receipt.verdict == "holds" else []
    if guards and len(guards) == len(proposed.criteria) and not ctx.run.plan_refusals:
        return PlanRefused(("Every criterion holds before any work, so none shows that the goal is met.",), proposed)
    return PlanProposed(proposed, tuple(guards))


def with_user_criteria(proposed: Plan, own: tuple[str, ...]) -> Plan:
    """Return the plan with the user's own criteria in it, word for word, whatever the planner made of them."""
    known = {c.text.strip() for c in proposed.criteria}
    added = tuple(Criterion(f"u{n}", text) for n, text in enumerate(own, start=1) if text.strip() not in known)
    return Plan(proposed.changes, (*proposed.criteria, *added), proposed.summary, proposed.assumptions)
