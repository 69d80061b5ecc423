"""What a run may spend and how often it may try: the policy, what was tried so far, and the decision from both.

Pure: the policy was journalled, the tallies are folded, the time is an argument.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Final

from claudetm.workflow.outcomes import CHARGED, NEEDS_THE_USER, POISON, RESUMABLE, Outcome

if TYPE_CHECKING:
    from claudetm.workflow.run import Run

POISON_LIMIT: Final = 3
OVERFLOW_LIMIT: Final = 2
TRANSIENT_LIMIT: Final = 10
BACKOFF_FIRST: Final = 15.0  # seconds
BACKOFF_MOST: Final = 900.0
RESET_JITTER: Final = 20.0  # seconds after a usage limit's reset, so that not everybody calls at once


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings a run goes by. Journalled at the start; None is unlimited; times are in seconds."""

    model: str = ""  # overrides the choice by complexity
    models: Mapping[str, str] = field(default_factory=dict)  # tier -> the model's id
    auto_merge: bool = True
    merge_method: str = "merge"
    land: bool = True
    approve_plan: bool = False
    pause_on_pr: bool = False
    verify: bool = True
    self_review: bool = True
    review_wait: float = 0.0
    reviews_required: int = 0
    review_rounds: int = 3
    checks: tuple[str, ...] = ()
    checks_none: str = "block"  # block | pass
    checks_grace: float = 60.0
    checks_timeout: float = 3600.0
    setup: tuple[str, ...] = ()
    copy: tuple[str, ...] = ()
    sessions: int | None = None
    cost_usd: float | None = None
    session_cost_usd: float = 10.0
    turns: int = 200
    session_seconds: float = 3600.0
    idle_seconds: float = 600.0
    attempts: int = 3
    fix_rounds: int = 3
    verify_rounds: int = 2
    updates: int = 5
    poll_seconds: float = 30.0
    sandbox: str = "auto"  # auto | on | off
    trust_project_settings: bool = False


_FIELDS: Final = {f.name: f for f in fields(Policy)}


def policy_from_data(data: Mapping[str, Any], base: Policy | None = None) -> Policy:
    """Return `base` with the JSON values of `data` laid over it; unknown keys are passed over."""
    known: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items() if k in _FIELDS}
    return replace(base or Policy(), **known)


def policy_to_data(policy: Policy) -> dict[str, Any]:
    """Return the policy as JSON values."""
    values = {name: getattr(policy, name) for name in _FIELDS}
    return {
        k: list(v) if isinstance(v, tuple) else dict(v) if isinstance(v, Mapping) else v for k, v in values.items()
    }


@dataclass(frozen=True, slots=True)
class Tally:
    """What was tried at one subject (a task, a fix, the plan) since it began or was unblocked."""

    attempts: int = 0  # sessions that had their chance
    poison: int = 0  # lost or crashed, in a row
    transient: int = 0  # overloaded or not started, in a row
    overflows: int = 0
    last_id: str = ""
    last_outcome: Outcome | None = None
    last_time: float = 0.0
    last_detail: str = ""

    def after(self, session: str, outcome: Outcome, time: float, detail: str, *, waits: bool) -> Tally:
        """Return the tally after one more session; `waits` says whether a usage limit's reset lies ahead."""
        answered = outcome is Outcome.ANSWERED
        # a usage limit with no reset to wait for would else be asked again at once, for ever
        streak = {Outcome.OVERLOADED, Outcome.START_FAILED} | (set() if waits else {Outcome.USAGE_LIMIT})
        return Tally(
            attempts=self.attempts + (answered or outcome in CHARGED),
            poison=self.poison + 1 if outcome in POISON else 0,
            transient=self.transient + 1 if outcome in streak else 0,
            overflows=self.overflows + (outcome is Outcome.CONTEXT_OVERFLOW),
            last_id=session,
            last_outcome=outcome,
            last_time=time,
            last_detail=detail,
        )

    def resumed(self) -> Tally:
        """Return the tally once a person has seen to what concerns the whole run; attempts still count."""
        outcome = None if self.last_outcome in NEEDS_THE_USER else self.last_outcome
        return replace(self, transient=0, last_outcome=outcome)


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before `until` (epoch seconds), or before somebody does something (None)."""

    until: float | None
    why: str
    person: bool = False  # only a person, or a raised limit, can end it
    next: str = "claudetm resume"  # what that person can do


@dataclass(frozen=True, slots=True)
class Go:
    """A session may start."""

    reserve: float  # US dollars it may spend
    resume: str = ""  # the session to carry on, or "" for a fresh one
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Blocked:
    """No session may start until the user has done what `next` says."""

    reason: str
    next: str
    whole_run: bool = False


def may_start(run: Run, subject: str, now: float) -> Go | Wait | Blocked:
    """Decide whether a session for `subject` may start now, from the run's policy and what was tried."""
    policy, tally = run.policy, run.tally(subject)
    if run.finished:
        return Wait(None, "the run is over")
    if run.halt is not None:
        return Wait(None, run.halt.reason, person=True)
    if tally.last_outcome in NEEDS_THE_USER:
        return _needs_the_user(tally.last_outcome)
    if tally.poison >= POISON_LIMIT:
        return Blocked(
            f"{subject}: {tally.poison} sessions in a row died; it is quarantined",
            "claudetm logs, then claudetm resume",
        )
    if tally.overflows >= OVERFLOW_LIMIT:
        return Blocked(f"{subject}: the conversation outgrew the model's context twice", "claudetm plan edit")
    if tally.transient >= TRANSIENT_LIMIT:
        return Blocked(
            f"the model's service failed {tally.transient} times in a row", "claudetm resume", whole_run=True
        )
    if tally.attempts >= policy.attempts:
        last = f"; the last: {tally.last_detail}" if tally.last_detail else ""
        return Blocked(
            f"{subject}: {tally.attempts} attempts came to nothing{last}", "claudetm logs, then claudetm resume"
        )
    if policy.sessions is not None and run.sessions >= policy.sessions:
        return Wait(
            None,
            f"the limit of {policy.sessions} sessions is reached",
            person=True,
            next="claudetm resume --max-sessions NUMBER",
        )
    reserve = policy.session_cost_usd
    if policy.cost_usd is not None:
        left = policy.cost_usd - run.used.cost_usd
        if left <= 0:
            return Wait(
                None,
                f"the budget of ${policy.cost_usd:.2f} is spent",
                person=True,
                next="claudetm resume --max-cost AMOUNT",
            )
        reserve = min(reserve, left - run.reserved)
        if reserve <= 0:
            return Wait(None, "running sessions have reserved the rest of the budget")
    if now < run.usage_resets_at + RESET_JITTER:
        return Wait(run.usage_resets_at + RESET_JITTER, "the usage limit resets")
    if tally.transient:
        until = tally.last_time + min(BACKOFF_FIRST * 2 ** (tally.transient - 1), BACKOFF_MOST)
        if now < until:
            return Wait(until, "the model's service is overloaded")
    resume = tally.last_id if tally.last_outcome in RESUMABLE and tally.attempts < _FRESH_AFTER else ""
    return Go(reserve, resume, tally.attempts + 1)


_FRESH_AFTER: Final = 2
"""After two attempts at one thing the conversation itself is suspect: the next session starts afresh."""


def _needs_the_user(outcome: Outcome) -> Blocked:
    match outcome:
        case Outcome.UNAUTHENTICATED:
            return Blocked(
                "Claude refused the credentials",
                "claude login, or ANTHROPIC_API_KEY; then claudetm resume",
                whole_run=True,
            )
        case Outcome.BILLING:
            return Blocked("the Claude account has no credit", "add credit, then claudetm resume", whole_run=True)
        case _:
            return Blocked("Claude does not know the model", "claudetm resume --model opus", whole_run=True)
