"""The journal as a file: a line an event, checked on reading, durable on writing.

A line counts once its newline is on the disk. What stands behind the last newline was never acknowledged, so the
holder of the lock cuts it off; any other damage is refused, because an event after it may depend on what is lost.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final
from zlib import crc32

from claudetm.adapters.store.directory import disk
from claudetm.adapters.store.lock import Lock
from claudetm.errors import JournalError, LockLost, StoreError
from claudetm.workflow.records import SCHEMA, Record

_CHUNK: Final = 1 << 16  # bytes read and parsed at a time; more outgrows the processor's cache and is slower
_OPENING: Final = b'{"seq":'
_SUM: Final = b',"sum":"'
_TAIL: Final = 19  # the length of `,"sum":"01234567"}` with its newline
_REMEDY: Final = "claudetm doctor --repair keeps a copy and cuts there"

Faults = Callable[[str], None]
"""Called with `before:<seq>:<type>` and `after:<seq>:<type>` around each append, so that a test can die there."""


def encode(record: Record) -> bytes:
    """Return the record as a line. The sum is the CRC-32 of every byte before it."""
    row: dict[str, Any] = {
        "seq": record.seq,
        "time": record.time,
        "schema": record.schema,
        "type": record.type,
        "edge": record.edge,
        "data": record.data,
    }
    if record.command:
        row["command"] = record.command
    body = json.dumps(row, separators=(",", ":"), allow_nan=False).encode()[:-1]
    return b'%b%b%08x"}\n' % (body, _SUM, crc32(body))


def _intact(line: bytes) -> bool:
    return line[-_TAIL:-11] == _SUM and line[-11:] == b'%08x"}\n' % crc32(line[:-_TAIL])


class _Scan:
    """One pass over a journal. At any time `good` is the length in bytes of what was read, `seq` the last event."""

    def __init__(self, path: Path, handle: BinaryIO) -> None:
        self._path = path
        self._handle = handle
        self.good = 0
        self.seq = 0
        self.torn = 0  # bytes behind the last good line that were never acknowledged

    def __iter__(self) -> Iterator[Record]:
        while lines := self._handle.readlines(_CHUNK):
            bad = next((i for i, line in enumerate(lines) if not _intact(line)), None)
            yield from self._records(lines[:bad])
            if bad is not None:
                self._judge(lines[bad], is_last=bad == len(lines) - 1 and not self._handle.read(1))
                return

    def _records(self, lines: list[bytes]) -> Iterator[Record]:
        """Yield the records of intact lines; parsing them as one array is faster than one by one."""
        try:
            rows: list[dict[str, Any]] = json.loads(b"[%b]" % b",".join(lines))
            for line, row in zip(lines, rows, strict=True):
                if row["schema"] > SCHEMA:
                    raise self._newer(row["schema"])
                if row["seq"] != self.seq + 1:
                    raise self._damaged(f"holds event {row['seq']} where {self.seq + 1} belongs")
                self.seq += 1
                self.good += len(line)
                yield Record(
                    row["seq"],
                    row["time"],
                    row["type"],
                    tuple(row["edge"]),
                    row["data"],
                    row.get("command", ""),
                    row["schema"],
                )
        except (ValueError, KeyError, TypeError) as error:
            raise self._damaged("is no event") from error

    def _judge(self, line: bytes, *, is_last: bool) -> None:
        """Take a bad line for a torn write, or refuse the journal."""
        # a power cut can leave zeros where the file had grown and the bytes had not arrived
        hole = b"\0" in line
        torn = not line.endswith(b"\n") or (is_last and hole)
        opening = line.startswith(_OPENING) or _OPENING.startswith(line)
        if not (self.seq or opening or line[-_TAIL:-11] == _SUM or (torn and hole)):
            raise JournalError(f"{self._path} is no claudetm journal; move it away.")
        if not torn:
            raise self._damaged("is damaged")
        self.torn = len(line)

    def _damaged(self, how: str) -> Damaged:
        return Damaged(f"{self._path}: line {self.seq + 1} {how}; {_REMEDY}.")

    def _newer(self, schema: int) -> JournalError:
        return JournalError(
            f"{self._path} was written by a newer claudetm (line {self.seq + 1} has schema {schema}, this version "
            f"reads up to {SCHEMA}); upgrade claudetm."
        )


class Damaged(JournalError):  # noqa: N818 - what is the matter, not a mishap of ours
    """The journal is ours, and a line before the last is not what was written; `repair` can cut it."""


def _say(sentence: str) -> None:
    sys.stderr.write(f"warning: {sentence}\n")


def _open(path: Path) -> BinaryIO | None:
    with disk(path, "read"):
        try:
            return path.open("rb")
        except FileNotFoundError:
            return None


class FileJournal:
    """Implements ports/store.Journal on one file. Without a lock it only reads.

    `syncs` counts the fsyncs, `sync_seconds` what they took. An append blocks the loop for its fsync: cancelled
    half-way it could not say whether the event is durable.
    """

    def __init__(
        self,
        path: Path,
        lock: Lock | None = None,
        faults: Faults = lambda _point: None,
        warn: Callable[[str], None] = _say,
    ) -> None:
        self.path = path
        self.syncs = 0
        self.sync_seconds = 0.0
        self._lock = lock
        self._faults = faults
        self._warn = warn
        self._end: tuple[int, int] | None = None  # length in bytes and last seq, known once it was read to its end
        self._descriptor = -1
        self._lost_track = ""  # why nothing more may be written

    def read(self) -> Iterator[Record]:
        """Yield the records in order. Raises JournalError for damage, StoreError when it cannot be read."""
        handle = _open(self.path)
        if handle is None:
            self._end = (0, 0)
            return
        with handle:
            scan = _Scan(self.path, handle)
            yield from scan
        if scan.torn and self._lock is not None:
            self._cut(scan)
        self._end = (scan.good, scan.seq)

    def _cut(self, scan: _Scan) -> None:
        """Drop a torn last line: its append never returned, so nothing was built on it."""
        if self._lock is None:
            return
        self._lock.check()
        with disk(self.path), self.path.open("r+b") as handle:
            handle.truncate(scan.good)
            self._sync(handle.fileno())
        self._warn(f"{self.path}: dropped {scan.torn} bytes of an event that was being written when the driver died")

    async def append(self, record: Record) -> None:
        """Write one record durably. Raises LockLost, StoreError; in both cases the journal is as it was."""
        point = f"{record.seq}:{record.type}"
        self._faults(f"before:{point}")
        self._append(record)
        self._faults(f"after:{point}")

    def _append(self, record: Record) -> None:
        if self._lock is None:
            raise LockLost(f"{self.path} was opened without the lock, to be read only.")
        self._lock.check()
        if self._lost_track:
            raise StoreError(self._lost_track)
        length, seq = self._writable()
        if record.seq != seq + 1:
            raise JournalError(f"{self.path}: event {record.seq} cannot follow event {seq}.")
        if not self._untouched(length):
            raise LockLost(f"{self.path} was written or replaced by another process; claudetm resume reads it anew.")
        line = encode(record)
        self._write(line, length)
        self._end = (length + len(line), record.seq)

    def _writable(self) -> tuple[int, int]:
        """Open the file for writing if need be; return its length and its last seq."""
        if self._end is None:
            for _ in self.read():
                pass
        if self._descriptor < 0:
            with disk(self.path):
                flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
                self._descriptor = os.open(self.path, flags, 0o600)
                self._sync_directory()
        return self._end or (0, 0)

    def _untouched(self, length: int) -> bool:
        """Whether the file at the path is the one that is open, and as long as we left it."""
        try:
            found = self.path.stat(follow_symlinks=False)
        except FileNotFoundError:
            return False
        return found.st_size == length and os.path.samestat(found, os.fstat(self._descriptor))

    def _sync_directory(self) -> None:
        descriptor = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._sync(descriptor)
        finally:
            os.close(descriptor)

    def _sync(self, descriptor: int) -> None:
        began = time.perf_counter()
        os.fsync(descriptor)
        self.sync_seconds += time.perf_counter() - began
        self.syncs += 1

    def _write(self, line: bytes, length: int) -> None:
        try:
            left = memoryview(line)
            while left:
                left = left[os.write(self._descriptor, left) :]
            self._sync(self._descriptor)
        except OSError as error:
            reason = f"{self.path} cannot be written: {error.strerror}; mend that, then claudetm resume."
            self._take_back(length, reason)
            raise StoreError(reason) from error

    def _take_back(self, length: int, reason: str) -> None:
        """Cut a half-written line off again; where even that fails, write nothing more."""
        try:
            os.ftruncate(self._descriptor, length)
            os.fsync(self._descriptor)
        except OSError:
            self._lost_track = reason

    def rescue(self, path: Path) -> bool:
        """Write what the journal holds to another file, also when its own was deleted; False if it is not open.

        Raises StoreError.
        """
        if self._descriptor < 0:
            return False
        with disk(path):
            path.write_bytes(os.pread(self._descriptor, os.fstat(self._descriptor).st_size, 0))
            path.chmod(0o600)
        return True

    def close(self) -> None:
        """Close the file. The lock stays with whoever took it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def repair(path: Path, lock: Lock) -> Path | None:
    """Cut a damaged journal at its last good line; return the copy of it that was kept, or None if it was whole.

    What happened after the cut is found again by looking before acting. Raises JournalError for a file that is no
    journal or is a newer version's: those are not damaged.
    """
    lock.check()
    good = good_length(path)
    if good == path.stat().st_size:
        return None
    copy = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
    with disk(path):
        copy.write_bytes(path.read_bytes())
        copy.chmod(0o600)
        with path.open("r+b") as handle:
            handle.truncate(good)
            os.fsync(handle.fileno())
    return copy


def good_length(path: Path) -> int:
    """Return the length in bytes of what stands before the first damage."""
    with disk(path, "read"), path.open("rb") as handle:
        scan = _Scan(path, handle)
        try:
            for _ in scan:
                pass
        except Damaged:
            pass
    return scan.good
