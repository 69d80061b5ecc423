"""The sessions of a run, as its journal tells of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from claudetm.workflow.records import Record


@dataclass(slots=True)
class Session:
    """One session as the journal tells of it."""

    id: str
    role: str
    subject: str
    change: str
    model: str
    started: float  # epoch seconds
    outcome: str = "open"
    cost_usd: float = 0.0


def sessions(records: Iterable[Record]) -> list[Session]:
    """Return the sessions by their start. One that was carried on under its id stands once for each time."""
    found: list[Session] = []
    open_now: dict[str, Session] = {}
    for r in records:
        match r.type:
            case "SessionStarted":
                d = r.data
                started = Session(d["id"], d["role"], d["subject"], d["change"], d["model"], r.time)
                open_now[started.id] = started
                found.append(started)
            case "SessionEnded" if ended := open_now.pop(r.data["id"], None):
                ended.outcome = r.data["outcome"]
                ended.cost_usd = float(r.data["usage"].get("cost_usd", 0.0))
            case _:
                pass
    return found
