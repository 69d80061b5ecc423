"""Events in a person's words. Loads nothing but the pure core, so that commands which only look can use it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping
from typing import Any, Final

from claudetm.workflow.run import Run
from claudetm.workflow.stages import Mode

DETAILS: Final = frozenset(
    {"ChangeReady", "DriverStarted", "RunBlocked", "RunCancelled", "RunPaused", "RunResumed", "TaskStarted"}
)
"""Told where all is wanted: a person at the screen reads these elsewhere on it."""


def told(run: Run, kind: str, data: Mapping[str, Any]) -> str:
    """Return an event in words, or "" for what a person need not be told."""
    template = _WORDS.get(kind)
    return template(run, data) if template else ""


def spoken(kind: str) -> str:
    """Return an event's name as words: all there is to say of one that `told` passes over."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind).lower()


def doing(run: str, text: str) -> str:
    """Return what an agent is doing with paths as from its worktree. `run` is the run's id."""
    if text == "StructuredOutput":  # the tool that a session answers by
        return "gives its answer"
    return re.sub(rf"\S*/{re.escape(run)}/(?:changes|checkouts)/[^/\s]+/?", "", text) if run else text


def _plan(run: Run, _data: Mapping[str, Any]) -> str:
    tasks = sum(len(c.tasks) for c in run.plan.changes)
    criteria = len(run.plan.criteria)
    held = "1 criterion" if criteria == 1 else f"{criteria} criteria"
    return f"planned: {_count(len(run.plan.changes), 'change')}, {_count(tasks, 'task')}, {held}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _session(_run: Run, data: Mapping[str, Any]) -> str:
    return f"{data['role']} session for {data['subject']} ({data['model']})"


def _session_end(_run: Run, data: Mapping[str, Any]) -> str:
    cost = data["usage"]["cost_usd"]
    told = data["detail"].rstrip(".") if data["outcome"] not in {"answered", "interrupted"} else ""
    detail = f": {told}" if told else ""
    return f"session ended: {data['outcome']}{detail}, ${cost:.2f}"


def _review(_run: Run, data: Mapping[str, Any]) -> str:
    skipped = data.get("skipped", "")
    if skipped == "off":
        return "claudetm's own reviewer is off"
    return f"not reviewed: {skipped}" if skipped else f"reviewed: {_count(data['findings'], 'finding')}"


def _red(_run: Run, data: Mapping[str, Any]) -> str:
    how = data.get("how") or [""] * len(data["failed"])
    each = (f"{name} ({why})" if why else name for name, why in zip(data["failed"], how, strict=True))
    flaky = f"; flaky: {', '.join(names)} passed when run again" if (names := data.get("flaky")) else ""
    return f"checks failed at {data['head'][:10]}: {', '.join(each)}{flaky}"


def _criterion(run: Run, data: Mapping[str, Any]) -> str:
    text = next((c.text for c in run.plan.criteria if c.id == data["criterion"]), "")
    return f"criterion {data['criterion']} {data['verdict']}: {text}"


def _settings(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {shown}" for field, value in values.items() for name, shown in _keys(field, value))


def _keys(field: str, value: Any) -> list[tuple[str, str]]:
    """Return the keys that a field of the policy is set by, each with its value as it is typed."""
    from claudetm.config import KEYS

    found = [key for key in KEYS.values() if key.field == field]
    entries = [(key, value.get(key.entry)) for key in found if key.entry and isinstance(value, Mapping)]
    typed = [(key, part) for key, part in entries if part is not None] or [(k, value) for k in found if not k.entry]
    return [(key.name, _typed(key.shown(part))) for key, part in typed] or [(field, _typed(value))]


def _typed(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(shlex.quote, map(str, value)))
    return value if isinstance(value, str) else json.dumps(value)


def _title(run: Run, data: Mapping[str, Any]) -> str:
    tasks = run.changes[data["change"]].plan.tasks
    return next((t.title for t in tasks if t.id == data["task"]), "")


def _kept(_run: Run, data: Mapping[str, Any]) -> str:
    if not data["ref"]:
        return "nothing was changed, so nothing is kept"
    where = f"on {data['branch']}" if data.get("branch") else f"as {data['ref']}"
    return f"the work is kept {where}{' and pushed' if data.get('pushed') else ''}"


def _audit(run: Run, data: Mapping[str, Any]) -> str:
    notes = f": {data['notes']}" if data["notes"] else ""
    return f"audited: {data['score']} of 100, where {run.policy.audit_threshold} are wanted{notes}"


def _verified(run: Run, data: Mapping[str, Any]) -> str:
    return str(data["landed"]) if run.mode is Mode.SESSION else f"verified at {data['commit'][:10]}; {data['landed']}"


_WORDS: Final[Mapping[str, Callable[[Run, Mapping[str, Any]], str]]] = {
    "RunStarted": lambda _, d: f"run {d['run']} on {d['target']} at {d['base'][:10]}",
    "PlanDrafted": lambda *_: "a plan is drafted; its criteria are run before any work",
    "PlanProposed": _plan,
    "PlanRefused": lambda _, d: f"the plan goes back: {' '.join(d['reasons'])}",
    "PlanRejected": lambda _, d: f"the plan is sent back: {d['reason']}",
    "PlanEdited": lambda run, _: f"the plan was edited: {len(run.plan.changes)} changes",
    "NothingToDo": lambda *_: "nothing is left to do; the criteria have to show it",
    "DriverStarted": lambda _, d: f"claudetm {d['version']} drives the run (process {d.get('pid', 0)})",
    "RunPaused": lambda _, d: f"paused: {d['reason']}",
    "RunBlocked": lambda _, d: f"blocked: {d['reason']}",
    "RunResumed": lambda _, d: f"resumed by {d.get('by', 'user')}",
    "RunCancelled": lambda *_: "cancelled",
    "LimitsRaised": lambda _, d: f"new limits: {_settings(d['limits'])}",
    "SettingsChanged": lambda _, d: f"new settings: {_settings(d['settings'])}",
    "MessageAdded": lambda _, d: f"you said: {d['text']}",
    "TaskStarted": lambda run, d: f"task {d['task']}: {_title(run, d)}",
    "ChangeReady": lambda _, d: f"every task is done at {d['head'][:10]}",
    "ChangeUnblocked": lambda *_: "no longer held",
    "MergeQueued": lambda *_: "in the forge's merge queue",
    "PlanApproved": lambda _, d: f"plan approved by {d['by']}",
    "SessionStarted": _session,
    "SessionEnded": _session_end,
    "ChangeStarted": lambda _, d: f"begun on {d['branch']}",
    "TaskFinished": lambda _, d: f"task {d['task']} done at {d['commit'][:10]}",
    "TaskSkipped": lambda _, d: f"task {d['task']} was true already",
    "ChangeEmpty": lambda _, d: f"skipped: {d['reason']}",
    "PullRequestOpened": lambda _, d: f"pull request #{d['number']} {d['url']}",
    "ChecksPassed": lambda _, d: f"checks passed at {d['head'][:10]}" + (f" ({d['note']})" if d.get("note") else ""),
    "ChecksFailed": _red,
    "ChecksRerun": lambda *_: "what failed runs once more on the same commit",
    "BaseFoundRed": lambda _, d: f"{', '.join(d['checks'])} fails on the base {d['base'][:10]}, too",
    "FixPushed": lambda _, d: f"fix pushed: {d['cause']}",
    "SelfReviewed": _review,
    "ReviewsReceived": lambda _, d: f"{_count(len(d['threads']), 'remark')} to answer",
    "ReviewsAnswered": lambda _, d: f"{_count(len(d['answered']), 'remark')} answered",
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
    "VerificationStarted": lambda run, d: f"verifying at {d['commit'][:10]}" if run.mode is Mode.GOAL else "",
    "CriterionChecked": _criterion,
    "CriteriaFailed": lambda _, d: f"criteria fail: {', '.join(d['criteria'])}",
    "PlanExtended": lambda _, d: f"{_count(len(d['changes']), 'change')} more, for what does not hold",
    "GoalVerified": _verified,
    "WorkDone": lambda _, d: f"the work is done at {d['head'][:10]}",
    "AuditPassed": _audit,
    "AuditFailed": _audit,
    "AuditSkipped": lambda _, d: f"not audited: {d['why']}",
    "ChangeKept": _kept,
    "QuestionAnswered": lambda _, d: f"answered: {d['text']}",
}
