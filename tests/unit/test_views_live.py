"""The live view: events scroll by at once, the panel follows by a timer, and the last state remains."""

from __future__ import annotations

import os
import pty
import signal
import threading
from collections.abc import Callable
from contextlib import suppress

import pyte

from claudetm.cli.live import FRAME_SECONDS, LiveView
from claudetm.ports.agent import Progress
from claudetm.workflow.run import Run
from story import forty


def read_along(master: int, said: bytearray) -> None:
    """Take what is painted, as a terminal does, until nobody holds the other end."""
    with suppress(OSError):
        while found := os.read(master, 1 << 16):
            said += found


def test_a_hundred_events_make_one_timer_and_the_last_state_remains() -> None:
    timers: list[tuple[float, Callable[[], None]]] = []
    before = signal.getsignal(signal.SIGTSTP)
    master, slave = pty.openpty()
    said = bytearray()
    terminal = threading.Thread(target=read_along, args=(master, said))
    terminal.start()
    with os.fdopen(slave, "w") as out:
        view = LiveView("normal", out, lambda seconds, call: timers.append((seconds, call)))
        run, records = Run(), forty().records
        view.begin(run)
        for record in records:
            run.apply(record)
            view.event(run, record)
        assert [seconds for seconds, _ in timers] == [FRAME_SECONDS]
        view.progress(Progress("s1", "Edit greet.py"))
        timers.pop()[1]()
        assert len(timers) == 1, "the timer goes on"
        view.close()
        timers.pop()[1]()
        assert timers == [], "and ends with the view"
        view.close()
    terminal.join()
    os.close(master)
    screen = pyte.Screen(80, 24)
    pyte.ByteStream(screen).feed(bytes(said))
    shown = [line.rstrip() for line in screen.display]
    assert "working · 12/40 changes · 14/40 tasks" in "\n".join(shown)
    assert not any(line.startswith("now: ") for line in shown)
    assert signal.getsignal(signal.SIGTSTP) is before
