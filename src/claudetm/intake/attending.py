"""One job in its lane: claimed, worked to where it can go no further, and what came of it journalled.

Nothing is worked that was not claimed by this process; nothing of a job that was lost to another is reported.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Final, assert_never

from claudetm.errors import ClaudetmError, LockLost, StoreError
from claudetm.intake import ending
from claudetm.intake import events as e
from claudetm.intake.asking import UNASKABLE, Asking
from claudetm.intake.policy import MonitorPolicy
from claudetm.intake.queue import Entry
from claudetm.intake.writer import QueueWriter
from claudetm.ports.clock import Clock
from claudetm.ports.dispatch import AwaitsPerson, Died, Dispatch, Done, Failed, Stopped, TryAgain, WorkOutcome
from claudetm.ports.results import Results
from claudetm.ports.source import Claimed, Gone, Job, Note, Refused, Status, Taken

STOPPED: Final = "The monitor stops; the work so far is kept."


@dataclass(slots=True)
class Place:
    """A place in a lane, taken by a job."""

    entry: Entry
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    lost: e.JobLost | e.JobWithdrawn | None = None  # the claim on it was, while it was worked
    note: Note | None = None  # the newest
    working: bool = False


@dataclass(slots=True)
class Attendant:
    """Sees jobs through. `ours` are the ids whose claim this process was told it has."""

    writer: QueueWriter
    dispatch: Dispatch
    results: Results
    clock: Clock
    policy: MonitorPolicy
    say: Callable[[str], None]
    stopping: Callable[[], bool]
    ours: set[str] = field(default_factory=set)
    unwritable: bool = False  # the disk refused the last result
    _shut: tuple[float, float] = (0.0, 0.0)  # since and until when no job is begun, as every one would be turned away

    @property
    def shut(self) -> bool:
        """Whether a job that is begun now would only be turned away; who was, asks again."""
        since, until = self._shut
        return since <= self.clock.now() < until  # the clock may be set back

    async def attend(self, place: Place, asking: Asking) -> None:
        """Claim a job, work it, write down what came of it."""
        fresh = place.entry.status is Status.QUEUED
        job = await self._claimed(place, asking)
        if job is None:
            return
        if fresh and self.stopping():
            await self.give_back(place.entry, asking, STOPPED)
            return
        place.working = True
        async with _forwarded(job, asking, place, self.say) as told:
            outcome = await self._work(job, told, place.stop)
        place.working = False
        await self._settle(place, job, outcome, asking)

    # --- the claim -----------------------------------------------------------------------------------------

    async def _claimed(self, place: Place, asking: Asking) -> Job | None:
        """Make sure that the job is ours; return it, or None where it is not to be worked now."""
        entry = place.entry
        try:
            outcome = await asking.claim(entry.id, entry.ours)
        except UNASKABLE:
            return None
        match outcome:
            case Claimed(job, deaths):
                self.ours.add(entry.id)
                return await self._begin(entry, job, deaths)
            case Taken(by):
                asking.passed[entry.id] = f"{by} works it"
                await self._lost(place, by)
            case Gone(why):
                await self._withdraw(place, why)
            case Refused(why):
                if entry.ours is not None:
                    await self._end_worker(entry.ours)
                await self.conclude(entry, e.JobFailed(entry.id, ending.refused(entry, why, self.clock.now())))
            case _:
                assert_never(outcome)
        return None

    async def _begin(self, entry: Entry, job: Job, deaths: int) -> Job | None:
        if entry.status is Status.QUEUED:
            await self.writer.append(e.JobClaimed(entry.id, job, deaths))
        elif entry.job is not None:
            # what was begun goes on as it began; only where the source finds it may have moved
            job = replace(entry.job, handle=job.handle)
        if entry.status is Status.RETRYING:
            await self.writer.append(e.JobResumed(entry.id))
        if why := ending.hopeless(entry, self.policy):
            await self.give_up(entry, why)
            return None
        return job

    async def _lost(self, place: Place, by: str) -> None:
        """Let another have it: what works it here is stopped, and nothing is reported."""
        entry = place.entry
        self.ours.discard(entry.id)
        if (job := entry.ours) is not None:
            await self._end_worker(job)
            await self.writer.append(e.JobLost(entry.id, by))

    async def _withdraw(self, place: Place, why: str) -> None:
        entry = place.entry
        self.ours.discard(entry.id)
        if (job := entry.ours) is not None:
            await self._end_worker(job)
        await self.writer.append(e.JobWithdrawn(entry.id, why))

    async def _end_worker(self, job: Job) -> None:
        """Stop the worker that a killed monitor may have left; none is begun under a stop."""
        stop = asyncio.Event()
        stop.set()
        await self._work(job, lambda _note: None, stop)

    # --- the work ------------------------------------------------------------------------------------------

    async def _work(self, job: Job, told: Callable[[Note], None], stop: asyncio.Event) -> WorkOutcome:
        try:
            return await self.dispatch.work(job, told, stop)
        except (LockLost, StoreError):
            raise
        except ClaudetmError as error:
            return TryAgain(str(error))
        except Exception as error:  # noqa: BLE001 - a bug over one job must not stand in the way of the others
            return Died("".join(traceback.format_exception(error)))

    async def _settle(self, place: Place, job: Job, outcome: WorkOutcome, asking: Asking) -> None:
        """Write down what came of the work."""
        entry, now = place.entry, self.clock.now()
        if place.lost is not None:
            self.ours.discard(entry.id)
            await self.writer.append(place.lost)
            return
        match outcome:
            case Done(output):
                self._shut = (0.0, 0.0)
                await self.conclude(entry, e.JobCompleted(entry.id, ending.completed(entry, output, now)))
            case Failed(error, next_, output):
                result = ending.failed(entry, error, now, next_, output)
                await self.conclude(entry, e.JobFailed(entry.id, result))
            case AwaitsPerson(why, next_):
                await self.writer.append(e.JobWaiting(entry.id, why, next_))
                with suppress(*UNASKABLE):
                    await asking.ask(asking.source.progress(job, Note("waiting", why, waiting=True)))
            case TryAgain(why, seconds, everybody):
                await self._postpone(entry, why, seconds, now)
                if everybody:
                    self._shut_until(entry.until, why)
            case Died(evidence, progressed, seen):
                times = 1 if progressed else len(entry.evidence) + 1  # those elsewhere slow nothing down
                until = now + self.policy.pause(entry.id, times)
                await self.writer.append(e.JobDied(entry.id, evidence, progressed, until, seen))
            case Stopped() if self.stopping():
                await self.give_back(entry, asking, STOPPED)
            case Stopped():
                await self._postpone(entry, "its worker was stopped", None, now)
            case _:
                assert_never(outcome)

    def _shut_until(self, until: float, why: str) -> None:
        if not any(self._shut):
            self.say(f"{why}. Until that is over no other task is begun; it is tried again by and by.")
        self._shut = self.clock.now(), until

    async def _postpone(self, entry: Entry, why: str, seconds: float | None, now: float) -> None:
        pause = self.policy.pause(entry.id, entry.postponed + 1) if seconds is None else max(seconds, 1.0)
        await self.writer.append(e.JobPostponed(entry.id, why, now + pause))

    # --- the end -------------------------------------------------------------------------------------------

    async def conclude(self, entry: Entry, event: e.JobCompleted | e.JobFailed) -> None:
        """Journal a result, then write its file: killed in between, it is written at the next start."""
        await self.writer.append(event)
        self.write(entry)

    def write(self, entry: Entry) -> bool:
        """Write the result's file, once; return whether it stands. The report tries again what the disk refuses."""
        if entry.result is None:
            return False
        try:
            if not self.results.ended(entry.id):  # ours, or of a monitor that took it over while we were dead
                self.results.write(entry.result, ending.job_of(entry))
        except StoreError as error:
            if not self.unwritable:
                self.say(f"The result of {entry.id} waits, and others with it: {error}")
            self.unwritable = True
            return False
        if self.unwritable:
            self.unwritable = False
            self.say("Results can be written again.")
        return True

    async def give_up(self, entry: Entry, why: str) -> None:
        """Let a job fail that is tried no more."""
        result = ending.failed(entry, why, self.clock.now())
        await self.conclude(entry, e.JobFailed(entry.id, result))

    async def give_back(self, entry: Entry, asking: Asking, why: str) -> None:
        """Let anybody take a job of ours: journalled first, so that a kill in between only leaves the claim ours."""
        job = ending.job_of(entry)
        self.ours.discard(entry.id)
        await self.writer.append(e.JobGivenBack(entry.id, why))
        with suppress(*UNASKABLE):
            await asking.ask(asking.source.give_back(job, why))


@asynccontextmanager
async def _forwarded(
    job: Job, asking: Asking, place: Place, say: Callable[[str], None]
) -> AsyncIterator[Callable[[Note], None]]:
    """Hand notes on to the source while a job is worked: the newest, one call at a time, and never in its way."""
    news = asyncio.Event()

    def tell(note: Note) -> None:
        place.note = note
        news.set()

    async def forward() -> None:
        while True:
            await news.wait()
            news.clear()
            try:
                if asking.ready and place.note is not None:
                    await asking.ask(asking.source.progress(job, place.note))
            except UNASKABLE:
                pass
            except Exception as error:  # noqa: BLE001 - what is told of a job never decides how it ends
                say(f"A note of {job.id} could not be passed on: {error!r}.")

    task = asyncio.create_task(forward())
    try:
        yield tell
    finally:
        task.cancel()
        await asyncio.wait([task])
