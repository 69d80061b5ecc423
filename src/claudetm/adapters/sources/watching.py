"""Wakes who waits as soon as something changes in a folder. It only hastens: whoever is woken looks again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from watchdog.events import FileSystemEvent
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
        from watchdog.events import (
            DirDeletedEvent,
            FileClosedEvent,
            FileCreatedEvent,
            FileDeletedEvent,
            FileModifiedEvent,
            FileMovedEvent,
            FileSystemEventHandler,
        )
        from watchdog.observers import Observer
    except ImportError:
        return NotWatching("watchdog is not installed (pip install 'claudetm[monitor]')")
    logging.getLogger("watchdog").setLevel(logging.ERROR)  # an overflow costs nothing: all is looked at anyway
    loop = asyncio.get_running_loop()

    class Handler(FileSystemEventHandler):
        def on_any_event(self, event: FileSystemEvent) -> None:
            del event  # whoever is woken looks for themselves
            if not loop.is_closed():
                loop.call_soon_threadsafe(wake)

    # our own looking opens and closes files: those events are not asked for
    wanted = [FileCreatedEvent, FileMovedEvent, FileModifiedEvent, FileClosedEvent, FileDeletedEvent, DirDeletedEvent]
    observer = Observer()
    try:
        observer.schedule(Handler(), str(folder), recursive=False, event_filter=wanted)
        observer.start()
    except (OSError, RuntimeError) as error:
        observer.unschedule_all()
        return NotWatching(getattr(error, "strerror", None) or str(error))
    return Watching(observer)
