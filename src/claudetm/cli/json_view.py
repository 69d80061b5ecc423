"""The view behind `--json`: events, notices, waits and the end as JSON lines; what the agent does, at verbose."""

from __future__ import annotations

from claudetm.cli.exit_codes import ExitCode
from claudetm.cli.jsonlines import bounded, dumped, event_object, iso, now_iso, shown
from claudetm.cli.output import say
from claudetm.cli.views import CODES, View, Write, next_step, outcome
from claudetm.engine.loop import Ending
from claudetm.ports.agent import Progress
from claudetm.workflow.limits import Wait
from claudetm.workflow.records import Record
from claudetm.workflow.run import Run


class JsonLines(View):
    """Writes an object a line. `level` is quiet for the end alone, normal, or verbose."""

    def __init__(self, level: str = "normal", write: Write = say) -> None:
        self._level = level
        self._write = write
        self._seq = 0
        self._waited = ""

    def begin(self, run: Run) -> None:
        """Take note of where the journal stands."""
        self._seq = run.seq

    def notice(self, sentence: str) -> None:
        """Write a sentence that concerns the whole run."""
        if self._level != "quiet":
            self._put("notice", sentence)

    def event(self, run: Run, record: Record) -> None:
        """Write an event."""
        self._seq, self._waited = record.seq, ""
        if self._level != "quiet":
            self._write(dumped(event_object(run, record)))

    def progress(self, progress: Progress) -> None:
        """Write what the agent is doing now, when all is wanted; what we do ourselves, always."""
        if self._level == "verbose" or (self._level != "quiet" and not progress.session):
            self._put("progress", progress.text, session=progress.session, cost_usd=progress.usage.cost_usd)

    def wait(self, wait: Wait) -> None:
        """Write why nothing happens, once."""
        if self._level != "quiet" and wait.why != self._waited:
            self._waited = wait.why
            self._put("wait", wait.why, until=iso(wait.until) if wait.until else None)

    def end(self, run: Run, ending: Ending) -> None:
        """Write the last object; before it a dry run's plan."""
        if ending is Ending.PLANNED:
            from claudetm.cli import dry_run

            plan = {"type": "plan", "seq": self._seq, "time": now_iso(), "text": "the plan", **dry_run.data(run)}
            self._write(dumped(bounded(plan)))
        self._ended(outcome(run, ending), ending, CODES[ending], next_step(run, ending))

    def broke_off(self, ending: str, code: ExitCode) -> None:
        """Write the last object of a driver that was interrupted, or failed."""
        self._ended(ending, ending, code, "claudetm resume")

    def _ended(self, text: str, ending: str, code: ExitCode, step: str) -> None:
        self._put("ended", text, ending=str(ending), exit_code=int(code), next=shown(step) or None)

    def _put(self, kind: str, text: str, **more: str | float | None) -> None:
        self._write(dumped({"type": kind, "seq": self._seq, "time": now_iso(), "text": shown(text), **more}))
