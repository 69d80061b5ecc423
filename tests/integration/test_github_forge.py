"""The forge on GitHub beyond the suite that every forge passes: lost answers, kills, rules, people, logs, quota."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from claudetm.adapters.forge.github.client import GithubClient, Limit
from claudetm.adapters.forge.github.forge import GitHubForge
from claudetm.adapters.forge.github.once import Once
from claudetm.adapters.forge.github.reading import Reading
from claudetm.adapters.forge.github.runs import GithubRuns
from claudetm.adapters.git.run_repository import no_fault
from claudetm.errors import ForgeBusy, ForgeError
from claudetm.ports.forge import (
    BaseChanged,
    HeadChanged,
    MergeDone,
    MergeQueuedUp,
    MergeRefused,
    NewPullRequest,
    Note,
    NotYet,
    Opposed,
)
from claudetm.stages.checks import same_failure
from claudetm.testing.forge_conformance import BRANCH, opened, read
from claudetm.workflow.pull_request import Check, CheckState, PullRequestState
from github_double import ci, merging, moves, plumbing
from github_double.double import Double
from github_double.faults import FOREVER
from github_double.state import MergeQueue, Protection, Ruleset
from github_world import US, GitHubForgeWorld
from integration.repositories import git, once

pytestmark = pytest.mark.anyio
FILE = {"a.txt": "one\ntwo\nthree\n"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def github(tmp_path: Path) -> Iterator[Double]:
    with Double(tmp_path / "github") as made:
        yield made


@pytest.fixture
def world(tmp_path: Path, github: Double) -> GitHubForgeWorld:
    return GitHubForgeWorld(tmp_path, github)


class Killed(BaseException):
    """The driver died here."""


def dying(point: str) -> Callable[[str], None]:
    """Return a fault that kills the driver at the first point of this beginning."""

    def die() -> None:
        raise Killed(point)

    return once(point, die)


# --- answers that are lost, and drivers that die ----------------------------------------------------------------


async def test_a_lost_answer_to_opening_is_found_by_the_branch(world: GitHubForgeWorld) -> None:
    world.github.faults.lose_answer("POST /repos/*/pulls")
    pull = await opened(world, FILE)
    assert (pull.number, len(world.hub.pulls)) == (1, 1)


async def test_an_opening_that_never_arrived_is_tried_by_the_next_call_alone(world: GitHubForgeWorld) -> None:
    head = await world.push("c1", FILE)
    world.github.faults.lose_request("POST /repos/*/pulls")
    new = NewPullRequest("c1", BRANCH, head, "Do it", "Why.")
    with pytest.raises(ForgeBusy):
        await world.forge.open(new)
    assert not world.hub.pulls
    assert (await world.forge.open(new)).head == head
    assert len(world.hub.pulls) == 1


@pytest.mark.parametrize(("path", "where"), [("a.txt", "pulls"), ("", "issues"), ("README.md", "issues")])
async def test_a_lost_answer_to_a_remark_is_found_by_its_marker(
    path: str, where: str, world: GitHubForgeWorld
) -> None:
    number = (await opened(world, FILE)).number
    world.github.faults.lose_answer(f"POST /repos/*/{where}/*/comments")
    note = Note("m1", "This is wrong.", path=path, line=1 if path else 0)
    thread = await world.forge.note(number, note)
    assert await world.driver().note(number, note) == thread
    assert len(world.pull(number).threads) + len(world.comments(number)) == 1


@pytest.mark.parametrize("large", [True, False])
async def test_a_lost_answer_to_a_reply_is_found_and_the_thread_resolved(
    large: bool, world: GitHubForgeWorld
) -> None:
    number = (await opened(world, FILE)).number
    thread = world.remark(number, "Why?") if large else world.github.remark(number, "Why?", path="a.txt", line=2)
    world.github.faults.lose_answer("POST /repos/*/comments*")
    note = Note("m1", "Because.", thread=thread, resolve=True, seen=1)
    assert await world.forge.note(number, note) == thread
    assert await world.driver().note(number, note) == thread
    seen = (await read(world, number)).threads
    assert [(t.id, t.resolved, len(t.comments)) for t in seen] == [(thread, True, 2)]


async def test_a_lost_answer_to_resolving_is_looked_up(world: GitHubForgeWorld) -> None:
    number = (await opened(world, FILE)).number
    thread = world.github.remark(number, "Why?", path="a.txt", line=2)
    world.github.faults.lose_answer("graphql resolveReviewThread")
    await world.forge.note(number, Note("m1", "Because.", thread=thread, resolve=True, seen=1))
    assert world.github.thread(thread).resolved_by == US
    assert len(world.github.thread(thread).comments) == 2


@pytest.mark.parametrize("method", ["merge", "squash", "rebase"])
async def test_a_lost_answer_to_a_merge_is_found_and_the_branch_deleted(method: str, world: GitHubForgeWorld) -> None:
    pull = await world.settled((await opened(world, FILE)).number)
    world.github.faults.lose_answer("PUT /repos/*/merge")
    done = await world.forge.merge(pull.number, pull.head, pull.base, method)
    assert done == MergeDone(world.hub.tip("main"))
    assert world.there(BRANCH) == ""


async def test_a_merge_that_never_arrived_is_not_sent_again_by_itself(world: GitHubForgeWorld) -> None:
    pull = await world.settled((await opened(world, FILE)).number)
    world.github.faults.lose_request("PUT /repos/*/merge")
    with pytest.raises(ForgeBusy):
        await world.forge.merge(pull.number, pull.head, pull.base, "merge")
    assert world.hub.tip("main") == pull.base
    assert isinstance(await world.forge.merge(pull.number, pull.head, pull.base, "merge"), MergeDone)


async def test_a_lost_answer_to_deleting_the_branch_changes_nothing(world: GitHubForgeWorld) -> None:
    pull = await world.settled((await opened(world, FILE)).number)
    world.github.faults.lose_answer("git push")
    assert isinstance(await world.forge.merge(pull.number, pull.head, pull.base, "merge"), MergeDone)
    assert world.there(BRANCH) == ""


async def test_a_lost_answer_to_a_rerun_is_looked_up(world: GitHubForgeWorld) -> None:
    pull = await world.settled((await opened(world, {"red": "x\n"})).number)
    world.github.faults.lose_answer("POST /repos/*/rerun-failed-jobs")
    assert await world.forge.rerun_checks(pull.number, pull.head)
    assert [run.attempt for run in world.hub.runs] == [2]


async def test_a_lost_answer_to_naming_the_issue_is_looked_up(world: GitHubForgeWorld) -> None:
    number = (await opened(world, FILE)).number
    world.github.faults.lose_answer("PATCH /repos/*/pulls/*")
    await world.forge.closes(number, 7)
    await world.forge.closes(number, 7)
    assert world.pull(number).body == "Why.\n\nCloses #7\n"


async def test_a_driver_killed_between_the_merge_and_the_branch_deletes_it_later(world: GitHubForgeWorld) -> None:
    pull = await world.settled((await opened(world, FILE)).number)
    with pytest.raises(Killed):
        await world.driver(dying("merge:after")).merge(pull.number, pull.head, pull.base, "merge")
    assert world.there(BRANCH) == pull.head
    world.driver()
    assert (await read(world, pull.number)).state is PullRequestState.MERGED
    assert world.there(BRANCH) == ""


async def test_a_driver_killed_between_reply_and_resolving_resolves_later(world: GitHubForgeWorld) -> None:
    number = (await opened(world, FILE)).number
    thread = world.github.remark(number, "Why?", path="a.txt", line=2)
    note = Note("m1", "Because.", thread=thread, resolve=True, seen=1)
    with pytest.raises(Killed):
        await world.driver(dying("resolve:before")).note(number, note)
    assert not world.github.thread(thread).resolved
    await world.driver().note(number, note)
    assert world.github.thread(thread).resolved
    assert len(world.github.thread(thread).comments) == 2


# --- pull requests ----------------------------------------------------------------------------------------------


async def test_a_pull_request_that_a_look_did_not_show_is_adopted(world: GitHubForgeWorld) -> None:
    head = await world.push("c1", FILE)

    forge = world.driver(once("open:before", lambda: world.github.open_pull_by_person(BRANCH, title="By hand")))
    pull = await forge.open(NewPullRequest("c1", BRANCH, head, "Do it", "Why."))
    assert (pull.number, len(world.hub.pulls), world.pull(1).title) == (1, 1, "By hand")


async def test_one_that_goes_into_another_branch_is_not_taken_for_ours(world: GitHubForgeWorld) -> None:
    head = await world.push("c1", FILE)
    world.push_by_person("next", {"n.txt": "n\n"})
    world.github.open_pull_by_person(BRANCH, base="next")
    with pytest.raises(ForgeError, match=r"merges claudetm/r1/c1 into next, not into main"):
        await world.forge.open(NewPullRequest("c1", BRANCH, head, "Do it", ""))
    assert len(world.hub.pulls) == 1


async def test_a_fork_is_pushed_to_and_the_pull_request_opened_upstream(tmp_path: Path, github: Double) -> None:
    world = GitHubForgeWorld(tmp_path, github, fork=True)
    pull = await opened(world, FILE)
    assert world.source.tip(BRANCH) == pull.head
    assert world.hub.tip(BRANCH) == ""
    assert world.pull(pull.number).maintainer_can_modify
    found = await world.forge.find(BRANCH)
    assert found is not None
    assert found.number == pull.number


async def test_a_missing_target_is_said(world: GitHubForgeWorld) -> None:
    with world.acting():
        world.hub.protections.clear()
        moves.move_branch(world.github.state, world.hub, "main", "", "ada")
    with pytest.raises(ForgeError, match="acme/widgets has no branch main any more"):
        await world.forge.base()


async def test_the_issue_is_named_once_however_the_description_says_it(world: GitHubForgeWorld) -> None:
    number = (await opened(world, FILE)).number
    world.pull(number).body = "What.\n\nfixes: #12"
    await world.forge.closes(number, 12)
    assert world.pull(number).body == "What.\n\nfixes: #12"
    await world.forge.closes(number, 1)
    assert world.pull(number).body == "What.\n\nfixes: #12\n\nCloses #1\n"


async def test_an_issue_that_no_merge_closed_is_closed_once(world: GitHubForgeWorld) -> None:
    issue = world.github.open_issue("Greet people")
    world.github.faults.lose_answer("PATCH /repos/*/issues/*")
    assert await world.forge.close_issue(issue) == ""
    assert await world.forge.close_issue(issue) == ""
    assert (world.hub.issues[issue].state, world.hub.issues[issue].state_reason) == ("closed", "completed")
    assert len(world.github.asked("PATCH /repos/*/issues/*")) == 1


async def test_an_issue_that_somebody_opened_again_stays_open(world: GitHubForgeWorld) -> None:
    issue = world.github.open_issue("Greet people")
    world.hub.issues[issue].state_reason = "reopened"
    assert await world.forge.close_issue(issue) == "somebody has opened it again"
    assert world.hub.issues[issue].state == "open"


async def test_an_issue_that_is_not_ours_to_close_is_told(world: GitHubForgeWorld) -> None:
    issue = world.github.open_issue("Greet people")
    world.github.faults.refuse("PATCH /repos/*/issues/*", 403, "Must have admin rights to Repository.")
    assert "Must have admin rights to Repository" in await world.forge.close_issue(issue)
    assert world.hub.issues[issue].state == "open"


# --- what was pushed --------------------------------------------------------------------------------------------


async def test_a_push_by_somebody_who_is_not_listened_to_is_foreign(world: GitHubForgeWorld) -> None:
    number = (await opened(world, FILE)).number
    theirs = world.push_by_person(BRANCH, {"e.txt": "e\n"}, by="eve")
    seen = await read(world, number)
    assert (seen.forward, seen.foreign) == (
        True,
        f"somebody who is not listened to (eve) pushed {theirs[:7]} to {BRANCH}",
    )


async def test_a_push_by_somebody_who_may_write_is_taken(world: GitHubForgeWorld) -> None:
    number = (await opened(world, FILE)).number
    world.push_by_person(BRANCH, {"b.txt": "b\n"}, by="bob")
    seen = await read(world, number)
    assert (seen.forward, seen.foreign) == (True, "")


async def test_a_merge_of_the_base_is_taken_whoever_makes_it(world: GitHubForgeWorld) -> None:
    number = (await opened(world, FILE)).number
    world.push_by_person("main", {"p.txt": "p\n"})
    world.github.merge_base_by_person(BRANCH, "eve")
    seen = await read(world, number)
    assert (seen.forward, seen.foreign, seen.behind) == (True, "", False)


async def test_a_merge_of_the_base_that_brings_something_else_along_is_foreign(world: GitHubForgeWorld) -> None:
    number = (await opened(world, FILE)).number
    world.push_by_person("main", {"p.txt": "p\n"})
    world.github.merge_base_by_person(BRANCH, "bob")
    with world.acting():
        tip = world.hub.tip(BRANCH)
        parents = plumbing.read_commit(world.hub.git, tip).parents
        evil = plumbing.tree_of(world.hub.git, world.push_by_person("evil", {"evil.txt": "e\n"}))
        made = plumbing.write_commit(
            world.hub.git, evil, list(parents), "Merge main", moves.person(world.github.state, "eve")
        )
        moves.move_branch(world.github.state, world.hub, BRANCH, made, "eve")
    seen = await read(world, number)
    assert (seen.forward, seen.foreign) == (
        True,
        f"somebody who is not listened to (eve) pushed {made[:7]} to {BRANCH}",
    )


async def test_a_head_that_lacks_a_merged_change_of_the_run_is_behind(world: GitHubForgeWorld) -> None:
    world.github.protect(Protection(contexts=("test",)))  # GitHub itself would let it through
    one = await world.settled((await opened(world, {"a.txt": "a\n"}, "c1")).number)
    two = await world.settled((await opened(world, {"b.txt": "b\n"}, "c2")).number)
    done = await world.forge.merge(one.number, one.head, one.base, "merge")
    assert isinstance(done, MergeDone)
    world.merged.append(done.commit)
    moved = await world.settled(two.number)
    assert moved.behind
    assert await world.forge.merge(two.number, two.head, two.base, "merge") == BaseChanged(done.commit)


# --- remarks ----------------------------------------------------------------------------------------------------


async def test_a_remark_stands_on_its_line_else_on_its_file_else_in_the_conversation(world: GitHubForgeWorld) -> None:
    number = (await opened(world, FILE)).number
    await world.forge.note(number, Note("m1", "On a line.", path="a.txt", line=2))
    await world.forge.note(number, Note("m2", "Beyond the diff.", path="a.txt", line=99))
    large = await world.forge.note(number, Note("m3", "Not in the diff.", path="README.md", line=1))
    on_line, on_file = world.pull(number).threads
    assert (on_line.line, on_line.subject, on_file.subject) == (2, "line", "file")
    (said,) = world.comments(number)
    assert said.body.startswith("`README.md:1`: Not in the diff.\n\n<!-- claudetm m3")
    assert large == f"comment-{said.id}"


async def test_a_remark_that_asks_for_nothing_says_so_in_its_marker(world: GitHubForgeWorld) -> None:
    number = (await opened(world, FILE)).number
    await world.forge.note(number, Note("m1", "A thought.", path="a.txt", line=1, blocking=False))
    assert world.pull(number).threads[0].comments[0].body == "A thought.\n\n<!-- claudetm m1 quiet -->"


async def test_a_review_is_answered_in_the_conversation_with_a_quotation(world: GitHubForgeWorld) -> None:
    number = (await opened(world, FILE)).number
    world.github.review(number, "COMMENTED", "Name it.\n\nPlease.")
    (thread,) = (await read(world, number)).threads
    await world.forge.note(number, Note("m1", "Named.", thread=thread.id, resolve=True, seen=1))
    (said,) = world.comments(number)
    assert said.body.startswith("> Name it.\n\n[ada](")
    assert "Named.\n\n<!-- claudetm m1 resolve " in said.body
    (thread,) = (await read(world, number)).threads
    assert (thread.resolved, [c.body for c in thread.comments]) == (True, ["Name it.\n\nPlease.", "Named."])


async def test_a_thread_is_not_resolved_over_what_a_person_said_meanwhile(world: GitHubForgeWorld) -> None:
    number = (await opened(world, FILE)).number
    thread = world.github.remark(number, "Why?", path="a.txt", line=2)
    forge = world.driver(once("resolve:before", lambda: None))
    world.github.answer(thread, "And this?")
    await forge.note(number, Note("m1", "Because.", thread=thread, resolve=True, seen=1))
    assert not world.github.thread(thread).resolved
    assert "resolve" not in world.github.thread(thread).comments[-1].body
    assert [t.id for t in (await read(world, number)).unanswered] == [thread]


async def test_a_thread_is_not_resolved_over_what_a_person_says_right_after_the_reply(
    world: GitHubForgeWorld,
) -> None:
    number = (await opened(world, FILE)).number
    thread = world.github.remark(number, "Why?", path="a.txt", line=2)
    forge = world.driver(once("note:after", lambda: world.github.answer(thread, "No!")))
    await forge.note(number, Note("m1", "Because.", thread=thread, resolve=True, seen=1))
    assert not world.github.thread(thread).resolved
    assert [t.id for t in (await read(world, number)).unanswered] == [thread]


async def test_nothing_is_said_twice_though_looks_lag_behind(world: GitHubForgeWorld) -> None:
    number = (await opened(world, FILE)).number
    note = Note("m1", "This is wrong.", path="a.txt", line=1)
    world.github.faults.stale("graphql *", reads=20)
    await world.forge.note(number, note)
    await world.forge.note(number, note)
    assert len(world.pull(number).threads) == 1


async def test_a_remark_that_its_author_took_back_is_not_answered(world: GitHubForgeWorld) -> None:
    number = (await opened(world, FILE)).number
    thread = world.remark(number, "Never mind.")
    with world.acting():
        world.hub.comments.clear()
    assert await world.forge.note(number, Note("m1", "Because.", thread=thread, seen=1)) == thread
    assert not world.comments(number)


async def test_a_thread_that_vanishes_before_the_reply_is_let_go(world: GitHubForgeWorld) -> None:
    number = (await opened(world, FILE)).number
    thread = world.github.remark(number, "Why?", path="a.txt", line=2)
    forge = world.driver(once("note:before", world.pull(number).threads.clear))
    assert await forge.note(number, Note("m1", "Because.", thread=thread, resolve=True, seen=1)) == thread
    assert not world.comments(number)


async def test_a_locked_conversation_is_named(world: GitHubForgeWorld) -> None:
    number = (await opened(world, FILE)).number
    world.github.faults.refuse("POST /repos/*/comments", 403, "Unable to create comment because issue is locked.")
    with pytest.raises(ForgeError, match=r"The conversation of \S+/pull/1 is locked"):
        await world.forge.note(number, Note("m1", "This is wrong."))


# --- checks -----------------------------------------------------------------------------------------------------


async def test_failed_jobs_run_again_and_are_pending_at_once(tmp_path: Path, github: Double) -> None:
    flaky = 'test "$GITHUB_RUN_ATTEMPT" != 1 || { echo flaky; false; }'
    world = GitHubForgeWorld(tmp_path, github, checks={"test": "true", "flaky": flaky})
    pull = await world.settled((await opened(world, FILE)).number)
    assert {c.name: c.state.value for c in pull.checks} == {"test": "passed", "flaky": "failed"}
    github.ci.hold("flaky")
    assert await world.forge.rerun_checks(pull.number, pull.head)
    again = await read(world, pull.number)
    assert {c.name: c.state.value for c in again.checks} == {"test": "passed", "flaky": "pending"}
    github.ci.release("flaky")
    after = await world.settled(pull.number)
    assert {c.state for c in after.checks} == {CheckState.PASSED}


async def test_a_look_that_shows_the_failure_of_before_is_no_new_one(world: GitHubForgeWorld) -> None:
    pull = await world.settled((await opened(world, {"red": "x\n"})).number)
    world.github.ci.hold("test")
    world.github.faults.stale("graphql *", reads=1)
    assert await world.forge.rerun_checks(pull.number, pull.head)
    assert [c.state for c in (await read(world, pull.number)).checks] == [CheckState.PENDING]
    world.github.ci.release("test")
    assert [c.state for c in (await world.settled(pull.number)).checks] == [CheckState.FAILED]


async def test_nothing_runs_again_for_another_head_or_where_nothing_can(world: GitHubForgeWorld) -> None:
    pull = await world.settled((await opened(world, {"red": "x\n"})).number)
    assert not await world.forge.rerun_checks(pull.number, pull.base)
    world.github.faults.refuse("POST /repos/*/rerun-failed-jobs", 403, "Resource not accessible by integration")
    assert not await world.forge.rerun_checks(pull.number, pull.head)
    other = await opened(world, FILE, "c2")
    with world.acting():
        ci.report_status(
            world.github.state, world.hub, other.head, ci.Report("jenkins", "failure", "no", "https://ci/1")
        )
    await world.settled(other.number)
    assert not await world.forge.rerun_checks(other.number, other.head)


async def test_the_fixer_gets_the_failed_steps_log_and_the_whole_is_kept(world: GitHubForgeWorld) -> None:
    pull = await world.settled((await opened(world, {"red": "x\n"})).number)
    log = await world.forge.check_log(pull.number, "test")
    assert "it is red" in log.text
    assert "runner version" not in log.text
    assert "\x1b" not in log.text
    assert log.how == "failure"
    assert "echo it is red" in log.command
    whole = Path(log.path).read_text()
    assert whole.startswith("Current runner version")
    assert Path(log.path).parent == world.logs
    assert await world.forge.check_log(pull.number, "test") == log


async def test_a_log_that_is_gone_is_said_to_be(world: GitHubForgeWorld) -> None:
    pull = await world.settled((await opened(world, {"red": "x\n"})).number)
    world.github.faults.refuse("GET /repos/*/logs", 410, "Gone")
    log = await world.forge.check_log(pull.number, "test")
    assert log.text.startswith("The log is not kept any more.")
    assert (log.path, log.how) == ("", "failure")


async def test_what_another_ci_says_is_all_that_is_known(world: GitHubForgeWorld) -> None:
    pull = await opened(world, FILE)
    with world.acting():
        status = ci.Report("jenkins", "failure", "3 tests failed", "https://ci.example/7")
        ci.report_status(world.github.state, world.hub, pull.head, status)
        check = ci.report_check(world.github.state, world.hub, pull.head, ci.Report("circle", "failure", "2 errors"))
        check.summary = "It broke in b.py."
    await world.settled(pull.number)
    log = await world.forge.check_log(pull.number, "jenkins")
    assert "3 tests failed" in log.text
    assert "https://ci.example/7" in log.text
    log = await world.forge.check_log(pull.number, "circle")
    assert log.text.startswith("2 errors\n\nIt broke in b.py.")


async def test_a_cancelled_check_gives_no_verdict(world: GitHubForgeWorld) -> None:
    world.github.ci.ends("test", "cancelled")
    pull = await world.settled((await opened(world, FILE)).number)
    log = await world.forge.check_log(pull.number, "test")
    assert (log.no_verdict, log.how) == ("it was cancelled", "cancelled")


async def test_what_fails_on_the_base_by_itself_is_told(world: GitHubForgeWorld) -> None:
    world.hub.workflows["CI"].on = ("pull_request", "push")
    broken = world.push_by_person("main", {"red": "x\n"})
    await asyncio.to_thread(world.github.ci.settle)
    found = await world.forge.failing_at(broken, ["test"])
    assert found is not None
    assert "it is red" in found["test"].text
    assert await world.forge.failing_at(broken, ["other"]) == {}
    assert await world.forge.failing_at(world.first, ["test"]) == {}


async def test_a_workflow_on_pushes_and_on_pull_requests_is_one_check_on_both_sides(world: GitHubForgeWorld) -> None:
    world.hub.workflows["CI"].on = ("pull_request", "push")
    broken = world.push_by_person("main", {"red": "x\n"})
    world.github.ci.hold("test")
    opening = await opened(world, FILE)
    (check,) = opening.checks
    world.github.ci.release("test")
    pull = await world.settled(opening.number)
    assert (
        [(c.name, c.state) for c in pull.checks] == [(check.name, CheckState.FAILED)] == [("test", CheckState.FAILED)]
    )
    ours = await world.forge.check_log(pull.number, "test")
    theirs = await world.forge.failing_at(broken, ["test"])
    assert theirs is not None
    assert same_failure("test", ours, theirs["test"])


class Torn(GithubClient):
    """Tells of the second pull request all but a comment."""

    def graphql(self, query: str, /, **variables: Any) -> tuple[Any, list[Any]]:
        data, errors = super().graphql(query, **variables)
        path = ["repository", "p2", "comments", "nodes", 0]
        return data, [*errors, {"path": path, "message": "Something failed"}] if "p2: " in query else errors


async def test_one_that_github_tells_in_part_does_not_hold_up_the_others(world: GitHubForgeWorld) -> None:
    first, second = await opened(world, FILE), await opened(world, {"b.txt": "b\n"}, "c2")
    client = Torn(world.hosted.api, world.token, spacing=0.0, sleep=lambda _: None)
    reading = Reading(client, world.hosted, "main", lambda: (), "octo@example.org")
    parts = client, world.hosted, "main", world.repository, reading
    forge = GitHubForge(*parts, merged=world.landed, hint=world.hint, logs=world.logs)
    assert list(await forge.read([first.number, second.number])) == [first.number]
    with pytest.raises(ForgeBusy, match="only a part of pull request #2"):
        await forge.read([second.number])


async def test_of_jobs_of_one_name_each_log_that_says_something_else_is_read(world: GitHubForgeWorld) -> None:
    world.hub.workflows["CI"].on = ("pull_request", "push")
    with world.acting():
        world.github.add_workflow("Nightly", {"test": "echo none of the night either; test ! -e red"})
    pull = await world.settled((await opened(world, {"red": "x\n"})).number)
    text = (await world.forge.check_log(pull.number, "test")).text
    assert text.count("\nit is red\n") == 1
    assert text.count("\nnone of the night either\n") == 1
    assert "--- another job that is called test (whole: " in text


async def test_what_runs_on_the_base_is_waited_for(world: GitHubForgeWorld) -> None:
    world.hub.workflows["CI"].on = ("push",)
    world.github.ci.hold("test")
    tip = world.push_by_person("main", {"p.txt": "p\n"})
    assert await world.forge.failing_at(tip, ["test"]) is None
    world.time += 3600
    assert await world.forge.failing_at(tip, ["test"]) == {}
    world.github.ci.release("test")
    await asyncio.to_thread(world.github.ci.settle)
    assert await world.forge.failing_at(tip, ["test"]) == {}


# --- merging ----------------------------------------------------------------------------------------------------


async def test_a_squash_says_what_the_description_says_without_its_form(world: GitHubForgeWorld) -> None:
    head = await world.push("c1", FILE)
    body = "Why.\r\n\r\n<!-- tick what holds -->\r\n\r\n## What\r\n\r\n- It.\r\n"
    pull = await world.forge.open(NewPullRequest("c1", BRANCH, head, "Do c1", body))
    pull = await world.settled(pull.number)
    done = await world.forge.merge(pull.number, pull.head, pull.base, "squash")
    assert isinstance(done, MergeDone)
    assert git(world.hub.git, "log", "-1", "--format=%B", done.commit) == "Do c1 (#1)\n\nWhy.\n\n## What\n\n- It."


async def test_a_base_that_moves_at_the_last_moment_is_tested_first(world: GitHubForgeWorld) -> None:
    pull = await world.settled((await opened(world, FILE)).number)
    await world.at_the_last_moment(lambda: world.push_by_person("main", {"p.txt": "p\n"}))
    outcome = await world.forge.merge(pull.number, pull.head, pull.base, "merge")
    assert outcome == BaseChanged(world.hub.tip("main"))


async def test_what_git_hub_has_not_worked_out_is_not_yet(world: GitHubForgeWorld) -> None:
    pull = await world.settled((await opened(world, FILE)).number)
    with world.acting():
        world.hub.slow_mergeable = 1000
    outcome = await world.forge.merge(pull.number, pull.head, pull.base, "merge")
    assert isinstance(outcome, NotYet)
    assert world.hub.tip("main") == pull.base


async def test_a_method_that_is_not_allowed_names_those_that_are(world: GitHubForgeWorld) -> None:
    pull = await world.settled((await opened(world, FILE)).number)
    with world.acting():
        world.hub.allow_merge = False
    refused = await world.forge.merge(pull.number, pull.head, pull.base, "merge")
    assert refused == MergeRefused(
        "acme/widgets does not allow merge as merge method, but squash and rebase",
        "claudetm config set merge.method squash, then claudetm resume",
    )


async def test_a_rule_that_forbids_it_is_named(world: GitHubForgeWorld) -> None:
    pull = await world.settled((await opened(world, FILE)).number)
    with world.acting():
        ruleset = Ruleset(world.github.state.new_id(), "Signed only", Protection(signatures=True))
        ruleset.node_id = world.github.state.node("RRS", ruleset.id)
        world.hub.rulesets.append(world.github.state.known(ruleset))
    await world.settled(pull.number)
    refused = await world.forge.merge(pull.number, pull.head, pull.base, "merge")
    assert isinstance(refused, MergeRefused)
    assert "verified signatures" in refused.reason
    assert "the ruleset “Signed only” of main asks for that, and protection is never overridden" in refused.reason
    assert refused.next == f"look at {pull.url}, then claudetm resume"


async def test_an_administrators_token_does_not_override_protection(world: GitHubForgeWorld) -> None:
    with world.acting():
        world.hub.permissions[US] = "admin"
        world.github.protect(Protection(contexts=("test",), signatures=True, enforce_admins=False))
    pull = await world.settled((await opened(world, FILE)).number)
    assert isinstance(await world.forge.merge(pull.number, pull.head, pull.base, "merge"), NotYet)
    world.time += 300
    refused = await world.forge.merge(pull.number, pull.head, pull.base, "merge")
    assert isinstance(refused, MergeRefused)
    assert "the protection of main asks for that, and protection is never overridden" in refused.reason
    assert world.hub.tip("main") == pull.base


async def test_blocked_is_believed_anew_after_what_was_seen_in_the_way(world: GitHubForgeWorld) -> None:
    with world.acting():
        world.hub.permissions[US] = "admin"
        world.github.protect(Protection(contexts=("test",), signatures=True, enforce_admins=False))
    pull = await world.settled((await opened(world, FILE)).number)

    async def merge() -> object:
        return await world.forge.merge(pull.number, pull.head, pull.base, "merge")

    assert isinstance(await merge(), NotYet)
    with world.acting():
        world.pull(pull.number).draft = True
    assert isinstance(await merge(), Opposed)
    world.time += 300
    with world.acting():
        world.pull(pull.number).draft = False
    assert isinstance(await merge(), NotYet)
    world.time += 300
    assert isinstance(await merge(), MergeRefused)


async def test_a_queue_is_used_where_there_is_one(world: GitHubForgeWorld) -> None:
    with world.acting():
        known = world.github.state.new_id()
        queue = MergeQueue(world.github.state.node("MQ", known), "main")
        world.hub.queues["main"] = world.github.state.known(queue)
    pull = await world.settled((await opened(world, FILE)).number)
    world.github.ci.hold("test")
    world.github.faults.lose_answer("graphql enqueuePullRequest")
    assert await world.forge.merge(pull.number, pull.head, pull.base, "squash") == MergeQueuedUp()
    assert (await read(world, pull.number)).queued
    assert await world.forge.merge(pull.number, pull.head, pull.base, "squash") == MergeQueuedUp()
    world.github.ci.release("test")
    await asyncio.to_thread(world.github.ci.settle)
    merged = await read(world, pull.number)
    assert merged.state is PullRequestState.MERGED
    assert world.there(BRANCH) == ""


async def test_what_is_said_while_it_queues_takes_it_out(world: GitHubForgeWorld) -> None:
    with world.acting():
        known = world.github.state.new_id()
        queue = MergeQueue(world.github.state.node("MQ", known), "main")
        world.hub.queues["main"] = world.github.state.known(queue)
    pull = await world.settled((await opened(world, FILE)).number)
    world.github.ci.hold("test")
    assert await world.forge.merge(pull.number, pull.head, pull.base, "squash") == MergeQueuedUp()
    world.remark(pull.number, "Wait!")
    assert not (await read(world, pull.number)).queued
    assert not queue.entries
    world.github.ci.release("test")


async def waiting(world: GitHubForgeWorld) -> tuple[int, str, str]:
    """Return one that only something unseen keeps from being merged, in a repository that merges by itself."""
    with world.acting():
        world.hub.allow_auto_merge = True
        world.github.protect(Protection(contexts=("test",), strict=True, signatures=True))
    pull = await world.settled((await opened(world, FILE)).number)
    return pull.number, pull.head, pull.base


async def test_github_merges_later_what_only_lacks_what_is_not_seen_here(world: GitHubForgeWorld) -> None:
    number, head, base = await waiting(world)
    assert await world.forge.merge(number, head, base, "squash") == MergeQueuedUp()
    assert (await read(world, number)).queued
    with world.acting():
        world.github.protect(Protection(contexts=("test",), strict=True))
        merging.tick(world.github.state, world.hub)
    assert (await read(world, number)).state is PullRequestState.MERGED
    assert world.there(BRANCH) == ""
    assert git(world.hub.git, "log", "-1", "--format=%B", "main") == "Do c1 (#1)\n\nWhy."


async def test_github_no_longer_merges_by_itself_what_was_pushed_after(world: GitHubForgeWorld) -> None:
    number, head, base = await waiting(world)
    assert await world.forge.merge(number, head, base, "squash") == MergeQueuedUp()
    world.push_by_person(BRANCH, {"b.txt": "b\n"}, by="bob")
    world.driver()
    assert not (await read(world, number)).queued
    assert world.pull(number).auto_merge is None


async def test_a_lost_answer_to_handing_a_merge_over_or_taking_it_back_is_looked_up(world: GitHubForgeWorld) -> None:
    number, head, base = await waiting(world)
    world.github.faults.lose_answer("graphql enablePullRequestAutoMerge")
    world.github.faults.lose_answer("graphql disablePullRequestAutoMerge")
    assert await world.forge.merge(number, head, base, "squash") == MergeQueuedUp()
    world.remark(number, "Wait!")
    assert not (await read(world, number)).queued
    assert await world.forge.merge(number, head, base, "squash") == Opposed()


async def test_what_a_person_asked_github_to_merge_is_left_to_them(world: GitHubForgeWorld) -> None:
    number, _, _ = await waiting(world)
    with world.acting():
        merging.enable_auto_merge(world.github.state, world.hub, world.pull(number), "ada")
    world.push_by_person(BRANCH, {"b.txt": "b\n"}, by="bob")
    assert (await read(world, number)).queued
    assert world.pull(number).auto_merge is not None


async def test_a_check_that_nobody_sees_is_waited_for_a_while_and_then_named(world: GitHubForgeWorld) -> None:
    pull = await world.settled((await opened(world, FILE)).number)
    world.github.faults.refuse("PUT /repos/*/merge", 405, 'Required status check "ghost" is expected.', times=3)
    said = 'GitHub does not merge it yet: Required status check "ghost" is expected'
    for later in (0, 1799, 1):
        world.time += later
        outcome = await world.forge.merge(pull.number, pull.head, pull.base, "merge")
        refused = MergeRefused(f"{said}, for 30 minutes now", f"look at {pull.url}, then claudetm resume")
        assert outcome == (refused if later == 1 else NotYet(said))
    assert isinstance(await world.forge.merge(pull.number, pull.head, pull.base, "merge"), MergeDone)


async def test_a_token_that_may_not_merge_is_named_and_no_rule(world: GitHubForgeWorld) -> None:
    pull = await world.settled((await opened(world, FILE)).number)
    world.github.faults.refuse("PUT /repos/*/merge", 403, "Resource not accessible by personal access token")
    refused = await world.forge.merge(pull.number, pull.head, pull.base, "merge")
    assert isinstance(refused, MergeRefused)
    assert "the token lacks a permission" in refused.reason
    assert "protection" not in refused.reason


async def test_a_refusal_that_nothing_explains_may_pass(world: GitHubForgeWorld) -> None:
    pull = await world.settled((await opened(world, FILE)).number)
    world.github.faults.refuse("PUT /repos/*/merge", 405, "Pull Request is not mergeable")
    assert isinstance(await world.forge.merge(pull.number, pull.head, pull.base, "merge"), NotYet)
    assert isinstance(await world.forge.merge(pull.number, pull.head, pull.base, "merge"), MergeDone)


async def test_one_that_a_person_turned_to_another_branch_is_not_merged(world: GitHubForgeWorld) -> None:
    pull = await world.settled((await opened(world, FILE)).number)
    world.push_by_person("next", {"n.txt": "n\n"})
    with world.acting():
        moves.retarget(world.github.state, world.hub, world.pull(pull.number), "next")
    assert (await read(world, pull.number)).withheld == "it goes into next by now"
    assert await world.forge.merge(pull.number, pull.head, pull.base, "merge") == Opposed()
    assert world.hub.tip("next") != pull.head


async def test_a_run_that_could_not_be_started_is_started_once_more(world: GitHubForgeWorld) -> None:
    world.github.ci.ends("test", "startup_failure")
    number = (await opened(world, FILE)).number
    (run,) = world.hub.runs
    red = (Check("CI", CheckState.FAILED),)  # as REST tells it, where the rollup is refused
    pull = replace(world.reading.pull(number), checks=red, runs={"CI": (run.id,)})
    assert GithubRuns(world.client, world.hosted, Once(()), no_fault).rerun(pull)
    await asyncio.to_thread(world.github.settle)
    assert (run.attempt, run.conclusion) == (2, "success")


async def test_a_changed_head_is_told_from_a_conflict_of_the_moment(world: GitHubForgeWorld) -> None:
    pull = await world.settled((await opened(world, FILE)).number)
    pushed: list[str] = []
    await world.at_the_last_moment(lambda: pushed.append(world.push_by_person(BRANCH, {"b.txt": "b\n"})))
    assert await world.forge.merge(pull.number, pull.head, pull.base, "merge") == HeadChanged(pushed[0])


async def test_an_objection_at_the_last_look_is_heard(world: GitHubForgeWorld) -> None:
    pull = await world.settled((await opened(world, FILE)).number)
    world.github.review(pull.number, "CHANGES_REQUESTED", "No.")
    assert await world.forge.merge(pull.number, pull.head, pull.base, "merge") == Opposed()
    assert world.hub.tip("main") == pull.base


async def test_the_branch_stays_where_it_moved_on_or_others_delete_it(world: GitHubForgeWorld) -> None:
    pull = await world.settled((await opened(world, FILE)).number)
    forge = world.driver(once("merge:after", lambda: world.push_by_person(BRANCH, {"late.txt": "late\n"})))
    assert isinstance(await forge.merge(pull.number, pull.head, pull.base, "merge"), MergeDone)
    assert world.there(BRANCH) not in ("", pull.head)


async def test_a_branch_is_deleted_later_where_github_is_busy_over_whose_merge_it_was(
    world: GitHubForgeWorld,
) -> None:
    pull = await world.settled((await opened(world, FILE)).number)
    with pytest.raises(Killed):
        await world.driver(dying("merge:after")).merge(pull.number, pull.head, pull.base, "merge")
    merged = world.reading.pull(pull.number)
    forge = world.driver()
    forge._untidy = [merged]
    world.github.faults.fail("GET /user", times=FOREVER)
    assert await forge.base() == world.hub.tip("main")
    assert (forge._untidy, world.there(BRANCH)) == ([merged], pull.head)
    world.github.faults.clear()
    await forge.base()
    assert (forge._untidy, world.there(BRANCH)) == ([], "")


async def test_what_a_person_merged_keeps_its_branch(world: GitHubForgeWorld) -> None:
    pull = await world.settled((await opened(world, FILE)).number)
    await world.merge_by_person(pull.number)
    assert (await read(world, pull.number)).by == "ada"
    assert world.there(BRANCH) == pull.head


async def test_what_a_person_merged_after_we_had_begun_to_keeps_its_branch(world: GitHubForgeWorld) -> None:
    pull = await world.settled((await opened(world, FILE)).number)
    with pytest.raises(Killed):
        await world.driver(dying("merge:before")).merge(pull.number, pull.head, pull.base, "merge")
    await world.merge_by_person(pull.number)
    world.driver()
    assert (await read(world, pull.number)).state is PullRequestState.MERGED
    assert world.there(BRANCH) == pull.head


async def test_a_repository_that_deletes_branches_itself_is_left_to_it(world: GitHubForgeWorld) -> None:
    with world.acting():
        world.hub.delete_branch_on_merge = True
    pull = await world.settled((await opened(world, FILE)).number)
    points: list[str] = []
    forge = world.driver(points.append)
    assert isinstance(await forge.merge(pull.number, pull.head, pull.base, "merge"), MergeDone)
    assert world.there(BRANCH) == ""
    assert not [p for p in points if p.startswith("delete:")]


async def test_what_became_clean_while_it_was_handed_over_is_merged_at_once(world: GitHubForgeWorld) -> None:
    number, head, base = await waiting(world)
    strict = Protection(contexts=("test",), strict=True)
    forge = world.driver(once("auto-merge:before", lambda: world.github.protect(strict)))
    assert isinstance(await forge.merge(number, head, base, "squash"), MergeDone)
    assert world.there(BRANCH) == ""


async def test_where_git_hub_may_not_merge_later_the_rule_is_named(world: GitHubForgeWorld) -> None:
    number, head, base = await waiting(world)
    world.github.faults.refuse("graphql enablePullRequestAutoMerge", 403, "Resource not accessible")
    refused = await world.forge.merge(number, head, base, "squash")
    assert isinstance(refused, MergeRefused)
    assert "Commits must have verified signatures" in refused.reason


# --- waiting ----------------------------------------------------------------------------------------------------


async def test_looks_are_spaced_out_with_time_and_with_the_quota(world: GitHubForgeWorld) -> None:
    assert [world.forge.pace(s) for s in (0, 119, 120, 599, 600, 1799, 1800, 9999)] == [0.5, 0.5, 1, 1, 2, 2, 4, 4]
    number = (await opened(world, FILE)).number
    await read(world, number)
    before = world.forge.pace(0)
    limit: Limit | None = world.client.quota().of("graphql")
    assert limit is not None
    for _ in range(30):
        await read(world, number)
    with world.acting():
        world.github.state.quota(US, "graphql").limit = 100
    await read(world, number)
    assert world.forge.pace(0) > 10 * before


@pytest.mark.parametrize("limit", [5000, 1000])
async def test_an_hour_of_looks_takes_a_fifth_of_the_quota_at_most(limit: int, world: GitHubForgeWorld) -> None:
    number = (await opened(world, FILE)).number
    with world.acting():
        for resource in ("graphql", "core"):
            world.github.state.quota(US, resource).limit = limit
    spent, until, looks = world.github.spent(), world.time + 3600, 0
    while world.time < until:  # nothing is ever quiet
        world.push_by_person(BRANCH, {"n.txt": f"{looks}\n"}) if looks % 20 == 0 else None
        await read(world, number)
        looks += 1
        world.time += 30 * world.forge.pace(0)
    assert looks > 50
    assert world.github.spent() - spent <= limit / 5


async def test_a_touched_file_hastens_the_next_look(world: GitHubForgeWorld) -> None:
    waiting = asyncio.ensure_future(world.forge.hint())
    await asyncio.sleep(0)
    world.hint.touch()
    await asyncio.wait_for(waiting, 10)


async def test_a_look_from_before_our_push_is_no_forced_push(world: GitHubForgeWorld) -> None:
    pull = await world.settled((await opened(world, FILE)).number)
    world.github.faults.stale("graphql *", reads=3)
    pushed = await world.push("c1", {"b.txt": "b\n"})
    behind = await read(world, pull.number)
    assert (behind.head, behind.forward, behind.foreign) == (pushed, True, "")
    assert [(c.state, c.summary) for c in behind.checks] == [
        (CheckState.PENDING, "GitHub does not show what was pushed yet")
    ]
    world.github.faults.clear()
    assert {c.state for c in (await world.settled(pull.number)).checks} == {CheckState.PASSED}


async def test_a_branch_that_was_forced_back_to_before_our_push_is_told(world: GitHubForgeWorld) -> None:
    pull = await world.settled((await opened(world, FILE)).number)
    await world.push("c1", {"b.txt": "b\n"})
    with world.acting():
        moves.move_branch(world.github.state, world.hub, pull.branch, pull.head, "ada")
    seen = await read(world, pull.number)
    assert (seen.head, seen.forward) == (pull.head, False)
