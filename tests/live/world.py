"""A world of the forges' suite on a repository at GitHub that somebody cares about.

It has a main of its own, made from a commit without parents, and the branches that go into it.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

import pytest

from claudetm.adapters.forge.github.client import GithubRefused
from claudetm.adapters.forge.github.forge import GitHubForge
from claudetm.adapters.forge.github.pull import Mergeable, Pull
from claudetm.adapters.forge.github.reading import Reading
from claudetm.adapters.git.clean_room import CleanRoom
from claudetm.adapters.git.git import run
from claudetm.adapters.git.remote import Remote
from claudetm.adapters.git.run_repository import RunRepository, no_fault
from claudetm.adapters.git.user_repository import inspect
from claudetm.errors import ForgeBusy
from claudetm.ports.forge import MergeOutcome, NewPullRequest, Note, NotYet
from claudetm.ports.repository import Conflicted, Pushed
from claudetm.testing.forge_conformance import ForgeConformance, ForgeWorld
from claudetm.workflow.pull_request import CheckState, PullRequest, PullRequestState
from integration.repositories import AUTHOR, commit, git, make_user, once
from live.place import Place, clear, left, new_run, uninterrupted

T = TypeVar("T")
CHECK: Final = "claudetm-live"
_UNPROCESSABLE: Final = 422


@contextmanager
def live_world(found: Place, folder: Path) -> Iterator[LiveForgeWorld]:
    """Yield a world, and leave nothing of it behind."""
    world = LiveForgeWorld(folder, found)
    try:
        world.begin()
        yield world
    finally:
        with uninterrupted():
            clear(found, world.run_id)


class DrivenForge(GitHubForge):
    """The forge as the loop calls it: again in a while, where it says that GitHub is behind or not done."""

    looks: Sequence[float] = ()

    async def _again(self, call: Callable[[], Awaitable[T]]) -> T:
        for pause in self.looks:
            try:
                told = await call()
            except ForgeBusy:
                await asyncio.sleep(pause)
                continue
            if not isinstance(told, NotYet):
                return told
            await asyncio.sleep(pause)
        return await call()

    async def read(self, numbers: Sequence[int]) -> Mapping[int, PullRequest]:
        return await self._again(lambda: super(DrivenForge, self).read(numbers))

    async def find(self, branch: str) -> PullRequest | None:
        return await self._again(lambda: super(DrivenForge, self).find(branch))

    async def open(self, new: NewPullRequest) -> PullRequest:
        return await self._again(lambda: super(DrivenForge, self).open(new))

    async def note(self, number: int, note: Note) -> str:
        return await self._again(lambda: super(DrivenForge, self).note(number, note))

    async def merge(self, number: int, head: str, base: str, method: str) -> MergeOutcome:
        return await self._again(lambda: super(DrivenForge, self).merge(number, head, base, method))


class LiveForgeWorld:
    """The real forge on a repository at GitHub. People are the token's own account, through REST and git.

    No workflow is there to report, so the world itself says how a head's one check came out.
    """

    def __init__(self, folder: Path, found: Place) -> None:
        self.run_id = new_run(time.time())
        self.target = f"claudetm/{self.run_id}/main"
        self.place = found
        self.folder = folder
        self.user = make_user(folder / "user")
        self._remote = Remote(found.hosted.url, found.hosted.push, found.token, os.environ)
        self._room = CleanRoom(folder / "person.git", AUTHOR)
        run(["git", "init", "--bare", "--quiet", "--template=", str(self._room.path)], self._room.git.environment())
        self._protected = False

    def begin(self) -> None:
        """Make the main."""
        self.first = self._written("", {"README.md": "hello\n", "live": f"{self.run_id}\n"})
        self._move(self.target, self.first, "")
        self._eyes = self._reading()
        self.driver()

    def _reading(self) -> Reading:
        return Reading(self.place.client, self.place.hosted, self.target, tuple, "ada@example.org")

    def driver(self, faults: Callable[[str], None] = no_fault) -> GitHubForge:
        """Return a forge as the next driver of the run would make it, with nothing kept in memory."""
        refs = inspect(self.user, "main").refs
        self.repository = RunRepository(
            self.folder / "run", refs, self.run_id, self.first, (), faults, remote=self._remote
        )
        self.forge = DrivenForge(
            self.place.client,
            self.place.hosted,
            self.target,
            self.repository,
            self._reading(),
            merged=tuple,
            hint=self.folder / "hint",
            logs=self.folder / "logs",
            faults=faults,
            waits=self.place.waits,
        )
        self.forge.looks = self.place.looks
        return self.forge

    # what the run does

    async def push(self, change: str, files: Mapping[str, str]) -> str:
        branch = f"claudetm/{self.run_id}/{change}"
        worktree = await self.repository.open_worktree(change, branch, await self.forge.base())
        commit(worktree, files)
        head = await self.repository.adopt(change)
        if (pushed := await self.repository.push(branch, head)) != Pushed():
            raise AssertionError(f"{self.place.hosted.repository} does not take a push: {pushed}")
        await asyncio.to_thread(self._report, branch, head, git(worktree, "ls-tree", "--name-only", head))
        return head

    async def settled(self, number: int) -> PullRequest:
        """Read it until GitHub tells of what is there now: both tips, the check, and whether they can be merged."""
        for pause in (0.0, *self.place.looks):
            await asyncio.sleep(pause)
            pull = (await self.forge.read([number]))[number]
            if await self._is_settled(pull):
                break
        return pull

    async def _is_settled(self, pull: PullRequest) -> bool:
        if not pull.checks or any(c.state is CheckState.PENDING for c in pull.checks):
            return False
        shown = await asyncio.to_thread(self._eyes.pull, pull.number)
        if Mergeable.UNKNOWN in (shown.mergeable, shown.status):
            return False
        tips = await asyncio.to_thread(left, self.place)
        base, head = (tips.get(name, "") for name in (self.target, pull.branch))
        if (pull.base, pull.head) != (base, head):
            return False
        conflicting = isinstance(await self.repository.build_merge(base, head, "Try"), Conflicted)
        behind = self._protected and not await self.repository.contains(head, base)
        return (pull.conflicting, pull.behind) == (conflicting, behind and not conflicting)

    def _report(self, branch: str, head: str, names: str) -> None:
        """Say how the check of a head came out, and wait until its pull request, where there is one, shows it."""
        red = "red" in names.split()
        said = {"state": "failure" if red else "success", "description": "it is red" if red else "all is well"}

        def reported() -> bool:
            try:
                self.place.client.write("POST", self.place.at(f"/statuses/{head}"), {"context": CHECK, **said})
            except GithubRefused as refused:
                if refused.status != _UNPROCESSABLE:  # it does not see the push yet
                    raise
                return False
            return True

        self._until(reported, f"{head[:10]} was pushed")
        if number := self._open(branch):
            self._shows(number, lambda pull: pull.head == head, f"{head[:10]} was pushed to {branch}")

    # what is waited for

    def _open(self, branch: str) -> int:
        """Return the number of a branch's open pull request, or 0."""
        label = f"{self.place.hosted.head_owner}:{branch}"
        found = self.place.client.pages(self.place.at("/pulls"), head=label, state="open")
        return next((int(p["number"]) for p in found if p["head"]["ref"] == branch), 0)

    def _shows(self, number: int, seen: Callable[[Pull], bool], what: str, state: str = "open") -> None:
        """Wait until both GraphQL and REST show what was done."""
        at = self.place.at(f"/pulls/{number}")
        self._until(lambda: self.place.client.get(at)["state"] == state and seen(self._eyes.pull(number)), what)

    def _until(self, seen: Callable[[], bool], what: str) -> None:
        """Wait until GitHub's reads have caught up with its writes."""
        for pause in (0.0, *self.place.looks):
            time.sleep(pause)
            if seen():
                return
        raise AssertionError(f"GitHub does not show within {sum(self.place.looks):.0f} seconds that {what}")

    # what people do

    def push_by_person(self, branch: str, files: Mapping[str, str], *, force: bool = False) -> str:
        at = self._remote.tip(self._room, f"refs/heads/{branch}", self._remote.main)
        made = self._written(self._room.git.text("rev-parse", f"{at}^") if force else at, files)
        with self._unprotected(branch):
            self._move(branch, made, at)
        if branch != self.target:
            self._report(branch, made, self._room.git.text("ls-tree", "--name-only", made))
        return made

    def _move(self, branch: str, new: str, old: str) -> None:
        if refused := self._remote.move(self._room, f"refs/heads/{branch}", new, old):
            raise AssertionError(f"{self.place.hosted.repository} does not take a push to {branch}: {refused}")

    def _written(self, parent: str, files: Mapping[str, str]) -> str:
        """Return a new commit with these files changed; without a parent, of these alone."""
        room = self._room.git.having(GIT_INDEX_FILE=str(self.folder / "index"))
        room.run("read-tree", parent or "--empty")
        for path, text in files.items():
            blob = room.run("hash-object", "-w", "--stdin", stdin=text.encode()).text
            room.run("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}")
        parents = ("-p", parent) if parent else ()
        return room.text("commit-tree", "-m", "A person's commit", *parents, room.text("write-tree"))

    def delete_by_person(self, branch: str) -> None:
        number = self._open(branch)
        self.place.client.write("DELETE", self.place.at(f"/git/refs/heads/{quote(branch)}"))
        if number:
            self._shows(
                number, lambda pull: _closed(pull) and not pull.branch_there, f"{branch} was deleted", "closed"
            )

    def remark(self, number: int, body: str) -> str:
        made = self.place.client.write("POST", self.place.at(f"/issues/{number}/comments"), {"body": body})
        thread = f"comment-{made['id']}"
        self._shows(number, lambda pull: any(t.id == thread for t in pull.threads), f"#{number} was spoken of")
        return thread

    def close_by_person(self, number: int) -> None:
        self._turn(number, {"state": "closed"})
        self._shows(number, _closed, f"#{number} was closed", "closed")

    def reopen_by_person(self, number: int) -> None:
        self._turn(number, {"state": "open"})
        self._shows(number, lambda pull: pull.state is PullRequestState.OPEN, f"#{number} was opened again")

    def _turn(self, number: int, asked: Mapping[str, Any]) -> None:
        self.place.client.write("PATCH", self.place.at(f"/pulls/{number}"), asked)

    async def merge_by_person(self, number: int) -> None:
        await asyncio.to_thread(self._merge, number)

    def _merge(self, number: int) -> None:
        self.place.client.write("PUT", self.place.at(f"/pulls/{number}/merge"), {"merge_method": "merge"})
        self._shows(number, lambda pull: bool(pull.merge_commit and pull.by), f"#{number} was merged", "closed")

    async def at_the_last_moment(self, act: Callable[[], object]) -> None:
        """Have a person act when all has been looked at, before the merge is asked for: of the next driver."""
        self.driver(once("merge:before", act))

    # rules

    def protect(self) -> str:
        """Require the check, on what is up to date, for this world's own main; return why not, "" where it is so."""
        asked = {
            "required_status_checks": {"strict": True, "contexts": [CHECK]},
            "enforce_admins": True,
            "required_pull_request_reviews": None,
            "restrictions": None,
        }
        try:
            self.place.client.write("PUT", self._protection, asked)
        except GithubRefused as refused:
            return str(refused)
        self._protected = True
        return ""

    @property
    def _protection(self) -> str:
        return self.place.at(f"/branches/{quote(self.target, safe='')}/protection")

    @contextmanager
    def _unprotected(self, branch: str) -> Iterator[None]:
        """Let a person who may do that lift the protection for a push."""
        lifted = self._protected and branch == self.target
        if lifted:
            self.place.client.write("DELETE", self._protection)
        yield
        if lifted and (why := self.protect()):
            raise AssertionError(why)


def _closed(pull: Pull) -> bool:
    return pull.state is PullRequestState.CLOSED and bool(pull.by)


class LiveForgeSuite(ForgeConformance):
    """The suite of all forges. Only a rule makes GitHub itself say that a head is behind its base."""

    async def test_a_base_that_moved_is_behind(self, world: ForgeWorld) -> None:
        assert isinstance(world, LiveForgeWorld)
        if why := world.protect():
            pytest.skip(f"a branch cannot be protected with this token: {why}")
        await super().test_a_base_that_moved_is_behind(world)
