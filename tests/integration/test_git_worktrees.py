"""What a session needs of its worktree besides its files: the base's commits, and no locks of the dead."""

from __future__ import annotations

import asyncio
from pathlib import Path

from integration.repositories import commit, git, make_run, make_user


def test_a_commit_made_after_the_worktree_can_be_merged_in_it(tmp_path: Path) -> None:
    user = make_user(tmp_path / "user")
    repository = make_run(user, tmp_path / "state")

    async def story() -> Path:
        path = await repository.open_worktree("c1", "claudetm/r1/c1", repository.base)
        tip = commit(user, {"b.txt": "two\n"})
        for _ in range(2):  # the second time there is nothing left to bring
            await repository.bring("c1", tip)
        git(path, "merge", "-q", tip)
        return path

    assert (asyncio.run(story()) / "b.txt").read_text() == "two\n"


def test_locks_that_a_killed_git_left_are_gone_when_the_worktree_is_opened_again(tmp_path: Path) -> None:
    repository = make_run(make_user(tmp_path / "user"), tmp_path / "state")

    async def story() -> None:
        path = await repository.open_worktree("c1", "claudetm/r1/c1", repository.base)
        for lock in (".git/index.lock", ".git/HEAD.lock", ".git/refs/heads/claudetm/r1/c1.lock"):
            (path / lock).touch()
        await repository.open_worktree("c1", "claudetm/r1/c1", repository.base)
        commit(path, {"a.txt": "a\n"})

    asyncio.run(story())
