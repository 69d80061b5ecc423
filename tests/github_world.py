"""A run whose pull requests are on the tests' GitHub: the user's clone, the run beside it, and people at work."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from claudetm.adapters.forge.github.client import GithubClient
from claudetm.adapters.forge.github.forge import GitHubForge
from claudetm.adapters.forge.github.place import Hosted
from claudetm.adapters.forge.github.reading import Reading
from claudetm.adapters.git.remote import Remote
from claudetm.adapters.git.run_repository import RunRepository, no_fault
from claudetm.adapters.git.user_repository import inspect
from claudetm.ports.repository import Pushed
from claudetm.workflow.pull_request import CheckState, PullRequest
from github_double import rules
from github_double.double import Double
from github_double.state import Comment, Protection
from github_double.state import PullRequest as HostedPull
from integration.repositories import RUN, commit, git, once

RED = "test ! -e red || { echo it is red; false; }"
US = "octo"


class GitHubForgeWorld:
    """acme/widgets on a double, where `checks` must pass on what is up to date; octo's token, and other people."""

    run_id, target = RUN, "main"

    def __init__(
        self, folder: Path, github: Double, *, checks: Mapping[str, str] | None = None, fork: bool = False
    ) -> None:
        self.github = github
        self.folder = folder
        jobs = dict(checks if checks is not None else {"test": RED})
        self.hub = github.create_repository(
            "acme/widgets",
            {"README.md": "hello\n", "src/app.py": "x = 1\n"},
            people={US: "read" if fork else "write", "ada": "write", "bob": "write", "eve": "read"},
            protection=Protection(contexts=tuple(jobs), strict=True),
            slow_mergeable=0,
        )
        github.add_workflow("CI", jobs)
        self.source = github.fork(US) if fork else self.hub
        self.token = github.token(US)
        git(folder, "clone", "-q", str(self.hub.git), "user")
        self.user = folder / "user"
        git(self.user, "config", "user.name", "Octo")
        git(self.user, "config", "user.email", "octo@example.org")
        self.first = self.hub.tip("main")
        url, push = github.url("acme/widgets"), github.url(self.source.full_name)
        self.hosted = Hosted(github.api, "acme", "widgets", url, push, self.source.owner)
        self.time = 1000.0
        self.merged: list[str] = []
        self.trusted: list[str] = []
        self.hint = folder / "hint"
        self.logs = folder / "logs" / "checks"
        self.driver()

    @contextmanager
    def acting(self) -> Iterator[None]:
        """Let somebody do something on GitHub, not seen halfway."""
        with self.github.state.lock:
            yield

    def driver(self, faults: Callable[[str], None] = no_fault) -> GitHubForge:
        """Return a forge as the next driver of the run would make it, with nothing kept in memory."""
        remote = Remote(self.hosted.url, self.hosted.push, lambda: self.token, os.environ)
        found = inspect(self.user, "main").refs
        self.repository = RunRepository(self.folder / "run", found, RUN, self.first, (), faults, remote=remote)
        self.client = self.connected()
        self.reading = Reading(self.client, self.hosted, "main", lambda: self.trusted, "octo@example.org")
        self.forge = GitHubForge(
            self.client,
            self.hosted,
            "main",
            self.repository,
            self.reading,
            merged=self.landed,
            hint=self.hint,
            logs=self.logs,
            faults=faults,
            waits=(0.0, 0.0, 0.0),
            clock=self.now,
        )
        return self.forge

    def connected(self) -> GithubClient:
        return GithubClient(self.hosted.api, self.token, spacing=0.0, sleep=lambda _: None)

    def landed(self) -> Sequence[str]:
        """Return the commits by which this run's changes were merged."""
        return self.merged

    def now(self) -> float:
        """Return the forge's time."""
        return self.time

    # what the run does

    async def push(self, change: str, files: Mapping[str, str]) -> str:
        branch = f"claudetm/{RUN}/{change}"
        await self.repository.open_worktree(change, branch, await self.forge.base())
        commit(self.folder / "run" / "changes" / change, files)
        head = await self.repository.adopt(change)
        assert await self.repository.push(branch, head) == Pushed()
        return head

    async def settled(self, number: int) -> PullRequest:
        """Read it once its checks have reported, and GitHub has made up its mind."""
        while True:
            await asyncio.to_thread(self.github.ci.settle)
            pull = (await self.forge.read([number]))[number]
            with self.acting():
                known = rules.merge_state(self.hub, self.pull(number), asking=False) != "UNKNOWN"
            if all(c.state is not CheckState.PENDING for c in pull.checks) and known:
                return (await self.forge.read([number]))[number]

    # what GitHub has

    def pull(self, number: int) -> HostedPull:
        """Return a pull request as GitHub has it."""
        return self.hub.pulls[number]

    def comments(self, number: int) -> list[Comment]:
        """Return the conversation."""
        return self.hub.comments_on(number)

    def there(self, branch: str) -> str:
        """Return where a branch stands that the run pushes to, "" for nowhere."""
        return self.source.tip(branch)

    # what people do

    def push_by_person(self, branch: str, files: Mapping[str, str], *, force: bool = False, by: str = "ada") -> str:
        home = self.source if branch.startswith("claudetm/") else self.hub
        return self.github.push_by_person(branch, files, by, force=force, repository=home.full_name)

    def delete_by_person(self, branch: str) -> None:
        self.github.delete_branch(branch, repository=self.source.full_name)

    def remark(self, number: int, body: str) -> str:
        return f"comment-{self.github.comment(number, body).id}"

    def close_by_person(self, number: int) -> None:
        self.github.close_by_person(number)

    def reopen_by_person(self, number: int) -> None:
        self.github.reopen_by_person(number)

    async def merge_by_person(self, number: int) -> None:
        """As one whom the rules do not hold."""
        self.github.protect(None)
        self.github.merge_by_person(number, method="merge")

    async def at_the_last_moment(self, act: Callable[[], object]) -> None:
        """Have a person act when all has been looked at, before the merge is asked for: of the next driver."""
        self.driver(once("merge:before", act))
