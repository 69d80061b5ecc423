"""What a run may spend and how often it may try: the decision from its policy and what was tried so far.

Pure: the policy was journalled, the tallies are folded, the time is an argument.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from claudetm.workflow.outcomes import NEEDS_THE_USER, RESUMABLE, Outcome
from claudetm.workflow.stages import Halt

if TYPE_CHECKING:
    from collections.abc import Mapping

    from claudetm.plan.model import Plan
    from claudetm.workflow.policy import Tally
    from claudetm.workflow.run import Run

POISON_LIMIT: Final = 3
OVERFLOW_LIMIT: Final = 2
TRANSIENT_LIMIT: Final = 10
BACKOFF_FIRST: Final = 15.0  # seconds
BACKOFF_MOST: Final = 900.0
RAISE: Final = "claudetm resume --max-"
"""How the one thing begins that a person can do about a limit of the whole run."""
FORGE: Final = "forge"
"""What a wait asks for that ends by what people do at the forge, so that whoever looks there needs no resume."""
RESET_JITTER: Final = 20.0  # seconds after a usage limit's reset, so that not everybody calls at once


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before `until` (epoch seconds), or before somebody does something (None)."""

    until: float | None
    why: str
    person: bool = False  # only a person, or a raised limit, can end it
    next: str = "claudetm resume"  # what that person can do
    asks: str = ""  # `FORGE`: the forge will show that somebody has done it


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
    if (refused := _by_the_service(tally)) is not None:
        return refused
    last = f"; the last: {tally.last_detail}" if tally.last_detail else ""
    if tally.poison >= POISON_LIMIT:
        return Blocked(
            f"{subject}: {tally.poison} sessions in a row died; it is quarantined{last}",
            "claudetm logs, then claudetm resume",
        )
    if tally.overflows >= OVERFLOW_LIMIT:
        return Blocked(
            f"{subject}: the conversation outgrew the model's context twice", 'claudetm say "…", then claudetm resume'
        )
    if tally.attempts >= policy.attempts:
        return Blocked(
            f"{subject}: {tally.attempts} attempts came to nothing{last}", "claudetm logs, then claudetm resume"
        )
    if policy.sessions is not None and run.sessions >= policy.sessions:
        return Wait(
            None,
            f"the limit of {policy.sessions} sessions is reached",
            person=True,
            next=f"{RAISE}sessions NUMBER",
        )
    reserve = policy.session_cost_usd
    if policy.cost_usd is not None:
        left = policy.cost_usd - run.used.cost_usd
        if left <= 0:
            return Wait(
                None,
                f"the budget of ${policy.cost_usd:.2f} is spent",
                person=True,
                next=f"{RAISE}cost AMOUNT",
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


def turned_away(run: Run) -> Outcome | None:
    """Return how the model's service answers where that is what blocks the run: it will pass, or be mended."""
    if run.halt is None or run.halt.kind is not Halt.BLOCKED:
        return None
    for tally in run.tallies.values():
        refused = _by_the_service(tally)
        lasting = tally.last_outcome is Outcome.START_FAILED  # that is this machine's
        if refused is not None and refused.reason == run.halt.reason and not lasting:
            return tally.last_outcome
    return None


def _by_the_service(tally: Tally) -> Blocked | None:
    if tally.last_outcome in NEEDS_THE_USER:
        return _needs_the_user(tally.last_outcome)
    if tally.transient >= TRANSIENT_LIMIT:
        reason = f"the model's service failed {tally.transient} times in a row"
        return Blocked(reason, "claudetm resume", whole_run=True)
    return None


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


def pull_requests(run: Run, plan: Plan) -> int:
    """Return how many pull requests the run comes to when it works this plan: those there are, and those due."""
    opened = {c.id for c in run.changes.values() if c.number}
    due = {c.id for c in plan.changes if c.id not in run.changes or not run.changes[c.id].settled}
    return len(opened | due)


def too_many(run: Run, plan: Plan) -> str:
    """Return why the policy's limit of pull requests forbids this plan, as a sentence, or ""."""
    most, count = run.policy.max_prs, pull_requests(run, plan)
    if most is None or count <= most:
        return ""
    each, what = (", one a task", "tasks") if run.policy.pr_per_task else ("", "changes")
    allowed = f"{most} {'is' if most == 1 else 'are'} allowed"
    return f"The plan makes {_some(count)}{each}, and at most {allowed}: merge or drop {what}."


def _some(count: int) -> str:
    return f"{count} pull request{'' if count == 1 else 's'}"


def below_use(run: Run, limits: Mapping[str, Any]) -> str:
    """Return why new limits cannot be: less than the run has used already. A sentence, or ""."""
    opened = sum(bool(c.number) for c in run.changes.values())
    for name, used, said in (
        ("sessions", run.sessions, f"{run.sessions} sessions"),
        ("cost_usd", run.used.cost_usd, f"${run.used.cost_usd:.2f}"),
        ("max_prs", opened, _some(opened)),
    ):
        limit = limits.get(name)
        if limit is not None and limit < used:
            shown = f"${limit:.2f}" if name == "cost_usd" else limit
            return f"The run has used {said} already, so {shown} cannot be its limit: name more, or leave it."
    return ""
