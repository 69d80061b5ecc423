"""The run's repository beyond the suite that every one passes: kills half way, odd trees, private files, refusals."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from claudetm.adapters.git.clean_room import remove_tree
from claudetm.adapters.git.run_repository import RunRepository
from claudetm.errors import RepositoryError
from claudetm.ports.repository import Conflicted, Pushed, PushRefused
from integration.repositories import AUTHOR, commit, git, make_run, make_user, write

pytestmark = pytest.mark.anyio

BRANCH = "claudetm/r1/c1"


class Killed(BaseException):
    """The driver died here."""


class DieAt:
    """A fault point that kills once."""

    def __init__(self, point: str) -> None:
        self.point = point

    def __call__(self, point: str) -> None:
        if point == self.point:
            self.point = ""
            raise Killed(point)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def user(tmp_path: Path) -> Path:
    return make_user(tmp_path / "user")


@pytest.fixture
def run(user: Path, tmp_path: Path) -> RunRepository:
    return make_run(user, tmp_path / "state")


async def test_a_commit_is_told_with_its_whole_message(run: RunRepository) -> None:
    path = await run.open_worktree("c1", BRANCH, run.base)
    commit(path, {"a.txt": "a\n"}, "Greet\n\nLouder.\n\nFixes #7")
    commit(path, {"b.txt": "b\n"}, "Part")
    told = await run.commits(run.base, await run.adopt("c1"))
    assert [(c.subject, c.body) for c in told] == [("Greet", "Louder.\n\nFixes #7"), ("Part", "")]


@pytest.mark.parametrize("point", ["worktree:laid_out:c1", "worktree:ready:c1"])
async def test_a_worktree_that_was_half_made_is_made_afresh(point: str, user: Path, tmp_path: Path) -> None:
    dying = make_run(user, tmp_path / "state", faults=DieAt(point))
    with pytest.raises(Killed):
        await dying.open_worktree("c1", BRANCH, dying.base)
    run = make_run(user, tmp_path / "state")
    assert await run.worktree("c1") is None
    path = await run.open_worktree("c1", BRANCH, run.base)
    assert (await run.state("c1")).clean
    assert git(path, "status", "--porcelain") == ""
    assert git(path, "branch", "--show-current") == BRANCH


@pytest.mark.parametrize("point", ["worktree:laid_out:c1", "worktree:ready:c1", "worktree:set_aside:c1"])
async def test_a_reset_that_was_cut_short_can_be_repeated(point: str, user: Path, tmp_path: Path) -> None:
    run = make_run(user, tmp_path / "state")
    path = await run.open_worktree("c1", BRANCH, run.base)
    head = commit(path, {"a.txt": "a\n"})
    await run.adopt("c1")
    dying = make_run(user, tmp_path / "state", faults=DieAt(point))
    with pytest.raises(Killed):
        await dying.reset_worktree("c1", BRANCH, head)
    again = make_run(user, tmp_path / "state")
    await again.reset_worktree("c1", BRANCH, head)
    state = await again.state("c1")
    assert (state.head, state.clean) == (head, True)
    assert sorted(p.name for p in path.parent.iterdir()) == ["c1"]


@pytest.mark.parametrize("point", [f"push:before:{BRANCH}", f"push:after:{BRANCH}"])
async def test_a_push_that_was_cut_short_is_found(point: str, user: Path, tmp_path: Path) -> None:
    dying = make_run(user, tmp_path / "state", faults=DieAt(point))
    path = await dying.open_worktree("c1", BRANCH, dying.base)
    head = commit(path, {"a.txt": "a\n"})
    await dying.adopt("c1")
    with pytest.raises(Killed):
        await dying.push(BRANCH, head)
    run = make_run(user, tmp_path / "state")
    assert await run.push(BRANCH, head) == Pushed()
    assert git(user, "rev-parse", BRANCH) == head == await run.last_push(BRANCH)


async def test_a_commit_made_just_before_the_kill_counts(user: Path, tmp_path: Path) -> None:
    first = make_run(user, tmp_path / "state")
    path = await first.open_worktree("c1", BRANCH, first.base)
    head = commit(path, {"a.txt": "a\n"})
    assert (await make_run(user, tmp_path / "state").state("c1")).head == head


async def test_a_detached_head_is_what_is_adopted(run: RunRepository) -> None:
    path = await run.open_worktree("c1", BRANCH, run.base)
    git(path, "checkout", "-q", "--detach")
    head = commit(path, {"a.txt": "a\n"})
    git(path, "pack-refs", "--all")
    assert await run.adopt("c1") == head
    git(path, "switch", "-q", BRANCH)
    assert await run.adopt("c1") == run.base


async def test_a_snapshot_keeps_odd_trees_and_repeats_itself(run: RunRepository) -> None:
    path = await run.open_worktree("c1", BRANCH, run.base)
    commit(path, {"folder/inner.txt": "i\n", "file": "f\n", "linked/x": "x\n", "gone.txt": "g\n"})
    await run.adopt("c1")
    shutil.rmtree(path / "folder")
    (path / "folder").write_text("now a file\n")
    (path / "file").unlink()
    write(path, {"file/inner": "now a folder\n", "sp ace\nline": "odd name\n", "bin": "b"})
    shutil.rmtree(path / "linked")
    (path / "linked").symlink_to("/etc")
    (path / "gone.txt").unlink()
    (path / "run.sh").write_text("#!/bin/sh\n")
    (path / "run.sh").chmod(0o755)
    (path / b"\xff\xfe".decode(errors="surrogateescape")).write_text("no utf-8\n")
    before = await run.state("c1")
    kept = await run.snapshot("c1", "odd")
    assert kept is not None
    files = set(await run.list_files(kept.commit))
    assert {"folder", "file/inner", "linked", "sp ace\nline", "bin", "run.sh", "\udcff\udcfe"} <= files
    assert not {"gone.txt", "file", "linked/x", "folder/inner.txt"} & files
    assert await run.read_file(kept.commit, "linked") == "/etc"
    assert await run.state("c1") == before
    assert await run.snapshot("c1", "odd") == kept
    write(path, {"bin": "c"})
    other = await run.snapshot("c1", "odd")
    assert other is not None
    assert (kept.ref, other.ref) == ("refs/claudetm/r1/snapshots/c1-1", "refs/claudetm/r1/snapshots/c1-2")


NAMES = st.text("ab. \n\té*?[]\\\"'", min_size=1, max_size=6).filter(lambda n: n not in {".", ".."} and n.strip("/"))
TREES = st.dictionaries(
    st.lists(NAMES, min_size=1, max_size=3).map("/".join), st.binary(max_size=40) | st.none(), max_size=6
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(committed=TREES, left=TREES)
async def test_a_snapshot_has_every_byte_of_whatever_was_left(
    run: RunRepository, committed: dict[str, bytes | None], left: dict[str, bytes | None]
) -> None:
    path = await run.reset_worktree("c1", BRANCH, run.base)
    scatter(path, committed)
    git(path, "add", "-A")
    git(path, "commit", "-q", "--allow-empty", "-m", "Some")
    scatter(path, left)
    before = contents(path)
    kept = await run.snapshot("c1", "property")
    commit_id = kept.commit if kept else await run.adopt("c1")
    assert contents(path) == before
    async with run.checkout(commit_id) as folder:
        assert contents(folder) == before


def scatter(folder: Path, tree: dict[str, bytes | None]) -> None:
    """Write files, remove those that are None; what is in the way goes."""
    for name, content in tree.items():
        target = folder / name
        for parent in (p for p in reversed(target.parents) if p != folder and p.is_relative_to(folder)):
            if parent.is_file():
                parent.unlink()
        if target.is_dir():
            shutil.rmtree(target)
        target.unlink(missing_ok=True)
        if content is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file's bytes, but for git's own."""
    files = (p for p in folder.rglob("*") if p.is_file() and p.relative_to(folder).parts[0] != ".git")
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


async def test_commits_that_were_never_pushed_are_snapshotted(run: RunRepository, user: Path) -> None:
    path = await run.open_worktree("c1", BRANCH, run.base)
    git(path, "checkout", "-q", "--detach")
    head = commit(path, {"a.txt": "a\n"})
    kept = await run.snapshot("c1", "before a reset")
    assert kept is not None
    assert kept.commit == head == git(user, "rev-parse", kept.ref)
    await run.push(BRANCH, head)
    assert await run.snapshot("c1", "published by now") is None


async def test_copied_files_are_there_and_never_in_a_commit_of_ours(user: Path, tmp_path: Path) -> None:
    write(user, {".env": "SECRET=1\n", "conf/[x]/local.ini": "l\n"})
    run = make_run(user, tmp_path / "state", copy=(".env", "conf/[x]", "missing", "README.md"))
    path = await run.open_worktree("c1", BRANCH, run.base)
    assert (path / ".env").read_text() == "SECRET=1\n"
    assert (path / "conf/[x]/local.ini").read_text() == "l\n"
    assert (await run.state("c1")).clean
    assert await run.snapshot("c1", "nothing") is None
    assert git(path, "status", "--porcelain") == ""
    async with run.checkout(run.base) as folder:
        assert (folder / ".env").exists()
    head = commit(path, {"README.md": "tracked files may change\n"})
    assert await run.adopt("c1") == head


def taken_back(path: Path) -> None:
    git(path, "add", "-f", ".env")
    git(path, "commit", "-q", "-m", "Oops")
    git(path, "rm", "-q", "--cached", ".env")
    git(path, "commit", "-q", "-m", "Nobody saw")


def taken_back_on_a_side_branch(path: Path) -> None:
    git(path, "switch", "-q", "-c", "side")
    taken_back(path)
    git(path, "switch", "-q", BRANCH)
    git(path, "commit", "-q", "--allow-empty", "-m", "Meanwhile")
    git(path, "merge", "-q", "--no-ff", "-m", "Merge", "side")


def slipped_into_a_merge(path: Path) -> None:
    git(path, "switch", "-q", "-c", "side")
    git(path, "commit", "-q", "--allow-empty", "-m", "Side")
    git(path, "switch", "-q", BRANCH)
    git(path, "merge", "-q", "--no-ff", "--no-commit", "side")
    git(path, "add", "-f", ".env")
    git(path, "commit", "-q", "-m", "Merge and more")
    git(path, "rm", "-q", "--cached", ".env")
    git(path, "commit", "-q", "-m", "Nobody saw")


@pytest.mark.parametrize("hide", [taken_back, taken_back_on_a_side_branch, slipped_into_a_merge])
async def test_a_copied_file_in_a_commit_is_refused_even_if_taken_back(
    hide: Callable[[Path], None], user: Path, tmp_path: Path
) -> None:
    write(user, {".env": "SECRET=1\n"})
    run = make_run(user, tmp_path / "state", copy=(".env",))
    path = await run.open_worktree("c1", BRANCH, run.base)
    hide(path)
    assert git(path, "ls-files", ".env") == ""
    with pytest.raises(RepositoryError, match=r"\.env was committed"):
        await run.adopt("c1")
    with pytest.raises(RepositoryError, match=r"\.env was committed"):
        await run.push(BRANCH, git(path, "rev-parse", "HEAD"))
    assert git(user, "for-each-ref", "refs/heads/claudetm") == ""


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "", ".git/config", "a\nb"])
def test_only_paths_inside_the_repository_are_copied(path: str, user: Path, tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match=r"worktree\.copy"):
        make_run(user, tmp_path / "state", copy=(path,))


@pytest.mark.parametrize("name", ["../c1", "", ".c1", "c/1", "-c1"])
async def test_a_change_cannot_name_its_way_out(name: str, run: RunRepository) -> None:
    with pytest.raises(RepositoryError, match="cannot be the name"):
        await run.open_worktree(name, BRANCH, run.base)


@pytest.mark.parametrize("text", ["HEAD", "--all", "-x", "abc123", "refs/heads/main"])
async def test_only_whole_commit_ids_reach_git(text: str, run: RunRepository) -> None:
    with pytest.raises(RepositoryError, match="no commit id"):
        await run.commits(text, run.base)
    with pytest.raises(RepositoryError, match="no commit id"):
        await run.push(BRANCH, text)


async def test_nothing_is_pushed_outside_our_names(run: RunRepository, user: Path) -> None:
    path = await run.open_worktree("c1", BRANCH, run.base)
    head = commit(path, {"a.txt": "a\n"})
    await run.adopt("c1")
    with pytest.raises(RepositoryError, match="not ours"):
        await run.push("main", head)
    assert git(user, "rev-parse", "main") == run.base


async def test_a_branch_that_somebody_has_checked_out_is_not_moved_under_them(run: RunRepository, user: Path) -> None:
    path = await run.open_worktree("c1", BRANCH, run.base)
    first = commit(path, {"a.txt": "a\n"})
    await run.adopt("c1")
    await run.push(BRANCH, first)
    git(user, "switch", "-q", BRANCH)
    second = commit(path, {"b.txt": "b\n"})
    await run.adopt("c1")
    refused = await run.push(BRANCH, second)
    assert isinstance(refused, PushRefused)
    assert str(user) in refused.reason
    assert git(user, "status", "--porcelain") == ""
    git(user, "switch", "-q", "main")
    assert await run.push(BRANCH, second) == Pushed()


async def test_merges_of_ours_carry_the_runs_author(run: RunRepository, user: Path) -> None:
    path = await run.open_worktree("c1", BRANCH, run.base)
    head = commit(path, {"a.txt": "a\n"})
    await run.adopt("c1")
    commit(user, {"o.txt": "o\n"})
    merged = await run.merge(head, await run.branch_tip("main"), "Merge main\n")
    assert not isinstance(merged, Conflicted)
    await run.push(BRANCH, merged.commit)
    assert git(user, "log", "-1", "--format=%an <%ae>|%cn <%ce>|%s", BRANCH) == f"{AUTHOR}|{AUTHOR}|Merge main"


async def test_a_checkout_is_a_repository_of_its_own_and_goes_away(run: RunRepository, user: Path) -> None:
    git(user, "tag", "-a", "v1", "-m", "one")
    async with run.checkout(run.base) as folder:
        assert git(folder, "describe") == "v1"
        assert git(folder, "status", "--porcelain") == ""
        write(folder, {"kept/inner": "x"})
        (folder / "kept").chmod(0o555)
    assert not folder.exists()
    with pytest.raises(Killed):
        async with run.checkout(run.base) as folder:
            raise Killed
    assert not folder.exists()


def test_read_only_folders_are_removed_and_links_are_not_followed(tmp_path: Path) -> None:
    write(tmp_path, {"outside/kept": "x", "tree/inner/file": "x"})
    (tmp_path / "tree" / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "tree" / "inner").chmod(0o500)
    (tmp_path / "outside").chmod(0o500)
    remove_tree(tmp_path / "tree")
    assert not (tmp_path / "tree").exists()
    assert (tmp_path / "outside").stat().st_mode & 0o777 == 0o500


def dead_process() -> int:
    """Return the id of a process that is no more."""
    child = subprocess.Popen(["true"])
    child.wait()
    return child.pid


async def test_checkouts_of_dead_drivers_are_swept(run: RunRepository, user: Path, tmp_path: Path) -> None:
    checkouts = run.folder / "checkouts"
    ours = f"{os.getpid()}-abc"  # as of a driver that had, in a container that is no more, the number we have now
    for name in ("0123456789ab", "abcdefabcdef.gone", ours, f"{dead_process()}-abc"):
        write(checkouts / name, {"left.txt": "x\n"})
    (checkouts / "0123456789ab.lock").touch()
    (checkouts / "ba9876543210.lock").touch()
    async with run.checkout(run.base) as mine:
        await make_run(user, tmp_path / "state").contains(run.base, run.base)
        assert {p.name for p in checkouts.iterdir()} == {mine.name, f"{mine.name}.lock"}
        assert (mine / "README.md").exists()
    assert list(checkouts.iterdir()) == []


async def test_the_removal_of_a_big_checkout_is_not_waited_for(user: Path, tmp_path: Path) -> None:
    removing, may_end = threading.Event(), threading.Event()

    def slow(point: str) -> None:
        if point.startswith("checkout:gone:"):
            removing.set()
            assert may_end.wait(60)

    run = make_run(user, tmp_path / "state", faults=slow)
    checkouts = run.folder / "checkouts"
    async with run.checkout(run.base) as mine:
        pass
    assert removing.is_set()
    assert {p.name for p in checkouts.iterdir()} == {f"{mine.name}.gone", f"{mine.name}.lock"}
    # another driver leaves it to this one
    await make_run(user, tmp_path / "state").contains(run.base, run.base)
    assert (checkouts / f"{mine.name}.gone" / "README.md").exists()
    remover = next(t for t in threading.enumerate() if t.name == "remove a checkout")
    may_end.set()
    await asyncio.to_thread(remover.join)
    assert list(checkouts.iterdir()) == []


@pytest.mark.bench
async def test_large_trees_are_looked_at_quickly(user: Path, tmp_path: Path) -> None:
    commit(user, {f"d{n // 100}/f{n}.txt": f"{n}\n" for n in range(3000)})
    run = make_run(user, tmp_path / "state")
    path = await run.open_worktree("c1", BRANCH, git(user, "rev-parse", "main"))
    await run.state("c1")
    write(path, {"d7/f700.txt": "changed\n"})
    times = []
    for _ in range(5):
        began = time.perf_counter()
        assert (await run.state("c1")).modified == ("d7/f700.txt",)
        times.append(time.perf_counter() - began)
    assert min(times) < 0.1


async def test_a_run_is_found_again_through_another_path_to_it(user: Path, tmp_path: Path) -> None:
    run = make_run(user, tmp_path / "state")
    await run.open_worktree("c1", BRANCH, run.base)
    (tmp_path / "link").symlink_to(tmp_path / "state")
    assert (await make_run(user, tmp_path / "link").state("c1")).refused == ""
