"""The facts a journal records, in the past tense, and their form as JSON values.

An event is a frozen value. One that names a `change` belongs to that change; every other belongs to the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from claudetm.plan.model import Change, Plan, plan_to_data
from claudetm.workflow.outcomes import Outcome, Usage


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to the run."""


@dataclass(frozen=True, slots=True)
class ChangeEvent(Event):
    """Something that happened to one change."""

    change: str


# --- the run -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """The first event: everything about the run that is read once."""

    run: str
    goal: str
    target: str  # the branch to land on
    base: str  # its commit at the start
    settings: Mapping[str, Any] = field(default_factory=dict)  # the policy, as JSON values
    criteria: tuple[str, ...] = ()  # the user's own
    forge: str = "local"
    rehearsal: str = ""  # the scenario a scripted model plays, or ""
    remote: str = ""
    author: str = ""  # "Name <address>" of the commits we make
    dry: bool = False  # the plan is shown, and nothing more is ever done
    hosted: Mapping[str, str] = field(default_factory=dict)  # where pull requests live, for a forge elsewhere
    adopts: int = 0  # the pull request that the run drives to merged, made elsewhere; or 0
    issue: int = 0  # the issue that the goal was taken from, and that the run closes; or 0
    mode: str = "goal"  # goal | session | question
    title: str = ""  # of what is asked, where it has one
    material: tuple[Mapping[str, str], ...] = ()  # {"title", "text"}: others' words, fenced wherever they are shown
    skill: str = ""  # of the project, that a session is told to use
    keep: Mapping[str, Any] = field(default_factory=dict)  # {"branch", "remote"}: see Keep


@dataclass(frozen=True, slots=True)
class DriverStarted(Event):
    """A process took the run over."""

    version: str
    pid: int = 0


@dataclass(frozen=True, slots=True)
class PlanDrafted(Event):
    """A proposal of the right form; which of its criteria are guards is not known yet."""

    plan: Plan


@dataclass(frozen=True, slots=True)
class PlanProposed(Event):
    """A plan that can be worked; `guards` are the criteria that held before any work."""

    plan: Plan
    guards: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PlanRefused(Event):
    """A proposal that cannot be worked, and why; it goes back to the planner."""

    reasons: tuple[str, ...]
    plan: Plan | None = None


@dataclass(frozen=True, slots=True)
class NothingToDo(Event):
    """The planner found the goal met already; the criteria still have to show it."""

    plan: Plan  # criteria, no changes
    summary: str = ""


@dataclass(frozen=True, slots=True)
class PlanApproved(Event):
    """The plan may be worked."""

    by: str = "policy"


@dataclass(frozen=True, slots=True)
class PlanRejected(Event):
    """A person sent the plan back."""

    reason: str


@dataclass(frozen=True, slots=True)
class PlanEdited(Event):
    """A person changed the plan; `based_on` is the seq of the plan they saw."""

    plan: Plan
    based_on: int


@dataclass(frozen=True, slots=True)
class PlanExtended(Event):
    """Failing criteria became new changes."""

    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class VerificationStarted(Event):
    """Every change is settled; the criteria are judged at `commit`."""

    commit: str


@dataclass(frozen=True, slots=True)
class CriterionChecked(Event):
    """One criterion was judged: the receipt."""

    criterion: str
    verdict: str  # holds | fails | unproven
    commit: str
    command: str = ""
    exit_code: int | None = None
    output_sha256: str = ""
    log: str = ""  # path below the state directory
    evidence: tuple[str, ...] = ()
    missing: str = ""  # what would make it hold


@dataclass(frozen=True, slots=True)
class CriteriaFailed(Event):
    """At least one criterion does not hold at `commit`."""

    criteria: tuple[str, ...]
    commit: str


@dataclass(frozen=True, slots=True)
class GoalVerified(Event):
    """Every criterion holds at `commit`; `landed` says what became of the user's branch."""

    commit: str
    landed: str = ""
    next: str = ""  # the command left to the user, or ""


@dataclass(frozen=True, slots=True)
class QuestionAnswered(Event):
    """What was asked has its answer; nothing was changed."""

    text: str
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunPaused(Event):
    """The driver stops, to be resumed. `asks` names what a resume allows: "push", or "" for nothing.

    With "forge" it allows nothing, either: what is waited for is done at the forge, and can be looked for there.
    """

    reason: str
    next: str = "claudetm resume"
    asks: str = ""


@dataclass(frozen=True, slots=True)
class RunBlocked(Event):
    """The run cannot go on until the user has done what `next` says."""

    reason: str
    next: str = "claudetm resume"


@dataclass(frozen=True, slots=True)
class RunResumed(Event):
    """Pause or block is lifted; a pull request that is closed still is accepted as a veto.

    By the `monitor` it is lifted to look, and no more: nobody has said that anything be tried again, or accepted.
    """

    by: str = "user"


@dataclass(frozen=True, slots=True)
class RunCancelled(Event):
    """The user gave the run up, or it was to plan only and has `planned`."""

    reason: str = ""
    planned: bool = False


@dataclass(frozen=True, slots=True)
class LimitsRaised(Event):
    """New limits, as the policy's JSON values."""

    limits: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SettingsChanged(Event):
    """New settings, as the policy's JSON values."""

    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class MessageAdded(Event):
    """The user's own words for the next session."""

    text: str


@dataclass(frozen=True, slots=True)
class CommandRefused(Event):
    """A command from the inbox that could not be applied."""

    name: str
    reason: str


# --- sessions: of the run, or of a change -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SessionStarted(Event):
    """A conversation is about to begin; `subject` is what its attempts are counted against."""

    id: str
    role: str
    subject: str
    change: str = ""
    reserved: float = 0.0  # US dollars
    model: str = ""
    resumed: bool = False


@dataclass(frozen=True, slots=True)
class SessionEnded(Event):
    """A conversation is over."""

    id: str
    subject: str
    outcome: Outcome
    change: str = ""
    usage: Usage = field(default_factory=Usage)
    detail: str = ""
    resets_at: float | None = None  # epoch seconds, of a usage limit
    transcript: str = ""
    learnings: tuple[str, ...] = ()


# --- a change -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ChangeStarted(ChangeEvent):
    """The change has a branch and a worktree at `base`."""

    branch: str
    base: str


@dataclass(frozen=True, slots=True)
class PullRequestAdopted(ChangeEvent):
    """An existing pull request became this change."""

    number: int
    branch: str
    head: str
    base: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class TaskStarted(ChangeEvent):
    """Work on a task began at `from_commit`."""

    task: str
    from_commit: str


@dataclass(frozen=True, slots=True)
class TaskFinished(ChangeEvent):
    """The session said so and the repository shows it: commits up to `commit`."""

    task: str
    commit: str
    summary: str = ""
    report: str = ""  # what a session was asked to tell, where that was its work


@dataclass(frozen=True, slots=True)
class TaskSkipped(ChangeEvent):
    """The task was true already, and a fresh session confirmed it."""

    task: str
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkDone(ChangeEvent):
    """A session's work is done; `head` is what is audited, and kept."""

    head: str


@dataclass(frozen=True, slots=True)
class AuditPassed(ChangeEvent):
    """The work at `commit` reaches the threshold; `score` is 0 to 100."""

    score: int
    notes: str
    commit: str


@dataclass(frozen=True, slots=True)
class AuditFailed(ChangeEvent):
    """The work at `commit` stays below the threshold: the notes go back."""

    score: int
    notes: str
    commit: str


@dataclass(frozen=True, slots=True)
class AuditSkipped(ChangeEvent):
    """Nobody audits the work, and why."""

    why: str = "off"


@dataclass(frozen=True, slots=True)
class ChangeKept(ChangeEvent):
    """A session's work at `commit` is in the user's repository under `ref` ("": it changed nothing)."""

    ref: str
    commit: str
    branch: str = ""  # that it stands on, without auto-commit ""
    pushed: bool = False  # to the remote, too


@dataclass(frozen=True, slots=True)
class ChangeReady(ChangeEvent):
    """Every task is done; `head` is what will be published."""

    head: str


@dataclass(frozen=True, slots=True)
class ChangeEmpty(ChangeEvent):
    """Every task is done and there is nothing to merge."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class PullRequestOpened(ChangeEvent):
    """The pull request stands at the forge."""

    number: int
    head: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class ChecksAwaited(ChangeEvent):
    """The checks of `head` are not in yet."""

    head: str


@dataclass(frozen=True, slots=True)
class ChecksPassed(ChangeEvent):
    """The checks of `head`, tested with `base`, are green. The `flaky` ones had failed with these two before."""

    head: str
    base: str = ""
    note: str = ""
    flaky: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ChecksFailed(ChangeEvent):
    """At least one check of `head`, merged with `base`, is red; `how` each one in `failed` ended, in its order."""

    head: str
    failed: tuple[str, ...] = ()
    base: str = ""
    how: tuple[str, ...] = ()
    flaky: tuple[str, ...] = ()  # that failed before with the same two, and pass now


@dataclass(frozen=True, slots=True)
class BaseFoundRed(ChangeEvent):
    """These checks fail in the same way at `base`, without the change: mending that is not its business."""

    base: str
    checks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ChecksRerun(ChangeEvent):
    """The failed checks run once more on the same commit; no session is spent."""

    head: str


@dataclass(frozen=True, slots=True)
class ConflictFound(ChangeEvent):
    """The branch cannot be merged into the base as it is."""

    head: str


@dataclass(frozen=True, slots=True)
class FixPushed(ChangeEvent):
    """A fix for the failed checks is at the forge."""

    head: str
    cause: str = ""
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class SelfReviewed(ChangeEvent):
    """The reviewer role has read `head`, or it was skipped; its findings stand as threads."""

    head: str
    findings: int = 0
    skipped: str = ""  # why the head was not read now: "off", "read before", "rounds used up"


@dataclass(frozen=True, slots=True)
class ReviewsReceived(ChangeEvent):
    """There are threads or reviews to answer."""

    threads: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReviewsAnswered(ChangeEvent):
    """Each was answered; `head` carries what was fixed."""

    head: str
    answered: tuple[str, ...] = ()
    people: bool = True  # whether a person had spoken in any: the reviewer role's rounds are counted as it reads


@dataclass(frozen=True, slots=True)
class ReviewsAwaited(ChangeEvent):
    """An approval that is needed is not there, or no longer there."""

    head: str


@dataclass(frozen=True, slots=True)
class ReviewsSettled(ChangeEvent):
    """No review is in the way of merging `head`."""

    head: str


@dataclass(frozen=True, slots=True)
class BaseMoved(ChangeEvent):
    """The base is no longer the one the checks ran with."""

    base: str


@dataclass(frozen=True, slots=True)
class BranchUpdated(ChangeEvent):
    """The base, or a person's push, is in the branch."""

    head: str
    base: str = ""


@dataclass(frozen=True, slots=True)
class MergeQueued(ChangeEvent):
    """The forge merges by itself when its turn comes."""

    head: str


@dataclass(frozen=True, slots=True)
class PullRequestMerged(ChangeEvent):
    """Merged as `commit`, by us or by a person."""

    commit: str
    by: str = ""


@dataclass(frozen=True, slots=True)
class PullRequestClosed(ChangeEvent):
    """Closed unmerged by a person: a veto."""

    by: str = ""


@dataclass(frozen=True, slots=True)
class PullRequestReopened(ChangeEvent):
    """The veto was withdrawn."""

    head: str


@dataclass(frozen=True, slots=True)
class HeadMoved(ChangeEvent):
    """Somebody pushed: `head` is the branch's tip now."""

    head: str


@dataclass(frozen=True, slots=True)
class SnapshotTaken(ChangeEvent):
    """Work that a next step could lose is kept under `ref`."""

    ref: str
    commit: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class ChangeBlocked(ChangeEvent):
    """The change holds until the user has done what `next` says."""

    reason: str
    next: str = "claudetm resume"


@dataclass(frozen=True, slots=True)
class ChangeUnblocked(ChangeEvent):
    """The hold is lifted; attempts and rounds count from zero."""


@dataclass(frozen=True, slots=True)
class ChangeDropped(ChangeEvent):
    """The change is given up."""

    reason: str = ""


# by name in this module: `__subclasses__` would also tell of each class as it was before it got its slots
EVENTS: Final[Mapping[str, type[Event]]] = {
    name: c
    for name, c in list(globals().items())
    if isinstance(c, type) and issubclass(c, Event) and c not in (Event, ChangeEvent)
}
"""Every event by the name it has in a journal."""

_NAMES: Final = {c: tuple(f.name for f in fields(c)) for c in EVENTS.values()}


def event_to_data(event: Event) -> dict[str, Any]:
    """Return the event's fields as JSON values."""
    return {name: _plain(getattr(event, name)) for name in _NAMES[type(event)]}


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Plan):
        return plan_to_data(value)
    if isinstance(value, Change):
        return plan_to_data(Plan(changes=(value,)))["changes"][0]
    if isinstance(value, Usage):
        return {f.name: getattr(value, f.name) for f in fields(value)}
    raise TypeError(f"an event cannot carry a {type(value).__name__}")


def change_of(event: Event) -> str:
    """Return the id of the change that the event belongs to, or "" for the run."""
    return getattr(event, "change", "")
