"""The machine's time."""

from __future__ import annotations

import asyncio
import time


class SystemClock:
    """Implements ports/clock.Clock."""

    def now(self) -> float:
        """Return the time in seconds since the epoch."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Wait that long."""
        await asyncio.sleep(seconds)
