"""What a journal folds to, beside where things stand: heads, rounds, learnings, plans and who waits for whom."""

from __future__ import annotations

from dataclasses import replace

import pytest

from claudetm.plan.model import Change, Criterion, Plan, Task, plan_from_data, plan_to_data
from claudetm.workflow import events as e
from claudetm.workflow.legality import IllegalEvent, edge
from claudetm.workflow.outcomes import Outcome
from claudetm.workflow.records import SCHEMA, Record
from claudetm.workflow.run import LEARNINGS_KEPT, Obstacle, Run, UnreadableRecord, fold
from claudetm.workflow.stages import PULL_REQUEST_STAGES, Halt, Phase, Stage
from story import ROUTES, STARTED, Story, at, change, example, plan, record, working


def waiting(story: Story) -> tuple[set[str], set[str], set[str]]:
    """Return what is startable, stranded and active."""
    return set(story.run.startable), set(story.run.stranded), set(story.run.active)


def start(i: str) -> e.ChangeStarted:
    return e.ChangeStarted(i, f"claudetm/{i}", "b0")


# --- the run ----------------------------------------------------------------------------------------------------


def test_a_run_begins_with_what_is_read_once() -> None:
    run = Story(
        e.RunStarted(
            "r1", "Make it work", "main", "b0", {"verify": False}, ("It works",), "github", "demo", "url", "A"
        )
    ).run
    assert (run.id, run.goal, run.target, run.base, run.forge) == ("r1", "Make it work", "main", "b0", "github")
    assert (run.rehearsal, run.remote, run.author, run.user_criteria) == ("demo", "url", "A", ("It works",))
    assert not run.policy.verify
    assert run.tip == "b0"


def test_each_stage_knows_since_when_it_stands() -> None:
    story = at(Stage.WAITING_CI)
    entered = story.now
    story.tell(e.SnapshotTaken("c1", "refs/claudetm/r1/c1/1", "s1"), after=50)
    assert story.change().since == entered
    story.tell(e.ChecksFailed("c1", "h1"), after=50)
    assert story.change().since == entered + 100


@pytest.mark.parametrize(
    ("event", "kind"), [(e.RunPaused("lunch"), Halt.PAUSED), (e.RunBlocked("no credit"), Halt.BLOCKED)]
)
def test_a_halt_lies_over_the_phase_until_resume(event: e.RunPaused | e.RunBlocked, kind: Halt) -> None:
    story = at(Phase.WORKING).tell(event)
    assert story.run.halt == Obstacle(event.reason, "claudetm resume", kind)
    assert story.run.phase is Phase.WORKING
    assert story.tell(e.RunResumed()).run.halt is None


def test_a_verified_run_keeps_the_command_that_is_left_to_the_user() -> None:
    run = at(Phase.VERIFYING).tell(e.GoalVerified("m1", "main is checked out and dirty", "git merge m1")).run
    assert run.finished
    assert (run.halt, run.landed) == (None, "main is checked out and dirty")
    assert run.landing_next == "git merge m1"


def test_refused_plans_count_until_one_is_proposed_or_the_run_is_resumed() -> None:
    story = at(Phase.PLANNING).tell(e.PlanRefused(("Too vague.",)), e.PlanRefused(("Still too vague.",)))
    assert (story.run.plan_refusals, story.run.plan_findings) == (2, ("Still too vague.",))
    assert story.tell(e.RunBlocked("no plan"), e.RunResumed()).run.plan_refusals == 0
    story.tell(e.PlanRefused(("No.",)), e.PlanProposed(plan(), ("k1",)))
    assert (story.run.plan_refusals, story.run.plan_findings, story.run.guards) == (0, (), ("k1",))


def test_a_rejected_plan_is_gone_and_the_reason_stays() -> None:
    run = at(Phase.PLANNED).tell(e.PlanRejected("Too much at once")).run
    assert (run.plan, run.changes, run.startable) == (Plan(), {}, {})
    assert (run.plan_findings, run.rejection, run.refused_plan) == ((), "Too much at once", plan())


def test_raised_limits_and_changed_settings_lie_over_the_old_ones() -> None:
    policy = at(Phase.WORKING).tell(e.LimitsRaised({"turns": 9}), e.SettingsChanged({"checks": ["a"]})).run.policy
    assert (policy.turns, policy.checks, policy.attempts) == (9, ("a",), 3)


def test_the_users_words_are_unread_until_a_session_gets_them() -> None:
    story = at(Stage.WORKING).tell(e.MessageAdded("Mind the tests"), e.MessageAdded("And the docs"))
    assert list(story.run.unread) == ["Mind the tests", "And the docs"]
    story.session(Outcome.OVERLOADED, "c1.t1", "c1")
    assert list(story.run.unread) == ["Mind the tests", "And the docs"], "a session that never ran heard nothing"
    story.tell(e.SessionStarted("s9", "worker", "c1.t1", "c1"), e.MessageAdded("One more"))
    story.tell(e.SessionEnded("s9", "c1.t1", Outcome.ANSWERED, "c1"))
    assert list(story.run.unread) == ["One more"]


def test_learnings_are_deduplicated_bounded_and_the_newest_stand_last() -> None:
    story = at(Stage.WORKING)
    story.session(Outcome.ANSWERED, learnings=("a", "b")).session(Outcome.REFUSED, learnings=("c", "a"))
    assert list(story.run.learnings) == ["b", "c", "a"]
    story.session(Outcome.ANSWERED, learnings=tuple(f"l{n}" for n in range(LEARNINGS_KEPT - 1)))
    assert len(story.run.learnings) == LEARNINGS_KEPT
    assert next(iter(story.run.learnings)) == "a"


def test_an_open_session_reserves_until_it_ends() -> None:
    story = at(Stage.WORKING).tell(e.SessionStarted("s1", "worker", "c1.t1", "c1", 4.0))
    assert (story.run.reserved, story.run.sessions) == (4.0, 1)
    story.tell(e.SessionEnded("s1", "c1.t1", Outcome.LOST, "c1"))
    assert (story.run.reserved, story.run.open_sessions) == (0, {})


def test_a_command_is_journalled_once_with_what_came_of_it() -> None:
    story = at(Phase.WORKING).tell(e.RunPaused("lunch"), command="i1")
    story.tell(e.CommandRefused("approve", "The plan is approved."), command="i2")
    restarted = fold(story.records)
    assert restarted.commands == {"i1", "i2"}
    assert restarted.refused == {"i2": "The plan is approved."}


def test_verification_keeps_the_last_receipt_of_each_criterion() -> None:
    story = at(Phase.VERIFYING).tell(
        e.CriterionChecked("k1", "fails", "m1", "make test", 1, "abc", "logs/k1", ("see",), "green tests"),
        e.CriteriaFailed(("k1",), "m1"),
    )
    receipt = story.run.receipts["k1"]
    assert (receipt.verdict, receipt.exit_code, receipt.missing) == ("fails", 1, "green tests")
    assert list(story.run.failing) == ["k1"]
    story.tell(e.PlanExtended((change("c2"),)), e.ChangeDropped("c2"), e.VerificationStarted("m2"))
    assert (list(story.run.receipts), list(story.run.failing), story.run.verify_commit) == ([], [], "m2")
    assert story.run.verify_rounds == 1


def test_a_run_whose_verification_blocked_it_has_all_its_rounds_again_after_resume() -> None:
    story = at(Phase.VERIFYING).tell(e.PlanExtended((change("c2"),)), e.RunPaused("lunch"), e.RunResumed())
    assert story.run.verify_rounds == 1
    assert story.tell(e.RunBlocked("criteria fail"), e.RunResumed()).run.verify_rounds == 0


# --- a change ---------------------------------------------------------------------------------------------------


def test_a_task_keeps_the_commit_it_began_at_over_a_restart() -> None:
    story = at(Stage.WORKING).tell(e.TaskStarted("c1", "c1.t1", "b0"), e.TaskStarted("c1", "c1.t1", "h1"))
    assert story.change().tasks["c1.t1"].from_commit == "b0"
    story.tell(e.TaskFinished("c1", "c1.t1", "h2", "done"))
    assert story.change().task is None
    assert story.change().head == "h2"


def test_the_head_is_what_was_last_recorded_as_published_or_ready() -> None:
    story = working(change("c1")).tell(start("c1"), e.TaskStarted("c1", "c1.t1", "b0"), e.TaskSkipped("c1", "c1.t1"))
    assert story.tell(e.ChangeReady("c1", "h5")).change().head == "h5"
    ready = story.now
    assert story.tell(e.PullRequestOpened("c1", 7, "h5", "url")).change().head_since == ready
    assert story.tell(e.HeadMoved("c1", "h6")).change().head_since == story.now
    assert (story.change().number, story.change().url) == (7, "url")


def test_an_adopted_pull_request_brings_its_branch_and_head() -> None:
    adopted = working().tell(e.PullRequestAdopted("c1", 3, "feature", "h1", "b1", "url")).change()
    assert (adopted.number, adopted.branch, adopted.head, adopted.base) == (3, "feature", "h1", "b1")


def test_fix_rounds_count_until_the_checks_pass() -> None:
    story = at(Stage.CI_FAILED).tell(e.FixPushed("c1", "h2", "typo", "f1"), e.ChecksFailed("c1", "h2", ("lint",)))
    story.tell(e.FixPushed("c1", "h3", "", "f2"))
    assert (story.change().fix_rounds, story.change().fingerprints) == (2, ("f1", "f2"))
    passed = story.tell(e.ChecksPassed("c1", "h3", "b4")).change()
    assert (passed.fix_rounds, passed.fingerprints, passed.failed, passed.base) == (0, (), (), "b4")


def test_a_rerun_is_remembered_for_its_head() -> None:
    assert at(Stage.CI_FAILED).tell(e.ChecksRerun("c1", "h1")).change().rerun_heads == {"h1"}


def test_review_rounds_and_updates_count() -> None:
    story = at(Stage.ADDRESSING_REVIEWS).tell(e.ReviewsAnswered("c1", "h2", ("t1",)), e.ConflictFound("c1", "h2"))
    counted = story.tell(e.BranchUpdated("c1", "h3", "b1")).change()
    assert (counted.review_rounds, counted.updates, counted.threads, counted.base) == (1, 1, (), "b1")
    assert (counted.head, counted.reviewed_head) == ("h3", "h1")


def test_a_lifted_hold_starts_every_count_of_the_change_again() -> None:
    story = at(Stage.CI_FAILED).tell(e.ChecksRerun("c1", "h1"), e.ChecksFailed("c1", "h1"), e.FixPushed("c1", "h2"))
    story.tell(e.ConflictFound("c1", "h2"), e.BranchUpdated("c1", "h3"), e.ChangeBlocked("c1", "no", "look"))
    assert story.change().hold == Obstacle("no", "look")
    free = story.tell(e.ChangeUnblocked("c1"), after=500).change()
    assert (free.hold, free.fix_rounds, free.review_rounds, free.updates) == (None, 0, 0, 0)
    assert (free.fingerprints, free.rerun_heads, free.since) == ((), frozenset(), story.now)


def test_our_last_merge_is_the_tip() -> None:
    story = at(Stage.READY_TO_MERGE).tell(e.PullRequestMerged("c1", "m1", "ann"))
    assert story.run.tip == "m1"
    assert (story.change().merge_commit, story.change().merged_by) == ("m1", "ann")


# --- who waits for whom -----------------------------------------------------------------------------------------


def test_dependents_become_startable_when_the_last_thing_they_need_is_settled() -> None:
    story = working(change("c1"), change("c2"), change("c3", "c1", "c2"), change("c4", "c3"))
    assert waiting(story) == ({"c1", "c2"}, set(), set())
    story.tell(*ROUTES[Stage.SKIPPED])
    assert waiting(story) == ({"c2"}, set(), set())
    story.tell(start("c2"))
    assert waiting(story) == (set(), set(), {"c2"})
    story.tell(*[replace_change(x, "c2") for x in ROUTES[Stage.MERGED][1:]])
    assert waiting(story) == ({"c3"}, set(), set())
    assert not story.run.settled


def replace_change(event: e.Event, i: str) -> e.Event:
    """Return the same event of another change."""
    data = {k: v.replace("c1.", f"{i}.") if k == "task" else v for k, v in e.event_to_data(event).items()}
    data = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
    return type(event)(**{**data, "change": i})


def test_a_closed_pull_request_strands_nothing_until_that_is_accepted() -> None:
    story = working(change("c1"), change("c2", "c1"), change("c3")).tell(*ROUTES[Stage.ABANDONED])
    assert waiting(story) == ({"c3"}, set(), {"c1"})
    story.tell(e.RunBlocked("closed"), e.RunResumed())
    assert waiting(story) == ({"c3"}, set(), {"c1"})
    assert waiting(story.tell(e.ChangeDropped("c1"))) == ({"c3"}, {"c2"}, set())
    story.tell(e.ChangeDropped("c2"), e.ChangeDropped("c3"))
    assert waiting(story) == (set(), set(), set())
    assert story.run.settled


def test_a_dropped_change_strands_what_depends_on_it_at_once() -> None:
    story = working(change("c1"), change("c2", "c1"), change("c3", "c2")).tell(e.ChangeDropped("c1"))
    assert waiting(story) == (set(), {"c2"}, set())
    assert waiting(story.tell(e.ChangeDropped("c2"))) == (set(), {"c3"}, set())


def test_a_dropped_change_that_is_reopened_lets_its_dependents_wait_again() -> None:
    story = working(change("c1"), change("c2", "c1")).tell(*ROUTES[Stage.WAITING_CI], e.ChangeDropped("c1"))
    assert waiting(story) == (set(), {"c2"}, set())
    assert waiting(story.tell(e.PullRequestReopened("c1", "h1"))) == (set(), set(), {"c1"})
    story.tell(e.PullRequestClosed("c1"))
    assert waiting(story) == (set(), set(), {"c1"})


def test_an_extension_waits_for_what_it_depends_on_and_strands_upon_a_veto() -> None:
    story = working(change("c1")).tell(e.ChangeDropped("c1"), e.VerificationStarted("b0"))
    story.tell(e.PlanExtended((change("c2", "c1"), change("c3"), change("c4", "c3"))))
    assert waiting(story) == ({"c3"}, {"c2"}, set())


# --- edits ------------------------------------------------------------------------------------------------------


def edited(story: Story, *changes: Change, based_on: int | None = None) -> e.PlanEdited:
    run = story.run
    return e.PlanEdited(Plan(changes, run.plan.criteria), run.plan_seq if based_on is None else based_on)


def why_not(story: Story, event: e.PlanEdited) -> str:
    with pytest.raises(IllegalEvent) as refusal:
        edge(story.run, event)
    return str(refusal.value)


def test_an_edit_keeps_what_has_begun_and_takes_the_rest_as_new() -> None:
    c1 = change("c1", tasks=2)
    story = working(c1, change("c2", "c1"), change("c3")).tell(start("c1"), e.TaskStarted("c1", "c1.t1", "b0"))
    story.tell(e.TaskFinished("c1", "c1.t1", "h1"))
    longer = replace(c1, title="More", tasks=(c1.tasks[0], Task("c1.t9", "Another way")))
    story.tell(edited(story, longer, change("c4"), change("c2", "c4")))
    assert list(story.run.changes) == ["c1", "c4", "c2"]
    assert story.change().head == "h1"
    assert story.change().stage is Stage.WORKING
    assert story.change().task == Task("c1.t9", "Another way")
    assert waiting(story) == ({"c4"}, set(), {"c1"})
    assert story.run.plan_seq == story.run.seq


def test_an_edit_based_on_an_older_plan_is_refused() -> None:
    story = at(Phase.WORKING)
    seen = story.run.plan_seq
    story.tell(edited(story, change("c1"), change("c2")))
    assert why_not(story, edited(story, change("c1"), based_on=seen)) == (
        f"The plan has changed since (it is at {story.run.plan_seq} now, the edit is based on {seen})."
    )


def test_other_events_make_an_edit_no_staler() -> None:
    story = working(change("c1"), change("c2"))
    seen = story.run.plan_seq
    story.tell(start("c1"), e.MessageAdded("hello"))
    story.tell(edited(story, change("c1"), based_on=seen))
    assert list(story.run.changes) == ["c1"]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ((), "The plan has no changes."),
        ((change("c1", "c2"), change("c2", "c1")), "The changes c1, c2 depend on each other in a circle."),
        ((change("c1", "c9"),), "Change c1 depends on c9, which is not in the plan."),
        ((change("c1"), change("c1")), "The id c1 is used twice. The id c1.t1 is used twice."),
        ((Change("c1", "Nothing", ()),), "Change c1 has no tasks."),
    ],
)
@pytest.mark.parametrize("phase", [Phase.PLANNED, Phase.WORKING])
def test_an_edit_to_an_unworkable_plan_is_refused(phase: Phase, changes: tuple[Change, ...], why: str) -> None:
    story = at(phase)
    assert why_not(story, edited(story, *changes)) == why


def test_a_started_task_is_neither_changed_nor_moved_nor_removed() -> None:
    c1 = change("c1", tasks=3)
    story = working(c1).tell(start("c1"), e.TaskStarted("c1", "c1.t1", "b0"))
    first, second, third = c1.tasks
    refusal = "A task of change c1 that has started cannot be changed or moved."
    assert why_not(story, edited(story, replace(c1, tasks=(replace(first, what="else"), second, third)))) == refusal
    assert why_not(story, edited(story, replace(c1, tasks=(second, first, third)))) == refusal
    assert why_not(story, edited(story, replace(c1, tasks=(second, third)))) == refusal
    story.tell(edited(story, replace(c1, tasks=(first, third))))
    assert story.change().plan.tasks == (first, third)


def test_a_begun_change_is_not_edited_away() -> None:
    story = working(change("c1"), change("c2")).tell(start("c1"))
    assert why_not(story, edited(story, change("c2"))) == "Change c1 has begun: it can only be dropped."


@pytest.mark.parametrize("stage", sorted(PULL_REQUEST_STAGES | {Stage.MERGED, Stage.SKIPPED, Stage.ABANDONED}))
def test_from_publishing_on_a_change_can_only_be_dropped(stage: Stage) -> None:
    story = at(stage)
    final = stage in {Stage.MERGED, Stage.SKIPPED}
    refusal = f"Change c1 is {stage}: it {'stays as it is' if final else 'can only be dropped'}."
    assert why_not(story, edited(story, replace(change("c1"), title="Other"))) == refusal
    assert why_not(story, edited(story, change("c2"))) == refusal
    story.tell(edited(story, change("c1"), change("c2")))
    assert set(story.run.startable) == {"c2"}


def test_criteria_can_only_be_added_once_work_has_begun() -> None:
    more = (Criterion("k1", "It works", "make test"), Criterion("k2", "It is fast"))
    story = at(Phase.PLANNED)
    story.tell(e.PlanEdited(plan(criteria=more), story.run.plan_seq), e.PlanApproved())
    assert story.run.plan.criteria == more
    refusal = "Once work has begun, criteria can be added, but none changed or removed."
    assert why_not(story, e.PlanEdited(plan(), story.run.plan_seq)) == refusal
    added = (*more, Criterion("k3", "It is small"))
    assert story.tell(e.PlanEdited(plan(criteria=added), story.run.plan_seq)).run.plan.criteria == added


def test_a_guard_is_one_no_longer_when_its_criterion_is_edited() -> None:
    known = (Criterion("k1", "It works", "make test"), Criterion("k2", "It is fast", "bench"))
    story = Story(*STARTED, e.PlanProposed(plan(criteria=known), ("k1", "k2")))
    other = (known[0], Criterion("k2", "It is fast", "bench --twice"))
    assert story.tell(e.PlanEdited(plan(criteria=other), story.run.plan_seq)).run.guards == ("k1",)


# --- what cannot be read ----------------------------------------------------------------------------------------


def test_a_record_of_an_unknown_kind_is_refused() -> None:
    told = replace(record(2, example(e.PlanApproved), ("planning", "planning")), type="PlanDreamt")
    with pytest.raises(UnreadableRecord, match=r"event 2 \(PlanDreamt, schema 1\) was written by a newer claudetm"):
        Story(*STARTED).run.apply(told)


def test_a_record_of_a_newer_schema_is_refused() -> None:
    told = replace(record(2, example(e.RunPaused), ("planning", "planning")), schema=SCHEMA + 1)
    with pytest.raises(UnreadableRecord, match="newer claudetm"):
        Story(*STARTED).run.apply(told)


@pytest.mark.parametrize(
    "told",
    [
        Record(2, 1.0, "RunPaused", ("planning", "planning"), {}),
        Record(2, 1.0, "RunPaused", ("planning", "dreaming"), {"reason": "x"}),
        Record(2, 1.0, "ChangeEmpty", ("working", "skipped"), {"change": "c9"}),
        Record(2, 1.0, "SessionEnded", ("planning", "planning"), {"id": "s", "subject": "p", "outcome": "dreamt"}),
        Record(2, 1.0, "PlanProposed", ("planning", "planned"), {"plan": {"changes": [{"id": "c1"}]}}),
        Record(2, 1.0, "PlanProposed", ("planning", "planned"), {"plan": None}),
        Record(2, 1.0, "RunPaused", ("planning",), {"reason": "x"}),  # type: ignore[arg-type]  # damage
    ],
)
def test_a_record_that_makes_no_sense_is_refused_naming_its_place(told: Record) -> None:
    with pytest.raises(UnreadableRecord, match=f"event 2 .{told.type}. cannot be applied"):
        Story(*STARTED).run.apply(told)


def test_a_plan_of_an_older_version_takes_defaults_for_what_it_lacks() -> None:
    data = {"changes": [{"id": "c1", "title": "A", "tasks": [{"id": "c1.t1", "title": "B"}]}], "of tomorrow": 1}
    assert plan_from_data(data) == Plan((Change("c1", "A", (Task("c1.t1", "B"),)),))
    assert plan_from_data(plan_to_data(plan())) == plan()


def test_an_empty_journal_is_a_run_that_has_not_started() -> None:
    assert fold([]) == Run()
