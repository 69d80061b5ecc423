"""Both tables, written down once more by hand: what they allow moves as they say, all else changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Final

import pytest

from claudetm.plan.model import Plan
from claudetm.workflow import events as e
from claudetm.workflow.legality import IllegalEvent, edge
from claudetm.workflow.stages import Mode, Phase, Stage
from story import Story, at, change, example, plan, working

_Row = tuple[str, str, str]

OPEN_PHASES: Final = "planning planned working verifying"
OPEN_STAGES: Final = (
    "queued working publishing pr_created waiting_ci ci_failed reviewing waiting_reviews addressing_reviews"
    " updating_branch ready_to_merge abandoned auditing keeping"
)
PUBLISHING_TO_READY: Final = (
    "publishing pr_created waiting_ci ci_failed reviewing waiting_reviews addressing_reviews updating_branch"
    " ready_to_merge"
)

# where it stands | what happens | where it stands then, "" for a note
RUN_ROWS: Final[Sequence[_Row]] = (
    ("planning", "PlanProposed", "planned"),
    ("planning", "NothingToDo", "verifying"),
    ("planning", "QuestionAnswered", "verified"),
    ("planning", "PlanRefused PlanDrafted", ""),
    ("planned", "PlanApproved", "working"),
    ("planned", "PlanRejected", "planning"),
    ("planned", "PlanEdited", ""),
    ("working", "PlanEdited", ""),
    ("working", "VerificationStarted", "verifying"),
    ("verifying", "VerificationStarted CriterionChecked CriteriaFailed", ""),
    ("verifying", "PlanExtended", "working"),
    ("verifying", "GoalVerified", "verified"),
    (OPEN_PHASES, "RunPaused RunBlocked RunResumed LimitsRaised SettingsChanged MessageAdded", ""),
    (OPEN_PHASES, "CommandRefused DriverStarted SessionStarted SessionEnded", ""),
    (OPEN_PHASES, "RunCancelled", "cancelled"),
    ("cancelled", "SessionEnded", ""),  # not in the design: what a cancel interrupts is charged
)
CHANGE_ROWS: Final[Sequence[_Row]] = (
    ("queued", "ChangeStarted", "working"),
    ("queued", "PullRequestAdopted", "waiting_ci"),
    ("working", "TaskStarted TaskFinished TaskSkipped", ""),
    ("working", "ChangeReady", "publishing"),
    ("working", "ChangeEmpty", "skipped"),
    ("working", "WorkDone", "auditing"),
    ("auditing", "AuditPassed AuditSkipped", "keeping"),
    ("auditing", "AuditFailed", "working"),
    ("keeping", "ChangeKept", "kept"),
    ("publishing", "PullRequestOpened", "pr_created"),
    ("pr_created", "ChecksAwaited", "waiting_ci"),
    ("waiting_ci", "ChecksPassed", "reviewing"),
    ("waiting_ci", "ChecksFailed", "ci_failed"),
    ("waiting_ci", "ConflictFound", "updating_branch"),
    ("ci_failed", "FixPushed ChecksRerun", "waiting_ci"),
    ("ci_failed", "BaseFoundRed", ""),  # not in the design: what the change has not caused is not its to mend
    ("ci_failed", "ChecksPassed", "reviewing"),
    ("ci_failed", "ConflictFound", "updating_branch"),
    ("ci_failed", "BaseMoved", "updating_branch"),  # not in the design: a base that was red may be mended by now
    ("reviewing", "SelfReviewed", "waiting_reviews"),
    ("reviewing", "ChecksFailed", "ci_failed"),
    ("reviewing", "ChecksAwaited", "waiting_ci"),
    ("reviewing", "ConflictFound", "updating_branch"),
    ("waiting_reviews", "ReviewsReceived", "addressing_reviews"),
    ("waiting_reviews", "ReviewsSettled", "ready_to_merge"),
    ("waiting_reviews", "ChecksFailed", "ci_failed"),
    ("waiting_reviews", "ChecksAwaited", "waiting_ci"),
    ("waiting_reviews", "ConflictFound", "updating_branch"),
    ("addressing_reviews", "ReviewsAnswered", "waiting_ci"),
    ("updating_branch", "BranchUpdated", "waiting_ci"),
    ("ready_to_merge", "MergeQueued", ""),
    ("ready_to_merge", "BaseMoved ConflictFound", "updating_branch"),
    ("ready_to_merge", "ReviewsReceived", "addressing_reviews"),
    ("ready_to_merge", "ReviewsAwaited", "waiting_reviews"),
    ("ready_to_merge", "ChecksFailed", "ci_failed"),
    ("ready_to_merge", "ChecksAwaited", "waiting_ci"),
    (PUBLISHING_TO_READY, "PullRequestMerged", "merged"),
    (PUBLISHING_TO_READY, "PullRequestClosed", "abandoned"),
    ("pr_created waiting_ci reviewing waiting_reviews ready_to_merge", "HeadMoved", "waiting_ci"),
    ("ci_failed addressing_reviews updating_branch", "HeadMoved", "updating_branch"),
    ("abandoned", "PullRequestReopened", "waiting_ci"),
    (OPEN_STAGES, "ChangeBlocked ChangeUnblocked SessionStarted SessionEnded SnapshotTaken", ""),
    (OPEN_STAGES, "ChangeDropped", "abandoned"),
)


def _steps(rows: Sequence[_Row]) -> Mapping[tuple[str, str], str]:
    return {(p, name): to or p for places, names, to in rows for p in places.split() for name in names.split()}


RUN_STEPS: Final = _steps(RUN_ROWS)
CHANGE_STEPS: Final = _steps(CHANGE_ROWS)
SESSIONS: Final = {"SessionStarted", "SessionEnded"}
CHANGE_EVENTS: Final = [n for n, k in e.EVENTS.items() if issubclass(k, e.ChangeEvent)]
RUN_EVENTS: Final = [n for n in e.EVENTS if n not in (*CHANGE_EVENTS, *SESSIONS, "RunStarted")]

# what must have happened at a place before the event can
_BEFORE: Final[Mapping[str, tuple[e.Event, ...]]] = {
    "TaskFinished": (e.TaskStarted("c1", "c1.t1", "b0"),),
    "TaskSkipped": (e.TaskStarted("c1", "c1.t1", "b0"),),
    "ChangeReady": (e.TaskStarted("c1", "c1.t1", "b0"), e.TaskFinished("c1", "c1.t1", "h1")),
    "ChangeEmpty": (e.TaskStarted("c1", "c1.t1", "b0"), e.TaskFinished("c1", "c1.t1", "h1")),
    "WorkDone": (e.TaskStarted("c1", "c1.t1", "b0"), e.TaskFinished("c1", "c1.t1", "h1")),
}


def _before(name: str, owner: str) -> tuple[e.Event, ...]:
    return (example(e.SessionStarted, owner),) if name == "SessionEnded" else _BEFORE.get(name, ())


def _mode(name: str) -> Mode:
    """Return the mode that has such an event."""
    return {"WorkDone": Mode.SESSION, "QuestionAnswered": Mode.QUESTION}.get(name, Mode.GOAL)


def _run_event(name: str) -> e.Event:
    match name:
        case "NothingToDo":
            return e.NothingToDo(Plan(criteria=plan().criteria))
        case _:
            return example(e.EVENTS[name])


@pytest.mark.parametrize(("place", "name"), RUN_STEPS)
def test_the_run_moves_where_the_table_says(place: str, name: str) -> None:
    story = at(Phase(place), _mode(name))
    if (place, name) == ("working", "VerificationStarted"):
        story.tell(example(e.ChangeDropped, "c1"))
    elif name == "VerificationStarted":
        story.tell(example(e.RunBlocked), example(e.RunResumed))
    if (place, name) == ("cancelled", "SessionEnded"):
        story = at(Phase.PLANNING).tell(*_before(name, ""), e.RunCancelled())
    else:
        story.tell(*_before(name, ""))
    story.tell(_run_event(name))
    assert story.run.phase == RUN_STEPS[place, name]
    assert story.records[-1].edge == (place, RUN_STEPS[place, name])


@pytest.mark.parametrize(("place", "name"), CHANGE_STEPS)
def test_a_change_moves_where_the_table_says(place: str, name: str) -> None:
    story = at(Stage(place), _mode(name)).tell(*_before(name, "c1")).tell(example(e.EVENTS[name], "c1"))
    assert story.change().stage == CHANGE_STEPS[place, name]
    assert story.records[-1].edge == (place, CHANGE_STEPS[place, name])


def refused(story: Story, event: e.Event) -> str:
    """Return why the event is refused, having made sure that nothing has changed."""
    before = deepcopy(story.run)
    with pytest.raises(IllegalEvent) as refusal:
        edge(story.run, event)
    assert story.run == before
    return str(refusal.value)


def _absent(
    places: Iterable[str], names: Sequence[str], steps: Mapping[tuple[str, str], str]
) -> list[tuple[str, str]]:
    return [(p, n) for p in places for n in names if (p, n) not in steps]


@pytest.mark.parametrize(("place", "name"), _absent(Phase, [*RUN_EVENTS, *sorted(SESSIONS)], RUN_STEPS))
def test_what_is_not_in_the_runs_table_is_refused(place: str, name: str) -> None:
    assert refused(at(Phase(place)), _run_event(name)) == f"{name} is not possible while the run is {place}."


@pytest.mark.parametrize(("place", "name"), _absent(Stage, [*CHANGE_EVENTS, *sorted(SESSIONS)], CHANGE_STEPS))
def test_what_is_not_in_the_changes_table_is_refused(place: str, name: str) -> None:
    why = refused(at(Stage(place)), example(e.EVENTS[name], "c1"))
    assert why == f"{name} is not possible while change c1 is {place}."


def test_the_hand_written_tables_name_every_event_place_and_nothing_else() -> None:
    named = {name for _, name in RUN_STEPS} | {name for _, name in CHANGE_STEPS}
    assert named == set(e.EVENTS) - {"RunStarted"}
    assert {p for p, _ in RUN_STEPS} | set(RUN_STEPS.values()) == set(Phase)
    assert {p for p, _ in CHANGE_STEPS} | set(CHANGE_STEPS.values()) == set(Stage)


@pytest.mark.parametrize("name", [n for n in e.EVENTS if n != "RunStarted"])
def test_nothing_happens_before_the_run_has_started(name: str) -> None:
    assert refused(Story(), example(e.EVENTS[name], "c1" if name in CHANGE_EVENTS else "")) == (
        "The run has not started."
    )


@pytest.mark.parametrize("phase", Phase)
def test_a_run_starts_once(phase: Phase) -> None:
    assert refused(at(phase), example(e.RunStarted)) == "The run has started already."


def test_every_event_is_known_by_its_name_and_the_kinds_they_share_are_none() -> None:
    assert all(kind is getattr(e, name) for name, kind in e.EVENTS.items())
    assert {"Event", "ChangeEvent"}.isdisjoint(e.EVENTS)


@pytest.mark.parametrize("name", [*CHANGE_EVENTS, *sorted(SESSIONS)])
def test_an_event_of_an_unknown_change_is_refused(name: str) -> None:
    assert refused(working(), example(e.EVENTS[name], "c7")) == "There is no change c7."


_WHATEVER_THE_PHASE: Final = {"ChangeUnblocked", "SnapshotTaken", "SessionEnded"}


@pytest.mark.parametrize("name", [n for p, n in CHANGE_STEPS if p == "queued" and n not in _WHATEVER_THE_PHASE])
def test_changes_stand_still_until_the_plan_is_approved(name: str) -> None:
    why = refused(at(Phase.PLANNED), example(e.EVENTS[name], "c1"))
    assert why == "Changes stand still while the run is planned."


def test_no_task_starts_once_the_run_is_cancelled() -> None:
    story = at(Stage.WORKING).tell(e.RunCancelled())
    assert refused(story, e.TaskStarted("c1", "c1.t1", "b0")) == "Changes stand still while the run is cancelled."
    assert refused(story, example(e.SessionStarted, "c1")) == "Changes stand still while the run is cancelled."


def test_a_session_that_a_cancelled_run_interrupted_is_still_charged() -> None:
    story = at(Stage.WORKING).tell(example(e.SessionStarted, "c1"), e.RunCancelled())
    story.tell(example(e.SessionEnded, "c1"))
    assert story.run.open_sessions == {}


def test_verification_waits_until_every_change_is_settled() -> None:
    assert refused(at(Stage.READY_TO_MERGE), e.VerificationStarted("m1")) == "Not every change is settled."
    assert refused(at(Stage.ABANDONED), e.VerificationStarted("m1")) == "Not every change is settled."


def test_a_change_starts_only_after_what_it_depends_on() -> None:
    story = working(change("c1"), change("c2", "c1"))
    assert refused(story, example(e.ChangeStarted, "c2")) == "Change c2 waits for another."


def test_tasks_are_done_in_order_and_all_of_them() -> None:
    story = working(change("c1", tasks=2)).tell(example(e.ChangeStarted, "c1"))
    assert refused(story, e.TaskStarted("c1", "c1.t2", "b0")) == "Task c1.t2 is not the next task of change c1."
    assert refused(story, e.TaskFinished("c1", "c1.t1", "h1")) == "Task c1.t1 has not started."
    assert refused(story, e.TaskSkipped("c1", "c1.t1")) == "Task c1.t1 has not started."
    story.tell(e.TaskStarted("c1", "c1.t1", "b0"), e.TaskFinished("c1", "c1.t1", "h1"))
    assert refused(story, e.ChangeReady("c1", "h1")) == "Task c1.t2 is not done."
    assert refused(story, e.ChangeEmpty("c1")) == "Task c1.t2 is not done."
    assert refused(story, e.TaskStarted("c1", "c1.t1", "b0")) == "Task c1.t1 is not the next task of change c1."


def test_only_an_open_session_ends_and_only_a_new_one_starts() -> None:
    story = at(Stage.WORKING)
    assert refused(story, example(e.SessionEnded, "c1")) == "Session s1 is not open."
    story.tell(example(e.SessionStarted, "c1"))
    assert refused(story, example(e.SessionStarted, "c1")) == "Session s1 is open already."


def test_a_proposal_that_cannot_be_worked_is_refused() -> None:
    assert refused(at(Phase.PLANNING), e.PlanProposed(plan(change("c1", "c1")))) == (
        "The changes c1 depend on each other in a circle."
    )


def test_nothing_to_do_means_no_changes() -> None:
    assert refused(at(Phase.PLANNING), e.NothingToDo(plan())) == "There is something to do: the plan has changes."


def test_an_extension_adds_changes_that_fit_the_plan() -> None:
    story = at(Phase.VERIFYING)
    assert refused(story, e.PlanExtended(())) == "The extension has no changes."
    assert refused(story, e.PlanExtended((change("c1"),))) == "The id c1 is used twice. The id c1.t1 is used twice."
    story.tell(e.PlanExtended((change("c2", "c1"),)))
    assert list(story.run.startable) == ["c2"]
