"""The user's repository: what is read of it, what makes it unusable, and that a run leaves its bytes as they were."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from claudetm.adapters.git.git import check_version
from claudetm.adapters.git.run_repository import RunRepository
from claudetm.adapters.git.user_repository import NO_IDENTITY, inspect, locate, tracks
from claudetm.errors import RepositoryError
from claudetm.ports.repository import Landed, Merged, NotLanded, Pushed
from integration.repositories import AUTHOR, RealWorld, commit, fingerprint, git, make_run, make_user, write

pytestmark = pytest.mark.anyio

BRANCH = "claudetm/r1/c1"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def user(tmp_path: Path) -> Path:
    return make_user(tmp_path / "user")


@pytest.fixture
def lived_in(user: Path) -> Path:
    """Everything that a run must not touch: a stash, an index, changes, hooks, ignored and untracked files."""
    commit(user, {".gitignore": ".env\n", "staged.txt": "1\n"}, "More")
    write(user, {"README.md": "stashed\n"})
    git(user, "stash", "-q")
    write(user, {"README.md": "dirty\n", "staged.txt": "2\n", ".env": "SECRET=1\n", "untracked.txt": "mine\n"})
    git(user, "add", "staged.txt")
    git(user, "config", "alias.mine", "status")
    git(user, "fetch", "-q", str(user), "main")
    hook = user / ".git" / "hooks" / "reference-transaction"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho ran >> hook-ran\n")
    hook.chmod(0o755)
    return user


def test_a_repository_is_read(user: Path, tmp_path: Path) -> None:
    git(user, "remote", "add", "origin", "https://example.org/a.git")
    found = inspect(user / "src")
    assert (found.root, found.common_dir) == (user, user / ".git")
    assert (found.target, found.base) == ("main", git(user, "rev-parse", "main"))
    assert (found.author, found.remotes) == (AUTHOR, {"origin": "https://example.org/a.git"})
    assert (found.shallow, found.notes) == (False, ())
    git(user, "worktree", "add", "-q", str(tmp_path / "linked"), "-b", "side")
    linked = inspect(tmp_path / "linked")
    assert (linked.root, linked.common_dir, linked.target) == (tmp_path / "linked", user / ".git", "side")
    assert locate(tmp_path / "linked") == (tmp_path / "linked", user / ".git")


def test_uncommitted_changes_are_said_to_be_left_out(user: Path) -> None:
    (user / "junk.txt").write_text("nobody tracks it\n")
    assert inspect(user).notes == ()
    tracked = git(user, "ls-files").splitlines()[0]
    (user / tracked).write_text("changed\n")
    index = (user / ".git" / "index").read_bytes()
    base = git(user, "rev-parse", "main")[:10]
    assert inspect(user).notes == (f"uncommitted changes are not part of the run: it begins from {base}",)
    assert (user / ".git" / "index").read_bytes() == index
    git(user, "branch", "next", git(user, "commit-tree", "-m", "Another", "main^{tree}"))
    assert inspect(user, "next").notes == ()


def test_a_branch_that_only_the_remote_has_can_be_named(user: Path, tmp_path: Path) -> None:
    git(user, "branch", "next")
    git(tmp_path, "clone", "-q", str(user), "clone")
    assert inspect(tmp_path / "clone", "next").target == "next"


def no_repository(folder: Path) -> Path:
    folder.mkdir()
    return folder


def no_commits(folder: Path) -> Path:
    folder.mkdir()
    git(folder, "init", "-q")
    return folder


def bare(folder: Path) -> Path:
    git(make_user(folder / "user"), "clone", "-q", "--bare", ".", str(folder / "bare"))
    return folder / "bare"


def detached(folder: Path) -> Path:
    git(make_user(folder), "checkout", "-q", "--detach")
    return folder


def partial(folder: Path) -> Path:
    user = make_user(folder / "user")
    git(user, "config", "uploadpack.allowFilter", "true")
    git(folder, "clone", "-q", "--filter=blob:none", f"file://{user}", "partial")
    return folder / "partial"


def in_the_way(folder: Path) -> Path:
    git(make_user(folder), "branch", "claudetm")
    return folder


@pytest.mark.parametrize(
    ("make", "base", "said"),
    [
        (no_repository, None, "not in a git repository"),
        (no_commits, None, "no commits"),
        (no_commits, "main", "no commits"),
        (bare, None, "bare"),
        (detached, None, "on no branch"),
        (partial, None, "partial clone"),
        (in_the_way, None, "in the way"),
        (make_user, "nowhere", "no branch nowhere"),
        (make_user, "-x", "cannot be a branch"),
        (make_user, "--upload-pack=touch x", "cannot be a branch"),
        (make_user, "", "cannot be a branch"),
    ],
)
def test_what_cannot_be_worked_in_is_one_sentence(make, base: str | None, said: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - a maker of any of the above
    folder = make(tmp_path / "made")
    with pytest.raises(RepositoryError, match=said) as error:
        inspect(folder, base)
    assert "\n" not in str(error.value)


def test_a_detached_head_is_fine_where_a_base_is_named(user: Path) -> None:
    git(user, "checkout", "-q", "--detach")
    assert inspect(user, "main").target == "main"


def test_an_old_git_is_refused() -> None:
    with pytest.raises(RepositoryError, match=r"2\.37\.1 is too old"):
        check_version("git version 2.37.1")
    check_version("git version 2.39.5 (Apple Git-154)")
    check_version("git version 3.0.0")


def test_without_an_identity_one_is_chosen_and_said(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(user, "config", "--remove-section", "user")
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/nonexistent")
    found = inspect(user)
    assert found.author == NO_IDENTITY
    assert "user.name" in found.notes[0]


async def test_a_shallow_clone_works(user: Path, tmp_path: Path) -> None:
    for n in range(3):
        commit(user, {"n.txt": f"{n}\n"})
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{user}", "shallow")
    shallow = tmp_path / "shallow"
    found = inspect(shallow)
    assert found.shallow
    assert "shallow" in found.notes[0]
    run = make_run(shallow, tmp_path / "state")
    clone = await run.open_worktree("c1", BRANCH, run.base)
    head = commit(clone, {"a.txt": "a\n"})
    assert await run.adopt("c1") == head
    assert await run.push(BRANCH, head) == Pushed()
    async with run.checkout(head) as folder:
        assert git(folder, "log", "--oneline", "--format=%H").split() == [head, run.base]
    assert git(shallow, "rev-parse", BRANCH) == head


async def test_a_repository_that_borrows_objects_works(user: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--shared", str(user), "shared")
    run = make_run(tmp_path / "shared", tmp_path / "state")
    clone = await run.open_worktree("c1", BRANCH, run.base)
    head = commit(clone, {"a.txt": "a\n"})
    state = await run.state("c1")
    assert (state.head, state.refused) == (head, "")


async def test_a_run_leaves_the_users_bytes_as_they_were(lived_in: Path, tmp_path: Path) -> None:
    stash, status = git(lived_in, "rev-parse", "stash@{0}"), git(lived_in, "status", "--porcelain")
    before = fingerprint(lived_in)
    run = make_run(lived_in, tmp_path / "state", copy=(".env",))
    clone = await run.open_worktree("c1", BRANCH, run.base)
    head = commit(clone, {"a.txt": "a\n", "README.md": "agent\n"})
    git(clone, "stash", "list")
    write(clone, {"left.txt": "left\n", "README.md": "dirty\n"})
    assert await run.adopt("c1") == head
    kept = await run.snapshot("c1", "why")
    assert kept is not None
    await run.remove_untracked("c1")
    assert await run.push(BRANCH, head) == Pushed()
    merged = await run.merge(head, run.base, "Merge")
    assert isinstance(merged, Merged)
    async with run.checkout(head):
        pass
    await run.reset_worktree("c1", BRANCH, head)
    landed = await run.land(head, "main")
    assert isinstance(landed, NotLanded)
    assert "uncommitted" in landed.reason
    assert fingerprint(lived_in) == before
    assert git(lived_in, "rev-parse", "stash@{0}") == stash
    assert git(lived_in, "status", "--porcelain") == status
    refs = git(lived_in, "for-each-ref", "--format=%(refname)").split()
    assert {r for r in refs if "claudetm" in r} == {f"refs/heads/{BRANCH}", kept.ref}
    assert git(lived_in, "fsck", "--strict") == ""
    assert git(lived_in, "show", f"{kept.ref}:left.txt") == "left"


async def test_no_file_of_the_users_is_also_one_of_the_agents(user: Path, tmp_path: Path) -> None:
    run = make_run(user, tmp_path / "state")
    clone = await run.open_worktree("c1", BRANCH, run.base)
    commit(clone, {"a.txt": "a\n"})
    git(clone, "gc", "-q")
    await run.adopt("c1")
    others = [p for folder in (user, run.room.path) for p in folder.rglob("*") if p.is_file()]
    agents = {p.stat().st_ino for p in clone.rglob("*") if p.is_file()}
    assert agents.isdisjoint(p.stat().st_ino for p in others)


async def ready(user: Path, tmp_path: Path) -> tuple[RealWorld, str]:
    """Return a world with one commit of work, adopted."""
    world = RealWorld.__new__(RealWorld)
    world.user, world.state = user, tmp_path / "state"
    world.repository = make_run(user, world.state)
    await world.repository.open_worktree("c1", BRANCH, world.repository.base)
    head = world.work("c1", {"a.txt": "a\n", "README.md": "changed\n"})
    assert await world.repository.adopt("c1") == head
    assert await world.repository.push("claudetm/r1/base", head) == Pushed()
    return world, head


async def test_a_clean_checkout_goes_along(user: Path, tmp_path: Path) -> None:
    world, head = await ready(user, tmp_path)
    write(user, {"untracked.txt": "mine\n"})
    hook = user / ".git" / "hooks" / "post-merge"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho ran > hook-ran\n")
    hook.chmod(0o755)
    assert await world.repository.land(head, "main") == Landed("checkout_updated")
    assert (user / "README.md").read_text() == "changed\n"
    assert git(user, "status", "--porcelain") == "?? untracked.txt"
    assert git(user, "rev-parse", "HEAD") == head
    assert await world.repository.land(head, "main") == Landed("already")


@pytest.mark.parametrize("staged", [True, False])
async def test_a_dirty_checkout_is_left_alone(staged: bool, user: Path, tmp_path: Path) -> None:
    world, head = await ready(user, tmp_path)
    write(user, {"src/app.py": "mine\n"})
    if staged:
        git(user, "add", "-A")
    before = fingerprint(user)
    landed = await world.repository.land(head, "main")
    assert isinstance(landed, NotLanded)
    assert "src/app.py" in landed.reason
    assert landed.command == "git merge --ff-only claudetm/r1/base"
    assert fingerprint(user) == before
    git(user, "commit", "-qam", "Mine")
    landed = await world.repository.land(head, "main")
    assert isinstance(landed, NotLanded)
    assert landed.command == "git merge claudetm/r1/base"


@pytest.mark.parametrize("ignored", [True, False])
async def test_files_that_git_does_not_track_are_never_overwritten(ignored: bool, user: Path, tmp_path: Path) -> None:
    world, head = await ready(user, tmp_path)
    write(user, {"a.txt": "mine\n"})
    if ignored:
        (user / ".git" / "info").mkdir(exist_ok=True)
        (user / ".git" / "info" / "exclude").write_text("a.txt\n")
    before = fingerprint(user)
    landed = await world.repository.land(head, "main")
    assert isinstance(landed, NotLanded)
    assert "a.txt" in landed.reason
    assert fingerprint(user) == before


async def test_a_target_in_another_worktree_is_left_to_the_user(user: Path, tmp_path: Path) -> None:
    world, head = await ready(user, tmp_path)
    git(user, "switch", "-q", "-c", "elsewhere")
    git(user, "worktree", "add", "-q", str(tmp_path / "linked"), "main")
    landed = await world.repository.land(head, "main")
    assert landed == NotLanded(
        f"main is checked out in {tmp_path / 'linked'}",
        f"git -C {tmp_path / 'linked'} merge --ff-only claudetm/r1/base",
    )
    assert git(user, "rev-parse", "main") == world.repository.base


async def test_a_target_that_is_checked_out_nowhere_is_moved(user: Path, tmp_path: Path) -> None:
    world, head = await ready(user, tmp_path)
    git(user, "switch", "-q", "-c", "elsewhere")
    write(user, {"README.md": "dirty\n"})
    assert await world.repository.land(head, "main") == Landed("fast_forwarded")
    assert git(user, "rev-parse", "main") == head
    assert (user / "README.md").read_text() == "dirty\n"


async def test_a_target_that_is_gone_is_named(user: Path, tmp_path: Path) -> None:
    world, head = await ready(user, tmp_path)
    git(user, "switch", "-q", "-c", "elsewhere")
    git(user, "branch", "-q", "-D", "main")
    landed = await world.repository.land(head, "main")
    assert landed == NotLanded("there is no branch main", "git branch main claudetm/r1/base")


async def test_a_merge_in_progress_is_not_disturbed(user: Path, tmp_path: Path) -> None:
    world, head = await ready(user, tmp_path)
    (user / ".git" / "MERGE_HEAD").write_text(f"{head}\n")
    landed = await world.repository.land(head, "main")
    assert isinstance(landed, NotLanded)
    assert "MERGE_HEAD" in landed.reason


async def test_a_run_begun_in_a_linked_worktree_lands_there(user: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    git(user, "worktree", "add", "-q", "-b", "side", str(linked))
    before, found = fingerprint(user), inspect(linked)
    run = RunRepository(tmp_path / "run", found.refs, "r1", found.base)
    head = commit(await run.open_worktree("c1", BRANCH, run.base), {"a.txt": "a\n"})
    assert await run.adopt("c1") == head
    assert await run.land(head, "side") == Landed("checkout_updated")
    assert (linked / "a.txt").read_text() == "a\n"
    assert git(linked, "status", "--porcelain") == git(user, "status", "--porcelain") == ""
    moved = {name for name, digest in fingerprint(user).items() if before.get(name) != digest}
    assert {m for m in moved if "worktrees/linked" not in m} <= {".git/refs/heads/side", ".git/logs/refs/heads/side"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_repository_of_another_user_is_refused_as_git_does(tmp_path: Path) -> None:
    user = make_user(tmp_path / "user")
    for path in (user, user / ".git"):
        os.chown(path, 12345, 12345)
    with pytest.raises(RepositoryError, match=r"belongs to another user.*safe\.directory"):
        inspect(user)


def test_the_default_branch_is_the_target_where_a_remote_names_it(user: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", str(user), "mine")
    mine = tmp_path / "mine"
    assert (inspect(mine).target, inspect(mine).notes) == ("main", inspect(user).notes)
    git(mine, "switch", "-q", "-c", "feature")
    read = inspect(mine)
    assert read.target == "main"
    assert "target: main, the repository's default branch; --base feature takes feature, where you are" in read.notes
    assert inspect(mine, "feature").target == "feature"
    git(mine, "switch", "-q", "--detach")
    assert inspect(mine).target == "main"
    git(mine, "branch", "-q", "-D", "main")
    git(mine, "switch", "-q", "feature")
    assert inspect(mine).target == "feature", "a branch that is not there is not made"


def test_whatever_brings_a_file_from_the_repository_makes_it_a_tracked_one(user: Path) -> None:
    folder = user / ".claude-task-master"
    config = folder / "config.json"
    write(user, {"t/config.json": "{}\n", ".claude-task-master-notes": "mine\n"})
    git(user, "add", "t", ".claude-task-master-notes")
    assert not tracks(user, config)
    folder.symlink_to("t")
    assert tracks(user, config)  # the link is the user's, what it leads to is not
    git(user, "rm", "-q", "--cached", "-r", "t")
    assert not tracks(user, config)
    git(user, "add", ".claude-task-master")
    assert tracks(user, config)
    git(user, "rm", "-qf", "--cached", ".claude-task-master")
    folder.unlink()
    make_user(folder)
    git(user, "add", ".claude-task-master")
    assert git(user, "ls-files", "-s", ".claude-task-master").startswith("160000")
    assert tracks(user, config)
    git(user, "rm", "-qf", "--cached", ".claude-task-master")
    assert not tracks(user, config)
    write(user, {".Claude-Task-Master/Config.json": "{}\n"})
    git(user, "add", "-f", ".Claude-Task-Master/Config.json")
    assert tracks(user, config)  # the same file, on some disks
