"""Which monitor of several at one folder works a task: the one whose process holds the flock on its claim's file.

A dead holder's claim is free at once, because its flock died with it; what stands in the file names the holder, and
counts the monitors that ended while they held it. A claim's file is removed only by who holds its flock.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from claudetm.ports.source import SourceRefused, Taken, slug
from claudetm.redact import printable

NAME: Final = ".claims"
_LONGEST: Final = 8192  # bytes that can name a holder
_ATTEMPTS: Final = 50  # at a file that others remove as they end

Flock = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Record:
    """What stands in a claim's file. `since` is epoch seconds; `deaths` counts by owner, since the last progress."""

    job: str
    owner: str  # tells a monitor from others, also after its restart
    pid: int = 0
    host: str = ""
    since: float = 0.0
    stage: str = ""  # that was told last
    closed: bool = False  # its monitor ended in order
    deaths: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return the words for a message: process, host, since when."""
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return printable(f"process {self.pid} on {self.host} since {since}")


@dataclass(frozen=True, slots=True)
class Held:
    """The claim is ours. `deaths` counts what it has cost other monitors."""

    deaths: int = 0


@dataclass(slots=True)
class _Claim:
    descriptor: int
    record: Record


class Claims:
    """The claims of one monitor, in the folder `.claims` of a folder of tasks."""

    def __init__(self, tasks: Path, owner: str, now: Callable[[], float], flock: Flock = fcntl.flock) -> None:
        self._folder = tasks / NAME
        self._owner = owner
        self._now = now
        self._flock = flock
        self._held: dict[str, _Claim] = {}

    def prepare(self) -> None:
        """Make the folder, and take back what is held where it was removed. Raises SourceRefused."""
        with suppress(FileExistsError):
            self._folder.mkdir()
        if self._folder.is_symlink() or not self._folder.is_dir():
            raise SourceRefused(f"{self._folder} is no folder, and claims on tasks are kept there: move it away")
        self._refuse_unlockable()
        for job in list(self._held):
            self.keep(job)

    def tidy(self, over: Callable[[str], bool]) -> None:
        """Remove what killed monitors have left of jobs that are over."""
        for path in self._folder.glob("*.lock"):
            with suppress(OSError):
                descriptor = self._open(path)
                record = _read(descriptor)
                if (record is None or (record.job not in self._held and over(record.job))) and self._try(descriptor):
                    self._remove(path, descriptor)
                os.close(descriptor)

    def holds(self, job: str) -> bool:
        """Return whether this monitor has claimed the job."""
        return job in self._held

    def take(self, job: str) -> Held | Taken:
        """Take the claim, if nobody has it. Ours already: Held."""
        if (claim := self._held.get(job)) is not None and _same(claim.descriptor, self._path(job)):
            return Held(self._elsewhere(claim.record))
        self._forget(job)
        for _ in range(_ATTEMPTS):
            descriptor = self._open(self._path(job))
            if not self._try(descriptor):
                found = _read(descriptor)
                os.close(descriptor)
                return Taken(str(found)) if found else Taken()
            if _same(descriptor, self._path(job)):
                return self._taken(job, descriptor)
            os.close(descriptor)  # removed between opening and locking: what we hold is nobody's claim
        return Taken()

    def keep(self, job: str) -> bool:
        """Return whether the claim is ours; it is taken back where its file was removed, or was ours before."""
        return isinstance(self.take(job), Held)

    def tell(self, job: str, stage: str) -> None:
        """Take note of how far the job is: whoever got further was not killed by what killed those before."""
        if (claim := self._held.get(job)) is not None and claim.record.stage != stage:
            self._write(claim, replace(claim.record, stage=stage, deaths={}))

    def release(self, job: str) -> None:
        """End the claim, also one that a killed process of this monitor left; never what another holds."""
        path = self._path(job)
        claim = self._held.pop(job, None)
        if claim is not None:
            self._remove(path, claim.descriptor)
            os.close(claim.descriptor)
            return
        with suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            if self._try(descriptor):
                self._remove(path, descriptor)
            os.close(descriptor)

    def close(self) -> None:
        """Say in what is held that this monitor ends in order. The claims stay until the process ends."""
        for claim in self._held.values():
            self._write(claim, replace(claim.record, closed=True))

    def _taken(self, job: str, descriptor: int) -> Held:
        before = _read(descriptor)
        deaths = dict(before.deaths) if before else {}
        if before and not before.closed:
            deaths[before.owner] = deaths.get(before.owner, 0) + 1
        us = Record(job, self._owner, os.getpid(), os.uname().nodename, self._now(), deaths=deaths)
        claim = _Claim(descriptor, replace(us, stage=before.stage) if before else us)
        self._held[job] = claim
        self._write(claim, claim.record)
        return Held(self._elsewhere(claim.record))

    def _elsewhere(self, record: Record) -> int:
        """Return the deaths of others: this monitor counts its own."""
        return sum(n for owner, n in record.deaths.items() if owner != self._owner)

    def _forget(self, job: str) -> None:
        if (claim := self._held.pop(job, None)) is not None:
            os.close(claim.descriptor)

    def _path(self, job: str) -> Path:
        return self._folder / f"{slug(job)}.lock"

    def _open(self, path: Path) -> int:
        with suppress(FileExistsError):
            self._folder.mkdir()  # somebody may have removed it
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)

    def _try(self, descriptor: int) -> bool:
        try:
            self._flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _write(self, claim: _Claim, record: Record) -> None:
        """Write whose the claim is. A full disk takes no claim away: the flock is the truth."""
        claim.record = record
        with suppress(OSError):
            content = json.dumps(asdict(record)).encode() + b"\n"
            os.pwrite(claim.descriptor, content, 0)
            os.ftruncate(claim.descriptor, len(content))

    def _remove(self, path: Path, descriptor: int) -> None:
        """Remove a claim's file, whose flock we hold. Whoever opened it before finds it removed, and opens anew."""
        if _same(descriptor, path):
            path.unlink(missing_ok=True)

    def _refuse_unlockable(self) -> None:
        """Raise SourceRefused where flock excludes nobody, as on some network file systems."""
        probe = self._folder / f".probe-{os.getpid()}-{os.urandom(4).hex()}"
        first = second = -1
        try:
            first, second = self._open(probe), self._open(probe)
            if self._try(first) and not self._try(second):
                return
            why = "it excludes nobody"
        except OSError as error:
            if error.errno not in _UNLOCKABLE:
                raise
            why = error.strerror or "it fails"
        finally:
            for descriptor in (first, second):
                if descriptor >= 0:
                    os.close(descriptor)
            probe.unlink(missing_ok=True)
        raise SourceRefused(
            f"{self._folder} is on a file system where flock does not work ({why}), so two monitors could take one "
            "task: put the tasks on a local disk"
        )


_UNLOCKABLE: Final = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})


def _same(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat(follow_symlinks=False))
    except OSError:
        return False


def _read(descriptor: int) -> Record | None:
    """Return what a claim's file says; None where it is new, half-written or of another version."""
    try:
        return _record(json.loads(os.pread(descriptor, _LONGEST, 0)))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _record(data: Mapping[str, Any]) -> Record:
    deaths = {str(owner): int(n) for owner, n in data["deaths"].items()}
    host, since, stage = str(data["host"]), float(data["since"]), str(data["stage"])
    return Record(str(data["job"]), str(data["owner"]), int(data["pid"]), host, since, stage, data["closed"], deaths)
