"""The sole writer of the queue: an event is checked, made durable, folded, and only then acted upon."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from claudetm.intake.events import Event, event_to_data
from claudetm.intake.queue import Queue, fold
from claudetm.intake.transitions import edge
from claudetm.ports.clock import Clock
from claudetm.ports.store import Journal
from claudetm.workflow.records import Record


class QueueWriter:
    """Appends to one journal and keeps one `Queue` equal to it. `changed` is called after each event."""

    def __init__(self, journal: Journal, clock: Clock, changed: Callable[[], None]) -> None:
        """Read the journal. Raises JournalError, StoreError."""
        self.queue: Queue = fold(journal.read())
        self._journal = journal
        self._clock = clock
        self._changed = changed
        self._turn = asyncio.Lock()  # a journal in memory or on a network may let others have their turn

    async def append(self, event: Event, command: str = "") -> Record:
        """Record an event. Raises IllegalEvent when it may not happen now; nothing has changed then."""
        async with self._turn:
            record = Record(
                seq=self.queue.seq + 1,
                time=round(self._clock.now(), 3),
                type=type(event).__name__,
                edge=edge(self.queue, event),
                data=event_to_data(event),
                command=command,
            )
            await self._journal.append(record)
            self.queue.apply(record)
        self._changed()
        return record
