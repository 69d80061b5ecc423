"""Where a run's journal lives, who may write it, and how commands reach its driver."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from claudetm.workflow.records import Record


class Journal(Protocol):
    """The append-only record of one run. Held by one writer at a time."""

    async def append(self, record: Record) -> None:
        """Write one record durably: when this returns, it survives kill -9 and power loss.

        Raises LockLost when another may be writing, StoreError when it cannot be written (nothing half-written
        stays readable).
        """
        ...

    def read(self) -> Iterator[Record]:
        """Yield the records in order. Raises JournalError, naming the line, for damage before the last line."""
        ...


@dataclass(frozen=True, slots=True)
class Command:
    """What a user asks of a run. `name` is one of the names in engine/inbox.py."""

    id: str
    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


class Inbox(Protocol):
    """Commands waiting for the driver, oldest first."""

    def pending(self) -> Sequence[Command]:
        """Return the commands that wait. What cannot be read is set aside, not returned and not lost."""
        ...

    def done(self, command: Command) -> None:
        """Forget a command that was applied or refused. Unknown ones are passed over."""
        ...


class Views(Protocol):
    """Files for people, written from the state and read back by nobody."""

    def write(self, name: str, text: str) -> None:
        """Replace one view (`state.json`, `plan.md`, …) in one step."""
        ...
