"""Pull requests read from a GitHub with real branches, real checks and people in it, by the real client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from claudetm.adapters.forge.github.client import GithubClient
from claudetm.adapters.forge.github.place import Hosted
from claudetm.adapters.forge.github.pull import Mergeable
from claudetm.adapters.forge.github.reading import Reading
from claudetm.adapters.forge.github.reviews import mark
from claudetm.errors import ForgeBusy, ForgeError
from claudetm.workflow.pull_request import Check, CheckState, PullRequestState
from github_double.double import Double
from github_double.state import Protection

BRANCH = "claudetm/r1/c1"
PASSED, FAILED, PENDING = CheckState.PASSED, CheckState.FAILED, CheckState.PENDING


@pytest.fixture
def github(tmp_path: Path) -> Iterator[Double]:
    people: dict[str, Any] = {"octo": "write", "ada": "write", "eve": "read"}
    with Double(tmp_path / "github") as double:
        double.create_repository("acme/widgets", people=people, workflows={"test": "test ! -e red"})
        yield double


def client(github: Double, token: str = "") -> GithubClient:
    return GithubClient(github.api, token or github.token("octo"), spacing=0.0, patience=60.0, sleep=lambda _: None)


def reading(github: Double, token: str = "", *trusted: str) -> Reading:
    url = github.url("acme/widgets")
    hosted = Hosted(github.api, "acme", "widgets", url, url, "acme")
    return Reading(client(github, token), hosted, "main", lambda: trusted, "tm@acme.org")


def opened(github: Double, branch: str = BRANCH, files: dict[str, str | None] | None = None) -> int:
    github.push_by_person(branch, files or {"a.txt": "a\n"}, "octo")
    number = github.open_pull_by_person(branch, "octo", "Add a", "Why.")
    github.settle()
    return number


def test_a_green_pull_request_is_read_whole(github: Double) -> None:
    number = opened(github)
    found = reading(github).pull(number)
    assert (found.number, found.title, found.body, found.state) == (number, "Add a", "Why.", PullRequestState.OPEN)
    assert (found.branch, found.head, found.target) == (BRANCH, github.tip(BRANCH), "main")
    assert (found.base, found.branch_there, found.writable) == (github.tip(), True, True)
    assert [(c.name, c.state) for c in found.checks] == [("test", PASSED)]
    assert [(c.id, c.login, c.listened, c.merge) for c in found.commits] == [(found.head, "octo", True, False)]
    assert (found.threads, found.withheld, found.unheard, found.unread) == ((), "", (), "")


def test_a_red_one_names_its_job_and_its_run(github: Double) -> None:
    number = opened(github, files={"red": "x"})
    found = reading(github).pull(number)
    (run,) = github.runs("test")
    assert [(c.name, c.state) for c in found.checks] == [("test", FAILED)]
    assert (found.failed_jobs, found.runs) == ({"test": (run.jobs[0].id,)}, {"test": (run.id,)})
    assert found.broken == {}


def test_mergeable_comes_late_and_costs_no_second_full_read(github: Double) -> None:
    number = opened(github)
    reads = reading(github)
    assert reads.pulls([number])[number].mergeable is Mergeable.UNKNOWN
    assert reads.pulls([number])[number].mergeable is Mergeable.MERGEABLE
    assert len(github.asked("graphql Full")) == 1


def test_fifty_open_ones_are_one_request_and_two_where_one_changed(github: Double) -> None:
    numbers = []
    for n in range(50):
        github.push_by_person(f"claudetm/r1/c{n}", {f"{n}.txt": "x"}, "octo")
        numbers.append(github.open_pull_by_person(f"claudetm/r1/c{n}", "octo"))
    github.settle()
    reads = reading(github)
    reads.pulls(numbers)
    reads.pulls(numbers)
    github.requests.clear()
    reads.pulls(numbers)
    assert [(r.operation, r.cost) for r in github.requests] == [("Light", 2)]
    github.comment(numbers[7], "Wait", "ada")
    github.requests.clear()
    found = reads.pulls(numbers)
    assert [r.operation for r in github.requests if r.resource == "graphql"] == ["Light", "Full"]
    assert [n for n in numbers if found[n].threads] == [numbers[7]]


def test_what_people_say_is_threads_and_strangers_are_named(github: Double) -> None:
    number = opened(github)
    line = github.remark(number, "Why?", "ada")
    asked = github.review(number, "CHANGES_REQUESTED", "Test it", "ada")
    said = github.comment(number, "Hello", "ada")
    github.comment(number, "Buy this", "eve")
    github.remark(number, "A bug", "rabbit[bot]")
    found = reading(github).pull(number)
    assert {t.id for t in found.threads} == {line, f"review-{asked.id}", f"comment-{said.id}"}
    assert (found.objections, found.approvals) == (("ada",), 0)
    assert set(found.unheard) == {"eve", "rabbit[bot]"}
    assert found.resolvable == {line}
    trusting = reading(github, "", "rabbit[bot]").pull(number)
    assert len(trusting.threads) == 4
    github.review(number, "APPROVED", "", "ada")
    found = reading(github).pull(number)
    assert (found.objections, found.approvals, found.approved) == ((), 1, ("ada",))


def test_our_replies_answer_close_and_are_found_by_their_markers(github: Double) -> None:
    number = opened(github)
    line = github.remark(number, "Why?", "ada")
    said = github.comment(number, "Rename it", "ada")
    github.answer(line, f"Done.\n\n{mark('m1', resolve=True, seen=1)}", "octo")
    github.resolve(line, "octo")
    reply = mark("m2", resolve=True, seen=1, thread=f"comment-{said.id}")
    github.comment(number, f"> Rename it\n\nDone.\n\n{reply}", "octo")
    reads = reading(github)
    found = reads.pull(number)
    assert [(t.resolved, t.unanswered, t.comments[-1].ours) for t in found.threads] == [(True, False, True)] * 2
    assert found.markers == {"m1": line, "m2": f"comment-{said.id}"}
    github.answer(line, "Not so", "ada")
    again = next(t for t in reads.pulls([number])[number].threads if t.id == line)
    assert (again.resolved, again.unanswered) == (False, True)
    github.resolve(line, "ada")


def test_pages_are_read_to_their_end(github: Double) -> None:
    number = opened(github)
    for n in range(101):
        github.comment(number, f"Remark {n}", "ada")
        github.report_check(number, f"check {n}", "success")
    for n in range(51):
        github.remark(number, f"Why {n}?", "ada")
    found = reading(github).pull(number)
    assert len(found.checks) == 102
    assert len(found.threads) == 152


def test_who_closed_and_who_merged_it(github: Double) -> None:
    closed, merged = opened(github, "claudetm/r1/c1"), opened(github, "claudetm/r1/c2", {"b.txt": "b"})
    github.close_by_person(closed, "ada")
    github.merge_by_person(merged, login="ada")
    github.delete_branch("claudetm/r1/c2")
    found = reading(github).pulls([closed, merged])
    assert (found[closed].state, found[closed].by) == (PullRequestState.CLOSED, "ada")
    assert (found[merged].state, found[merged].by) == (PullRequestState.MERGED, "ada")
    assert found[merged].merge_commit == github.tip()
    assert (found[closed].branch_there, found[merged].branch_there) == (True, False)


def test_a_branch_of_a_fork(github: Double) -> None:
    github.fork("ada")
    github.push_by_person("work", {"a.txt": "a"}, "ada", repository="ada/widgets")
    number = github.open_pull_by_person("ada:work", "ada")
    github.settle()
    github.pull(number).maintainer_can_modify = True
    found = reading(github).pull(number)
    assert (found.head_repository, found.branch, found.writable) == ("ada/widgets", "work", True)
    github.pull(number).maintainer_can_modify = False
    assert not reading(github).pull(number).writable


def test_required_checks_that_are_silent_are_pending(github: Double) -> None:
    github.protect(Protection(contexts=("test", "security"), approvals=1))
    number = opened(github)
    found = reading(github).pull(number)
    assert found.checks == (
        Check("test", PASSED, required=True, summary=found.checks[0].summary),
        Check("security", PENDING, required=True, summary="has not reported"),
    )
    assert found.withheld == "a review is required by the rules of main"


def test_rulesets_require_checks_too(github: Double) -> None:
    github.add_ruleset(Protection(contexts=("licences",)))
    found = reading(github).pull(opened(github))
    assert ("licences", PENDING, True) in [(c.name, c.state, c.required) for c in found.checks]


def test_a_fine_grained_token_reads_runs_where_the_rollup_is_refused(github: Double) -> None:
    number = opened(github, files={"red": "x"})
    github.repository().visibility = "private"
    rights = {"contents": "write", "pull_requests": "write", "issues": "write", "actions": "read", "metadata": "read"}
    found = reading(github, github.token("octo", "fine-grained", permissions=rights)).pull(number)
    assert [(c.name, c.state) for c in found.checks] == [("test", FAILED)]
    assert found.failed_jobs == {"test": (github.runs("test")[0].jobs[0].id,)}
    assert "check runs" in found.unread
    blind = {k: v for k, v in rights.items() if k != "actions"}
    found = reading(github, github.token("octo", "fine-grained", permissions=blind)).pull(number)
    assert found.checks == ()
    assert found.unread.startswith("the token may not read the workflow runs and check runs")


def test_the_checks_of_the_base_by_itself(github: Double) -> None:
    number = opened(github, files={"red": "x"})
    reads = reading(github)
    assert reads.base_checks(github.tip()) == {}
    assert reads.base_checks(github.tip(BRANCH)) == {"test": (FAILED, (github.runs("test")[0].jobs[0].id,))}
    github.report_check(number, "slow", "")
    assert reads.base_checks(github.tip(BRANCH)) is None


def test_the_pull_requests_of_a_branch_are_found_in_any_state(github: Double) -> None:
    first = opened(github)
    opened(github, "claudetm/r1/c2", {"b.txt": "b"})
    github.close_by_person(first)
    reads = reading(github)
    assert reads.find(BRANCH) == [first]
    again = github.open_pull_by_person(BRANCH, "octo")
    assert reads.find(BRANCH) == [again, first]
    assert reads.find("claudetm/r1/none") == []


def test_a_number_that_is_none_and_an_answer_that_does_not_come_are_two_things(github: Double) -> None:
    number = opened(github)
    reads = reading(github)
    with pytest.raises(ForgeError, match="There is no pull request #99") as told:
        reads.pull(99)
    assert not isinstance(told.value, ForgeBusy)
    github.faults.fail("graphql Full", 502, times=1_000)
    with pytest.raises(ForgeBusy):
        reads.pull(number)


def test_a_job_that_needs_another_is_waited_for_before_its_turn_comes(github: Double) -> None:
    github.repository().workflows.clear()
    jobs = {"build": "true", "check": "test ! -e red"}
    github.add_workflow("CI", jobs, needs={"check": ("build",)})
    github.hold("check")
    number = opened(github)
    reads = reading(github)
    assert {c.name: c.state for c in reads.pulls([number])[number].checks} == {"build": PASSED, "CI": PENDING}
    github.release("check")
    github.settle()
    assert {c.name: c.state for c in reads.pulls([number])[number].checks} == {"build": PASSED, "check": PASSED}
