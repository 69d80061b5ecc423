"""All that the double knows: plain records, and the few moves that keep them whole (numbers, ids, events of refs).

What follows from them (mergeable, required checks, the rollup) is never stored: `rules.py` derives it, with real git.
A ref moves through `State.ref_moved` only, so that pull requests, threads and CI hear of each push.
"""

from __future__ import annotations

import base64
import copy
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from github_double import plumbing

Kind = Literal["User", "Bot", "Organization", "Mannequin"]
Level = Literal["none", "read", "triage", "write", "maintain", "admin"]
Side = Literal["LEFT", "RIGHT"]
LEVELS: tuple[Level, ...] = ("none", "read", "triage", "write", "maintain", "admin")
ACTIONS = "github-actions"  # the app that reports what workflows do
GHOST = "ghost"


@dataclass
class Account:
    """A person, a bot (`login` ends in "[bot]" over REST, and does not in GraphQL) or an organisation."""

    id: int
    login: str  # without "[bot]"
    type: Kind = "User"
    name: str = ""
    email: str = ""
    node_id: str = ""

    @property
    def rest_login(self) -> str:
        """The login as REST says it."""
        return f"{self.login}[bot]" if self.type == "Bot" else self.login


@dataclass
class Token:
    """A credential. Classic ones have scopes; fine-grained and Actions' have permissions ("contents": "write")."""

    value: str
    login: str
    kind: Literal["classic", "fine-grained", "actions"] = "classic"
    scopes: frozenset[str] = frozenset({"repo"})
    permissions: dict[str, str] = field(default_factory=dict)
    repositories: frozenset[str] | None = None  # full names that a fine-grained one is for; None = all


@dataclass
class Quota:
    """What an account has of its hour for one resource ("core", "graphql"), by the state's clock."""

    limit: int
    resets_at: float
    used: int = 0

    @property
    def remaining(self) -> int:
        """What is left of it."""
        return max(0, self.limit - self.used)


@dataclass
class Protection:
    """Protection of a branch, or what a ruleset asks of it."""

    contexts: tuple[str, ...] = ()  # required status checks
    strict: bool = False  # the branch must be up to date
    approvals: int = 0
    reviews: bool = False  # a pull request is required; with approvals always
    dismiss_stale: bool = False
    code_owners: bool = False
    last_push_approval: bool = False
    conversation_resolution: bool = False
    signatures: bool = False
    linear_history: bool = False
    enforce_admins: bool = False
    locked: bool = False

    @property
    def needs_reviews(self) -> bool:
        """Whether changes come through pull requests only."""
        return self.reviews or self.approvals > 0 or self.code_owners


@dataclass
class Ruleset:
    """A ruleset for branches; `branches` are names or patterns, "~DEFAULT_BRANCH" or "~ALL"."""

    id: int
    name: str
    rules: Protection
    branches: tuple[str, ...] = ("~DEFAULT_BRANCH",)
    enforcement: Literal["active", "evaluate", "disabled"] = "active"
    merge_queue: bool = False
    allowed_merge_methods: tuple[str, ...] = ()  # () = as the repository allows
    bypass: tuple[str, ...] = ()  # accounts that may merge past it
    node_id: str = ""


@dataclass
class QueueEntry:
    """A pull request in a merge queue; `group` is the commit that is tested, "" before it was built."""

    node_id: str
    number: int
    login: str  # who put it there
    enqueued_at: str
    head: str
    state: Literal["QUEUED", "AWAITING_CHECKS", "MERGEABLE", "UNMERGEABLE", "LOCKED"] = "QUEUED"
    group: str = ""
    base: str = ""  # the base's tip that the group was built on


@dataclass
class MergeQueue:
    """The queue of one branch, first come first."""

    node_id: str
    branch: str
    method: Literal["merge", "squash", "rebase"] = "squash"
    entries: list[QueueEntry] = field(default_factory=list)


@dataclass
class AutoMerge:
    """A request to merge once all that is required is met."""

    login: str
    enabled_at: str
    method: Literal["merge", "squash", "rebase"]
    title: str = ""
    message: str = ""


@dataclass
class Review:
    """A review; `submitted_at` is "" for a pending one."""

    id: int
    node_id: str
    number: int
    login: str
    state: Literal["APPROVED", "CHANGES_REQUESTED", "COMMENTED", "DISMISSED", "PENDING"]
    body: str
    submitted_at: str
    commit: str


@dataclass
class ReviewComment:
    """A comment of a review thread. What it shows of the diff stays as it was when it was written."""

    id: int
    node_id: str
    number: int
    login: str
    body: str
    created_at: str
    updated_at: str
    review: int  # its review's id
    original_commit: str
    diff_hunk: str
    in_reply_to: int = 0  # the thread's first comment's id; 0 for that one


@dataclass
class Thread:
    """A thread of a review, at a line of the diff, or a file (`subject` "file")."""

    node_id: str
    number: int
    path: str
    line: int | None  # None once outdated, and for a file
    original_line: int | None
    side: Side
    commit: str  # that `line` is of
    original_commit: str
    subject: Literal["line", "file"] = "line"
    start_line: int | None = None
    outdated: bool = False
    resolved_by: str = ""
    comments: list[ReviewComment] = field(default_factory=list)

    @property
    def resolved(self) -> bool:
        """Whether somebody resolved it."""
        return bool(self.resolved_by)


@dataclass
class Comment:
    """A comment of an issue's or a pull request's conversation."""

    id: int
    node_id: str
    number: int
    login: str
    body: str
    created_at: str
    updated_at: str


@dataclass
class Issue:
    """An issue."""

    id: int
    node_id: str
    number: int
    login: str
    title: str
    body: str
    created_at: str
    updated_at: str
    state: Literal["open", "closed"] = "open"
    state_reason: str = ""
    closed_at: str = ""
    closed_by: str = ""
    closed_by_commit: str = ""
    labels: list[str] = field(default_factory=list)
    locked: bool = False


@dataclass
class PullRequest:
    """A pull request. `head_repository` is "" once it was deleted; `base_sha` is of the last push, not base's tip."""

    id: int
    node_id: str
    number: int
    login: str
    title: str
    body: str
    head_owner: str
    head_repository: str  # full name
    head_ref: str
    head_sha: str
    base_ref: str
    base_sha: str
    created_at: str
    updated_at: str
    state: Literal["open", "closed"] = "open"
    draft: bool = False
    locked: bool = False
    maintainer_can_modify: bool = False
    merged: bool = False
    merged_at: str = ""
    merged_by: str = ""
    merge_commit: str = ""
    closed_at: str = ""
    closed_by: str = ""
    auto_merge: AutoMerge | None = None
    requested_reviewers: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    reviews: list[Review] = field(default_factory=list)
    threads: list[Thread] = field(default_factory=list)
    commits: list[str] = field(default_factory=list)  # as of its last push, or of its end; oldest first
    last_pusher: str = ""
    test_merge: str = ""  # what CI tests: REST's `merge_commit_sha` until it is merged
    forced: int = 0  # how often its branch was pushed with force
    computed: str = ""  # "base head" that `mergeable` was computed for
    reads: int = 0  # how often it was asked since
    blocked: int = 0  # how often it is told to be blocked still

    @property
    def status(self) -> Literal["OPEN", "CLOSED", "MERGED"]:
        """Its state as GraphQL says it."""
        return "MERGED" if self.merged else "OPEN" if self.state == "open" else "CLOSED"


@dataclass
class CheckSuite:
    """What one app reports on one commit."""

    id: int
    node_id: str
    app: str  # its slug
    sha: str
    branch: str
    created_at: str


@dataclass
class Annotation:
    """What a check says of a line, or of itself: that its runner was lost stands in one."""

    message: str
    title: str = ""
    path: str = ".github"
    line: int = 1
    level: Literal["notice", "warning", "failure"] = "failure"


@dataclass
class CheckRun:
    """A check on a commit. An Actions job's has the job's id."""

    id: int
    node_id: str
    suite: int
    app: str
    name: str
    sha: str
    status: Literal["queued", "in_progress", "completed", "waiting", "pending", "requested"]
    conclusion: str  # "" until it is completed
    started_at: str
    completed_at: str = ""
    title: str = ""
    summary: str = ""
    text: str = ""
    details_url: str = ""
    external_id: str = ""
    annotations: list[Annotation] = field(default_factory=list)


@dataclass
class CommitStatus:
    """A commit status of somebody else's CI; the newest of a context counts."""

    id: int
    node_id: str
    sha: str
    context: str
    state: Literal["error", "failure", "pending", "success"]
    description: str
    target_url: str
    login: str
    created_at: str


@dataclass
class Step:
    """A step of a job."""

    name: str
    number: int
    status: str
    conclusion: str
    started_at: str
    completed_at: str


@dataclass
class Job:
    """An attempt at a job; its id is its check run's."""

    id: int
    node_id: str
    run: int  # the workflow run's id
    attempt: int
    name: str
    status: Literal["queued", "in_progress", "completed"]
    conclusion: str
    created_at: str
    started_at: str
    completed_at: str = ""
    steps: list[Step] = field(default_factory=list)
    log: str = ""


@dataclass
class WorkflowRun:
    """A run of a workflow on a commit. `sha` is the head's, also where the merge with the base was tested."""

    id: int
    node_id: str
    workflow: str
    event: str
    sha: str
    branch: str
    suite: int
    login: str
    created_at: str
    updated_at: str
    run_number: int
    attempt: int = 1
    status: Literal["queued", "in_progress", "completed"] = "queued"
    conclusion: str = ""
    pull: int = 0
    tested: str = ""  # the commit that was checked out: the head, the merge with the base, or the queue's
    jobs: list[Job] = field(default_factory=list)  # of all attempts


@dataclass
class Workflow:
    """A workflow: its jobs' shell commands by name (each is a check), and what sets it off."""

    id: int
    node_id: str
    name: str
    jobs: dict[str, str]
    on: tuple[str, ...] = ("pull_request", "merge_group")
    paths: tuple[str, ...] = ()  # it runs only where one of these prefixes changed
    needs: dict[str, tuple[str, ...]] = field(default_factory=dict)  # job -> those that must have passed before

    @property
    def path(self) -> str:
        """The file that would define it."""
        return f".github/workflows/{self.name}.yml"


@dataclass
class Repository:
    """A repository; `git` is its bare repository."""

    id: int
    node_id: str
    owner: str
    name: str
    git: Path
    created_at: str
    default_branch: str = "main"
    visibility: Literal["public", "private"] = "public"
    archived: bool = False
    parent: str = ""  # full name of what it is a fork of
    description: str = ""
    permissions: dict[str, Level] = field(default_factory=dict)
    allow_merge: bool = True
    allow_squash: bool = True
    allow_rebase: bool = True
    allow_auto_merge: bool = False
    allow_update_branch: bool = True
    delete_branch_on_merge: bool = False
    has_issues: bool = True
    slow_state: int = 0  # how often BLOCKED is told still once nothing blocks any more
    slow_mergeable: int = 1  # how often `mergeable` is unknown after a push before it is computed
    protections: dict[str, Protection] = field(default_factory=dict)  # by name or pattern
    rulesets: list[Ruleset] = field(default_factory=list)
    queues: dict[str, MergeQueue] = field(default_factory=dict)  # by branch
    pulls: dict[int, PullRequest] = field(default_factory=dict)
    issues: dict[int, Issue] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)  # names -> what they are for
    comments: list[Comment] = field(default_factory=list)
    suites: list[CheckSuite] = field(default_factory=list)
    checks: list[CheckRun] = field(default_factory=list)
    statuses: list[CommitStatus] = field(default_factory=list)
    workflows: dict[str, Workflow] = field(default_factory=dict)
    runs: list[WorkflowRun] = field(default_factory=list)
    next_number: int = 1

    @property
    def full_name(self) -> str:
        """Owner and name."""
        return f"{self.owner}/{self.name}"

    def comments_on(self, number: int) -> list[Comment]:
        """Return the conversation's comments, oldest first."""
        return [c for c in self.comments if c.number == number]

    def tip(self, branch: str) -> str:
        """Return the branch's commit, "" for none."""
        return plumbing.tip(self.git, branch)


@dataclass(frozen=True)
class Event:
    """Something that CI listens to: `push`, `pull_request` (opened, reopened, synchronize, closed), `merge_group`."""

    name: str
    action: str
    repository: str
    ref: str = ""
    sha: str = ""
    number: int = 0
    login: str = ""


class State:
    """The whole of it. Hold `lock` (re-entrant) while reading or changing anything."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self.folder = folder
        self.clock = clock
        self.lock = threading.RLock()
        self.accounts: dict[str, Account] = {}  # by login in small letters
        self.tokens: dict[str, Token] = {}  # by value
        self.repositories: dict[str, Repository] = {}  # by full name in small letters
        self.moved: dict[str, str] = {}  # full names that repositories had -> the one they have, in small letters
        self.moved_issues: dict[tuple[str, str], tuple[str, int]] = {}  # a repository and a number -> where it is
        self.nodes: dict[str, Any] = {}  # GraphQL's ids -> the record
        self.quotas: dict[tuple[str, str], Quota] = {}  # by account and resource
        self.violations: list[str] = []  # what no client of GitHub's may do; a test in which one did fails
        self.listeners: list[Callable[[Event], None]] = []
        self.last_moment: list[Callable[[], None]] = []  # run within the next merge, before it looks at anything
        self.url = "http://127.0.0.1"  # where the double is served; set once it is
        self._ids = itertools.count(1001)
        self._long_ids = itertools.count(3_000_000_001)  # beyond 31 bits, as GitHub's are
        self.account(GHOST)
        self.account(ACTIONS, "Bot")

    def __deepcopy__(self, memo: dict[int, Any]) -> State:
        """Return what a reader sees who is behind: the records as they are now, nobody listening."""
        twin = object.__new__(State)
        twin.__dict__.update(self.__dict__, lock=threading.RLock(), listeners=[], last_moment=[])
        memo[id(self)] = twin
        for name in ("accounts", "tokens", "repositories", "nodes"):
            setattr(twin, name, copy.deepcopy(getattr(self, name), memo))
        return twin

    # Ids and moments

    def now(self) -> str:
        """Return the moment as GitHub writes it, to the second."""
        return datetime.fromtimestamp(self.clock(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def new_id(self, *, long: bool = False) -> int:
        """Return a database id that nothing else has."""
        return next(self._long_ids if long else self._ids)

    def node(self, prefix: str, number: int) -> str:
        """Return GraphQL's id of a record: PR_…, PRRT_…, IC_…"""
        return f"{prefix}_kwDO{base64.urlsafe_b64encode(number.to_bytes(8, 'big')).decode().rstrip('=')}"

    def known(self, record: Any) -> Any:
        """Let the record be found by its node id; return it."""
        self.nodes[record.node_id] = record
        return record

    # Accounts and tokens

    def account(self, login: str, kind: Kind = "User") -> Account:
        """Return the account of that login (with or without "[bot]"), made where there is none."""
        if login.endswith("[bot]"):
            login, kind = login.removesuffix("[bot]"), "Bot"
        if login.casefold() not in self.accounts:
            number = self.new_id()
            prefix = {"User": "U", "Bot": "BOT", "Organization": "O", "Mannequin": "M"}[kind]
            email = f"{number}+{login}@users.noreply.github.com"
            made = Account(number, login, kind, login.title(), email, self.node(prefix, number))
            self.accounts[login.casefold()] = self.known(made)
        return self.accounts[login.casefold()]

    def by_email(self, email: str) -> Account | None:
        """Return whose address that is."""
        return next((a for a in self.accounts.values() if a.email.casefold() == email.casefold()), None)

    def quota(self, login: str, resource: str) -> Quota:
        """Return what an account has of its hour; a whole one begins once the last is over."""
        known = self.quotas.get((login, resource))
        if known is None or known.resets_at <= self.clock():
            known = Quota(known.limit if known else 5000, self.clock() + 3600)
            self.quotas[login, resource] = known
        return known

    # Repositories

    def repository(self, full_name: str) -> Repository | None:
        """Return the repository of that name, in any case, or that had it before it was renamed."""
        key = full_name.casefold()
        return self.repositories.get(self.moved.get(key, key))

    def add_repository(self, owner: str, name: str, git: Path, **more: Any) -> Repository:
        """Record a repository whose bare repository stands already. Its owner has all rights."""
        number = self.new_id()
        made = Repository(number, self.node("R", number), self.account(owner).login, name, git, self.now(), **more)
        made.permissions.setdefault(made.owner, "admin")
        self.repositories[made.full_name.casefold()] = self.known(made)
        self.moved.pop(made.full_name.casefold(), None)
        return made

    def repository_of(self, record: Any) -> Repository:
        """Return the repository that a pull request, issue, comment, review, thread, check … belongs to."""
        for repository in self.repositories.values():
            if any(record is held for held in _held(repository)):
                return repository
        raise KeyError(record)

    def pull_of(self, record: Review | ReviewComment | Thread | QueueEntry) -> PullRequest:
        """Return the pull request that a review, a thread or one of its comments belongs to."""
        return self.repository_of(record).pulls[record.number]

    def thread_of(self, comment: ReviewComment) -> Thread:
        """Return the thread that the comment stands in."""
        return next(t for t in self.pull_of(comment).threads if any(c is comment for c in t.comments))

    def number(self, repository: Repository) -> int:
        """Return the next number of an issue or a pull request."""
        repository.next_number += 1
        return repository.next_number - 1

    # Events

    def tell(self, event: Event) -> None:
        """Tell CI and whoever else listens."""
        for listener in list(self.listeners):
            listener(event)


def _held(repository: Repository) -> Iterator[Any]:
    yield repository
    for pull in repository.pulls.values():
        yield pull
        yield from pull.reviews
        for thread in pull.threads:
            yield thread
            yield from thread.comments
    yield from repository.issues.values()
    yield from repository.comments
    yield from repository.suites
    yield from repository.checks
    yield from repository.statuses
    yield from repository.workflows.values()
    for run in repository.runs:
        yield run
        yield from run.jobs
    for queue in repository.queues.values():
        yield queue
        yield from queue.entries
    yield from repository.rulesets
