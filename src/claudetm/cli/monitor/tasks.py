"""`claudetm monitor tasks`: every task with where it stands or how it ended; with a name, one result in full."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from claudetm.cli.monitor.options import AS_JSON, NAME, WORKING_DIR

if TYPE_CHECKING:
    from claudetm.cli.monitor.look import Monitor

_RECENT: Final = 20  # results


def command(
    task: str = typer.Argument("", help="A task's name: show that one with its result."),
    everything: bool = typer.Option(False, "--all", help="Show all results, not the newest 20 alone."),
    working_dir: Path = WORKING_DIR,
    name: str = NAME,
    as_json: bool = AS_JSON,
) -> None:
    """Show every task, or one with its result."""
    from claudetm.cli.monitor.look import dump, look
    from claudetm.cli.monitor.table import ended_rows, open_rows, show

    monitor = look(working_dir, name)
    if task:
        _show_one(monitor, task, as_json=as_json)
        return
    rows = [*open_rows(monitor), *ended_rows(monitor, None if everything else _RECENT)]
    if as_json:
        dump([row.data() for row in rows])
    elif rows:
        show(rows)
    else:
        print("there are no tasks")


def _show_one(monitor: Monitor, task: str, *, as_json: bool) -> None:
    """Print one task. Raises UsageError where nothing is known of it."""
    from claudetm.cli.monitor.look import dump, result_of
    from claudetm.cli.monitor.table import open_rows
    from claudetm.errors import UsageError
    from claudetm.ports.source import refuse_name

    task = task.removesuffix(".md")
    row = next((row for row in open_rows(monitor) if row.id == task), None)
    result = {} if refuse_name(task) else result_of(monitor.places, task)
    if row is None and not result:
        raise UsageError(f"There is no task {task} here; claudetm monitor tasks --all shows those that there are")
    if as_json:
        dump({"task": row.data() if row else None, "result": result or None})
        return
    if row is not None:
        at = f", {row.position} in the queue" if row.position else ""
        print(f"{row.id}: {row.status}{f' ({row.stage})' if row.stage else ''}{at}: {row.what}")
        print(*([f"next: {row.next}"] if row.next else []), sep="\n", end="\n" if row.next else "")
    for line in _readable(result) if result else ():
        print(line)


_FIELDS: Final = (
    "status",
    "title",
    "source",
    "created_at",
    "started_at",
    "completed_at",
    "queue_position",
    "retry_count",
    "audit_score",
    "audit_notes",
    "error",
)


def _readable(result: dict[str, Any]) -> Iterator[str]:
    """Yield a result for people: what it came to, then what is in it besides."""
    from claudetm.cli.monitor.look import one_line

    yield one_line(result.get("task_id", ""))
    for name in _FIELDS:
        if result.get(name) not in (None, ""):
            yield from _field(name.replace("_", " "), str(result[name]))
    output = result.get("worker_output")
    if isinstance(output, dict):
        if isinstance(cost := output.get("cost_usd"), int | float):
            yield f"  {'cost':<15}${cost:.2f}"
        yield from _field("summary", str(output.get("summary") or "-"))
    found = result.get("artifacts")
    artifacts = [a for a in found if isinstance(a, dict)] if isinstance(found, list) else []
    for artifact in artifacts:
        named = (artifact.get(key) for key in ("name", "url"))
        yield from _field(one_line(artifact.get("kind", "")), " ".join(str(n) for n in named if n))
    if any(artifact.get("kind") == "snapshot" for artifact in artifacts):
        id_ = one_line(result.get("task_id", ""))
        yield f"next: claudetm monitor apply {id_} brings it into the checkout, uncommitted"


def _field(name: str, text: str) -> Iterator[str]:
    """Yield a field, its further lines below the first."""
    from claudetm.redact import printable, redact

    first, *rest = redact(printable(text)).splitlines() or ["-"]
    yield f"  {name:<15}{first}"
    for line in rest:
        yield f"  {'':<15}{line}"
