"""The sole writer of a run: an event is checked, made durable, folded, and only then shown to anybody."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from claudetm.ports.clock import Clock
from claudetm.ports.store import Journal
from claudetm.workflow.events import Event, SessionEnded, event_to_data
from claudetm.workflow.legality import edge
from claudetm.workflow.outcomes import Outcome, Usage
from claudetm.workflow.records import Record
from claudetm.workflow.run import Run
from claudetm.workflow.stages import FINAL_STAGES

Listener = Callable[[Run, Record], None]
Charge = Callable[[str], Awaitable[Usage | None]]


class Writer:
    """Appends to one journal and keeps one `Run` equal to it."""

    def __init__(self, run: Run, journal: Journal, clock: Clock, listeners: Sequence[Listener] = ()) -> None:
        self.run = run
        self._journal = journal
        self._clock = clock
        self._listeners = tuple(listeners)

    async def append(self, event: Event, command: str = "") -> Record:
        """Record an event. Raises IllegalEvent when it may not happen now; nothing has changed then."""
        step = edge(self.run, event)
        record = Record(
            seq=self.run.seq + 1,
            time=round(self._clock.now(), 3),
            type=type(event).__name__,
            edge=step,
            data=event_to_data(event),
            command=command,
        )
        await self._journal.append(record)
        self.run.apply(record)
        for listener in self._listeners:
            listener(self.run, record)
        return record

    async def charge_lost(self, charge: Charge) -> None:
        """End the sessions whose driver died: each costs what its transcript shows, else what it had reserved."""
        for s in list(self.run.open_sessions.values()):
            usage = await charge(s.id) or Usage(cost_usd=s.reserved)
            owner = self.run.changes.get(s.change)
            change = s.change if owner and owner.stage not in FINAL_STAGES else ""
            await self.append(SessionEnded(s.id, s.subject, Outcome.LOST, change, usage, "its driver died"))
