"""Hold one agent session for a stage: reserve, record, converse, record. The journal knows of it before it begins.

An answer counts only when its form is right and the repository bears it out; else the session ended otherwise.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from claudetm.errors import AgentError, RepositoryError
from claudetm.plan.model import Complexity
from claudetm.ports.agent import WRITERS, Objection, Role, SessionReport, SessionRequest
from claudetm.prompts.answers import Answer, InvalidAnswer, parse, schema
from claudetm.prompts.briefs import Brief, SessionBrief
from claudetm.stages.context import Context
from claudetm.stages.worktree import keep
from claudetm.workflow import events as e
from claudetm.workflow.limits import Blocked, Go, Wait, may_start
from claudetm.workflow.outcomes import Outcome
from claudetm.workflow.run import LISTENERS
from claudetm.workflow.stages import FINAL_STAGES

Proof = Callable[[Answer], Awaitable[str]]
"""Returns what contradicts an answer now that the session is over, as a sentence; "" when nothing does."""


@dataclass(frozen=True, slots=True)
class Seat:
    """Who sits where: the role, what its attempts count against, and where it works."""

    role: Role
    subject: str
    cwd: Path
    change: str = ""
    complexity: Complexity = Complexity.CODING
    objection: Objection | None = None
    proof: Proof | None = None
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
    says = ctx.run.unread if seat.role in LISTENERS else ()
    request = SessionRequest(
        id=resume or str(uuid.uuid4()),
        role=seat.role,
        run=ctx.run.id,
        system=ctx.prompts.system(brief, await _project_instructions(ctx)),
        prompt=ctx.prompts.user(brief),
        schema=schema(brief),
        cwd=seat.cwd,
        model=model,
        effort=effort,
        resume=resume,
        max_turns=ctx.run.policy.turns,
        max_cost_usd=go.reserve,
        seconds=ctx.run.policy.session_seconds,
        idle_seconds=ctx.run.policy.idle_seconds,
        objection=_objection(seat, brief),
        says=says,
        skill=brief.skill if isinstance(brief, SessionBrief) else "",
    )
    await ctx.record(
        e.SessionStarted(request.id, seat.role, seat.subject, seat.change, go.reserve, model, bool(resume))
    )
    try:
        report = await ctx.agent.converse(request, ctx.progress, ctx.stop)
    except AgentError as error:
        failed = e.SessionEnded(request.id, seat.subject, Outcome.START_FAILED, seat.change, detail=str(error))
        await ctx.record(failed)
        raise
    outcome, detail, answer = await _judged(seat, brief, report)
    learnings = tuple(getattr(answer, "learnings", ()))
    await ctx.record(
        e.SessionEnded(
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
    )
    if outcome is Outcome.INTERRUPTED and seat.role in WRITERS:
        await _keep(ctx, seat.change)
    return Wait(0.0, detail) if answer is None else Answered(answer, report)


async def _keep(ctx: Context, change_id: str) -> None:
    """Keep what a stopped session had not committed: the user may never come back to its worktree."""
    change = ctx.run.changes.get(change_id)
    if change is not None and change.stage not in FINAL_STAGES:
        await keep(ctx, change, "a session was stopped")


def _objection(seat: Seat, brief: Brief) -> Objection:
    """Return what is said to an answer at once, while the session can still mend it: its form first."""

    async def objection(answer: Mapping[str, Any]) -> str:
        try:
            parse(brief, answer)
            return await seat.objection(answer) if seat.objection is not None else ""
        except (InvalidAnswer, RepositoryError) as error:
            return str(error)

    return objection


async def _project_instructions(ctx: Context) -> str:
    """Return the repository's own word to agents, from the base commit, where no session can have changed it."""
    texts = [await ctx.repository.read_file(ctx.run.base, name) for name in ("CLAUDE.md", "AGENTS.md")]
    return "\n\n".join(dict.fromkeys(text.strip() for text in texts if text))


async def _judged(seat: Seat, brief: Brief, report: SessionReport) -> tuple[Outcome, str, Answer | None]:
    """Return how the session really ended, what there is to say about it, and the answer that may be acted on."""
    if report.outcome is not Outcome.ANSWERED:
        return report.outcome, report.detail or report.outcome, None
    try:
        answer = parse(brief, report.answer or {})
    except InvalidAnswer as error:
        return Outcome.NO_ANSWER, str(error), None
    try:
        reason = await seat.proof(answer) if seat.proof is not None else ""
    except RepositoryError as error:
        reason = str(error)
    if reason:
        return Outcome.CONTRADICTED, reason, None
    return Outcome.ANSWERED, _summary(report.answer or {}), answer


def _summary(answer: Mapping[str, Any]) -> str:
    """Return an answer's gist, for people and for the next session on the same subject."""
    parts = [str(answer.get("outcome", "")), str(answer.get("summary", ""))]
    parts += [str(r) for r in answer.get("remaining", ())]
    return "; ".join(p for p in parts if p)[:1000]
