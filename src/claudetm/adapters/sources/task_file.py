"""How a task's file is looked at: never through a link out of its folder, never a pipe, never half-written.

Nothing here waits. Whoever asks too early is told that somebody still writes, and asks again.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import sys
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from claudetm.adapters.sources.task_document import Flaw

LARGEST: Final = 1 << 20  # bytes; what is larger is not read
_KINDS: Final = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Found:
    """A regular file. Equal only where nothing has changed; `path` is where a link leads."""

    path: Path
    inode: tuple[int, int]
    size: int
    mtime_ns: int
    ctime_ns: int

    @property
    def changed(self) -> float:
        """When anything about it changed last, in seconds since the epoch, by the file system's clock."""
        return max(self.mtime_ns, self.ctime_ns) / 1e9


class Absent:
    """There is no such file, or no longer."""


@dataclass(frozen=True, slots=True)
class Content:
    """A whole file. `certain` says that the kernel knew of no writer; else only time can tell."""

    data: bytes
    certain: bool


class Unsettled:
    """Somebody has it open for writing, or it changed while it was read."""


class Writer(Enum):
    """Whether anybody has a file open for writing."""

    NONE = "none"
    SOME = "some"
    UNKNOWN = "unknown"  # a file system or a system without leases, or another user's file


def find(folder: Path, name: str) -> Found | Flaw | Absent:
    """Return what a name in the folder stands for. Opens nothing."""
    path = folder / name
    try:
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            path = path.resolve(strict=True)
            if not path.is_relative_to(folder.resolve()):
                return Flaw("it is a link that leads out of the folder: put the file itself there")
            status = path.lstat()
    except FileNotFoundError:
        return Flaw("it is a link that leads nowhere") if os.path.lexists(folder / name) else Absent()
    except (OSError, RuntimeError) as error:
        return Flaw(f"it cannot be looked at: {getattr(error, 'strerror', None) or 'its links lead in a circle'}")
    if not stat.S_ISREG(status.st_mode):
        kind = next((words for is_, words in _KINDS if is_(status.st_mode)), "no regular file")
        return Flaw(f"it is {kind}, not a file")
    if status.st_size > LARGEST:
        return Flaw(f"it has {status.st_size} bytes; {LARGEST} is the most, and it was not read")
    return _found(path, status)


def read(found: Found) -> Content | Unsettled | Flaw | Absent:
    """Return the bytes of what was found, if it is still that and nobody writes to it.

    Raises OSError where no file could be read now.
    """
    try:
        descriptor = os.open(found.path, _FLAGS)
    except FileNotFoundError:
        return Absent()
    except BlockingIOError:
        return Unsettled()  # another program's lease
    except OSError as error:
        if error.errno in _OF_THE_MACHINE:
            raise
        return Flaw(f"it cannot be read: {error.strerror}")
    try:
        return _read(found, descriptor)
    except OSError as error:
        return Flaw(f"it cannot be read: {error.strerror}")
    finally:
        os.close(descriptor)


_OF_THE_MACHINE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


def _read(found: Found, descriptor: int) -> Content | Unsettled:
    if _found(found.path, os.fstat(descriptor)) != found:
        return Unsettled()
    if (writer := writer_of(descriptor)) is Writer.SOME:
        return Unsettled()
    data = b""
    while len(data) <= LARGEST and (more := os.read(descriptor, LARGEST + 1 - len(data))):
        data += more
    if len(data) != found.size or _found(found.path, os.fstat(descriptor)) != found:
        return Unsettled()
    return Content(data, writer is Writer.NONE)


def writer_of(descriptor: int) -> Writer:
    """Return whether anybody has the file open for writing, by a descriptor that reads it.

    The kernel grants a read lease only where there is no writer (fcntl(2), F_SETLEASE). Who opens the file for
    writing while the lease stands is held up for that instant, and the kernel signals its holder: by default with
    SIGIO, which would end this process, so a signal is chosen that does nothing.
    """
    if sys.platform != "linux":
        return Writer.UNKNOWN
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return Writer.SOME
    except OSError:
        return Writer.UNKNOWN
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return Writer.NONE


def _found(path: Path, status: os.stat_result) -> Found:
    inode = (status.st_dev, status.st_ino)
    return Found(path, inode, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
