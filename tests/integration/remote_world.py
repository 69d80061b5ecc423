"""A run whose branches live on a host: the user's clone of it, the host's repository, and people who push there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from claudetm.adapters.git.remote import Remote
from claudetm.adapters.git.run_repository import RunRepository, no_fault
from claudetm.adapters.git.user_repository import inspect
from integration.git_server import TOKEN, GitServer
from integration.repositories import RUN, commit, git, make_user, write

NOW = 1_000_000.0


class RemoteWorld:
    """acme/<name> on a server, cloned by a user, and a run beside the clone."""

    def __init__(self, folder: Path, server: GitServer, name: str) -> None:
        self.server = server
        server.app.fault = lambda _: None
        self.hosted = server.create("acme", name, make_user(folder / "seed"))
        self.url = server.address("acme", name)
        git(folder, "clone", "-q", str(self.hosted), "user")
        self.user = folder / "user"
        git(self.user, "remote", "set-url", "origin", self.url)
        git(self.user, "config", "user.name", "Ada")
        git(self.user, "config", "user.email", "ada@example.org")
        self.first = git(self.user, "rev-parse", "main")
        self.folder = folder
        self.environment: dict[str, str] = {}
        self.token = TOKEN
        self.repository = self.driver()
        server.updates.clear()
        server.requests.clear()

    def driver(
        self,
        *,
        base: str = "",
        push_url: str = "",
        url: str = "",
        copy: tuple[str, ...] = (),
        faults: Callable[[str], None] = no_fault,
    ) -> RunRepository:
        """Return the run's repository as the next driver makes it, with nothing kept in memory."""
        url = url or self.url
        remote = Remote(url, push_url or url, lambda: self.token, self.environment, clock=lambda: NOW, stalled=1)
        found = inspect(self.user, "main").refs
        folder = self.folder / "run"
        self.repository = RunRepository(folder, found, RUN, base or self.first, copy, faults, remote=remote)
        return self.repository

    def work(self, change: str, files: Mapping[str, str]) -> str:
        return commit(self.folder / "run" / "changes" / change, files)

    def leave(self, change: str, files: Mapping[str, str]) -> None:
        write(self.folder / "run" / "changes" / change, files)

    def there(self, branch: str) -> str:
        """Return where a branch stands on the host, or ""."""
        return git(self.hosted, "rev-parse", "-q", "--verify", f"refs/heads/{branch}", accept=(0, 1))

    def hook(self, text: str) -> None:
        """Have the host refuse pushes, in these words."""
        (self.hosted / "words").write_text(text)
        hook = self.hosted / "hooks" / "pre-receive"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text("#!/bin/sh\ncat words >&2\nexit 1\n")
        hook.chmod(0o755)

    def push_by_person(self, branch: str, files: Mapping[str, str], *, force: bool = False) -> str:
        """Commit in a clone of their own, and push that."""
        clone = self.folder / "person"
        if not clone.exists():
            git(self.folder, "clone", "-q", str(self.hosted), str(clone))
        git(clone, "fetch", "-q", "origin")
        git(clone, "checkout", "-q", "--detach", f"origin/{branch}{'^' if force else ''}")
        made = commit(clone, files, "A person's commit")
        git(clone, "push", "-q", *(["--force"] if force else []), "origin", f"HEAD:refs/heads/{branch}")
        return made

    def delete_by_person(self, branch: str) -> None:
        git(self.hosted, "branch", "-q", "-D", branch)

    def bring_back_by_person(self, branch: str, commit: str) -> None:
        git(self.hosted, "update-ref", f"refs/heads/{branch}", commit)
