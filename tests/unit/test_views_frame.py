"""Painting in place, judged by a terminal emulator: what scrolls by stays, the frame is one, nothing is left over."""

from __future__ import annotations

import os
import pty
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pyte
import pytest
from rich.text import Text

from claudetm.cli.frame import Painted, Painter, repaint, scrolled


class Terminal:
    """A terminal of so many columns and lines, with what has scrolled out of it."""

    def __init__(self, columns: int, lines: int) -> None:
        self.screen = pyte.HistoryScreen(columns, lines, history=1000)
        self.stream = pyte.Stream(self.screen)
        self.columns = columns
        self.frame: list[Painted] = []

    def paint(self, above: list[str], frame: list[str]) -> None:
        new = [line(text) for text in frame]
        self.stream.feed(repaint([line(text) for text in above], self.frame, new, self.columns))
        self.frame = new

    def lines(self) -> list[str]:
        gone = ["".join(row[x].data for x in range(self.columns)).rstrip() for row in self.screen.history.top]
        return [*gone, *(text.rstrip() for text in self.screen.display)]


def line(text: str) -> Painted:
    return Painted(text, len(text))


def test_the_frame_is_painted_over_and_lines_scroll_away_above_it() -> None:
    terminal = Terminal(20, 6)
    terminal.paint([], ["goal", "0/2"])
    terminal.paint(["first"], ["goal", "1/2"])
    terminal.paint(["second", "third"], ["goal", "2/2"])
    assert terminal.lines() == ["first", "second", "third", "goal", "2/2", ""]


def test_what_scrolls_out_stays_in_the_scrollback_once_and_in_order() -> None:
    terminal = Terminal(20, 6)
    for n in range(50):
        terminal.paint([f"event {n}"], ["goal", f"{n}/50"])
    assert terminal.lines() == [*(f"event {n}" for n in range(50)), "goal", "49/50", ""]


def test_painting_the_same_frame_again_never_scrolls() -> None:
    terminal = Terminal(20, 6)
    frame = [f"row {n}" for n in range(5)]
    terminal.paint([], frame)
    before = terminal.lines()
    for _ in range(100):
        terminal.paint([], frame)
    assert terminal.lines() == before
    assert not terminal.screen.history.top


def test_a_lower_frame_leaves_nothing_of_a_higher_one_and_shorter_lines_nothing_of_longer_ones() -> None:
    terminal = Terminal(20, 8)
    terminal.paint([], ["a long line of it", "second", "third"])
    terminal.paint([], ["short"])
    assert terminal.lines() == ["short", *[""] * 7]


def test_a_terminal_that_became_narrower_has_broken_the_frame_s_lines() -> None:
    # what 15 columns do to two lines of 20 and 5: three rows
    old = [line("x" * 20), line("y" * 5)]
    assert "\x1b[3A\r\x1b[J" in repaint([], old, [line("new")], 15)
    assert "\x1b[2A\r" in repaint([], old, [line("new")], 40)


def test_a_long_line_is_broken_by_words_below_its_own_text() -> None:
    said = f"    1.0s c1   waiting: {'words that go on ' * 8}to the remedy"
    rows = [row.text for row in scrolled(said, 60)]
    plain = [Text.from_ansi(row).plain for row in rows]
    assert max(map(len, plain)) < 60
    assert " ".join(" ".join(plain).split()) == " ".join(said.split())
    assert {row[:14] for row in plain[1:]} == {" " * 14}
    most = scrolled("x " * 2_000, 60)
    assert (len(most), most[-1].columns < 60, "…" in most[-1].text) == (6, True, True)
    assert [row.columns for row in scrolled("short", 60)] == [5]


@pytest.fixture
def ends() -> Iterator[tuple[int, TextIO]]:
    """A pseudo-terminal: what reads it, and the file that is written."""
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as out:
        yield master, out
    os.close(master)


def all_of(master: int, out: TextIO) -> str:
    """Return everything that has been written; a terminal hands it on piece by piece."""
    out.write("\0")
    out.flush()
    said = b""
    while not said.endswith(b"\0"):
        said += os.read(master, 1 << 16)
    return said[:-1].decode()


def test_the_painter_writes_what_it_was_given_and_leaves_the_terminal_s_modes(ends: tuple[int, TextIO]) -> None:
    master, out = ends
    modes = termios.tcgetattr(out.fileno())
    painter = Painter(out)
    painter.start()
    for n in range(20):
        painter.line(f"event {n}")
        painter.show(Text(f"frame {n}"))
    painter.close()
    said = all_of(master, out)
    screen = pyte.Screen(80, 24)
    pyte.Stream(screen).feed(said)
    assert [text.rstrip() for text in screen.display][:21] == [*(f"event {n}" for n in range(20)), "frame 19"]
    assert "\x1b[?25l" not in said, "the cursor was hidden"
    assert "\x1b[?1049h" not in said, "another screen was switched to"
    assert termios.tcgetattr(out.fileno()) == modes


def test_after_a_pause_the_frame_is_painted_below_what_the_shell_wrote(ends: tuple[int, TextIO]) -> None:
    master, out = ends
    painter = Painter(out)
    painter.start()
    painter.show(Text("frame"))
    painter.pause()
    out.write("$ fg\r\n")
    out.flush()
    painter.line("while away")
    painter.resume()
    painter.show(Text("frame again"))
    painter.close()
    screen = pyte.Screen(80, 24)
    pyte.Stream(screen).feed(all_of(master, out))
    assert [text.rstrip() for text in screen.display][:4] == ["frame", "$ fg", "while away", "frame again"]


def test_a_terminal_that_is_gone_costs_nothing(tmp_path: Path) -> None:
    with (tmp_path / "out.txt").open("w") as out:  # no terminal: it tells no size
        painter = Painter(out)
        painter.start()
        painter.show(Text("frame"))
        painter.close()
        painter.line("nobody reads this")
