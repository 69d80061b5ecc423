"""Hold one agent session for a stage: reserve, record, converse, record. The journal knows of it before it begins."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from claudetm.plan.model import Complexity
from claudetm.ports.agent import Objection, Role, SessionReport, SessionRequest
from claudetm.prompts.answers import Answer, InvalidAnswer, parse, schema
from claudetm.prompts.briefs import Brief
from claudetm.stages.context import Context
from claudetm.workflow import events as e
from claudetm.workflow.limits import Blocked, Go, Wait, may_start
from claudetm.workflow.outcomes import Outcome


@dataclass(frozen=True, slots=True)
class Seat:
    """Who sits where: the role, what its attempts count against, and where it works."""

    role: Role
    subject: str
    cwd: Path
    change: str = ""
    complexity: Complexity = Complexity.CODING
    objection: Objection | None = None
    resumable: bool = True  # False where cwd is another one each time


@dataclass(frozen=True, slots=True)
class Answered:
    """The session ended with an answer of the role's form."""

    answer: Answer
    report: SessionReport


async def converse(ctx: Context, seat: Seat, brief: Brief) -> Answered | Wait | Blocked:
    """Hold a session if one may start now. Wait says when to come back; Blocked that a person is needed."""
    match may_start(ctx.run, seat.subject, ctx.clock.now()):
        case Go() as go:
            return await _hold(ctx, seat, brief, go)
        case Wait() as wait:
            return wait
        case Blocked(whole_run=True) as blocked:
            await ctx.record(e.RunBlocked(blocked.reason, blocked.next))
            return Wait(None, blocked.reason)
        case Blocked() as blocked:
            return blocked


async def _hold(ctx: Context, seat: Seat, brief: Brief, go: Go) -> Answered | Wait:
    from claudetm.stages.models import choose

    model, effort = choose(seat.role, seat.complexity, go.attempt, ctx.run.policy)
    resume = go.resume if seat.resumable else ""
    says = ctx.run.unread
    request = SessionRequest(
        id=resume or str(uuid.uuid4()),
        role=seat.role,
        run=ctx.run.id,
        system=ctx.prompts.system(brief, await _project_instructions(ctx)),
        prompt=ctx.prompts.user(brief),
        schema=schema(seat.role),
        cwd=seat.cwd,
        model=model,
        effort=effort,
        resume=resume,
        max_turns=ctx.run.policy.turns,
        max_cost_usd=go.reserve,
        seconds=ctx.run.policy.session_seconds,
        idle_seconds=ctx.run.policy.idle_seconds,
        objection=seat.objection,
        says=says,
    )
    await ctx.record(
        e.SessionStarted(request.id, seat.role, seat.subject, seat.change, go.reserve, model, bool(resume))
    )
    report = await ctx.agent.converse(request, ctx.progress, ctx.stop)
    result = _read(seat.role, report)
    await ctx.record(_ended(request, seat, report, result))
    if isinstance(result, Wait):
        return result
    return Answered(result, report)


async def _project_instructions(ctx: Context) -> str:
    """Return the repository's own word to agents, from the base commit, where no session can have changed it."""
    for name in ("CLAUDE.md", "AGENTS.md"):
        if text := await ctx.repository.read_file(ctx.run.base, name):
            return text
    return ""


def _read(role: Role, report: SessionReport) -> Answer | Wait:
    if report.outcome is not Outcome.ANSWERED or report.answer is None:
        return Wait(0.0, report.detail or report.outcome)
    try:
        return parse(role, report.answer)
    except InvalidAnswer as error:
        return Wait(0.0, str(error))


def _ended(request: SessionRequest, seat: Seat, report: SessionReport, result: Answer | Wait) -> e.SessionEnded:
    outcome = report.outcome
    detail = report.detail
    learnings: tuple[str, ...] = ()
    if isinstance(result, Wait):
        if outcome is Outcome.ANSWERED:
            outcome, detail = Outcome.NO_ANSWER, result.why
    else:
        detail = _summary(report.answer or {})
        learnings = tuple(getattr(result, "learnings", ()))
    return e.SessionEnded(
        request.id,
        seat.subject,
        outcome,
        seat.change,
        report.usage,
        detail,
        report.resets_at,
        report.transcript,
        learnings,
    )


def _summary(answer: Mapping[str, Any]) -> str:
    """Return an answer's gist, for people and for the next session on the same subject."""
    parts = [str(answer.get("outcome", "")), str(answer.get("summary", ""))]
    parts += [str(r) for r in answer.get("remaining", ())]
    return "; ".join(p for p in parts if p)[:1000]
