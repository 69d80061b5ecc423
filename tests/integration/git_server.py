"""A host of git repositories on a loopback socket, for tests that need its git alone and none of its REST."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from github_double.git_http import GitHttp, GitRequest, RefUpdate
from integration.repositories import git

TOKEN = "ghp_0123456789abcdefghijklmnopqrstuvwxyzAB"


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class GitServer:
    """Bare repositories at `url`; `TOKEN` may do everything. What was pushed and asked is kept."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.updates: list[RefUpdate] = []
        self.app = GitHttp(folder, self._may, self._pushed)

    def _may(self, token: str, _owner: str, _name: str, write: bool) -> int:
        return {TOKEN: 200, "ghp_reader": 403 if write else 200, "ghp_elsewhere": 404}.get(token, 401)

    def _pushed(self, _owner: str, _name: str, updates: object) -> None:
        assert isinstance(updates, list)
        self.updates += updates

    @property
    def requests(self) -> list[GitRequest]:
        return self.app.requests

    def create(self, owner: str, name: str, seed: Path | None = None) -> Path:
        """Make a bare repository, with what another one has where it is named."""
        path = self.folder / owner / f"{name}.git"
        path.parent.mkdir(parents=True, exist_ok=True)
        if seed:
            git(path.parent, "clone", "-q", "--bare", str(seed), str(path))
            git(path, "remote", "remove", "origin")
        else:
            git(path.parent, "init", "-q", "--bare", "-b", "main", str(path))
        return path

    def address(self, owner: str, name: str) -> str:
        return f"{self.url}/{owner}/{name}.git"


@contextmanager
def serving(folder: Path) -> Iterator[GitServer]:
    """Serve the repositories of a folder from a thread of its own."""
    # with IPPROTO_TCP asyncio sets TCP_NODELAY; without, each answer is 40 ms late
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        host = GitServer(folder, f"http://127.0.0.1:{listening.getsockname()[1]}")
        config = uvicorn.Config(
            host.app, http="h11", ws="none", lifespan="off", log_config=None, log_level="critical"
        )
        config.timeout_graceful_shutdown = 1
        server = _Server(config)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])), name="git server")
        thread.start()
        try:
            yield host
        finally:
            server.should_exit = True
            thread.join()
