"""ci_failed: a red check is run once more before a session is spent on it; then the fixer gets its log.

What fails in the same way on the base alone is not the change's doing. It is not the fixer's either, unless a
criterion asks for that very check, or the user resumed knowing it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final, assert_never

from claudetm.ports.agent import Role
from claudetm.ports.forge import SETUP, CheckLog
from claudetm.prompts.answers import Answer, FixerAnswer
from claudetm.prompts.briefs import FailedCheck, FixerBrief
from claudetm.stages.brief import common
from claudetm.stages.context import Context
from claudetm.stages.patience import patiently, said
from claudetm.stages.pushing import Stands, push
from claudetm.stages.session import Seat, converse
from claudetm.stages.working import unfinished_business, unproven
from claudetm.stages.worktree import prepare
from claudetm.workflow.events import BaseFoundRed, BaseMoved, ChangeBlocked, ChecksRerun, FixPushed
from claudetm.workflow.limits import Blocked, Wait
from claudetm.workflow.run import ChangeState

SAME_FAILURE: Final = 3  # the same failure after this many pushes is not going away


async def fix(ctx: Context, change: ChangeState) -> FixPushed | ChecksRerun | BaseMoved | ChangeBlocked | Wait:
    """Run the checks of a red head again, or have them fixed and push the fix."""
    if change.head not in change.rerun_heads and await ctx.forge.rerun_checks(change.number, change.head):
        return ChecksRerun(change.id, change.head)
    names = ", ".join(change.failed)
    if change.fix_rounds >= ctx.run.policy.fix_rounds:
        return ChangeBlocked(change.id, f"still red after {change.fix_rounds} fixes: {names}", "claudetm logs")
    logs = {name: await ctx.forge.check_log(change.number, name) for name in change.failed}
    if logs and all(log.no_verdict for log in logs.values()):
        why = "; ".join(f"{name}: {log.no_verdict}" for name, log in logs.items())
        return ChangeBlocked(
            change.id,
            f"the checks gave no verdict, also when run again, and no change of the code mends that: {why}",
            f"look at {change.url or change.branch}, then claudetm resume",
        )
    at_base = await ctx.forge.failing_at(change.failed_with, change.failed) if change.failed_with else {}
    if at_base is None:
        return _asked_of_the_base(ctx, names)
    if not_ours := await _not_ours(ctx, change, logs, at_base):
        return not_ours
    failed = tuple(_failed(name, log, at_base.get(name)) for name, log in logs.items())
    print_of = fingerprint(failed)
    if change.fingerprints.count(print_of) >= SAME_FAILURE - 1:
        return ChangeBlocked(
            change.id, f"the same failure came back after {SAME_FAILURE - 1} fixes: {names}", "claudetm logs"
        )
    if cause := await _left(ctx, change):
        return await _push(ctx, change, cause, print_of)
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


def _asked_of_the_base(ctx: Context, names: str) -> Wait:
    soon = ctx.clock.now() + ctx.run.policy.poll_seconds
    return Wait(soon, f"{names} runs on the base alone, to see whether it fails there, too")


async def _not_ours(
    ctx: Context, change: ChangeState, logs: Mapping[str, CheckLog], at_base: Mapping[str, CheckLog]
) -> ChecksRerun | BaseMoved | ChangeBlocked | Wait | None:
    """Return the block when all that fails does so in the same way on the base; None when the fixer is due.

    A base that has moved since may be mended: then the checks run with that one, which elsewhere has to be merged in
    for that, as a re-run tests the same commits again. One that another change mends is waited for.
    """
    if not all(same_failure(name, log, at_base.get(name)) for name, log in logs.items()):
        return None
    if change.mends_base or all(_asked_for(ctx, log.command or name) for name, log in logs.items()):
        return None
    names, base = ", ".join(logs), change.failed_with
    now = await ctx.forge.base()
    moved = now != base
    if moved and ctx.run.hosted:
        at_now = await ctx.forge.failing_at(now, change.failed)
        if at_now is None:
            return _asked_of_the_base(ctx, names)
        if not all(same_failure(name, log, at_now.get(name)) for name, log in logs.items()):
            return BaseMoved(change.id, now)
        base, moved = now, False  # it is red there still
    if moved and await ctx.forge.rerun_checks(change.number, change.head):
        return ChecksRerun(change.id, change.head)
    if change.base_red != base:
        await ctx.record(BaseFoundRed(change.id, base, tuple(logs)))
    if ctx.run.mended_for(change) and not moved:
        soon = ctx.clock.now() + ctx.run.policy.poll_seconds
        return Wait(soon, f"the base is red, too, and {ctx.run.mender} mends it")
    how = next((f" ({log.how})" for log in logs.values() if log.how), "")
    return ChangeBlocked(
        change.id,
        f"the base is red, too: {names} fails at {base[:10]} in the same way{how}, without this change",
        "mend the base, or set worktree.setup where a fresh checkout lacks what the checks need, then claudetm resume"
        " (resumed as it is, the change mends it)",
    )


def _asked_for(ctx: Context, command: str) -> bool:
    """Whether a criterion that did not hold before the work runs this command: then mending it is the goal."""
    return any(command in c.command and c.id not in ctx.run.guards for c in ctx.run.plan.criteria)


def _failed(name: str, log: CheckLog, at_base: CheckLog | None) -> FailedCheck:
    on_base = ""
    if at_base is not None:
        same = same_failure(name, log, at_base)
        on_base = "in the same way" if same else f"in another way (log: {at_base.path or 'none'})"
    return FailedCheck(name, log.text, log.path, log.command, log.how, on_base)


async def _left(ctx: Context, change: ChangeState) -> str:
    """Return what a session told of a fix that lies in the worktree, proven and not pushed; "" where none does."""
    told = said(ctx, f"{change.id}:fix", "fixed")
    if not told:
        return ""
    await prepare(ctx, change)
    return "" if await unproven(ctx, change, change.head) else told.removeprefix("fixed; ")


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
    base = change.failed_with or change.base
    if base:
        await ctx.repository.bring(change.id, base)
    brief = FixerBrief(
        **common(ctx, subject, str(path)),
        change=change.plan,
        failed=failed,
        head=change.head,
        base=base,
        behind=bool(base) and not await ctx.repository.contains(change.head, base),
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
            return await _push(ctx, change, answer.cause, print_of)
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


async def _push(ctx: Context, change: ChangeState, cause: str, print_of: str) -> FixPushed | ChangeBlocked | Wait:
    fix = await ctx.repository.adopt(change.id)
    pushed = await patiently(ctx, lambda: push(ctx, change, fix))
    return FixPushed(change.id, pushed.head, cause, print_of) if isinstance(pushed, Stands) else pushed


def fingerprint(failed: tuple[FailedCheck, ...]) -> str:
    """Return what tells one failure from another: the checks and their first error lines less paths and numbers."""
    parts = [f"{check.name}:{errors(check.excerpt)[0]}" for check in failed]
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()[:16]


def same_failure(name: str, ours: CheckLog, theirs: CheckLog | None) -> bool:
    """Whether the base alone fails at least as the change does: the same end, and every error line of ours is theirs.

    Of a set-up the end is enough: its errors are often the network's.
    """
    if theirs is None or _plain(ours.how) != _plain(theirs.how):
        return False
    return name == SETUP or set(errors(ours.text)) <= set(errors(theirs.text))


def errors(log: str) -> list[str]:
    """Return the lines of a log that tell of errors, less paths and numbers; its end where there is none."""
    lines = [line for line in log.splitlines() if re.search(r"error|fail|exception|assert", line, re.IGNORECASE)]
    return [_plain(line) for line in lines or [log[-200:]]]


def _plain(text: str) -> str:
    return re.sub(r"[\w.\-]*/[\w./\-]+|0x[0-9a-f]+|\d+", "", text).strip()
