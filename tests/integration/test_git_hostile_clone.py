"""An agent's clone may hold anything. Whatever we do with it, nothing that an agent wrote there is run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from claudetm.adapters.git.run_repository import RunRepository
from claudetm.errors import RepositoryError
from claudetm.ports.repository import Landed, Merged, Pushed
from integration.repositories import commit, fingerprint, git, make_run, make_user, write

pytestmark = pytest.mark.anyio

BRANCH = "claudetm/r1/c1"
HOOKS = (
    "applypatch-msg",
    "commit-msg",
    "fsmonitor-watchman",
    "post-checkout",
    "post-commit",
    "post-merge",
    "post-rewrite",
    "pre-commit",
    "pre-push",
    "prepare-commit-msg",
    "post-index-change",
    "reference-transaction",
    "pre-auto-gc",
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def user(tmp_path: Path) -> Path:
    return make_user(tmp_path / "user")


@pytest.fixture
def run(user: Path, tmp_path: Path) -> RunRepository:
    return make_run(user, tmp_path / "state")


def trap(folder: Path, canary: Path) -> Path:
    """Write a script that leaves the canary, whatever it is called for."""
    script = folder / "trap.sh"
    script.write_text(f"#!/bin/sh\necho $0 $@ >> {canary}\ncat 2>/dev/null\n")
    script.chmod(0o755)
    return script


def poison(clone: Path, script: Path) -> None:
    """Point everything that git can be made to run at the script."""
    inner = clone / ".git"
    (inner / "hooks").mkdir(exist_ok=True)
    for hook in HOOKS:
        shutil.copy(script, inner / "hooks" / hook)
    extra = inner / "extra.config"
    extra.write_text(f"[core]\n\tpager = {script}\n\teditor = {script}\n")
    with (inner / "config").open("a") as config:
        config.write(
            f"""
[core]
	fsmonitor = {script}
	sshCommand = {script}
	hooksPath = {inner / "hooks"}
	pager = {script}
	editor = {script}
	askPass = {script}
	gitProxy = {script}
	worktree = /
[include]
	path = {extra}
[includeIf "gitdir:/"]
	path = {extra}
[url "ext::{script} "]
	insteadOf = /
	pushInsteadOf = /
[remote "origin"]
	url = ext::{script}
	receivepack = {script}
	uploadpack = {script}
[protocol]
	allow = always
[credential]
	helper = !{script}
[filter "evil"]
	clean = {script}
	smudge = {script}
	process = {script}
	required = true
[diff "evil"]
	textconv = {script}
	command = {script}
[diff]
	external = {script}
[merge "evil"]
	driver = {script} %A
[gpg]
	program = {script}
[commit]
	gpgSign = true
[alias]
	status = !{script}
	rev-parse = !{script}
[gc]
	auto = 1
[uploadpack]
	packObjectsHook = {script}
[sequence]
	editor = {script}
"""
        )
    write(
        clone,
        {
            ".gitattributes": "* filter=evil diff=evil merge=evil\n",
            ".gitmodules": f'[submodule "x"]\n\tpath = x\n\turl = ext::{script}\n[broken\n',
        },
    )


def agent_commit(clone: Path, message: str) -> str:
    """Commit with plumbing in a clean environment, as a careful attacker would, so that the trap stays shut here."""
    config, kept = clone / ".git" / "config", (clone / ".git" / "config").read_text()
    config.write_text("[core]\n\trepositoryformatversion = 0\n\tbare = false\n")
    try:
        git(clone, "-c", "core.hooksPath=/dev/null", "add", "-A")
        git(clone, "-c", "core.hooksPath=/dev/null", "commit", "-q", "-m", message)
        return git(clone, "rev-parse", "HEAD")
    finally:
        config.write_text(kept)


async def test_no_operation_runs_what_the_clone_configures(run: RunRepository, tmp_path: Path) -> None:
    clone = await run.open_worktree("c1", BRANCH, run.base)
    canary = tmp_path / "canary"
    script = trap(tmp_path, canary)
    poison(clone, script)
    head = agent_commit(clone, "Attributes, submodules, a payload")
    assert git(clone, "status", accept=(0, 1, 128)) is not None
    assert canary.exists(), "the trap does not work: git in the clone must set it off"
    canary.unlink()
    write(clone, {"README.md": "changed\n", "new.txt": "new\n"})

    state = await run.state("c1")
    assert (state.head, state.refused) == (head, "")
    assert state.modified == ("README.md",)
    kept = await run.snapshot("c1", "hostile")
    assert kept is not None
    assert await run.remove_untracked("c1") == ("new.txt",)
    assert await run.push(BRANCH, await run.adopt("c1")) == Pushed()
    async with run.checkout(head) as folder:
        assert (folder / "README.md").read_text() == "hello\n"
    await run.reset_worktree("c1", BRANCH, run.base)
    assert not canary.exists(), canary.read_text()


async def test_a_commit_made_to_harm_other_gits_is_not_taken_over(run: RunRepository) -> None:
    clone = await run.open_worktree("c1", BRANCH, run.base)
    commit(clone, {".gitmodules": '[submodule "x"]\n\tpath = x\n\turl = u\n\tupdate = !rm -rf ~\n'})
    assert "gitmodules" in (await run.state("c1")).refused
    with pytest.raises(RepositoryError, match="gitmodules"):
        await run.adopt("c1")


async def test_the_whole_way_to_landing_runs_nothing_of_the_clones(
    user: Path, run: RunRepository, tmp_path: Path
) -> None:
    clone = await run.open_worktree("c1", BRANCH, run.base)
    canary = tmp_path / "canary"
    poison(clone, trap(tmp_path, canary))
    (clone / ".gitmodules").unlink()
    agent_commit(clone, "Attributes")
    write(clone, {"src/app.py": "x = 2\n"})
    head = agent_commit(clone, "The work")
    canary.unlink(missing_ok=True)
    assert await run.adopt("c1") == head
    assert len(await run.commits(run.base, head)) == 2
    assert await run.changed_paths(run.base, head) == (".gitattributes", "src/app.py")
    other = commit(user, {"other.txt": "o\n"})
    merged = await run.merge(head, await run.branch_tip("main"), "Merge main")
    assert isinstance(merged, Merged)
    await run.bring("c1", merged.commit)
    assert await run.contains(merged.commit, other)
    assert await run.push(BRANCH, merged.commit) == Pushed()
    async with run.checkout(merged.commit) as folder:
        assert (folder / "src/app.py").read_text() == "x = 2\n"
    assert await run.land(merged.commit, "main") == Landed("checkout_updated")
    assert (user / "src/app.py").read_text() == "x = 2\n"
    assert not canary.exists(), canary.read_text()


async def test_a_nested_repository_is_refused_and_its_monitor_stays_silent(
    run: RunRepository, tmp_path: Path
) -> None:
    clone = await run.open_worktree("c1", BRANCH, run.base)
    canary = tmp_path / "canary"
    for name in ("nested", "src/deep"):
        (clone / name).mkdir(parents=True)
        git(clone / name, "init", "-q")
        commit(clone / name, {"inner.txt": "inner\n"})
        git(clone / name, "config", "core.fsmonitor", str(trap(tmp_path, canary)))
    state = await run.state("c1")
    assert "nested" in state.refused
    assert not state.clean
    kept = await run.snapshot("c1", "nested")
    assert kept is not None
    assert await run.read_file(kept.commit, "nested/inner.txt") == "inner\n"
    assert await run.read_file(kept.commit, "src/deep/inner.txt") == "inner\n"
    assert not canary.exists()


async def test_a_nested_repository_in_a_commit_is_not_looked_into(run: RunRepository, tmp_path: Path) -> None:
    clone = await run.open_worktree("c1", BRANCH, run.base)
    canary = tmp_path / "canary"
    (clone / "nested").mkdir()
    git(clone / "nested", "init", "-q")
    commit(clone / "nested", {"inner.txt": "inner\n"})
    head = commit(clone, {"a.txt": "a\n"})
    git(clone / "nested", "config", "core.fsmonitor", str(trap(tmp_path, canary)))
    write(clone, {"nested/inner.txt": "changed\n"})
    state = await run.state("c1")
    assert (state.head, state.clean) == (head, True)
    assert await run.adopt("c1") == head
    assert not canary.exists()


def alternates(inner: Path, elsewhere: Path) -> None:
    (inner / "objects/info").mkdir(exist_ok=True)
    (inner / "objects/info/alternates").write_text(f"{elsewhere / '.git/objects'}\n")


def moved_git(inner: Path, elsewhere: Path) -> None:
    inner.rename(elsewhere / "moved")
    inner.write_text(f"gitdir: {elsewhere / 'moved'}\n")


def linked_git(inner: Path, elsewhere: Path) -> None:
    inner.rename(elsewhere / "moved")
    inner.symlink_to(elsewhere / "moved")


def linked_objects(inner: Path, elsewhere: Path) -> None:
    (inner / "objects").rename(elsewhere / "objects")
    (inner / "objects").symlink_to(elsewhere / "objects")


def linked_head(inner: Path, _elsewhere: Path) -> None:
    (inner / "HEAD").rename(inner / "HEAD.real")
    (inner / "HEAD").symlink_to("HEAD.real")


def pipe_for_head(inner: Path, _elsewhere: Path) -> None:
    (inner / "HEAD").unlink()
    os.mkfifo(inner / "HEAD")


def head_outside(inner: Path, _elsewhere: Path) -> None:
    (inner / "HEAD").write_text("ref: refs/../../../secret\n")


def another_common_folder(inner: Path, elsewhere: Path) -> None:
    (inner / "commondir").write_text(f"{elsewhere / '.git'}\n")


def no_git(inner: Path, _elsewhere: Path) -> None:
    shutil.rmtree(inner)


def unknown_commit(inner: Path, _elsewhere: Path) -> None:
    (inner / "HEAD").write_text("1" * 40 + "\n")


@pytest.mark.parametrize(
    "bend",
    [
        alternates,
        moved_git,
        linked_git,
        linked_objects,
        linked_head,
        pipe_for_head,
        head_outside,
        another_common_folder,
        no_git,
        unknown_commit,
    ],
)
async def test_a_bent_clone_is_refused_and_its_files_are_kept(
    bend: Callable[[Path, Path], None], run: RunRepository, tmp_path: Path
) -> None:
    clone = await run.open_worktree("c1", BRANCH, run.base)
    elsewhere = make_user(tmp_path / "elsewhere", {"secret": "s\n"})
    write(clone, {"new.txt": "new\n"})
    bend(clone / ".git", elsewhere)
    state = await run.state("c1")
    assert state.refused
    assert state.head == run.base
    with pytest.raises(RepositoryError):
        await run.adopt("c1")
    kept = await run.snapshot("c1", "bent")
    assert kept is not None
    assert await run.read_file(kept.commit, "new.txt") == "new\n"
    await run.reset_worktree("c1", BRANCH, run.base)
    assert (await run.state("c1")).refused == ""


async def test_replace_refs_and_grafts_do_not_change_what_we_read(run: RunRepository) -> None:
    clone = await run.open_worktree("c1", BRANCH, run.base)
    good = commit(clone, {"a.txt": "good\n"})
    evil = commit(clone, {"a.txt": "evil\n"})
    git(clone, "reset", "-q", "--hard", good)
    git(clone, "replace", good, evil)
    (clone / ".git/info/grafts").write_text(f"{good}\n")
    assert await run.adopt("c1") == good
    assert await run.read_file(good, "a.txt") == "good\n"
    assert await run.contains(good, run.base)


async def test_an_object_under_a_wrong_name_is_refused(run: RunRepository) -> None:
    clone = await run.open_worktree("c1", BRANCH, run.base)
    head = commit(clone, {"a.txt": "aaaa\n"})
    good, evil = (git(clone, "rev-parse", f"{head}:a.txt"), commit(clone, {"b.txt": "evil\n"}))
    evil = git(clone, "rev-parse", f"{evil}:b.txt")
    objects = clone / ".git/objects"
    (objects / good[:2] / good[2:]).unlink()
    (objects / evil[:2] / evil[2:]).rename(objects / good[:2] / good[2:])
    git(clone, "reset", "-q", "--soft", head)
    with pytest.raises(RepositoryError, match="cannot be taken over"):
        await run.adopt("c1")


async def test_what_adoption_took_over_does_not_need_the_clone(run: RunRepository, user: Path) -> None:
    clone = await run.open_worktree("c1", BRANCH, run.base)
    head = commit(clone, {f"f{n}.txt": f"{n}\n" for n in range(150)})
    assert await run.adopt("c1") == head
    shutil.rmtree(clone)
    assert await run.push(BRANCH, head) == Pushed()
    assert git(user, "fsck", "--strict") is not None
    assert git(user, "show", f"{BRANCH}:f149.txt") == "149"


async def test_the_callers_environment_does_not_reach_git(
    run: RunRepository, user: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    canary = tmp_path / "canary"
    hostile = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "filter.evil.clean",
        "GIT_CONFIG_VALUE_0": str(trap(tmp_path, canary)),
        "GIT_DIR": str(tmp_path),
        "GIT_OBJECT_DIRECTORY": str(tmp_path),
        "GIT_INDEX_FILE": str(tmp_path / "index"),
    }
    before = fingerprint(user)
    clone = await run.open_worktree("c1", BRANCH, run.base)
    head = commit(clone, {"a.txt": "a\n", ".gitattributes": "* filter=evil\n"})
    write(clone, {"a.txt": "changed\n"})
    for name, value in hostile.items():
        monkeypatch.setenv(name, value)
    assert (await run.state("c1")).modified == ("a.txt",)
    assert await run.snapshot("c1", "why") is not None
    assert await run.adopt("c1") == head
    assert await run.push(BRANCH, head) == Pushed()
    assert await run.land(head, "main") == Landed("checkout_updated")
    monkeypatch.undo()
    assert not canary.exists()
    assert (user / "a.txt").read_text() == "a\n"
    assert fingerprint(user).keys() - before.keys() == {".gitattributes", "a.txt", ".git/ORIG_HEAD"}


@pytest.mark.parametrize("link", [".git/refs/heads", ".git/refs/heads/deep", ".git/refs"])
async def test_locks_are_never_removed_through_a_link(link: str, run: RunRepository, tmp_path: Path) -> None:
    clone = await run.open_worktree("c1", BRANCH, run.base)
    write(tmp_path / "outside", {"poetry.lock": "the user's\n", "heads/poetry.lock": "the user's\n"})
    if (clone / link).exists():
        shutil.rmtree(clone / link)
    (clone / link).symlink_to(tmp_path / "outside")
    await run.open_worktree("c1", BRANCH, run.base)
    assert (tmp_path / "outside/poetry.lock").exists()
    assert (tmp_path / "outside/heads/poetry.lock").exists()
