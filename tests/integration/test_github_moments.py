"""The forge on GitHub between a look and a write: the order of two writes, what comes in between, what is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from claudetm.adapters.forge.github.once import Once
from claudetm.adapters.forge.github.refusals import GithubRefused
from claudetm.adapters.forge.github.runs import GithubRuns
from claudetm.adapters.git.run_repository import no_fault
from claudetm.errors import ForgeBusy, ForgeError
from claudetm.ports.forge import HeadChanged, MergeDone, MergeQueuedUp, MergeRefused, NewPullRequest, Note, NotYet
from claudetm.testing.forge_conformance import BRANCH, opened, read
from claudetm.workflow.pull_request import CheckState, PullRequest
from github_double import plumbing
from github_double.double import Double
from github_double.state import Protection
from github_world import US, GitHubForgeWorld
from integration.repositories import git, once

pytestmark = pytest.mark.anyio
FILE = {"a.txt": "one\ntwo\nthree\n"}
FORBIDDEN = "Resource not accessible by personal access token"
SIGNED = Protection(contexts=("test",), strict=True, signatures=True)


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
    def die() -> None:
        raise Killed(point)

    return once(point, die)


async def ready(world: GitHubForgeWorld) -> PullRequest:
    return await world.settled((await opened(world, FILE)).number)


async def red(world: GitHubForgeWorld) -> PullRequest:
    return await world.settled((await opened(world, {"red": "x\n"})).number)


# --- remarks ----------------------------------------------------------------------------------------------------


async def test_a_thread_is_resolved_after_the_reply_stands_there(world: GitHubForgeWorld) -> None:
    number = (await opened(world, FILE)).number
    thread = world.github.remark(number, "Why?", path="a.txt", line=2)
    note = Note("m1", "Because.", thread=thread, resolve=True, seen=1)
    with pytest.raises(Killed):
        await world.driver(dying("note:before")).note(number, note)
    assert not world.github.thread(thread).resolved
    with pytest.raises(Killed):
        await world.driver(dying("note:after")).note(number, note)
    assert not world.github.thread(thread).resolved
    await world.driver().note(number, note)
    assert world.github.thread(thread).resolved
    assert len(world.github.thread(thread).comments) == 2


async def test_a_resolving_that_never_arrived_is_not_taken_for_done(world: GitHubForgeWorld) -> None:
    number = (await opened(world, FILE)).number
    thread = world.github.remark(number, "Why?", path="a.txt", line=2)
    note = Note("m1", "Because.", thread=thread, resolve=True, seen=1)
    world.github.faults.lose_request("graphql resolveReviewThread")
    with pytest.raises(ForgeBusy):
        await world.forge.note(number, note)
    assert not world.github.thread(thread).resolved
    await world.forge.note(number, note)
    assert world.github.thread(thread).resolved
    assert len(world.github.thread(thread).comments) == 2


@pytest.mark.parametrize("killed", [True, False])
async def test_a_resolving_that_is_refused_holds_up_nothing(killed: bool, world: GitHubForgeWorld) -> None:
    number = (await opened(world, FILE)).number
    thread = world.github.remark(number, "Why?", path="a.txt", line=2)
    note = Note("m1", "Because.", thread=thread, resolve=True, seen=1)
    if killed:
        with pytest.raises(Killed):
            await world.driver(dying("resolve:before")).note(number, note)
        world.driver()
    world.github.faults.refuse("graphql resolveReviewThread", 403, FORBIDDEN, times=9)
    if not killed:
        assert await world.forge.note(number, note) == thread
    assert [len(t.comments) for t in (await read(world, number)).threads] == [2]
    world.driver()
    await read(world, number)
    assert len(world.github.asked("graphql resolveReviewThread")) == 1
    assert not world.github.thread(thread).resolved


async def test_a_lost_answer_is_looked_for_again_where_looks_lag_behind(world: GitHubForgeWorld) -> None:
    number = (await opened(world, FILE)).number
    world.github.faults.stale("graphql *", reads=2)
    world.github.faults.lose_answer("POST /repos/*/issues/*/comments")
    thread = await world.forge.note(number, Note("m1", "This is wrong."))
    assert [f"comment-{c.id}" for c in world.comments(number)] == [thread]


async def test_a_remark_on_a_line_that_is_forbidden_is_said_to_be(world: GitHubForgeWorld) -> None:
    number = (await opened(world, FILE)).number
    world.github.faults.refuse("POST /repos/*/pulls/*/comments", 403, FORBIDDEN, times=9)
    with pytest.raises(ForgeError, match="the token lacks a permission"):
        await world.forge.note(number, Note("m1", "This is wrong.", path="a.txt", line=1))
    assert not world.comments(number)


# --- checks -----------------------------------------------------------------------------------------------------


async def test_a_run_of_another_head_is_not_run_again(world: GitHubForgeWorld) -> None:
    number = (await red(world)).number
    pull = replace(world.reading.pull(number), head="0" * 40)
    assert not GithubRuns(world.client, world.hosted, Once(()), no_fault).rerun(pull)
    assert [run.attempt for run in world.hub.runs] == [1]


async def test_a_failure_that_looks_go_on_showing_is_pending(world: GitHubForgeWorld) -> None:
    pull = await red(world)
    world.github.faults.stale("graphql *", reads=9)
    assert await world.forge.rerun_checks(pull.number, pull.head)
    for _ in range(2):
        assert [c.state for c in (await read(world, pull.number)).checks] == [CheckState.PENDING]


async def test_a_run_that_cannot_be_retried_is_not_taken_for_begun(world: GitHubForgeWorld) -> None:
    pull = await red(world)
    refused = "Unable to retry this workflow run because it was created over a month ago: it cannot be retried"
    world.github.faults.refuse("POST /repos/*/rerun-failed-jobs", 403, refused)
    assert not await world.forge.rerun_checks(pull.number, pull.head)
    assert [run.attempt for run in world.hub.runs] == [1]


async def test_a_rerun_that_had_no_answer_and_failed_again_is_not_begun_a_third_time(world: GitHubForgeWorld) -> None:
    pull = await red(world)
    world.github.faults.lose_answer("POST /repos/*/rerun-failed-jobs")
    world.github.faults.stale("GET /repos/*/actions/runs/*", reads=4)
    forge = world.driver()
    with pytest.raises(ForgeBusy):
        await forge.rerun_checks(pull.number, pull.head)
    world.time += 90
    await world.settled(pull.number)
    assert await world.forge.rerun_checks(pull.number, pull.head)
    assert [run.attempt for run in world.hub.runs] == [2]
    await read(world, pull.number)  # it is written down by now
    assert await world.forge.rerun_checks(pull.number, pull.head)
    assert [run.attempt for run in world.hub.runs] == [3]


async def test_what_was_begun_beside_a_rerun_that_had_no_answer_is_not_begun_again(world: GitHubForgeWorld) -> None:
    world.github.add_workflow("Lint", {"lint": "false"})
    pull = await red(world)
    assert len(world.hub.runs) == 2
    lose = world.github.faults.lose_request
    forge = world.driver(once("rerun:after", lambda: lose("POST /repos/*/rerun-failed-jobs")))
    with pytest.raises(ForgeBusy):
        await forge.rerun_checks(pull.number, pull.head)
    assert sorted(run.attempt for run in world.hub.runs) == [1, 2]
    await world.settled(pull.number)
    assert await forge.rerun_checks(pull.number, pull.head)
    assert [run.attempt for run in world.hub.runs] == [2, 2]


async def test_what_passed_does_not_run_again(tmp_path: Path, github: Double) -> None:
    world = GitHubForgeWorld(tmp_path, github, checks={"test": "true", "lint": "false"})
    pull = await ready(world)
    (run,) = world.hub.runs
    before = {job.name: job.id for job in run.jobs}
    assert await world.forge.rerun_checks(pull.number, pull.head)
    after = {job.name: job.id for job in run.jobs if job.attempt == 2}
    assert list(after) == ["lint"]
    assert after["lint"] != before["lint"]


async def test_secrets_are_not_in_a_log_that_is_kept(tmp_path: Path, github: Double) -> None:
    world = GitHubForgeWorld(tmp_path, github, checks={"test": "echo token=$(printf 'ghp_%036d' 7); false"})
    pull = await ready(world)
    log = await world.forge.check_log(pull.number, "test")
    for text in (log.text, Path(log.path).read_text()):
        assert "token=" in text
        assert f"{7:036}" not in text


async def test_a_log_that_may_not_be_read_is_not_said_to_be_gone(world: GitHubForgeWorld) -> None:
    pull = await red(world)
    world.github.faults.refuse("GET /repos/*/logs", 403, FORBIDDEN)
    log = await world.forge.check_log(pull.number, "test")
    assert log.text.startswith("The log cannot be read: ")
    assert "permission" in log.text


# --- merging ----------------------------------------------------------------------------------------------------


async def test_a_required_check_that_has_not_passed_is_not_merged_over(world: GitHubForgeWorld) -> None:
    world.github.ci.hold("test")
    pull = await opened(world, FILE)
    outcome = await world.forge.merge(pull.number, pull.head, pull.base, "merge")
    assert outcome == NotYet("a required check has not passed: test")
    assert world.github.asked("PUT *") == []
    world.github.ci.release("test")


async def test_a_token_that_may_bypass_a_ruleset_does_not(world: GitHubForgeWorld) -> None:
    world.github.add_ruleset(Protection(signatures=True), bypass=(US,))
    pull = await ready(world)
    assert isinstance(await world.forge.merge(pull.number, pull.head, pull.base, "merge"), NotYet)
    world.time += 300
    refused = await world.forge.merge(pull.number, pull.head, pull.base, "merge")
    assert isinstance(refused, MergeRefused)
    assert "the ruleset “main” of main asks for that, and protection is never overridden" in refused.reason
    assert world.hub.tip("main") == pull.base


@pytest.mark.parametrize(("method", "commits", "parents"), [("merge", 4, 2), ("squash", 2, 1), ("rebase", 3, 1)])
async def test_each_method_leaves_the_history_that_it_is_named_for(
    method: str, commits: int, parents: int, world: GitHubForgeWorld
) -> None:
    number = (await opened(world, FILE)).number
    world.push_by_person(BRANCH, {"b.txt": "b\n"})
    pull = await world.settled(number)
    assert isinstance(await world.forge.merge(number, pull.head, pull.base, method), MergeDone)
    assert git(world.hub.git, "rev-list", "--count", "main") == str(commits)
    assert len(git(world.hub.git, "log", "-1", "--format=%P", "main").split()) == parents


async def test_what_is_pushed_at_the_last_moment_is_not_merged(world: GitHubForgeWorld) -> None:
    world.github.protect(None)  # nothing but the sha is in the way
    pull = await ready(world)
    pushed: list[str] = []
    await world.at_the_last_moment(lambda: pushed.append(world.push_by_person(BRANCH, {"b.txt": "b\n"})))
    assert await world.forge.merge(pull.number, pull.head, pull.base, "merge") == HeadChanged(pushed[0])
    assert world.hub.tip("main") == pull.base


async def test_what_was_merged_by_hand_with_our_account_keeps_its_branch(world: GitHubForgeWorld) -> None:
    pull = await ready(world)
    world.github.protect(None)
    world.github.merge_by_person(pull.number, US, method="merge")
    assert (await read(world, pull.number)).by == US
    assert world.there(BRANCH) == pull.head


async def test_what_is_pushed_at_the_last_moment_is_not_queued(world: GitHubForgeWorld) -> None:
    world.github.protect(None)
    queue = world.github.add_queue()
    pull = await ready(world)
    pushed: list[str] = []
    push = once("enqueue:before", lambda: pushed.append(world.push_by_person(BRANCH, {"b.txt": "b\n"})))
    assert await world.driver(push).merge(pull.number, pull.head, pull.base, "squash") == HeadChanged(pushed[0])
    assert not queue.entries


async def test_what_is_pushed_at_the_last_moment_does_not_merge_by_itself(world: GitHubForgeWorld) -> None:
    with world.acting():
        world.hub.allow_auto_merge = True
        world.github.protect(SIGNED)
    pull = await ready(world)
    pushed: list[str] = []
    push = once("auto-merge:before", lambda: pushed.append(world.push_by_person(BRANCH, {"b.txt": "b\n"})))
    assert await world.driver(push).merge(pull.number, pull.head, pull.base, "squash") == HeadChanged(pushed[0])
    assert world.pull(pull.number).auto_merge is None


async def test_a_merge_that_cannot_be_taken_back_is_said(world: GitHubForgeWorld) -> None:
    with world.acting():
        world.hub.allow_auto_merge = True
        world.github.protect(SIGNED)
    pull = await ready(world)
    assert await world.forge.merge(pull.number, pull.head, pull.base, "squash") == MergeQueuedUp()
    world.remark(pull.number, "Wait!")
    world.github.faults.refuse("graphql disablePullRequestAutoMerge", 403, FORBIDDEN)
    with pytest.raises(GithubRefused):
        await read(world, pull.number)
    assert not (await read(world, pull.number)).queued


async def test_what_a_template_is_made_of_stays_out_of_the_history(world: GitHubForgeWorld) -> None:
    body = "## What\r\n\r\nIt greets.\r\n\r\n### How\n\nLoudly.\n\n"
    body += "```sh\n# no heading\n# nor this\n```\n\n- [x] told\n\n## Screenshots\n\n### Also\n\n"
    body += "## Checklist\n\n- [ ] I read\n\n## Notes"
    head = await world.push("c1", {"a.txt": "a\n"})
    pull = await world.forge.open(NewPullRequest("c1", BRANCH, head, "Greet", f"Closes #9\n{body}<!-- hidden -->"))
    await world.settled(pull.number)
    done = await world.forge.merge(pull.number, head, pull.tested_base, "squash")
    assert isinstance(done, MergeDone)
    message = plumbing.git(world.hub.git, "log", "-1", "--format=%B", done.commit)
    assert message.strip() == (
        f"Greet (#{pull.number})\n\nCloses #9\n## What\n\nIt greets.\n\n### How\n\nLoudly.\n\n"
        "```sh\n# no heading\n# nor this\n```\n\n- [x] told"
    )
