"""ci_failed: a red check is run once more before a session is spent on it; then the fixer gets its log."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final, assert_never

from claudetm.ports.agent import Role
from claudetm.ports.repository import Pushed, PushRefused
from claudetm.prompts.answers import Answer, FixerAnswer
from claudetm.prompts.briefs import FailedCheck, FixerBrief
from claudetm.stages.brief import common
from claudetm.stages.context import Context
from claudetm.stages.session import Seat, converse
from claudetm.stages.working import unfinished_business, unproven
from claudetm.stages.worktree import prepare
from claudetm.workflow.events import ChangeBlocked, ChecksRerun, FixPushed
from claudetm.workflow.limits import Blocked, Wait
from claudetm.workflow.run import ChangeState

SAME_FAILURE: Final = 3  # the same failure after this many pushes is not going away


async def fix(ctx: Context, change: ChangeState) -> FixPushed | ChecksRerun | ChangeBlocked | Wait:
    """Run the checks of a red head again, or have them fixed and push the fix."""
    if change.head not in change.rerun_heads and await ctx.forge.rerun_checks(change.number, change.head):
        return ChecksRerun(change.id, change.head)
    names = ", ".join(change.failed)
    if change.fix_rounds >= ctx.run.policy.fix_rounds:
        return ChangeBlocked(change.id, f"still red after {change.fix_rounds} fixes: {names}", "claudetm logs")
    logs = [(name, await ctx.forge.check_log(change.number, name)) for name in change.failed]
    failed = tuple(FailedCheck(name, log.text, log.path) for name, log in logs)
    print_of = fingerprint(failed)
    if change.fingerprints.count(print_of) >= SAME_FAILURE - 1:
        return ChangeBlocked(
            change.id, f"the same failure came back after {SAME_FAILURE - 1} fixes: {names}", "claudetm logs"
        )
    result = await _session(ctx, change, failed)
    match result:
        case Wait():
            return result
        case Blocked(reason, next_step):
            return ChangeBlocked(change.id, reason, next_step)
        case FixerAnswer():
            return await _judge(ctx, change, result, print_of)
        case _:
            assert_never(result)


async def _session(
    ctx: Context, change: ChangeState, failed: tuple[FailedCheck, ...]
) -> FixerAnswer | Wait | Blocked:
    path = await prepare(ctx, change)
    subject = f"{change.id}:fix"

    async def objection(answer: Mapping[str, Any]) -> str:
        return await unfinished_business(ctx, change, change.head) if answer.get("outcome") == "fixed" else ""

    async def proof(answer: Answer) -> str:
        fixed = isinstance(answer, FixerAnswer) and answer.outcome == "fixed"
        return await unproven(ctx, change, change.head) if fixed else ""

    state = await ctx.repository.state(change.id)
    brief = FixerBrief(
        **common(ctx, subject, str(path)),
        change=change.plan,
        failed=failed,
        head=change.head,
        base=change.base,
        tried=change.causes,
        modified=state.modified,
        untracked=state.untracked,
    )
    seat = Seat(Role.FIXER, subject, path, change.id, objection=objection, proof=proof)
    result = await converse(ctx, seat, brief)
    if isinstance(result, (Wait, Blocked)):
        return result
    assert isinstance(result.answer, FixerAnswer)  # noqa: S101 - the brief decides the answer's form
    return result.answer


async def _judge(
    ctx: Context, change: ChangeState, answer: FixerAnswer, print_of: str
) -> FixPushed | ChangeBlocked | Wait:
    now = ctx.clock.now()
    match answer.outcome:
        case "fixed":
            return await _push(ctx, change, answer, print_of)
        case "unfinished":
            return Wait(now, f"the fix is unfinished: {answer.summary}")
        case "flaky" | "not_ours":
            what = "looks flaky" if answer.outcome == "flaky" else "fails without this change, too"
            return ChangeBlocked(change.id, f"{', '.join(change.failed)} {what}: {answer.cause}", "claudetm logs")
        case "blocked":
            needs = answer.blocker.needs if answer.blocker else answer.summary
            return ChangeBlocked(change.id, f"the fixer is stuck: {needs}", 'claudetm say "…", then claudetm resume')
        case _:
            assert_never(answer.outcome)


async def _push(ctx: Context, change: ChangeState, answer: FixerAnswer, print_of: str) -> FixPushed | ChangeBlocked:
    head = await ctx.repository.adopt(change.id)
    match await ctx.repository.push(change.branch, head):
        case Pushed():
            return FixPushed(change.id, head, answer.cause, print_of)
        case PushRefused(at, reason):
            return ChangeBlocked(change.id, f"{change.branch} could not be pushed (it is at {at[:10]}): {reason}")


def fingerprint(failed: tuple[FailedCheck, ...]) -> str:
    """Return what tells one failure from another: the checks and their first error lines less paths and numbers."""
    parts = [f"{check.name}:{_first_error(check.excerpt)}" for check in failed]
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()[:16]


def _first_error(log: str) -> str:
    lines = [line for line in log.splitlines() if re.search(r"error|fail|exception|assert", line, re.IGNORECASE)]
    return re.sub(r"[\w.\-]*/[\w./\-]+|0x[0-9a-f]+|\d+", "", lines[0] if lines else log[-200:]).strip()
