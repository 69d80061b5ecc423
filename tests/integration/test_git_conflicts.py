"""A conflict in real git: what git makes of the rest is known exactly, so that a resolution can be held to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from claudetm.ports.repository import Conflicted
from integration.repositories import commit, git, make_run, make_user, write

pytestmark = pytest.mark.anyio

LINES = "".join(f"line {n}\n" for n in range(40))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_merge_as_git_makes_it_differs_from_the_attempt_in_what_conflicted_alone(tmp_path: Path) -> None:
    """One side renames a file and removes one, the other edits the renamed and adds one; one file conflicts."""
    begun = {"same.txt": "first\n", "old.txt": LINES, "gone.txt": "x\n", "kept.txt": "k\n"}
    user = make_user(tmp_path / "user", begun)
    run = make_run(user, tmp_path / "state")
    path = await run.open_worktree("c1", "claudetm/r1/c1", run.base)
    git(path, "mv", "old.txt", "new.txt")
    git(path, "rm", "-q", "gone.txt")
    ours = commit(path, {"same.txt": "ours\n"}, "Rename")
    theirs = commit(user, {"same.txt": "theirs\n", "old.txt": LINES + "more\n", "added.txt": "a\n"}, "Edit")
    await run.adopt("c1")
    base = await run.branch_tip("main")
    assert base == theirs
    clash = await run.merge(ours, base, "Merge")
    assert isinstance(clash, Conflicted)
    assert clash.paths == ("same.txt",)

    await run.bring("c1", base)
    git(path, "merge", "-q", "--no-edit", base, accept=(1,))
    write(path, {"same.txt": "both\n"})
    git(path, "add", "-A")
    git(path, "commit", "-q", "--no-edit")
    head = await run.adopt("c1")
    assert list(await run.changed_paths(clash.attempt, head)) == ["same.txt"]
    # what git merges by itself is neither side's own where one side renamed the file
    assert "new.txt" in await run.changed_paths(ours, head)

    commit(path, {"kept.txt": "an edit that nobody asked for\n"}, "Slip it in")
    head = await run.adopt("c1")
    assert set(await run.changed_paths(clash.attempt, head)) == {"same.txt", "kept.txt"}
