"""How an agent session ended, and what it used. The adapter maps every way the SDK can end to one of these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final


class Outcome(StrEnum):
    """How a session ended. Only ANSWERED carries an answer."""

    ANSWERED = "answered"
    NO_ANSWER = "no_answer"  # ended its turn, or its answer stayed invalid
    CONTRADICTED = "contradicted"  # said that it was done, and the repository showed otherwise
    REFUSED = "refused"  # the model declined
    CUT_OFF = "cut_off"  # the output limit, or a stream that broke
    TURN_LIMIT = "turn_limit"
    BUDGET_LIMIT = "budget_limit"
    TIME_LIMIT = "time_limit"
    IDLE = "idle"  # nothing arrived for the idle time
    INTERRUPTED = "interrupted"  # we asked it to stop
    LOST = "lost"  # its driver died
    CRASHED = "crashed"  # the CLI died, or spoke nonsense
    START_FAILED = "start_failed"  # the CLI did not come up
    OVERLOADED = "overloaded"  # 529, 5xx, a refused connection
    USAGE_LIMIT = "usage_limit"  # waits for `resets_at`
    CONTEXT_OVERFLOW = "context_overflow"  # too long a conversation: never resumed
    RESUME_FAILED = "resume_failed"  # the session to resume is not there
    UNAUTHENTICATED = "unauthenticated"
    BILLING = "billing"
    UNKNOWN_MODEL = "unknown_model"


NEEDS_THE_USER: Final = frozenset({Outcome.UNAUTHENTICATED, Outcome.BILLING, Outcome.UNKNOWN_MODEL})
"""No session can succeed until the user has done something: the whole run stops."""

CHARGED: Final = frozenset(
    {
        Outcome.NO_ANSWER,
        Outcome.CONTRADICTED,
        Outcome.REFUSED,
        Outcome.CUT_OFF,
        Outcome.TURN_LIMIT,
        Outcome.BUDGET_LIMIT,
        Outcome.TIME_LIMIT,
        Outcome.IDLE,
    }
)
"""The session had its chance: an attempt is charged."""

POISON: Final = frozenset({Outcome.LOST, Outcome.CRASHED})
"""Three in a row, and what they worked on is quarantined."""

NEVER_RAN: Final = NEEDS_THE_USER | {
    Outcome.LOST,
    Outcome.START_FAILED,
    Outcome.OVERLOADED,
    Outcome.USAGE_LIMIT,
    Outcome.RESUME_FAILED,
}
"""The session may not have heard what it was told."""

RESUMABLE: Final = frozenset(
    {
        Outcome.LOST,
        Outcome.INTERRUPTED,
        Outcome.IDLE,
        Outcome.CRASHED,
        Outcome.OVERLOADED,
        Outcome.USAGE_LIMIT,
        Outcome.TIME_LIMIT,
        Outcome.TURN_LIMIT,
        Outcome.BUDGET_LIMIT,
    }
)
"""The conversation is worth carrying on; after any other end the next session starts afresh."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a session used, subagents included: US dollars and tokens."""

    cost_usd: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    turns: int = 0

    def __add__(self, other: Usage) -> Usage:
        """Return the sum, field by field."""
        return Usage(
            self.cost_usd + other.cost_usd,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cache_read_tokens + other.cache_read_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.turns + other.turns,
        )


def usage_from_data(data: Mapping[str, Any]) -> Usage:
    """Return the usage of JSON values; absent fields are 0."""
    return Usage(
        float(data.get("cost_usd", 0.0)),
        int(data.get("input_tokens", 0)),
        int(data.get("output_tokens", 0)),
        int(data.get("cache_read_tokens", 0)),
        int(data.get("cache_write_tokens", 0)),
        int(data.get("turns", 0)),
    )
