"""Every Repository passes one suite: the one in memory, and the one on real git, with a remote and without."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from claudetm.ports.repository import Landed
from claudetm.testing.memory import MemoryRepository
from claudetm.testing.repository_conformance import BRANCH, RepositoryConformance, RepositoryWorld
from integration.git_server import GitServer, serving
from integration.remote_world import RemoteWorld
from integration.repositories import RealWorld, git

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


class KeptUpWorld(RemoteWorld):
    """A host, and a user on a branch of their own who keeps up with main."""

    def __init__(self, folder: Path, server: GitServer, name: str) -> None:
        super().__init__(folder, server, name)
        git(self.user, "switch", "-q", "-c", "elsewhere")

    def push_by_person(self, branch: str, files: Mapping[str, str], *, force: bool = False) -> str:
        made = super().push_by_person(branch, files, force=force)
        git(self.user, "fetch", "-q", str(self.hosted), "+main:main")
        return made


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    with serving(tmp_path_factory.mktemp("hosted")) as host:
        yield host


class TestRepository(RepositoryConformance):
    @pytest.fixture(params=["memory", "git"])
    def world(self, request: pytest.FixtureRequest, tmp_path: Path) -> RepositoryWorld:
        return MemoryWorld() if request.param == "memory" else RealWorld(tmp_path)


class TestRepositoryWithARemote(RepositoryConformance):
    @pytest.fixture
    def world(self, tmp_path: Path, server: GitServer) -> RepositoryWorld:
        return KeptUpWorld(tmp_path, server, tmp_path.name)

    async def test_landing_fast_forwards_once(self, world: RepositoryWorld) -> None:
        """It is the user's branch that lands; the host's target is moved by merges there alone."""
        repo = world.repository
        await repo.open_worktree("c1", BRANCH, world.first)
        head = world.work("c1", {"a.txt": "a\n"})
        await repo.adopt("c1")
        assert await repo.land(head, "main") == Landed("fast_forwarded")
        assert await repo.branch_tip("main") == world.first
        assert await repo.land(head, "main") == Landed("already")
