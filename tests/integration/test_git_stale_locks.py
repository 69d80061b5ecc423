"""Lock files that a killed git left: the next driver removes those on what is ours, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from claudetm.ports.repository import Pushed
from integration.repositories import commit, git, make_run, make_user

pytestmark = pytest.mark.anyio

BRANCH = "claudetm/r1/c1"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_killed_gits_locks_on_our_refs_stop_no_later_run(tmp_path: Path) -> None:
    user = make_user(tmp_path / "user")
    run = make_run(user, tmp_path / "state")
    clone = await run.open_worktree("c1", BRANCH, run.base)
    head = commit(clone, {"a.txt": "a\n"})
    assert await run.adopt("c1") == head
    assert await run.push(BRANCH, run.base) == Pushed()
    ours = [user / ".git" / "refs" / "heads" / f"{BRANCH}.lock", run.room.path / "packed-refs.lock"]
    ours += [p.with_name("index.lock") for p in (run.folder / "views" / "c1").glob("index")]
    ours += [run.room.path / "refs" / "claudetm" / "work" / "c1.lock"]
    theirs = user / ".git" / "refs" / "heads" / "main.lock"
    for lock in (*ours, theirs):
        lock.touch()
    later = make_run(user, tmp_path / "state")
    assert await later.adopt("c1") == head
    assert await later.push(BRANCH, head) == Pushed()
    assert git(user, "rev-parse", BRANCH) == head
    assert not any(lock.exists() for lock in ours)
    assert theirs.exists()


async def test_a_lock_that_is_held_stays(tmp_path: Path) -> None:
    user = make_user(tmp_path / "user")
    run = make_run(user, tmp_path / "state")
    await run.open_worktree("c1", BRANCH, run.base)
    lock = run.room.path / "packed-refs.lock"
    with lock.open("w"):
        later = make_run(user, tmp_path / "state")
        assert await later.contains(run.base, run.base)
        assert lock.exists()
