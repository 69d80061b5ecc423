"""Every Forge passes one suite: the one in memory, the local one on real git, and GitHub on its double."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest

from claudetm.ports.repository import Pushed
from claudetm.testing.forge_conformance import ForgeConformance, ForgeWorld
from claudetm.testing.memory import GREEN, RED, MemoryForge, MemoryRepository
from claudetm.workflow.pull_request import Check, PullRequest
from github_double.double import Double
from github_world import GitHubForgeWorld
from integration.repositories import LocalForgeWorld, once

pytestmark = pytest.mark.anyio


class MemoryWorld:
    run_id, target = "r1", "main"

    def __init__(self) -> None:
        self.repository = MemoryRepository()
        self.forge = MemoryForge(self.repository)
        self.forge.checks = self._checks

    def _checks(self, pull: PullRequest) -> tuple[Check, ...]:
        return RED if "red" in self.repository.nodes[pull.head].tree else GREEN

    async def push(self, change: str, files: Mapping[str, str]) -> str:
        branch = f"claudetm/r1/{change}"
        await self.repository.open_worktree(change, branch, await self.forge.base())
        head = self.repository.work(change, files)
        assert await self.repository.push(branch, head) == Pushed()
        return head

    async def settled(self, number: int) -> PullRequest:
        return (await self.forge.read([number]))[number]

    def push_by_person(self, branch: str, files: Mapping[str, str], *, force: bool = False) -> str:
        return self.repository.push_by_person(branch, files, force=force)

    def delete_by_person(self, branch: str) -> None:
        self.repository.delete_by_person(branch)

    def remark(self, number: int, body: str) -> str:
        return self.forge.remark(number, body)

    def close_by_person(self, number: int) -> None:
        self.forge.close_by_person(number)

    def reopen_by_person(self, number: int) -> None:
        self.forge.reopen_by_person(number)

    async def merge_by_person(self, number: int) -> None:
        await self.forge.merge_by_person(number)

    async def at_the_last_moment(self, act: Callable[[], object]) -> None:
        self.forge.faults = once("before:merge:", act)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["memory", "local", "github"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ForgeWorld]:
    with contextlib.ExitStack() as around:
        match request.param:
            case "memory":
                made: ForgeWorld = MemoryWorld()
            case "local":
                made = LocalForgeWorld(tmp_path)
            case _:
                made = GitHubForgeWorld(tmp_path, around.enter_context(Double(tmp_path / "github")))
        yield made
        await made.forge.close()


class TestForge(ForgeConformance):
    pass
