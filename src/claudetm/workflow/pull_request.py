"""A pull request as a forge tells it: plain values that `observe` decides over."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class PullRequestState(StrEnum):
    """Whether it is open."""

    OPEN = "open"
    MERGED = "merged"
    CLOSED = "closed"


class CheckState(StrEnum):
    """How a check of the head commit stands."""

    PENDING = "pending"
    PASSED = "passed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """One check of the head commit. A required check that has not reported is PENDING."""

    name: str
    state: CheckState
    required: bool = True
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Comment:
    """One remark in a thread. `ours` is true for what we wrote, reviewer role included."""

    author: str
    body: str
    ours: bool = False


@dataclass(frozen=True, slots=True)
class Thread:
    """A conversation about the change: on a line, or (path "") on the whole."""

    id: str
    comments: tuple[Comment, ...]
    path: str = ""
    line: int = 0
    resolved: bool = False
    unanswered: bool = True  # nobody of us has replied to its last word
    blocking: bool = True  # False for a remark that asks for nothing


@dataclass(frozen=True, slots=True)
class PullRequest:
    """A pull request as read at one moment."""

    number: int
    branch: str
    head: str
    base: str = ""  # the base's tip now
    tested_base: str = ""  # the base's tip that the checks ran with, where the forge knows it
    url: str = ""  # where a person finds it; the local forge says the branch
    state: PullRequestState = PullRequestState.OPEN
    merge_commit: str = ""
    by: str = ""  # who merged or closed it
    conflicting: bool = False
    behind: bool = False  # the base moved since the checks, and must be merged in first
    forward: bool = True  # the head descends from the one we pushed last
    queued: bool = False  # in the forge's merge queue
    checks: tuple[Check, ...] = ()
    threads: tuple[Thread, ...] = ()
    approvals: int = 0
    objections: tuple[str, ...] = ()  # people whose last review asks for changes

    @property
    def unanswered(self) -> tuple[Thread, ...]:
        """The open threads that wait for our word."""
        return tuple(t for t in self.threads if t.unanswered and not t.resolved)
