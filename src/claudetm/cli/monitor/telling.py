"""A view that writes notes for the monitor: events that people want to know of, and what an agent does now."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from claudetm.adapters.dispatch.handover import Notes
from claudetm.cli.views import View
from claudetm.cli.words import DETAILS, doing, told
from claudetm.engine.loop import Ending
from claudetm.ports.agent import Progress
from claudetm.ports.source import Note
from claudetm.redact import printable, redact
from claudetm.workflow.limits import Wait
from claudetm.workflow.records import Record
from claudetm.workflow.run import Run

_SECONDS: Final = 1.0  # between two notes of what an agent does
_WIDEST: Final = 500  # characters


class Telling(View):
    """Appends notes to a file."""

    def __init__(self, path: Path, now: Callable[[], float] = time.monotonic) -> None:
        self._notes = Notes(path)
        self._now = now
        self._next = 0.0
        self._run = Run()
        self._waited = ""

    def begin(self, run: Run) -> None:
        """Take note of the run that the cost and the stage are read from."""
        self._run = run
        self._tell(_stage(run, ""), f"run {run.id} begins, or is carried on")

    def notice(self, sentence: str) -> None:
        """Tell a sentence that concerns the whole run."""
        self._tell(_stage(self._run, ""), sentence)

    def event(self, run: Run, record: Record) -> None:
        """Tell an event, if people want to know of it."""
        self._waited = ""
        change = str(record.data.get("change") or "")
        if record.type in DETAILS - {"TaskStarted"} or not (text := told(run, record.type, record.data)):
            return
        self._tell(_stage(run, change), f"{change}: {text}" if change else text, link=_link(run, change))

    def progress(self, progress: Progress) -> None:
        """Tell what is being done, at most once a second."""
        if self._now() >= self._next:
            self._next = self._now() + _SECONDS
            self._tell(_stage(self._run, ""), doing(self._run.id, progress.text))

    def wait(self, wait: Wait) -> None:
        """Tell why nothing happens, once."""
        if wait.why != self._waited:
            self._waited = wait.why
            self._tell(_stage(self._run, ""), f"waiting: {wait.why}", waiting=wait.person)

    def end(self, run: Run, ending: Ending) -> None:
        """Tell how it ended, or what a person is waited for."""
        halt = run.halt
        self._tell(_stage(run, ""), f"{ending}: {halt.reason}" if halt else str(ending), waiting=halt is not None)

    def _tell(self, stage: str, text: str, *, waiting: bool = False, link: str = "") -> None:
        line = " ".join(redact(printable(text)).split())
        line = line if len(line) <= _WIDEST else f"{line[: _WIDEST - 1]}…"
        if line:
            self._notes.tell(
                Note(stage, line, round(self._run.used.cost_usd, 6), waiting, link or _latest(self._run))
            )


def _stage(run: Run, change: str) -> str:
    """Return one word: the change's stage, or that of the one that is under way; else the run's phase."""
    if run.halt is not None:
        return str(run.halt.kind)
    found = run.changes.get(change) or next(iter(run.active.values()), None)
    return str(found.stage if found is not None and not run.finished else run.phase)


def _link(run: Run, change: str) -> str:
    found = run.changes.get(change)
    return found.url if found is not None else ""


def _latest(run: Run) -> str:
    """Return the address of the pull request that is under way, or was opened last, or ""."""
    urls = [c.url for c in (*run.active.values(), *reversed(run.changes.values())) if c.url]
    return urls[0] if urls else ""
