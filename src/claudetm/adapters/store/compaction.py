"""A journal that has grown large made small again: what still matters is copied, and takes its place in one step.

Killed at any point, the journal is the old one or the new one; what was left half-copied goes at the next time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from claudetm.adapters.store.directory import disk
from claudetm.adapters.store.journal import FileJournal, encode
from claudetm.adapters.store.lock import Lock
from claudetm.workflow.records import Record

LARGE: Final = 4 << 20  # bytes: read in a tenth of a second
Survivors = Callable[[Callable[[], Iterable[Record]]], Iterator[Record]]
"""Yields the records that stay, with new numbers from 1, given a function that reads the journal from its start."""


def compact(path: Path, lock: Lock, survivors: Survivors, larger_than: int = LARGE) -> int:
    """Replace a journal that is larger than so many bytes; return the bytes saved. Raises JournalError, StoreError.

    The caller holds the lock, and opens the journal afterwards.
    """
    _clear(path)
    with disk(path, "read"):
        if not path.exists() or (before := path.stat().st_size) <= larger_than:
            return 0
    lock.check()
    draft = path.with_name(f".{path.name}.{os.urandom(6).hex()}.tmp")
    with disk(path):
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as handle:
            for record in survivors(FileJournal(path, lock).read):
                handle.write(encode(record))
            handle.flush()
            os.fsync(handle.fileno())
            after = handle.tell()
        lock.check()
        draft.replace(path)
        _sync(path.parent)
    return before - after


def _clear(path: Path) -> None:
    """Remove what a compaction has left that was killed."""
    with suppress(FileNotFoundError), disk(path.parent):
        for left in path.parent.glob(f".{path.name}.*.tmp"):
            left.unlink(missing_ok=True)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
