"""What the orchestrator knows and tells a session: one value a template, pure data, no I/O.

The user's own later words are not here: SessionRequest.says carries them as turns of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from claudetm.plan.model import Change, Criterion, Plan, Task
from claudetm.ports.agent import Role
from claudetm.ports.repository import Commit
from claudetm.workflow.pull_request import Thread
from claudetm.workflow.run import Audit, Material


@dataclass(frozen=True, slots=True, kw_only=True)
class Brief:
    """What every session is told. `role` decides the answer's form, `template` the words."""

    role: ClassVar[Role]
    template: ClassVar[str]

    goal: str
    subject: str  # what its attempts count against: a task's or change's id, "plan", …
    cwd: str  # absolute
    run: str
    learnings: tuple[str, ...] = ()  # of earlier sessions, oldest first
    issue: str = ""  # the text the goal came with, where it came from an issue
    material: tuple[Material, ...] = ()  # others' words that it came with


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannerBrief(Brief):
    """Make a plan of the goal."""

    role: ClassVar[Role] = Role.PLANNER
    template: ClassVar[str] = "planner"

    user_criteria: tuple[str, ...] = ()
    files: tuple[str, ...] = ()  # of the base commit
    checks: tuple[str, ...] = ()  # commands that gate every pull request
    proposal: Plan | None = None  # the last one, when it was sent back
    findings: tuple[str, ...] = ()  # why
    rejection: str = ""  # a person's reason
    pr_per_task: bool = False
    max_prs: int | None = None


@dataclass(frozen=True, slots=True)
class FailedCriterion:
    """A criterion that does not hold after the work, and what was seen."""

    criterion: Criterion
    verdict: str = "fails"
    evidence: tuple[str, ...] = ()
    missing: str = ""
    log: str = ""  # path of the command's whole output


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtendBrief(Brief):
    """Add changes that make the failing criteria hold."""

    role: ClassVar[Role] = Role.PLANNER
    template: ClassVar[str] = "planner_extend"

    failing: tuple[FailedCriterion, ...]
    finished: tuple[Change, ...] = ()  # merged or skipped
    vetoed: tuple[Change, ...] = ()  # closed by a person
    files: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    proposal: Plan | None = None
    findings: tuple[str, ...] = ()
    pr_per_task: bool = False
    max_prs: int | None = None  # that may still be opened


@dataclass(frozen=True, slots=True)
class DoneTask:
    """A task of the change that is done, and what its session said of it."""

    task: Task
    summary: str = ""
    skipped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerBrief(Brief):
    """Do one task. `commits` are those since `from_commit`, oldest first."""

    role: ClassVar[Role] = Role.WORKER
    template: ClassVar[str] = "worker"

    change: Change
    task: Task
    from_commit: str
    head: str
    done: tuple[DoneTask, ...] = ()
    commits: tuple[Commit, ...] = ()
    modified: tuple[str, ...] = ()
    untracked: tuple[str, ...] = ()
    attempt: int = 1
    previous: str = ""  # why the last session on this task ended, and what it left
    remaining: tuple[str, ...] = ()  # what it said is open


@dataclass(frozen=True, slots=True)
class FailedCheck:
    """A red check: an excerpt of its output, and the path of the whole."""

    name: str
    excerpt: str
    log: str
    command: str = ""
    how: str = ""  # it ended
    on_base: str = ""  # how it fails at the base alone, or "" where it does not, or nobody knows


@dataclass(frozen=True, slots=True, kw_only=True)
class FixerBrief(Brief):
    """Find why checks are red at `head`, and mend that."""

    role: ClassVar[Role] = Role.FIXER
    template: ClassVar[str] = "fixer"

    change: Change
    failed: tuple[FailedCheck, ...]
    head: str
    base: str = ""  # what was merged in for the checks
    behind: bool = False  # the branch lacks that base
    tried: tuple[str, ...] = ()  # causes that earlier sessions named, and fixed in vain
    modified: tuple[str, ...] = ()
    untracked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EarlierFinding:
    """What an earlier round found."""

    id: str
    path: str
    line: int
    claim: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewerBrief(Brief):
    """Read the diff base...head with a fresh mind. `earlier` is there from the second round on."""

    role: ClassVar[Role] = Role.REVIEWER
    template: ClassVar[str] = "reviewer"

    change: Change
    base: str
    head: str
    commits: tuple[Commit, ...] = ()
    paths: tuple[str, ...] = ()
    earlier: tuple[EarlierFinding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponderBrief(Brief):
    """Answer each thread once."""

    role: ClassVar[Role] = Role.RESPONDER
    template: ClassVar[str] = "responder"

    change: Change
    threads: tuple[Thread, ...]
    head: str
    base: str = ""
    modified: tuple[str, ...] = ()
    untracked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdaterBrief(Brief):
    """Merge `base` into the branch at `head`, where both touched the same lines."""

    role: ClassVar[Role] = Role.UPDATER
    template: ClassVar[str] = "updater"

    change: Change
    base: str
    head: str
    conflicted: tuple[str, ...]
    ours: str = ""  # what this change is for
    theirs: str = ""  # what came into the base meanwhile
    their_diff: str = ""  # what that made of the files in conflict
    fork: str = ""  # where the two parted
    modified: tuple[str, ...] = ()
    untracked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierBrief(Brief):
    """Judge criteria that no command decides, at `commit`; the work began at `base`."""

    role: ClassVar[Role] = Role.VERIFIER
    template: ClassVar[str] = "verifier"

    criteria: tuple[Criterion, ...]
    commit: str
    base: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmBrief(Brief):
    """Judge whether a task is true already; the one criterion to answer has the task's id."""

    role: ClassVar[Role] = Role.VERIFIER
    template: ClassVar[str] = "confirm"

    change: Change
    task: Task
    commit: str
    evidence: tuple[str, ...] = ()  # where the claim points


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionBrief(Brief):
    """Do a whole task, its text being the goal. `commits` are those since `base`, oldest first."""

    role: ClassVar[Role] = Role.WORKER
    template: ClassVar[str] = "session"

    title: str
    base: str
    head: str
    skill: str = ""
    commits: tuple[Commit, ...] = ()
    modified: tuple[str, ...] = ()
    untracked: tuple[str, ...] = ()
    attempt: int = 1
    previous: str = ""  # why the last session on it ended, and what it left
    audit: Audit | None = None  # of the work so far, which does not suffice
    report: str = ""  # what the last session told


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditorBrief(Brief):
    """Score the work base...head against the goal with a fresh mind; `claim` is all that is told of its author."""

    role: ClassVar[Role] = Role.AUDITOR
    template: ClassVar[str] = "auditor"

    title: str
    base: str
    head: str
    commits: tuple[Commit, ...] = ()
    paths: tuple[str, ...] = ()
    claim: str = ""
    report: str = ""  # what the task asked to be told
    earlier: Audit | None = None  # the last round's


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalystBrief(Brief):
    """Answer the question that the goal is, at `commit`."""

    role: ClassVar[Role] = Role.ANALYST
    template: ClassVar[str] = "analyst"

    title: str
    commit: str


BRIEFS: tuple[type[Brief], ...] = (
    PlannerBrief,
    ExtendBrief,
    WorkerBrief,
    FixerBrief,
    ReviewerBrief,
    ResponderBrief,
    UpdaterBrief,
    VerifierBrief,
    ConfirmBrief,
    SessionBrief,
    AuditorBrief,
    AnalystBrief,
)
"""One for each pair of templates."""
