"""A pull request as GitHub tells it at one moment, normalised: all that the forge decides over.

`reading` makes it of GraphQL's answers (and of REST's, where those are refused); `forge` adds what only git
knows, and makes the port's `PullRequest` of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from claudetm.workflow.pull_request import Check, PullRequestState, Thread


class Mergeable(StrEnum):
    """GraphQL's `mergeable`; UNKNOWN while GitHub computes it."""

    MERGEABLE = "MERGEABLE"
    CONFLICTING = "CONFLICTING"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class PushedCommit:
    """A commit of the pull request. `login` is "" where GitHub knows no account by the author's address."""

    id: str
    login: str
    email: str
    bot: bool
    listened: bool  # whether its author is one of those who are listened to
    merge: bool  # has two parents or more


@dataclass(frozen=True, slots=True)
class Pull:
    """All of one pull request. `checks` holds required ones that have not reported, too, as PENDING."""

    id: str  # GraphQL's
    number: int
    url: str
    title: str
    body: str
    state: PullRequestState
    draft: bool
    branch: str
    head: str
    target: str  # the base branch
    base: str  # its tip, as GraphQL's baseRef.target says; "" where it is gone
    head_repository: str  # "owner/name", "" where it was deleted
    branch_there: bool  # whether the head branch exists
    writable: bool  # whether maintainers may push to the head branch, or it is of this repository
    merge_commit: str
    by: str  # who merged or closed it
    mergeable: Mergeable
    status: str  # mergeStateStatus
    checks: tuple[Check, ...]
    failed_jobs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # failed check -> its check runs (jobs)
    runs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # check -> Actions runs by which it so stands
    broken: Mapping[str, str] = field(default_factory=dict)  # failed check -> why it is no verdict on the code
    links: Mapping[str, str] = field(default_factory=dict)  # check -> where a person reads it
    goes_on: bool = False  # a workflow has not ended, though none of its jobs runs
    threads: tuple[Thread, ...] = ()  # of those who are listened to, and ours; bots' only inline ones
    replies: Mapping[str, int] = field(default_factory=dict)  # review thread -> REST id of its first comment
    resolvable: frozenset[str] = frozenset()  # review threads that we may resolve
    shut: frozenset[str] = frozenset()  # review threads that GitHub shows as resolved and a person spoke in since
    pending: bool = False  # the token's account has a review that is not submitted: GitHub takes no reply meanwhile
    quoted: Mapping[str, str] = field(default_factory=dict)  # review or comment thread -> its address
    markers: Mapping[str, str] = field(default_factory=dict)  # marker of a remark of ours -> its thread
    approvals: int = 0  # people's, on record now
    approved: tuple[str, ...] = ()  # who they are
    objections: tuple[str, ...] = ()
    withheld: str = ""
    unheard: tuple[str, ...] = ()
    ignored: tuple[Thread, ...] = ()  # what was said and does not count, for a person to look at
    queue: bool = False  # the base branch has a merge queue
    queued: bool = False  # in it now
    auto_merge: str = ""  # who asked GitHub to merge it once it may, or ""
    may_auto_merge: bool = False  # the repository allows that
    deletes_branch: bool = False  # the repository deletes branches of what is merged
    commits: tuple[PushedCommit, ...] = ()  # the newest 50 at most, oldest first
    unread: str = ""  # which checks the token may not read, as a clause; they are not among `checks`
