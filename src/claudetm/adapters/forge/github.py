"""The forge on GitHub. What it says is read; each write is looked up first, sent once, and found again by its key.

pull request  its head branch        remark, reply  a marker in it         merge  the head that was tested
branch        the commit it is at    re-run         the run's attempt      issue  the words in the description
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

from claudetm.adapters.forge.github_client import GithubClient, GithubRefused, Unauthorised
from claudetm.adapters.forge.github_logs import CheckLogs
from claudetm.adapters.forge.github_look import pull_request
from claudetm.adapters.forge.github_merge import GithubMerging, Wish, opposed
from claudetm.adapters.forge.github_notes import GithubNotes
from claudetm.adapters.forge.github_once import WAITS, Once
from claudetm.adapters.forge.github_place import Hosted
from claudetm.adapters.forge.github_pull import Pull
from claudetm.adapters.forge.github_pushes import GithubPushes
from claudetm.adapters.forge.github_reading import Reading
from claudetm.adapters.forge.github_reviews import same
from claudetm.adapters.forge.github_runs import GithubRuns
from claudetm.adapters.git.run_repository import RunRepository, no_fault
from claudetm.errors import ForgeBusy, ForgeError, RepositoryError
from claudetm.ports.forge import CheckLog, MergeDone, MergeOutcome, NewPullRequest, Note
from claudetm.workflow.pull_request import CheckState, PullRequest, PullRequestState

P = ParamSpec("P")
T = TypeVar("T")

HINT_SECONDS: Final = 0.5
SHARE: Final = 0.2
"""How much of an hour's quota looks may use."""

_HOUR: Final = 3600.0
_LOOK: Final = 2  # points that the first look costs, as a rule
_RESOURCES: Final = ("graphql", "core")
_PACES: Final = ((120.0, 0.5), (600.0, 1.0), (1800.0, 2.0))
_SLOWEST: Final = 4.0
_MOST_STRETCHED: Final = 60.0


class GitHubForge:
    """The port `Forge`, on GitHub."""

    def __init__(  # noqa: PLR0913 - what a forge stands on
        self,
        client: GithubClient,
        hosted: Hosted,
        target: str,
        repository: RunRepository,
        reading: Reading,
        *,
        merged: Callable[[], Sequence[str]],
        hint: Path,
        logs: Path,
        faults: Callable[[str], None] = no_fault,
        waits: Sequence[float] = WAITS,
    ) -> None:
        """Take who asks GitHub and where, the branch that is merged into, the run's repository, and what reads.

        `merged` tells the commits by which this run's changes were merged, `hint` is a file whose change hastens the
        next look, `logs` the folder for whole logs of checks.
        """
        self._client = client
        self._hosted = hosted
        self._at = f"/repos/{hosted.repository}"
        self._target = target
        self._repository = repository
        self._reading = reading
        self._hint = hint
        self._hinted = _touched(hint)
        self._faults = faults
        self._once = Once(waits)
        self._pushes = GithubPushes(repository, target, merged)
        self._notes = GithubNotes(client, hosted, reading, self._once, faults)
        self._merging = GithubMerging(client, hosted, reading, self._once, self._remember, faults)
        self._runs = GithubRuns(client, hosted, self._once, faults)
        self._logs = CheckLogs(client, hosted, logs)
        self._looks: deque[tuple[float, int]] = deque()  # when, and what it cost
        self._tidied: set[int] = set()
        self._unknown_since: dict[str, float] = {}  # a branch whose push GitHub does not see yet
        self._running_since: dict[str, float] = {}  # a commit of the base whose checks run

    async def _writing(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do blocking work that writes, in a thread: its looks may use what is kept for writes."""

        def run() -> T:
            with self._client.for_write():
                return work(*args, **kwargs)

        return await asyncio.to_thread(run)

    # reading

    async def base(self) -> str:
        """Return the tip of the branch that pull requests merge into."""
        tip = await self._repository.fetch(self._target)
        if not tip:
            raise ForgeError(
                f"{self._hosted.repository} has no branch {self._target} any more: push it, then claudetm resume"
            )
        return tip

    async def read(self, numbers: Sequence[int]) -> Mapping[int, PullRequest]:
        """Return pull requests as they are now, all with one or two requests."""
        before = self._left()
        pulls = await asyncio.to_thread(self._reading.pulls, numbers)
        used = sum(max(0, left - self._left().get(name, left)) for name, left in before.items())
        self._looks.append((time.monotonic(), used if before else _LOOK))
        return {number: await self._told(pulls[number]) for number in numbers}

    async def find(self, branch: str) -> PullRequest | None:
        """Return the newest pull request of a branch, open or not.

        Raises ForgeError for an open one that goes into another branch: it is somebody else's, and GitHub allows
        others beside it.
        """
        number = await asyncio.to_thread(self._newest, branch)
        return await self._one(number) if number else None

    def _newest(self, branch: str) -> int:
        """Return the number of a branch's newest pull request into the target, or 0."""
        head = f"{self._hosted.head_owner}:{branch}"
        found = self._client.pages(f"{self._at}/pulls", head=head, state="all", sort="created", direction="desc")
        # a `head` that GitHub does not understand lists every pull request
        found = [p for p in found if str(p["head"]["label"]).casefold() == head.casefold()]
        ours = [p for p in found if p["base"]["ref"] == self._target]
        elsewhere = next((p for p in found if p["state"] == "open" and p not in ours), None)
        if elsewhere and not any(p["state"] == "open" for p in ours):
            raise ForgeError(
                f"{elsewhere['html_url']} merges {branch} into {elsewhere['base']['ref']}, not into {self._target}:"
                " close it, or change its base branch, then claudetm resume"
            )
        return max((int(p["number"]) for p in ours), default=0)

    async def _one(self, number: int) -> PullRequest:
        return await self._told(await asyncio.to_thread(self._reading.pull, number))

    async def _told(self, pull: Pull) -> PullRequest:
        """Return the port's value: what GitHub tells, and what only git knows."""
        if pull.state is not PullRequestState.OPEN:
            if pull.state is PullRequestState.MERGED:
                await self._tidy(pull)
            return pull_request(pull)
        pull = await self._taken_back(pull)
        standing = await self._pushes.standing(pull)
        told = pull_request(pull)
        return replace(
            told,
            tested_base=standing.tested_base,
            conflicting=told.conflicting or pull.status == "DIRTY",
            behind=told.behind or standing.lacking,
            forward=standing.forward,
            foreign=standing.foreign,
            queued=pull.queued or bool(pull.auto_merge),
            checks=self._runs.shown(pull),
        )

    # writing

    async def open(self, new: NewPullRequest) -> PullRequest:
        """Open a pull request for a pushed branch, or return the open one that is there."""
        found = await self.find(new.branch)
        if found and found.state is PullRequestState.OPEN:
            return found
        if not await self._repository.branch_tip(new.branch):
            raise ForgeError(f"The branch {new.branch} is not there to open a pull request for.")
        self._faults("open:before")
        number = await self._writing(self._open, new, found.number if found else 0)
        self._faults("open:after")
        return await self._one(number)

    def _open(self, new: NewPullRequest, before: int) -> int:
        """Send it, and return its number; `before` is the newest that is not open any more."""
        head = f"{self._hosted.head_owner}:{new.branch}" if self._hosted.forked else new.branch
        asked: dict[str, Any] = {"title": new.title, "body": new.body, "head": head, "base": self._target}
        if self._hosted.forked:
            asked["maintainer_can_modify"] = True

        def look() -> int | None:
            number = self._newest(new.branch)
            return number if number > before else None

        def send() -> int:
            return int(self._client.write("POST", f"{self._at}/pulls", {**asked, "draft": False})["number"])

        try:
            return self._once.write(send, look)
        except GithubRefused as refused:
            if not (_exists(refused) or _unseen(refused)):
                raise
            found = self._once.found(look)
            if found is not None:
                return found
            if not _unseen(refused):
                raise
            return self._open_later(new, send, look)

    def _open_later(self, new: NewPullRequest, send: Callable[[], int], look: Callable[[], int | None]) -> int:
        """Send once more what was refused as the push was not seen yet; that was an answer, so nothing is there."""
        since = self._unknown_since.setdefault(new.branch, time.monotonic())
        try:
            number = self._once.write(send, look)
        except GithubRefused as refused:
            if not _unseen(refused):
                raise
            if time.monotonic() - since < _UNSEEN:
                raise ForgeBusy(
                    f"GitHub does not see the push of {new.branch} yet.", time.time() + _SOON
                ) from refused
            del self._unknown_since[new.branch]
            raise ForgeError(
                f"GitHub does not see {new.branch} in {self._hosted.push}, where it was pushed: check that this is"
                f" {self._hosted.repository} or a fork of it, then claudetm resume"
            ) from refused
        del self._unknown_since[new.branch]
        return number

    async def note(self, number: int, note: Note) -> str:
        """Write a remark, or find it by its marker; return its thread's id."""
        return await self._writing(self._notes.write, number, note)

    async def closes(self, number: int, issue: int) -> None:
        """Have the merge close an issue: GitHub reads that in the description."""
        await self._writing(self._close_with, number, issue)

    def _close_with(self, number: int, issue: int) -> None:
        words = re.compile(rf"\b(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?):? +#{issue}\b", re.IGNORECASE)

        def look() -> str | None:
            body = self._reading.pull(number).body
            return body if words.search(body) else None

        if look() is not None:
            return
        body = self._reading.pull(number).body.rstrip()
        asked = {"body": f"{body}\n\nCloses #{issue}\n".lstrip()}
        self._faults(f"closes:before:{number}")
        self._once.write(lambda: str(self._client.write("PATCH", f"{self._at}/pulls/{number}", asked)), look)
        self._faults(f"closes:after:{number}")

    # checks

    async def rerun_checks(self, number: int, head: str) -> bool:
        """Run what failed at `head` once more; False where that cannot be done."""
        return await self._writing(self._rerun, number, head)

    def _rerun(self, number: int, head: str) -> bool:
        pull = self._reading.pull(number)
        return pull.state is PullRequestState.OPEN and pull.head == head and self._runs.rerun(pull)

    async def check_log(self, number: int, check: str) -> CheckLog:
        """Return what a failed check of the head wrote."""
        return await asyncio.to_thread(lambda: self._logs.of(self._reading.pull(number), check))

    async def failing_at(self, commit: str, checks: Sequence[str]) -> Mapping[str, CheckLog] | None:
        """Return those of the checks that failed on the base at this commit, with their logs; None while they run.

        Nothing starts them: they ran when it became the base's tip, or never.
        """
        return await asyncio.to_thread(self._failing_at, commit, checks)

    def _failing_at(self, commit: str, checks: Sequence[str]) -> Mapping[str, CheckLog] | None:
        try:
            found = self._reading.base_checks(commit, checks)
        except Unauthorised:
            raise
        except GithubRefused as refused:
            _log.info("How checks came out at %s cannot be read: %s", commit[:10], refused)
            return {}
        if found is None:
            since = self._running_since.setdefault(commit, time.monotonic())
            return None if time.monotonic() - since < _HOUR else {}
        red = {name: job for name, (state, job) in found.items() if state is CheckState.FAILED and name in checks}
        return {n: self._logs.of_job(n, job) if job else CheckLog(how="failure") for n, job in red.items()}

    # merging

    async def merge(self, number: int, head: str, base: str, method: str) -> MergeOutcome:
        """Merge exactly `head`, or have GitHub's queue do it; never over a person and never over a rule."""
        lacking = bool(base) and await self._pushes.lacking(head)
        outcome = await self._writing(self._merging.merge, Wish(number, head, base, method, lacking))
        if isinstance(outcome, MergeDone):
            await self._tidy(await asyncio.to_thread(self._reading.pull, number))
        return outcome

    def _remember(self, number: int, head: str) -> None:
        """Keep what GitHub was asked to merge: it may do so when this driver is no more."""
        self._repository.room.keep(_asked(number), head)

    async def _taken_back(self, pull: Pull) -> Pull:
        """Take back what GitHub was asked to merge, where that is not what was tested, or a person objects."""
        if not (pull.queued or pull.auto_merge):
            return pull
        asked = await asyncio.to_thread(self._repository.room.ref, _asked(pull.number))
        login = await asyncio.to_thread(lambda: self._client.login)
        if not asked or (pull.auto_merge and not same(pull.auto_merge, login)):
            return pull
        if asked == pull.head and not opposed(pull):
            return pull
        await self._writing(self._merging.take_back, pull)
        return await asyncio.to_thread(self._reading.pull, pull.number)

    async def _tidy(self, pull: Pull) -> None:
        """Delete the branch of what was merged for us, where it still is what was merged. None of it must succeed."""
        owner = pull.head_repository.partition("/")[0].casefold()
        theirs = owner != self._hosted.head_owner.casefold()
        if pull.number in self._tidied or not pull.branch_there or pull.deletes_branch or theirs:
            return
        self._tidied.add(pull.number)
        if await asyncio.to_thread(self._repository.room.ref, _asked(pull.number)) != pull.head:
            return
        try:
            await self._repository.delete_branch(pull.branch, pull.head)
        except (ForgeError, RepositoryError) as error:
            _log.info("%s is merged, and its branch %s stays: %s", pull.url, pull.branch, error)

    # waiting

    def pace(self, quiet: float) -> float:
        """Return how much longer than usual to leave between looks: little after news, more as the quota goes."""
        pace = next((factor for seconds, factor in _PACES if quiet < seconds), _SLOWEST)
        return min(pace * self._stretch(), _MOST_STRETCHED)

    def _left(self) -> Mapping[str, int]:
        found = self._client.quota().resources
        return {name: found[name].remaining for name in _RESOURCES if name in found}

    def _stretch(self) -> float:
        """Return by how much looks are to be spaced out, so that an hour of them keeps to its share."""
        now = time.monotonic()
        while self._looks and self._looks[0][0] < now - _HOUR:
            self._looks.popleft()
        limits = [found for name in _RESOURCES if (found := self._client.quota().of(name)) and found.limit]
        if not limits:
            return 1.0
        used = sum(cost for _, cost in self._looks) / (SHARE * min(found.limit for found in limits))
        left = min(found.remaining / found.limit for found in limits)
        by_share = 1.0 / max(1.0 - used, 1.0 / _MOST_STRETCHED) if used > 0.5 else 1.0  # noqa: PLR2004 - half of it
        return max(by_share, min(0.5 / max(left, 0.01), 10.0))

    async def hint(self) -> None:
        """Return when the hint file has changed."""
        while (touched := _touched(self._hint)) == self._hinted:  # noqa: ASYNC110 - others touch it
            await asyncio.sleep(HINT_SECONDS)
        self._hinted = touched

    async def close(self) -> None:
        """Nothing runs in the background."""


def _asked(number: int) -> str:
    return f"refs/claudetm/asked/{number}"


def _touched(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _exists(refused: GithubRefused) -> bool:
    return "already exists" in str(refused)


def _unseen(refused: GithubRefused) -> bool:
    """Whether it was refused as GitHub does not see the branch, which it may not yet."""
    errors = [e for e in refused.errors if isinstance(e, Mapping)]
    return any(e.get("field") == "head" and e.get("code") == "invalid" for e in errors)


_UNSEEN: Final = 60.0
_SOON: Final = 10.0
_log: Final = logging.getLogger(__name__)
