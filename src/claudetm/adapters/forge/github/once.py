"""A write at GitHub happens once: sent once, and where no answer came, looked up, never sent again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from claudetm.adapters.forge.github.client import Unanswered

T = TypeVar("T")

WAITS: Final = (0.3, 0.7, 1.5, 3.0)
"""Seconds between looks for what was written: GitHub's reads lag behind its writes."""


class Once:
    """Writes, and looks for what came of them. All of it blocks."""

    def __init__(self, waits: Sequence[float] = WAITS, clock: Callable[[], float] = time.monotonic) -> None:
        """Take how long to wait between looks, in seconds, and what tells how long something takes already."""
        self.waits = waits
        self.clock = clock

    def write(self, send: Callable[[], T], look: Callable[[], T | None]) -> T:
        """Send, and return the answer, or what a look finds where none came; `look` returns None for nothing.

        Raises Unanswered where it cannot be found: the caller runs again later, and looks first.
        """
        try:
            return send()
        except Unanswered:
            found = self.found(look)
            if found is None:
                raise
            return found

    def found(self, look: Callable[[], T | None]) -> T | None:
        """Return what is found within a few seconds, or None."""
        found = look()
        for wait in self.waits:
            if found is not None:
                break
            time.sleep(wait)
            found = look()
        return found
