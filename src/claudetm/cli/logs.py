"""`claudetm logs`: what happened, an event a line; or one session's transcript."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from claudetm.adapters.store.directory import StateDirectory
    from claudetm.workflow.records import Record

_FOLLOW_SECONDS = 0.5


def command(
    lines: int = typer.Option(100, "-n", "--lines", min=1, help="How many of the last lines."),
    follow: bool = typer.Option(False, "-f", "--follow", help="Go on as the run does."),
    session: str = typer.Option("", "--session", help="Show the transcript of one session (the start of its id)."),
) -> None:
    """Show what happened."""
    from claudetm.cli.state import find

    state = find()
    if session:
        _print_transcript(state, session, lines)
        return
    shown = _print_events(state, lines, after=0)
    while follow:
        time.sleep(_FOLLOW_SECONDS)
        shown = _print_events(state, lines, after=shown)


def _print_events(state: StateDirectory, lines: int, after: int) -> int:
    from claudetm.adapters.store.journal import FileJournal
    from claudetm.errors import UsageError
    from claudetm.redact import printable, redact

    if not state.journal.exists():
        raise UsageError(f'There is no run in {state.root.parent}: `claudetm start "goal"` begins one')
    records = [r for r in FileJournal(state.journal).read() if r.seq > after]
    for record in records[-lines:]:
        print(redact(printable(event_line(record))))
    return records[-1].seq if records else after


def event_line(record: Record) -> str:
    """Return an event as one line: time, what it belongs to, name, step, the facts that matter."""
    clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.time))
    whose = record.data.get("change") or "run"
    step = f"{record.edge[0]} -> {record.edge[1]}" if record.edge[0] != record.edge[1] else record.edge[0]
    facts = " ".join(
        f"{name}={_short(value)}"
        for name, value in record.data.items()
        if name not in {"change", "plan", "settings", "changes"} and value not in ("", None, [], {}, 0, 0.0, False)
    )
    return f"{clock} {whose:<4} {record.type} [{step}] {facts}".rstrip()


def _short(value: object) -> str:
    if isinstance(value, dict):
        return ",".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in value.items() if v)
    text = " ".join(str(value).split())
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"


_WIDEST = 120


def _print_transcript(state: StateDirectory, session: str, lines: int) -> None:
    from claudetm.errors import UsageError
    from claudetm.redact import printable, redact

    found = sorted(state.logs.glob(f"session-{_safe(session)}*.jsonl"))
    if not found:
        raise UsageError(f"There is no transcript of a session {session} in {state.logs}")
    for line in found[0].read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]:
        print(redact(printable(line)))


def _safe(session: str) -> str:
    return "".join(c for c in session if c.isalnum() or c == "-")
