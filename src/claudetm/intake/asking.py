"""One source as the monitor asks it: every call has a time limit, and trouble is said once, when it begins.

A source that hangs is a busy one; whoever asks meets `SourceBusy` or `SourceRefused`, and nothing else of its kind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from claudetm.intake.policy import MonitorPolicy
from claudetm.ports.clock import Clock
from claudetm.ports.source import ClaimOutcome, Job, Reclaiming, Source, SourceBusy, SourceRefused

UNASKABLE: Final = (SourceBusy, SourceRefused)
_SLACK: Final = 30.0  # seconds beyond the limit: who is not back then did not hear that it should end
_SOONEST: Final = 1.0  # seconds before a busy source is asked again, whatever it says
_LATEST: Final = 3600.0  # the same: an instant is far off where the clock was set back since it was named
T = TypeVar("T")


class Asking:
    """Asks one source. `refused` is the sentence with which it let nobody in, or ""."""

    def __init__(self, source: Source, clock: Clock, policy: MonitorPolicy, say: Callable[[str], None]) -> None:
        self.source = source
        self.name = source.name
        self.refused = ""
        self.trouble = ""  # the sentence, while it cannot be asked
        self.until = 0.0  # when it may be asked again
        self._said_at = 0.0  # when that was said: a clock that shows less has been set back
        self._over = 0.0  # the same as `until` by the loop's time, which nobody sets
        self.answers = 0  # how many calls it has answered
        self.swept = False  # listed once, or tried
        self.passed: dict[str, str] = {}  # what the last sweep or claim told not to take now, and why
        self.look = asyncio.Event()  # set: list it now
        self._clock = clock
        self._policy = policy
        self._say = say
        self._under_way: dict[object, float] = {}  # when each call must be over, by the loop's time

    @property
    def ready(self) -> bool:
        """Whether it may be asked now."""
        now = self._clock.now()
        over = now >= self.until or now < self._said_at or asyncio.get_running_loop().time() >= self._over
        return over and not self.refused

    @property
    def stuck(self) -> bool:
        """Whether a call has not ended long after its limit: then the monitor is not alive, whatever else goes on."""
        now = asyncio.get_running_loop().time()
        return any(now > until for until in self._under_way.values())

    async def ask(self, call: Coroutine[Any, Any, T]) -> T:
        """Return the answer to a call. Raises SourceBusy, SourceRefused."""
        key, limit = object(), self._policy.call
        self._under_way[key] = asyncio.get_running_loop().time() + limit + _SLACK
        try:
            async with asyncio.timeout(limit):
                answer = await call
        except TimeoutError:
            again = self._clock.now() + self._policy.poll
            raise self._busy(SourceBusy(f"{self.name} did not answer within {limit:.0f} s.", again)) from None
        except SourceBusy as busy:
            raise self._busy(busy) from None
        except SourceRefused as refused:
            self.refused = str(refused)
            raise
        finally:
            del self._under_way[key]
        self.answers += 1
        self._well()
        return answer

    async def claim(self, id_: str, ours: Job | None) -> ClaimOutcome:
        """Return the answer to a claim on a job, anew where it is `ours`. Raises SourceBusy, SourceRefused."""
        if ours is not None and isinstance(self.source, Reclaiming):
            return await self.ask(self.source.reclaim(ours))
        return await self.ask(self.source.claim(id_))

    def rest(self, until: float) -> None:
        """Have it not asked before `until`, in epoch seconds, or an hour from now."""
        self._said_at = now = self._clock.now()
        seconds = min(max(until - now, _SOONEST), _LATEST)
        self.until, self._over = now + seconds, asyncio.get_running_loop().time() + seconds

    def _busy(self, busy: SourceBusy) -> SourceBusy:
        self.rest(busy.until)
        if not self.trouble:
            self._say(f"{str(busy).rstrip('.')}. It is asked again later; other sources go on.")
        self.trouble = str(busy)
        return busy

    def _well(self) -> None:
        if self.trouble and self.ready:
            self.trouble = ""
            self._say(f"{self.name} answers again.")
