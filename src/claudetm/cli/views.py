"""What a driving command prints: a line an event that a person wants to know of, as it happens."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from claudetm.engine.loop import Ending
from claudetm.ports.agent import Progress
from claudetm.redact import printable, redact
from claudetm.workflow.limits import Wait
from claudetm.workflow.records import Record
from claudetm.workflow.run import Run

_CODES: Final = {Ending.VERIFIED: 0, Ending.PAUSED: 2, Ending.BLOCKED: 1, Ending.CANCELLED: 1}
_WIDEST: Final = 160  # characters of a line that goes into a file
_LONG_SECONDS: Final = 10.0  # a shorter wait is only the time to the next look


class Lines:
    """Prints plain lines: time, change, what happened. `level` is quiet, normal or verbose."""

    def __init__(self, level: str = "normal") -> None:
        self._level = level
        self._began = time.monotonic()
        at_terminal = sys.stdout is not None and sys.stdout.isatty()
        self._width = shutil.get_terminal_size().columns if at_terminal else _WIDEST
        self._waited = ""

    def notice(self, sentence: str) -> None:
        """Print a sentence that concerns the whole run."""
        if self._level != "quiet":
            self._print("", sentence)

    def event(self, run: Run, record: Record) -> None:
        """Print an event, if people want to know of it."""
        text = _told(run, record.type, record.data)
        if text and self._level != "quiet":
            self._waited = ""
            self._print(str(record.data.get("change") or ""), text)

    def progress(self, progress: Progress) -> None:
        """Print what the agent is doing now, when all is wanted."""
        if self._level == "verbose":
            self._print("", f"  {progress.text}")

    def wait(self, wait: Wait) -> None:
        """Print why nothing happens, once."""
        if self._level != "quiet" and wait.why != self._waited:
            self._waited = wait.why
            long = wait.until is not None and wait.until > time.time() + _LONG_SECONDS
            until = f" (until {time.strftime('%H:%M:%S', time.localtime(wait.until))})" if long else ""
            self._print("", f"waiting: {wait.why}{until}")

    def _print(self, change: str, text: str) -> None:
        seconds = time.monotonic() - self._began
        line = " ".join(redact(printable(text)).split())
        line = f"{seconds:7.1f}s {change:<4} {line}"
        line = line if len(line) <= self._width else f"{line[: self._width - 1]}…"
        try:
            print(line, flush=True)
        except BrokenPipeError:
            # whoever read along has gone; the run goes on
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _told(run: Run, kind: str, data: Mapping[str, Any]) -> str:
    """Return an event in words, or "" for what a person need not be told."""
    template = _WORDS.get(kind)
    return template(run, data) if template else ""


def _plan(run: Run, _data: Mapping[str, Any]) -> str:
    tasks = sum(len(c.tasks) for c in run.plan.changes)
    return f"planned: {len(run.plan.changes)} changes, {tasks} tasks, {len(run.plan.criteria)} criteria"


def _session(_run: Run, data: Mapping[str, Any]) -> str:
    return f"{data['role']} session for {data['subject']} ({data['model']})"


def _session_end(_run: Run, data: Mapping[str, Any]) -> str:
    cost = data["usage"]["cost_usd"]
    detail = f": {data['detail']}" if data["outcome"] != "answered" and data["detail"] else ""
    return f"session ended: {data['outcome']}{detail}, ${cost:.2f}"


def _review(_run: Run, data: Mapping[str, Any]) -> str:
    skipped = data.get("skipped", "")
    return f"not reviewed: {skipped}" if skipped else f"reviewed: {data['findings']} findings"


def _criterion(run: Run, data: Mapping[str, Any]) -> str:
    text = next((c.text for c in run.plan.criteria if c.id == data["criterion"]), "")
    return f"criterion {data['criterion']} {data['verdict']}: {text}"


_WORDS: Final[Mapping[str, Callable[[Run, Mapping[str, Any]], str]]] = {
    "RunStarted": lambda _, d: f"run {d['run']} on {d['target']} at {d['base'][:10]}",
    "PlanDrafted": lambda *_: "a plan is drafted; its criteria are run before any work",
    "PlanProposed": _plan,
    "PlanRefused": lambda _, d: f"the plan goes back: {' '.join(d['reasons'])}",
    "PlanApproved": lambda _, d: f"plan approved by {d['by']}",
    "SessionStarted": _session,
    "SessionEnded": _session_end,
    "ChangeStarted": lambda _, d: f"begun on {d['branch']}",
    "TaskFinished": lambda _, d: f"task {d['task']} done at {d['commit'][:10]}",
    "TaskSkipped": lambda _, d: f"task {d['task']} was true already",
    "ChangeEmpty": lambda _, d: f"skipped: {d['reason']}",
    "PullRequestOpened": lambda _, d: f"pull request #{d['number']} {d['url']}",
    "ChecksPassed": lambda _, d: f"checks passed at {d['head'][:10]}",
    "ChecksFailed": lambda _, d: f"checks failed at {d['head'][:10]}: {', '.join(d['failed'])}",
    "ChecksRerun": lambda *_: "checks run once more",
    "FixPushed": lambda _, d: f"fix pushed: {d['cause']}",
    "SelfReviewed": _review,
    "ReviewsReceived": lambda _, d: f"{len(d['threads'])} remarks to answer",
    "ReviewsAnswered": lambda _, d: f"{len(d['answered'])} remarks answered",
    "ConflictFound": lambda *_: "conflicts with the base",
    "BaseMoved": lambda *_: "the base moved",
    "BranchUpdated": lambda *_: "the base is merged in",
    "HeadMoved": lambda _, d: f"somebody pushed {d['head'][:10]}",
    "PullRequestMerged": lambda _, d: f"merged as {d['commit'][:10]} by {d['by']}",
    "PullRequestClosed": lambda _, d: f"closed by {d['by'] or 'a person'}",
    "PullRequestReopened": lambda *_: "opened again",
    "SnapshotTaken": lambda _, d: f"kept as {d['ref']}: {d['why']}",
    "ChangeBlocked": lambda _, d: f"blocked: {d['reason']}",
    "ChangeDropped": lambda _, d: f"dropped: {d['reason']}",
    "CommandRefused": lambda _, d: f"{d['name']} refused: {d['reason']}",
    "VerificationStarted": lambda _, d: f"verifying at {d['commit'][:10]}",
    "CriterionChecked": _criterion,
    "CriteriaFailed": lambda _, d: f"criteria fail: {', '.join(d['criteria'])}",
    "PlanExtended": lambda _, d: f"{len(d['changes'])} changes more",
    "GoalVerified": lambda _, d: f"verified at {d['commit'][:10]}; {d['landed']}",
}


def conclude(run: Run, ending: Ending) -> int:
    """Print how it ended and the one next command; return the exit code."""
    out = sys.stderr if ending is Ending.BLOCKED else sys.stdout
    used = f"{run.sessions} sessions, ${run.used.cost_usd:.2f}"
    match ending:
        case Ending.VERIFIED:
            print(f"verified: {run.landed} ({used})", file=out)
            if run.landing_next:
                print(f"next: {run.landing_next}", file=out)
        case Ending.PAUSED | Ending.BLOCKED:
            halt = run.halt
            print(f"{ending}: {redact(printable(halt.reason)) if halt else ''} ({used})", file=out)
            print(f"next: {halt.next if halt else 'claudetm resume'}", file=out)
        case Ending.CANCELLED:
            print(f"cancelled ({used})", file=out)
    return _CODES[ending]
