"""What a change does next, for everything a pull request can show at each stage."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from claudetm.workflow import events as e
from claudetm.workflow.limits import FORGE, Wait
from claudetm.workflow.observe import Act, Verdict, observe, verdict
from claudetm.workflow.policy import Policy
from claudetm.workflow.pull_request import (
    UNREPORTED,
    Check,
    CheckState,
    Comment,
    PullRequest,
    PullRequestState,
    Thread,
)
from claudetm.workflow.stages import PULL_REQUEST_STAGES, Stage
from claudetm.workflow.transitions import CHANGE, Origin
from story import Story, at

PASSED = Check("test", CheckState.PASSED)
FAILED = Check("test", CheckState.FAILED)
PENDING = Check("test", CheckState.PENDING)
OPTIONAL_FAILED = Check("lint", CheckState.FAILED, required=False)
GREEN = PullRequest(7, "claudetm/c1", "h1", "b0", "b0", checks=(PASSED,))
POLICY = Policy(checks_grace=60.0, checks_timeout=600.0, poll_seconds=30.0)
REMARK = Thread("t1", (Comment("ann", "Why?"),))
BECAUSE = Comment("claudetm", "Because.", ours=True)
ANSWERED = replace(REMARK, unanswered=False)
RESOLVED = replace(ANSWERED, resolved=True)


def pull(**seen: Any) -> PullRequest:
    return replace(GREEN, **seen)


def look(
    story: Story, seen: PullRequest | None, policy: Policy = POLICY, after: float = 0.0, **changed: Any
) -> e.Event | Act | Wait:
    """Observe c1 `after` seconds; what comes of it must be legal there."""
    answer = observe(story.change(), seen, replace(policy, **changed), story.now + after)
    if isinstance(answer, e.Event):
        story.tell(answer)
    return answer


def a_person(answer: e.Event | Act | Wait) -> bool:
    assert isinstance(answer, Wait)
    assert answer.until is None
    assert answer.why
    return answer.person


@pytest.mark.parametrize(
    ("checks", "says"),
    [
        ((), Verdict.NONE),
        ((PASSED,), Verdict.PASSED),
        ((PASSED, PENDING), Verdict.PENDING),
        ((PENDING, FAILED), Verdict.FAILED),
        ((PASSED, OPTIONAL_FAILED), Verdict.PASSED),
        ((PENDING, OPTIONAL_FAILED), Verdict.PENDING),
        ((OPTIONAL_FAILED,), Verdict.FAILED),
    ],
)
def test_required_checks_decide_and_where_none_is_required_all_do(checks: tuple[Check, ...], says: Verdict) -> None:
    assert verdict(pull(checks=checks)) is says


@pytest.mark.parametrize("stage", [Stage.QUEUED, Stage.WORKING, Stage.PUBLISHING])
def test_work_before_a_pull_request_goes_on_without_one(stage: Stage) -> None:
    assert look(at(stage), None) == Act()


@pytest.mark.parametrize("stage", sorted(PULL_REQUEST_STAGES - {Stage.PUBLISHING}))
def test_a_pull_request_that_cannot_be_read_is_waited_for(stage: Stage) -> None:
    assert not a_person(look(at(stage), None))


@pytest.mark.parametrize("stage", sorted(PULL_REQUEST_STAGES))
def test_a_merge_is_noticed_at_every_stage(stage: Stage) -> None:
    merged = pull(state=PullRequestState.MERGED, merge_commit="m1", by="ann", head="h9", forward=False)
    assert look(at(stage), merged) == e.PullRequestMerged("c1", "m1", "ann")


@pytest.mark.parametrize("stage", sorted(PULL_REQUEST_STAGES))
def test_a_closed_pull_request_is_noticed_at_every_stage(stage: Stage) -> None:
    assert look(at(stage), pull(state=PullRequestState.CLOSED, by="ann")) == e.PullRequestClosed("c1", "ann")


@pytest.mark.parametrize("stage", sorted(PULL_REQUEST_STAGES))
def test_a_held_change_waits_for_a_person_but_sees_the_end(stage: Stage) -> None:
    story = at(stage).tell(e.ChangeBlocked("c1", "stuck"))
    assert look(story, pull(checks=(FAILED,), conflicting=True, head="h2")) == Wait(None, "stuck", person=True)
    assert look(story, None) == Wait(None, "stuck", person=True)
    assert look(story, pull(state=PullRequestState.MERGED, merge_commit="m1")) == e.PullRequestMerged("c1", "m1")
    assert story.change().hold is None


def test_a_held_change_that_is_closed_is_held_no_more() -> None:
    story = at(Stage.WAITING_CI).tell(e.ChangeBlocked("c1", "stuck"))
    look(story, pull(state=PullRequestState.CLOSED))
    assert story.change().hold is None


@pytest.mark.parametrize("stage", sorted(PULL_REQUEST_STAGES - {Stage.PUBLISHING}))
def test_a_push_on_top_of_ours_is_adopted(stage: Stage) -> None:
    story = at(stage)
    assert look(story, pull(head="h2", checks=(FAILED,))) == e.HeadMoved("c1", "h2")
    assert story.change().head == "h2"


@pytest.mark.parametrize("stage", sorted(PULL_REQUEST_STAGES - {Stage.PUBLISHING}))
def test_a_forced_push_blocks_until_it_is_unblocked_and_then_is_adopted_once(stage: Stage) -> None:
    story = at(stage)
    forced = pull(head="h2", forward=False)
    answer = look(story, forced)
    assert isinstance(answer, e.ChangeBlocked)
    assert "by force" in answer.reason
    story.tell(e.ChangeUnblocked("c1"))
    assert look(story, forced) == e.HeadMoved("c1", "h2")
    assert isinstance(look(story, pull(head="h3", forward=False)), e.ChangeBlocked)


def test_a_hold_of_another_reason_lets_in_no_forced_push_of_later() -> None:
    story = at(Stage.WAITING_CI).tell(e.ChangeBlocked("c1", "the checks did not report"), e.ChangeUnblocked("c1"))
    assert isinstance(look(story, GREEN), e.ChecksPassed)
    assert isinstance(look(story, pull(head="h2", forward=False)), e.ChangeBlocked)


def test_publishing_looks_at_no_head() -> None:
    assert look(at(Stage.PUBLISHING), pull(head="h2", forward=False)) == Act()


def test_a_new_pull_request_waits_for_its_checks() -> None:
    assert look(at(Stage.PR_CREATED), pull(checks=())) == e.ChecksAwaited("c1", "h1")


@pytest.mark.parametrize(
    ("seen", "answer"),
    [
        (pull(), e.ChecksPassed("c1", "h1", "b0")),
        (pull(checks=(FAILED,)), e.ChecksFailed("c1", "h1", ("test",), "b0", ("",))),
        (pull(checks=(PASSED, OPTIONAL_FAILED)), e.ChecksPassed("c1", "h1", "b0")),
        (pull(conflicting=True), e.ConflictFound("c1", "h1")),
        (pull(conflicting=True, checks=()), e.ConflictFound("c1", "h1")),
    ],
)
def test_reported_checks_move_a_waiting_change(seen: PullRequest, answer: e.Event) -> None:
    assert look(at(Stage.WAITING_CI), seen) == answer


def test_a_required_check_that_nothing_has_begun_is_named() -> None:
    story = at(Stage.WAITING_CI)
    silent = replace(PENDING, name="deploy", summary=UNREPORTED)
    said = look(story, pull(checks=(PASSED, silent)))
    assert said == Wait(story.now + 600, "deploy is required and has not reported")
    assert look(story, pull(checks=(PENDING, silent))) == Wait(story.now + 600, "the checks are running")


def test_green_is_not_green_yet_where_no_rule_says_which_checks_there_are() -> None:
    story, optional = at(Stage.WAITING_CI), pull(checks=(replace(PASSED, required=False),))
    early = Wait(story.now + 15, "the checks that have reported are green; others may follow")
    assert look(story, optional, after=14) == early
    assert look(story, optional, after=15) == e.ChecksPassed("c1", "h1", "b0")
    assert look(at(Stage.WAITING_CI), replace(optional, bounded=True)) == e.ChecksPassed("c1", "h1", "b0")


def test_what_somebody_who_is_not_listened_to_has_pushed_is_not_taken() -> None:
    story, seen = at(Stage.WAITING_REVIEWS), pull(head="h2", foreign="mallory pushed h2 to claudetm/r1/c1")
    blocked = look(story, seen)
    assert blocked == e.ChangeBlocked("c1", seen.foreign, "claudetm resume (takes the branch as it is now)")
    story.tell(blocked, e.ChangeUnblocked("c1"))
    assert look(story, seen) == e.HeadMoved("c1", "h2")


def test_what_the_forge_says_people_owe_is_waited_for() -> None:
    answer = look(
        at(Stage.WAITING_REVIEWS), pull(withheld="a code owner's review is required", url="https://forge/7")
    )
    assert answer == Wait(None, "a code owner's review is required", next="a review at https://forge/7", asks=FORGE)


def test_running_checks_are_waited_for_until_the_time_is_up() -> None:
    story = at(Stage.WAITING_CI)
    running = pull(checks=(PASSED, replace(PENDING, name="slow")), url="https://forge/7")
    assert look(story, running) == Wait(story.now + 600, "the checks are running")
    assert look(story, running, after=590) == Wait(story.now + 600, "the checks are running")
    answer = look(story, running, after=600)
    assert isinstance(answer, e.ChangeBlocked)
    assert answer.reason == "the checks did not report within 10 minutes: slow"
    assert "https://forge/7" in answer.next


def test_a_push_starts_the_time_for_checks_anew() -> None:
    story = at(Stage.WAITING_CI)
    story.now += 590
    look(story, pull(head="h2"))
    assert isinstance(look(story, pull(head="h2", checks=(PENDING,)), after=599), Wait)
    assert isinstance(look(story, pull(head="h2", checks=(PENDING,)), after=600), e.ChangeBlocked)


def test_unblocking_starts_the_time_for_checks_anew() -> None:
    story = at(Stage.WAITING_CI)
    assert isinstance(look(story, pull(checks=(PENDING,)), after=600), e.ChangeBlocked)
    story.now += 10_000
    story.tell(e.ChangeUnblocked("c1"))
    assert isinstance(look(story, pull(checks=(PENDING,)), after=599), Wait)


def test_no_checks_at_all_are_not_green() -> None:
    story, bare = at(Stage.WAITING_CI), pull(checks=())
    assert look(story, bare, after=59) == Wait(story.now + 60, "no check has reported yet")
    answer = look(story, bare, after=60)
    assert isinstance(answer, e.ChangeBlocked)
    assert "zero checks is not green" in answer.reason


def test_no_checks_pass_where_the_policy_says_so_after_the_same_grace() -> None:
    story, bare = at(Stage.WAITING_CI), pull(checks=())
    assert isinstance(look(story, bare, after=59, checks_none="pass"), Wait)
    assert look(story, bare, after=60, checks_none="pass") == e.ChecksPassed("c1", "h1", "b0", "no checks")


@pytest.mark.parametrize(
    ("seen", "answer"),
    [
        (pull(checks=(FAILED,)), Act()),
        (pull(checks=(PENDING,)), Wait(None, "the checks are running again")),
        (pull(checks=()), Act()),
        (pull(), e.ChecksPassed("c1", "h1", "b0")),
        (pull(conflicting=True), e.ConflictFound("c1", "h1")),
    ],
)
def test_failed_checks_are_fixed_unless_they_turned_green(seen: PullRequest, answer: e.Event | Act | Wait) -> None:
    assert look(at(Stage.CI_FAILED), seen) == answer


GATED = [Stage.REVIEWING, Stage.WAITING_REVIEWS, Stage.READY_TO_MERGE]


@pytest.mark.parametrize("stage", GATED)
@pytest.mark.parametrize(
    ("seen", "answer"),
    [
        (pull(checks=(FAILED,)), e.ChecksFailed("c1", "h1", ("test",), "b0", ("",))),
        (pull(checks=(PENDING,)), e.ChecksAwaited("c1", "h1")),
        (pull(conflicting=True), e.ConflictFound("c1", "h1")),
        (pull(conflicting=True, checks=(FAILED,), threads=(REMARK,), behind=True), e.ConflictFound("c1", "h1")),
    ],
)
def test_green_that_turns_red_or_conflicting_goes_back(stage: Stage, seen: PullRequest, answer: e.Event) -> None:
    assert look(at(stage), seen) == answer


@pytest.mark.parametrize("stage", [Stage.REVIEWING, Stage.ADDRESSING_REVIEWS, Stage.UPDATING_BRANCH])
def test_agents_work_is_done_by_the_handler(stage: Stage) -> None:
    assert look(at(stage), pull(threads=(REMARK,))) == Act()


@pytest.mark.parametrize(
    ("seen", "changed", "answer"),
    [
        (pull(), {}, e.ReviewsSettled("c1", "h1")),
        (pull(threads=(RESOLVED,)), {}, e.ReviewsSettled("c1", "h1")),
        (pull(threads=(replace(ANSWERED, blocking=False),)), {}, e.ReviewsSettled("c1", "h1")),
        (pull(approvals=2), {"reviews_required": 2}, e.ReviewsSettled("c1", "h1")),
        (pull(threads=(REMARK, RESOLVED)), {}, e.ReviewsReceived("c1", ("t1",))),
        (pull(threads=(REMARK,), objections=("ann",)), {}, e.ReviewsReceived("c1", ("t1",))),
    ],
)
def test_reviews_are_received_or_settled(seen: PullRequest, changed: dict[str, Any], answer: e.Event) -> None:
    assert look(at(Stage.WAITING_REVIEWS), seen, **changed) == answer


@pytest.mark.parametrize(
    ("seen", "changed", "why"),
    [
        (pull(objections=("ann", "bob")), {}, "ann, bob asked for changes; `claudetm review approve 7` lifts that"),
        (pull(approvals=1), {"reviews_required": 2}, "1 of 2 approvals; `claudetm review approve 7` gives one"),
        (
            pull(threads=(replace(ANSWERED, comments=(*REMARK.comments, BECAUSE)), RESOLVED)),
            {},
            (
                "1 conversation is unresolved, ann's to resolve by `claudetm review resolve 7 t1`: "
                "t1: ann: “Why?”; answered: “Because.”"
            ),
        ),
        (pull(), {"review_wait": 90.0}, "waiting for reviews"),
    ],
)
def test_what_people_still_owe_is_waited_for(seen: PullRequest, changed: dict[str, Any], why: str) -> None:
    story = at(Stage.WAITING_REVIEWS)
    answer = look(story, seen, **changed)
    assert isinstance(answer, Wait)
    until = story.now + 90 if "review_wait" in changed else None  # else whenever the loop looks next
    assert (answer.until, answer.why, answer.person) == (until, why, False)
    assert answer.next in why or answer.next == "claudetm resume"


def test_the_wait_for_reviews_ends() -> None:
    story = at(Stage.WAITING_REVIEWS)
    assert look(story, GREEN, after=80, review_wait=90.0) == Wait(story.now + 90, "waiting for reviews")
    assert look(story, GREEN, after=90, review_wait=90.0) == e.ReviewsSettled("c1", "h1")


@pytest.mark.parametrize(
    ("seen", "changed", "answer"),
    [
        (pull(), {}, Act()),
        (pull(behind=True, base="b1"), {}, e.BaseMoved("c1", "b1")),
        (pull(behind=True, base="b1"), {"auto_merge": False}, e.BaseMoved("c1", "b1")),
        (pull(threads=(REMARK,)), {}, e.ReviewsReceived("c1", ("t1",))),
        (pull(objections=("ann",)), {}, e.ReviewsAwaited("c1", "h1")),
        (pull(threads=(ANSWERED,)), {}, e.ReviewsAwaited("c1", "h1")),
        (pull(), {"reviews_required": 1}, e.ReviewsAwaited("c1", "h1")),
        (pull(approvals=1), {"reviews_required": 1}, Act()),
    ],
)
def test_what_is_ready_merges_unless_something_came_between(
    seen: PullRequest, changed: dict[str, Any], answer: e.Event | Act
) -> None:
    assert look(at(Stage.READY_TO_MERGE), seen, **changed) == answer


def test_merging_is_left_to_a_person_where_the_policy_says_so() -> None:
    assert a_person(look(at(Stage.READY_TO_MERGE), GREEN, auto_merge=False))


def test_the_forges_merge_queue_is_waited_for() -> None:
    story = at(Stage.READY_TO_MERGE).tell(e.MergeQueued("c1", "h1"))
    assert not a_person(look(story, pull(queued=True)))


def test_a_closed_pull_request_waits_for_a_person() -> None:
    story = at(Stage.ABANDONED)
    assert a_person(look(story, pull(state=PullRequestState.CLOSED, by="ann")))
    assert a_person(look(story, None))


def test_a_veto_that_resume_accepted_drops_the_change() -> None:
    story, closed = at(Stage.ABANDONED), pull(state=PullRequestState.CLOSED, by="ann")
    story.tell(e.RunBlocked("closed"), e.RunResumed())
    assert look(story, closed) == e.ChangeDropped("c1", "closed by ann")
    assert story.run.settled


def test_a_pull_request_that_is_open_again_at_resume_is_no_veto() -> None:
    story = at(Stage.ABANDONED).tell(e.RunBlocked("closed"), e.RunResumed())
    assert look(story, GREEN) == e.PullRequestReopened("c1", "h1")


def test_a_second_veto_is_asked_about_again() -> None:
    story = at(Stage.ABANDONED).tell(e.RunBlocked("closed"), e.RunResumed(), e.PullRequestReopened("c1", "h1"))
    closed = pull(state=PullRequestState.CLOSED)
    assert look(story, closed) == e.PullRequestClosed("c1")
    assert a_person(look(story, closed))


def test_a_reopened_pull_request_goes_on() -> None:
    story = at(Stage.ABANDONED)
    assert look(story, GREEN) == e.PullRequestReopened("c1", "h1")
    assert look(story, GREEN) == e.ChecksPassed("c1", "h1", "b0")


def test_a_pull_request_that_was_reopened_and_merged_unseen_is_merged() -> None:
    story, merged = at(Stage.ABANDONED), pull(state=PullRequestState.MERGED, merge_commit="m1", by="ann")
    assert look(story, merged) == e.PullRequestReopened("c1", "h1")
    assert look(story, merged) == e.PullRequestMerged("c1", "m1", "ann")


@pytest.mark.parametrize("stage", [Stage.MERGED, Stage.SKIPPED])
def test_nothing_is_left_to_do_at_the_end(stage: Stage) -> None:
    assert not a_person(look(at(stage), GREEN))


# fmt: off
SIGHTS = [
    pull(state=state, head=head, forward=forward, conflicting=conflicting, behind=behind, queued=queued,
         checks=checks, threads=threads, objections=objections)
    for state in PullRequestState for head in ("h1", "h2") for forward in (True, False)
    for conflicting in (True, False) for behind in (True, False) for queued in (True, False)
    for checks in ((), (PASSED,), (FAILED,), (PENDING,)) for threads in ((), (REMARK,), (ANSWERED,))
    for objections in ((), ("ann",))
]
# fmt: on
POLICIES = [
    replace(POLICY, auto_merge=auto, checks_none=none) for auto in (True, False) for none in ("block", "pass")
]


@pytest.mark.parametrize("stage", Stage)
def test_whatever_is_seen_only_observable_events_of_the_stage_come_of_it(stage: Stage) -> None:
    change, now = at(stage).change(), at(stage).now
    seen = {
        type(answer)
        for policy in POLICIES
        for sight in SIGHTS
        for after in (0.0, 1e6)
        if isinstance(answer := observe(change, sight, policy, now + after), e.Event)
    }
    observable = {k for k, row in CHANGE[stage].items() if Origin.OBSERVED in row.origins} - {e.ChangeDropped}
    assert seen <= observable
    assert observable - seen <= {e.ChangeBlocked}
