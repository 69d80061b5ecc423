"""What is done about one source all the time: its listing swept into the queue, its hints heard, claims kept alive.

A hint only makes the next sweep come sooner; many are one. What a listing does not tell is found by the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from claudetm.intake import commands
from claudetm.intake import events as e
from claudetm.intake.asking import UNASKABLE, Asking
from claudetm.intake.attending import Attendant, Place
from claudetm.intake.queue import Entry
from claudetm.ports.source import Claimed, Gone, Offer, Refused, Status, Taken, refuse_name

_SAID: Final = 100  # oddities that are named; a hostile place has no end of them
_TURN: Final = 20  # records between two turns of the others
GATHER_SECONDS: Final = 0.05  # after a hint, so that what comes in one burst is found in one sweep


@dataclass(slots=True)
class Tending:
    """Tends one source. `places` are the jobs at work by id; `wake` tells the loop that there is something to do."""

    asking: Asking
    attendant: Attendant
    hands: commands.Hands
    places: dict[str, Place]
    wake: Callable[[], None]
    _said: set[str] = field(default_factory=set)
    _retried: set[tuple[str, int]] = field(default_factory=set)

    async def sweeps(self) -> None:
        """List the source now, then whenever it hints or the poll is over. Never returns."""
        while True:
            if self.asking.ready:
                await commands.finish_retries(self.hands, self.asking.name, self._retried)
            if self.asking.ready:
                await self.sweep()
            self.asking.swept = True
            self.wake()
            await self._rest()

    async def _rest(self) -> None:
        """Wait for the poll, a hint, or the end of what keeps it busy."""
        busy, poll = self.asking.until - self.attendant.clock.now(), self.attendant.policy.poll
        try:
            async with asyncio.timeout(min(busy, poll) if busy > 0 else poll):  # the clock may be set meanwhile
                await self.asking.look.wait()
        except TimeoutError:
            return
        await asyncio.sleep(GATHER_SECONDS)
        self.asking.look.clear()

    async def hints(self) -> None:
        """Have the source swept at each of its hints. Never returns; one that cannot hint is polled."""
        while True:
            try:
                await self.asking.source.hint()
            except UNASKABLE:
                await asyncio.sleep(self.attendant.policy.poll)
            self.asking.look.set()
            await asyncio.sleep(GATHER_SECONDS)  # one that hints without end is heard so often

    async def sweep(self) -> None:
        """Bring the queue to what the source lists."""
        try:
            offers = await self.asking.ask(self.asking.source.list())
        except UNASKABLE:
            return
        self.asking.passed = {o.id: o.why_not for o in offers if o.why_not}
        # the most urgent first, so that a claim in between takes the right one
        for n, offer in enumerate(sorted(offers, key=lambda o: o.priority), start=1):
            await self._take_in(offer)
            if n % _TURN == 0:
                await asyncio.sleep(0)
        await self._drop({o.id for o in offers})

    async def _take_in(self, offer: Offer) -> None:
        queue, writer = self.attendant.writer.queue, self.attendant.writer
        entry = queue.jobs.get(offer.id)
        if entry is None:
            if not offer.why_not and self._may_enter(offer):
                await writer.append(self._queued(offer))
        elif entry.source != self.asking.name:
            self._say_once(
                f"{self.asking.name} offers {offer.id}, which is a task of {entry.source}: it is left alone."
            )
        elif entry.status is Status.QUEUED and entry.priority != offer.priority and offer.id not in self.places:
            await writer.append(e.JobRanked(offer.id, offer.priority))

    def _may_enter(self, offer: Offer) -> bool:
        """Whether it is a task that has not ended: a listing may lag behind what was finished."""
        if why := refuse_name(offer.id):
            self._say_once(f"{self.asking.name} offers a task that is left alone: {why}.")
            return False
        return not self.attendant.results.ended(offer.id)

    def _queued(self, offer: Offer) -> e.JobQueued:
        queue = self.attendant.writer.queue
        return e.JobQueued(
            offer.id,
            self.asking.name,
            offer.title,
            offer.created,
            offer.priority,
            offer.lane,
            queue.position_for(offer.priority),
            queue.again.get(offer.id, 0),
        )

    async def _drop(self, listed: set[str]) -> None:
        """Let go of what waited and is no longer there."""
        for entry in self._mine(self.attendant.writer.queue.line()):
            if entry.id not in listed and entry.id not in self.places:
                await self.attendant.writer.append(e.JobWithdrawn(entry.id, "it is no longer listed"))

    def _mine(self, entries: Iterable[Entry]) -> Sequence[Entry]:
        return [entry for entry in entries if entry.source == self.asking.name]

    def _say_once(self, sentence: str) -> None:
        if sentence not in self._said and len(self._said) < _SAID:
            self._said.add(sentence)
            self.attendant.say(sentence)

    # --- claims --------------------------------------------------------------------------------------------

    async def keeps(self) -> None:
        """Show that every claim of ours is alive, again and again. Never returns."""
        while True:
            for entry in self._mine(self.attendant.writer.queue.held):
                if self.asking.ready and entry.ours is not None:
                    await self._keep(entry)
            await asyncio.sleep(self.attendant.policy.keep)

    async def _keep(self, entry: Entry) -> None:
        place, ours = self.places.get(entry.id), entry.id in self.attendant.ours
        if place is not None and not place.working:
            return  # it is being claimed, or written down
        try:
            lost = await self._still(entry) if ours else await self._again(entry)
        except UNASKABLE:
            return
        if lost is None or entry.ours is None or self.places.get(entry.id) is not place:
            return
        if place is None:
            self.attendant.ours.discard(entry.id)
            await self.attendant.writer.append(lost)
        else:
            place.lost = lost
            place.stop.set()

    async def _still(self, entry: Entry) -> e.JobLost | None:
        """Return that a claim is lost which was ours; its source tells that, and not to whom."""
        if (job := entry.ours) is None:
            return None
        if not await self.asking.ask(self.asking.source.keep(job)):
            return e.JobLost(entry.id, "")
        await self.attendant.dispatch.kept(job)
        return None

    async def _again(self, entry: Entry) -> e.JobLost | e.JobWithdrawn | None:
        """Take up a claim of the process before this one, of a job that nobody works now; return that it is lost."""
        match await self.asking.claim(entry.id, entry.ours):
            case Claimed():
                self.attendant.ours.add(entry.id)
                return None
            case Taken(by):
                return e.JobLost(entry.id, by)
            case Gone(why):
                return e.JobWithdrawn(entry.id, why)
            case Refused():
                return None
