"""What the monitor goes by, as one plain value, and how long it waits before it tries again. Seconds throughout."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from claudetm.ports.source import Lane

_JITTER: Final = 0.25  # of a pause, to either side


@dataclass(frozen=True, slots=True)
class MonitorPolicy:
    """The monitor's settings."""

    poll: float = 30.0  # between two sweeps of a source
    once: bool = False  # work what is there, and end
    lanes: Mapping[Lane, int] = field(default_factory=lambda: {Lane.WORK: 1, Lane.TALK: 1})  # jobs at a time
    grace: float = 60.0  # for running jobs to finish after the first stop
    stopping: float = 60.0  # for workers to stop after that; they live on else, and are found again
    call: float = 90.0  # the longest that a source may take to answer
    keep: float = 30.0  # between two signs of life of a claim
    retry_first: float = 30.0
    retry_most: float = 900.0
    postponed_most: float = 86_400.0  # a job that cannot begin for so long has failed
    deaths: int = 3  # in a row without progress, then it is quarantined
    deaths_unseen: int = 8  # the same, with those that no monitor has seen: whoever stops a machine stops all on it

    def pause(self, job: str, times: int) -> float:
        """Return how long to wait before the next try, the `times`-th in a row: doubled each time, spread by name."""
        doubled = min(self.retry_most, self.retry_first * float(2 ** min(max(times - 1, 0), 30)))
        digest = hashlib.sha256(f"{job} {times}".encode()).digest()
        spread = int.from_bytes(digest[:4], "big") / 0xFFFF_FFFF * 2 - 1
        return min(self.retry_most, doubled * (1 + _JITTER * spread))
