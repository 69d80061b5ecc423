"""The processes of runs whose driver is dead; `--repair` ends them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from claudetm.adapters.store.directory import StateDirectory
from claudetm.adapters.store.lock import acquire, holder
from claudetm.doctor.finding import Finding, fail, ok
from claudetm.doctor.place import Place

if TYPE_CHECKING:
    import psutil


def orphans(place: Place) -> Iterator[Finding]:
    """Find the processes of this repository's runs whose driver is dead; only those are ever ended."""
    if place.root is None:
        return
    left = _left(place)
    if left and place.mend:
        ended = sorted(pid for pids in left.values() for pid in pids)
        _end(place, left)
        left = _left(place)
        if not left:
            yield ok("orphan agents", f"ended: {_listed(ended)}")
            return
    if left:
        pids = sorted(pid for found in left.values() for pid in found)
        found = f"{_listed(pids)} of {', '.join(left)} outlived their driver"
        yield fail("orphan agents", found, f"claudetm doctor --repair, or kill {' '.join(map(str, pids))}")
    else:
        yield ok("orphan agents", "none")


def _listed(pids: list[int]) -> str:
    return f"process{'es' if len(pids) > 1 else ''} {', '.join(map(str, pids))}"


def _left(place: Place) -> dict[str, list[int]]:
    """Return the processes of each of this repository's runs that nobody drives."""
    import psutil

    from claudetm.adapters.agent.environment import MARKER

    ours = _runs(place)
    spared = {os.getpid(), *(p.pid for p in psutil.Process().parents())}
    found: dict[str, list[int]] = {}
    driven = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            run = process.environ().get(MARKER, "")
            if run not in ours or process.pid in spared or process.status() == psutil.STATUS_ZOMBIE:
                continue
            if any(_drives(above) for above in process.parents()):
                driven.add(run)
            found.setdefault(run, []).append(process.pid)
    return {run: pids for run, pids in found.items() if run not in driven}


def _runs(place: Place) -> set[str]:
    """Return the ids of this repository's runs, as far as their folders tell, that have no driver."""
    known = {p.name for p in place.runs.iterdir()} if place.runs.is_dir() else set()
    for state in _states(place):
        if state.history.is_dir():
            known |= {p.name for p in state.history.iterdir()}
    drivers = [driver for state in _states(place) if (driver := holder(state.lock)) is not None]
    if not all(driver.run for driver in drivers):
        return set()  # somebody drives, and does not say what
    return known - {driver.run for driver in drivers}


def _states(place: Place) -> list[StateDirectory]:
    """Return where this repository's runs have their records: its own one, and those of the monitor's tasks."""
    own = StateDirectory(place.state.shared) if place.state is not None else None
    return [own, *own.tasks()] if own is not None and own.root.is_dir() else []


def _drives(process: psutil.Process) -> bool:
    """Whether a process is a claudetm: what hangs below one is no orphan, whatever became of its state directory."""
    import psutil

    with suppress(psutil.Error, OSError):
        words = process.cmdline()[:3]
        return any(Path(w).name == "claudetm" for w in words) and process.pid != os.getpid()
    return False


def _end(place: Place, left: Mapping[str, list[int]]) -> None:
    """End what is left of the runs, holding the locks that are free, so that no driver begins meanwhile."""
    from claudetm.adapters.agent.containment import sweep

    with ExitStack() as held:
        for state in _states(place):
            if holder(state.lock) is None:
                held.enter_context(acquire(state.lock))
        for run in left:
            asyncio.run(sweep(run))
