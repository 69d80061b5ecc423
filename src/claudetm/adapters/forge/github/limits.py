"""GitHub's limits as they were last heard of: what is left of each, and until when nothing may be asked.

A limit that holds is kept to without asking again, and a reserve of each hour's quota is kept for writes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final

from claudetm.errors import ForgeBusy

RESERVED: Final = ("core", "graphql")
"""The resources that writes need, too; of the others (search: 30 a minute) nothing is kept."""

_WINDOW: Final = 3660.0  # a quota's window is an hour: a reset further away is a clock that is wrong
_PAUSE: Final = 60.0  # GitHub's documentation: at least a minute after a secondary limit, longer each time
_LONGEST_PAUSE: Final = 960.0
_CALM: Final = 600.0  # after so long without a refusal the pauses start small again
_ALL: Final = ""


@dataclass(frozen=True, slots=True)
class Limit:
    """What is left of one resource's quota, and when (epoch seconds) it is whole again."""

    remaining: int
    limit: int
    resets_at: float

    @property
    def reserve(self) -> int:
        """How many requests are kept for writes."""
        return min(max(50, self.limit // 20), self.limit // 2)


@dataclass(frozen=True, slots=True)
class Quota:
    """What each resource (core, graphql, ...) had left when it last answered; empty where nothing is limited."""

    resources: Mapping[str, Limit]

    def of(self, resource: str) -> Limit | None:
        """Return what is known of a resource, None when it was not asked yet or is not limited."""
        return self.resources.get(resource)


class Limits:
    """What one token may still ask. Thread-safe."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: dict[str, Limit] = {}
        self._held: dict[str, tuple[float, str]] = {}
        self._pauses = 0
        self._paused_until = 0.0

    def heard(self, headers: Mapping[str, str]) -> None:
        """Take what an answer's headers (names in lower case) say is left."""
        numbers = [_number(headers.get(f"x-ratelimit-{name}", "")) for name in ("remaining", "limit", "reset")]
        if None in numbers:
            return
        remaining, limit, reset = (int(n or 0) for n in numbers)
        with self._lock:
            resource = headers.get("x-ratelimit-resource", "core")
            self._seen[resource] = Limit(remaining, limit, min(reset, self._clock() + _WINDOW))

    def quota(self) -> Quota:
        """Return what was last heard."""
        with self._lock:
            return Quota(dict(self._seen))

    def check(self, resource: str, *, reserve: bool) -> None:
        """Raise ForgeBusy while a limit holds, and, unless the reserve may be used, when only that is left."""
        now = self._clock()
        with self._lock:
            held = [self._held[key] for key in (_ALL, resource) if key in self._held]
            seen = self._seen.get(resource)
        for until, sentence in held:
            if now < until:
                raise ForgeBusy(sentence, until)  # as it was said when the limit was met
        if reserve or seen is None or resource not in RESERVED or now >= seen.resets_at:
            return
        if seen.remaining < seen.reserve:
            raise ForgeBusy(
                f"GitHub's quota is nearly used up ({seen.remaining} of {seen.limit} left): that is kept for writes, "
                f"and reading goes on at {hour(seen.resets_at)}",
                seen.resets_at,
            )

    def refused(self, resource: str, headers: Mapping[str, str], message: str) -> ForgeBusy:
        """Return the error for an answer that refuses for a limit, which holds from now on."""
        now = self._clock()
        said = _after(headers.get("retry-after", ""), now)
        reset = _number(headers.get("x-ratelimit-reset", "")) or 0.0
        secondary = any(word in message.lower() for word in ("secondary", "abuse"))
        used_up = not secondary and headers.get("x-ratelimit-remaining") == "0" and reset > now
        until = said or (min(reset + 1, now + _WINDOW) if used_up else now + self._pause(now))
        if used_up:
            busy = ForgeBusy(
                f"GitHub's quota of this hour is used up ({resource}): it goes on at {hour(until)}", until
            )
        else:
            busy = ForgeBusy(
                f"GitHub asks for a pause (too many requests at once): it goes on at {hour(until)}", until
            )
        with self._lock:
            self._held[resource if used_up else _ALL] = (until, str(busy))
        return busy

    def _pause(self, now: float) -> float:
        """Return how long to wait where GitHub does not say: a minute, twice as long each time it refuses again."""
        with self._lock:
            self._pauses = self._pauses + 1 if now < self._paused_until + _CALM else 0
            pause = min(_PAUSE * 2.0**self._pauses, _LONGEST_PAUSE)
            self._paused_until = now + pause
            return pause


def is_limit(status: int, headers: Mapping[str, str], message: str) -> bool:
    """Tell whether a refusal is for a limit, not for a missing permission. GitHub answers both with 403."""
    said = message.lower()
    if is_haste(said):
        return True
    if status not in {403, 429}:
        return False
    return (
        status == 429  # noqa: PLR2004 - too many requests
        or "retry-after" in headers
        or headers.get("x-ratelimit-remaining") == "0"
        or "rate limit" in said
        or "abuse detection" in said
    )


def is_haste(said: str) -> bool:
    """Tell whether a refusal (in small letters) is of a write that came too soon after others: a 422 of whatever."""
    return "submitted too quickly" in said


def hour(at: float) -> str:
    """Return a moment as a clock on the wall shows it."""
    return time.strftime("%H:%M", time.localtime(at))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _after(text: str, now: float) -> float:
    """Return the moment that a Retry-After header names, in seconds or as a date; 0 for none."""
    seconds = _number(text)
    if seconds is not None:
        return now + max(seconds, 1.0)
    try:
        return max(parsedate_to_datetime(text).timestamp(), now + 1.0)
    except ValueError:
        return 0.0
