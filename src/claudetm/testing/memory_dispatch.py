"""Workers in memory: a script plays each job; as the real ones, they outlive the monitor that began them.

Two workers of one job at a time are refused aloud, whoever asks for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from claudetm.ports.dispatch import AwaitsPerson, Died, Done, Failed, Stopped, TryAgain, WorkOutcome
from claudetm.ports.source import Job, Note, Output

Script = Callable[["Working"], Awaitable[WorkOutcome]]


@dataclass(slots=True)
class Working:
    """One worker of a job. `attempt` counts its workers from 1, `stop` is set when it should end."""

    job: Job
    attempt: int
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    tell: list[Callable[[Note], None]] = field(default_factory=list)
    last: Note | None = None  # for whoever finds it at work

    def note(self, note: Note) -> None:
        """Tell whoever listens."""
        self.last = note
        for told in self.tell:
            told(note)


async def at_once(working: Working) -> WorkOutcome:
    """Be done."""
    await asyncio.sleep(0)
    return Done(Output(f"{working.job.id} is done.", cost_usd=0.1))


class MemoryDispatch:
    """Implements ports/dispatch.Dispatch. `began` and `ended` are the jobs whose workers did, in order."""

    def __init__(self, script: Script = at_once) -> None:
        self.script = script
        self.began: list[str] = []
        self.ended: list[str] = []
        self.forgotten: list[str] = []
        self.retried: list[str] = []
        self.most = 0  # workers at a time
        self._workers: dict[str, tuple[Working, asyncio.Task[WorkOutcome]]] = {}
        self._outcomes: dict[str, WorkOutcome] = {}
        self._untold: dict[str, Died] = {}

    @property
    def living(self) -> list[str]:
        """The jobs that a worker is at."""
        return [id_ for id_, (_, task) in self._workers.items() if not task.done()]

    async def work(self, job: Job, told: Callable[[Note], None], stop: asyncio.Event) -> WorkOutcome:
        """Find the outcome, or the worker, or begin one."""
        await asyncio.sleep(0)
        if (outcome := self._outcomes.get(job.id)) is not None:
            return outcome
        if (death := self._untold.pop(job.id, None)) is not None:
            return death
        working, task = self._workers.get(job.id) or (None, None)
        if working is None or task is None:
            if stop.is_set():
                return Stopped()
            working, task = self._begin(job)
        if working.last is not None:
            told(working.last)
        working.tell.append(told)
        stopping = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait([task, stopping], return_when=asyncio.FIRST_COMPLETED)
            if stop.is_set():
                working.stop.set()
            outcome = await asyncio.shield(task)
            self._untold.pop(job.id, None)
            return outcome
        finally:
            stopping.cancel()
            working.tell.remove(told)

    def _begin(self, job: Job) -> tuple[Working, asyncio.Task[WorkOutcome]]:
        assert job.id not in self.living, f"two workers at {job.id}"
        working = Working(job, self.began.count(job.id) + 1)
        self.began.append(job.id)
        made = working, asyncio.get_running_loop().create_task(self._play(working))
        self._workers[job.id] = made
        self.most = max(self.most, len(self.living))
        return made

    async def _play(self, working: Working) -> WorkOutcome:
        outcome = await self.script(working)
        id_ = working.job.id
        if not isinstance(outcome, Died | TryAgain | Stopped):
            self._outcomes[id_] = outcome
        if isinstance(outcome, Died):
            self._untold[id_] = outcome
        self.ended.append(id_)
        del self._workers[id_]
        return outcome

    async def kept(self, job: Job) -> None:
        """Do nothing: these workers end with their monitor."""

    async def awaits(self, job: Job) -> AwaitsPerson | None:
        """Return what it waits for."""
        outcome = self._outcomes.get(job.id)
        return outcome if isinstance(outcome, AwaitsPerson) else None

    def answer(self, id_: str) -> None:
        """Be the person that a job waits for."""
        assert isinstance(self._outcomes.pop(id_), AwaitsPerson)

    async def retry(self, job: Job) -> None:
        """Lift what holds it."""
        self.retried.append(f"{job.id} in {job.repository}" if job.repository else job.id)
        if isinstance(self._outcomes.get(job.id), Failed | AwaitsPerson):
            del self._outcomes[job.id]

    async def forget(self, job: Job) -> None:
        """Take note of it; the next `work` begins anew."""
        self._outcomes.pop(job.id, None)
        self.forgotten.append(job.id)
