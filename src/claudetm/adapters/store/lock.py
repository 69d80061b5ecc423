"""Who drives a run. The kernel's flock on `lock` is the truth; what stands in the file only names the holder.

A dead driver never blocks, because its flock died with it. A file that was deleted or replaced under its holder is
noticed by `check`, which the journal calls before every append.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

from claudetm.errors import LockLost, StoreError, UsageError

PATIENCE: Final = 0.25  # seconds: `holder` takes a shared lock for a moment, which must not turn a driver away
_PAUSE: Final = 0.01
_LONGEST: Final = 4096  # bytes that can name a holder


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds a lock. `pid` is 0 where the file does not say; `since` is epoch seconds."""

    pid: int = 0
    run: str = ""
    host: str = ""
    since: float = 0.0
    boot: str = ""  # the kernel's boot id
    process_start: str = ""  # with the boot id, tells this process from a later one of the same number

    def __str__(self) -> str:
        """Return the words for a message: process, host, since when."""
        if not self.pid:
            return "another process"
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"process {self.pid} on {self.host} since {since}"


class LockHeld(UsageError):  # noqa: N818 - a fact about the lock
    """Another process drives the run; `holder` says which."""

    def __init__(self, holder: Holder) -> None:
        super().__init__(
            f"Run {holder.run or '(unnamed)'} is being driven by {holder}; claudetm status shows it, "
            "claudetm stop ends it."
        )
        self.holder = holder


class Lock:
    """A held lock. Made by `acquire`; given back by `release`, leaving the block, or the process's end."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    def check(self) -> None:
        """Raise LockLost when the file at the path is not the one that is held."""
        if self._descriptor < 0:
            raise LockLost(f"{self.path} was given back; claudetm resume takes it again.")
        if not _same(self._descriptor, self.path):
            raise LockLost(
                f"{self.path} was deleted or replaced under the running driver, so another may be writing; "
                "claudetm resume carries on."
            )

    def name(self, run: str) -> None:
        """Write into the file who holds it, and for which run."""
        line = json.dumps(asdict(_ourselves(run))) + "\n"
        _rewrite(self.path, self._descriptor, line.encode())

    def release(self) -> None:
        """Give the lock back. The file stays, empty: deleting it could take it from under the next holder."""
        if self._descriptor < 0:
            return
        descriptor, self._descriptor = self._descriptor, -1
        try:
            os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)

    @property
    def descriptor(self) -> int:
        """For a child to inherit: it holds the lock as long as it lives, once we have let go of our own."""
        return self._descriptor

    def hand_over(self) -> None:
        """Let go of our part of a lock that a child has inherited. Ours alone: it is given back, the file left."""
        descriptor, self._descriptor = self._descriptor, -1
        os.close(descriptor)

    def unname(self) -> None:
        """Let the file name nobody, until whoever inherits the lock writes who that is."""
        _rewrite(self.path, self._descriptor, b"")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def acquire(path: Path, run: str = "", patience: float = PATIENCE) -> Lock:
    """Take the lock, or raise LockHeld naming its holder after `patience` seconds. May raise StoreError."""
    until = time.monotonic() + patience
    while True:
        descriptor = _open(path)
        if _try(descriptor, fcntl.LOCK_EX):
            if _same(descriptor, path):
                break
            os.close(descriptor)  # replaced between opening and locking: what we hold is nobody's lock
            continue
        found = _read(descriptor)
        os.close(descriptor)
        if time.monotonic() >= until:
            raise LockHeld(found)
        time.sleep(_PAUSE)
    lock = Lock(path, descriptor)
    try:
        lock.name(run)
    except BaseException:
        lock.release()
        raise
    return lock


def inherited(path: Path, descriptor: int, run: str = "") -> Lock:
    """Return the lock that whoever started this process has taken for it. Raises LockLost for another file's."""
    os.set_inheritable(descriptor, False)  # noqa: FBT003 - the standard library's form
    if not _same(descriptor, path) or not _try(descriptor, fcntl.LOCK_EX):
        raise LockLost(f"{path} is not what this process was given to hold; claudetm monitor begins another.")
    lock = Lock(path, descriptor)
    lock.name(run)
    return lock


def alive(named: Holder) -> bool:
    """Whether the process that a lock names is there, and no later one that has its number."""
    try:
        return bool(named.pid) and identity(named.pid) == (named.boot, named.process_start)
    except ProcessLookupError:
        return False


def holder(path: Path) -> Holder | None:
    """Return who holds the lock, or None. Never waits, never takes it from anybody."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        return None if _try(descriptor, fcntl.LOCK_SH) else _read(descriptor)
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StoreError(f"{path} cannot be opened: {error.strerror}.") from error


def _try(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _same(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat(follow_symlinks=False))
    except FileNotFoundError:
        return False


def _rewrite(path: Path, descriptor: int, content: bytes) -> None:
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, content, 0)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}.") from error


def _read(descriptor: int) -> Holder:
    """Return whom the file names; it may be half-written, or of another version."""
    try:
        data = json.loads(os.pread(descriptor, _LONGEST, 0))
        return Holder(
            int(data["pid"]),
            str(data["run"]),
            str(data["host"]),
            float(data["since"]),
            str(data["boot"]),
            str(data["process_start"]),
        )
    except (ValueError, KeyError, TypeError):
        return Holder()


def _ourselves(run: str) -> Holder:
    boot, start = identity(os.getpid())
    return Holder(os.getpid(), run, os.uname().nodename, time.time(), boot, start)


def identity(pid: int) -> tuple[str, str]:
    """Return the boot id and a process's start, in the kernel's words where it has any. May raise ProcessLookupError.

    Together they tell a process from a later one of the same number.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return _asked(pid)
    try:
        # the name in parentheses may hold spaces; the start is field 22 of proc(5), the 20th after it
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return boot, stat.rpartition(")")[2].split()[19]
    except OSError as error:
        raise ProcessLookupError(pid) from error


def _asked(pid: int) -> tuple[str, str]:
    import psutil

    try:
        return str(psutil.boot_time()), str(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess as error:
        raise ProcessLookupError(pid) from error
