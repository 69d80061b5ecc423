"""In which repository a monitor's task is worked, as its queue or its result says it, where the monitor runs."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from claudetm.errors import ClaudetmError

if TYPE_CHECKING:
    from pathlib import Path

    from claudetm.bootstrap.monitor_places import Places


def repository_of(task: str, places: Places | None = None) -> Path | None:
    """Return the root of the repository that a task of a monitor, by default of those here, is worked in, or None."""
    from claudetm.adapters.dispatch.place import below, state_of
    from claudetm.bootstrap.monitor_places import find_places
    from claudetm.ports.source import Job, refuse_name

    if refuse_name(task):
        return None
    with suppress(ClaudetmError):  # no monitor, or none whose files can be read: then it says nothing
        places = places or find_places()
        if named := _named(places, task):
            root = below(places.here)(Job(task, "", "", repository=named))
            return root if state_of(root, task).root.is_dir() else None
    return None


def _named(places: Places, task: str) -> str:
    """Return the repository that a task names, as it names it; "" where it names none, or is not known here."""
    from claudetm.adapters.store.journal import FileJournal
    from claudetm.cli.monitor.look import result_of
    from claudetm.intake.queue import fold

    if isinstance(said := result_of(places, task).get("repository"), str) and said:
        return said
    others = () if places.name else sorted(places.state.glob("*/queue.jsonl"))  # those of monitors with a --name
    for journal in (places.journal, *others):
        entry = fold(FileJournal(journal).read()).jobs.get(task) if journal.exists() else None
        if entry is not None and entry.job is not None:
            return entry.job.repository
    return ""
