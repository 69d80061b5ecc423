"""Where a session begins in a clone of GitHub that nobody fetches in: at what is there, not at what was cloned."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from claudetm.adapters.git.user_repository import UserRepository, inspect
from claudetm.bootstrap.configuration import configuration
from claudetm.bootstrap.newest import newest
from integration.git_server import TOKEN, GitServer, serving
from integration.remote_world import RemoteWorld
from integration.repositories import commit, git


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    with serving(tmp_path_factory.mktemp("hosted")) as host:
        yield host


@pytest.fixture
def world(tmp_path: Path, server: GitServer, monkeypatch: pytest.MonkeyPatch) -> RemoteWorld:
    monkeypatch.setenv("GH_TOKEN", TOKEN)
    monkeypatch.setenv("GH_ENTERPRISE_TOKEN", TOKEN)
    return RemoteWorld(tmp_path, server, tmp_path.name)


def begun(
    world: RemoteWorld, *, rehearsed: bool = False, pushes: bool = False, **flags: str
) -> tuple[UserRepository, list[str]]:
    """Return the repository as a session begins in it, and what is said about that."""
    told = list[str]()
    resolved = configuration(world.user, {"forge": "github"} | flags)
    return newest(resolved, inspect(world.user), told.append, rehearsed=rehearsed, pushes=pushes), told


def test_it_begins_at_the_remotes_tip_and_nothing_of_the_users_moves(world: RemoteWorld) -> None:
    theirs = world.push_by_person("main", {"theirs.txt": "theirs\n"})
    (world.user / "README.md").write_text("edited\n")
    before = git(world.user, "for-each-ref", "refs/heads", "refs/remotes", "refs/tags")
    found, told = begun(world)
    assert (found.base, told) == (theirs, [])
    assert found.notes[-1] == f"uncommitted changes are not part of the run: it begins from {theirs[:10]}"
    assert git(world.user, "show", f"{theirs}:theirs.txt") == "theirs"
    assert git(world.user, "for-each-ref", "refs/heads", "refs/remotes", "refs/tags") == before
    assert not (world.user / ".git" / "FETCH_HEAD").exists()
    assert begun(world) == (found, [])


def test_what_is_not_pushed_yet_is_newer_unless_the_work_is_to_be_pushed(world: RemoteWorld) -> None:
    mine = commit(world.user, {"mine.txt": "mine\n"})
    assert (begun(world)[0].base, begun(world)[1]) == (mine, [])
    found, told = begun(world, pushes=True)
    assert found.base == world.first
    assert told == ["1 commit of main is not on GitHub, so it is no part of the run: push first if that is not meant"]


def test_where_both_moved_it_begins_at_the_remote_and_says_what_is_left_out(world: RemoteWorld) -> None:
    commit(world.user, {"mine.txt": "mine\n"})
    theirs = world.push_by_person("main", {"theirs.txt": "theirs\n"})
    found, told = begun(world)
    assert found.base == theirs
    assert told[0].startswith("1 commit of main is not on GitHub")


def test_where_github_is_out_of_reach_it_begins_at_what_is_here_and_says_so(
    world: RemoteWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GH_ENTERPRISE_TOKEN", "ghp_unknown")
    monkeypatch.setenv("GH_TOKEN", "ghp_unknown")
    found, told = begun(world)
    assert found.base == world.first
    [sentence] = told
    assert sentence.startswith(f"base: main as it stands here, at {world.first[:10]}, as GitHub could not be asked: ")
    git(world.user, "remote", "set-url", "origin", "http://127.0.0.1:9/acme/gone.git")
    found, told = begun(world)
    assert (found.base, len(told)) == (world.first, 1)


def test_a_branch_that_is_here_alone_is_taken_as_it_is(world: RemoteWorld) -> None:
    git(world.hosted, "branch", "-m", "main", "trunk")
    found, told = begun(world)
    assert found.base == world.first
    assert told == [f"base: main as it stands here, at {world.first[:10]}, as GitHub has no branch of that name"]


@pytest.mark.parametrize(("rehearsed", "forge"), [(False, "local"), (True, "auto")])
def test_where_a_goal_would_not_go_to_github_nothing_is_asked(
    world: RemoteWorld, rehearsed: bool, forge: str
) -> None:
    world.push_by_person("main", {"theirs.txt": "theirs\n"})
    world.server.requests.clear()
    found, told = begun(world, rehearsed=rehearsed, forge=forge)
    assert (found.base, told, world.server.requests) == (world.first, [], [])


def test_a_shallow_clone_goes_along(world: RemoteWorld, tmp_path: Path) -> None:
    for n in range(3):
        world.push_by_person("main", {"n.txt": f"{n}\n"})
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{world.hosted}", "shallow")
    git(tmp_path / "shallow", "remote", "set-url", "origin", world.url)
    world.user = tmp_path / "shallow"
    theirs = world.push_by_person("main", {"n.txt": "3\n"})
    assert begun(world)[0].base == theirs
