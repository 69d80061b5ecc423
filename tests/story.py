"""Runs told event by event: each is checked, written as JSON and folded, as the sole writer does with a journal.

`ROUTES` and `PHASES` lead the change c1, or the run, to each place where it can stand.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, replace
from typing import Any, Final

from claudetm.plan.model import Change, Criterion, Plan, Task
from claudetm.workflow import events as e
from claudetm.workflow.legality import edge
from claudetm.workflow.outcomes import Outcome
from claudetm.workflow.records import Record
from claudetm.workflow.run import ChangeState, Run
from claudetm.workflow.stages import Mode, Phase, Stage

BEGAN: Final = 1_000.0


def change(i: str, *needs: str, tasks: int = 1) -> Change:
    return Change(i, f"Change {i}", tuple(Task(f"{i}.t{n + 1}", f"Step {n + 1}") for n in range(tasks)), "", needs)


def plan(*changes: Change, criteria: tuple[Criterion, ...] = (Criterion("k1", "It works", "make test"),)) -> Plan:
    return Plan(changes or (change("c1"),), criteria)


def record(
    seq: int, event: e.Event, step: tuple[str, str], *, time: float = BEGAN, command: str = "", bare: bool = False
) -> Record:
    """Return the event's line, through JSON; with `bare`, as a version without the optional fields wrote it."""
    data = json.loads(json.dumps(e.event_to_data(event)))
    if bare:
        data = {name: data[name] for name in required(type(event))}
    return Record(seq, time, type(event).__name__, step, data, command)


def required(kind: type[e.Event]) -> list[str]:
    return [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]


class Story:
    """A journal and the run it folds to."""

    def __init__(self, *events: e.Event) -> None:
        self.run = Run()
        self.records: list[Record] = []
        self.now = BEGAN
        self.tell(*events)

    def tell(self, *events: e.Event, command: str = "", after: float = 1.0) -> Story:
        """Let the events happen, each `after` seconds later than the one before. Raises IllegalEvent."""
        for event in events:
            step = edge(self.run, event)
            self.now += after
            told = record(self.run.seq + 1, event, step, time=self.now, command=command)
            self.run.apply(told)
            self.records.append(told)
        return self

    def change(self, i: str = "c1") -> ChangeState:
        return self.run.changes[i]

    def session(self, outcome: Outcome, subject: str = "c1.t1", owner: str = "c1", **ended: Any) -> Story:
        """Let one session begin and end."""
        i = f"s{self.run.sessions + 1}"
        self.tell(e.SessionStarted(i, "worker", subject, owner))
        return self.tell(e.SessionEnded(i, subject, outcome, owner, **ended))


EXAMPLE: Final[Mapping[str, Any]] = {
    "base": "b0",
    "based_on": 2,
    "branch": "claudetm/c1",
    "checks": ("test",),
    "changes": (change("c9"),),
    "commit": "m1",
    "criteria": ("k1",),
    "criterion": "k1",
    "from_commit": "b0",
    "goal": "Make it work",
    "head": "h1",
    "id": "s1",
    "limits": {"cost_usd": 5.0},
    "name": "pause",
    "number": 7,
    "outcome": Outcome.ANSWERED,
    "plan": plan(),
    "reason": "because",
    "reasons": ("The plan has no changes.",),
    "ref": "refs/claudetm/r1/c1/1",
    "role": "worker",
    "score": 90,
    "notes": "Good",
    "run": "r1",
    "settings": {"verify": False},
    "subject": "c1.t1",
    "target": "main",
    "task": "c1.t1",
    "text": "Mind the tests",
    "threads": ("t1",),
    "verdict": "holds",
    "version": "1.0",
}


def example(kind: type[e.Event], owner: str = "", **chosen: Any) -> e.Event:
    """Return an event of that kind; `owner` is the change it belongs to, or ""."""
    make: Callable[..., e.Event] = kind
    given = {**EXAMPLE, "change": owner, **chosen}
    names = [*required(kind), *chosen]
    if owner and "change" not in names:
        names.append("change")
    return make(**{name: given[name] for name in names})


STARTED: Final = (e.RunStarted("r1", "Make it work", "main", "b0"),)
SESSION: Final = (e.RunStarted("r1", "Make it work", "main", "b0", mode="session"),)
QUESTION: Final = (e.RunStarted("r1", "Does it work?", "main", "b0", mode="question"),)


def working(*changes: Change, mode: Mode = Mode.GOAL) -> Story:
    """Return a run whose plan of these changes (or of c1 alone) may be worked."""
    started = SESSION if mode is Mode.SESSION else STARTED
    return Story(*started, e.PlanProposed(plan(*changes)), e.PlanApproved())


_BEGUN: Final = (e.ChangeStarted("c1", "claudetm/c1", "b0"),)
_READY: Final = (
    *_BEGUN,
    e.TaskStarted("c1", "c1.t1", "b0"),
    e.TaskFinished("c1", "c1.t1", "h1"),
    e.ChangeReady("c1", "h1"),
)
_DONE: Final = (*_READY[:-1], e.WorkDone("c1", "h1"))
_AUDITED: Final = (*_DONE, e.AuditPassed("c1", 90, "Good", "h1"))
_OPENED: Final = (*_READY, e.PullRequestOpened("c1", 7, "h1"))
_WAITING: Final = (*_OPENED, e.ChecksAwaited("c1", "h1"))
_REVIEWING: Final = (*_WAITING, e.ChecksPassed("c1", "h1"))
_REVIEWED: Final = (*_REVIEWING, e.SelfReviewed("c1", "h1"))
_SETTLED: Final = (*_REVIEWED, e.ReviewsSettled("c1", "h1"))
_MERGED: Final = (*_SETTLED, e.PullRequestMerged("c1", "m1"))

ROUTES: Final[Mapping[Stage, tuple[e.Event, ...]]] = {
    Stage.QUEUED: (),
    Stage.WORKING: _BEGUN,
    Stage.PUBLISHING: _READY,
    Stage.PR_CREATED: _OPENED,
    Stage.WAITING_CI: _WAITING,
    Stage.CI_FAILED: (*_WAITING, e.ChecksFailed("c1", "h1", ("test",))),
    Stage.REVIEWING: _REVIEWING,
    Stage.WAITING_REVIEWS: _REVIEWED,
    Stage.ADDRESSING_REVIEWS: (*_REVIEWED, e.ReviewsReceived("c1", ("t1",))),
    Stage.UPDATING_BRANCH: (*_WAITING, e.ConflictFound("c1", "h1")),
    Stage.READY_TO_MERGE: _SETTLED,
    Stage.AUDITING: _DONE,
    Stage.KEEPING: _AUDITED,
    Stage.KEPT: (*_AUDITED, e.ChangeKept("c1", "refs/claudetm/r1/snapshots/c1-1", "h1")),
    Stage.MERGED: _MERGED,
    Stage.ABANDONED: (*_WAITING, e.PullRequestClosed("c1", "ann")),
    Stage.SKIPPED: (
        *_BEGUN,
        e.TaskStarted("c1", "c1.t1", "b0"),
        e.TaskSkipped("c1", "c1.t1"),
        e.ChangeEmpty("c1"),
    ),
}

_PROPOSED: Final = (*STARTED, e.PlanProposed(plan()))
_APPROVED: Final = (*_PROPOSED, e.PlanApproved())
_VERIFYING: Final = (*_APPROVED, *_MERGED, e.VerificationStarted("m1"))

PHASES: Final[Mapping[Phase, tuple[e.Event, ...]]] = {
    Phase.PLANNING: STARTED,
    Phase.PLANNED: _PROPOSED,
    Phase.WORKING: _APPROVED,
    Phase.VERIFYING: _VERIFYING,
    Phase.VERIFIED: (*_VERIFYING, e.GoalVerified("m1")),
    Phase.CANCELLED: (*_APPROVED, e.RunCancelled()),
}


IN_SESSIONS: Final = frozenset({Stage.AUDITING, Stage.KEEPING, Stage.KEPT})
"""Where a change stands in a run of mode session alone."""


def at(place: Phase | Stage, mode: Mode = Mode.GOAL) -> Story:
    """Return a run that stands there, or whose change c1 does; of the mode that has such a stage."""
    if isinstance(place, Phase):
        return Story(*(QUESTION if mode is Mode.QUESTION else PHASES[place]))
    return working(mode=Mode.SESSION if place in IN_SESSIONS else mode).tell(*ROUTES[place])


def moved(i: str, stage: Stage) -> list[e.Event]:
    """Return what leads a change to a stage, as `ROUTES` does with c1."""
    found = []
    for event in ROUTES[stage]:
        new: dict[str, Any] = {"change": i}
        if hasattr(event, "task"):
            new["task"] = event.task.replace("c1", i)
        found.append(replace(event, **new))
    return found


def forty() -> Story:
    """Return a run of forty changes: twelve merged, one held, two under way, the others queued."""
    story = working(*(change(f"c{n}") for n in range(1, 41)))
    for n in range(1, 13):
        story.tell(*moved(f"c{n}", Stage.MERGED))
    story.tell(*moved("c13", Stage.WAITING_CI), e.ChangeBlocked("c13", "the checks did not report"))
    story.tell(*moved("c14", Stage.WAITING_CI), *moved("c15", Stage.WORKING))
    return story.tell(
        e.TaskStarted("c15", "c15.t1", "b0"), e.SessionStarted("s1", "worker", "c15.t1", "c15", model="opus")
    )
