"""A run of mode session: its plan is its text, worked whole by one session after another until an audit is content.

Work may change nothing, where the task asked to be told something; then the report is what there is to show.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, assert_never

from claudetm.errors import RepositoryError
from claudetm.plan.model import Change, Plan, Task
from claudetm.ports.agent import Role
from claudetm.ports.repository import Commit
from claudetm.prompts.answers import Answer, SessionAnswer
from claudetm.prompts.briefs import SessionBrief
from claudetm.stages.brief import common
from claudetm.stages.context import Context
from claudetm.stages.session import Seat, converse
from claudetm.stages.worktree import prepare, tidy
from claudetm.workflow.events import ChangeBlocked, SnapshotTaken, TaskFinished, TaskStarted, WorkDone
from claudetm.workflow.limits import Blocked, Wait
from claudetm.workflow.run import Audit, ChangeState, Run

ONLY: Final = "c1"
_TITLE: Final = 200  # characters
_NOTES: Final = 500


def whole(run: Run) -> Plan:
    """Return the plan of a session: one change, one task, the text itself."""
    title = " ".join((run.title or run.goal.strip().splitlines()[0]).split())[:_TITLE]
    return Plan((Change(ONLY, title, (Task(f"{ONLY}.t1", title),)),))


async def work_whole(
    ctx: Context, change: ChangeState
) -> TaskStarted | TaskFinished | WorkDone | ChangeBlocked | Wait:
    """Take the work one step on: begin a round, hold its session, or hand it over to the audit."""
    task = change.task
    if task is None:
        return WorkDone(change.id, change.head)
    if task.id not in change.tasks:
        return await _insufficient(ctx, change) or TaskStarted(change.id, task.id, change.head)
    result = await _session(ctx, change, task)
    match result:
        case Wait():
            return result
        case Blocked(reason, next_step):
            return ChangeBlocked(change.id, reason, next_step)
        case SessionAnswer():
            return await _judge(ctx, change, task, result)
        case _:
            assert_never(result)


async def _insufficient(ctx: Context, change: ChangeState) -> ChangeBlocked | None:
    """Block once the rounds are used up; what was done is kept all the same."""
    audit, policy = ctx.run.audit, ctx.run.policy
    if audit is None or change.audits < policy.audit_rounds:
        return None
    await set_aside(ctx, change, "an audit did not let it through")
    rounds = f"{change.audits} round{'' if change.audits == 1 else 's'}"
    return ChangeBlocked(
        change.id,
        f"the audit gives {audit.score} of 100 after {rounds}, and {policy.audit_threshold} are wanted:"
        f" {' '.join(audit.notes.split())[:_NOTES]}",
        'claudetm say "…", then claudetm resume',
    )


async def set_aside(ctx: Context, change: ChangeState, why: str) -> None:
    """Keep the work under a snapshot's ref, once, where there is any."""
    if await ctx.repository.changed_paths(change.base, change.head):
        kept = await ctx.repository.keep(change.id, change.head)
        if kept.ref != ctx.run.snapshot:
            await ctx.record(SnapshotTaken(change.id, kept.ref, kept.commit, why))


async def _session(ctx: Context, change: ChangeState, task: Task) -> SessionAnswer | Wait | Blocked:
    path = await prepare(ctx, change)

    async def objection(answer: Mapping[str, Any]) -> str:
        if answer.get("outcome") != "done":
            return ""
        state = await ctx.repository.state(change.id)
        if state.untracked and not state.modified and not state.refused:
            return f"There are untracked files: {', '.join(state.untracked[:10])}. Commit, ignore or remove them."
        return await _unproven(ctx, change, str(answer.get("report", "")))

    async def proof(answer: Answer) -> str:
        assert isinstance(answer, SessionAnswer)  # noqa: S101 - the brief decides the answer's form
        return await _unproven(ctx, change, answer.report) if answer.outcome == "done" else ""

    seat = Seat(Role.WORKER, task.id, path, change.id, task.complexity, objection, proof)
    result = await converse(ctx, seat, await _brief(ctx, change, task, str(path)))
    if isinstance(result, (Wait, Blocked)):
        return result
    assert isinstance(result.answer, SessionAnswer)  # noqa: S101 - the brief decides the answer's form
    return result.answer


async def _unproven(ctx: Context, change: ChangeState, report: str) -> str:
    """Return why there is no work to hand over: changes that are not committed, or neither commits nor a report."""
    state = await tidy(ctx, change)
    if state.refused:
        return f"The repository cannot be taken as it is: {state.refused.rstrip('.')}."
    if state.modified:
        return f"There are uncommitted changes: {', '.join(state.modified[:10])}. Commit or revert them."
    head = await ctx.repository.adopt(change.id)
    if not await ctx.repository.contains(head, change.head):
        return f"History was rewritten: {change.head[:10]}, where this round began, is gone from the branch."
    if not report.strip() and not await ctx.repository.changed_paths(change.base, head):
        return "Nothing was changed, and `report` is empty: commit the work, or tell there what was asked to be told."
    return _unmended(ctx.run, change, head, report)


def _unmended(run: Run, change: ChangeState, head: str, report: str) -> str:
    """Return why an audit of the same once more would be a throw of the dice, or "".

    Not after a resume: whoever says "leave it" then, or wants less, gets it scored again.
    """
    last = run.audit
    if not change.audits or last is None or last.score >= run.policy.audit_threshold:
        return ""
    if head != last.commit or report.strip() != run.report.strip():
        return ""
    return (
        f"Nothing has changed since the audit of {head[:10]}, which gave {last.score} of 100: mend what is true of"
        " its notes and commit that, or answer `blocked` and say what speaks against them."
    )


async def _judge(
    ctx: Context, change: ChangeState, task: Task, answer: SessionAnswer
) -> TaskFinished | ChangeBlocked | Wait:
    match answer.outcome:
        case "done":
            head = await ctx.repository.adopt(change.id)
            return TaskFinished(change.id, task.id, head, answer.summary, answer.report)
        case "unfinished":
            return Wait(ctx.clock.now(), f"{task.id} is unfinished: {answer.summary}")
        case "blocked":
            needs = answer.blocker.needs if answer.blocker else answer.summary
            return ChangeBlocked(change.id, needs, 'claudetm say "…", then claudetm resume')
        case _:
            assert_never(answer.outcome)


async def _brief(ctx: Context, change: ChangeState, task: Task, cwd: str) -> SessionBrief:
    run, state, tally = ctx.run, await ctx.repository.state(change.id), ctx.run.tally(task.id)
    audit: Audit | None = run.audit if run.audit and not run.audit.passed else None
    return SessionBrief(
        **common(ctx, task.id, cwd),
        title=run.title,
        base=change.base,
        head=state.head,
        skill=run.skill,
        commits=await _made(ctx, change),
        modified=state.modified,
        untracked=state.untracked,
        attempt=tally.attempts + 1,
        previous=tally.last_detail,
        audit=audit,
        report=run.report if audit else "",
    )


async def _made(ctx: Context, change: ChangeState) -> tuple[Commit, ...]:
    """Return the commits of the work so far; nothing where they cannot be taken over."""
    try:
        return tuple(await ctx.repository.commits(change.base, await ctx.repository.adopt(change.id)))
    except RepositoryError:
        return ()
