"""What hosts pull requests. Every write has a key it can be found by, so one that may have happened is looked up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from claudetm.workflow.pull_request import PullRequest

SETUP: Final = "setup"
"""The check that stands for setting a checkout up, where that fails."""


@dataclass(frozen=True, slots=True)
class NewPullRequest:
    """What is asked of the forge. `branch` is the key: one pull request a branch."""

    change: str
    branch: str
    head: str
    title: str
    body: str


@dataclass(frozen=True, slots=True)
class Note:
    """A remark to be written. `marker` is its key: written again, it is found, not repeated."""

    marker: str
    body: str
    thread: str = ""  # the thread replied to, or "" for a new one
    path: str = ""
    line: int = 0
    resolve: bool = False  # close the thread with it
    blocking: bool = True  # a new thread that must be answered
    seen: int = 0  # how many remarks the thread had when the reply was made; a person's newer one is not answered
    reopen: bool = False  # a reply that asks for an answer again


@dataclass(frozen=True, slots=True)
class CheckLog:
    """What a check wrote: text without colour codes and secrets, of a long log both ends.

    Where the whole is, what was run and how that ended are "" where the forge cannot tell.
    """

    text: str = ""
    path: str = ""
    command: str = ""
    how: str = ""
    no_verdict: str = ""  # why it says nothing about the code (cancelled, never started), or ""


@dataclass(frozen=True, slots=True)
class MergeDone:
    """Merged as this commit, now or before."""

    commit: str


@dataclass(frozen=True, slots=True)
class MergeQueuedUp:
    """The forge merges when its turn comes."""


@dataclass(frozen=True, slots=True)
class HeadChanged:
    """The head is no longer the one that was tested."""

    head: str


@dataclass(frozen=True, slots=True)
class BaseChanged:
    """The base is no longer the one it was tested with."""

    base: str


@dataclass(frozen=True, slots=True)
class MergeConflict:
    """It cannot be merged as it is."""


@dataclass(frozen=True, slots=True)
class Opposed:
    """A person has come between, by an objection, a conversation that is not closed, or by closing it: look again."""


@dataclass(frozen=True, slots=True)
class NotYet:
    """The forge has not made up its mind, or something in the way will pass: look again."""

    reason: str


@dataclass(frozen=True, slots=True)
class MergeRefused:
    """The forge will not; the reason is a sentence for the user."""

    reason: str
    next: str = "claudetm resume"


MergeOutcome = MergeDone | MergeQueuedUp | HeadChanged | BaseChanged | MergeConflict | Opposed | NotYet | MergeRefused


class Forge(Protocol):
    """The pull requests of one run."""

    async def base(self) -> str:
        """Return the commit that new branches start from: the tip of what pull requests merge into."""
        ...

    async def read(self, numbers: Sequence[int]) -> Mapping[int, PullRequest]:
        """Return pull requests as they are now. Reading may start checks that are due, never wait for them.

        One that cannot be read though others can is left out.
        """
        ...

    async def find(self, branch: str) -> PullRequest | None:
        """Return the newest pull request of a branch, open or not."""
        ...

    async def open(self, new: NewPullRequest) -> PullRequest:
        """Open a pull request for a pushed branch, or return the open one that is there."""
        ...

    async def note(self, number: int, note: Note) -> str:
        """Write a remark, or find it by its marker; return its thread's id."""
        ...

    async def rerun_checks(self, number: int, head: str) -> bool:
        """Run the failed checks of `head` once more; False when the forge cannot."""
        ...

    async def failing_at(self, commit: str, checks: Sequence[str]) -> Mapping[str, CheckLog] | None:
        """Return those of the checks that fail at a commit by itself, with their logs; None: not known yet.

        Empty where the forge cannot tell. Asking may start them, never wait for them. `SETUP` is among them where
        setting up fails there, asked for or not: of the others nothing is known then.
        """
        ...

    async def check_log(self, number: int, check: str) -> CheckLog:
        """Return the log of a check of the newest tested head."""
        ...

    async def merge(self, number: int, head: str, base: str, method: str) -> MergeOutcome:
        """Merge exactly `head`, tested with `base` ("" where the forge guards that itself); never over a person."""
        ...

    async def closes(self, number: int, issue: int) -> None:
        """Have the merge of a pull request close an issue. Nothing where the forge has no issues."""
        ...

    async def close_issue(self, issue: int) -> str:
        """Close an issue that no merge has closed; return why it stays open, as a clause, or ""."""
        ...

    def pace(self, quiet: float) -> float:
        """Return how much longer than usual to leave between looks, as a factor, after so many quiet seconds."""
        ...

    async def hint(self) -> None:
        """Return when something may have changed. May never return; it only makes the next read come sooner."""
        ...

    async def close(self) -> None:
        """Stop what runs in the background."""
        ...
