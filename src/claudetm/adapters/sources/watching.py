"""Wakes who waits as soon as something changes in a folder. It only hastens: whoever is woken looks again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from watchdog.observers.api import BaseObserver


@dataclass(frozen=True, slots=True)
class Watching:
    """A folder is watched until `stop`."""

    observer: BaseObserver

    def stop(self) -> None:
        """Stop watching, and let go of the threads. Idempotent."""
        self.observer.unschedule_all()
        self.observer.stop()
        if self.observer.is_alive():
            self.observer.join()


@dataclass(frozen=True, slots=True)
class NotWatching:
    """The folder can only be looked at now and then; `why` is a clause."""

    why: str

    def stop(self) -> None:
        """Do nothing: nothing runs."""


def watch(folder: Path, wake: Callable[[], None]) -> Watching | NotWatching:
    """Call `wake` in this thread's event loop, soon after anything changes right in the folder."""
    try:
        return Watching(_observer(folder, wake))
    except ImportError:
        return NotWatching("watchdog is not installed (pip install 'claudetm[monitor]')")
    except (
        OSError,
        RuntimeError,
    ) as error:  # the limits of the kernel: instances, watches, files, threads
        return NotWatching(getattr(error, "strerror", None) or str(error))


def _observer(folder: Path, wake: Callable[[], None]) -> BaseObserver:
    """Return an observer that runs. Raises ImportError, OSError and RuntimeError."""
    from watchdog import events
    from watchdog.observers import Observer

    logging.getLogger("watchdog").setLevel(logging.ERROR)  # an overflow costs nothing: all is looked at anyway
    loop = asyncio.get_running_loop()

    class Handler(events.FileSystemEventHandler):
        def on_any_event(self, event: events.FileSystemEvent) -> None:
            del event  # whoever is woken looks for themselves
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(wake)

    # our own looking opens and closes files: those events are not asked for
    wanted: list[type[events.FileSystemEvent]] = [
        events.FileCreatedEvent,
        events.FileMovedEvent,
        events.FileModifiedEvent,
        events.FileClosedEvent,
        events.FileDeletedEvent,
        events.DirDeletedEvent,
    ]
    observer = Observer()
    try:
        observer.schedule(Handler(), str(folder), recursive=False, event_filter=wanted)
        observer.start()
    except BaseException:
        observer.unschedule_all()
        raise
    return observer
