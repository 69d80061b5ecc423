"""auditing: a fresh mind scores what a session did; below the threshold its notes go back. Skipped when off."""

from __future__ import annotations

from claudetm.ports.agent import Role
from claudetm.prompts.answers import AuditorAnswer
from claudetm.prompts.briefs import AuditorBrief
from claudetm.stages.brief import common
from claudetm.stages.context import Context
from claudetm.stages.session import Seat, converse
from claudetm.stages.worktree import furnish
from claudetm.workflow.events import AuditFailed, AuditPassed, AuditSkipped, ChangeBlocked
from claudetm.workflow.limits import Blocked, Wait
from claudetm.workflow.run import ChangeState


async def audit(ctx: Context, change: ChangeState) -> AuditPassed | AuditFailed | AuditSkipped | ChangeBlocked | Wait:
    """Let the auditor role score the work, in a throw-away checkout of it."""
    if not ctx.run.policy.audit:
        return AuditSkipped(change.id, "off")
    subject = f"{change.id}:audit"
    async with ctx.repository.checkout(change.head) as tree:
        if failure := await furnish(ctx, tree, f"{change.id}-audit"):
            return Wait(None, "stopped") if ctx.stop.is_set() else ChangeBlocked(change.id, failure)
        brief = AuditorBrief(
            **common(ctx, subject, str(tree)),
            title=ctx.run.title,
            base=change.base,
            head=change.head,
            commits=tuple(await ctx.repository.commits(change.base, change.head)),
            paths=tuple(await ctx.repository.changed_paths(change.base, change.head)),
            claim=ctx.run.summary,
            report=ctx.run.report,
            earlier=ctx.run.audit,
        )
        result = await converse(ctx, Seat(Role.AUDITOR, subject, tree, change.id, resumable=False), brief)
    match result:
        case Wait():
            return result
        case Blocked(reason, next_step):
            return ChangeBlocked(change.id, reason, next_step)
        case _:
            assert isinstance(result.answer, AuditorAnswer)  # noqa: S101 - the brief decides the answer's form
            return _verdict(ctx, change, result.answer)


def _verdict(ctx: Context, change: ChangeState, answer: AuditorAnswer) -> AuditPassed | AuditFailed:
    kind = AuditPassed if answer.score >= ctx.run.policy.audit_threshold else AuditFailed
    notes = "\n".join(filter(None, (answer.notes, *(f"- {f}" for f in answer.findings))))
    return kind(change.id, answer.score, notes, change.head)
