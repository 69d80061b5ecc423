"""What commands that look at a run's pull requests need of its forge: read at that moment, beside the driver.

A look needs no lock and writes nothing to the run. This module loads nothing heavy, whichever forge it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from claudetm.ports.forge import CheckLog
from claudetm.workflow.pull_request import PullRequest, PullRequestState, Thread


@dataclass(frozen=True, slots=True)
class Seen:
    """A pull request with what only its own forge tells."""

    pull: PullRequest
    change: str  # "" for one that no change of the run has yet
    title: str
    body: str
    since: str = ""  # the commit whose fork its diff begins at, where that is told here
    gone: bool = False  # its branch is not there any more
    approved: tuple[str, ...] = ()
    reported: tuple[str, ...] = ()  # the checks of the newest head that have reported, in order
    logs: Mapping[str, str] = field(default_factory=dict)  # check -> the file with its log
    links: Mapping[str, str] = field(default_factory=dict)  # check -> where a person reads it
    addresses: Mapping[str, str] = field(default_factory=dict)  # conversation -> where a person finds it
    draft: bool = False
    queue: bool = False  # what it merges into has a merge queue
    auto_merge: str = ""  # who asked the forge to merge it once it may, or ""
    ignored: tuple[Thread, ...] = ()  # what those have said who are not listened to


class Look(Protocol):
    """The pull requests of one run, as a person finds them."""

    def pulls(self) -> list[Seen]:
        """Return all that the run has, in the order of their numbers. Raises ClaudetmError."""
        ...

    def log(self, seen: Seen, check: str) -> CheckLog:
        """Return what a check of the newest head wrote, as the fixer is given it."""
        ...

    def withdraw(self, number: int) -> PullRequestState:
        """Close one unmerged, in the name of the run; return how it stands then. One that is over stays so."""
        ...
