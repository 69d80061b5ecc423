"""Who works a job: a process of its own for each, which outlives the monitor and is found again by its lock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from claudetm.ports.source import Job, Note, Output

TOLD_TO_END: Final = "ended by SIGTERM"
"""Why a run is paused, as its journal says it, whose worker was told to end: by the monitor, or by the machine."""


@dataclass(frozen=True, slots=True)
class Done:
    """The job is done."""

    output: Output


@dataclass(frozen=True, slots=True)
class Failed:
    """It can go no further: blocked, refused, not good enough. `next` is the one command that helps, or ""."""

    error: str
    next: str = ""
    output: Output = field(default_factory=Output)


@dataclass(frozen=True, slots=True)
class AwaitsPerson:
    """It waits for a person, and no process runs. `next` is the command that carries it on."""

    why: str
    next: str = ""


@dataclass(frozen=True, slots=True)
class TryAgain:
    """It could not go on for a reason that passes; no fault of the job. `seconds` is None for the usual pause.

    What meets `everybody` would meet any other job that is begun now.
    """

    why: str
    seconds: float | None = None
    everybody: bool = False


@dataclass(frozen=True, slots=True)
class Stopped:
    """It was stopped on the way, its work kept: `work` carries on."""


@dataclass(frozen=True, slots=True)
class Died:
    """Its worker ended without a word: killed, or by a bug.

    `progressed` says that it had come further than the worker before it; then it is not the job that kills them.
    One that no monitor has `seen` may have been killed with its monitor, by whoever stopped both.
    """

    evidence: str  # signal or exit code, the last lines of its log
    progressed: bool = False
    seen: bool = True


WorkOutcome = Done | Failed | AwaitsPerson | TryAgain | Stopped | Died


class Dispatch(Protocol):
    """Works jobs. Whatever is told to it is found again by the job's id alone."""

    async def work(self, job: Job, told: Callable[[Note], None], stop: asyncio.Event) -> WorkOutcome:
        """Work a job to where it can go no further: begin it, carry it on, or wait for the worker that has it.

        Never two workers of one job, whoever calls. `stop` ends it gracefully.
        """
        ...

    async def kept(self, job: Job) -> None:
        """Take note that the claim on a job is ours still: its worker ends after the job's `lease` without."""
        ...

    async def awaits(self, job: Job) -> AwaitsPerson | None:
        """Return what a job that waits for a person waits for; None once it can go on."""
        ...

    async def retry(self, job: Job) -> None:
        """Let the next `work` begin where a job that failed stands: what held it is lifted."""
        ...

    async def forget(self, job: Job) -> None:
        """Take note that a job's result is reported: what is left outside the user's repository is removed.

        What can be carried on is kept for a `retry`. Idempotent.
        """
        ...
