"""Who is told what a monitor does: standard output, in plain lines or as JSON, and the log, which hears all of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from claudetm.cli.output import say
from claudetm.errors import UsageError
from claudetm.redact import printable, redact

if TYPE_CHECKING:
    from claudetm.intake.preview import Prospect
    from claudetm.workflow.records import Record

LEVELS: Final = ("quiet", "normal", "verbose")
FORMATS: Final = ("text", "json")
_WIDEST: Final = 600  # characters of one line
_TASK: Final = 20  # columns of a task's name

Write = Callable[[str], None]


class Screen:
    """Tells lines of time, task and what. `level` is quiet for how it ended, normal, or verbose with progress."""

    def __init__(self, level: str, *, as_json: bool, write: Write = say) -> None:
        self.as_json = as_json
        self._level = level
        self._write = write
        self._log: logging.Logger | None = None

    def open(self, log: logging.Logger) -> None:
        """Write to the log as well, from now on."""
        self._log = log

    def banner(self, lines: list[str], settings: Mapping[str, Any], version: str) -> None:
        """Tell what the monitor goes by."""
        self._logged("\n".join(lines))
        if self.as_json:
            self._object("started", lines[0], version=version, settings=settings)
        elif self._level != "quiet":
            for line in lines:
                self._write(line)

    def notice(self, sentence: str, level: int = logging.INFO) -> None:
        """Tell what concerns the whole monitor."""
        self._logged(sentence, level)
        if self._level != "quiet":
            self._put("notice", "", sentence)

    def event(self, record: Record) -> None:
        """Tell of a record of the queue."""
        text, level = spoken(record)
        if not text:
            return
        job = str(record.data.get("job", ""))
        self._logged(f"{job}: {text}" if job else text, level)
        if self._level != "quiet":
            self._put(record.type, job, text, at=record.time, data=record.data)

    def progress(self, job: str, text: str) -> None:
        """Tell how far a task is; on the screen where all is wanted."""
        self._logged(f"{job}: {text}", logging.DEBUG)
        if self._level == "verbose":
            self._put("progress", job, text)

    def prospect(self, found: Prospect) -> None:
        """Tell of a task that a source has, and what would be done with it."""
        said = f"would be taken from {found.source}" if found.taken else f"not taken: {found.offer.why_not}"
        if found.held is not None:
            said = f"waits for you: {found.held.why}" if found.held.waiting else "is under way, and goes on"
        said += _named(found.offer.title)
        on = found.held is not None
        self._put("offer", found.offer.id, said, source=found.source, taken=found.taken, goes_on=on)

    def end(self, text: str, code: int) -> None:
        """Tell how it ended, whatever the level."""
        self._logged(text)
        self._put("ended", "", text, exit_code=code)

    def _put(self, kind: str, job: str, text: str, at: float | None = None, **more: Any) -> None:
        if self.as_json:
            self._object(kind, text, at, task=job or None, **more)
            return
        clock = time.strftime("%H:%M:%S", time.localtime(at))
        line = " ".join(redact(printable(text)).split())
        line = line if len(line) <= _WIDEST else f"{line[: _WIDEST - 1]}…"
        self._write(f"{clock} {printable(job):<{_TASK}} {line}" if job else f"{clock} {line}")

    def _object(self, kind: str, text: str, at: float | None = None, **more: Any) -> None:
        from claudetm.cli.jsonlines import bounded, dumped, iso, now_iso, shown

        when = now_iso() if at is None else iso(at)
        self._write(dumped({"type": kind, "time": when, "text": shown(text), **bounded(more)}))

    def _logged(self, text: str, level: int = logging.INFO) -> None:
        if self._log is not None:
            for line in text.splitlines():
                self._log.log(level, "%s", line)


def screen(level: str, log_format: str, *, as_json: bool) -> Screen:
    """Return whoever is told. Raises UsageError for a level or a format that there is not."""
    if level not in LEVELS:
        raise UsageError(f"There is no log level {level}: use one of {', '.join(LEVELS)}")
    if log_format not in FORMATS:
        raise UsageError(f"There is no log format {log_format}: use one of {', '.join(FORMATS)}")
    return Screen(level, as_json=as_json or log_format == "json")


def spoken(record: Record) -> tuple[str, int]:
    """Return a record in words, "" where nobody wants to know, and how grave it is."""
    d = record.data
    match record.type:
        case "JobQueued":
            return f"queued at {d['position']}{_named(d['title'])}", logging.INFO
        case "JobClaimed":
            return f"begun{_named(d['claim']['title'])} ({d['claim']['mode']})", logging.INFO
        case "JobDied":
            return f"its worker died ({d['evidence']}); again at {clock(d['until'])}", logging.WARNING
        case "JobPostponed":
            return f"{d['why']}; again at {clock(d['until'])}", logging.WARNING
        case "JobWaiting":
            return f"waits for you: {d['why']}{_next(d['next'])}", logging.WARNING
        case "JobResumed":
            return "goes on", logging.INFO
        case "JobGivenBack":
            return f"given back: {d['why']}", logging.INFO
        case "JobLost":
            unknown = "no longer ours there: taken over by another monitor, or taken back by a person"
            return f"taken over by {d['by']}" if d["by"] else unknown, logging.WARNING
        case "JobWithdrawn":
            return f"no task any more: {d['why']}", logging.INFO
        case "JobCompleted":
            return f"completed{_named(d['result']['output'].get('summary', ''))}", logging.INFO
        case "JobFailed":
            return f"failed: {d['result']['error']}", logging.ERROR
        case "CommandTaken":
            return f"asked to {d['name']} {d['subject']}{': ' if d['refusal'] else ''}{d['refusal']}", logging.INFO
        case _:
            return "", logging.DEBUG


def clock(at: float) -> str:
    """Return a time of day, with the date where it is not within a day."""
    near = abs(at - time.time()) < _DAY
    return time.strftime("%H:%M:%S" if near else "%Y-%m-%d %H:%M", time.localtime(at))


_DAY: Final = 86_400.0


def _named(title: str) -> str:
    return f": {title}" if title else ""


def _next(command: str) -> str:
    return f"; next: {command}" if command else ""
