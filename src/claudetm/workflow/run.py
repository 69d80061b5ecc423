"""The state of a run, folded from its journal: `Run.apply` takes one record at a time and nothing else changes it.

The fold applies the edges that the records carry, so it never asks whether an event is still legal today; that is
`refusal`'s question, asked once, before a record is written. An event costs the same however long the plan is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from claudetm.plan.model import Change, Plan, Task, plan_from_data
from claudetm.workflow.outcomes import NEVER_RAN, Outcome, Usage, usage_from_data
from claudetm.workflow.policy import Policy, Tally, policy_from_data
from claudetm.workflow.records import SCHEMA, Record
from claudetm.workflow.stages import FINAL_PHASES, FINAL_STAGES, MONITOR, Halt, Mode, Phase, Stage

ADOPTED: Final = "c1"
"""The change that a pull request made elsewhere becomes."""
LEARNINGS_KEPT: Final = 30
LISTENERS: Final = frozenset({"planner", "worker", "fixer", "responder", "updater", "analyst"})
"""Roles that the user's own words are for: those that decide or change something."""


class UnreadableRecord(Exception):  # noqa: N818 - the journal's fault, not the program's
    """The journal holds something this version cannot apply."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a run is halted or a change is held, and the one thing to do next."""

    reason: str
    next: str
    kind: Halt = Halt.BLOCKED
    asks: str = ""  # what a resume allows


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a criterion's last check showed."""

    verdict: str
    commit: str
    command: str = ""
    exit_code: int | None = None
    output_sha256: str = ""
    log: str = ""
    evidence: tuple[str, ...] = ()
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Material:
    """A text from others that the run came with: untrusted."""

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Keep:
    """Where a session's work goes: under a snapshot's ref, or onto `branch`; with a `remote`, there too."""

    branch: str = ""
    remote: Mapping[str, str] = field(default_factory=dict)  # its "url", and on GitHub all that names the place


@dataclass(frozen=True, slots=True)
class Audit:
    """What the last audit made of the work at `commit`; the score is 0 to 100."""

    score: int
    notes: str
    commit: str
    passed: bool


@dataclass(frozen=True, slots=True)
class Kept:
    """Where a session's work is: `ref` in the user's repository, "" where nothing was changed."""

    ref: str
    commit: str
    branch: str = ""
    pushed: bool = False


@dataclass(slots=True)
class TaskState:
    """How far a task is: started at `from_commit`, done at `commit`."""

    from_commit: str
    commit: str = ""
    skipped: bool = False
    summary: str = ""

    @property
    def done(self) -> bool:
        """Whether the task needs no more work."""
        return self.skipped or bool(self.commit)


@dataclass(slots=True)
class ChangeState:
    """How far a change is."""

    plan: Change
    stage: Stage = Stage.QUEUED
    since: float = 0.0  # when the stage was entered
    watched_since: float = 0.0  # when a driver took it over
    hold: Obstacle | None = None
    accepted: bool = False  # its abandonment is final
    conceded: bool = False  # the user resumed although it is closed: closed still, it is dropped
    adopting: bool = False  # the next foreign head is taken as it is
    branch: str = ""
    base: str = ""
    head: str = ""  # the commit the forge has, or shall have
    head_since: float = 0.0
    number: int = 0
    opened_at: int = 0  # the seq at which the pull request was there
    url: str = ""
    merge_commit: str = ""
    merged_by: str = ""
    tasks: dict[str, TaskState] = field(default_factory=dict)
    threads: tuple[str, ...] = ()
    asked_at: str = ""  # the head when the remarks came that are not answered yet
    failed: tuple[str, ...] = ()
    failed_with: str = ""  # the base that they failed with
    flaky: tuple[str, ...] = ()  # checks that failed and passed on one and the same commit
    base_red: str = ""  # the base that fails in the same way by itself
    mends_base: bool = False  # the user resumed although it does: mending it is this change's business now
    reviewed_head: str = ""  # the head that the reviewer role read last
    rerun_heads: frozenset[str] = frozenset()
    fingerprints: tuple[str, ...] = ()  # of the failures that fixes were pushed for
    causes: tuple[str, ...] = ()  # what those fixes took to be the cause
    fix_rounds: int = 0
    answers: dict[str, int] = field(default_factory=dict)  # thread -> rounds in which people were answered there
    asked: int = 0  # rounds in which people were answered, in any conversation
    self_reviews: int = 0  # how often the reviewer role has read it
    updates: int = 0  # for a base that others moved
    queued: int = 0  # how often this head was put into the forge's merge queue
    snapshots: int = 0
    audits: int = 0  # that failed, since it began or was unblocked

    @property
    def id(self) -> str:
        """The change's id in the plan."""
        return self.plan.id

    @property
    def review_rounds(self) -> int:
        """How often people were answered in the conversation that took most."""
        return max(self.answers.values(), default=0)

    @property
    def settled(self) -> bool:
        """Whether nothing more will come of it."""
        return self.stage in FINAL_STAGES or (self.stage is Stage.ABANDONED and self.accepted)

    @property
    def task(self) -> Task | None:
        """The first task that is not done."""
        for t in self.plan.tasks:
            state = self.tasks.get(t.id)
            if state is None or not state.done:
                return t
        return None


@dataclass(slots=True)
class OpenSession:
    """A session that has started and not ended."""

    id: str
    role: str
    subject: str
    change: str
    reserved: float
    started: float
    seq: int  # of its start: what the user had said by then, it was told


@dataclass(slots=True)
class Run:
    """The whole state of a run."""

    id: str = ""
    goal: str = ""
    target: str = ""
    base: str = ""
    forge: str = ""
    remote: str = ""
    author: str = ""
    rehearsal: str = ""
    dry: bool = False  # it plans, and does nothing more
    hosted: Mapping[str, str] = field(default_factory=dict)  # where pull requests live, for a forge elsewhere
    adopts: int = 0  # the pull request that it drives to merged, made elsewhere; or 0
    issue: int = 0  # the issue that it closes, or 0
    mode: Mode = Mode.GOAL
    title: str = ""
    material: tuple[Material, ...] = ()
    skill: str = ""
    keep: Keep = field(default_factory=Keep)
    audit: Audit | None = None  # the last one
    snapshot: str = ""  # the ref of the last snapshot of any change
    kept: Kept | None = None
    summary: str = ""  # what the last session that did a task says of it
    report: str = ""  # what it was asked to tell
    answer: str = ""  # to the question
    evidence: tuple[str, ...] = ()  # for the answer
    dry_done: bool = False  # and has
    policy: Policy = field(default_factory=Policy)
    phase: Phase = Phase.PLANNING
    since: float = 0.0
    started: float = 0.0
    time: float = 0.0
    seq: int = 0
    halt: Obstacle | None = None
    halted_at: int = 0  # the seq of the last halt
    user_criteria: tuple[str, ...] = ()
    plan: Plan = field(default_factory=Plan)
    plan_seq: int = 0  # the seq of the last event that changed the plan
    proposed_at: int = 0  # the seq of the proposal that stands
    guards: tuple[str, ...] = ()
    draft: Plan | None = None  # proposed, its guards not known yet
    plan_findings: tuple[str, ...] = ()  # why the last proposal was refused
    plan_refusals: int = 0
    rejection: str = ""  # a person's words on the last plan
    refused_plan: Plan | None = None  # the proposal that was sent back
    changes: dict[str, ChangeState] = field(default_factory=dict)
    receipts: dict[str, Receipt] = field(default_factory=dict)
    verify_commit: str = ""
    reverify: bool = False  # a block was lifted and nothing is judged since: a person may have mended the base
    verify_rounds: int = 0
    failing: tuple[str, ...] = ()
    landed: str = ""
    landing_next: str = ""  # the command that is left to the user once the goal is verified, or ""
    mender: str = ""  # the change that mends a red base, for all that the user resumed
    last_merge: str = ""
    used: Usage = field(default_factory=Usage)
    sessions: int = 0
    open_sessions: dict[str, OpenSession] = field(default_factory=dict)
    tallies: dict[str, Tally] = field(default_factory=dict)
    usage_resets_at: float = 0.0
    learnings: dict[str, None] = field(default_factory=dict)
    messages: list[tuple[int, str]] = field(default_factory=list)
    messages_read: int = 0  # the seq up to which a session has been given them
    commands: set[str] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)  # command id -> reason
    active: dict[str, ChangeState] = field(default_factory=dict)  # begun and not settled, in order
    startable: dict[str, ChangeState] = field(default_factory=dict)  # queued, nothing to wait for
    stranded: dict[str, ChangeState] = field(default_factory=dict)  # queued upon an abandoned change
    _positions: dict[str, int] = field(default_factory=dict)
    _missing: dict[str, int] = field(default_factory=dict)  # queued change -> dependencies not settled
    _dependents: dict[str, list[str]] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether the run is over for good."""
        return self.phase in FINAL_PHASES

    @property
    def settled(self) -> bool:
        """Whether every change is merged, skipped or accepted as abandoned."""
        return not self.active and not self.startable and not self.stranded and not self._missing

    @property
    def held(self) -> list[ChangeState]:
        """The changes that only a person can carry on, also those that could not begin."""
        return [c for c in self.changes.values() if c.hold is not None and not c.settled]

    @property
    def reserved(self) -> float:
        """US dollars that open sessions may still spend."""
        return sum(s.reserved for s in self.open_sessions.values())

    @property
    def unread(self) -> tuple[str, ...]:
        """The user's words that no session has been given."""
        return tuple(text for seq, text in self.messages if seq > self.messages_read)

    @property
    def tip(self) -> str:
        """The commit our merges have reached, or a session's kept work; else where the run began."""
        return self.last_merge or (self.kept.commit if self.kept else self.base)

    def mended_for(self, change: ChangeState) -> bool:
        """Whether another change, not merged yet, mends the base that the change is red with."""
        mender = self.active.get(self.mender)
        others = mender is not None and mender.id != change.id and mender.stage is not Stage.ABANDONED
        return others and bool(change.base_red) and not change.mends_base

    def apply(self, record: Record) -> None:
        """Apply one record. Raises UnreadableRecord for what this version does not know."""
        fold = _FOLDS.get(record.type)
        if fold is None or record.schema > SCHEMA:
            raise UnreadableRecord(
                f"event {record.seq} ({record.type}, schema {record.schema}) was written by a newer claudetm"
            )
        self.seq, self.time = record.seq, record.time
        if record.command:
            self.commands.add(record.command)
        data = record.data
        change_id = data.get("change", "")
        try:
            if change_id:
                self._move_change(self.changes[change_id], Stage(record.edge[1]), record.time)
            else:
                self._move(Phase(record.edge[1]), record.time)
            fold(self, data, record)
        except (LookupError, ValueError, TypeError, AttributeError) as error:
            raise UnreadableRecord(f"event {record.seq} ({record.type}) cannot be applied: {error!r}") from error

    def _move(self, phase: Phase, time: float) -> None:
        if phase is not self.phase:
            self.phase, self.since = phase, time

    def _move_change(self, change: ChangeState, stage: Stage, time: float) -> None:
        if stage is change.stage:
            return
        was_settled = change.settled
        change.stage, change.since, change.adopting = stage, time, False
        if stage is Stage.ABANDONED:
            change.accepted = change.conceded = False
        self.place(change, was_settled=was_settled)

    def place(self, change: ChangeState, *, was_settled: bool) -> None:
        """Keep `active`, `startable` and `stranded` true after one change moved."""
        i = change.id
        if change.stage is not Stage.QUEUED:
            self.startable.pop(i, None)
            self.stranded.pop(i, None)
            self._missing.pop(i, None)
        if change.settled:
            self.active.pop(i, None)
        elif change.stage is not Stage.QUEUED:
            self.active[i] = change
        if change.settled != was_settled:
            for name in self._dependents.get(i, ()):
                self._tell(self.changes[name], change)

    def _tell(self, dependent: ChangeState, change: ChangeState) -> None:
        """Let a change know that one it depends on is settled, or is no more."""
        i = dependent.id
        if change.stage in FINAL_STAGES and i in self._missing:
            # counted down, not asked again of each: the last of a plan may wait for all the others
            self._missing[i] -= 1
            if self._missing[i] == 0:
                del self._missing[i]
                self.startable[i] = dependent
        elif change.stage not in FINAL_STAGES:
            self._queue(dependent)

    def _queue(self, change: ChangeState) -> None:
        """Put a queued change where its dependencies allow."""
        if change.stage is not Stage.QUEUED:
            return
        i = change.id
        self.startable.pop(i, None)
        self.stranded.pop(i, None)
        self._missing.pop(i, None)
        needs = [self.changes[d] for d in change.plan.depends_on]
        if any(d.stage is Stage.ABANDONED and d.accepted for d in needs):
            self.stranded[i] = change
        elif missing := sum(not d.settled for d in needs):
            self._missing[i] = missing
        else:
            self.startable[i] = change

    def set_plan(self, plan: Plan, seq: int) -> None:
        """Take a new plan over; what has begun keeps its state."""
        self.plan, self.plan_seq = plan, seq
        known = self.changes
        self.changes = {}
        for c in plan.changes:
            state = known.get(c.id) or ChangeState(plan=c, since=self.time)
            state.plan = c
            self.changes[c.id] = state
        # what left the plan after it began stays, to be looked at
        self.changes.update({i: s for i, s in known.items() if i not in self.changes and s.branch})
        self.guards = tuple(g for g in self.guards if any(c.id == g for c in plan.criteria))
        self._positions = {i: n for n, i in enumerate(self.changes)}
        self._dependents = {}
        for c in plan.changes:
            for d in c.depends_on:
                self._dependents.setdefault(d, []).append(c.id)
        self.active = {i: s for i, s in self.changes.items() if s.stage is not Stage.QUEUED and not s.settled}
        self.startable, self.stranded, self._missing = {}, {}, {}
        for s in self.changes.values():
            self._queue(s)

    def position(self, change_id: str) -> int:
        """Return where a change stands in the plan, from 0."""
        return self._positions[change_id]

    def tally(self, subject: str) -> Tally:
        """Return what has been tried at a subject so far."""
        return self.tallies.get(subject) or Tally()

    def forget_change(self, change: ChangeState) -> None:
        """Let attempts count from zero for a change and its tasks, whatever these are called."""
        self.forget(change.id)
        for task in change.plan.tasks:
            self.forget(task.id)

    def forget(self, prefix: str) -> None:
        """Let attempts count from zero for a subject and all below it."""
        for subject in [s for s in self.tallies if s == prefix or s.startswith((f"{prefix}.", f"{prefix}:"))]:
            del self.tallies[subject]


def fold(records: Iterable[Record]) -> Run:
    """Return the state of a run from its journal."""
    run = Run()
    for record in records:
        run.apply(record)
    return run


# --- what an event changes besides the edge ------------------------------------------------------------------

_Fold = Callable[[Run, Mapping[str, Any], Record], None]
_FOLDS: Final[dict[str, _Fold]] = {}


def _folds(*names: str) -> Callable[[_Fold], _Fold]:
    def register(function: _Fold) -> _Fold:
        _FOLDS.update(dict.fromkeys(names, function))
        return function

    return register


@_folds(
    "BaseMoved",
    "PlanApproved",
    "AuditSkipped",
    "ChangeEmpty",
    "ConflictFound",
    "ReviewsAwaited",
    "ReviewsSettled",
)
def _only_the_edge(_run: Run, _data: Mapping[str, Any], _record: Record) -> None:
    """Nothing but the step itself."""


@_folds("DriverStarted")
def _driver_started(run: Run, _data: Mapping[str, Any], record: Record) -> None:
    for change in run.active.values():
        change.watched_since = record.time


@_folds("CommandRefused")
def _command_refused(run: Run, data: Mapping[str, Any], record: Record) -> None:
    run.refused[record.command] = data["reason"]


@_folds("RunStarted")
def _run_started(run: Run, data: Mapping[str, Any], record: Record) -> None:
    run.id, run.goal = data["run"], data["goal"]
    run.target, run.base = data["target"], data["base"]
    run.forge, run.remote = data.get("forge", "local"), data.get("remote", "")
    run.author, run.rehearsal = data.get("author", ""), data.get("rehearsal", "")
    run.dry = bool(data.get("dry", False))
    run.hosted, run.adopts, run.issue = data.get("hosted", {}), data.get("adopts", 0), data.get("issue", 0)
    run.mode, run.title, run.skill = Mode(data.get("mode", "goal")), data.get("title", ""), data.get("skill", "")
    run.material = tuple(Material(m["title"], m["text"]) for m in data.get("material", ()))
    run.keep = Keep(**data.get("keep", {}))
    run.user_criteria = tuple(data.get("criteria", ()))
    run.policy = policy_from_data(data.get("settings", {}))
    run.started = run.since = record.time


@_folds("PlanDrafted")
def _plan_drafted(run: Run, data: Mapping[str, Any], _record: Record) -> None:
    run.draft = plan_from_data(data["plan"])


@_folds("PlanProposed")
def _plan_proposed(run: Run, data: Mapping[str, Any], record: Record) -> None:
    run.draft = None
    run.guards, run.proposed_at = tuple(data.get("guards", ())), record.seq
    run.plan_findings, run.plan_refusals, run.rejection = (), 0, ""
    run.forget("plan")
    run.set_plan(plan_from_data(data["plan"]), record.seq)


@_folds("PlanRefused")
def _plan_refused(run: Run, data: Mapping[str, Any], _record: Record) -> None:
    run.draft, run.plan_findings = None, tuple(data["reasons"])
    run.refused_plan = plan_from_data(data["plan"]) if data.get("plan") else None
    run.plan_refusals += 1


@_folds("PlanRejected")
def _plan_rejected(run: Run, data: Mapping[str, Any], record: Record) -> None:
    run.plan_findings, run.refused_plan, run.rejection = (), run.plan, data["reason"]
    run.set_plan(Plan(), record.seq)


@_folds("NothingToDo")
def _nothing_to_do(run: Run, data: Mapping[str, Any], record: Record) -> None:
    run.verify_commit = run.base
    run.set_plan(plan_from_data(data["plan"]), record.seq)


@_folds("PlanEdited")
def _plan_edited(run: Run, data: Mapping[str, Any], record: Record) -> None:
    new = plan_from_data(data["plan"])
    kept = {c.id for c in new.criteria if c in run.plan.criteria}
    run.guards = tuple(g for g in run.guards if g in kept)  # of another command nobody knows yet
    run.set_plan(new, record.seq)


@_folds("PlanExtended")
def _plan_extended(run: Run, data: Mapping[str, Any], record: Record) -> None:
    old = run.plan
    more = plan_from_data({"changes": data["changes"]}).changes
    run.verify_rounds += 1
    run.forget("extend")
    run.set_plan(Plan((*old.changes, *more), old.criteria, old.summary, old.assumptions), record.seq)


@_folds("VerificationStarted")
def _verification_started(run: Run, data: Mapping[str, Any], _record: Record) -> None:
    run.verify_commit, run.failing = data["commit"], ()
    run.receipts, run.reverify = {}, False
    run.forget("verify")


@_folds("CriterionChecked")
def _criterion_checked(run: Run, data: Mapping[str, Any], _record: Record) -> None:
    run.reverify = False
    run.receipts[data["criterion"]] = Receipt(
        data["verdict"],
        data["commit"],
        data.get("command", ""),
        data.get("exit_code"),
        data.get("output_sha256", ""),
        data.get("log", ""),
        tuple(data.get("evidence", ())),
        data.get("missing", ""),
    )


@_folds("CriteriaFailed")
def _criteria_failed(run: Run, data: Mapping[str, Any], _record: Record) -> None:
    run.failing = tuple(data["criteria"])


@_folds("GoalVerified")
def _goal_verified(run: Run, data: Mapping[str, Any], _record: Record) -> None:
    run.verify_commit, run.landed = data["commit"], data.get("landed", "")
    run.halt, run.landing_next = None, data.get("next", "")


@_folds("QuestionAnswered")
def _question_answered(run: Run, data: Mapping[str, Any], _record: Record) -> None:
    run.answer, run.evidence, run.halt = data["text"], tuple(data.get("evidence", ())), None
    run.verify_commit = run.base
    run.forget("question")


@_folds("RunPaused")
def _run_paused(run: Run, data: Mapping[str, Any], record: Record) -> None:
    run.halt = Obstacle(data["reason"], data.get("next", "claudetm resume"), Halt.PAUSED, data.get("asks", ""))
    run.halted_at = record.seq


@_folds("RunBlocked")
def _run_blocked(run: Run, data: Mapping[str, Any], record: Record) -> None:
    run.halt = Obstacle(data["reason"], data.get("next", "claudetm resume"), Halt.BLOCKED)
    run.halted_at = record.seq


@_folds("RunResumed")
def _run_resumed(run: Run, data: Mapping[str, Any], _record: Record) -> None:
    if data.get("by") == MONITOR:
        if run.halt is not None and run.halt.kind is Halt.BLOCKED:  # the service may answer again
            run.tallies = {subject: tally.resumed() for subject, tally in run.tallies.items()}
        run.halt = None
        return
    if run.halt is not None:
        for change in run.active.values():
            change.conceded = change.stage is Stage.ABANDONED
        if run.halt.kind is Halt.BLOCKED:
            run.verify_rounds, run.failing = 0, ()
            run.reverify = run.phase is Phase.VERIFYING
            run.receipts = {i: r for i, r in run.receipts.items() if r.verdict == "holds"}
    run.halt = None
    run.plan_refusals = 0
    for subject in ("plan", "question", "verify", "extend"):
        run.forget(subject)
    run.tallies = {subject: tally.resumed() for subject, tally in run.tallies.items()}


@_folds("RunCancelled")
def _run_cancelled(run: Run, data: Mapping[str, Any], _record: Record) -> None:
    run.halt, run.dry_done = None, bool(data.get("planned", False))


@_folds("LimitsRaised")
def _limits_raised(run: Run, data: Mapping[str, Any], _record: Record) -> None:
    run.policy = policy_from_data(data["limits"], run.policy)


@_folds("SettingsChanged")
def _settings_changed(run: Run, data: Mapping[str, Any], _record: Record) -> None:
    run.policy = policy_from_data(data["settings"], run.policy)


@_folds("MessageAdded")
def _message_added(run: Run, data: Mapping[str, Any], record: Record) -> None:
    run.messages.append((record.seq, data["text"]))


@_folds("SessionStarted")
def _session_started(run: Run, data: Mapping[str, Any], record: Record) -> None:
    run.sessions += 1
    run.open_sessions[data["id"]] = OpenSession(
        data["id"],
        data["role"],
        data["subject"],
        data.get("change", ""),
        float(data.get("reserved", 0.0)),
        record.time,
        record.seq,
    )


@_folds("SessionEnded")
def _session_ended(run: Run, data: Mapping[str, Any], record: Record) -> None:
    session = run.open_sessions.pop(data["id"], None)
    run.used += usage_from_data(data.get("usage", {}))
    outcome = Outcome(data["outcome"])
    resets_at = float(data.get("resets_at") or 0.0)
    waits = outcome is Outcome.USAGE_LIMIT and resets_at > record.time
    run.tallies[data["subject"]] = run.tally(data["subject"]).after(
        data["id"], outcome, record.time, data.get("detail", ""), waits=waits
    )
    if waits:
        run.usage_resets_at = resets_at
    if session is not None and session.role in LISTENERS and outcome not in NEVER_RAN:
        run.messages_read = max(run.messages_read, session.seq)
    for text in data.get("learnings", ()):
        run.learnings.pop(text, None)  # the newest stands last
        run.learnings[text] = None
    while len(run.learnings) > LEARNINGS_KEPT:
        del run.learnings[next(iter(run.learnings))]


def _head(change: ChangeState, head: str, time: float) -> None:
    if head and head != change.head:
        change.head, change.head_since, change.queued = head, time, 0


@_folds("ChangeStarted")
def _change_started(run: Run, data: Mapping[str, Any], record: Record) -> None:
    change = run.changes[data["change"]]
    change.branch, change.base = data["branch"], data["base"]
    _head(change, data["base"], record.time)


@_folds("PullRequestAdopted")
def _pull_request_adopted(run: Run, data: Mapping[str, Any], record: Record) -> None:
    change = run.changes[data["change"]]
    change.number, change.branch, change.base = data["number"], data["branch"], data.get("base", "")
    change.url, change.opened_at = data.get("url", ""), record.seq
    change.tasks = {t.id: TaskState(data["head"], data["head"]) for t in change.plan.tasks}
    _head(change, data["head"], record.time)


@_folds("TaskStarted")
def _task_started(run: Run, data: Mapping[str, Any], record: Record) -> None:
    change = run.changes[data["change"]]
    change.tasks.setdefault(data["task"], TaskState(data["from_commit"]))
    _head(change, data["from_commit"], record.time)


@_folds("TaskFinished")
def _task_finished(run: Run, data: Mapping[str, Any], record: Record) -> None:
    change = run.changes[data["change"]]
    task = change.tasks[data["task"]]
    task.commit, task.summary = data["commit"], data.get("summary", "")
    run.summary, run.report = task.summary, data.get("report", "")
    run.forget(data["task"])
    _head(change, data["commit"], record.time)


@_folds("TaskSkipped")
def _task_skipped(run: Run, data: Mapping[str, Any], _record: Record) -> None:
    run.changes[data["change"]].tasks[data["task"]].skipped = True
    run.forget(data["task"])


@_folds("AuditPassed")
def _audit_passed(run: Run, data: Mapping[str, Any], _record: Record) -> None:
    run.audit = Audit(data["score"], data["notes"], data["commit"], passed=True)
    run.forget(f"{data['change']}:audit")


@_folds("AuditFailed")
def _audit_failed(run: Run, data: Mapping[str, Any], _record: Record) -> None:
    change = run.changes[data["change"]]
    run.audit = Audit(data["score"], data["notes"], data["commit"], passed=False)
    change.audits += 1
    change.tasks.clear()  # it is begun anew, on top of what is there
    run.forget_change(change)


@_folds("ChangeKept")
def _change_kept(run: Run, data: Mapping[str, Any], _record: Record) -> None:
    change = run.changes[data["change"]]
    run.kept = Kept(data["ref"], data["commit"], data.get("branch", ""), bool(data.get("pushed", False)))
    change.hold = None
    run.forget_change(change)


@_folds("PullRequestOpened")
def _pull_request_opened(run: Run, data: Mapping[str, Any], record: Record) -> None:
    change = run.changes[data["change"]]
    change.number, change.url, change.opened_at = data["number"], data.get("url", ""), record.seq
    _head(change, data["head"], record.time)


@_folds("ChangeReady", "ChecksAwaited", "PullRequestReopened", "WorkDone")
def _head_read(run: Run, data: Mapping[str, Any], record: Record) -> None:
    _head(run.changes[data["change"]], data["head"], record.time)


@_folds("HeadMoved")
def _head_moved(run: Run, data: Mapping[str, Any], record: Record) -> None:
    change = run.changes[data["change"]]
    change.adopting = False
    _head(change, data["head"], record.time)


@_folds("ChecksPassed")
def _checks_passed(run: Run, data: Mapping[str, Any], _record: Record) -> None:
    change = run.changes[data["change"]]
    change.failed, change.fix_rounds, change.fingerprints, change.causes = (), 0, (), ()
    change.failed_with, change.base_red, change.mends_base = "", "", False
    _flaky(change, data)
    change.base = data.get("base") or change.base


@_folds("ChecksFailed")
def _checks_failed(run: Run, data: Mapping[str, Any], _record: Record) -> None:
    change = run.changes[data["change"]]
    change.failed, change.failed_with = tuple(data.get("failed", ())), data.get("base", "")
    _flaky(change, data)


def _flaky(change: ChangeState, data: Mapping[str, Any]) -> None:
    change.flaky = tuple(dict.fromkeys((*change.flaky, *data.get("flaky", ()))))


@_folds("BaseFoundRed")
def _base_found_red(run: Run, data: Mapping[str, Any], _record: Record) -> None:
    run.changes[data["change"]].base_red = data["base"]


@_folds("ChecksRerun")
def _checks_rerun(run: Run, data: Mapping[str, Any], _record: Record) -> None:
    change = run.changes[data["change"]]
    change.rerun_heads |= {data["head"]}


@_folds("FixPushed")
def _fix_pushed(run: Run, data: Mapping[str, Any], record: Record) -> None:
    change = run.changes[data["change"]]
    change.fix_rounds += 1
    change.fingerprints = (*change.fingerprints, data.get("fingerprint", ""))
    change.causes = (*change.causes, data.get("cause", ""))
    run.forget(f"{change.id}:fix")
    _head(change, data["head"], record.time)


@_folds("SelfReviewed")
def _self_reviewed(run: Run, data: Mapping[str, Any], _record: Record) -> None:
    change = run.changes[data["change"]]
    if not data.get("skipped"):
        change.reviewed_head, change.self_reviews = data["head"], change.self_reviews + 1
    run.forget(f"{change.id}:review")


@_folds("ReviewsReceived")
def _reviews_received(run: Run, data: Mapping[str, Any], _record: Record) -> None:
    change = run.changes[data["change"]]
    change.threads = tuple(data["threads"])
    change.asked_at = change.asked_at or change.head


@_folds("ReviewsAnswered")
def _reviews_answered(run: Run, data: Mapping[str, Any], record: Record) -> None:
    change = run.changes[data["change"]]
    change.threads, change.asked_at = (), ""
    if data.get("people", True):
        change.asked += 1
        change.answers.update({i: change.answers.get(i, 0) + 1 for i in data.get("answered", ())})
    run.forget(f"{change.id}:respond")
    _head(change, data["head"], record.time)


@_folds("BranchUpdated")
def _branch_updated(run: Run, data: Mapping[str, Any], record: Record) -> None:
    change = run.changes[data["change"]]
    base = data.get("base") or change.base
    # our own merges end with the plan; what changes nothing is counted, too, so that it ends
    change.updates += data["head"] == change.head or base not in {change.base, run.last_merge}
    change.base = base
    run.forget(f"{change.id}:update")
    _head(change, data["head"], record.time)


@_folds("PullRequestMerged")
def _pull_request_merged(run: Run, data: Mapping[str, Any], _record: Record) -> None:
    change = run.changes[data["change"]]
    change.merge_commit, change.merged_by, change.hold = data["commit"], data.get("by", ""), None
    run.last_merge = data["commit"]
    run.forget_change(change)


@_folds("PullRequestClosed")
def _pull_request_closed(run: Run, data: Mapping[str, Any], _record: Record) -> None:
    run.changes[data["change"]].hold = None


@_folds("MergeQueued")
def _merge_queued(run: Run, data: Mapping[str, Any], _record: Record) -> None:
    run.changes[data["change"]].queued += 1


@_folds("SnapshotTaken")
def _snapshot_taken(run: Run, data: Mapping[str, Any], _record: Record) -> None:
    run.changes[data["change"]].snapshots += 1
    run.snapshot = data["ref"]


@_folds("ChangeBlocked")
def _change_blocked(run: Run, data: Mapping[str, Any], _record: Record) -> None:
    run.changes[data["change"]].hold = Obstacle(data["reason"], data.get("next", "claudetm resume"))


@_folds("ChangeUnblocked")
def _change_unblocked(run: Run, data: Mapping[str, Any], record: Record) -> None:
    change = run.changes[data["change"]]
    change.hold, change.adopting, change.since = None, True, record.time
    if change.base_red and not run.mended_for(change):
        run.mender, change.mends_base = change.id, True
    change.fix_rounds = change.self_reviews = change.updates = change.asked = change.queued = change.audits = 0
    change.fingerprints, change.rerun_heads, change.answers = (), frozenset(), {}
    run.forget_change(change)


@_folds("ChangeDropped")
def _change_dropped(run: Run, data: Mapping[str, Any], _record: Record) -> None:
    change = run.changes[data["change"]]
    change.accepted, change.hold = True, None
    run.place(change, was_settled=False)
    heir = next((c for c in run.active.values() if c.base_red and c.hold is None), None)
    if run.mender == change.id and heir is not None:
        run.mender, heir.mends_base = heir.id, True
