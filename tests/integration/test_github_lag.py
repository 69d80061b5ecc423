"""The forge where GitHub is behind itself: what was written a moment ago and is not shown, refused or decided yet."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from claudetm.adapters.git.remote import Remote
from claudetm.errors import ForgeBusy, ForgeError
from claudetm.ports.forge import MergeDone, NewPullRequest, Note, NotYet, Opposed
from claudetm.testing.forge_conformance import BRANCH, opened, read
from github_double import moves
from github_double.double import Double
from github_world import US, GitHubForgeWorld

pytestmark = pytest.mark.anyio
FILE = {"a.txt": "one\ntwo\nthree\n"}
HASTE = [{"resource": "PullRequest", "code": "custom", "message": "was submitted too quickly"}]
NO_COMMITS = [
    {"resource": "PullRequest", "field": "head_sha", "code": "missing_field"},
    {"resource": "PullRequest", "field": "base_sha", "code": "missing_field"},
    {"resource": "PullRequest", "code": "custom", "message": f"No commits between main and {BRANCH}"},
]


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


# --- opening ----------------------------------------------------------------------------------------------------


async def proposed(world: GitHubForgeWorld) -> NewPullRequest:
    return NewPullRequest("c1", BRANCH, await world.push("c1", FILE), "Do it", "Why.")


async def test_a_push_whose_commits_are_not_seen_yet_is_asked_for_again(world: GitHubForgeWorld) -> None:
    new = await proposed(world)
    world.github.faults.refuse("POST /repos/*/pulls", 422, "Validation Failed", times=3, errors=NO_COMMITS)
    with pytest.raises(ForgeBusy, match=f"GitHub does not see the push of {BRANCH} yet"):
        await world.forge.open(new)
    assert (await world.forge.open(new)).head == new.head
    assert len(world.hub.pulls) == 1


async def test_commits_that_github_never_sees_are_said_after_a_while(world: GitHubForgeWorld) -> None:
    new = await proposed(world)
    world.github.faults.refuse("POST /repos/*/pulls", 422, "Validation Failed", times=4, errors=NO_COMMITS)
    with pytest.raises(ForgeBusy):
        await world.forge.open(new)
    world.time += 60
    with pytest.raises(ForgeError, match=f"GitHub sees no commit in {BRANCH} that main lacks") as caught:
        await world.forge.open(new)
    assert not isinstance(caught.value, ForgeBusy)


@pytest.mark.parametrize("what", ["POST /repos/*/pulls", "POST /repos/*/comments"])
async def test_a_write_that_came_too_soon_after_others_is_not_sent_again_but_waited_with(
    what: str, world: GitHubForgeWorld
) -> None:
    new = await proposed(world)
    number = (await world.forge.open(new)).number if "comments" in what else 0
    world.github.faults.refuse(what, 422, "Validation Failed", times=9, errors=HASTE)
    before = len(world.github.asked(what))
    note = Note("m1", "This is wrong.", path="a.txt", line=1)
    with pytest.raises(ForgeBusy, match="GitHub asks for a pause"):
        await (world.forge.note(number, note) if number else world.forge.open(new))
    assert len(world.github.asked(what)) == before + 1


@pytest.mark.parametrize("lost", [False, True])
async def test_a_pull_request_that_looks_show_a_moment_later_is_looked_for(
    lost: bool, world: GitHubForgeWorld
) -> None:
    new = await proposed(world)
    if lost:
        world.github.faults.lose_answer("POST /repos/*/pulls")
    world.github.faults.stale("graphql *", reads=2)
    assert (await world.forge.open(new)).head == new.head


async def test_a_pull_request_that_looks_do_not_show_yet_is_no_missing_one(world: GitHubForgeWorld) -> None:
    new = await proposed(world)
    world.github.faults.stale("graphql *", reads=99)
    asks: tuple[Callable[[], Coroutine[Any, Any, object]], ...] = (
        lambda: world.forge.open(new),
        lambda: world.forge.find(BRANCH),
        lambda: world.forge.read([1]),
        lambda: world.forge.note(1, Note("m1", "This is wrong.")),
    )
    for ask in asks:
        with pytest.raises(ForgeBusy, match="GitHub does not show pull request #1 yet"):
            await ask()
    world.github.faults.clear()
    assert (await world.forge.open(new)).number == 1
    assert len(world.hub.pulls) == 1


async def test_a_number_that_nobody_told_is_of_no_pull_request(world: GitHubForgeWorld) -> None:
    with pytest.raises(ForgeError, match="There is no pull request #9 in acme/widgets") as caught:
        await world.forge.read([9])
    assert not isinstance(caught.value, ForgeBusy)


# --- merging ----------------------------------------------------------------------------------------------------


async def test_an_administrators_merge_waits_until_github_has_seen_the_last_check(world: GitHubForgeWorld) -> None:
    with world.acting():
        world.hub.permissions[US] = "admin"
        world.hub.slow_state = 3
    assert not world.hub.protections["main"].enforce_admins
    world.github.ci.hold("test")
    pull = await opened(world, FILE)
    world.github.ci.release("test")
    await asyncio.to_thread(world.github.ci.settle)
    outcomes = [await world.forge.merge(pull.number, pull.head, pull.base, "merge") for _ in range(5)]
    said = f"GitHub still tells that #{pull.number} is blocked, though nothing that is seen blocks it"
    assert outcomes[0] == NotYet(said)
    assert {type(o) for o in outcomes} == {NotYet, MergeDone}


@pytest.mark.parametrize("merged", [False, True])
async def test_where_no_check_is_required_all_count_at_the_last_look(merged: bool, world: GitHubForgeWorld) -> None:
    world.github.protect(None)
    pull = await world.settled((await opened(world, FILE if merged else {"red": "x\n"})).number)
    outcome = await world.forge.merge(pull.number, pull.head, pull.base, "merge")
    assert isinstance(outcome, MergeDone) if merged else outcome == NotYet("a check has not passed: test")


async def test_a_forks_branch_is_deleted_also_where_upstream_deletes_its_own(tmp_path: Path, github: Double) -> None:
    world = GitHubForgeWorld(tmp_path, github, fork=True)
    with world.acting():
        world.hub.permissions[US] = "write"
        world.hub.delete_branch_on_merge = True
    pull = await world.settled((await opened(world, FILE)).number)
    assert isinstance(await world.forge.merge(pull.number, pull.head, pull.base, "merge"), MergeDone)
    assert world.there(BRANCH) == ""


async def test_what_moved_to_another_owner_is_found_opened_and_tidied(world: GitHubForgeWorld) -> None:
    new = await proposed(world)
    pull = await world.forge.open(new)
    world.github.rename("zoe/gadgets")
    found = await world.driver().find(BRANCH)
    assert found is not None
    assert found.number == pull.number
    assert (await world.forge.open(new)).number == pull.number
    await world.settled(pull.number)
    assert isinstance(await world.forge.merge(pull.number, pull.head, pull.base, "merge"), MergeDone)
    assert world.there(BRANCH) == ""


# --- replies ----------------------------------------------------------------------------------------------------


def reply_to(thread: str, *, resolve: bool = False) -> Note:
    return Note("m1", "Because.", thread=thread, resolve=resolve, seen=1)


@pytest.mark.parametrize("large", [True, False])
async def test_a_thread_stays_answered_where_looks_do_not_show_the_reply_yet(
    large: bool, world: GitHubForgeWorld
) -> None:
    number = (await opened(world, FILE)).number
    thread = world.remark(number, "Why?") if large else world.github.remark(number, "Why?", path="a.txt", line=2)
    world.github.faults.stale("graphql *", reads=99)
    await world.forge.note(number, reply_to(thread))
    (seen,) = (await read(world, number)).threads
    assert (seen.unanswered, [c.body for c in seen.comments]) == (False, ["Why?", "Because."])
    world.time += 91
    assert (await read(world, number)).unanswered
    world.github.faults.clear()
    (seen,) = (await read(world, number)).threads
    assert (seen.unanswered, len(seen.comments)) == (False, 2)


async def test_a_review_that_the_user_has_begun_is_waited_for_before_anything_is_answered(
    world: GitHubForgeWorld,
) -> None:
    pull = await world.settled((await opened(world, FILE)).number)
    thread = world.github.remark(pull.number, "Why?", path="a.txt", line=2)
    with world.acting():
        begun = moves.review(world.github.state, world.hub, world.pull(pull.number), US, "PENDING")
    seen = await read(world, pull.number)
    assert not seen.unanswered
    assert seen.withheld == (
        f"a review of yours is not submitted, and GitHub takes no reply meanwhile: end it at {pull.url}"
    )
    assert await world.forge.merge(pull.number, pull.head, pull.base, "merge") == Opposed()
    for note in (reply_to(thread), Note("m2", "This is wrong.", path="a.txt", line=1)):
        with pytest.raises(ForgeError, match=f"A review of yours at {pull.url} is not submitted"):
            await world.forge.note(pull.number, note)
    assert not world.comments(pull.number)
    with world.acting():
        world.pull(pull.number).reviews.remove(begun)
    seen = await read(world, pull.number)
    assert ([t.id for t in seen.unanswered], seen.withheld) == ([thread], "")
    assert await world.forge.note(pull.number, reply_to(thread)) == thread


async def test_a_thread_whose_first_remark_was_deleted_is_answered_all_the_same(world: GitHubForgeWorld) -> None:
    number = (await opened(world, FILE)).number
    thread = world.github.remark(number, "Never mind.", path="a.txt", line=2)
    world.github.answer(thread, "Why?")
    with world.acting():
        del world.github.thread(thread).comments[0]
    assert await world.forge.note(number, reply_to(thread, resolve=True)) == thread
    (seen,) = (await read(world, number)).threads
    assert (seen.resolved, [c.body for c in seen.comments]) == (True, ["Why?", "Because."])


@pytest.mark.parametrize("resolve", [True, False])
async def test_a_thread_that_a_person_spoke_in_again_is_resolved_there_where_it_is_here(
    resolve: bool, world: GitHubForgeWorld
) -> None:
    number = (await opened(world, FILE)).number
    thread = world.github.remark(number, "Why?", path="a.txt", line=2)
    await world.forge.note(number, reply_to(thread, resolve=True))
    world.github.answer(thread, "And this?")
    assert world.github.thread(thread).resolved
    await world.forge.note(number, Note("m2", "So be it.", thread=thread, resolve=resolve, seen=3))
    (seen,) = (await read(world, number)).threads
    assert (seen.resolved, world.github.thread(thread).resolved) == (resolve, resolve)


# --- stopping ---------------------------------------------------------------------------------------------------


def test_a_git_that_waits_for_a_silent_host_ends_with_its_driver() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor(1) as pool:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/acme/widgets.git"
        remote = Remote(url, url, lambda: "a-token", {})
        trial = pool.submit(remote.try_push, "Ada <ada@example.org>")
        with silent.accept()[0]:
            remote.close()
            with pytest.raises(ForgeBusy, match="git was killed while it asked"):
                trial.result()
