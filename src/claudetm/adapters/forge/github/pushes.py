"""What git knows of a pull request on GitHub: what it was tested with, and whether what was pushed on ours is taken.

Commits are brought into the clean room only where they are not there yet.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from claudetm.adapters.forge.github.pull import Pull, PushedCommit
from claudetm.adapters.git.run_repository import RunRepository
from claudetm.errors import ForgeBusy
from claudetm.ports.repository import Merged

_SOON = 10.0


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an open pull request stands to its base and to our last push; see `PullRequest`."""

    tested_base: str
    lacking: bool  # a change of this run was merged that it does not contain
    forward: bool
    foreign: str


class GithubPushes:
    """What is in the branches of a run's pull requests."""

    def __init__(self, repository: RunRepository, target: str, merged: Callable[[], Sequence[str]]) -> None:
        """Take the run's repository, the branch that is merged into, and what tells the commits of our merges."""
        self._repository = repository
        self._target = target
        self._merged = merged
        self._here: set[str] = set()
        self._contained: dict[tuple[str, str], bool] = {}
        self._forks: dict[tuple[str, str], str] = {}

    async def standing(self, pull: Pull) -> Standing:
        """Return how an open pull request stands."""
        if not await self._has(pull.base):
            await self._repository.fetch(pull.target)
        if not await self._has(pull.head):
            await self._repository.fetch_pull(pull.number)
        for commit in (pull.base, pull.head):
            if not await self._has(commit):
                raise ForgeBusy(f"GitHub tells of {commit[:10]}, but git cannot fetch it yet.", time.time() + _SOON)
        ours = await self._repository.last_push(pull.branch)
        forward = not ours or await self._contains(pull.head, ours)
        foreign = await self._foreign(pull, ours) if ours and forward and pull.head != ours else ""
        pair = (pull.base, pull.head)
        if pair not in self._forks:
            self._forks[pair] = await self._repository.merge_base(*pair)
        return Standing(self._forks[pair], await self.lacking(pull.head), forward, foreign)

    async def unshown(self, pull: Pull) -> str:
        """Return our last push where GitHub tells of a head from before it, which it may do for a while; else ""."""
        ours = await self._repository.last_push(pull.branch)
        if not ours or pull.head == ours or not await self._has(pull.head):
            return ""
        if not await self._contains(ours, pull.head):
            return ""
        return ours if await self._repository.branch_tip(pull.branch) == ours else ""  # else somebody forced it back

    async def lacking(self, head: str) -> bool:
        """Whether a change of this run was merged that the head does not contain."""
        for commit in self._merged():
            if not await self._has(commit):
                await self._repository.fetch(self._target)
            if not await self._has(commit) or not await self._contains(head, commit):
                return True
        return False

    async def _has(self, commit: str) -> bool:
        if commit not in self._here and await asyncio.to_thread(self._repository.room.has, commit):
            self._here.add(commit)
        return commit in self._here

    async def _contains(self, descendant: str, ancestor: str) -> bool:
        pair = (descendant, ancestor)
        if pair not in self._contained:
            self._contained[pair] = await self._repository.contains(*pair)
        return self._contained[pair]

    async def _foreign(self, pull: Pull, ours: str) -> str:
        """Return why what was pushed on top of ours is not taken, or ""."""
        known = {c.id: c for c in pull.commits}
        for commit in await self._repository.commits(ours, pull.head):
            if await self._contains(pull.base, commit.id):
                continue
            pushed = known.get(commit.id)
            if (pushed and pushed.listened) or await self._merges_base(commit.id, pull.base):
                continue
            who = _name(pushed) if pushed else commit.author or "unknown"
            return f"somebody who is not listened to ({who}) pushed {commit.id[:7]} to {pull.branch}"
        return ""

    async def _merges_base(self, commit: str, base: str) -> bool:
        """Whether a commit is the merge of the base, and of nothing else: as git makes it by itself."""
        _, parents = await self._repository.parents(commit)
        if len(parents) != 2 or not await self._contains(base, parents[1]):  # noqa: PLR2004 - a merge of two
            return False
        again = await self._repository.build_merge(*parents, "Merge")
        return isinstance(again, Merged) and not await self._repository.changed_paths(again.commit, commit)


def _name(pushed: PushedCommit) -> str:
    return pushed.login or pushed.email or "unknown"
