"""What a driving command tells a program: one JSON object a line, nothing else on standard output.

Every object has `type`, `seq` (of the last event), `time` (ISO 8601, UTC) and `text`, the same in a person's words.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from claudetm.cli.words import spoken, told
from claudetm.redact import printable, redact
from claudetm.workflow.records import Record
from claudetm.workflow.run import Run

LONGEST: Final = 2000  # characters of one text
MOST: Final = 200  # entries of one list or object


def event_object(run: Run, record: Record) -> dict[str, Any]:
    """Return an event as JSON values. `run` is the state it has led to."""
    return {
        "type": record.type,
        "seq": record.seq,
        "time": iso(record.time),
        "change": record.data.get("change") or None,
        "text": shown(told(run, record.type, record.data) or spoken(record.type)),
        "data": bounded({k: v for k, v in record.data.items() if k != "change"}),
    }


def iso(seconds: float) -> str:
    """Return epoch seconds in ISO 8601, UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def now_iso() -> str:
    """Return the time in ISO 8601, UTC."""
    return iso(time.time())


def shown(text: str) -> str:
    """Return text without secrets and control characters, of bounded length."""
    clean = redact(printable(text))
    return clean if len(clean) <= LONGEST else f"{clean[: LONGEST - 1]}…"


def bounded(value: Any) -> Any:
    """Return JSON values with every text masked and cut, and every list and object cut."""
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, Mapping):
        return {str(k): bounded(v) for k, v in list(value.items())[:MOST]}
    if isinstance(value, list | tuple):
        return [bounded(v) for v in value[:MOST]]
    return value


def dumped(value: Mapping[str, Any]) -> str:
    """Return an object as one line."""
    return json.dumps(value, ensure_ascii=False, default=str)
