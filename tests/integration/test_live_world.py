"""The world of `make test-live`, on the tests' GitHub, without waiting: what it does, and what it leaves."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from claudetm.adapters.forge.github.client import GithubClient, GithubRefused
from claudetm.errors import UsageError
from claudetm.testing.forge_conformance import opened, read
from claudetm.workflow.pull_request import PullRequestState
from github_double.double import Double
from github_double.faults import FOREVER
from integration.repositories import git
from live import place as live
from live.place import Place
from live.world import LiveForgeSuite, LiveForgeWorld, live_world

pytestmark = pytest.mark.anyio
REPOSITORY = "acme/widgets"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def github(tmp_path: Path) -> Iterator[Double]:
    with Double(tmp_path / "github") as made:
        made.create_repository(REPOSITORY, people={"octo": "admin", "bob": "write", "eve": "read"})
        yield made


def there(github: Double, token: str) -> Place:
    client = GithubClient(github.api, token, spacing=0.0, sleep=lambda _: None)
    return Place(live.on_github(github.api, REPOSITORY), client, lambda: token, (0.0,) * 5, (0.0,) * 3)


@pytest.fixture
def place(github: Double) -> Place:
    return there(github, github.token("octo"))


@pytest.fixture
def world(tmp_path: Path, github: Double, place: Place) -> Iterator[LiveForgeWorld]:
    before = standing(github)
    with live_world(place, tmp_path) as made:
        yield made
    assert standing(github) == before


def standing(github: Double) -> object:
    """Return all that somebody cares about: branches, what is open, what is protected."""
    hub = github.repository()
    refs = git(hub.git, "for-each-ref", "refs/heads")
    return refs, [p.number for p in github.pulls() if p.state == "open"], dict(hub.protections)


class TestLiveWorld(LiveForgeSuite):
    pass


# --- what stays ---------------------------------------------------------------------------------------------------


async def test_a_test_that_fails_leaves_nothing(tmp_path: Path, github: Double, place: Place) -> None:
    before = standing(github)

    async def fail() -> None:
        with live_world(place, tmp_path) as world:
            assert not world.protect()
            await opened(world, {"a.txt": "a\n"})
            await opened(world, {"a.txt": "a\n"}, "c2")
            assert standing(github) != before
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await fail()
    assert standing(github) == before
    assert [p.state for p in github.pulls()] == ["closed", "closed"]


async def test_answers_that_are_lost_leave_nothing(tmp_path: Path, github: Double, place: Place) -> None:
    before = standing(github)
    with live_world(place, tmp_path) as world:
        await opened(world, {"a.txt": "a\n"})
        github.faults.lose_answer("PATCH /repos/*/pulls/*")
        github.faults.lose_request("DELETE /repos/*/git/refs/*")
    assert standing(github) == before


def test_whoever_interrupts_while_it_is_put_in_order_waits_for_that() -> None:
    done = []

    def interrupted(times: int) -> None:
        with live.uninterrupted():
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)
            done.append(times)

    for times in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            interrupted(times)
    assert done == [1]
    interrupted(0)


async def test_what_cannot_be_closed_keeps_nothing_else_there(tmp_path: Path, github: Double, place: Place) -> None:
    before = standing(github)
    world = LiveForgeWorld(tmp_path, place)
    world.begin()
    await opened(world, {"a.txt": "a\n"})
    github.faults.refuse("PATCH /repos/*/pulls/*", 422, "This cannot be closed.")
    with pytest.raises(GithubRefused, match="cannot be closed"):
        live.clear(place, world.run_id)
    assert standing(github) == before


async def test_what_a_killed_run_left_is_swept_when_it_is_old(tmp_path: Path, github: Double, place: Place) -> None:
    theirs = ["claudetm/live-1/c1", "claudetm/0101-1200-abcd/c1", "live-1000000000-deadbeef/main", "claudetm/live-x"]
    for name in theirs:
        github.push_by_person(name, {"a.txt": name}, "bob")
    mine = github.open_pull_by_person(theirs[1], "bob")
    before = standing(github)
    world = LiveForgeWorld(tmp_path, place)
    world.begin()
    await opened(world, {"a.txt": "a\n"})
    assert not world.protect()
    during = standing(github)
    live.sweep(place, time.time() + live.ABANDONED / 2)
    assert standing(github) == during != before
    live.sweep(place, time.time() + live.ABANDONED + 60)
    assert standing(github) == before
    assert github.pull(mine).state == "open"


async def test_a_main_that_is_protected_takes_only_the_pushes_of_who_lifts_that(world: LiveForgeWorld) -> None:
    assert not world.protect()
    made = world._written(world.first, {"a.txt": "a\n"})
    with pytest.raises(AssertionError, match="GH006"):
        world._move(world.target, made, world.first)
    pushed = world.push_by_person(world.target, {"a.txt": "a\n"})
    assert await world.forge.base() == pushed


async def test_what_people_did_is_waited_for_until_github_shows_it(world: LiveForgeWorld, github: Double) -> None:
    number = (await opened(world, {"a.txt": "a\n"})).number
    github.faults.stale("graphql *", 3)
    github.faults.stale("GET /repos/*/pulls/*", 2)
    world.close_by_person(number)
    assert (await read(world, number)).state is PullRequestState.CLOSED
    github.faults.stale("graphql *", FOREVER)
    with pytest.raises(AssertionError, match="does not show within 0 seconds that #1 was opened again"):
        world.reopen_by_person(number)
    github.faults.clear()


# --- whom it works for ------------------------------------------------------------------------------------------


async def test_who_may_not_protect_a_branch_is_told_so(tmp_path: Path, github: Double) -> None:
    with live_world(there(github, github.token("bob")), tmp_path) as world:
        assert "Not Found" in world.protect()
        with pytest.raises(pytest.skip.Exception, match="cannot be protected"):
            await LiveForgeSuite().test_a_base_that_moved_is_behind(world)


def environment(github: Double, **more: str) -> dict[str, str]:
    return {"CLAUDETM_LIVE_REPOSITORY": REPOSITORY, "GITHUB_API_URL": github.api, "PATH": ""} | more


def test_the_repository_and_the_token_are_found_as_a_run_finds_them(github: Double) -> None:
    token = github.token("octo")
    found = live.place(environment(github, GITHUB_TOKEN=token))
    assert (found.hosted.repository, found.hosted.url) == (REPOSITORY, github.url())
    assert (found.token(), found.client.login) == (token, "octo")


@pytest.mark.parametrize(
    ("api", "url"),
    [
        ("https://api.github.com", "https://github.com/acme/widgets.git"),
        ("https://api.acme.ghe.com", "https://acme.ghe.com/acme/widgets.git"),
        ("https://ghe.example.org:8443/api/v3", "https://ghe.example.org:8443/acme/widgets.git"),
    ],
)
def test_git_is_at_the_host_that_the_api_is_for(api: str, url: str) -> None:
    found = live.on_github(api, REPOSITORY)
    assert (found.api, found.url, found.push, found.repository) == (api, url, url, REPOSITORY)


@pytest.mark.parametrize(
    ("login", "said"),
    [("", "no token for 127.0.0.1"), ("eve", "Nothing can be pushed"), ("octo", "no merge commits")],
)
def test_what_cannot_work_is_refused_in_a_sentence(github: Double, login: str, said: str) -> None:
    github.repository().allow_merge = False
    token = {"GH_ENTERPRISE_TOKEN": github.token(login)} if login else {}
    with pytest.raises(UsageError, match=said):
        live.place(environment(github, **token))


def test_an_apps_token_is_nobodys(github: Double) -> None:
    token = github.token("octo", "actions", permissions={"contents": "write", "metadata": "read"})
    with pytest.raises(UsageError, match="an app's"):
        live.place(environment(github, GITHUB_TOKEN=token))


def test_a_repository_that_is_not_there_is_named(github: Double) -> None:
    with pytest.raises(UsageError, match="acme/gadgets is not there"):
        live.place(
            environment(github, GITHUB_TOKEN=github.token("octo")) | {"CLAUDETM_LIVE_REPOSITORY": "acme/gadgets"}
        )


def test_without_a_repository_one_sentence_says_what_to_set() -> None:
    script = Path(live.__file__)
    done = subprocess.run(
        [sys.executable, str(script)],
        env={"PYTHONPATH": str(script.parents[1]), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Set CLAUDETM_LIVE_REPOSITORY=owner/name to ")
    assert done.stderr.count("\n") == 1
