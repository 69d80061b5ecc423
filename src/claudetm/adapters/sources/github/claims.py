"""Who has an issue, told from its comments. Pure: REST's values in, claims out.

A claim is a comment by somebody who is listened to that ends in our marker. It lives while it is edited, by GitHub's
own clock. Of those alive the lowest number has the issue, so one that comes late never wins.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from claudetm.adapters.forge.github.reviews import mark, marked, same

EXPIRY: Final = 900.0
"""Seconds after the last edit for which a claim lives."""
BEAT: Final = 300.0
"""Seconds between two signs of life."""
LEASE: Final = 420.0
"""Seconds without a kept claim after which a worker ends, so early that its last session has ended at the expiry."""

_CLAIM: Final = re.compile(
    r"claim:(?P<monitor>[\w.-]+):(?P<turn>\d{1,9}):(?P<state>[a-z]+):(?P<beat>\d{1,12})(?P<pr>:pr)?"
)


class State(StrEnum):
    """What a claim's comment says of itself."""

    CLAIMING = "claiming"  # written, and not read again yet
    WORKING = "working"
    GIVEN = "given"  # back
    DONE = "done"
    FAILED = "failed"


Hears = Callable[[Mapping[str, Any]], bool]
"""Tells whether a comment's author is listened to."""

LIVE: Final = frozenset({State.CLAIMING, State.WORKING})
ENDED: Final = frozenset({State.DONE, State.FAILED})


@dataclass(frozen=True, slots=True)
class Sign:
    """What the marker of a claim holds. `turn` is the attempt, from 1; `beat` makes each edit another text."""

    monitor: str
    turn: int
    state: State
    beat: int  # epoch seconds
    linked: bool = False  # a pull request is open for it

    @property
    def line(self) -> str:
        """The comment's last line."""
        return mark(f"claim:{self.monitor}:{self.turn}:{self.state}:{self.beat}{':pr' if self.linked else ''}")


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim as it stands at GitHub. Times are epoch seconds, by GitHub's clock."""

    id: int  # the comment's
    by: str  # the account
    sign: Sign
    updated: float
    ours: bool = True  # by our own account

    def of(self, monitor: str) -> bool:
        """Whether it is a monitor's of our account."""
        return self.ours and self.sign.monitor == monitor

    def alive(self, now: float) -> bool:
        """Whether its monitor has shown itself lately."""
        return self.sign.state in LIVE and now - self.updated < EXPIRY


def claim_of(comment: Mapping[str, Any], us: str, hears: Hears) -> Claim | None:
    """Return the claim that a comment is, None for any other. `us` is our account."""
    by = str((comment.get("user") or {}).get("login") or "")
    ours = same(by, us)
    if (sign := sign_of(str(comment.get("body") or ""))) is None or not (ours or hears(comment)):
        return None
    return Claim(int(comment["id"]), by, sign, moment(str(comment["updated_at"])), ours)


def sign_of(body: str) -> Sign | None:
    """Return what a comment's marker says, None where it has none of a claim."""
    said = marked(body)
    found = _CLAIM.fullmatch(said.marker) if said else None
    if found is None or found["state"] not in set(State):
        return None
    return Sign(found["monitor"], int(found["turn"]), State(found["state"]), int(found["beat"]), bool(found["pr"]))


def moment(told: str) -> float:
    """Return a time of REST's as epoch seconds."""
    return datetime.fromisoformat(told).timestamp()


@dataclass(frozen=True, slots=True)
class Standing:
    """What the claims on an issue come to at a moment of GitHub's."""

    claims: tuple[Claim, ...]  # all, the oldest first
    now: float

    @property
    def turn(self) -> int:
        """The attempt that is under way, or comes next."""
        return 1 + max((c.sign.turn for c in self.claims if c.sign.state in ENDED), default=0)

    @property
    def ended(self) -> float:
        """When the last attempt ended; long ago where there was none."""
        return max((c.updated for c in self.claims if c.sign.state in ENDED), default=float("-inf"))

    @property
    def open(self) -> tuple[Claim, ...]:
        """The claims of this attempt that are neither ended nor given back, alive or not."""
        return tuple(c for c in self.claims if c.sign.turn == self.turn and c.sign.state in LIVE)

    @property
    def alive(self) -> tuple[Claim, ...]:
        """Those of them whose monitors live; the first has the issue."""
        return tuple(c for c in self.open if c.alive(self.now))

    def others(self, monitor: str) -> tuple[Claim, ...]:
        """Return the living claims of other monitors."""
        return tuple(c for c in self.alive if not c.of(monitor))

    def before(self, claim: int, monitor: str) -> tuple[Claim, ...]:
        """Return the living claims of other monitors that were written before one, and go before it."""
        return tuple(c for c in self.others(monitor) if c.id < claim)

    def left(self, keep: int) -> tuple[Claim, ...]:
        """Return what our account has said of this attempt and nobody goes by any more, but for one comment."""
        turn = self.turn
        return tuple(
            c
            for c in self.claims
            if c.ours and c.id != keep and c.sign.turn == turn and c.sign.state not in ENDED and not c.alive(self.now)
        )

    def of(self, monitor: str) -> tuple[Claim, ...]:
        """Return a monitor's own open claims: more than one where an answer was lost."""
        return tuple(c for c in self.open if c.of(monitor))

    def dead(self, monitor: str) -> tuple[Claim, ...]:
        """Return other monitors' claims that were worked on and have run out."""
        return tuple(
            c for c in self.open if not c.of(monitor) and c.sign.state is State.WORKING and not c.alive(self.now)
        )


def standing(comments: Iterable[Mapping[str, Any]], us: str, hears: Hears, now: float) -> Standing:
    """Return what an issue's comments come to; what strangers forge is none of them."""
    found = [claim for comment in comments if (claim := claim_of(comment, us, hears)) is not None]
    return Standing(tuple(sorted(found, key=lambda c: c.id)), now)


def unclaimed(comments: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the comments that are no word of ours."""
    return [c for c in comments if marked(str(c.get("body") or "")) is None]
