"""Time that passes at once: an event loop which, instead of waiting, moves its clock to what comes next.

For tests whose parts are all in memory. Where nothing would ever happen, it says so instead of hanging.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

BEGAN = 1_700_000_000.0
T = TypeVar("T")


class Stuck(AssertionError):  # noqa: N818 - a fact about the test
    """Everything waits for something that nothing will bring about."""


class _Selector(selectors.DefaultSelector):
    """Never waits: what it is asked to wait is counted as passed."""

    passed = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise Stuck("nothing is left that could happen")
            self.passed += max(timeout, 0.0)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose `time` is virtual."""

    def __init__(self) -> None:
        self._clockwork = _Selector()
        super().__init__(self._clockwork)

    def time(self) -> float:
        """Return the virtual seconds since the loop was made."""
        return self._clockwork.passed


class VirtualClock:
    """Implements ports/clock.Clock on the running virtual loop; `began` is when the loop was made."""

    def __init__(self, began: float = BEGAN) -> None:
        self.began = began

    def now(self) -> float:
        """Return the time in seconds since the epoch."""
        return self.began + asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """Wait that long."""
        await asyncio.sleep(seconds)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
