from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

from claudetm.adapters.git.run_repository import RunRepository
from claudetm.adapters.git.user_repository import inspect


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_a_commit_made_after_the_worktree_can_be_merged_in_it(tmp_path: Path) -> None:
    user = tmp_path / "user"
    subprocess.run(["git", "init", "-q", "-b", "main", str(user)], check=True)
    for name in ("user.name", "user.email"):
        git(user, "config", name, "ada@localhost")
    (user / "a.txt").write_text("one\n")
    git(user, "add", "-A")
    git(user, "commit", "-qm", "One")
    found = inspect(user)
    repository = RunRepository(tmp_path / "run", found.refs, "r1", found.base)

    async def story() -> Path:
        path = await repository.open_worktree("c1", "claudetm/r1/c1", found.base)
        (user / "b.txt").write_text("two\n")
        git(user, "add", "-A")
        git(user, "commit", "-qm", "Two")
        tip = git(user, "rev-parse", "HEAD")
        for _ in range(2):  # the second time there is nothing left to bring
            await repository.bring("c1", tip)
        git(path, "merge", "-q", tip)
        return path

    path = asyncio.run(story())
    assert (path / "b.txt").read_text() == "two\n"
