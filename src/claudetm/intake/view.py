"""`queue_state.json`: the queue for people and other programs. Written, and read back by nobody here."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

from claudetm.intake.queue import Entry, Queue
from claudetm.ports.source import Note, Status

NAME: Final = "queue_state.json"
SCHEMA: Final = 1
_NOT_TAKEN: Final = 100  # tasks that are named; a place may hold thousands that do not qualify


def iso(seconds: float) -> str | None:
    """Return an instant as ISO 8601 with its zone, or None where there is none."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds") if seconds else None


def queue_state(
    queue: Queue,
    notes: Mapping[str, Note],
    troubles: Mapping[str, str],
    now: float,
    *,
    passed: Mapping[str, Mapping[str, str]],
    alive: bool,
) -> dict[str, Any]:
    """Return the view as JSON values. `notes` are the newest by job, `troubles` a sentence by source.

    `passed` is by source and job why it is not taken.
    """
    line, held = list(queue.line()), queue.held
    at_work = [entry for entry in held if entry.status is Status.RUNNING and not entry.waiting]
    return {
        "schema": SCHEMA,
        "updated_at": iso(now),
        "queue_size": len(line),
        "current_task": at_work[0].id if at_work and alive else None,
        "is_processing": alive and bool(at_work),
        "queued_tasks": [entry.id for entry in line],
        "queue": [{**_named(entry), "position": n, "priority": entry.priority} for n, entry in enumerate(line, 1)],
        "running": [{**_named(entry), **_told(notes.get(entry.id))} for entry in at_work],
        "waiting": [{**_named(entry), "why": entry.why, "next": entry.next} for entry in held if entry.waiting],
        "retrying": [_retrying(entry) for entry in held if entry.status is Status.RETRYING],
        "finished": {"completed": queue.completed, "failed": queue.failed},
        "reporting": [entry.id for entry in queue.concluded],
        "not_taken": list(islice(_passed(queue, passed), _NOT_TAKEN)),
        "sources": dict(troubles),
        "commands": dict(queue.answers),
    }


def _passed(queue: Queue, passed: Mapping[str, Mapping[str, str]]) -> Iterator[dict[str, str]]:
    """Yield what is left where it is: not what is ours, whatever its source says of that."""
    for source, jobs in passed.items():
        for job, why in jobs.items():
            entry = queue.jobs.get(job)
            if entry is None or entry.status is Status.QUEUED:
                yield {"task_id": job, "source": source, "why": why}


def _named(entry: Entry) -> dict[str, Any]:
    return {
        "task_id": entry.id,
        "title": entry.title,
        "source": entry.source,
        "status": str(entry.status),
        "lane": str(entry.lane),
        "created_at": iso(entry.created),
        "started_at": iso(entry.started),
    }


def _told(note: Note | None) -> dict[str, Any]:
    if note is None:
        return {}
    return {"stage": note.stage, "note": note.text, "cost_usd": note.cost_usd, "link": note.link}


def _retrying(entry: Entry) -> dict[str, Any]:
    return {**_named(entry), "why": entry.why, "until": iso(entry.until), "deaths": entry.deaths}


def text(state: Mapping[str, Any]) -> str:
    """Return the view's text."""
    return json.dumps(state, ensure_ascii=False) + "\n"
