"""Our claims on issues: written, confirmed, kept alive, ended. At most one monitor is told that an issue is its own.

Who claims writes a comment, waits, and reads again: of those alive the lowest number has it, so what comes late never
wins. A claim that has run out is not revived but replaced; one that is edited too late asks who came in between.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final

from claudetm.adapters.sources.github.asking import Asking
from claudetm.adapters.sources.github.claims import (
    ENDED,
    EXPIRY,
    LIVE,
    Claim,
    Hears,
    Sign,
    Standing,
    State,
    moment,
    standing,
)
from claudetm.adapters.sources.github.issues import Issues
from claudetm.adapters.sources.github.tasks import Attempt
from claudetm.adapters.sources.github.wording import Wording
from claudetm.ports.clock import Clock
from claudetm.ports.source import Note, SourceBusy, Taken

SECOND_LOOK: Final = 5.0
"""Seconds between writing a claim and reading who was first."""


class Beat(Enum):
    """What came of a sign of life."""

    KEPT = "the claim is ours"
    LOST = "another took the issue over while nothing was heard of us"
    VANISHED = "the comment is gone: somebody deleted it"


@dataclass(slots=True)
class Held:
    """A claim of ours, confirmed. `updated` is GitHub's time of its last edit, `edited` is ours."""

    comment: int
    sign: Sign
    updated: float
    edited: float
    note: Note | None = None  # the newest
    link: str = ""  # of its pull request
    stage: str | None = None  # as it is shown
    dead: tuple[Claim, ...] = ()  # whom it was taken over from

    def due(self, now: float, seconds: float) -> bool:
        """Whether so much time has passed since the last edit, or our clock was set back since."""
        return not 0 <= now - self.edited < seconds


class Holding:
    """The claims of one monitor."""

    def __init__(
        self, issues: Issues, wording: Wording, asking: Asking, clock: Clock, monitor: str, hears: Hears
    ) -> None:
        """Take the monitor's id, and who besides its own account may claim: everybody who is listened to."""
        self._issues = issues
        self._wording = wording
        self._do = asking.do
        self._clock = clock
        self._me = monitor
        self._hears = hears
        self.held: dict[str, Held] = {}

    # reading

    def standing(self, number: int) -> Standing:
        """Return what an issue's comments come to now. Blocks."""
        return self.of(self._issues.comments(number))

    def of(self, comments: Collection[Mapping[str, Any]]) -> Standing:
        """Return what comments come to that were read just now. Blocks where an author is not known yet."""
        return standing(comments, self._issues.client.login, self._hears, self._issues.client.moment)

    async def look(self, number: int) -> Standing:
        """Return what an issue's comments come to now."""
        return await self._do(self.standing, number)

    # taking

    async def take(self, named: Attempt, claims: Standing) -> Held | Taken:
        """Carry on with our own claim while it lives, else claim the issue."""
        mine = next((c for c in claims.of(self._me) if c.alive(claims.now)), None)
        outcome = await self._taken(named, claims, mine)
        for claim in claims.of(self._me):
            if claim is not mine:  # run out, or written twice; it stood till now, as it knows of a pull request
                await self._do(self._issues.delete, claim.id)
        return outcome

    async def _taken(self, named: Attempt, claims: Standing, mine: Claim | None) -> Held | Taken:
        if mine is not None and mine.sign.state is State.WORKING:
            return await self._confirmed(named, self._known(named, mine, claims))
        if mine is None:
            if others := claims.others(self._me):
                return Taken(who(others[0]))
            mine = await self._written(named, claims)
        return await self._first(named, mine)

    def _known(self, named: Attempt, mine: Claim, claims: Standing) -> Held:
        held = self.held.get(named.id)
        if held is None or held.comment != mine.id:
            held = Held(mine.id, mine.sign, mine.updated, self._clock.now())
        held.dead = claims.dead(self._me)
        return held

    async def _written(self, named: Attempt, claims: Standing) -> Claim:
        linked = any(c.sign.linked for c in claims.of(self._me))
        sign = Sign(self._me, named.turn, State.CLAIMING, int(claims.now), linked)
        body = self._wording.claiming(sign, claims.dead(self._me))
        said = await self._do(self._issues.say, named.number, sign, body)
        return Claim(int(said["id"]), "", sign, moment(str(said["updated_at"])))

    async def _first(self, named: Attempt, mine: Claim) -> Held | Taken:
        """Read again who was first."""
        await self._clock.sleep(SECOND_LOOK)
        claims = await self.look(named.number)
        alive = claims.alive
        if mine.id not in {c.id for c in alive}:
            raise self._unseen(named)
        if alive[0].id != mine.id:
            await self._do(self._issues.delete, mine.id)
            return Taken(who(alive[0]))
        confirmed = await self._confirmed(named, self._known(named, mine, claims))
        if isinstance(confirmed, Held):
            for claim in claims.left(mine.id):
                if claim.sign.state is State.GIVEN:
                    await self._do(self._issues.delete, claim.id)
        return confirmed

    async def _confirmed(self, named: Attempt, held: Held) -> Held | Taken:
        match await self.beat(named, held):
            case Beat.KEPT:
                return held
            case Beat.LOST:
                return Taken()
            case Beat.VANISHED:
                raise self._unseen(named)

    def _unseen(self, named: Attempt) -> SourceBusy:
        until = self._clock.now() + SECOND_LOOK
        return SourceBusy(f"GitHub does not show the claim on issue {named.number}, so it is looked at again", until)

    # keeping

    async def beat(self, named: Attempt, held: Held, *, look: bool = False) -> Beat:
        """Show a sign of life, and how far it is; `look`: see, too, whether one that goes before ours has turned up.

        GitHub may not have shown it when ours was confirmed.
        """
        now = self._issues.client.moment
        if held.updated and now - held.updated >= EXPIRY and (await self.look(named.number)).others(self._me):
            return await self._lost(named, held)
        sign = replace(held.sign, state=State.WORKING, beat=int(now), linked=held.sign.linked or bool(held.link))
        body = self._wording.working(sign, held.note, held.link, held.dead)
        told = await self._do(self._issues.edit, held.comment, sign, body)
        if told is None:
            self.held.pop(named.id, None)
            return Beat.VANISHED
        before, held.updated = held.updated, moment(str(told["updated_at"]))
        held.sign, held.edited = sign, self._clock.now()
        held.stage = held.note.stage if held.note else None
        late = held.updated - before >= EXPIRY
        if late or look:
            claims = await self.look(named.number)
            if claims.others(self._me) if late else claims.before(held.comment, self._me):
                return await self._lost(named, held)
        self.held[named.id] = held
        return Beat.KEPT

    async def _lost(self, named: Attempt, held: Held) -> Beat:
        self.held.pop(named.id, None)
        await self._do(self._issues.delete, held.comment)
        return Beat.LOST

    async def found(self, named: Attempt) -> Held | None:
        """Return our claim as it stands, None where we have given it back or it has ended.

        One whose comment is gone is told with comment 0.
        """
        if (held := self.held.get(named.id)) is not None:
            return held
        claims = await self.look(named.number)
        own = [c for c in claims.claims if c.of(self._me) and c.sign.turn == named.turn]
        if claims.turn != named.turn or (own and own[-1].sign.state not in LIVE):
            return None
        if not own:
            sign = Sign(self._me, named.turn, State.WORKING, 0)
            return Held(0, sign, 0.0, 0.0)
        held = self._known(named, own[-1], claims)
        held.edited = float("-inf")  # whether it lives still is for the next edit to tell
        return held

    # ending

    async def write(self, number: int, comment: int, sign: Sign, body: str) -> None:
        """Write a comment anew, or another where it is gone or there was none."""
        told = await self._do(self._issues.edit, comment, sign, body) if comment else None
        if told is None:
            await self._do(self._issues.say, number, sign, body)

    async def clear(self, claims: Standing, keep: int) -> None:
        """Take away what was said of an attempt before its one comment that counts."""
        for claim in claims.left(keep):
            await self._do(self._issues.delete, claim.id)

    async def give(self, named: Attempt, why: str) -> bool:
        """End our open claims on an attempt without a result; return whether the issue is free then."""
        self.held.pop(named.id, None)
        claims = await self.look(named.number)
        if claims.turn != named.turn:
            return False
        others = claims.others(self._me)
        for claim in claims.of(self._me):
            sign = replace(claim.sign, state=State.GIVEN, beat=int(claims.now))
            if others:
                await self._do(self._issues.delete, claim.id)
            else:
                await self._do(self._issues.edit, claim.id, sign, self._wording.given(sign, why))
        return not others

    async def reopen(self, named: Attempt) -> None:
        """Make an attempt that has ended, and was the last one, be given back."""
        claims = await self.look(named.number)
        ended = [c for c in claims.claims if c.sign.turn == named.turn and c.sign.state in ENDED]
        if claims.turn != named.turn + 1:
            return
        for claim in ended:
            sign = replace(claim.sign, state=State.GIVEN, beat=int(claims.now))
            await self._do(self._issues.edit, claim.id, sign, self._wording.given(sign, "It is tried again."))


def who(claim: Claim) -> str:
    """Return whose claim it is, for people."""
    return f"monitor {claim.sign.monitor} of {claim.by}"
