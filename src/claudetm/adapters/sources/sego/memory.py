"""What this monitor has moved and not ended yet, over restarts: some servers do not say who moved a thing.

It is written down before the move, so that a kill right after it leaves nothing that is nobody's.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from claudetm.adapters.store.directory import write_atomically
from claudetm.errors import StoreError
from claudetm.ports.clock import Clock
from claudetm.ports.source import SourceBusy

_AGAIN: Final = 30.0  # seconds until the disk is tried again


class Moved:
    """The kinds and ids of what was moved. Without a file this process alone knows them."""

    def __init__(self, file: Path | None, clock: Clock) -> None:
        """Read the file; one that cannot be read tells nothing."""
        self._file = file
        self._clock = clock
        self._known = _read(file) if file else set()

    def __contains__(self, thing: tuple[str, str]) -> bool:
        """Return whether it was moved by this monitor."""
        return thing in self._known

    def note(self, thing: tuple[str, str]) -> None:
        """Write down what is about to be moved. Raises SourceBusy where the disk takes nothing."""
        self._write(self._known | {thing})

    def forget(self, thing: tuple[str, str]) -> None:
        """Let go of what has ended, or is somebody else's. Raises SourceBusy where the disk takes nothing."""
        if thing in self._known:
            self._write(self._known - {thing})

    def _write(self, known: set[tuple[str, str]]) -> None:
        try:
            if self._file and known != self._known:
                write_atomically(self._file, json.dumps(sorted(known)) + "\n")
        except StoreError as error:
            raise SourceBusy(
                f"Nothing is claimed at Sego while that cannot be noted: {error}", self._clock.now() + _AGAIN
            ) from None
        self._known = known


def _read(file: Path) -> set[tuple[str, str]]:
    try:
        said = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return set()
    return {(each[0], each[1]) for each in (said if isinstance(said, list) else []) if _fits(each)}


def _fits(pair: object) -> bool:
    return isinstance(pair, list) and len(pair) == len(("kind", "id")) and all(isinstance(e, str) for e in pair)
