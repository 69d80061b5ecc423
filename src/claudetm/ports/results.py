"""Where the results of jobs are kept: one file each. A job has ended when its result stands there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from claudetm.ports.source import Job, Result, Status


@dataclass(frozen=True, slots=True)
class Kept:
    """What a result says, as far as it is asked for again. Times stay in their file, for people."""

    job: str
    status: Status
    source: str = ""
    retries: int = 0
    repository: str = ""  # as the job has it


class Results(Protocol):
    """Results by the job's id. Every method may raise StoreError."""

    def write(self, result: Result, job: Job) -> None:
        """Keep a result, in one step. Written again, it is the same."""
        ...

    def ended(self, job: str) -> bool:
        """Return whether a result of that job is kept."""
        ...

    def read(self, job: str) -> Kept | None:
        """Return what is kept of a job, or None. Raises StoreError, in a sentence, for what is no result."""
        ...

    def replace(self, job: str) -> bool:
        """Set a result aside, so that the job may run again; False where there is none. Nothing is lost by it."""
        ...
