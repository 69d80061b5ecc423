"""Tasks as rows: one for each that the queue knows, one for each result. Their texts are anybody's."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from claudetm.cli.monitor.look import Monitor, one_line, results
from claudetm.ports.source import FINAL, Status

if TYPE_CHECKING:
    from claudetm.intake.queue import Entry
    from claudetm.ports.source import Offer

WAITING: Final = "waiting"  # shown of what runs, and waits for a person
NOT_TAKEN: Final = "not taken"  # shown of what a source has, and what is left there
_COLOURS: Final = {
    Status.RUNNING: "cyan",
    WAITING: "yellow",
    NOT_TAKEN: "yellow",
    Status.RETRYING: "yellow",
    Status.COMPLETED: "green",
    Status.FAILED: "red",
}
_LONGEST_NAME: Final = 40


@dataclass(frozen=True, slots=True)
class Row:
    """One task. `position` is its place in the queue, 0 for none; `since` is epoch seconds."""

    id: str
    status: str
    since: float
    source: str = ""
    title: str = ""
    what: str = ""  # where it stands, or how it ended
    next: str = ""
    position: int = 0
    stage: str = ""

    def data(self) -> dict[str, Any]:
        """Return it as JSON values, times in ISO 8601."""
        since = datetime.fromtimestamp(self.since).astimezone().isoformat(timespec="seconds")
        return {**asdict(self), "since": since}


def open_rows(monitor: Monitor) -> list[Row]:
    """Return what is under way, then what waits, in order, then what is not taken."""
    from claudetm.cli.monitor.waiting import waiting

    queue, found = monitor.queue, waiting(monitor)
    held = [_row(monitor, entry) for entry in queue.held]
    line = [(e.priority, _queued(monitor, e, found.get(e.id))) for e in queue.line()]
    new = [each for id_, each in found.items() if id_ not in queue.jobs]
    line += [(offer.priority, _offered(source, offer)) for source, offer in new if not offer.why_not]
    line.sort(key=lambda each: each[0])
    rows = [replace(row, position=n) for n, (_, row) in enumerate(line, 1)]
    return [*held, *rows, *(_offered(source, offer) for source, offer in new if offer.why_not)]


def _queued(monitor: Monitor, entry: Entry, found: tuple[str, Offer] | None) -> Row:
    """Return a row of the queue; why it is passed over, where its source has come to say so."""
    row = _row(monitor, entry)
    why = found[1].why_not if found is not None else ""
    return replace(row, what=one_line(why)) if why else row


def _offered(source: str, offer: Offer) -> Row:
    status = NOT_TAKEN if offer.why_not else Status.QUEUED
    named = one_line(offer.id, _LONGEST_NAME * 3), str(status), offer.created, one_line(source)
    return Row(*named, title=one_line(offer.title), what=one_line(offer.why_not))


def ended_rows(monitor: Monitor, most: int | None) -> Iterator[Row]:
    """Yield what has a result, the newest first, and is not in the queue."""
    for data in results(monitor.places, most):
        id_ = one_line(data.get("task_id", ""), _LONGEST_NAME * 3)
        if id_ in monitor.queue.jobs and monitor.queue.jobs[id_].status not in FINAL:
            continue
        yield Row(
            id_,
            one_line(data.get("status", "")),
            seconds(data.get("completed_at")),
            one_line(data.get("source", "")),
            one_line(data.get("title", "")),
            _ended(data),
        )


def _row(monitor: Monitor, entry: Entry) -> Row:
    status = WAITING if entry.waiting else str(entry.status)
    stage, text = stage_of(monitor, entry.id)
    what = one_line(entry.why or text or entry.title)
    if entry.status is Status.RETRYING:
        what = f"{what}; again in {duration(max(entry.until - time.time(), 0.0))}"
    since = entry.started or entry.queued
    named = (entry.id, status, since, entry.source, one_line(entry.title), what, one_line(entry.next))
    return Row(*named, stage=stage)


def stage_of(monitor: Monitor, job: str) -> tuple[str, str]:
    """Return a running task's stage in a word, and what it does in a line; "" where it has told nothing."""
    told = monitor.told(job)
    return one_line(told.get("stage", "")), one_line(told.get("note", ""))


def _ended(data: dict[str, Any]) -> str:
    if error := data.get("error"):
        return one_line(error)
    worked = data.get("worker_output")
    return one_line(worked.get("summary", "") if isinstance(worked, dict) else "")


def seconds(at: object) -> float:
    """Return a time as a result has it in epoch seconds, 0 for what is none."""
    try:
        return datetime.fromisoformat(str(at)).timestamp()
    except (ValueError, OverflowError, OSError):
        return 0.0


def duration(span: float) -> str:
    """Return seconds in a few characters: 42s, 3m, 2h05m, 3d."""
    if span < 60:  # noqa: PLR2004 - seconds of a minute
        return f"{span:.0f}s"
    minutes = int(span // 60)
    if minutes < 60:  # noqa: PLR2004 - minutes of an hour
        return f"{minutes}m"
    hours = minutes // 60
    return f"{hours}h{minutes % 60:02}m" if hours < 48 else f"{hours // 24}d"  # noqa: PLR2004 - hours of two days


def show(rows: Sequence[Row], width: int = 0) -> None:
    """Print rows as a table of at most `width` columns, by default the terminal's; what was said last is cut."""
    import shutil

    from rich.console import Console
    from rich.text import Text

    now, width = time.time(), width or shutil.get_terminal_size().columns
    cells = [("#", "task", "status", "since", "what"), *(_cells(row, now) for row in rows)]
    most = (4, max(width // 2, 8), 24, 6)
    widths = [min(max(len(cell[n]) for cell in cells), most[n]) for n in range(len(most))]
    console = Console(highlight=False, width=width)
    for row, cell in zip([None, *rows], cells, strict=True):
        place, task, status, since = (f"{_cut(text, w):<{w}}  " for text, w in zip(cell[:-1], widths, strict=True))
        coloured = (status, _COLOURS.get(row.status, "") if row else "")
        line = Text.assemble(place, task, coloured, since, cell[-1], style="" if row else "bold")
        line.truncate(width, overflow="ellipsis")
        console.print(line, no_wrap=True)


def _cells(row: Row, now: float) -> tuple[str, ...]:
    status = row.status + (f" ({row.stage})" if row.stage else "")
    since = duration(max(now - row.since, 0.0)) if row.since else "-"
    return str(row.position or ""), one_line(row.id), status, since, row.what or row.title


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
