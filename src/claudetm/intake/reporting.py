"""What has ended is told to its source: a result that the source does not take holds up no other.

Each source's are told in the order in which they ended, those behind that it did not take while it answered all else.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace

from claudetm.errors import ClaudetmError
from claudetm.intake import ending
from claudetm.intake import events as e
from claudetm.intake.asking import UNASKABLE, Asking
from claudetm.intake.attending import Attendant
from claudetm.intake.queue import Entry


@dataclass(frozen=True, slots=True)
class _Aside:
    """A result that its source did not take: how many `answers` it had given by then, `times` beyond an outage."""

    answers: int
    times: int = 0
    since: float = 0.0
    until: float = 0.0


@dataclass(slots=True)
class Reporting:
    """Tells results, those of one source one at a time."""

    attendant: Attendant
    _aside: dict[str, _Aside] = field(default_factory=dict)  # by job

    def due(self, entry: Entry) -> bool:
        """Whether a result may be told now."""
        aside, now = self._aside.get(entry.id), self.attendant.clock.now()
        return aside is None or not aside.since <= now < aside.until  # the clock may be set back

    async def report_to(self, asking: Asking) -> None:
        """Tell a source what has ended, until it is busy."""
        for entry in self._mine(asking):
            if not await self._reported(entry, asking):
                return

    def _mine(self, asking: Asking) -> Iterator[Entry]:
        concluded = [entry for entry in self.attendant.writer.queue.concluded if entry.source == asking.name]
        return filter(self.due, sorted(concluded, key=lambda entry: entry.id in self._aside))

    async def _reported(self, entry: Entry, asking: Asking) -> bool:
        job, result = ending.job_of(entry), entry.result
        if result is None or not self.attendant.write(entry):
            asking.rest(self.attendant.clock.now() + self.attendant.policy.poll)
            return False
        try:
            await asking.ask(asking.source.finish(job, result))
        except UNASKABLE:
            self._set_aside(entry.id, asking)
            return False
        with suppress(ClaudetmError):  # what cannot be removed now is in nobody's way
            await self.attendant.dispatch.forget(job)
        self.attendant.ours.discard(entry.id)
        self._aside.pop(entry.id, None)
        await self.attendant.writer.append(e.JobReported(entry.id))
        return True

    def _set_aside(self, id_: str, asking: Asking) -> None:
        """Let others go before it; where the source has answered since it was not taken, also let time pass."""
        before = self._aside.get(id_)
        if before is None or before.answers == asking.answers:
            self._aside[id_] = before or _Aside(asking.answers)
            return
        times, now = before.times + 1, self.attendant.clock.now()
        until = now + self.attendant.policy.pause(id_, times)
        self._aside[id_] = replace(before, answers=asking.answers, times=times, since=now, until=until)
