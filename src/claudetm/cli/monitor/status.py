"""`claudetm monitor status`: whether it runs, what it works, what waits, how the last tasks ended."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from claudetm.cli.monitor.options import AS_JSON, NAME, WORKING_DIR

if TYPE_CHECKING:
    from claudetm.cli.monitor.look import Monitor
    from claudetm.cli.monitor.table import Row

_LAST: Final = 5  # results
_NEXT: Final = 3  # of the queue, by name


def command(working_dir: Path = WORKING_DIR, name: str = NAME, as_json: bool = AS_JSON) -> None:
    """Show whether the monitor runs, and where its tasks stand."""
    from claudetm.cli.monitor.look import dump, look
    from claudetm.cli.monitor.table import ended_rows, open_rows

    monitor = look(working_dir, name)
    rows, last = open_rows(monitor), list(ended_rows(monitor, _LAST))
    if as_json:
        dump(_data(monitor, rows, last))
        return
    for line in _lines(monitor, rows, last):
        print(line)


def _data(monitor: Monitor, rows: list[Row], last: list[Row]) -> dict[str, Any]:
    from claudetm.cli.monitor.look import named_running
    from claudetm.cli.monitor.table import NOT_TAKEN

    queue, holder = monitor.queue, monitor.holder
    return {
        "running": holder is not None,
        "pid": holder.pid if holder else None,
        "named": [{"name": name, "pid": other.pid} for name, other in named_running(monitor.places).items()],
        "working_dir": str(monitor.places.here),
        "sources": monitor.sources,
        "queue_size": sum(bool(row.position) for row in rows),
        "current": [row.data() for row in _current(rows)],
        "queued": [row.data() for row in rows if row.position],
        "not_taken": [row.data() for row in rows if row.status == NOT_TAKEN],
        "completed": queue.completed,
        "failed": queue.failed,
        "last": [row.data() for row in last],
        "next": _next(monitor, rows),
    }


def _lines(monitor: Monitor, rows: list[Row], last: list[Row]) -> list[str]:
    from claudetm.cli.monitor.look import named_running, one_line
    from claudetm.cli.monitor.table import NOT_TAKEN, duration

    queue, now = monitor.queue, time.time()
    running = f"running ({monitor.holder})" if monitor.holder else "not running"
    from_ = f", tasks from {', '.join(monitor.sources)}" if monitor.sources else ""
    lines = [f"monitor: {running} in {one_line(monitor.places.here)}{from_}"]
    for name, other in named_running(monitor.places).items():
        lines.append(f"also here: --name {one_line(name)}, running ({other})")
    for row in _current(rows):
        stage = f" ({row.stage})" if row.stage else ""
        lines.append(f"{row.status}: {row.id}{stage} since {duration(max(now - row.since, 0.0))}: {row.what}")
        lines += [f"  next: {row.next}"] if row.next else []
    lines.append(f"queue: {_counted([row for row in rows if row.position], 'waiting')}")
    if passed := [row for row in rows if row.status == NOT_TAKEN]:
        lines.append(f"not taken: {_counted(passed, '(claudetm monitor tasks says why)')}")
    lines.append(f"ended: {queue.completed} completed, {queue.failed} failed")
    for row in last:
        lines.append(f"  {row.id} {row.status} {duration(max(now - row.since, 0.0))} ago: {row.what}")
    return [_cut(line) for line in lines] + [f"next: {_next(monitor, rows)}"]


def _current(rows: list[Row]) -> list[Row]:
    """Return what is under way."""
    from claudetm.cli.monitor.table import NOT_TAKEN

    return [row for row in rows if not row.position and row.status != NOT_TAKEN]


def _counted(rows: list[Row], word: str) -> str:
    """Return how many they are, and the first of them by name."""
    names = [row.id for row in rows[:_NEXT]]
    return f"{len(rows)} {word}" + (f": {', '.join(names)}{', …' if len(rows) > _NEXT else ''}" if names else "")


def _cut(line: str) -> str:
    import shutil

    columns = shutil.get_terminal_size().columns
    return line if len(line) <= columns else f"{line[: columns - 1]}…"


def _next(monitor: Monitor, rows: list[Row]) -> str:
    """Return the one command that helps now."""
    if waits := next((row.next for row in rows if row.next), ""):
        return waits
    from claudetm.cli.monitor.look import named_running, one_line

    if monitor.holder is None and (names := list(named_running(monitor.places))):
        return f"claudetm monitor status --name {one_line(names[0])} shows the one that runs"
    if monitor.holder is None:
        return "claudetm monitor --dry-run shows what waits, claudetm monitor takes it"
    return "claudetm monitor tasks shows each task" if rows else 'claudetm monitor add "…" gives it a task'
