"""What follows from what is seen: a change's stage, its pull request as read, the policy and the time decide.

Pure. The answer is an event (it has happened, record it), `Act` (run the stage's handler) or `Wait`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, assert_never

from claudetm.workflow import events as e
from claudetm.workflow.limits import FORGE, Wait
from claudetm.workflow.policy import Policy
from claudetm.workflow.pull_request import UNREPORTED, CheckState, PullRequest, PullRequestState, both_sides
from claudetm.workflow.run import ChangeState
from claudetm.workflow.stages import PULL_REQUEST_STAGES, Stage


@dataclass(frozen=True, slots=True)
class Act:
    """Run the handler of where the change stands."""


class Verdict(StrEnum):
    """What the checks say, all together."""

    NONE = "none"
    PENDING = "pending"
    PASSED = "passed"
    FAILED = "failed"


def verdict(pull: PullRequest) -> Verdict:
    """Return what the checks of the head say; a required one that is red outweighs others that still run."""
    states = {c.state for c in pull.checks if c.required} or {c.state for c in pull.checks}
    if not states:
        return Verdict.NONE
    if CheckState.FAILED in states:
        return Verdict.FAILED
    return Verdict.PENDING if CheckState.PENDING in states else Verdict.PASSED


def observe(change: ChangeState, pull: PullRequest | None, policy: Policy, now: float) -> e.Event | Act | Wait:
    """Decide what a change does next. `pull` is None where no pull request was read; `now` is epoch seconds."""
    stage = change.stage
    if change.hold is not None:
        ended = _ended(change, pull) if pull and stage in PULL_REQUEST_STAGES else None
        return ended or Wait(None, change.hold.reason, person=True)
    if pull is None:
        return _without_pull_request(change)
    if stage in PULL_REQUEST_STAGES and (event := _from_outside(change, pull)) is not None:
        return event
    match stage:
        case Stage.QUEUED | Stage.WORKING | Stage.PUBLISHING | Stage.ADDRESSING_REVIEWS | Stage.UPDATING_BRANCH:
            return Act()
        case Stage.PR_CREATED:
            return e.ChecksAwaited(change.id, pull.head)
        case Stage.WAITING_CI:
            return _waiting_ci(change, pull, policy, now)
        case Stage.CI_FAILED:
            return _ci_failed(change, pull)
        case Stage.REVIEWING:
            return _gate(change, pull) or Act()
        case Stage.WAITING_REVIEWS:
            return _gate(change, pull) or _waiting_reviews(change, pull, policy, now)
        case Stage.READY_TO_MERGE:
            return _ready(change, pull, policy)
        case Stage.ABANDONED:
            return _abandoned(change, pull)
        case Stage.AUDITING | Stage.KEEPING:
            return Act()
        case Stage.MERGED | Stage.SKIPPED | Stage.KEPT:
            return Wait(None, "nothing is left to do")
        case _:
            assert_never(stage)


def _without_pull_request(change: ChangeState) -> Act | Wait:
    match change.stage:
        case Stage.QUEUED | Stage.WORKING | Stage.PUBLISHING | Stage.AUDITING | Stage.KEEPING:
            return Act()
        case Stage.ABANDONED:
            return Wait(None, f"pull request #{change.number} was closed", person=True)
        case _:
            return Wait(None, f"pull request #{change.number} could not be read")


def _ended(change: ChangeState, pull: PullRequest) -> e.Event | None:
    """Return the event of a pull request that is open no more."""
    match pull.state:
        case PullRequestState.MERGED:
            return e.PullRequestMerged(change.id, pull.merge_commit, pull.by)
        case PullRequestState.CLOSED:
            return e.PullRequestClosed(change.id, pull.by)
        case PullRequestState.OPEN:
            return None
        case _:
            assert_never(pull.state)


def _from_outside(change: ChangeState, pull: PullRequest) -> e.Event | None:
    """Return what somebody else did to the pull request: merged, closed or pushed."""
    if ended := _ended(change, pull):
        return ended
    if change.stage is Stage.PUBLISHING or pull.head == change.head:
        return None
    if change.adopting or (pull.forward and not pull.foreign):
        return e.HeadMoved(change.id, pull.head)
    force = f"{pull.branch} was pushed by force, from {change.head[:10]} to {pull.head[:10]}"
    return e.ChangeBlocked(
        change.id, pull.foreign if pull.forward else force, "claudetm resume (takes the branch as it is now)"
    )


def _gate(change: ChangeState, pull: PullRequest) -> e.Event | None:
    """Return what takes a green pull request back: a conflict, or checks that are red or run again."""
    if pull.conflicting:
        return e.ConflictFound(change.id, pull.head)
    match verdict(pull):
        case Verdict.FAILED:
            return _failed(change, pull)
        case Verdict.PENDING:
            return e.ChecksAwaited(change.id, pull.head)
        case Verdict.PASSED | Verdict.NONE:
            return None


def _failed(change: ChangeState, pull: PullRequest) -> e.ChecksFailed:
    red = [c for c in pull.checks if c.state is CheckState.FAILED]
    names, how = tuple(c.name for c in red), tuple(c.summary for c in red)
    return e.ChecksFailed(change.id, pull.head, names, pull.tested_base, how, _flaky(change, pull))


def _passed(change: ChangeState, pull: PullRequest, note: str = "") -> e.ChecksPassed:
    if flaky := _flaky(change, pull):
        note = f"flaky: {', '.join(flaky)} passed when run again"
    return e.ChecksPassed(change.id, pull.head, pull.tested_base, note, flaky)


def _flaky(change: ChangeState, pull: PullRequest) -> tuple[str, ...]:
    """Return the checks that failed before with the same head and base, and pass now that they ran again."""
    if pull.head not in change.rerun_heads or pull.tested_base != change.failed_with:
        return ()
    passed = {c.name for c in pull.checks if c.state is CheckState.PASSED}
    return tuple(name for name in change.failed if name in passed)


def _waiting_ci(change: ChangeState, pull: PullRequest, policy: Policy, now: float) -> e.Event | Wait:
    if pull.conflicting:
        return e.ConflictFound(change.id, pull.head)
    match verdict(pull):
        case Verdict.PASSED if now < (until := _all_reported(change, pull)):
            return Wait(until, "the checks that have reported are green; others may follow")
        case Verdict.PASSED:
            return _passed(change, pull)
        case Verdict.FAILED:
            # a fix round should see all that is red
            until = _running_since(change) + policy.checks_timeout
            if _pending(pull) and (pull.bounded or now < until):
                return Wait(None if pull.bounded else until, "a check has failed, others are running")
            return _failed(change, pull)
        case Verdict.PENDING:
            until, why = _running_since(change) + policy.checks_timeout, _running(pull)
            if pull.bounded or now < until:
                return Wait(None if pull.bounded else until, why)
            late = ", ".join(_pending(pull))
            return e.ChangeBlocked(
                change.id,
                f"the checks did not report within {policy.checks_timeout / 60:.0f} minutes: {late}",
                f"look at {pull.url or pull.branch}, then claudetm resume",
            )
        case Verdict.NONE:
            until = _running_since(change) + policy.checks_grace
            if now < until:
                return Wait(until, "no check has reported yet")
            if policy.checks_none == "pass":
                return _passed(change, pull, note="no checks")
            return e.ChangeBlocked(
                change.id,
                "no check has reported, and zero checks is not green",
                "claudetm config set checks.none pass, then claudetm resume",
            )


_SETTLED: Final = 15.0
"""Seconds after a push within which a forge elsewhere may not have begun all checks; no rule says which there are."""


def _all_reported(change: ChangeState, pull: PullRequest) -> float:
    """Return when green is green: at once where the forge's own checks or required ones say so."""
    known = pull.bounded or any(c.required for c in pull.checks)
    return 0.0 if known else max(change.since, change.head_since) + _SETTLED


def _running(pull: PullRequest) -> str:
    """Return what the checks wait for, in a clause: one that only rules know may never come."""
    left = [c for c in pull.checks if c.state is CheckState.PENDING]
    if any(c.summary != UNREPORTED for c in left):
        return "the checks are running"
    names, one = ", ".join(c.name for c in left), len(left) == 1
    return f"{names} {'is' if one else 'are'} required and {'has' if one else 'have'} not reported"


def _pending(pull: PullRequest) -> list[str]:
    return [c.name for c in pull.checks if c.state is CheckState.PENDING]


def _running_since(change: ChangeState) -> float:
    """Return since when the checks of this head are waited for: a push starts them anew, a new driver looks anew."""
    return max(change.since, change.head_since, change.watched_since)


def _ci_failed(change: ChangeState, pull: PullRequest) -> e.Event | Act | Wait:
    if pull.conflicting:
        return e.ConflictFound(change.id, pull.head)
    match verdict(pull):
        case Verdict.PASSED:
            return _passed(change, pull)
        case Verdict.PENDING:
            return Wait(None, "the checks are running again")
        case Verdict.FAILED | Verdict.NONE:
            return Act()


def _waiting_reviews(change: ChangeState, pull: PullRequest, policy: Policy, now: float) -> e.Event | Wait:
    if pull.unanswered:
        return e.ReviewsReceived(change.id, tuple(t.id for t in pull.unanswered))
    if debt := owed(pull, policy):
        return Wait(None, debt.why, next=debt.next, asks=FORGE)
    until = change.since + policy.review_wait
    if now < until:
        return Wait(until, "waiting for reviews")
    return e.ReviewsSettled(change.id, pull.head)


@dataclass(frozen=True, slots=True)
class Owed:
    """What people owe a pull request before it may be merged, and what one of them can do."""

    why: str
    next: str


def owed(pull: PullRequest, policy: Policy) -> Owed | None:
    """Return why people have not let it through yet, or None. What they said is never overridden."""
    approve = _do(pull, f"approve {pull.number}")
    if pull.objections:
        return Owed(f"{', '.join(pull.objections)} asked for changes; {_code(approve)} lifts that", approve)
    if left := [t for t in pull.threads if t.stands]:
        people = ", ".join(dict.fromkeys(name for t in left for name in t.people)) or "a person"
        resolve = _do(pull, f"resolve {pull.number} {left[0].id}")
        what = "conversation is" if len(left) == 1 else "conversations are"
        why = f"{len(left)} {what} unresolved, {people}'s to resolve by {_code(resolve)}: {both_sides(left[0])}"
        return Owed(why, resolve)
    if pull.approvals < policy.reviews_required:
        return Owed(f"{pull.approvals} of {policy.reviews_required} approvals; {_code(approve)} gives one", approve)
    return Owed(pull.withheld, approve) if pull.withheld else None


def _do(pull: PullRequest, what: str) -> str:
    """Return how a person reviews: at its address, or by a command where the forge has none."""
    return f"a review at {pull.url}" if "://" in pull.url else f"claudetm review {what}"


def _code(what: str) -> str:
    return f"`{what}`" if what.startswith("claudetm ") else what


def _ready(change: ChangeState, pull: PullRequest, policy: Policy) -> e.Event | Act | Wait:
    if event := _gate(change, pull):
        return event
    if pull.behind:
        return e.BaseMoved(change.id, pull.base)
    if pull.unanswered:
        return e.ReviewsReceived(change.id, tuple(t.id for t in pull.unanswered))
    if owed(pull, policy) is not None:
        return e.ReviewsAwaited(change.id, pull.head)
    if not policy.auto_merge:
        how = "merge it there" if "://" in pull.url else f"git merge {pull.branch}"
        ready = f"{pull.url or pull.branch} is ready; merging is left to you"
        return Wait(None, ready, person=True, next=f"{how}, then claudetm resume", asks=FORGE)
    if pull.queued:
        return Wait(None, "in the forge's merge queue")
    return Act()


def _abandoned(change: ChangeState, pull: PullRequest) -> e.Event | Wait:
    match pull.state:
        case PullRequestState.OPEN | PullRequestState.MERGED:
            return e.PullRequestReopened(change.id, pull.head)
        case PullRequestState.CLOSED if change.conceded:
            return e.ChangeDropped(change.id, f"closed by {pull.by or 'a person'}")
        case PullRequestState.CLOSED:
            return Wait(None, f"pull request #{change.number} was closed by {pull.by or 'a person'}", person=True)
        case _:
            assert_never(pull.state)
