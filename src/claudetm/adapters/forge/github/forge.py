"""The forge on GitHub. What it says is read; each write is looked up first, sent once, and found again by its key.

pull request  its head branch        remark, reply  a marker in it         merge  the head that was tested
branch        the commit it is at    re-run         the run's attempt      issue  the words in the description
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from claudetm.adapters.forge.github.client import GithubClient, GithubRefused, Unauthorised
from claudetm.adapters.forge.github.logs import CheckLogs
from claudetm.adapters.forge.github.look import pull_request
from claudetm.adapters.forge.github.meant import Meant
from claudetm.adapters.forge.github.merge import GithubMerging, Wish, opposed
from claudetm.adapters.forge.github.notes import GithubNotes
from claudetm.adapters.forge.github.once import WAITS, Once
from claudetm.adapters.forge.github.opening import GithubOpening
from claudetm.adapters.forge.github.pace import Pace
from claudetm.adapters.forge.github.place import Hosted
from claudetm.adapters.forge.github.pull import Pull
from claudetm.adapters.forge.github.pushes import GithubPushes
from claudetm.adapters.forge.github.reading import Reading, Unshown
from claudetm.adapters.forge.github.reviews import same
from claudetm.adapters.forge.github.runs import GithubRuns
from claudetm.adapters.git.run_repository import RunRepository, no_fault
from claudetm.errors import ForgeBusy, ForgeError, RepositoryError
from claudetm.ports.forge import CheckLog, MergeDone, MergeOutcome, NewPullRequest, Note
from claudetm.workflow.pull_request import Check, CheckState, PullRequest, PullRequestState

P = ParamSpec("P")
T = TypeVar("T")

HINT_SECONDS: Final = 0.5
RUNS_MOST: Final = 3600.0
"""Seconds for which checks of the base are waited for; then nothing is known of them."""


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
        clock: Callable[[], float] = time.monotonic,
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
        self._once = Once(waits, clock)
        self._pushes = GithubPushes(repository, target, merged)
        meant = Meant(repository)
        self._notes = GithubNotes(client, hosted, reading, self._once, faults, meant)
        self._merging = GithubMerging(client, hosted, reading, self._once, self._remember, faults)
        self._runs = GithubRuns(client, hosted, self._once, faults, meant)
        self._logs = CheckLogs(client, hosted, logs)
        self._paces = Pace(client, clock)
        self._opening = GithubOpening(client, hosted, target, self._once)
        self._tidied: set[int] = set()
        self._untidy: list[Pull] = []  # whose branches could not be deleted, as nobody answered
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
        left, self._untidy = self._untidy, []
        for pull in left:
            await self._tidy(pull)
        tip = await self._repository.fetch(self._target)
        if not tip:
            raise ForgeError(
                f"{self._hosted.repository} has no branch {self._target} any more: push it, then claudetm resume"
            )
        return tip

    async def read(self, numbers: Sequence[int]) -> Mapping[int, PullRequest]:
        """Return pull requests as they are now, all with few requests; without those that GitHub tells a part of."""
        await asyncio.to_thread(self._runs.told, numbers)
        for number in self._runs.awaited:
            self._reading.forget(number)
        with self._paces.counting():
            pulls = await asyncio.to_thread(self._reading.pulls, numbers)
            return {number: await self._told(pulls[number]) for number in numbers if number in pulls}

    async def find(self, branch: str) -> PullRequest | None:
        """Return the newest pull request of a branch, open or not.

        Raises ForgeError for an open one that goes into another branch: it is somebody else's, and GitHub allows
        others beside it.
        """
        number = await asyncio.to_thread(self._opening.newest, branch)
        return await self._one(number) if number else None

    async def _one(self, number: int) -> PullRequest:
        """Return one that REST has just told of: GraphQL may show it a moment later."""
        self._reading.expect(number)
        found = await asyncio.to_thread(self._once.found, lambda: self._shown(number))
        if found is None:
            found = await asyncio.to_thread(self._reading.pull, number)  # says what is wrong
        return await self._told(found)

    def _shown(self, number: int) -> Pull | None:
        try:
            return self._reading.pull(number)
        except Unshown:
            return None

    async def _told(self, pull: Pull) -> PullRequest:
        """Return the port's value: what GitHub tells, and what only git knows."""
        if pull.state is not PullRequestState.OPEN:
            if pull.state is PullRequestState.MERGED:
                await self._tidy(pull)
            return pull_request(pull)
        if self._runs.stale(pull):  # one that failed again as quickly looks as if nothing had changed
            pull = await asyncio.to_thread(self._reading.pull, pull.number)
        if await self._writing(self._notes.complete, pull):
            pull = await asyncio.to_thread(self._reading.pull, pull.number)
        pull = await self._taken_back(pull)
        if not pull.base:
            await self.base()  # says that it is gone
        told = pull_request(pull)
        if pushed := await self._pushes.unshown(pull):
            return replace(told, head=pushed, conflicting=False, behind=False, checks=(_UNSHOWN,))
        standing = await self._pushes.standing(pull)
        return replace(
            told,
            tested_base=standing.tested_base,
            conflicting=told.conflicting or pull.status == "DIRTY",
            behind=told.behind or standing.lacking,
            forward=standing.forward,
            foreign=standing.foreign,
            queued=pull.queued or bool(pull.auto_merge),
            checks=self._runs.shown(pull),
            threads=self._notes.shown(pull),
            withheld=told.withheld or self._astray(pull),
        )

    def _astray(self, pull: Pull) -> str:
        """Return what somebody did to where it comes from or goes to, as a clause, or ""."""
        if not pull.branch_there:
            return f"its branch {pull.branch} is gone"
        return "" if pull.target == self._target else f"it goes into {pull.target} by now"

    # writing

    async def open(self, new: NewPullRequest) -> PullRequest:
        """Open a pull request for a pushed branch, or return the open one that is there."""
        found = await self.find(new.branch)
        if found and found.state is PullRequestState.OPEN:
            return found
        if not await self._repository.branch_tip(new.branch):
            raise ForgeError(f"The branch {new.branch} is not there to open a pull request for.")
        self._faults("open:before")
        number = await self._writing(self._opening.open, new, found.number if found else 0)
        self._faults("open:after")
        return await self._one(number)

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

        body = self._reading.pull(number).body.rstrip()
        if words.search(body):
            return
        asked = {"body": f"{body}\n\nCloses #{issue}\n".lstrip()}
        self._faults(f"closes:before:{number}")
        self._once.write(lambda: str(self._client.write("PATCH", f"{self._at}/pulls/{number}", asked)), look)
        self._faults(f"closes:after:{number}")

    async def close_issue(self, issue: int) -> str:
        """Close an issue that no merge has closed; return why it stays open, as a clause, or ""."""
        return await self._writing(self._close, issue)

    def _close(self, issue: int) -> str:
        path = f"{self._at}/issues/{issue}"

        def closed() -> bool | None:
            return True if self._client.get(path)["state"] == "closed" else None

        try:
            there = self._client.get(path)
            if there["state"] == "closed":
                return ""
            if there.get("state_reason") == "reopened":
                return "somebody has opened it again"
            asked = {"state": "closed", "state_reason": "completed"}
            self._faults(f"issue:before:{issue}")
            self._once.write(lambda: bool(self._client.write("PATCH", path, asked)), closed)
            self._faults(f"issue:after:{issue}")
        except GithubRefused as refused:  # the work is merged, whatever becomes of it
            return str(refused).rstrip(".")
        return ""

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
            since = self._running_since.setdefault(commit, self._once.clock())
            return None if self._once.clock() - since < RUNS_MOST else {}
        red = {name: jobs for name, (state, jobs) in found.items() if state is CheckState.FAILED and name in checks}
        return {n: self._logs.of_jobs(n, jobs) if jobs else CheckLog(how="failure") for n, jobs in red.items()}

    # merging

    async def merge(self, number: int, head: str, base: str, method: str) -> MergeOutcome:
        """Merge exactly `head`, or have GitHub's queue do it; never over a person and never over a rule."""
        lacking = bool(base) and await self._pushes.lacking(head)
        outcome = await self._writing(self._merging.merge, Wish(number, head, base, method, self._target, lacking))
        if isinstance(outcome, MergeDone):
            with contextlib.suppress(ForgeError):  # it is merged, whatever becomes of its branch
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
        if pull.number in self._tidied or not pull.branch_there:
            return
        self._tidied.add(pull.number)
        if await asyncio.to_thread(self._repository.room.ref, _asked(pull.number)) != pull.head:
            return
        by_bot = pull.by.endswith("[bot]")  # its queue; "" where that is not shown yet
        try:
            if pull.by and not by_bot and not same(pull.by, await asyncio.to_thread(lambda: self._client.login)):
                return
            if await asyncio.to_thread(self._ours_to_delete, pull):
                await self._repository.delete_branch(pull.branch, pull.head)
        except (ForgeError, RepositoryError) as error:
            if isinstance(error, ForgeBusy):
                self._tidied.discard(pull.number)
                self._untidy.append(pull)
            _log.info("%s is merged, and its branch %s stays: %s", pull.url, pull.branch, error)

    def _ours_to_delete(self, pull: Pull) -> bool:
        """Whether its branch is where the run pushes to; the repository deletes its own itself, never a fork's."""
        if pull.deletes_branch and same(pull.head_repository, self._opening.upstream):
            return False
        return same(pull.head_repository.partition("/")[0], self._opening.source.partition("/")[0])

    # waiting

    def pace(self, quiet: float) -> float:
        """Return how much longer than usual to leave between looks: little after news, more as the quota goes."""
        return self._paces.factor(quiet)

    async def hint(self) -> None:
        """Return when the hint file has changed."""
        while (touched := _touched(self._hint)) == self._hinted:  # noqa: ASYNC110 - others touch it
            await asyncio.sleep(HINT_SECONDS)
        self._hinted = touched

    async def close(self) -> None:
        """End what git is still waiting for at the remote; nothing else runs in the background."""
        if self._repository.remote is not None:
            self._repository.remote.close()


_UNSHOWN: Final = Check("push", CheckState.PENDING, summary="GitHub does not show what was pushed yet")


def _asked(number: int) -> str:
    return f"refs/claudetm/asked/{number}"


def _touched(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


_log: Final = logging.getLogger(__name__)
