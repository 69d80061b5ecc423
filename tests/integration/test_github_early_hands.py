"""On GitHub a branch can be seen before its work is done: what people do with it then loses none of the work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from claudetm.engine.loop import Ending
from claudetm.ports.agent import SessionReport, SessionRequest
from github_double.double import Double
from github_run import GithubRun, Hours, honest, proposal, task
from world import subject_of

BRANCH = "claudetm/r1/c1"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GithubRun]:
    clock = Hours()
    with Double(tmp_path / "github", clock.now) as github:
        made = GithubRun(tmp_path, github, clock)
        made.plan = proposal({"id": "c1", "title": "Greet", "tasks": [task("Say hello"), task("Say bye")]})
        yield made


def during_the_last_task(world: GithubRun, act: Callable[[], object]) -> None:
    async def play(world: GithubRun, request: SessionRequest) -> SessionReport:
        if subject_of(request.prompt) == "c1.t2":
            await asyncio.to_thread(act)
        return await honest(world, request)

    world.play = play


def files(world: GithubRun) -> set[str]:
    return set(world.hosted_git("ls-tree", "-r", "--name-only", "main").splitlines())


def test_a_pull_request_that_a_person_opened_early_gets_the_last_task(world: GithubRun) -> None:
    during_the_last_task(world, lambda: world.github.open_pull_by_person(BRANCH))
    assert asyncio.run(world.drive()) is Ending.VERIFIED
    assert {"c1.t1.txt", "c1.t2.txt"} <= files(world)
    assert (world.only.login, world.only.merged_by) == ("ada", "octo")


@pytest.mark.parametrize("method", ["merge", "squash"])
def test_the_last_task_follows_what_a_person_merged_early(method: str, world: GithubRun) -> None:
    def merges() -> None:
        world.github.open_pull_by_person(BRANCH)
        world.github.ci.settle()
        world.github.merge_by_person(1, method=method)  # type: ignore[arg-type]

    during_the_last_task(world, merges)
    assert asyncio.run(world.drive()) is Ending.VERIFIED
    assert {"c1.t1.txt", "c1.t2.txt"} <= files(world)
    assert [(p.login, p.merged_by) for p in world.hub.pulls.values()] == [("ada", "ada"), ("octo", "octo")]


def test_what_a_person_pushed_on_top_and_merged_early_is_followed_too(world: GithubRun) -> None:
    def merges() -> None:
        world.github.open_pull_by_person(BRANCH)
        world.push_by_person(BRANCH, {"theirs.txt": "theirs\n"})
        world.github.ci.settle()
        world.github.merge_by_person(1)

    during_the_last_task(world, merges)
    assert asyncio.run(world.drive()) is Ending.VERIFIED
    assert {"c1.t1.txt", "c1.t2.txt", "theirs.txt"} <= files(world)


def test_it_is_followed_also_where_the_branch_went_with_the_merge(world: GithubRun) -> None:
    world.hub.delete_branch_on_merge = True

    def merges() -> None:
        world.github.open_pull_by_person(BRANCH)
        world.github.ci.settle()
        world.github.merge_by_person(1)

    during_the_last_task(world, merges)
    assert asyncio.run(world.drive()) is Ending.VERIFIED, world.run.halt
    assert {"c1.t1.txt", "c1.t2.txt"} <= files(world)


def test_one_that_was_closed_early_has_all_of_the_work_when_it_is_opened_again(world: GithubRun) -> None:
    def closes() -> None:
        world.github.open_pull_by_person(BRANCH)
        world.github.close_by_person(1)

    during_the_last_task(world, closes)
    assert asyncio.run(world.drive()) is Ending.BLOCKED  # a veto
    world.github.reopen_by_person(1)
    assert asyncio.run(world.drive()) is Ending.VERIFIED, world.run.halt
    assert {"c1.t1.txt", "c1.t2.txt"} <= files(world)
    assert len(world.hub.pulls) == 1
