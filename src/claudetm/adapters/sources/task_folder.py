"""What waits in a folder of tasks: its files without a result, looked at again only where something can have changed.

Thousands of finished tasks cost nothing: the folders are listed anew when one of them was changed, once a minute
besides, and between that only what has not ended is looked at.
"""

from __future__ import annotations

import errno
import fnmatch
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Final

from claudetm.adapters.sources.task_document import Document, Flaw, parse
from claudetm.adapters.sources.task_file import Absent, Content, Found, Unsettled, find, read
from claudetm.errors import ConfigError
from claudetm.ports.source import Mode, refuse_name, slug

PATTERN: Final = "task-*.md"
QUIET_SECONDS: Final = 0.3  # without a change, before a file that nobody has open is whole
UNSURE_SECONDS: Final = 2.0  # the same where the kernel cannot tell whether somebody has it open
LOST_SECONDS: Final = 0.5  # for which a file is away while an editor puts the new one in its place
EMPTY_SECONDS: Final = 60.0  # after which an empty file is no longer one that is being written
LISTING_SECONDS: Final = 60.0
_SPARED_EACH: Final = 200  # files: so many looked at each second cost a hundredth of a core or less
GRAIN_SECONDS: Final = 2.0  # by which the coarsest of file systems stamps a folder
WRITTEN: Final = "it is still being written"


@dataclass(frozen=True, slots=True)
class DirectorySettings:
    """Where tasks and results lie. Raises ConfigError for a pattern that could not name tasks.

    A task's `repository` is relative to `base`, where the monitor runs; `owner` tells this monitor from others at the
    same folder, also after a restart ("": host and base). `quiet` is in seconds.
    """

    tasks: Path
    results: Path
    base: Path
    pattern: str = PATTERN
    owner: str = ""
    mode: Mode = Mode.GOAL  # of a task that names none
    quiet: float = QUIET_SECONDS

    def __post_init__(self) -> None:
        """Refuse a pattern by which two files could have one name."""
        if "/" in self.pattern or not self.suffix or any(c in "*?[]" for c in self.suffix):
            raise ConfigError(
                f"{self.pattern} cannot say which files are tasks; end it in an extension, as in {PATTERN}"
            )

    @property
    def suffix(self) -> str:
        """What a task's file ends in, with the dot: the rest of its name is the job's."""
        return PurePath(self.pattern).suffix

    def matches(self, name: str) -> bool:
        """Return whether a file's name is that of a task; editors' own copies and locks are none."""
        own = name.startswith((".", "#", "~")) or name.endswith(("~", "#"))
        return not own and fnmatch.fnmatchcase(name, self.pattern)

    def result(self, job: str) -> Path:
        """Return where the result of a job stands once it has ended."""
        return self.results / f"{job}.json"


@dataclass(slots=True)
class Waiting:
    """A file without a result. `state` is what is known of it; `since` is when that was first seen as it is."""

    id: str
    name: str
    order: tuple[int, int, str]  # which listing found it, its time then, its name
    created: float
    found: Found | None = None
    since: float = 0.0
    state: Document | Flaw | Unsettled = field(default_factory=Unsettled)
    lost: float | None = None  # since when there is no such file
    came: bool = False  # it was whole once: what is saved after that changes nothing about when it came

    @property
    def settled(self) -> bool:
        """Whether nobody writes it any more, as far as can be known."""
        return not isinstance(self.state, Unsettled)


class TaskFolder:
    """Looks at a folder of tasks, for one monitor. `now` is the time in seconds since the epoch."""

    def __init__(self, settings: DirectorySettings, now: Callable[[], float]) -> None:
        self.listings = 0
        """How often the folders were listed whole."""
        self._settings = settings
        self._now = now
        self._waiting: dict[str, Waiting] = {}  # by file name
        self._stamp: tuple[object, ...] = ()
        self._stamp_since = 0.0
        self._listed = float("-inf")
        self._results_seen = False
        self._batch = (0, 0)  # the last listing that found something new, and the latest time of that

    def look(self) -> Sequence[Waiting]:
        """Return what has not ended, in the order in which it came. Raises OSError."""
        now = self._now()
        self._need_results()
        stamp = _stamp(self._settings.tasks), _stamp(self._settings.results)
        if stamp != self._stamp:
            self._stamp, self._stamp_since = stamp, now
        if self._outdated(now):
            self._list(now)
        for waiting in list(self._waiting.values()):
            if not self._refresh(waiting, now):
                del self._waiting[waiting.name]
        return sorted(self._waiting.values(), key=lambda w: w.order)

    @property
    def spared(self) -> int:
        """How often it is enough to look at the folders alone before each file is looked at again."""
        unsettled = any(not waiting.settled for waiting in self._waiting.values())
        return 0 if unsettled else len(self._waiting) // _SPARED_EACH

    def unchanged(self) -> bool:
        """Whether the folders show nothing new since the last `look`: it costs the same however many files wait."""
        try:
            stamp = _stamp(self._settings.tasks), _stamp(self._settings.results)
        except OSError:
            return False
        return stamp == self._stamp and not self._outdated(self._now())

    def one(self, job: str) -> Waiting | None:
        """Return one job as it is now, its file read anew; None where there is no such file.

        A file that has just gone is unsettled for a moment, like one that is being written.
        """
        name = job + self._settings.suffix
        if refuse_name(job) or not self._settings.matches(name):
            return None
        known = self._waiting.get(name)
        waiting = known or Waiting(job, name, (self.listings, 0, name), 0.0)
        if known is None and not self._first_seen(waiting):
            return None
        return waiting if self._refresh(waiting, self._now(), anew=True) else None

    def settling(self, seconds: float) -> bool:
        """Return whether something changed within so many seconds, and may be whole soon."""
        now = self._now()
        return any(not w.settled and now - w.since < seconds for w in self._waiting.values())

    def ended(self, job: str) -> bool:
        """Return whether a job has its result. Raises OSError."""
        self._need_results()
        return os.path.lexists(self._settings.result(job))

    def over(self, job: str) -> bool:
        """Return whether a job has ended, or its file is gone."""
        return self.ended(job) or not os.path.lexists(self._settings.tasks / f"{job}{self._settings.suffix}")

    def _need_results(self) -> None:
        """Raise FileNotFoundError where the results were there and are not: each task would seem new, and be paid."""
        results = self._settings.results
        if not self._results_seen:
            self._results_seen = results.exists()
        elif not results.exists():
            raise FileNotFoundError(errno.ENOENT, _NO_RESULTS, str(results))

    def _outdated(self, now: float) -> bool:
        """Return whether the folders must be listed: changed since, or perhaps within one grain of their stamp."""
        changed = not self._stamp_since + GRAIN_SECONDS <= self._listed <= now
        return changed or now - self._listed >= LISTING_SECONDS

    def _list(self, now: float) -> None:
        # results first: a task whose result comes in between is listed once more, never lost
        ended = {name.removesuffix(".json") for name in _names(self._settings.results) if name.endswith(".json")}
        there = {name: self._id(name) for name in _names(self._settings.tasks) if self._settings.matches(name)}
        self.listings, self._listed = self.listings + 1, now
        for name in [name for name, waiting in self._waiting.items() if waiting.id in ended]:
            del self._waiting[name]
        new = [
            Waiting(job, name, (self.listings, 0, name), 0.0)
            for name, job in there.items()
            if job not in ended and name not in self._waiting
        ]
        self._waiting |= {waiting.name: waiting for waiting in new if self._first_seen(waiting)}
        if times := [w.order[1] for w in self._waiting.values() if w.order[0] == self.listings]:
            self._batch = self.listings, max(times)

    def _first_seen(self, waiting: Waiting) -> bool:
        """Note when a file came; return whether it is still there."""
        try:
            stamp = (self._settings.tasks / waiting.name).lstat().st_mtime_ns
        except FileNotFoundError:
            return False
        batch, latest = self._batch
        # a listing that goes on while files come may miss an older one and find a newer
        missed = latest - GRAIN_SECONDS * 1e9 < stamp <= latest
        waiting.order = (batch if missed else waiting.order[0], stamp, waiting.name)
        waiting.created = min(stamp / 1e9, self._now())
        return True

    def _id(self, name: str) -> str:
        """Return the job's name, where there can be none one that is shown for it and names no result."""
        job = name.removesuffix(self._settings.suffix)
        if not refuse_name(job):
            return job
        return slug(job.encode("utf-8", "backslashreplace").decode())

    def _refresh(self, waiting: Waiting, now: float, *, anew: bool = False) -> bool:
        """Look at a file again, and read it where it changed or `anew`; return whether it is still there."""
        if why := refuse_name(waiting.name.removesuffix(self._settings.suffix)):
            waiting.state = Flaw(why)
            return True
        match find(self._settings.tasks, waiting.name):
            case Absent():
                return self._lost(waiting, now)
            case Flaw() as flaw:
                waiting.found, waiting.state, waiting.lost = None, flaw, None
            case Found() as found:
                waiting.lost = None
                if found != waiting.found or not waiting.since <= now:
                    waiting.found, waiting.since, waiting.state = found, now, Unsettled()
                if anew or not waiting.settled:
                    return self._read(waiting, found, now)
        return True

    def _read(self, waiting: Waiting, found: Found, now: float) -> bool:
        """Read a file that has been quiet long enough."""
        quiet = max(now - waiting.since, now - found.changed)
        waiting.state = Unsettled()
        if not found.size:
            if quiet >= EMPTY_SECONDS:
                waiting.state = Flaw("it is empty: write what to do")
        elif quiet >= self._settings.quiet:
            match read(found):
                case Absent():
                    return self._lost(waiting, now)
                case Flaw() as flaw:
                    waiting.found, waiting.state = None, flaw  # looked at again: what forbids it may pass
                case Content(data, certain) if certain or quiet >= UNSURE_SECONDS:
                    waiting.state = parse(data)
                    if not waiting.came:
                        waiting.order = (waiting.order[0], found.mtime_ns, waiting.name)
                        waiting.created, waiting.came = min(found.mtime_ns / 1e9, now), True
                case Content() | Unsettled():
                    pass
        return True

    def _lost(self, waiting: Waiting, now: float) -> bool:
        """Keep a place for a file that has just gone, as some editors save; return whether it is still kept."""
        waiting.found, waiting.state = None, Unsettled()
        if waiting.lost is None or not waiting.lost <= now:
            waiting.lost = waiting.since = now
        return now - waiting.lost < LOST_SECONDS


_NO_RESULTS: Final = (
    "it was there, and without it which tasks have ended cannot be told; put it back, or make an empty folder to "
    "have every task run anew"
)


def _names(folder: Path) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            yield from (entry.name for entry in entries)
    except FileNotFoundError:
        return


def _stamp(folder: Path) -> tuple[int, int, int] | None:
    try:
        status = folder.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns
