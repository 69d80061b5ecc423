"""The live view at a terminal: events scroll by as plain lines, and below them a panel shows where the run stands.

The panel is made in the driver's thread, from the run as it is then, at most four times a second, and painted in
another.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from types import FrameType
from typing import Final, TextIO

from claudetm.cli.frame import Painter, size
from claudetm.cli.panel import Activity, panel
from claudetm.cli.views import Lines, View, conclude
from claudetm.engine.loop import Ending
from claudetm.ports.agent import Progress
from claudetm.workflow.limits import Wait
from claudetm.workflow.records import Record
from claudetm.workflow.run import Run

FRAME_SECONDS: Final = 0.25
_CLOCK_SECONDS: Final = 1.0  # the time that has gone by is shown to the second
_SHARE: Final = 20.0  # making the panel takes at most one part in so many of the driver's time
_UNCUT: Final = 2000  # characters; the painter breaks them at the terminal's width

Handler = Callable[[int, FrameType | None], object] | int | None
Later = Callable[[float, Callable[[], None]], object]


def _in_loop(seconds: float, call: Callable[[], None]) -> object:
    return asyncio.get_running_loop().call_later(seconds, call)


class LiveView(View):
    """Lines above, the panel below. `level` is normal or verbose."""

    def __init__(self, level: str, out: TextIO, later: Later = _in_loop) -> None:
        self._out = out
        self._later = later
        self._painter = Painter(out)
        self._lines = Lines(level, self._painter.line, widest=_UNCUT)
        self._run: Run | None = None
        self._activity = Activity()
        self._ticking = False
        self._news = False
        self._due = 0.0  # monotonic: not to be painted again before
        self._clock = 0.0  # monotonic: to be painted again by then
        self._before: Handler = signal.SIG_DFL

    def begin(self, run: Run) -> None:
        """Take the terminal over."""
        self._run = run
        self._lines.begin(run)
        self._painter.start()
        self._before = signal.signal(signal.SIGTSTP, self._suspend)

    def notice(self, sentence: str) -> None:
        """Let it scroll by."""
        self._lines.notice(sentence)

    def stopping(self, sentence: str) -> None:
        """Say it at once, and as long as it takes."""
        self._lines.stopping(sentence)
        self._change(replace(self._activity, stopping=sentence))

    def event(self, run: Run, record: Record) -> None:
        """Let it scroll by, and show what has come of it."""
        change = str(record.data.get("change") or "")
        open_now = {i: p for i, p in self._activity.progress.items() if i in run.open_sessions}
        self._lines.event(run, record)
        self._change(replace(self._activity, progress=open_now, wait=None, change=change))

    def progress(self, progress: Progress) -> None:
        """Show what the agent is doing."""
        self._lines.progress(progress)
        known = {**self._activity.progress, progress.session: progress}
        self._change(replace(self._activity, progress=known))

    def wait(self, wait: Wait) -> None:
        """Show why nothing happens, and for how long."""
        self._lines.wait(wait)
        self._change(replace(self._activity, wait=wait))

    def end(self, run: Run, ending: Ending) -> None:
        """Leave the last state on the screen, and say below it how it ended."""
        self.close()
        conclude(run, ending)

    def close(self) -> None:
        """Leave the last state on the screen. Called again, it does nothing."""
        run, self._run = self._run, None
        if run is None:
            return
        signal.signal(signal.SIGTSTP, self._before)
        self._activity = replace(self._activity, over=True)
        self._paint(run)
        self._painter.close()

    def _change(self, activity: Activity) -> None:
        self._activity, self._news = activity, True
        if not self._ticking:
            self._ticking = True
            self._tick()

    def _tick(self) -> None:
        if self._run is None:
            return
        now = time.monotonic()
        if now >= self._clock or (self._news and now >= self._due):
            self._paint(self._run)
            cost = time.monotonic() - now
            self._due = now + max(FRAME_SECONDS, _SHARE * cost)
            self._clock = max(self._due, now + _CLOCK_SECONDS)
        self._later(FRAME_SECONDS, self._tick)

    def _paint(self, run: Run) -> None:
        self._news = False
        try:
            columns, lines = size(self._out)
        except (OSError, ValueError):
            return  # the terminal is gone
        self._painter.show(panel(run, time.time(), self._activity, columns, lines))

    def _suspend(self, _number: int, _frame: FrameType | None) -> None:
        """Ctrl+Z: leave the terminal to the shell; after `fg` go on below what it wrote."""
        self._painter.pause()
        signal.signal(signal.SIGTSTP, self._before)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, self._suspend)
        self._painter.resume()
        if self._run is not None:
            self._paint(self._run)
