"""What every command that looks at a monitor shares: its folders, its queue folded from the journal, its results.

Nothing here takes a lock, asks a source or loads anything heavy; a result is somebody's file and may hold anything.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from claudetm.adapters.store.lock import Holder, holder
from claudetm.bootstrap.monitor_places import Places, find_places
from claudetm.errors import UsageError
from claudetm.intake.queue import Queue, fold

_LARGEST: Final = 64 << 20  # bytes of a result


@dataclass(frozen=True, slots=True)
class Monitor:
    """A monitor as its files show it. `about` is what it wrote down at its last start, {} before the first."""

    places: Places
    queue: Queue
    holder: Holder | None  # None: it does not run
    about: Mapping[str, Any] = field(default_factory=dict)
    state: Mapping[str, Any] = field(default_factory=dict)  # the queue as it was last told, for people

    @property
    def sources(self) -> list[str]:
        """Where tasks come from, as of its last start."""
        said = self.about.get("sources")
        return [one_line(s) for s in said] if isinstance(said, list) else []

    def told(self, job: str) -> Mapping[str, Any]:
        """Return what was last told of a running task."""
        running = self.state.get("running")
        said = [each for each in running if isinstance(each, dict)] if isinstance(running, list) else []
        return next((each for each in said if each.get("task_id") == job), {})


def look(where: Path | None, name: str) -> Monitor:
    """Return the monitor of a folder. UsageError, ConfigError or JournalError, in one sentence each."""
    from claudetm.adapters.store.journal import FileJournal

    places = find_places(where, name)
    queue = fold(FileJournal(places.journal).read()) if places.journal.exists() else Queue()
    return Monitor(places, queue, holder(places.lock), _object(places.about), _object(places.queue_state))


def named_running(places: Places) -> dict[str, Holder]:
    """Return who runs beside the monitor without a name in its folder, by their `--name`."""
    if places.name:
        return {}
    locks = sorted(places.state.glob(f"*/{places.lock.name}"))
    return {lock.parent.name: found for lock in locks if (found := holder(lock)) is not None}


def results(places: Places, most: int | None = None) -> Iterator[dict[str, Any]]:
    """Yield the results, the newest first, as JSON values; what is none is passed over."""
    found = sorted(_files(places.results), key=lambda f: f[0], reverse=True)
    for _, path in found[:most]:
        if data := _object(Path(path)):
            yield data


def result_of(places: Places, job: str) -> dict[str, Any]:
    """Return a task's result as JSON values, {} where it has none."""
    return _object(places.results / f"{job}.json")


def _files(folder: Path) -> Iterator[tuple[float, str]]:
    """Yield when each result was written, and its path: of thousands, as plain text."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(".json") and not entry.name.startswith("."):
                    found = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(found.st_mode):
                        yield found.st_mtime, entry.path
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"{folder} cannot be read: {error.strerror}; mend that, or move it away") from None


def _object(path: Path) -> dict[str, Any]:
    """Return the object in a file; {} where there is none, as it may be written or removed just now."""
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as handle:
            if not stat.S_ISREG(os.fstat(handle.fileno()).st_mode):
                return {}
            data = json.loads(handle.read(_LARGEST))
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def one_line(text: object, most: int = 400) -> str:
    """Return a text from anywhere as one line for a screen."""
    from claudetm.redact import printable, redact

    line = " ".join(redact(printable(str(text))).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def dump(data: Any) -> None:
    """Print JSON values, secrets masked, and nothing in them that a terminal would act on."""
    from claudetm.redact import printable, redact

    print(printable(redact(json.dumps(data, indent=2, ensure_ascii=False))))
