"""reviewing and addressing_reviews: a fresh mind reads the diff before people do; every remark gets an answer.

Findings stand as threads at the forge, found again by their marker. Only what was fixed is resolved; a remark of the
reviewer role that is declined with a reason is closed with it, but where a person has spoken it is left to them. What
the responder does not understand of the reviewer role's, the user is asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, assert_never

from claudetm.ports.agent import Role
from claudetm.ports.forge import Note
from claudetm.ports.repository import Merged
from claudetm.prompts.answers import Answer, ResponderAnswer, ReviewerAnswer
from claudetm.prompts.bounds import SHOWN
from claudetm.prompts.briefs import EarlierFinding, ResponderBrief, ReviewerBrief
from claudetm.stages.brief import common
from claudetm.stages.context import Context
from claudetm.stages.description import harmless
from claudetm.stages.patience import patiently
from claudetm.stages.pushing import Stands, push
from claudetm.stages.session import Seat, converse
from claudetm.stages.working import misnamed, nothing_shown
from claudetm.stages.worktree import furnish, prepare, tidy
from claudetm.workflow.events import ChangeBlocked, ReviewsAnswered, SelfReviewed
from claudetm.workflow.limits import Blocked, Wait
from claudetm.workflow.pull_request import PullRequest, Thread, both_sides, fixed, unfixed
from claudetm.workflow.run import ChangeState


async def review(ctx: Context, change: ChangeState) -> SelfReviewed | ChangeBlocked | Wait:
    """Let the reviewer role read the head, unless it is off, has read it, or has had its rounds."""
    if skipped := await _skipped(ctx, change):
        return SelfReviewed(change.id, change.head, skipped=skipped)
    pull = await ctx.pull(change.number)
    subject = f"{change.id}:review"
    async with ctx.repository.checkout(change.head) as tree:
        if failure := await furnish(ctx, tree, f"{change.id}-review"):
            return Wait(None, "stopped") if ctx.stop.is_set() else ChangeBlocked(change.id, failure)
        brief = ReviewerBrief(
            **common(ctx, subject, str(tree)),
            change=change.plan,
            base=change.base,
            head=change.head,
            commits=tuple(await ctx.repository.commits(change.base, change.head)),
            paths=tuple(await ctx.repository.changed_paths(change.base, change.head)),
            earlier=tuple(
                EarlierFinding(t.id, t.path, t.line, t.comments[0].body)
                for t in pull.threads
                if t.comments and t.comments[0].ours
            ),
        )
        result = await converse(ctx, Seat(Role.REVIEWER, subject, tree, change.id, resumable=False), brief)
    match result:
        case Wait():
            return result
        case Blocked(reason, next_step):
            return ChangeBlocked(change.id, reason, next_step)
        case _:
            assert isinstance(result.answer, ReviewerAnswer)  # noqa: S101 - the brief decides the answer's form
            again = await _reopen(ctx, change, pull, result.answer)
            return SelfReviewed(change.id, change.head, again + await _post(ctx, change, result.answer))


async def _skipped(ctx: Context, change: ChangeState) -> str:
    """Return why the head is not read by the reviewer role now, or ""."""
    if not ctx.run.policy.self_review:
        return "off"
    if change.reviewed_head and await _read_before(ctx, change):
        return "read before"
    return "rounds used up" if change.self_reviews >= ctx.run.policy.review_rounds else ""


async def _read_before(ctx: Context, change: ChangeState) -> bool:
    """Whether the head is what was read last, and nothing but the base has come into it since, without a conflict."""
    read, head, repository = change.reviewed_head, change.head, ctx.repository
    if read == head or not await repository.contains(head, read):
        return read == head
    landed = await repository.merge_base(change.base, head) if change.base else ""
    if not landed:
        return False
    merged = await repository.merge(read, landed, "What was read, and the base")
    return isinstance(merged, Merged) and not await repository.changed_paths(merged.commit, head)


async def _post(ctx: Context, change: ChangeState, answer: ReviewerAnswer) -> int:
    """Write what blocks as threads, all else as remarks that ask for nothing; return how many findings there are."""
    for finding in answer.findings:
        blocking = finding.severity == "blocking"
        # by what it says: a review that is held again after a crash finds other things, in another order
        said = hashlib.sha256(f"{finding.path}\n{finding.line}\n{finding.claim}".encode()).hexdigest()[:16]
        # what blocks must be answered for each head that has it; a remark once made holds for later ones
        where = change.head[:12] if blocking else finding.severity
        text = "\n\n".join(filter(None, (finding.claim, finding.failure, _MEANT.get(finding.severity))))
        note = Note(
            f"finding:{change.id}:{where}:{said}",
            harmless(text),
            path=finding.path,
            line=finding.line,
            blocking=blocking,
        )
        await _say(ctx, change, note)
    return len(answer.findings)


async def _say(ctx: Context, change: ChangeState, note: Note) -> None:
    """Write what a session has led to; a forge that is busy is waited for."""
    await patiently(ctx, lambda: ctx.forge.note(change.number, note))


async def _reopen(ctx: Context, change: ChangeState, pull: PullRequest, answer: ReviewerAnswer) -> int:
    """Ask again for what was said to be fixed and is not; return for how much. What was declined stays declined."""
    there = {e.id for e in answer.earlier if not e.fixed}
    again = [t for t in pull.threads if t.id in there and t.blocking and t.fixed_in]
    for thread in again:
        marker = f"unfixed:{thread.id}:{change.head[:12]}"
        body = unfixed(harmless(thread.comments[0].body), change.head[:12])
        await _say(ctx, change, Note(marker, body, thread.id, reopen=True))
    return len(again)


_MEANT: Final = {
    "minor": "Minor: it is not in the way of merging.",
    "pre_existing": "It was there before this change.",
}


_ENDLESS: Final = 4
"""So many times the rounds of one conversation are answered in all, each remark a new one: a bot may never end."""


async def respond(ctx: Context, change: ChangeState) -> ReviewsAnswered | ChangeBlocked | Wait:
    """Answer every open remark: fix and resolve, decline with evidence, or ask."""
    pull = await ctx.pull(change.number)
    threads = pull.unanswered
    if not threads:
        return ReviewsAnswered(change.id, change.head, people=False)
    # of what stands: what was agreed upon is no disagreement. The reviewer role's own rounds end with its readings
    rounds = max((change.answers.get(t.id, 0) for t in pull.threads if t.stands and t.people), default=0)
    most = ctx.run.policy.review_rounds
    endless = change.asked >= _ENDLESS * most
    if (rounds >= most or endless) and any(t.people for t in threads):
        said = "; ".join(both_sides(t) for t in threads)
        look = f"look at {pull.url}" if "://" in pull.url else f"claudetm review show {pull.number}"
        return ChangeBlocked(
            change.id,
            f"{change.asked} rounds of remarks were answered, and new ones come: {said}"
            if endless
            else f"no agreement after {rounds} review rounds: {said}",
            f"{look}, then claudetm resume",
        )
    due = threads[:SHOWN]  # the rest are still unanswered then, and met again
    result = await _session(ctx, change, threads, due)
    match result:
        case Wait():
            return result
        case Blocked(reason, next_step):
            return ChangeBlocked(change.id, reason, next_step)
        case ResponderAnswer():
            return await _answer(ctx, change, due, result)
        case _:
            assert_never(result)


async def _session(
    ctx: Context, change: ChangeState, threads: Sequence[Thread], due: Sequence[Thread]
) -> ResponderAnswer | Wait | Blocked:
    path = await prepare(ctx, change)
    subject = f"{change.id}:respond"

    async def objection(answer: Mapping[str, Any]) -> str:
        missing = _unanswered(due, [str(r.get("thread_id")) for r in answer.get("replies", ())])
        if missing:
            return f"These threads have no reply: {', '.join(missing)}."
        state = await ctx.repository.state(change.id)
        if state.modified:
            return f"There are uncommitted changes: {', '.join(state.modified[:10])}."
        return await misnamed(ctx, change, change.head)

    async def proof(answer: Answer) -> str:
        assert isinstance(answer, ResponderAnswer)  # noqa: S101 - the role decides the answer's form
        return await _unproven(ctx, change, due, answer)

    brief = ResponderBrief(
        **common(ctx, subject, str(path)),
        change=change.plan,
        threads=tuple(threads),
        head=change.head,
        base=change.base,
    )
    seat = Seat(Role.RESPONDER, subject, path, change.id, objection=objection, proof=proof)
    result = await converse(ctx, seat, brief)
    if isinstance(result, (Wait, Blocked)):
        return result
    assert isinstance(result.answer, ResponderAnswer)  # noqa: S101 - the brief decides the answer's form
    return result.answer


def _unanswered(threads: Sequence[Thread], replied: Sequence[str]) -> list[str]:
    return [t.id for t in threads if t.id not in replied]


async def _unproven(ctx: Context, change: ChangeState, threads: Sequence[Thread], answer: ResponderAnswer) -> str:
    """Return what the worktree does not bear out of the replies, or ""; a fix is one only with a commit."""
    if missing := _unanswered(threads, [r.thread_id for r in answer.replies]):
        return f"These threads have no reply: {', '.join(missing)}."
    state = await tidy(ctx, change)
    if state.refused or state.modified:
        return state.refused or f"There are uncommitted changes: {', '.join(state.modified[:10])}."
    head = await ctx.repository.adopt(change.id)
    fixed = any(r.outcome == "fixed" for r in answer.replies)
    if not fixed and head == change.head:
        return ""
    # since the remarks came, not since the head: a driver that died after its push has fixed them already
    since = change.asked_at or change.head
    pushed_by_force = not await ctx.repository.contains(change.head, since)  # and taken as it is
    return await nothing_shown(ctx, change.head if pushed_by_force else since, head)


async def _answer(
    ctx: Context, change: ChangeState, threads: Sequence[Thread], answer: ResponderAnswer
) -> ReviewsAnswered | ChangeBlocked | Wait:
    """Push what was fixed, then write the replies; a question about our own remark goes to the user first."""
    known = {t.id: t for t in threads}
    asked = [r.text for r in answer.replies if r.outcome == "question" and _is_ours(known.get(r.thread_id))]
    if asked:
        # nobody would answer it in the thread; left without a reply, the responder meets it again after `resume`
        return ChangeBlocked(
            change.id, f"the responder asks: {' '.join(asked)}", 'claudetm say "…", then claudetm resume'
        )
    fix = await ctx.repository.adopt(change.id)
    pushed = await patiently(ctx, lambda: push(ctx, change, fix))
    if not isinstance(pushed, Stands):
        return pushed
    await _reply(ctx, change, threads, answer, fix)
    people = any(t.people for t in threads)
    return ReviewsAnswered(change.id, pushed.head, tuple(t.id for t in threads), people)


def _is_ours(thread: Thread | None) -> bool:
    """Whether nobody but us has spoken in it: then we may close it, and nobody would answer a question in it."""
    return thread is not None and bool(thread.comments) and not thread.people


async def _reply(
    ctx: Context, change: ChangeState, threads: Sequence[Thread], answer: ResponderAnswer, head: str
) -> None:
    known = {t.id: t for t in threads}
    for reply in answer.replies:
        if (thread := known.get(reply.thread_id)) is None:
            continue
        resolve = reply.outcome == "fixed" or (reply.outcome == "declined" and _is_ours(thread))
        text = harmless(reply.text)
        text = fixed(text, head) if reply.outcome == "fixed" else text
        note = Note(_replied(thread), text, thread.id, resolve=resolve, seen=len(thread.comments))
        await _say(ctx, change, note)


def _replied(thread: Thread) -> str:
    """Return the key of a reply: by what it answers, as a count goes back when somebody takes a remark back."""
    said = thread.theirs
    what = hashlib.sha256(f"{said.author}\n{said.body}".encode() if said else b"").hexdigest()[:16]
    return f"reply:{thread.id}:{len(thread.comments)}:{what}"
