"""Painting at a terminal, in place: lines that scroll away above a frame of lines that is painted over.

The cursor, the keyboard and the screen's other modes are never changed, so nothing is left to restore, whatever ends
the process; that, and a window that becomes narrower, is why rich's own Live does not do it. A thread of its own
writes: a terminal that is stopped (Ctrl+S) or slow does not hold the driver up.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Final, TextIO

from rich.console import Console, RenderableType
from rich.segment import Segment, Segments
from rich.text import Text

from claudetm.cli.output import unread

_PATIENCE: Final = 2.0  # seconds for the last frame, at a terminal that takes nothing
_STAMP: Final = 9  # characters of the time a line begins with
_HANG: Final = 14  # columns before what a line tells
_ROWS: Final = 6  # of one line that scrolls away
# https://gist.github.com/christianparpart/d8a62cc1ab659194337d73e399004036: shown in one piece where that is known
_TOGETHER, _SHOW = "\x1b[?2026h", "\x1b[?2026l"


@dataclass(frozen=True, slots=True)
class Painted:
    """One line as it is written, and how many columns it takes."""

    text: str
    columns: int


def repaint(above: Sequence[Painted], old: Sequence[Painted], new: Sequence[Painted], width: int) -> str:
    """Return what takes the terminal from the frame `old` to `above` scrolling away, and `new` below it.

    The cursor stands in the line after a frame. A terminal that has become narrower has broken the frame's lines.
    """
    up = sum(max(1, -(-line.columns // width)) for line in old)
    broken = "\x1b[J" if up > len(old) else ""  # else the parts of a broken line would be joined again later
    home = f"\x1b[{up}A\r{broken}" if up else "\r"
    lines = "".join(f"{line.text}\x1b[K\r\n" for line in (*above, *new))
    return f"{_TOGETHER}{home}{lines}\x1b[J{_SHOW}"


def painted(renderable: RenderableType, width: int) -> list[Painted]:
    """Return a renderable as lines of less than `width` columns, in the colours that the environment allows."""
    console = Console(file=StringIO(), width=max(width - 1, 1), force_terminal=True, highlight=False)
    found = []
    for segments in console.render_lines(renderable, pad=False):
        with console.capture() as capture:
            console.print(Segments(segments), end="")
        found.append(Painted(capture.get(), Segment.get_line_length(segments)))
    return found


def scrolled(line: str, width: int) -> list[Painted]:
    """Return a line that scrolls away: broken by words at the width, and cut where it would take the terminal."""
    first, *more = Text(line).wrap(Console(width=width), max(width - 1, 1))
    first.stylize("dim", 0, _STAMP)
    if more and width > 3 * _HANG:
        rest = Text(line[len(first.plain) :].strip())
        more = [Text(" " * _HANG) + row for row in rest.wrap(Console(width=width), width - 1 - _HANG)]
    rows = [first, *more[: _ROWS - 1]]
    if len(more) >= _ROWS:
        rows[-1].append(" …")
    for row in rows:
        row.no_wrap, row.overflow = True, "ellipsis"
    return [painted(row, width)[0] for row in rows]


class Painter:
    """The thread that writes to one terminal. What is handed over while it is busy is painted together, once."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._news = threading.Condition()
        self._above: list[str] = []
        self._next: RenderableType | None = None
        self._frame: list[Painted] = []
        self._state = "running"  # then "pausing", "paused"; "closing" at last
        self._thread = threading.Thread(target=self._paint, name="painter", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def line(self, text: str) -> None:
        """Let a line scroll away above the frame."""
        with self._news:
            self._above.append(text)
            self._news.notify_all()

    def show(self, renderable: RenderableType) -> None:
        """Paint a new frame over the last."""
        with self._news:
            self._next = renderable
            self._news.notify_all()

    def pause(self) -> None:
        """Write nothing more, until `resume`: the terminal goes to somebody else."""
        with self._news:
            self._state = "pausing"
            self._news.notify_all()
            self._news.wait_for(lambda: self._state == "paused", _PATIENCE)

    def resume(self) -> None:
        """Go on, below whatever was written meanwhile."""
        with self._news:
            self._state, self._frame = "running", []
            self._news.notify_all()

    def close(self) -> None:
        """Paint what there is and end. Gives up where the terminal takes nothing."""
        with self._news:
            self._state = "closing"
            self._news.notify_all()
        if self._thread.is_alive():
            self._thread.join(_PATIENCE)

    def _paint(self) -> None:
        try:
            while self._turn():
                pass
        except OSError:
            unread(self._out)  # the terminal is gone: the run goes on
        except ValueError:
            return  # and so is the file

    def _turn(self) -> bool:
        """Paint once what there is; return whether there is more to come."""
        with self._news:
            self._news.wait_for(self._ready)
            if self._state == "pausing" and not self._pending():
                self._state = "paused"
                self._news.notify_all()
                self._news.wait_for(lambda: self._state != "paused")
                return True
            closing = self._state == "closing"
            above, self._above = self._above, []
            renderable, self._next = self._next, None
        self._write(above, renderable)
        return not closing

    def _pending(self) -> bool:
        return bool(self._above) or self._next is not None

    def _ready(self) -> bool:
        return self._pending() or self._state != "running"

    def _write(self, above: list[str], renderable: RenderableType | None) -> None:
        width = size(self._out)[0]
        lines = [row for text in above for row in scrolled(text, width)]
        frame = painted(renderable, width) if renderable is not None else self._frame
        if not _in_front(self._out):
            # in the background the terminal is somebody else's: no frame, and none to paint over later
            frame, self._frame = [], []
        if lines or frame or self._frame:
            self._out.write(repaint(lines, self._frame, frame, width))
            self._out.flush()
        self._frame = frame


def size(out: TextIO) -> tuple[int, int]:
    """Return columns and lines of the terminal; 80 and 24 where it does not say."""
    found = os.get_terminal_size(out.fileno())
    return found.columns or 80, found.lines or 24


def _in_front(out: TextIO) -> bool:
    """Return whether the terminal is ours to paint on: not while the shell has put us into the background."""
    try:
        return os.tcgetpgrp(out.fileno()) == os.getpgrp()
    except OSError:
        return True  # not our controlling terminal, so nobody shares it
