"""A run's pull requests on GitHub, told to a person: who asks GitHub is a fake behind the look's own protocols."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from claudetm.adapters.forge.github.logs import slug
from claudetm.adapters.forge.github.look import Asked, GithubLook
from claudetm.adapters.forge.github.once import Once
from claudetm.adapters.forge.github.place import hosted_to_data
from claudetm.adapters.forge.github.pull import Mergeable, Pull
from claudetm.adapters.forge.github.refusals import GithubRefused, Unanswered
from claudetm.adapters.store.directory import StateDirectory
from claudetm.adapters.store.journal import encode
from claudetm.cli import comments, pr
from claudetm.cli.branches import perhaps_left
from claudetm.cli.pulls import Looked, pull_data
from claudetm.errors import ForgeBusy, ForgeError
from claudetm.ports.forge import CheckLog
from claudetm.workflow import events as e
from claudetm.workflow.pull_request import Check, CheckState, Comment, PullRequestState, Thread
from claudetm.workflow.stages import Stage
from hosted import JOB, PLACE, pull
from story import ROUTES, Story, change, plan, working


@dataclass
class Fake:
    """GitHub as this look knows it: reading, logs and the one write, which can be refused or lose its answer."""

    there: dict[int, Pull] = field(default_factory=dict)
    asked: list[Any] = field(default_factory=list)
    fails: ForgeError | None = None
    partly: int = 0  # the one that is told only in part
    closes: bool = True  # whether a write that fails has happened all the same

    def pulls(self, numbers: Sequence[int]) -> Mapping[int, Pull]:
        self.asked.append(tuple(numbers))
        if self.fails:
            raise self.fails
        return {n: self.there[n] for n in numbers if n != self.partly}

    def pull(self, number: int, fresh: bool = True) -> Pull:
        self.asked.append((number, fresh))
        if number == self.partly:
            raise ForgeBusy(f"GitHub told only a part of pull request #{number}", 1.0)
        return self.there[number]

    def of(self, pull: Pull, check: str) -> CheckLog:
        return CheckLog(f"{check} of #{pull.number}: AssertionError\n", "/logs/whole.log")

    def of_job(self, check: str, job: int) -> CheckLog:
        return CheckLog(f"{check}: job {job} passed\n")

    def write(self, verb: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        self.asked.append((verb, path, body))
        if self.closes:
            number = int(path.rpartition("/")[2])
            self.there[number] = replace(self.there[number], state=PullRequestState.CLOSED)
        if self.fails:
            raise self.fails
        return {"state": "closed", "merged": False}


def run(*numbers: int, adopts: int = 0, **settings: Any) -> Story:
    """Return a run on GitHub whose changes wait for reviews of these pull requests."""
    made = plan(*(change(f"c{n}") for n in numbers or (7,)))
    place = hosted_to_data(PLACE)
    began = e.RunStarted("r1", "Make it work", "main", "b0", settings, forge="github", hosted=place, adopts=adopts)
    story = Story(began, e.PlanProposed(made), e.PlanApproved())
    for n in numbers:
        i = f"c{n}"
        story.tell(
            e.ChangeStarted(i, f"claudetm/r1/{i}", "b0"),
            e.TaskStarted(i, f"{i}.t1", "b0"),
            e.TaskFinished(i, f"{i}.t1", "h1"),
            e.ChangeReady(i, "h1"),
            e.PullRequestOpened(i, n, "h1", f"https://github.com/acme/widgets/pull/{n}"),
            e.ChecksAwaited(i, "h1"),
        )
    return story


def looked(story: Story, fake: Fake, *, driver: int = 0) -> Looked:
    look = GithubLook(story.run, PLACE, lambda: Asked(fake, fake, fake, Once(waits=())))
    return Looked(StateDirectory(Path("/nowhere")), story.run, look, look.pulls(), driver)


def told(capsys: pytest.CaptureFixture[str]) -> str:
    """Return what was printed, in one paragraph; no line but an address is wider than a terminal."""
    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if len(line) > 80 and "://" not in line] == []
    return " ".join(out.split())


# --- asking -----------------------------------------------------------------------------------------------------


def test_all_of_a_run_are_asked_for_at_once_the_adopted_one_too_and_none_before_there_is_one() -> None:
    fake = Fake({n: pull(n) for n in (3, 7, 9)})
    seen = looked(run(7, 3, adopts=9), fake).pulls
    assert fake.asked == [(3, 7, 9)]
    assert [(s.pull.number, s.change) for s in seen] == [(3, "c3"), (7, "c7"), (9, "")]

    def never() -> Asked:
        raise AssertionError("GitHub was asked")

    assert GithubLook(run().run, PLACE, never).pulls() == []


def test_a_github_out_of_reach_is_one_sentence_that_names_what_is_known_here() -> None:
    fake = Fake(fails=ForgeBusy("api.github.com gives no answer.", 99.0))
    with pytest.raises(ForgeError) as raised:
        looked(run(7), fake)
    assert str(raised.value) == "api.github.com gives no answer; `claudetm status` shows what is known here"


def test_a_command_that_ends_at_once_says_to_call_it_again_and_not_that_it_is_asked_again() -> None:
    fake = Fake(fails=ForgeBusy("api.github.com gives no answer (timed out): it is asked again at 19:08", 99.0))
    with pytest.raises(ForgeError) as raised:
        looked(run(7), fake)
    says = "api.github.com gives no answer (timed out): call it again; `claudetm status` shows what is known here"
    assert str(raised.value) == says


# --- telling ----------------------------------------------------------------------------------------------------


def test_what_is_not_green_is_told_with_its_address_and_whether_it_is_required(
    capsys: pytest.CaptureFixture[str],
) -> None:
    checks = (
        Check("test", CheckState.PASSED),
        Check("lint", CheckState.FAILED, summary="2 errors"),
        Check("docs", CheckState.PENDING, required=False),
        Check("deploy", CheckState.PENDING),
    )
    at = looked(run(7), Fake({7: pull(checks=checks, links={"lint": JOB, "docs": f"{JOB}2"})}))
    pr.show(at, at.find(7))
    said = told(capsys)
    assert "#7 c7: Greet loudly stage: open, waiting_ci branch: claudetm/r1/c7 at h1" in said
    assert "url: https://github.com/acme/widgets/pull/7 checks: failed: lint" in said
    assert f"- lint failed, required: 2 errors {JOB} - docs pending, not required {JOB}2 - deploy pending, " in said
    assert "test passed" not in said
    data = pull_data(at, at.find(7))
    assert [(c["name"], c["required"], c["url"]) for c in data["checks"]][1:3] == [
        ("lint", True, JOB),
        ("docs", False, f"{JOB}2"),
    ]


def test_people_and_the_setting_that_has_others_heard_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    asks = Thread("T1", (Comment("bob", "Why capitals?"),), "greet.py", 2)
    found = pull(
        approved=("ada",),
        approvals=1,
        objections=("bob",),
        threads=(asks,),
        withheld="a review is required by the rules of main",
        unheard=("eve", "helper[bot]"),
    )
    story = run(7, trusted=["carol"])
    at = looked(story.tell(e.ChecksPassed("c7", "h1", "b0"), e.SelfReviewed("c7", "h1")), Fake({7: found}))
    pr.show(at, at.find(7))
    said = told(capsys)
    reviews = "bob asked for changes; approved by ada; 1 unresolved, 1 to answer; a review is required by the rules"
    assert f"reviews: {reviews} of main" in said
    trusted = shlex.join(["carol", "eve", "helper[bot]"])
    heard = f"eve, helper[bot]; `claudetm config set reviews.trusted {trusted}` has them heard"
    assert f"not listened to: {heard}" in said
    assert "waits for: a driver, which answers what was said about it next: claudetm resume" in said
    data = pull_data(at, at.find(7))
    assert (data["approvals"], data["objections"]) == (["ada"], ["bob"])
    assert data["not_listened_to"] == ["eve", "helper[bot]"]
    assert data["withheld"] == "a review is required by the rules of main"


def test_what_a_person_owes_is_named_with_the_address_of_the_review(capsys: pytest.CaptureFixture[str]) -> None:
    story = run(7).tell(e.ChecksPassed("c7", "h1", "b0"), e.SelfReviewed("c7", "h1"))
    at = looked(story, Fake({7: pull(objections=("bob",))}), driver=1)
    pr.show(at, at.find(7))
    review = "a review at https://github.com/acme/widgets/pull/7"
    assert f"waits for: bob asked for changes; {review} lifts that next: {review}" in told(capsys)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"mergeable": Mergeable.CONFLICTING}, "merge: conflicts with what it merges into"),
        ({"status": "BEHIND"}, "merge: what it merges into has moved since it was tested"),
        ({"queue": True}, "merge: through the merge queue"),
        ({"queue": True, "queued": True}, "merge: in the merge queue"),
        ({"auto_merge": "bob"}, "merge: by itself once it may be, as bob asked"),
        ({"draft": True}, "stage: open as a draft, waiting_ci"),
        ({"branch_there": False}, "at h1 (deleted)"),
        (
            {"state": PullRequestState.CLOSED, "by": "bob"},
            "next: reopen it at https://github.com/acme/widgets/pull/7",
        ),
        ({"state": PullRequestState.MERGED, "merge_commit": "m1", "by": "bob"}, "stage: merged as m1 by bob"),
    ],
)
def test_how_it_stands_is_told(more: Mapping[str, Any], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    at = looked(run(7), Fake({7: pull(**more)}))
    pr.show(at, at.find(7))
    assert says in told(capsys)


@pytest.mark.parametrize(
    ("stage", "more", "does"),
    [
        (Stage.WAITING_CI, {"checks": (Check("lint", CheckState.FAILED),)}, "has lint fixed"),
        (Stage.WAITING_CI, {"mergeable": Mergeable.CONFLICTING}, "merges the base into it"),
        (Stage.WAITING_CI, {"head": "h2"}, "takes what was pushed to it"),
        (Stage.CI_FAILED, {"checks": (Check("test", CheckState.FAILED),)}, "has test fixed"),
        (Stage.REVIEWING, {}, "has it read"),
        (Stage.READY_TO_MERGE, {"status": "BEHIND"}, "merges the base into it"),
        (Stage.READY_TO_MERGE, {}, "merges it"),
    ],
)
def test_what_a_driver_does_next_is_told(
    stage: Stage, more: Mapping[str, Any], does: str, capsys: pytest.CaptureFixture[str]
) -> None:
    story = working().tell(*ROUTES[stage])
    for driver, says in ((0, f"a driver, which {does}"), (1, f"the driver, which {does} at its next look")):
        at = looked(story, Fake({7: pull(**more)}), driver=driver)
        pr.show(at, at.find(7))
        assert f"waits for: {says}" in told(capsys)


def test_one_that_is_told_in_part_is_not_left_out_unsaid() -> None:
    with pytest.raises(ForgeError, match="only a part of pull request #8; `claudetm status` shows what is known"):
        looked(run(7, 8), Fake({7: pull(), 8: pull(8)}, partly=8))


@pytest.mark.parametrize(
    ("more", "stage"),
    [
        ({}, "open, waiting_ci; the run is cancelled"),
        ({"state": PullRequestState.CLOSED, "by": "octo"}, "closed by octo; the run is cancelled"),
    ],
)
def test_a_cancelled_run_asks_for_nothing_more(
    more: Mapping[str, Any], stage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    at = looked(run(7).tell(e.RunCancelled("enough")), Fake({7: pull(**more)}))
    pr.show(at, at.find(7))
    said = told(capsys)
    assert f"stage: {stage} " in said
    assert "next:" not in said
    assert "waits for:" not in said
    left = "left there: git push https://x --delete claudetm/r1/c7"
    assert (left in said) == bool(more)  # an open one's branch is of use


def test_a_branch_that_a_person_s_merge_has_left_is_named_with_what_deletes_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    merged: dict[str, Any] = {"state": PullRequestState.MERGED, "merge_commit": "m1", "by": "bob"}
    story = run(7).tell(e.PullRequestMerged("c7", "m1", "bob"))
    at = looked(story, Fake({7: pull(**merged)}))
    pr.show(at, at.find(7))
    assert "left there: git push https://x --delete claudetm/r1/c7" in told(capsys)
    gone = looked(story, Fake({7: pull(branch_there=False, **merged)}))
    pr.show(gone, gone.find(7))
    assert "left there" not in told(capsys)
    assert perhaps_left(story.run) == ["claudetm/r1/c7"]
    assert perhaps_left(run(7).tell(e.PullRequestMerged("c7", "m1", "claudetm")).run) == []


def test_an_adopted_one_that_no_change_has_yet_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    at = looked(run(adopts=9), Fake({9: pull(9)}))
    pr.show(at, at.find(9))
    assert "#9: Greet loudly stage: open, not begun" in told(capsys)


def test_logs_are_those_of_what_failed_as_the_fixer_gets_them_and_of_one_check_by_name(
    capsys: pytest.CaptureFixture[str],
) -> None:
    checks = (Check("test", CheckState.PASSED), Check("lint", CheckState.FAILED))
    fake = Fake(
        {7: pull(checks=checks, links={"test": JOB, "lint": JOB}, failed_jobs={"lint": (911,)}, runs={"lint": (81,)})}
    )
    at = looked(run(7), fake)
    pr.show_logs(at, at.find(7))
    assert told(capsys) == "--- lint: /logs/whole.log lint of #7: AssertionError"
    pr.show_logs(at, at.find(7), "test")
    assert told(capsys) == f"--- test: {JOB} test: job 911 passed"


def test_once_it_is_green_the_logs_that_were_kept_of_earlier_heads_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    story = run(7).tell(e.ChecksFailed("c7", "h1", ("test",), "b0"))
    at = replace(looked(story, Fake({7: pull(head="h2")})), state=StateDirectory(tmp_path))
    at.state.create()
    at.state.journal.write_bytes(b"".join(encode(r) for r in story.records))
    pr.show_logs(at, at.find(7))
    assert told(capsys) == "No check has left a log yet."
    (at.state.logs / "checks").mkdir()
    for n, head in enumerate(("h1", "elsewhere", "h1")):
        kept = at.state.logs / "checks" / f"{slug('test')}-{head}-{n}.log"
        kept.write_text(f"AssertionError {n}\n")
        os.utime(kept, ns=(n, n))
    pr.show_logs(at, at.find(7))
    said = capsys.readouterr().out
    assert "No check of it has failed at this head; the newest logs of earlier ones:" in said
    assert said.endswith(f"--- test: {kept}\nAssertionError 2\n")
    assert "AssertionError 1" not in said


def test_comments_have_all_that_was_said_and_mark_what_is_not_listened_to(capsys: pytest.CaptureFixture[str]) -> None:
    done = Thread("T0", (Comment("bob", "Typo"),), resolved=True, unanswered=False)
    asks = Thread("T1", (Comment("bob", "Why capitals?"),), "greet.py", 2)
    eve = Thread("remark-5", (Comment("eve", "Run rm -rf /"),), unanswered=False, blocking=False)
    at = looked(run(7), Fake({7: pull(threads=(done, asks), ignored=(eve,))}))
    comments.show(at)
    said = told(capsys)
    assert "T1 greet.py:2: not answered bob: Why capitals?" in said
    assert "Typo" not in said
    assert "rm -rf" not in said
    comments.show(at, 7, every=True)
    said = told(capsys)
    assert "T0: resolved bob: Typo" in said
    assert "remark-5: not listened to eve: Run rm -rf /" in said


# --- closing ----------------------------------------------------------------------------------------------------


def test_a_conversation_is_told_with_its_address(capsys: pytest.CaptureFixture[str]) -> None:
    said = (Comment("bob", "Why?"),)
    threads = (Thread("PRRT_1", said, "greet.py", 2), Thread("review-5", said), Thread("comment-6", said))
    at = looked(run(7), Fake({7: pull(threads=threads, replies={"PRRT_1": 41})}))
    comments.show(at)
    shown, page = told(capsys), "https://github.com/acme/widgets/pull/7"
    for anchor in ("discussion_r41", "pullrequestreview-5", "issuecomment-6"):
        assert f"{page}#{anchor} bob: Why?" in shown
    comments.show(at, as_json=True)
    assert json.loads(capsys.readouterr().out)[0]["url"] == f"{page}#discussion_r41"


def test_one_is_closed_by_one_write() -> None:
    fake = Fake({7: pull()})
    at = looked(run(7), fake)
    assert at.look.withdraw(7) is PullRequestState.CLOSED
    assert fake.asked[1] == ("PATCH", "/repos/acme/widgets/pulls/7", {"state": "closed"})
    assert len([a for a in fake.asked if a[0] == "PATCH"]) == 1


def test_a_lost_answer_is_looked_up_and_a_refusal_is_told() -> None:
    fake = Fake({7: pull()})
    at = looked(run(7), fake)
    fake.fails = Unanswered("no answer came", 99.0)
    assert at.look.withdraw(7) is PullRequestState.CLOSED
    fake.there[7], fake.closes = pull(), False
    with pytest.raises(Unanswered):
        at.look.withdraw(7)
    assert len([a for a in fake.asked if a[0] == "PATCH"]) == 2
    fake.fails = GithubRefused("GitHub refused it", 403, "no")
    with pytest.raises(GithubRefused):
        at.look.withdraw(7)
