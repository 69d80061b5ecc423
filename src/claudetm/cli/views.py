"""What a driving command tells, as it happens: plain lines, for a screen that is no terminal and for the run's log.

A view is told of everything in the driver's own thread and must cost it next to nothing.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Final, TextIO

from claudetm.cli.chosen import aimed
from claudetm.cli.exit_codes import ExitCode
from claudetm.cli.output import say
from claudetm.cli.words import DETAILS, doing, spoken, told
from claudetm.engine.loop import Ending
from claudetm.ports.agent import Progress
from claudetm.redact import printable, redact
from claudetm.workflow.limits import Wait
from claudetm.workflow.records import Record
from claudetm.workflow.run import Run
from claudetm.workflow.stages import Mode

CODES: Final = {
    Ending.VERIFIED: ExitCode.SUCCESS,
    Ending.PAUSED: ExitCode.STOPPED,
    Ending.BLOCKED: ExitCode.FAILED,
    Ending.CANCELLED: ExitCode.FAILED,
    Ending.PLANNED: ExitCode.SUCCESS,
}
_WIDEST: Final = 4000  # characters of a line that goes into a file or a pipe: a remedy stands at its end
_HANG: Final = 14  # columns before what a line tells
_LONG_SECONDS: Final = 10.0  # a shorter wait is only the time to the next look

Stamp = Callable[[], str]
Write = Callable[[str], object]


class View:
    """Someone who is told; what a view has no use for, it passes over."""

    def begin(self, run: Run) -> None:
        """Take note that a driver takes the run over."""

    def notice(self, sentence: str) -> None:
        """Take note of a sentence that concerns the whole run."""

    def stopping(self, sentence: str) -> None:
        """Take note that the driver was asked to stop; `sentence` says what that means."""
        self.notice(sentence)

    def event(self, run: Run, record: Record) -> None:
        """Take note of an event that was written and folded."""

    def progress(self, progress: Progress) -> None:
        """Take note of what the agent is doing."""

    def wait(self, wait: Wait) -> None:
        """Take note of why nothing happens."""

    def end(self, run: Run, ending: Ending) -> None:
        """Take note of how the driver ended."""

    def broke_off(self, ending: str, code: ExitCode) -> None:
        """Take note that the driver was interrupted, or failed, and the exit code that comes of it."""

    def close(self) -> None:
        """Give back what the view holds: the terminal, a file."""


class Several(View):
    """Tells several views, one after the other."""

    def __init__(self, views: Sequence[View]) -> None:
        self._views = tuple(views)

    def begin(self, run: Run) -> None:
        """Tell each."""
        for view in self._views:
            view.begin(run)

    def notice(self, sentence: str) -> None:
        """Tell each."""
        for view in self._views:
            view.notice(sentence)

    def stopping(self, sentence: str) -> None:
        """Tell each."""
        for view in self._views:
            view.stopping(sentence)

    def event(self, run: Run, record: Record) -> None:
        """Tell each."""
        for view in self._views:
            view.event(run, record)

    def progress(self, progress: Progress) -> None:
        """Tell each."""
        for view in self._views:
            view.progress(progress)

    def wait(self, wait: Wait) -> None:
        """Tell each."""
        for view in self._views:
            view.wait(wait)

    def end(self, run: Run, ending: Ending) -> None:
        """Tell each."""
        for view in self._views:
            view.end(run, ending)

    def broke_off(self, ending: str, code: ExitCode) -> None:
        """Tell each."""
        for view in self._views:
            view.broke_off(ending, code)

    def close(self) -> None:
        """Close each."""
        for view in self._views:
            view.close()


class Quiet(View):
    """Tells only how it ended."""

    def end(self, run: Run, ending: Ending) -> None:
        """Print how it ended."""
        conclude(run, ending)


def seconds_since_now() -> Stamp:
    """Return a clock that reads the seconds since it was made."""
    began = time.monotonic()
    return lambda: f"{time.monotonic() - began:7.1f}s"


class Lines(View):
    """Tells in plain lines: time, change, what happened. `level` is normal, or verbose for all there is."""

    def __init__(
        self,
        level: str = "normal",
        write: Write | None = None,
        stamp: Stamp | None = None,
        widest: int = _WIDEST,
        columns: int = 0,
    ) -> None:
        """Cut lines at `widest` characters; with `columns`, break them by words at that width."""
        self._columns = columns
        self._verbose = level == "verbose"
        self._write = write or say
        self._stamp = stamp or seconds_since_now()
        self._widest = widest
        self._waited = ""
        self._run = ""

    def begin(self, run: Run) -> None:
        """Take note of whose paths these are."""
        self._run = run.id

    def notice(self, sentence: str) -> None:
        """Tell a sentence that concerns the whole run."""
        self._tell("", sentence)

    def event(self, run: Run, record: Record) -> None:
        """Tell an event, if people want to know of it."""
        if self._verbose:
            text = told(run, record.type, record.data) or spoken(record.type)
        else:
            text = "" if record.type in DETAILS else told(run, record.type, record.data)
        if text:
            self._waited = ""
            self._tell(str(record.data.get("change") or ""), text)

    def progress(self, progress: Progress) -> None:
        """Tell what the agent is doing now, when all is wanted; what we do ourselves, always."""
        if not progress.session:
            self._tell("", progress.text)
        elif self._verbose:
            self._tell("", f"  {doing(self._run, progress.text)}")

    def wait(self, wait: Wait) -> None:
        """Tell why nothing happens, once."""
        if wait.why != self._waited:
            self._waited = wait.why
            self._tell("", f"waiting: {wait.why}{_until(wait)}")

    def end(self, run: Run, ending: Ending) -> None:
        """Print how it ended."""
        conclude(run, ending)

    def _tell(self, change: str, text: str) -> None:
        line = " ".join(redact(printable(text)).split())
        indent = "  " if text.startswith("  ") else ""
        line = f"{self._stamp()} {change:<4} {indent}{line}"
        line = line if len(line) <= self._widest else f"{line[: self._widest - 1]}…"
        for row in broken(line, self._columns, _HANG) if self._columns else [line]:
            self._write(row)


def broken(line: str, columns: int, hang: int = 0) -> list[str]:
    """Return a line broken by words into rows of at most `columns`, all but the first set in by `hang`."""
    if len(line) <= columns:
        return [line]
    import textwrap

    hang = hang if columns > 3 * hang else 0
    return textwrap.wrap(line, max(columns, 1), subsequent_indent=" " * hang, break_on_hyphens=False)


def _until(wait: Wait) -> str:
    long = wait.until is not None and wait.until > time.time() + _LONG_SECONDS
    return f" (until {time.strftime('%H:%M:%S', time.localtime(wait.until))})" if long else ""


def next_step(run: Run, ending: Ending) -> str:
    """Return the one command that is left to the user, or ""."""
    match ending:
        case Ending.VERIFIED:
            return run.landing_next
        case Ending.PAUSED | Ending.BLOCKED:
            return run.halt.next if run.halt else "claudetm resume"
        case Ending.CANCELLED:
            return ""
        case Ending.PLANNED:
            return "the same `claudetm start` without --dry-run works it"


def finished(run: Run) -> str:
    """Return how a run ended that came to its end."""
    match run.mode:
        case Mode.GOAL:
            return f"verified: {run.landed}"
        case Mode.SESSION:
            return f"done: {run.landed}"
        case Mode.QUESTION:
            return "answered"


def outcome(run: Run, ending: Ending) -> str:
    """Return how it ended, in one line."""
    used = f"{run.sessions} session{'' if run.sessions == 1 else 's'}, ${run.used.cost_usd:.2f}"
    match ending:
        case Ending.VERIFIED:
            text = f"{finished(run)} ({used})"
        case Ending.PAUSED | Ending.BLOCKED:
            text = f"{ending}: {run.halt.reason if run.halt else ''} ({used})"
        case Ending.CANCELLED:
            text = f"cancelled ({used})"
        case Ending.PLANNED:
            text = f"planned, as asked: no branch, no pull request ({used})"
    return redact(printable(text))


def conclude(run: Run, ending: Ending) -> int:
    """Print how it ended and the one next command; return the exit code."""
    if ending is Ending.PLANNED:
        from claudetm.cli import dry_run

        for line in dry_run.lines(run):
            say(redact(printable(line)))
    for line in (run.report or run.answer).splitlines() if ending is Ending.VERIFIED else ():
        say(redact(printable(line)))
    tell, out = (_complain, sys.stderr) if ending is Ending.BLOCKED else (say, sys.stdout)
    told = [outcome(run, ending)]
    if step := next_step(run, ending):
        told.append(f"next: {aimed(redact(printable(step)))}")
    columns = _columns(out)
    for line in told:
        for row in broken(line, columns, 2) if columns else [line]:
            tell(row)
    return CODES[ending]


def _columns(out: TextIO | None) -> int:
    """Return the width of a terminal, 0 for what is none: a line goes there whole."""
    try:
        return os.get_terminal_size(out.fileno()).columns if out is not None and out.isatty() else 0
    except (OSError, ValueError):
        return 0


def _complain(line: str) -> None:
    if sys.stderr is not None:
        print(line, file=sys.stderr)
