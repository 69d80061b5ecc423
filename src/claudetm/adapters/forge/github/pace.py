"""How often GitHub is looked at: soon after news, seldom while it is quiet, and within a share of the quota."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from claudetm.adapters.forge.github.client import GithubClient

SHARE: Final = 0.2
"""How much of an hour's quota looks may use."""

_HOUR: Final = 3600.0
_LOOK: Final = 2  # points that the first look costs, as a rule
_RESOURCES: Final = ("graphql", "core")
_PACES: Final = ((120.0, 0.5), (600.0, 1.0), (1800.0, 2.0))  # for so many seconds of quiet, which factor
_SLOWEST: Final = 4.0
_MOST: Final = 60.0
_LAST: Final = 3
"""So many looks, each as dear as any, are spared: the one that goes beyond, and an hour of the slowest pace."""


class Pace:
    """What looks have cost in the last hour, and how far apart the next are to be."""

    def __init__(self, client: GithubClient, clock: Callable[[], float]) -> None:
        """Take what knows the quota, and a clock of seconds."""
        self._client = client
        self._clock = clock
        self._looks: deque[tuple[float, int]] = deque()  # when, and what it cost

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count what looking costs in here."""
        before = self._left()
        try:
            yield
        finally:
            after = self._left()
            used = [max(0, left - after[window]) for window, left in before.items() if window in after]
            self._looks.append((self._clock(), sum(used) if used else _LOOK))

    def factor(self, quiet: float) -> float:
        """Return how much longer than usual to leave until the next look, after so many quiet seconds."""
        pace = next((factor for seconds, factor in _PACES if quiet < seconds), _SLOWEST)
        return min(pace * self._stretch(), _MOST)

    def _left(self) -> Mapping[tuple[str, int, float], int]:
        """Return what is left of each hour's quota that is known; what is left of another hour says nothing."""
        found = {name: self._client.quota().of(name) for name in _RESOURCES}
        return {(name, of.limit, of.resets_at): of.remaining for name, of in found.items() if of}

    def _stretch(self) -> float:
        """Return by how much looks are to be spaced out, so that an hour of them keeps to its share."""
        now = self._clock()
        while self._looks and self._looks[0][0] < now - _HOUR:
            self._looks.popleft()
        limits = [found for name in _RESOURCES if (found := self._client.quota().of(name)) and found.limit]
        if not limits:
            return 1.0
        costs = [cost for _, cost in self._looks]
        spared = _LAST * max(costs, default=0)
        used = (sum(costs) + spared) / (SHARE * min(found.limit for found in limits))
        left = min(found.remaining / found.limit for found in limits)
        by_share = 1.0 / max(1.0 - used, 1.0 / _MOST) if used > 0.5 else 1.0  # noqa: PLR2004 - half of it
        return max(by_share, min(0.5 / max(left, 0.01), 10.0))
