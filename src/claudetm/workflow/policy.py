"""The settings a run goes by, and what was tried at one thing so far: what the fold keeps of limits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from claudetm.workflow.outcomes import CHARGED, NEEDS_THE_USER, POISON, Outcome


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings a run goes by. Journalled at the start; None is unlimited; times are in seconds."""

    model: str = ""  # overrides the choice by complexity
    models: Mapping[str, str] = field(default_factory=dict)  # tier -> the model's id
    tuning: Mapping[str, str] = field(default_factory=dict)  # "roles.<role>.model", "complexity.<c>.effort" -> value
    auto_push: bool = True  # without asking: after each task, and to open pull requests
    auto_merge: bool = True
    merge_method: str = "merge"
    land: bool = True
    approve_plan: bool = False
    pr_per_task: bool = False
    max_prs: int | None = None  # pull requests of the whole run
    pause_on_pr: bool = False
    verify: bool = True
    self_review: bool = True
    review_wait: float = 0.0
    reviews_required: int = 0
    review_rounds: int = 3
    trusted: tuple[str, ...] = ()  # accounts that are listened to besides those who may write, bots among them
    checks: tuple[str, ...] = ()
    checks_none: str = "block"  # block | pass
    checks_grace: float = 60.0
    checks_timeout: float = 3600.0
    checks_environment: tuple[str, ...] = ()  # names of the user's variables that set-up, checks and criteria have
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
    audit: bool = True  # a session's work is scored before it is kept
    audit_threshold: int = 80  # of 100
    audit_rounds: int = 3
    poll_seconds: float = 30.0
    sandbox: str = "auto"  # auto | on | off
    trust_project_settings: bool = False
    cli: str = "bundled"  # bundled | path: which Claude Code sessions run on


_FIELDS: Final = {f.name: f for f in fields(Policy)}


def policy_from_data(data: Mapping[str, Any], base: Policy | None = None) -> Policy:
    """Return `base` with the JSON values of `data` laid over it; unknown keys are passed over."""
    known: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items() if k in _FIELDS}
    return replace(base or Policy(), **known)


def unusable(data: Mapping[str, Any]) -> str:
    """Return why these JSON values cannot be laid over a policy, as a sentence, or ""."""
    default = Policy()
    for name, value in data.items():
        if name not in _FIELDS:
            return f"There is no setting {name}."
        standing = getattr(default, name)
        if value is None and name in _UNLIMITED:
            continue
        if isinstance(standing, bool) or isinstance(value, bool):
            usable = isinstance(standing, bool) and isinstance(value, bool)
        elif isinstance(standing, int | float) or name in _UNLIMITED:
            usable = isinstance(value, int | float) and math.isfinite(value) and value >= 0
        elif isinstance(standing, tuple):
            usable = isinstance(value, list | tuple) and all(isinstance(v, str) for v in value)
        else:
            usable = isinstance(value, Mapping if isinstance(standing, Mapping) else str)
        if not usable:
            return f"{value!r} is no value of the setting {name}."
    return ""


_UNLIMITED: Final = frozenset({"sessions", "cost_usd", "max_prs"})


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
        # a conversation that cannot be carried on says nothing about the work: it ends no streak
        kept = self.poison if outcome is Outcome.RESUME_FAILED else 0
        return Tally(
            attempts=self.attempts + (answered or outcome in CHARGED),
            poison=self.poison + 1 if outcome in POISON else kept,
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
