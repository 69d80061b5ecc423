"""The views of a run, as text for people and as JSON values; pure, and linear in the plan.

Text from the plan comes from a model or a user: it stays inside the line it is put on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from claudetm.plan.model import Change, Criterion, Task
from claudetm.workflow.run import Audit, ChangeState, Kept, Obstacle, Receipt, Run, TaskState
from claudetm.workflow.stages import FINAL_STAGES, Mode, Stage

_MARKUP: Final = re.compile(r"[\\`*\[\]<]")
_NOT_PRINTED: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]+")
_BACKTICKS: Final = re.compile("`+")


def _text(text: str) -> str:
    """Return the text on one line, with the signs that Markdown acts on made plain."""
    if not text.isascii() or not text.isprintable():
        text = _NOT_PRINTED.sub(" ", text)
    return _MARKUP.sub(r"\\\g<0>", " ".join(text.split()))


def _code(text: str) -> str:
    """Return the text as a code span that no backtick inside can close."""
    text = " ".join(_NOT_PRINTED.sub(" ", text).split())
    fence = "`" * (max(map(len, _BACKTICKS.findall(text)), default=0) + 1)
    return f"{fence} {text} {fence}" if "`" in text else f"{fence}{text}{fence}"


def _box(*, done: bool) -> str:
    return "[x]" if done else "[ ]"


# --- plan.md -------------------------------------------------------------------------------------------------


def plan_markdown(run: Run) -> str:
    """Return the plan as a checklist: a heading a change, a checkbox a task, a checkbox a criterion."""
    lines = ["# Plan", "", f"Goal: {_text(run.goal)}"]
    if run.plan.summary:
        lines += ["", f"Summary: {_text(run.plan.summary)}"]
    if run.plan.assumptions:
        lines += ["", "Assumptions:", "", *(f"- {_text(a)}" for a in run.plan.assumptions)]
    for change in run.changes.values():
        lines += _change_lines(change)
    if run.plan.criteria:
        lines += ["", "## Criteria", "", *(_criterion_line(k, run.receipts.get(k.id)) for k in run.plan.criteria)]
    return "\n".join([*lines, ""])


def _change_lines(change: ChangeState) -> Iterator[str]:
    plan = change.plan
    yield ""
    yield f"## {_text(plan.id)}: {_text(plan.title)} ({change.stage})"
    yield ""
    if about := _about(plan, change):
        yield about
        yield ""
    for task in plan.tasks:
        yield _task_line(task, change.tasks.get(task.id))


def _about(plan: Change, change: ChangeState) -> str:
    parts = []
    if plan.depends_on:
        parts.append(f"After {', '.join(map(_text, plan.depends_on))}.")
    if change.number:
        parts.append(f"Pull request #{change.number}.")
    if change.hold:
        parts.append(f"Held: {_text(change.hold.reason)}.")
    return " ".join(parts)


def _task_line(task: Task, state: TaskState | None) -> str:
    done = state is not None and state.done
    note = " (held already)" if state is not None and state.skipped else ""
    return f"- {_box(done=done)} {_text(task.id)}: {_text(task.title)}{note}"


def _criterion_line(criterion: Criterion, receipt: Receipt | None) -> str:
    line = f"- {_box(done=receipt is not None and receipt.verdict == 'holds')} {_text(criterion.id)}: "
    line += _text(criterion.text)
    if criterion.command:
        line += f" ({_code(criterion.command)})"
    if receipt is not None:
        line += f" {_text(receipt.verdict)} at {receipt.commit[:12]}"
    return line


# --- progress.md ---------------------------------------------------------------------------------------------


def progress_markdown(run: Run) -> str:
    """Return where the run stands: the phase, what stops it, what it used, a line a change."""
    done, total = _tasks_done(run)
    settled = sum(c.settled for c in run.changes.values())
    lines = [
        "# Progress",
        "",
        f"- Run: {_text(run.id)}",
        f"- Phase: {run.phase}",
        f"- Changes settled: {settled} of {len(run.changes)}",
        f"- Tasks done: {done} of {total}",
        f"- Sessions: {run.sessions}, ${run.used.cost_usd:.2f}",
    ]
    if run.halt:
        lines += ["", f"**{str(run.halt.kind).capitalize()}**: {_text(run.halt.reason)}"]
        lines += [f"Next: {_code(run.halt.next)}"] if run.halt.next else []
    if run.changes:
        lines += ["", *(_change_line(c) for c in run.changes.values())]
    for change in run.changes.values():
        if change.flaky:
            lines += ["", f"Flaky in {_text(change.id)}: {_text(', '.join(change.flaky))} passed when run again"]
    if run.audit is not None:
        lines += ["", f"Audit: {run.audit.score} of 100. {_text(run.audit.notes)}".rstrip()]
    if run.answer:
        lines += ["", f"Answer: {_text(run.answer)}"]
    if run.landed:
        lines += ["", f"{'Done' if run.mode is Mode.SESSION else 'Landed'}: {_text(run.landed)}"]
        lines += [f"Next: {_code(run.landing_next)}"] if run.landing_next else []
    return "\n".join([*lines, ""])


def _change_line(change: ChangeState) -> str:
    stage = f"{change.stage}, held" if change.hold else str(change.stage)
    number = f", #{change.number}" if change.number else ""
    done = f"{_done(change)} of {len(change.plan.tasks)} tasks"
    return f"- {_text(change.id)} {_text(change.plan.title)}: {stage}, {done}{number}"


def _done(change: ChangeState) -> int:
    return sum(t.done for t in change.tasks.values())


def _tasks_done(run: Run) -> tuple[int, int]:
    return sum(_done(c) for c in run.changes.values()), sum(len(c.plan.tasks) for c in run.changes.values())


# --- context.md ----------------------------------------------------------------------------------------------


def context_markdown(run: Run) -> str:
    """Return what the sessions have learnt, oldest first, and the user's own words."""
    lines = ["# Learnings", "", *(f"- {_text(text)}" for text in run.learnings)]
    if run.messages:
        lines += ["", "# Said by the user", "", *(f"- {_text(text)}" for _, text in run.messages)]
    return "\n".join([*lines, ""])


# --- receipts.md ---------------------------------------------------------------------------------------------


def receipts_markdown(run: Run) -> str:
    """Return each criterion with what its last check showed: enough to check it again without this program."""
    lines = ["# Receipts", "", f"Goal: {_text(run.goal)}", "", f"Run {_text(run.id)}: {run.phase}"]
    lines[-1] += f" at {run.verify_commit}" if run.verify_commit else ""
    lines += [f"Landed: {_text(run.landed)}"] if run.landed else []
    lines += ["", "Logs are named from this file's folder; the hash is of a command's whole output."]
    for criterion in run.plan.criteria:
        lines += _receipt_lines(criterion, run.receipts.get(criterion.id), guard=criterion.id in run.guards)
    return "\n".join([*lines, ""])


def _receipt_lines(criterion: Criterion, receipt: Receipt | None, *, guard: bool) -> Iterator[str]:
    yield from ("", f"## {_text(criterion.id)}: {_text(criterion.text)}", "")
    yield f"- Verdict: {receipt.verdict if receipt else 'not checked'}" + (" (it held before the work)" * guard)
    if receipt is None:
        return
    yield f"- Commit: {receipt.commit}"
    if receipt.command:
        yield f"- Command: {_code(receipt.command)}"
        yield f"- Exit code: {'none' if receipt.exit_code is None else receipt.exit_code}"
        yield f"- Output: sha256 {receipt.output_sha256}, in {_code(receipt.log)}"
    yield from (f"- Evidence: {_text(e)}" for e in receipt.evidence)
    if receipt.missing:
        yield f"- Missing: {_text(receipt.missing[:_MISSING])}"


_MISSING: Final = 1000  # characters


# --- state.json ----------------------------------------------------------------------------------------------


def state_data(run: Run) -> dict[str, Any]:
    """Return the state of a run as JSON values: costs in US dollars, times in epoch seconds."""
    done, total = _tasks_done(run)
    return {
        "run": run.id,
        "mode": str(run.mode),
        "goal": run.goal,
        "phase": str(run.phase),
        "halt": _obstacle(run.halt),
        "target": run.target,
        "base": run.base,
        "forge": run.forge,
        "started": run.started,
        "updated": run.time,
        "seq": run.seq,
        "tasks": {"done": done, "total": total},
        "sessions": {"started": run.sessions, "open": len(run.open_sessions)},
        "used": {name: getattr(run.used, name) for name in run.used.__slots__},
        "changes": [_change_data(c) for c in run.changes.values()],
        "criteria": [_criterion_data(k, run) for k in run.plan.criteria],
        "audit": _fields(run.audit),
        "kept": _fields(run.kept),
        "report": run.report,
        "answer": run.answer,
        "landed": run.landed,
        "next": run.landing_next,
    }


def _fields(value: Audit | Kept | None) -> dict[str, Any] | None:
    return None if value is None else {name: getattr(value, name) for name in value.__slots__}


def _obstacle(obstacle: Obstacle | None) -> dict[str, str] | None:
    if obstacle is None:
        return None
    return {"kind": str(obstacle.kind), "reason": obstacle.reason, "next": obstacle.next}


def _change_data(change: ChangeState) -> dict[str, Any]:
    return {
        "id": change.id,
        "title": change.plan.title,
        "stage": str(change.stage),
        "since": change.since,
        "hold": _obstacle(change.hold),
        "depends_on": list(change.plan.depends_on),
        "branch": change.branch,
        "head": change.head,
        "number": change.number or None,
        "url": change.url,
        "merge_commit": change.merge_commit,
        "flaky": list(change.flaky),
        "tasks": [_task_data(t, change) for t in change.plan.tasks],
    }


def _task_data(task: Task, change: ChangeState) -> dict[str, str]:
    state = change.tasks.get(task.id)
    return {
        "id": task.id,
        "title": task.title,
        "state": _task_state(change, state),
        "commit": state.commit if state else "",
    }


def _task_state(change: ChangeState, state: TaskState | None) -> str:
    if state is None:
        gone = change.stage in FINAL_STAGES or change.stage is Stage.ABANDONED
        return "dropped" if gone else "waiting"
    if state.skipped:
        return "skipped"
    return "done" if state.commit else "started"


def _criterion_data(criterion: Criterion, run: Run) -> dict[str, Any]:
    receipt = run.receipts.get(criterion.id)
    return {
        "id": criterion.id,
        "text": criterion.text,
        "command": criterion.command,
        "guard": criterion.id in run.guards,
        "verdict": receipt.verdict if receipt else "",
        "commit": receipt.commit if receipt else "",
        "exit_code": receipt.exit_code if receipt else None,
        "output_sha256": receipt.output_sha256 if receipt else "",
        "log": receipt.log if receipt else "",
        "evidence": list(receipt.evidence) if receipt else [],
        "missing": receipt.missing if receipt else "",
    }
