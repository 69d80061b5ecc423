"""Checks of the state directory: whose it is, who drives, whether its journals can be read."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from pathlib import Path

from claudetm.adapters.store.directory import NAME, StateDirectory
from claudetm.adapters.store.lock import acquire, holder
from claudetm.doctor.finding import Finding, fail, ok, refused, warn
from claudetm.doctor.place import Place
from claudetm.doctor.repository import owned_by_another
from claudetm.errors import JournalError, RepositoryError, StoreError, UsageError


def state(place: Place) -> Iterator[Finding]:
    """Say whose the state directory is and whether it is private, and who drives."""
    there = place.state
    if there is None:
        if not place.outside:
            yield ok("state", "no run was begun here")
        return
    if there.root.is_symlink() or not there.root.is_dir():
        raise StoreError(f"{there.root} is not a directory of its own; move it away.")
    there.refuse_foreign()
    _refuse_tracked(place)
    mode = there.root.stat().st_mode & 0o777
    if not os.access(there.root, os.R_OK | os.W_OK | os.X_OK):
        yield fail("state", f"{there.root} cannot be written", f"chmod u+rwx {there.root}, as its owner")
    elif mode & 0o077:
        yield warn("state", f"{there.root} is open to others (mode {mode:04o})", f"chmod 700 {there.root}")
    else:
        yield ok("state", f"{there.root} (mode {mode:04o})")
        yield from _permissions(place, there)
    yield _driver(there)


def _permissions(place: Place, state: StateDirectory) -> Iterator[Finding]:
    """Name what somebody else can read, or you cannot write (as after a start under sudo)."""
    mode = state.config.stat().st_mode & 0o777 if state.config.exists() else 0
    if mode & 0o077 and f"{NAME}/{state.config.name}" not in place.files:
        open_ = f"{state.config} may hold a key, and is open to others (mode {mode:04o})"
        yield warn("permissions", open_, f"chmod 600 {state.config}")
    shut = [p for p in sorted(state.root.iterdir()) if not p.is_symlink() and not os.access(p, os.R_OK | os.W_OK)]
    if shut:
        found = f"{', '.join(p.name for p in shut)} in {state.root} cannot be written"
        yield fail("permissions", found, f"chown -R {getpass.getuser()} {state.root}, or chmod -R u+rwX it")


def _refuse_tracked(place: Place) -> None:
    """Raise RepositoryError for what came with the repository; without a usable git, nothing can be said of it."""
    from claudetm.adapters.git.git import require_version
    from claudetm.adapters.git.user_repository import refuse_tracked

    try:
        require_version()
    except RepositoryError:
        return
    if not owned_by_another(place):
        refuse_tracked(place.where, NAME, "config.json")


def _driver(state: StateDirectory) -> Finding:
    if (driver := holder(state.lock)) is not None:
        return ok("driver", f"{driver} drives the run {driver.run}".rstrip())
    if state.lock.exists() and state.lock.stat().st_size:
        return ok("driver", "none; the last one died, and its lock died with it: nothing is in the way")
    return ok("driver", "none")


def journal(place: Place) -> Iterator[Finding]:
    """Say what the journal holds; with `--repair`, cut it where it is damaged."""
    state = place.state
    if state is None or not state.journal.is_file() or state.foreign:
        return
    from claudetm.adapters.store.journal import Damaged, good_length

    try:
        told = _told(state)
    except Damaged as error:
        if place.mend:
            yield _mended(state)
        else:
            yield refused("journal", error)
        return
    except JournalError as error:
        yield fail("journal", str(error).rstrip("."), "upgrade claudetm, or put it away with `claudetm clean`")
        return
    torn = state.journal.stat().st_size - good_length(state.journal)
    if torn <= 0 or holder(state.lock) is not None:  # a driver's last line may be on its way
        yield ok("journal", told)
    elif place.mend:
        yield _mended(state)
    else:
        found = f"{told}; behind them {torn} bytes of one that was being written when the driver died"
        yield warn("journal", found, "nothing needs to be done: `claudetm resume` drops them, as does --repair")


def _told(state: StateDirectory) -> str:
    """Return in words what the journal holds. Raises JournalError."""
    from claudetm.adapters.store.journal import FileJournal
    from claudetm.bootstrap.opening import folded

    try:
        run = folded(FileJournal(state.journal), state)
    except UsageError:
        return "no events"
    return f"{run.seq} events of the run {run.id} ({run.phase})"


def _mended(state: StateDirectory) -> Finding:
    """Cut the journal at its last good line. Raises LockHeld while a driver lives."""
    from claudetm.adapters.store.journal import repair

    with acquire(state.lock) as lock:
        copy = repair(state.journal, lock)
        found = f"repaired: {_told(state)}; as it was, it is kept in {copy}"
    return ok("journal", found)


def forge_journal(place: Place) -> Iterator[Finding]:
    """Say what the local forge's records hold; with `--repair`, leave the damaged ones out."""
    from claudetm.adapters.forge.local_journal import Unknown, sift

    state = place.state
    path = state.root / "forge" / "journal.jsonl" if state is not None else None
    if state is None or path is None or not path.is_file():
        return
    try:
        sifted = sift(path)
    except Unknown as error:
        yield refused("forge journal", error)
        return
    if not sifted.damaged:
        yield ok("forge journal", f"{sifted.pulls} pull requests")
    elif place.mend:
        yield _sifted(state, path)
    else:
        lines = ", ".join(map(str, sifted.damaged))
        remedy = "claudetm doctor --repair keeps a copy and leaves out what cannot be read"
        yield fail("forge journal", f"{path} is damaged at line {lines}", remedy)


def _sifted(state: StateDirectory, path: Path) -> Finding:
    """Leave out of the forge's records what cannot be read. Raises LockHeld while a driver lives."""
    from claudetm.adapters.forge.local_journal import repair

    with acquire(state.lock):
        copy, lines = repair(path)
    gone = f"line{'s' if len(lines) > 1 else ''} {', '.join(map(str, lines))}"
    found = f"repaired: {gone} left out; as it was, it is kept in {copy}"
    return warn("forge journal", found, "look there whether that was a remark or a verdict, and give it again")
