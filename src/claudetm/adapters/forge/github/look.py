"""A run's pull requests on GitHub as they are at this moment, beside its driver: one request for all of them.

Nothing is written to the run but whole logs, where its driver keeps them too; closing is the one write to GitHub.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Protocol

from claudetm.adapters.forge.github.place import Hosted
from claudetm.adapters.forge.github.pull import Mergeable, Pull
from claudetm.adapters.forge.looking import Seen
from claudetm.errors import ForgeBusy, ForgeError
from claudetm.ports.forge import CheckLog
from claudetm.workflow.pull_request import CheckState, PullRequest, PullRequestState
from claudetm.workflow.run import ChangeState, Run

if TYPE_CHECKING:
    from claudetm.adapters.forge.github.once import Once

_AGAIN: Final = re.compile(r": it is (?:asked again|looked up) at [^;.]+")
_JOB: Final = re.compile(r"/actions/runs/\d+/job/(\d+)")


class Reads(Protocol):
    """What reads pull requests: `reading.Reading`."""

    def pulls(self, numbers: Sequence[int]) -> Mapping[int, Pull]:
        """Return them as they are."""
        ...

    def pull(self, number: int, fresh: bool = True) -> Pull:
        """Return one, read whole."""
        ...


class Logs(Protocol):
    """What reads logs: `logs.CheckLogs`."""

    def of(self, pull: Pull, check: str) -> CheckLog:
        """Return what a failed check wrote, or says of itself."""
        ...

    def of_job(self, check: str, job: int) -> CheckLog:
        """Return what an Actions job wrote."""
        ...


class Writes(Protocol):
    """What writes to GitHub, once: a part of `client.GithubClient`."""

    def write(self, verb: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Send it and return the answer."""
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks GitHub, with a token."""

    reading: Reads
    logs: Logs
    client: Writes
    once: Once


class GithubLook:
    """The pull requests of a run, as its journal tells it. `ask` is called once, when GitHub is to be asked."""

    def __init__(self, run: Run, hosted: Hosted, ask: Callable[[], Asked]) -> None:
        self._run = run
        self._hosted = hosted
        self._ask = ask
        self._pulls: dict[int, Pull] = {}

    @cached_property
    def _asked(self) -> Asked:
        return self._ask()

    def pulls(self) -> list[Seen]:
        """Return those of the run's changes, and the one it adopts. Raises ForgeError where none can be asked for."""
        changes = {c.number: c for c in self._run.changes.values() if c.number}
        numbers = sorted({*changes, self._run.adopts} - {0})
        if not numbers:
            return []
        try:
            self._pulls = dict(self._asked.reading.pulls(numbers))
            self._pulls |= {n: self._asked.reading.pull(n) for n in numbers if n not in self._pulls}
        except ForgeError as error:
            raise ForgeError(f"{_once(error).rstrip('.')}; `claudetm status` shows what is known here") from error
        return [_seen(self._pulls[n], changes.get(n)) for n in numbers if n in self._pulls]

    def log(self, seen: Seen, check: str) -> CheckLog:
        """Return what a check wrote or says of itself, as the fixer would get it; also what one that passed wrote."""
        pull = self._pulls[seen.pull.number]
        job = _JOB.search(pull.links.get(check, ""))
        try:
            if job and check not in pull.failed_jobs:
                return self._asked.logs.of_job(check, int(job[1]))
            return self._asked.logs.of(pull, check)
        except ForgeBusy as error:
            raise type(error)(_once(error), error.until) from error

    def withdraw(self, number: int) -> PullRequestState:
        """Close one unmerged. It is sent once; where no answer came, what became of it is looked up."""
        asked, path = self._asked, f"/repos/{self._hosted.repository}/pulls/{number}"

        def send() -> PullRequestState:
            told = asked.client.write("PATCH", path, {"state": "closed"})
            return PullRequestState.MERGED if told.get("merged") else PullRequestState.CLOSED

        def look() -> PullRequestState | None:
            state = asked.reading.pull(number).state
            return None if state is PullRequestState.OPEN else state

        try:
            return asked.once.write(send, look)
        except ForgeBusy as error:
            raise type(error)(_once(error), error.until) from error


def _once(error: ForgeError) -> str:
    """Return an error's sentence for a command that ends with it: nothing is asked again by itself."""
    return _AGAIN.sub(": call it again", str(error))


def _seen(pull: Pull, change: ChangeState | None) -> Seen:
    reported = tuple(c.name for c in pull.checks if c.state is not CheckState.PENDING)
    return Seen(
        pull_request(pull),
        change.id if change else "",
        pull.title,
        pull.body,
        gone=not pull.branch_there,
        approved=pull.approved,
        reported=reported,
        links=pull.links,
        addresses=_addresses(pull),
        draft=pull.draft,
        queue=pull.queue,
        auto_merge=pull.auto_merge,
        ignored=pull.ignored,
    )


_ANCHORS: Final[Mapping[str, str]] = {"review-": "#pullrequestreview-", "comment-": "#issuecomment-"}


def _addresses(pull: Pull) -> dict[str, str]:
    """Return where each conversation is on the pull request's page, as far as it is known."""
    found = {thread: f"{pull.url}#discussion_r{first}" for thread, first in pull.replies.items()}
    for thread in (*pull.threads, *pull.ignored):
        for begins, anchor in _ANCHORS.items():
            if thread.id.startswith(begins):
                found[thread.id] = f"{pull.url}{anchor}{thread.id.removeprefix(begins)}"
    return found


def pull_request(pull: Pull) -> PullRequest:
    """Return the port's value, of what GitHub alone tells: whose pushes are taken, git would have to say."""
    return PullRequest(
        pull.number,
        pull.branch,
        pull.head,
        pull.base,
        url=pull.url,
        state=pull.state,
        merge_commit=pull.merge_commit,
        by=pull.by,
        conflicting=pull.mergeable is Mergeable.CONFLICTING,
        behind=pull.status == "BEHIND",
        queued=pull.queued,
        checks=pull.checks,
        bounded=False,
        threads=pull.threads,
        approvals=pull.approvals,
        objections=pull.objections,
        withheld=pull.withheld,
        unheard=pull.unheard,
    )
