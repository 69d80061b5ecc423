"""A landing that was cut short: what git had written for it is taken back and done again; the user's work is not."""

from __future__ import annotations

import asyncio
import fcntl
from pathlib import Path

import pytest

from claudetm.adapters.git.run_repository import RunRepository
from claudetm.ports.repository import Landed, NotLanded
from integration.repositories import commit, fingerprint, git, make_run, make_user, write

pytestmark = pytest.mark.anyio

BRANCH = "claudetm/r1/c1"
LANDED = {"a.txt": "new\n", "README.md": "changed\n", "src/deep/b.txt": "b\n"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def user(tmp_path: Path) -> Path:
    return make_user(tmp_path / "user")


async def cut_short(user: Path, tmp_path: Path) -> tuple[RunRepository, str]:
    """Return a run that had begun to land its work when its driver died, and the commit; nothing is written yet."""
    run = make_run(user, tmp_path / "state")
    clone = await run.open_worktree("c1", BRANCH, run.base)
    write(clone, LANDED)
    head = commit(clone, LANDED)
    assert await run.adopt("c1") == head
    (run.folder / "landing").write_text(head)
    git(user, "fetch", "-q", str(clone), head)
    (user / ".git" / "FETCH_HEAD").unlink()
    return run, head


def assert_landed(user: Path, head: str) -> None:
    assert git(user, "rev-parse", "HEAD") == head
    assert git(user, "status", "--porcelain") == ""
    assert {name: (user / name).read_text() for name in LANDED} == LANDED


@pytest.mark.parametrize("written", [{}, {"a.txt": "ne"}, {"README.md": "changed\n", "a.txt": ""}, LANDED])
async def test_files_that_git_had_begun_to_write_are_written_again(
    written: dict[str, str], user: Path, tmp_path: Path
) -> None:
    run, head = await cut_short(user, tmp_path)
    write(user, written)
    (user / ".git" / "index.lock").write_text("half an index")
    assert await run.land(head, "main") == Landed("checkout_updated")
    assert_landed(user, head)
    assert (run.folder / "landing").read_text() == ""


async def test_a_checkout_where_only_the_branch_had_not_moved_is_finished(user: Path, tmp_path: Path) -> None:
    run, head = await cut_short(user, tmp_path)
    git(user, "read-tree", "-m", "-u", run.base, head)
    assert await run.land(head, "main") == Landed("checkout_updated")
    assert_landed(user, head)


@pytest.mark.parametrize("mine", [{"README.md": "mine\n"}, {"a.txt": "mine\n"}, {"src/app.py": "mine\n"}])
async def test_what_the_user_changed_meanwhile_is_left_alone(
    mine: dict[str, str], user: Path, tmp_path: Path
) -> None:
    run, head = await cut_short(user, tmp_path)
    write(user, {"src/deep/b.txt": "b"})
    write(user, mine)
    before = fingerprint(user)
    assert isinstance(await run.land(head, "main"), NotLanded)
    assert {k: v for k, v in fingerprint(user).items() if "b.txt" not in k} == {
        k: v for k, v in before.items() if "b.txt" not in k
    }


async def test_a_file_like_ours_without_a_landing_begun_is_the_users(user: Path, tmp_path: Path) -> None:
    run, head = await cut_short(user, tmp_path)
    (run.folder / "landing").unlink()
    write(user, {"a.txt": "ne"})
    assert isinstance(await run.land(head, "main"), NotLanded)
    assert (user / "a.txt").read_text() == "ne"


async def test_a_lock_that_somebody_holds_is_left_to_them(user: Path, tmp_path: Path) -> None:
    run, head = await cut_short(user, tmp_path)
    with (user / ".git" / "index.lock").open("w"):
        assert isinstance(await run.land(head, "main"), NotLanded)
    assert (user / ".git" / "index.lock").exists()


async def test_a_landing_waits_for_the_git_that_outlived_its_driver(user: Path, tmp_path: Path) -> None:
    run, head = await cut_short(user, tmp_path)
    with (run.folder / "landing").open("r+") as orphan:
        fcntl.flock(orphan, fcntl.LOCK_EX)
        landing = asyncio.create_task(run.land(head, "main"))
        done, _ = await asyncio.wait({landing}, timeout=0.3)
        assert not done
        git(user, "merge", "-q", "--ff-only", head)
    assert await landing == Landed("already")
    assert_landed(user, head)
