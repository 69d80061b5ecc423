"""Whether a session may start, for everything that can have happened before; always from a folded journal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from claudetm.workflow import events as e
from claudetm.workflow.limits import (
    BACKOFF_FIRST,
    BACKOFF_MOST,
    OVERFLOW_LIMIT,
    POISON_LIMIT,
    RESET_JITTER,
    TRANSIENT_LIMIT,
    Blocked,
    Go,
    Wait,
    may_start,
)
from claudetm.workflow.outcomes import CHARGED, NEEDS_THE_USER, POISON, RESUMABLE, Outcome, Usage
from claudetm.workflow.policy import Policy, Tally, policy_from_data, policy_to_data
from claudetm.workflow.run import fold
from claudetm.workflow.stages import Phase, Stage
from story import Story, at, change, working

TASK = "c1.t1"
CAP = Policy().session_cost_usd


def begun(**limits: Any) -> Story:
    story = at(Stage.WORKING).tell(e.TaskStarted("c1", TASK, "b0"))
    return story.tell(e.LimitsRaised(limits)) if limits else story


def later(story: Story, seconds: float = 1e6) -> Go | Wait | Blocked:
    return may_start(story.run, TASK, story.now + seconds)


def now(story: Story) -> Go | Wait | Blocked:
    return may_start(story.run, TASK, story.now)


def blocked(decision: Go | Wait | Blocked) -> Blocked:
    assert isinstance(decision, Blocked)
    assert decision.reason
    assert decision.next
    return decision


def waiting(decision: Go | Wait | Blocked) -> Wait:
    assert isinstance(decision, Wait)
    return decision


def test_a_first_session_starts_afresh_with_its_whole_cap() -> None:
    assert now(begun()) == Go(reserve=CAP, resume="", attempt=1)


# outcome | attempts charged | the conversation is carried on | what follows at once
AFTER_ONE: dict[Outcome, tuple[int, bool, type[Go | Wait | Blocked]]] = {
    Outcome.ANSWERED: (1, False, Go),
    Outcome.NO_ANSWER: (1, False, Go),
    Outcome.CONTRADICTED: (1, False, Go),
    Outcome.REFUSED: (1, False, Go),
    Outcome.CUT_OFF: (1, False, Go),
    Outcome.TURN_LIMIT: (1, True, Go),
    Outcome.BUDGET_LIMIT: (1, True, Go),
    Outcome.TIME_LIMIT: (1, True, Go),
    Outcome.IDLE: (1, True, Go),
    Outcome.INTERRUPTED: (0, True, Go),
    Outcome.LOST: (0, True, Go),
    Outcome.CRASHED: (0, True, Go),
    Outcome.START_FAILED: (0, False, Wait),
    Outcome.OVERLOADED: (0, True, Wait),
    Outcome.USAGE_LIMIT: (0, True, Wait),
    Outcome.CONTEXT_OVERFLOW: (0, False, Go),
    Outcome.RESUME_FAILED: (0, False, Go),
    Outcome.UNAUTHENTICATED: (0, False, Blocked),
    Outcome.BILLING: (0, False, Blocked),
    Outcome.UNKNOWN_MODEL: (0, False, Blocked),
}


@pytest.mark.parametrize("outcome", Outcome)
def test_what_follows_each_outcome(outcome: Outcome) -> None:
    attempts, carried_on, follows = AFTER_ONE[outcome]
    story = begun().session(outcome, resets_at=5_000.0)
    assert story.run.tally(TASK).attempts == attempts
    assert type(now(story)) is follows
    if follows is not Blocked:
        assert later(story) == Go(CAP, "s1" if carried_on else "", attempts + 1)


def test_each_outcome_is_of_one_kind_at_most() -> None:
    assert CHARGED.isdisjoint(POISON | NEEDS_THE_USER)
    assert POISON.isdisjoint(NEEDS_THE_USER)
    assert NEEDS_THE_USER.isdisjoint(RESUMABLE)
    assert Outcome.CONTEXT_OVERFLOW not in RESUMABLE


@pytest.mark.parametrize("outcome", sorted(CHARGED | {Outcome.ANSWERED}))
def test_attempts_that_came_to_nothing_block_at_the_limit(outcome: Outcome) -> None:
    story = begun(attempts=2).session(outcome)
    assert isinstance(now(story), Go)
    assert not blocked(now(story.session(outcome))).whole_run


def test_a_raised_limit_lets_attempts_go_on() -> None:
    story = begun(attempts=1).session(Outcome.REFUSED)
    assert isinstance(now(story), Blocked)
    assert isinstance(now(story.tell(e.LimitsRaised({"attempts": 2}))), Go)


def test_a_conversation_that_failed_twice_is_not_carried_on() -> None:
    story = begun(attempts=5).session(Outcome.IDLE)
    assert now(story) == Go(CAP, "s1", 2)
    assert now(story.session(Outcome.IDLE)) == Go(CAP, "", 3)


@pytest.mark.parametrize("outcome", sorted(POISON))
def test_what_kills_three_sessions_in_a_row_is_quarantined(outcome: Outcome) -> None:
    story = begun()
    for _ in range(POISON_LIMIT - 1):
        story.session(outcome)
    assert isinstance(now(story), Go)
    assert "quarantined" in blocked(now(story.session(outcome))).reason


def test_a_session_that_lives_breaks_the_row_of_dead_ones() -> None:
    story = begun()
    for outcome in (Outcome.LOST, Outcome.CRASHED, Outcome.INTERRUPTED, Outcome.LOST, Outcome.CRASHED):
        story.session(outcome)
    assert isinstance(now(story), Go)


def test_a_conversation_that_is_too_long_twice_blocks() -> None:
    story = begun().session(Outcome.CONTEXT_OVERFLOW)
    assert now(story) == Go(CAP, "", 1)
    story.session(Outcome.INTERRUPTED).session(Outcome.CONTEXT_OVERFLOW)
    assert story.run.tally(TASK).overflows == OVERFLOW_LIMIT
    assert not blocked(now(story)).whole_run


@pytest.mark.parametrize("outcome", [Outcome.OVERLOADED, Outcome.START_FAILED])
def test_pauses_grow_up_to_a_cap_and_then_the_run_blocks(outcome: Outcome) -> None:
    story, pauses = begun(), []
    for _ in range(TRANSIENT_LIMIT - 1):
        story.session(outcome)
        until = waiting(now(story)).until
        assert until is not None
        pauses.append(until - story.now)
        assert isinstance(may_start(story.run, TASK, until - 0.1), Wait)
        assert isinstance(may_start(story.run, TASK, until), Go)
    assert pauses[:4] == [BACKOFF_FIRST, 2 * BACKOFF_FIRST, 4 * BACKOFF_FIRST, 8 * BACKOFF_FIRST]
    assert pauses == sorted(pauses)
    assert pauses[-1] == BACKOFF_MOST
    assert blocked(later(story.session(outcome))).whole_run


def test_a_session_that_came_up_ends_the_pauses() -> None:
    story = begun().session(Outcome.OVERLOADED).session(Outcome.INTERRUPTED)
    assert isinstance(now(story), Go)


def test_a_usage_limit_waits_for_its_reset_whatever_the_subject() -> None:
    story = begun().session(Outcome.USAGE_LIMIT, resets_at=5_000.0)
    for subject in (TASK, "c1:fix", "plan"):
        assert waiting(may_start(story.run, subject, story.now)).until == 5_000.0 + RESET_JITTER
        assert isinstance(may_start(story.run, subject, 5_000.0 + RESET_JITTER), Go)


def test_a_usage_limit_waits_for_its_reset_in_the_next_driver_too() -> None:
    story = begun().session(Outcome.USAGE_LIMIT, resets_at=5_000.0)
    restarted = fold(story.records)
    restarted.apply(story.tell(e.DriverStarted("1.0")).records[-1])
    assert waiting(may_start(restarted, TASK, 4_000.0)).until == 5_000.0 + RESET_JITTER


@pytest.mark.parametrize("resets_at", [None, 10.0])
def test_a_usage_limit_with_no_reset_ahead_pauses_ever_longer(resets_at: float | None) -> None:
    story = begun().session(Outcome.USAGE_LIMIT, resets_at=resets_at)
    assert waiting(now(story)).until == story.now + BACKOFF_FIRST
    story.session(Outcome.USAGE_LIMIT, resets_at=resets_at)
    assert waiting(now(story)).until == story.now + 2 * BACKOFF_FIRST


@pytest.mark.parametrize("outcome", sorted(NEEDS_THE_USER))
def test_what_the_user_must_see_to_blocks_the_run_until_it_is_resumed(outcome: Outcome) -> None:
    story = begun().session(Outcome.REFUSED).session(outcome)
    decision = blocked(later(story))
    assert decision.whole_run
    story.tell(e.RunBlocked(decision.reason, decision.next), e.RunResumed())
    assert now(story) == Go(CAP, "", 2)


def test_resume_lifts_the_block_of_a_failing_service_and_keeps_the_attempts() -> None:
    story = begun().session(Outcome.REFUSED)
    for _ in range(TRANSIENT_LIMIT):
        story.session(Outcome.OVERLOADED)
    story.tell(e.RunBlocked("the service failed"), e.RunResumed())
    assert now(story) == Go(CAP, f"s{TRANSIENT_LIMIT + 1}", 2)


def test_resume_alone_lifts_no_hold_of_a_change() -> None:
    story = begun(attempts=1).session(Outcome.REFUSED).tell(e.ChangeBlocked("c1", "no"), e.RunBlocked("no"))
    assert isinstance(now(story.tell(e.RunResumed())), Blocked)


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.LOST, Outcome.CONTEXT_OVERFLOW, Outcome.BILLING])
def test_a_lifted_hold_lets_everything_of_the_change_count_from_zero(outcome: Outcome) -> None:
    story = begun()
    for subject in (TASK, "c1:fix", "c10.t1", "plan"):
        for _ in range(3):
            story.session(outcome, subject)
    story.tell(e.ChangeBlocked("c1", "it came to nothing"), e.ChangeUnblocked("c1"))
    assert set(story.run.tallies) == {"c10.t1", "plan"}
    assert now(story) == Go(CAP)


def test_a_lifted_hold_forgets_tasks_whatever_they_are_called() -> None:
    odd = change("c1")
    odd = replace(odd, tasks=(replace(odd.tasks[0], id="write-the-parser"),))
    story = working(odd).tell(e.ChangeStarted("c1", "claudetm/c1", "b0")).session(Outcome.REFUSED, "write-the-parser")
    assert story.tell(e.ChangeUnblocked("c1")).run.tallies == {}


def test_resume_lets_planning_and_verifying_count_from_zero() -> None:
    story = at(Phase.VERIFYING)
    for subject in ("plan", "verify", "verify:k1", "extend"):
        story.session(Outcome.REFUSED, subject, owner="")
    assert story.tell(e.RunPaused("lunch"), e.RunResumed()).run.tallies == {}


def test_a_halted_run_starts_no_session() -> None:
    story = begun().tell(e.RunPaused("lunch"))
    assert now(story) == Wait(None, "lunch", person=True)


@pytest.mark.parametrize("phase", [Phase.VERIFIED, Phase.CANCELLED])
def test_a_run_that_is_over_starts_no_session(phase: Phase) -> None:
    story = at(phase)
    assert may_start(story.run, "plan", story.now) == Wait(None, "the run is over")


def test_a_session_reserves_the_smaller_of_its_cap_and_what_is_left() -> None:
    story = begun(cost_usd=12.0)
    assert now(story) == Go(CAP)
    story.session(Outcome.ANSWERED, usage=Usage(cost_usd=9.0))
    assert now(story) == Go(3.0, "", 2)


def test_what_running_sessions_reserve_is_not_given_twice() -> None:
    story = begun(cost_usd=12.0).tell(e.SessionStarted("s1", "worker", "c2.t1", "c1", reserved=10.0))
    assert now(story) == Go(2.0)
    story.tell(e.SessionStarted("s2", "worker", "c3.t1", "c1", reserved=2.0))
    assert not waiting(now(story)).person
    story.tell(e.SessionEnded("s1", "c2.t1", Outcome.ANSWERED, "c1", Usage(cost_usd=1.0)))
    assert now(story) == Go(9.0)


@pytest.mark.parametrize("cost", [5.0, 5.1])
def test_a_spent_budget_waits_for_a_person(cost: float) -> None:
    story = begun(cost_usd=5.0).session(Outcome.ANSWERED, usage=Usage(cost_usd=cost))
    assert waiting(later(story)).person
    assert waiting(later(story)).until is None
    assert isinstance(now(story.tell(e.LimitsRaised({"cost_usd": 8.0}))), Go)


def test_a_lifted_limit_is_no_limit() -> None:
    story = begun(cost_usd=1.0, sessions=1).session(Outcome.ANSWERED, usage=Usage(cost_usd=2.0))
    assert isinstance(now(story.tell(e.LimitsRaised({"cost_usd": None, "sessions": None}))), Go)


def test_the_limit_of_sessions_counts_all_of_the_run() -> None:
    story = begun(sessions=2).session(Outcome.ANSWERED, "c2.t1").session(Outcome.LOST, "plan")
    assert waiting(later(story)).person
    assert isinstance(now(story.tell(e.LimitsRaised({"sessions": 3}))), Go)


def test_usage_adds_up_over_sessions_that_failed_too() -> None:
    used = Usage(0.5, 10, 20, 30, 40, 2)
    story = begun().session(Outcome.LOST, usage=used).session(Outcome.REFUSED, usage=used)
    assert story.run.used == Usage(1.0, 20, 40, 60, 80, 4)


def test_a_tally_names_the_last_session() -> None:
    story = begun().session(Outcome.REFUSED).session(Outcome.LOST, detail="its driver died")
    tally = story.run.tally(TASK)
    assert tally == Tally(1, 1, 0, 0, "s2", Outcome.LOST, story.now, "its driver died")


def test_a_policy_survives_its_form_as_data() -> None:
    policy = Policy(checks=("make test",), models={"quick": "haiku"}, cost_usd=3.5, sessions=None)
    assert policy_from_data(policy_to_data(policy)) == policy
    assert policy_from_data({"a key of tomorrow": 1, "turns": 7}) == Policy(turns=7)
