"""`claudetm logs`: the run's readable log; its events as JSON; its sessions, and what was said in one of them."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from claudetm.adapters.store.directory import StateDirectory
    from claudetm.workflow.records import Record
    from claudetm.workflow.run import Run

_FOLLOW_SECONDS = 0.5
_WIDEST = 120

Tell = Callable[[str], list[str]]


def command(
    lines: int = typer.Option(100, "-n", "--lines", min=1, help="How many of the last lines."),
    follow: bool = typer.Option(False, "-f", "--follow", help="Go on until the driver ends, or Ctrl+C."),
    session: str = typer.Option("", "--session", help="Show what was said in one session (the start of its id)."),
    sessions: bool = typer.Option(False, "--list", help="List the sessions: role, subject, outcome, cost."),
    as_json: bool = typer.Option(
        False, "--json", help="Print JSON: an event a line; of a session its messages; with --list one array."
    ),
) -> None:
    """Show what happened."""
    from claudetm.cli.state import find
    from claudetm.errors import UsageError

    if sessions and (follow or session):
        raise UsageError("--list goes neither with --follow nor with --session; leave one of them out")
    state = find()
    records = _records(state)
    try:
        if sessions:
            _print_sessions(records, as_json=as_json)
        elif session:
            _print_session(state, records[0].data["run"], session, lines, follow=follow, as_json=as_json)
        elif as_json:
            _print_events(state, records, lines, follow=follow)
        else:
            _print_log(state, records, lines, follow=follow)
    except KeyboardInterrupt:
        if not follow:
            raise


def _records(state: StateDirectory) -> list[Record]:
    """Return the journal's records. UsageError when there are none."""
    from claudetm.adapters.store.journal import FileJournal
    from claudetm.cli.state import no_run

    state.refuse_foreign()
    records = list(FileJournal(state.journal).read()) if state.journal.exists() else []
    if not records:
        raise no_run(state)
    return records


# --- the readable log ----------------------------------------------------------------------------------------


def _print_log(state: StateDirectory, records: list[Record], lines: int, *, follow: bool) -> None:
    """Print the last lines of this run's logs, a file a driver; of the events where there is no log."""
    files = _logs(state, records[0].time)
    if not files and not (follow and _driven(state)):
        for record in records[-lines:]:
            _say(event_line(record))
        return
    tail = _Tail(files[-1] if files else None)
    last: deque[str] = deque(maxlen=lines)
    for path in files[:-1]:
        last.extend(path.read_text(encoding="utf-8", errors="replace").splitlines())
    last.extend(tail.new())
    for line in last:
        _say(line)
    if follow:
        _follow(state, tail, lambda: _logs(state, records[0].time), lambda line: [line])


def _logs(state: StateDirectory, since: float) -> list[Path]:
    """Return the logs of drivers that began at `since` (epoch seconds) or later, by age."""
    first = time.strftime("run-%Y%m%dT%H%M%SZ.txt", time.gmtime(since))
    return sorted(p for p in state.logs.glob("run-*.txt") if p.name >= first)


class _Tail:
    """Reads what is appended to a file, in whole lines."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._at = 0

    def turn_to(self, path: Path) -> None:
        """Read another file, from its beginning."""
        self.path, self._at = path, 0

    def new(self) -> list[str]:
        """Return the lines that have come since the last call."""
        if self.path is None or not self.path.exists() or self.path.stat().st_size == self._at:
            return []
        with self.path.open("rb") as file:
            file.seek(self._at)
            found = file.read()
        whole = found[: found.rfind(b"\n") + 1]
        self._at += len(whole)
        return whole.decode(errors="replace").splitlines()


def _follow(state: StateDirectory, tail: _Tail, files: Callable[[], list[Path]], tell: Tell) -> None:
    """Print what is appended until no driver is there; then go on where the next has begun meanwhile."""
    while True:
        driven = _driven(state)  # first: what a driver wrote before it ended is read below
        for text in (t for line in _appended(tail, files()) for t in tell(line)):
            _say(text)
        if not driven:
            return
        time.sleep(_FOLLOW_SECONDS)


def _appended(tail: _Tail, files: list[Path]) -> Iterator[str]:
    yield from tail.new()
    for path in files:
        if tail.path is None or path.name > tail.path.name:
            tail.turn_to(path)
            yield from tail.new()


def _driven(state: StateDirectory) -> bool:
    from claudetm.adapters.store.lock import holder

    return holder(state.lock) is not None


def _say(text: str) -> None:
    from claudetm.redact import printable, redact

    _put(redact(printable(text)))


def _put(line: str) -> None:
    """Print a line, or end the command where nobody reads it."""
    from claudetm.cli.output import unread

    try:
        print(line, flush=True)
    except BrokenPipeError:
        unread(sys.stdout)
        raise typer.Exit from None


# --- events --------------------------------------------------------------------------------------------------


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


def _print_events(state: StateDirectory, records: list[Record], lines: int, *, follow: bool) -> None:
    """Print the last events, each as `start --json` does when it happens."""
    from claudetm.cli.jsonlines import dumped, event_object
    from claudetm.workflow.run import Run

    run = Run()
    objects = deque((dumped(event_object(run, r)) for r in records if _applied(run, r)), maxlen=lines)
    for line in objects:
        _put(line)
    size = state.journal.stat().st_size
    while follow:
        driven = _driven(state)
        if state.journal.exists() and state.journal.stat().st_size != size:
            size = state.journal.stat().st_size
            for record in (r for r in _records(state) if r.seq > run.seq and _applied(run, r)):
                _put(dumped(event_object(run, record)))
        if not driven:
            return
        time.sleep(_FOLLOW_SECONDS)


def _applied(run: Run, record: Record) -> bool:
    """Fold the record into the run. JournalError for what this version does not know."""
    from claudetm.errors import JournalError
    from claudetm.workflow.run import UnreadableRecord

    try:
        run.apply(record)
    except UnreadableRecord as error:
        raise JournalError(f"The journal cannot be read: {error}; upgrade claudetm") from error
    return True


# --- sessions ------------------------------------------------------------------------------------------------


def _print_sessions(records: list[Record], *, as_json: bool) -> None:
    import json

    from claudetm.cli.session_list import sessions

    found = sessions(records)
    if as_json:
        _put(json.dumps([asdict(s) for s in found], indent=2))
        return
    if not found:
        _put("No session has begun yet.")
    for s in found:
        clock = time.strftime("%H:%M:%S", time.localtime(s.started))
        _say(f"{s.id[:8]} {clock} {s.role:<9} {s.subject:<14} {s.outcome:<12} ${s.cost_usd:.2f} {s.model}")


def _print_session(state: StateDirectory, run: str, session: str, lines: int, *, follow: bool, as_json: bool) -> None:
    from claudetm.cli.transcript_text import told

    tail = _Tail(_transcript(state, session))
    tell: Tell = (lambda line: [line]) if as_json else partial(told, run)
    shown = [text for line in tail.new() for text in tell(line)]
    if len(shown) > lines and not as_json:
        _put(f"… {len(shown) - lines} lines before these; -n {len(shown)} shows them")
    for text in shown[-lines:]:
        _say(text)
    if follow:
        _follow(state, tail, list, tell)


def _transcript(state: StateDirectory, session: str) -> Path:
    """Return the one transcript of a session whose id begins so. UsageError for none, or several."""
    from claudetm.errors import UsageError

    wanted = "".join(c for c in session if c.isalnum() or c == "-")
    found = sorted(state.logs.glob(f"session-{wanted}*.jsonl"))
    if not found:
        raise UsageError(
            f"There is no transcript of a session {session} in {state.logs}; claudetm logs --list names them"
        )
    if len(found) > 1:
        raise UsageError(f"{len(found)} sessions begin with {session}; claudetm logs --list names them")
    return found[0]
