"""What passes between the monitor and the worker of a task, as files in the task's state directory.

`job.json` says what is to be worked, `progress.jsonl` what is told on the way, `outcome.json` how the worker ended
where the run's journal cannot say it; whoever holds `worker.lock` is the worker. Each is written in one step.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from claudetm.adapters.store.directory import (
    CLAIM,
    ORDER,
    OUTCOME,
    PROGRESS,
    WORKER_LOCK,
    WORKER_LOG,
    StateDirectory,
    disk,
    write_atomically,
)
from claudetm.errors import JournalError
from claudetm.ports.source import Job, Material, Mode, Note

NOTES_MOST: Final = 1 << 20  # bytes of progress, after which the file is begun anew


@dataclass(frozen=True, slots=True)
class Begun:
    """A worker that was begun, and whose end nobody has been told of. `reached` counts what the journal had then."""

    reached: int
    boot: str  # the kernel's boot id


@dataclass(frozen=True, slots=True)
class Order:
    """What a worker is told. `lifted` is the journal's seq up to which whatever halts the run is lifted.

    With `looks` that is only to see whether people have done at the forge what it waits for, or whether the model's
    service answers again that turned it away.
    `over` names the run in the journal that this order is not for any more: the worker puts it away and begins anew.
    `forgotten` says that the result was reported, so that the next order begins anew or carries on what is not over.
    """

    job: Job
    lifted: int = 0
    looks: bool = False
    over: str = ""
    forgotten: bool = False
    rehearsal: str = ""
    begun: Begun | None = None


class Ending(StrEnum):
    """How a worker ended."""

    OVER = "over"  # the journal tells
    REFUSED = "refused"  # a known error, which comes again
    PASSING = "passing"  # one that passes
    STOPPED = "stopped"
    BUG = "bug"


@dataclass(frozen=True, slots=True)
class Ended:
    """A worker's last words. `seq` is how far the journal was; `until` when to try again, in epoch seconds."""

    ending: Ending
    error: str = ""
    seq: int = 0
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Handover:
    """The files of one task."""

    state: StateDirectory

    @property
    def lock(self) -> Path:
        """Held by the worker."""
        return self.state.root / WORKER_LOCK

    @property
    def progress(self) -> Path:
        """A line a note."""
        return self.state.root / PROGRESS

    @property
    def claim(self) -> Path:
        """Touched whenever the monitor has made sure that the claim is its own."""
        return self.state.root / CLAIM

    @property
    def log(self) -> Path:
        """All that the worker's process prints."""
        return self.state.root / WORKER_LOG

    def order(self) -> Order | None:
        """Return what was ordered last. Raises JournalError for what this version cannot read."""
        path = self.state.root / ORDER
        with disk(path, "read"):
            try:
                data = json.loads(path.read_bytes())
                return _order(data)
            except FileNotFoundError:
                return None
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise JournalError(f"{path} cannot be read: {error}; remove it to begin the task anew") from error

    def give(self, order: Order) -> None:
        """Write an order. Raises StoreError."""
        write_atomically(self.state.root / ORDER, json.dumps(_plain(order)) + "\n")

    def ended(self) -> Ended | None:
        """Return the last worker's last words; None where it left none that can be read."""
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            data = json.loads((self.state.root / OUTCOME).read_bytes())
            return Ended(Ending(data["ending"]), str(data["error"]), int(data["seq"]), data.get("until"))
        return None

    def end(self, ended: Ended) -> None:
        """Write a worker's last words. Raises StoreError."""
        write_atomically(self.state.root / OUTCOME, json.dumps(_plain(ended)) + "\n")

    def clear(self) -> None:
        """Take away what the worker before has left, its output apart."""
        for name in (OUTCOME, PROGRESS):
            with disk(self.state.root / name, "removed"):
                (self.state.root / name).unlink(missing_ok=True)


class Notes:
    """Appends a worker's notes; what the disk refuses costs the note, and never the run."""

    def __init__(self, path: Path, most: int = NOTES_MOST) -> None:
        self._path = path
        self._most = most

    def tell(self, note: Note) -> None:
        """Append one."""
        line = json.dumps({f.name: getattr(note, f.name) for f in fields(note)}) + "\n"
        with suppress(OSError):
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, line.encode())
                full = os.fstat(descriptor).st_size > self._most
            finally:
                os.close(descriptor)
            if full:  # whoever reads along has it open, and begins anew with the next file
                self._path.unlink()


def note_of(line: bytes) -> Note | None:
    """Return the note of a line, None for what is none."""
    try:
        data = json.loads(line)
        said = str(data["stage"]), str(data["text"])
        return Note(*said, float(data["cost_usd"]), bool(data["waiting"]), str(data["link"]))
    except (ValueError, KeyError, TypeError):
        return None


def _order(data: Mapping[str, Any]) -> Order:
    begun = data.get("begun")
    return Order(
        job=_job(data["job"]),
        lifted=int(data["lifted"]),
        looks=bool(data.get("looks")),
        over=str(data["over"]),
        forgotten=bool(data["forgotten"]),
        rehearsal=str(data["rehearsal"]),
        begun=Begun(int(begun["reached"]), str(begun["boot"])) if begun else None,
    )


def _job(data: Mapping[str, Any]) -> Job:
    """Return the job; a newer version may have added fields."""
    known = {f.name: data[f.name] for f in fields(Job) if f.name in data}
    material = tuple(Material(m["title"], m["text"]) for m in data.get("material", ()))
    return Job(**{**known, "mode": Mode(data["mode"]), "material": material})


def _plain(value: Any) -> Any:
    if isinstance(value, (Order, Begun, Ended, Job, Material)):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    return {str(k): _plain(v) for k, v in value.items()} if isinstance(value, Mapping) else value
