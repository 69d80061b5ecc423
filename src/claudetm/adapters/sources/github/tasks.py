"""An issue as a task: whether it qualifies, which attempt it is, what is asked. No stranger's word is a part of it.

All of it blocks, as who is listened to is asked of GitHub.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from claudetm.adapters.forge.github.people import People
from claudetm.adapters.forge.github.reviews import MOST, Author, named
from claudetm.adapters.sources.github.claims import LEASE, moment, unclaimed
from claudetm.ports.source import Job, Material, Mode
from claudetm.redact import printable

NAME: Final = "github"
_ID: Final = re.compile(r"issue-(?P<number>[1-9]\d{0,9})(?:-try-(?P<turn>[2-9]|[1-9]\d{1,5}))?")
_MODES: Final = {"claudetm: session": Mode.SESSION, "claudetm: goal": Mode.GOAL}
_PRIORITIES: Final = {"priority: high": -10, "priority: low": 10}  # as in tasks of a directory
_REMARKS: Final = 50  # of people, the newest

Issue = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a job's id names: the first try at an issue, or a later one, after its label was put on it anew."""

    number: int
    turn: int = 1

    @property
    def id(self) -> str:
        """The job's id."""
        return f"issue-{self.number}" + (f"-try-{self.turn}" if self.turn > 1 else "")


def attempt(job: str) -> Attempt | None:
    """Return what an id names, None where it can be none of ours."""
    found = _ID.fullmatch(job)
    return Attempt(int(found["number"]), int(found["turn"] or 1)) if found else None


class Tasks:
    """How issues are read."""

    def __init__(self, people: People, label: str, mode: Mode, skill: str = "") -> None:
        """Take who is listened to, the label that makes an issue a task, and how one is worked that does not say."""
        self._people = people
        self._label = label
        self._mode = mode
        self._skill = skill

    def over(self, issue: Issue) -> str:
        """Return why an issue is no task any more, or was none, as a clause; else ""."""
        if issue["state"] != "open":
            return "the issue is closed"
        if self._label.casefold() not in labels(issue):
            return f"the label {self._label} is not on it"
        return ""

    def why_not(self, issue: Issue) -> str:
        """Return why an issue with the label is not taken, as a clause; "" where it is."""
        if "pull_request" in issue:
            return f"it is a pull request: `claudetm fix-pr {issue['number']}` takes one over"
        who = _author(issue)
        if not self._people.hears(who):
            return f"its author, {printable(who.name) or 'nobody'}, is not trusted: may not write here, nor is named"
        return ""

    def mode(self, issue: Issue) -> Mode:
        """Return how an issue is worked: as its label says, else as the settings do."""
        return next((mode for name, mode in _MODES.items() if name in labels(issue)), self._mode)

    def hears(self, said: Mapping[str, Any]) -> bool:
        """Whether the author of a comment is listened to."""
        return self._people.hears(_author(said))

    def job(self, issue: Issue, comments: Sequence[Mapping[str, Any]], named: Attempt) -> Job:
        """Return what is asked: the issue's words as they are now, and what trusted people said below it."""
        title, mode = shown_title(issue), self.mode(issue)
        return Job(
            named.id,
            NAME,
            f"{title}\n\n{issue.get('body') or ''}",
            title,
            mode,
            moment(str(issue["created_at"])),
            self._material(comments) if mode is Mode.SESSION else (),  # a goal's remarks are read where it begins
            self._skill if mode is Mode.SESSION else "",
            issue=str(named.number) if mode is Mode.GOAL else "",
            handle={"number": named.number, "turn": named.turn},
            lease=LEASE,
        )

    def _material(self, comments: Sequence[Mapping[str, Any]]) -> tuple[Material, ...]:
        heard = [(who.name, c) for c in unclaimed(comments) if self._people.hears(who := _author(c))]
        return tuple(
            Material(f"What {name} said below the issue at {c['created_at']}", str(c.get("body") or "")[:MOST])
            for name, c in heard[-_REMARKS:]
        )


def labels(issue: Issue) -> frozenset[str]:
    """Return the names of an issue's labels, in small letters: GitHub takes one for the other, too."""
    return frozenset(str(label["name"]).casefold() for label in issue["labels"])


def priority(issue: Issue) -> int:
    """Return an issue's place among others by its label, the lower first."""
    return min((p for name, p in _PRIORITIES.items() if name in labels(issue)), default=0)


def shown_title(issue: Issue) -> str:
    """Return an issue's title on one line."""
    return " ".join(printable(str(issue["title"])).split())


def _author(said: Mapping[str, Any]) -> Author:
    """Return who wrote an issue or a comment; of a deleted account nobody who is listened to."""
    user = said.get("user")
    name, _ = named(user)
    return Author(name, str((user or {}).get("type") or ""), str(said.get("author_association") or "NONE"))
