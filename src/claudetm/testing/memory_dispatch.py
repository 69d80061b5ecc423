"""A dispatch in memory, and the machine that its workers run on: what they do is said beforehand, a play a worker.

A test kills a monitor by cancelling `work` and dropping its dispatch; the workers go on as long as the event loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from claudetm.ports.dispatch import AwaitsPerson, Died, Done, Failed, Stopped, TryAgain, WorkOutcome
from claudetm.ports.source import Job, Note, Output


@dataclass(frozen=True, slots=True)
class Hangs:
    """The worker does nothing until it is stopped, killed, or let go on by `Machine.go_on`."""


Play = Sequence[Note | Hangs | WorkOutcome]
"""What one worker does, in order; it ends at the first outcome, or behind the last thing with Done."""


@dataclass(slots=True)
class Worker:
    """One worker that lives. `told` are those who listen to it, `past` what they missed."""

    job: Job
    task: asyncio.Task[None] | None = None
    outcome: WorkOutcome | None = None
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    goes_on: asyncio.Event = field(default_factory=asyncio.Event)
    told: list[Callable[[Note], None]] = field(default_factory=list)
    past: list[Note] = field(default_factory=list)


class Machine:
    """Where workers run. `plays` holds, by a job's id, what its next workers do; without one a worker is done.

    `begun` names the job of every worker, in order; `most` is how many lived side by side.
    """

    def __init__(self) -> None:
        self.plays: dict[str, deque[Play]] = {}
        self.workers: dict[str, Worker] = {}
        self.ended: dict[str, WorkOutcome] = {}  # and not forgotten
        self.begun: list[str] = []
        self.forgotten: list[str] = []
        self.most = 0

    def script(self, job: str, *plays: Play) -> None:
        """Say what the next workers of a job do, one after the other."""
        self.plays.setdefault(job, deque()).extend(plays)

    def go_on(self, job: str) -> None:
        """Let a worker that hangs go on."""
        self.workers[job].goes_on.set()

    def kill(self, job: str, *, progressed: bool = False) -> None:
        """End a worker as `kill -9` does."""
        worker = self.workers[job]
        self._end(worker, Died("killed by signal 9 (SIGKILL)", progressed))
        if worker.task is not None:
            worker.task.cancel()

    def carry_on(self, job: str) -> None:
        """Do as a person what the job waits for."""
        if isinstance(self.ended.get(job), AwaitsPerson):
            del self.ended[job]

    def begin(self, job: Job) -> Worker:
        """Start a worker. There is never a second one of a job."""
        assert job.id not in self.workers, f"two workers of {job.id}"
        worker = self.workers[job.id] = Worker(job)
        plays = self.plays.get(job.id)
        play = plays.popleft() if plays else ()
        self.begun.append(job.id)
        self.most = max(self.most, len(self.workers))
        worker.task = asyncio.ensure_future(self._play(worker, play))
        return worker

    def _end(self, worker: Worker, outcome: WorkOutcome) -> None:
        del self.workers[worker.job.id]
        self.ended[worker.job.id] = worker.outcome = outcome

    async def _play(self, worker: Worker, play: Play) -> None:
        outcome: WorkOutcome = Done(Output(summary=f"did: {worker.job.text}", run=f"run-{worker.job.id}"))
        for move in play:
            await asyncio.sleep(0)
            match move:
                case _ if worker.stop.is_set():
                    outcome = Stopped()
                    break
                case Note():
                    worker.past.append(move)
                    for tell in worker.told:
                        tell(move)
                case Hangs():
                    await _either(worker.stop, worker.goes_on)
                    if worker.stop.is_set() and not worker.goes_on.is_set():
                        outcome = Stopped()
                        break
                    worker.goes_on.clear()
                case _:
                    outcome = move
                    break
        await asyncio.sleep(0)
        self._end(worker, outcome)


async def _hand_on(one: asyncio.Event, other: asyncio.Event) -> None:
    await one.wait()
    other.set()


async def _either(*events: asyncio.Event) -> None:
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


class MemoryDispatch:
    """Implements ports/dispatch.Dispatch for one monitor on a machine."""

    def __init__(self, machine: Machine | None = None) -> None:
        self.machine = machine or Machine()

    async def work(self, job: Job, told: Callable[[Note], None], stop: asyncio.Event) -> WorkOutcome:
        """Begin a worker, or wait for the one that there is; what a worker came to stands until it is forgotten."""
        machine = self.machine
        await asyncio.sleep(0)
        if (worker := machine.workers.get(job.id)) is None:
            if (stands := machine.ended.get(job.id)) is not None:
                return self._taken(job, stands)
            if stop.is_set():
                return Stopped()
            worker = machine.begin(job)
        for note in worker.past:
            told(note)
        worker.told.append(told)
        stopping = asyncio.ensure_future(_hand_on(stop, worker.stop))
        try:
            assert worker.task is not None
            await asyncio.wait({worker.task})
        finally:
            stopping.cancel()
            if told in worker.told:
                worker.told.remove(told)
        assert worker.outcome is not None
        return self._taken(job, worker.outcome)

    def _taken(self, job: Job, outcome: WorkOutcome) -> WorkOutcome:
        """Return how a worker ended; what the next one carries on from is told once."""
        if isinstance(outcome, Stopped | TryAgain | Died):
            self.machine.ended.pop(job.id, None)
        return outcome

    async def awaits(self, job: Job) -> AwaitsPerson | None:
        """Return what a person is waited for."""
        await asyncio.sleep(0)
        stands = self.machine.ended.get(job.id)
        return stands if isinstance(stands, AwaitsPerson) else None

    async def retry(self, job: Job) -> None:
        """Lift what held it."""
        await asyncio.sleep(0)
        if not isinstance(self.machine.ended.get(job.id), Done):
            self.machine.ended.pop(job.id, None)

    async def forget(self, job: Job) -> None:
        """Take note of it, and of nothing else that was known."""
        await asyncio.sleep(0)
        self.machine.ended.pop(job.id, None)
        self.machine.forgotten.append(job.id)


def failed(why: str = "it is blocked", step: str = "claudetm resume") -> Failed:
    """Return how a worker ends that can go no further."""
    return Failed(why, step)
