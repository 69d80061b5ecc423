"""Where a run stands (phase) and where a change stands (stage). A stage's value is its name in the journal."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Mode(StrEnum):
    """How a run goes about what is asked."""

    GOAL = "goal"  # the state machine, pull requests
    SESSION = "session"  # one task of the text itself, audited, its work kept; no pull request
    QUESTION = "question"  # answered by a session that changes nothing


class Phase(StrEnum):
    """Where a run stands."""

    PLANNING = "planning"
    PLANNED = "planned"
    WORKING = "working"
    VERIFYING = "verifying"
    VERIFIED = "verified"
    CANCELLED = "cancelled"


class Stage(StrEnum):
    """Where a change stands."""

    QUEUED = "queued"
    WORKING = "working"
    PUBLISHING = "publishing"
    PR_CREATED = "pr_created"
    WAITING_CI = "waiting_ci"
    CI_FAILED = "ci_failed"
    REVIEWING = "reviewing"
    WAITING_REVIEWS = "waiting_reviews"
    ADDRESSING_REVIEWS = "addressing_reviews"
    UPDATING_BRANCH = "updating_branch"
    READY_TO_MERGE = "ready_to_merge"
    AUDITING = "auditing"
    KEEPING = "keeping"
    MERGED = "merged"
    ABANDONED = "abandoned"
    SKIPPED = "skipped"
    KEPT = "kept"


class Halt(StrEnum):
    """What lies over a run's phase and keeps it from going on until `resume`."""

    PAUSED = "paused"
    BLOCKED = "blocked"


MONITOR: Final = "monitor"
"""Who resumes a run without a person's word."""
FINAL_PHASES: Final = frozenset({Phase.VERIFIED, Phase.CANCELLED})
FINAL_STAGES: Final = frozenset({Stage.MERGED, Stage.SKIPPED, Stage.KEPT})

PULL_REQUEST_STAGES: Final = frozenset(
    {
        Stage.PUBLISHING,
        Stage.PR_CREATED,
        Stage.WAITING_CI,
        Stage.CI_FAILED,
        Stage.REVIEWING,
        Stage.WAITING_REVIEWS,
        Stage.ADDRESSING_REVIEWS,
        Stage.UPDATING_BRANCH,
        Stage.READY_TO_MERGE,
    }
)
"""From publishing to ready_to_merge: a pull request exists or may exist."""
