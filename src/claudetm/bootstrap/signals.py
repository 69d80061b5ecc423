"""The signals that end what runs in the terminal or as a service, each with its reason in words."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Final

from claudetm.ports.dispatch import TOLD_TO_END

_REASONS: Final = {
    signal.SIGINT: "interrupted (Ctrl+C)",
    signal.SIGTERM: TOLD_TO_END,
    signal.SIGHUP: "its terminal was closed",
}


@contextmanager
def heeded(stop: Callable[[str, bool], None]) -> Iterator[None]:
    """While it lasts, Ctrl+C, SIGTERM and a terminal that is closed call `stop`: why, and whether one came before."""
    loop, calls = asyncio.get_running_loop(), count()
    # under nohup a terminal that is closed is no reason to stop
    numbers = [n for n in _REASONS if n != signal.SIGHUP or signal.getsignal(n) is not signal.SIG_IGN]
    for number in numbers:
        loop.add_signal_handler(number, lambda reason: stop(reason, next(calls) > 0), _REASONS[number])
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
