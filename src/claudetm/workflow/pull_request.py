"""A pull request as a forge tells it: plain values that `observe` decides over."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

_UNFIXED: Final = "Not fixed in "
_FIXED: Final = re.compile(r"\AFixed in (?P<commit>[0-9a-f]{7,64})\.\Z", re.MULTILINE)


UNREPORTED: Final = "has not reported"
"""The summary of a check that the rules of the base ask for, and that nothing has begun."""


class PullRequestState(StrEnum):
    """Whether it is open."""

    OPEN = "open"
    MERGED = "merged"
    CLOSED = "closed"


class CheckState(StrEnum):
    """How a check of the head commit stands."""

    PENDING = "pending"
    PASSED = "passed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """One check of the head commit. A required check that has not reported is PENDING."""

    name: str
    state: CheckState
    required: bool = True
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Comment:
    """One remark in a thread. `ours` is true for what we wrote, reviewer role included."""

    author: str
    body: str
    ours: bool = False


@dataclass(frozen=True, slots=True)
class Thread:
    """A conversation about the change: on a line, or (path "") on the whole."""

    id: str
    comments: tuple[Comment, ...]
    path: str = ""
    line: int = 0
    resolved: bool = False
    unanswered: bool = True  # nobody of us has replied to its last word
    blocking: bool = True  # False for a remark that asks for nothing

    @property
    def people(self) -> tuple[str, ...]:
        """Those who have spoken in it besides us, in order: theirs it is to close."""
        return tuple(dict.fromkeys(c.author for c in self.comments if not c.ours))

    @property
    def where(self) -> str:
        """The file and the line it is on, or ""."""
        return f"{self.path}:{self.line}" if self.line else self.path

    @property
    def stands(self) -> bool:
        """Whether it is in the way of merging."""
        return self.blocking and not self.resolved

    @property
    def theirs(self) -> Comment | None:
        """What is to be answered: a person's last word, or the reviewer role's where only we have spoken."""
        said = [c for c in self.comments if not c.ours] or [c for c in self.comments if self._asks(c)]
        return said[-1] if said else None

    @property
    def answer(self) -> Comment | None:
        """Our last answer, or None."""
        said = [c for c in self.comments if c.ours and not self._asks(c)]
        return said[-1] if said else None

    def _asks(self, said: Comment) -> bool:
        """Whether these are words of the reviewer role: they begin a conversation, or open it again."""
        return said.ours and (said is self.comments[0] or said.body.startswith(_UNFIXED))

    @property
    def fixed_in(self) -> str:
        """The commit that our last answer names as the one that addresses it, or ""."""
        found = _FIXED.search(self.answer.body.rpartition("\n")[2]) if self.answer else None
        return found["commit"] if found else ""

    def with_reply(self, said: Comment, *, resolve: bool = False, seen: int = 0, reopen: bool = False) -> Thread:
        """Return the thread with one more remark in it.

        A person's asks for an answer, whatever was there before. Ours never does away with one of theirs: what came
        after the `seen` remarks that ours replies to (0: all) still waits, and what they have closed stays closed.
        """
        comments = (*self.comments, said)
        if not said.ours or reopen:
            return replace(self, comments=comments, resolved=False, unanswered=True, blocking=True)
        missed = bool(seen) and any(not c.ours for c in self.comments[seen:])
        resolved = self.resolved or (resolve and not missed)
        return replace(self, comments=comments, resolved=resolved, unanswered=missed)


def fixed(text: str, commit: str) -> str:
    """Return a reply that says which commit addresses the remark; `Thread.fixed_in` reads it back."""
    return f"{text}\n\nFixed in {commit}."


def unfixed(text: str, commit: str) -> str:
    """Return the reviewer role's word that a finding is there still."""
    return f"{_UNFIXED}{commit}: {text}"


def both_sides(thread: Thread, most: int = 200) -> str:
    """Return what was asked and what we answered last, on one line, each cut to so many characters."""
    asked, answer = thread.theirs, thread.answer
    told = f"{' '.join(filter(None, (thread.id, thread.where)))}: "
    told += f"{asked.author}: “{_cut(asked.body, most)}”" if asked else "nothing was said"
    return f"{told}; answered: “{_cut(answer.body, most)}”" if answer else f"{told}; not answered"


def _cut(text: str, most: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


@dataclass(frozen=True, slots=True)
class PullRequest:
    """A pull request as read at one moment."""

    number: int
    branch: str
    head: str
    base: str = ""  # the base's tip now
    tested_base: str = ""  # the base's tip that the checks ran with, where the forge knows it
    url: str = ""  # where a person finds it; the local forge says the branch
    state: PullRequestState = PullRequestState.OPEN
    merge_commit: str = ""
    by: str = ""  # who merged or closed it
    conflicting: bool = False
    behind: bool = False  # the base moved since the checks, and must be merged in first
    forward: bool = True  # the head descends from the one we pushed last
    foreign: str = ""  # why what was pushed on top of ours is not taken by itself, as a clause, or ""
    queued: bool = False  # in the forge's merge queue
    checks: tuple[Check, ...] = ()
    bounded: bool = False  # the forge itself ends checks that take too long
    threads: tuple[Thread, ...] = ()
    approvals: int = 0
    objections: tuple[str, ...] = ()  # people whose last review asks for changes
    withheld: str = ""  # what the forge itself says people owe it, as a clause, or ""
    unheard: tuple[str, ...] = ()  # who has spoken and is not listened to

    @property
    def unanswered(self) -> tuple[Thread, ...]:
        """The open threads that wait for our word."""
        return tuple(t for t in self.threads if t.unanswered and not t.resolved)
