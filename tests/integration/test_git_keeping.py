"""A session's work in the user's repository, on real git: kept once, whoever dies in between; nothing else moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from claudetm.adapters.git.run_repository import RunRepository, no_fault
from claudetm.errors import RepositoryError
from claudetm.ports.repository import Pushed, PushRefused
from integration.git_server import GitServer, serving
from integration.remote_world import RemoteWorld
from integration.repositories import commit, git, make_run, make_user, once

pytestmark = pytest.mark.anyio

BRANCH = "claudetm/task/t1"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    with serving(tmp_path_factory.mktemp("hosted")) as host:
        yield host


class Killed(BaseException):
    """The driver dies here."""


def die() -> None:
    raise Killed


class Bench:
    """A user's repository, and a run beside it whose worktree has one commit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.user = make_user(folder / "user")
        self.before = self.looks()

    def driver(self, faults: Callable[[str], None] = no_fault) -> RunRepository:
        """Return the run's repository as the next driver opens it."""
        return make_run(self.user, self.folder / "state", faults=faults)

    async def work(self) -> str:
        """Return a commit of the session's, in the clean room."""
        repository = self.driver()
        await repository.open_worktree("c1", BRANCH, git(self.user, "rev-parse", "main"))
        commit(self.folder / "state" / "run" / "changes" / "c1", {"a.txt": "a\n"})
        return await repository.adopt("c1")

    def looks(self) -> tuple[str, ...]:
        """Return what a user sees of their repository: branches, checkout, stash, index."""
        shown = ("status --porcelain", "branch --show-current", "rev-parse main", "stash list", "ls-files -s")
        return tuple(git(self.user, *command.split()) for command in shown)

    def refs(self) -> dict[str, str]:
        """Return our refs."""
        form = "--format=%(refname) %(objectname)"
        rows = git(self.user, "for-each-ref", form, "refs/claudetm", "refs/heads/claudetm")
        return dict(row.split() for row in rows.splitlines())


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.parametrize("point", ["keep:before:c1", "keep:after:c1"])
async def test_a_snapshot_that_a_kill_cut_short_is_kept_once(bench: Bench, point: str) -> None:
    head = await bench.work()
    with pytest.raises(Killed):
        await bench.driver(once(point, die)).keep("c1", head)
    kept = await bench.driver().keep("c1", head)
    assert bench.refs() == {"refs/claudetm/r1/snapshots/c1-1": head} == {kept.ref: kept.commit}
    assert bench.looks() == bench.before
    assert git(bench.user, "show", f"{kept.ref}:a.txt") == "a"


async def test_kept_work_comes_after_the_snapshots_that_there_are(bench: Bench) -> None:
    head = await bench.work()
    (bench.folder / "state" / "run" / "changes" / "c1" / "b.txt").write_text("b\n")
    assert await bench.driver().snapshot("c1", "left behind") is not None
    kept = await bench.driver().keep("c1", head)
    assert kept.ref == "refs/claudetm/r1/snapshots/c1-2"
    assert set(bench.refs()) == {"refs/claudetm/r1/snapshots/c1-1", kept.ref}


@pytest.mark.parametrize("point", [f"push:before:{BRANCH}", f"push:after:{BRANCH}"])
async def test_a_branch_that_a_kill_cut_short_is_made_once(bench: Bench, point: str) -> None:
    head = await bench.work()
    with pytest.raises(Killed):
        await bench.driver(once(point, die)).keep_branch(BRANCH, head)
    assert await bench.driver().keep_branch(BRANCH, head) == Pushed()
    assert bench.refs() == {f"refs/heads/{BRANCH}": head}
    assert bench.looks() == bench.before


async def test_a_branch_of_that_name_with_other_commits_stays_as_it_is(bench: Bench) -> None:
    head = await bench.work()
    git(bench.user, "switch", "-q", "-c", BRANCH)
    theirs = commit(bench.user, {"theirs.txt": "theirs\n"})
    git(bench.user, "switch", "-q", "main")
    refused = await bench.driver().keep_branch(BRANCH, head)
    assert isinstance(refused, PushRefused)
    assert refused.at == theirs
    assert BRANCH in refused.reason
    assert bench.refs() == {f"refs/heads/{BRANCH}": theirs}


async def test_a_branch_that_is_checked_out_is_not_moved_under_anybody(bench: Bench) -> None:
    head = await bench.work()
    git(bench.user, "switch", "-q", "-c", BRANCH)
    refused = await bench.driver().keep_branch(BRANCH, head)
    assert isinstance(refused, PushRefused)
    assert "is checked out in" in refused.reason
    assert refused.remedy == f"switch to another branch in {bench.user}"


async def test_no_branch_but_ours_can_be_kept_on(bench: Bench) -> None:
    head = await bench.work()
    with pytest.raises(RepositoryError, match="not ours to write"):
        await bench.driver().keep_branch("main", head)
    assert bench.looks() == bench.before


@pytest.mark.parametrize("point", ["", f"push:before:{BRANCH}", f"push:after:{BRANCH}"])
async def test_a_kept_branch_is_pushed_once_and_never_the_target(
    tmp_path: Path, server: GitServer, point: str
) -> None:
    world = RemoteWorld(tmp_path, server, tmp_path.name)
    await world.repository.open_worktree("c1", BRANCH, world.first)
    world.work("c1", {"a.txt": "a\n"})
    head = await world.repository.adopt("c1")
    assert await world.repository.keep_branch(BRANCH, head) == Pushed()
    if point:
        with pytest.raises(Killed):
            await world.driver(faults=once(point, die)).push(BRANCH, head)
    again = world.driver()
    assert await again.keep_branch(BRANCH, head) == Pushed()
    assert await again.push(BRANCH, head) == Pushed()
    assert world.there(BRANCH) == head == git(world.user, "rev-parse", BRANCH)
    assert world.there("main") == world.first == git(world.user, "rev-parse", "main")


async def test_a_branch_that_somebody_pushed_at_the_remote_is_not_overrun(tmp_path: Path, server: GitServer) -> None:
    world = RemoteWorld(tmp_path, server, tmp_path.name)
    git(world.hosted, "branch", BRANCH, "main")
    theirs = world.push_by_person(BRANCH, {"theirs.txt": "theirs\n"})
    await world.repository.open_worktree("c1", BRANCH, world.first)
    world.work("c1", {"a.txt": "a\n"})
    head = await world.repository.adopt("c1")
    assert await world.repository.keep_branch(BRANCH, head) == Pushed()
    refused = await world.repository.push(BRANCH, head)
    assert isinstance(refused, PushRefused)
    assert refused.at == theirs == world.there(BRANCH)
