"""Every Repository passes one suite: the one in memory, and the one on real git."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from claudetm.testing.memory import MemoryRepository
from claudetm.testing.repository_conformance import RepositoryConformance, RepositoryWorld
from integration.repositories import RealWorld

pytestmark = pytest.mark.anyio


class MemoryWorld:
    def __init__(self) -> None:
        self.repository = MemoryRepository()
        self.first = self.repository.first

    def work(self, change: str, files: Mapping[str, str]) -> str:
        return self.repository.work(change, files)

    def leave(self, change: str, files: Mapping[str, str]) -> None:
        self.repository.worktrees[change].files.update(files)

    def push_by_person(self, branch: str, files: Mapping[str, str]) -> str:
        return self.repository.push_by_person(branch, files)

    def delete_by_person(self, branch: str) -> None:
        self.repository.delete_by_person(branch)

    def bring_back_by_person(self, branch: str, commit: str) -> None:
        self.repository.bring_back_by_person(branch, commit)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["memory", "git"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> RepositoryWorld:
    return MemoryWorld() if request.param == "memory" else RealWorld(tmp_path)


class TestRepository(RepositoryConformance):
    pass
