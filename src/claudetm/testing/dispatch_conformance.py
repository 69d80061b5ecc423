"""What every `Dispatch` owes the monitor, as tests over a world that a fixture builds around one.

Subclass in a test module, give it a fixture `world`, and mark the module with `pytest.mark.anyio`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from claudetm.ports.dispatch import AwaitsPerson, Died, Dispatch, Done, Failed, Stopped, TryAgain, WorkOutcome
from claudetm.ports.source import Job, Note

PLAYS = ("done", "failed", "awaits", "busy", "hangs", "dies")
"""What a worker can be told to do: be done, fail, wait for a person, find the forge busy, hang until it is stopped
or told to go on, end without a word. Each tells a note first."""


_TWO = 2  # workers, one after the other


class DispatchWorld(Protocol):
    """A machine that workers run on, and the monitors that dispatch them."""

    def dispatch(self) -> Dispatch:
        """Return the dispatch of a monitor that has just started; what ran before, runs."""
        ...

    def job(self, name: str = "a") -> Job:
        """Return a job that can be worked."""
        ...

    def script(self, job: Job, *plays: str) -> None:
        """Say what the next workers of the job do, one after the other, as `PLAYS` names it."""
        ...

    def begun(self, job: Job) -> int:
        """Return how many workers of the job have begun."""
        ...

    async def running(self, job: Job) -> None:
        """Return once a worker of the job hangs."""
        ...

    async def go_on(self, job: Job) -> None:
        """Let the worker that hangs be done."""
        ...

    async def kill(self, job: Job) -> None:
        """End the worker that hangs as `kill -9` does."""
        ...

    async def carry_on(self, job: Job) -> None:
        """Do as a person what the job waits for."""
        ...


def nobody(_note: Note) -> None:
    """Listen to nothing."""


async def worked(world: DispatchWorld, job: Job, told: Callable[[Note], None] = nobody) -> WorkOutcome:
    """Work a job by a monitor of its own, to its end."""
    return await world.dispatch().work(job, told, asyncio.Event())


class DispatchConformance:
    """The tests."""

    async def test_a_job_is_worked(self, world: DispatchWorld) -> None:
        """Its output tells the run, and a note was told."""
        job, notes = world.job(), list[Note]()
        world.script(job, "done")
        outcome = await worked(world, job, notes.append)
        assert isinstance(outcome, Done)
        assert outcome.output.run
        assert outcome.output.summary
        assert notes
        assert all(note.stage and note.text for note in notes)

    async def test_what_it_came_to_is_found_again(self, world: DispatchWorld) -> None:
        """A monitor that was killed before it wrote the outcome down asks again; nothing is done twice."""
        for play in ("done", "failed", "awaits"):
            job = world.job(play)
            world.script(job, play)
            first = await worked(world, job)
            assert await worked(world, job) == first
            assert world.begun(job) == 1

    async def test_a_job_that_fails_says_why_and_what_helps(self, world: DispatchWorld) -> None:
        """Both are words for people."""
        job = world.job()
        world.script(job, "failed")
        outcome = await worked(world, job)
        assert isinstance(outcome, Failed)
        assert outcome.error
        assert outcome.next

    async def test_a_retry_begins_where_the_job_stands(self, world: DispatchWorld) -> None:
        """What held it is lifted, once."""
        job = world.job()
        world.script(job, "failed", "done")
        await worked(world, job)
        await world.dispatch().retry(job)
        assert isinstance(await worked(world, job), Done)
        assert world.begun(job) == _TWO

    async def test_a_job_that_waits_for_a_person_runs_no_process(self, world: DispatchWorld) -> None:
        """It is carried on once that person has seen to it."""
        job = world.job()
        world.script(job, "awaits", "done")
        outcome = await worked(world, job)
        assert isinstance(outcome, AwaitsPerson)
        assert await world.dispatch().awaits(job) == outcome
        await world.carry_on(job)
        assert await world.dispatch().awaits(job) is None
        assert isinstance(await worked(world, job), Done)

    async def test_a_job_that_waits_for_nobody_is_not_awaited(self, world: DispatchWorld) -> None:
        """Neither one that was never worked, nor one that is done."""
        job = world.job()
        assert await world.dispatch().awaits(job) is None
        world.script(job, "done")
        await worked(world, job)
        assert await world.dispatch().awaits(job) is None

    async def test_what_passes_is_no_fault_of_the_job(self, world: DispatchWorld) -> None:
        """It is tried again, and then done."""
        job = world.job()
        world.script(job, "busy", "done")
        outcome = await worked(world, job)
        assert isinstance(outcome, TryAgain)
        assert outcome.why
        assert isinstance(await worked(world, job), Done)

    async def test_a_stop_ends_it_and_the_next_work_carries_on(self, world: DispatchWorld) -> None:
        """No worker is left."""
        job, stop = world.job(), asyncio.Event()
        world.script(job, "hangs", "done")
        at_work = asyncio.ensure_future(world.dispatch().work(job, nobody, stop))
        await world.running(job)
        stop.set()
        assert await at_work == Stopped()
        assert isinstance(await worked(world, job), Done)
        assert world.begun(job) == _TWO

    async def test_a_stop_before_it_begins_begins_nothing(self, world: DispatchWorld) -> None:
        """Nothing has happened then."""
        job, stop = world.job(), asyncio.Event()
        stop.set()
        assert await world.dispatch().work(job, nobody, stop) == Stopped()
        assert world.begun(job) == 0

    async def test_a_worker_outlives_its_monitor_and_is_found_again(self, world: DispatchWorld) -> None:
        """The next monitor waits for it and is told what the first one would have been."""
        job, notes = world.job(), list[Note]()
        world.script(job, "hangs")
        first = asyncio.ensure_future(world.dispatch().work(job, nobody, asyncio.Event()))
        await world.running(job)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        second = asyncio.ensure_future(world.dispatch().work(job, notes.append, asyncio.Event()))
        await asyncio.sleep(0.05)
        await world.go_on(job)
        assert isinstance(await second, Done)
        assert world.begun(job) == 1
        assert notes

    async def test_two_at_once_have_one_worker(self, world: DispatchWorld) -> None:
        """Both learn what it came to."""
        job = world.job()
        world.script(job, "hangs")
        both = [asyncio.ensure_future(worked(world, job)) for _ in range(2)]
        await world.running(job)
        await asyncio.sleep(0.05)
        await world.go_on(job)
        outcomes = await asyncio.gather(*both)
        assert all(isinstance(outcome, Done) for outcome in outcomes)
        assert world.begun(job) == 1

    async def test_jobs_are_worked_side_by_side(self, world: DispatchWorld) -> None:
        """One that hangs stands in no other's way."""
        one, other = world.job("one"), world.job("other")
        world.script(one, "hangs")
        world.script(other, "done")
        first = asyncio.ensure_future(worked(world, one))
        await world.running(one)
        assert isinstance(await worked(world, other), Done)
        await world.go_on(one)
        assert isinstance(await first, Done)

    async def test_a_worker_that_is_killed_leaves_evidence_and_is_replaced(self, world: DispatchWorld) -> None:
        """The death is told once."""
        job = world.job()
        world.script(job, "hangs", "done")
        first = asyncio.ensure_future(worked(world, job))
        await world.running(job)
        await world.kill(job)
        outcome = await first
        assert isinstance(outcome, Died)
        assert outcome.evidence
        assert isinstance(await worked(world, job), Done)
        assert world.begun(job) == _TWO

    async def test_a_death_that_no_monitor_saw_is_told_to_the_next(self, world: DispatchWorld) -> None:
        """Else a job that kills its worker, and the monitor too, would do so for ever."""
        job = world.job()
        world.script(job, "hangs", "done")
        first = asyncio.ensure_future(worked(world, job))
        await world.running(job)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await world.kill(job)
        assert isinstance(await worked(world, job), Died)
        assert isinstance(await worked(world, job), Done)

    async def test_a_job_that_is_forgotten_can_be_worked_anew(self, world: DispatchWorld) -> None:
        """Forgetting is idempotent, and needs nothing to be there."""
        job = world.job()
        await world.dispatch().forget(job)
        world.script(job, "done", "done")
        await worked(world, job)
        for _ in range(2):
            await world.dispatch().forget(job)
        assert isinstance(await worked(world, job), Done)
        assert world.begun(job) == _TWO
