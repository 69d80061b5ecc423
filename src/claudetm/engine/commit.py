"""The sole writer of a run: an event is checked, made durable, folded, and only then shown to anybody."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from claudetm.ports.clock import Clock
from claudetm.ports.store import Journal
from claudetm.workflow.events import Event, event_to_data
from claudetm.workflow.legality import edge
from claudetm.workflow.records import Record
from claudetm.workflow.run import Run

Listener = Callable[[Run, Record], None]


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
