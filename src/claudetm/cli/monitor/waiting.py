"""What sources have besides what is in the queue, for commands that only look: what is new, and what is not taken.

The folder of tasks is read as it is now, also while no monitor runs; of other sources a running one has told it. The
folder's names are compared first: nothing that reads documents is loaded where there is none to read.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

    from claudetm.bootstrap.monitor_places import Places
    from claudetm.cli.monitor.look import Monitor
    from claudetm.ports.source import Offer

_DIRECTORY: Final = "directory"


def waiting(monitor: Monitor) -> dict[str, tuple[str, Offer]]:
    """Return offers by task, each with its source, in order. What is queued already may be among them."""
    found: dict[str, tuple[str, Offer]] = {}
    if _DIRECTORY in (monitor.sources or [_DIRECTORY]):
        found = {offer.id: (_DIRECTORY, offer) for offer in _in_folder(monitor.places)}
    if monitor.holder is not None:
        for source, offer in _told(monitor.state):
            found.setdefault(offer.id, (source, offer))
    return found


def _told(state: Mapping[str, Any]) -> Iterator[tuple[str, Offer]]:
    """Yield what the running monitor left where it is."""
    from claudetm.ports.source import Offer

    said = state.get("not_taken")
    for each in said if isinstance(said, list) else ():
        if isinstance(each, dict) and each.get("source") != _DIRECTORY and each.get("task_id"):
            yield str(each.get("source")), Offer(str(each["task_id"]), why_not=str(each.get("why")))


def _in_folder(places: Places) -> list[Offer]:
    """Return what lies in the folder without a result."""
    ended = {name.removesuffix(".json") for name in _names(places.results)}
    if all(name.removesuffix(".md") in ended for name in _names(places.tasks)):
        return []
    from claudetm.adapters.sources.task_folder import DirectorySettings, TaskFolder
    from claudetm.adapters.sources.task_offers import offered

    settings = DirectorySettings(places.tasks, places.results, places.here, quiet=0.0)
    try:
        return [offered(found, places.here) for found in TaskFolder(settings, time.time).look()]
    except OSError:
        return []


def _names(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if not entry.name.startswith(".")]
    except OSError:
        return []
