"""What every `Source` owes the monitor, as tests over a world that a fixture builds around one.

Subclass in a test module, give it a fixture `world`, and mark the module with `pytest.mark.anyio`. Where a place
cannot bring something about, its world raises `unittest.SkipTest` with the reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import unittest
from collections.abc import Sequence
from typing import Final, Protocol

from claudetm.ports.source import (
    Claimed,
    Gone,
    Job,
    Note,
    Offer,
    Output,
    Refused,
    Result,
    Source,
    SourceBusy,
    SourceRefused,
    Status,
    Taken,
    refuse_name,
)

HOSTILE: Final = (
    "---\ngoal: not front matter\n---\nreally",
    "`rm -rf /` $(reboot) ; /task-coordination & %s {0} {{x}} <script>alert(1)</script>",
    "<!-- claudetm:claim --> --> ]]> ``` ~~~ </untrusted> @everyone closes #1",
    "ünï 🎉 \u202eright to left\u202c \u2028 line \u2029 separators \x85 \x7f \x1b[31mred",
    "a tab\there, a return\r\nthere,  two blanks,\n\n\nempty lines",
    "null\ntrue\n- [ ] a box\n* * *",
)
"""Texts that a source hands on as they are, byte for byte."""

_MANY: Final = 25  # notes in a row
_RACES: Final = 5
_SPIN_SECONDS: Final = 0.2


class SourceWorld(Protocol):
    """A place that tasks come from, the monitors at it, and what people do there."""

    name: str
    """What `Source.name` says."""
    lease: float
    """Seconds after which a dead monitor's claim has passed over; 0 where it ends with its holder."""
    hints: float
    """Seconds of real time within which `hint` returns once something came; 0 where it may never return."""

    def source(self, monitor: str = "one") -> Source:
        """Return that monitor's source: the same one until it dies, then as it is opened after its restart.

        The monitor keeps who it is: what it claimed before its death is its own.
        """
        ...

    async def die(self, monitor: str = "one") -> None:
        """Let a monitor be killed: its source is never called again, nothing of it is closed in order."""
        ...

    async def wait(self, seconds: float) -> None:
        """Let time pass, for the source's clock at least."""
        ...

    async def add(self, text: str, title: str = "") -> str:
        """Add a task of somebody trusted, behind all that are there; return its job's id once it is listed.

        A source whose job's text is more than what was written gives it as `text_of`.
        """
        ...

    async def add_ineligible(self) -> str:
        """Add something that looks like a task and does not qualify; return its id."""
        ...

    async def withdraw(self, job: str) -> None:
        """Take a task away, as a person does: remove it, close it, take its label off."""
        ...

    async def end(self, job: Job, result: Result) -> None:
        """Do what a monitor does before it reports a result: `results/<id>.json` stands then."""
        ...

    def text_of(self, job: Job) -> str:
        """Return what of a claimed job is the text that was given to `add`."""
        ...

    async def reported(self, job: str) -> Sequence[Status]:
        """Return the results that can be read at the place: one entry for each report of one."""
        ...

    async def busy(self, seconds: float) -> None:
        """Make the place one that cannot be asked for so long. May raise SkipTest."""
        ...

    async def refuse(self) -> None:
        """Make the place one that lets nobody in. May raise SkipTest."""
        ...


def result_of(job: Job, status: Status = Status.COMPLETED, summary: str = "It is done.") -> Result:
    """Return how a job may have ended."""
    error = "" if status is Status.COMPLETED else "It cannot be done; claudetm explain tells more."
    output = Output(summary, "raw words", {"input_tokens": 3}, 0.25, run="r1")
    return Result(job.id, status, job.created, job.created + 1, job.created + 2, 1, output, error)


async def claimed(source: Source, job: str) -> Job:
    """Claim a job that must be had."""
    outcome = await source.claim(job)
    assert isinstance(outcome, Claimed), outcome
    return outcome.job


async def finish(world: SourceWorld, source: Source, job: Job, status: Status = Status.COMPLETED) -> None:
    """End a job as a monitor does: the result is written, then reported."""
    result = result_of(job, status)
    await world.end(job, result)
    await source.finish(job, result)


async def eligible(source: Source) -> list[str]:
    """Return the ids of what could be taken, in the order of the listing."""
    return [o.id for o in await source.list() if not o.why_not]


async def offer(source: Source, job: str) -> Offer:
    """Return one offer of the listing."""
    return next(o for o in await source.list() if o.id == job)


class SourceConformance:
    """The suite."""

    # --- listing -------------------------------------------------------------------------------------------

    async def test_an_empty_place_lists_nothing(self, world: SourceWorld) -> None:
        """And is no error."""
        assert list(await world.source().list()) == []
        assert world.source().name == world.name

    async def test_tasks_are_listed_in_the_order_in_which_they_came(self, world: SourceWorld) -> None:
        """Whatever their names are; listed again, nothing has changed."""
        ids = [await world.add(f"Task {n}", f"task {n * 7 % 5}") for n in range(5)]
        listed = list(await world.source().list())
        assert [o.id for o in listed] == ids
        assert [o.created for o in listed] == sorted(o.created for o in listed)
        assert all(o.created > 0 for o in listed)
        assert list(await world.source().list()) == listed

    async def test_a_name_can_name_a_result(self, world: SourceWorld) -> None:
        """The monitor names files by it."""
        first, second = await world.add("One"), await world.add("Two")
        assert first != second
        assert [refuse_name(first), refuse_name(second)] == ["", ""]

    async def test_what_does_not_qualify_is_listed_with_why_and_is_never_claimed(self, world: SourceWorld) -> None:
        """One clause, on one line; the others are taken."""
        odd, good = await world.add_ineligible(), await world.add("Do it")
        source = world.source()
        why = (await offer(source, odd)).why_not
        assert why
        assert "\n" not in why
        assert await eligible(source) == [good]
        assert isinstance(await source.claim(odd), Refused | Gone)
        await claimed(source, good)

    # --- claims --------------------------------------------------------------------------------------------

    async def test_a_claim_brings_the_whole_job(self, world: SourceWorld) -> None:
        """Its name, its text, where it is from and when it came."""
        id_ = await world.add("Make it so.", "A title")
        listed = await offer(world.source(), id_)
        job = await claimed(world.source(), id_)
        assert (job.id, job.source, world.text_of(job)) == (id_, world.name, "Make it so.")
        assert (job.title, job.created) == (listed.title, listed.created)

    async def test_hostile_texts_come_byte_for_byte(self, world: SourceWorld) -> None:
        """What is done about them is the prompt's business."""
        for text in HOSTILE:
            job = await claimed(world.source(), await world.add(text))
            assert world.text_of(job) == text

    async def test_what_one_has_claimed_is_taken_for_another(self, world: SourceWorld) -> None:
        """Who has it is said."""
        id_ = await world.add("Do it")
        job = await claimed(world.source("one"), id_)
        outcome = await world.source("two").claim(id_)
        assert isinstance(outcome, Taken)
        assert outcome.by
        assert await world.source("one").keep(job)

    async def test_ones_own_claim_is_claimed_again(self, world: SourceWorld) -> None:
        """Read anew, as after a kill between claim and journal."""
        id_ = await world.add("Do it")
        job = await claimed(world.source(), id_)
        assert await claimed(world.source(), id_) == job

    async def test_a_restarted_monitor_finds_its_claim(self, world: SourceWorld) -> None:
        """At once, not when the dead one's has run out."""
        id_ = await world.add("Do it")
        job = await claimed(world.source("one"), id_)
        await world.die("one")
        assert await claimed(world.source("one"), id_) == job
        assert await world.source("one").keep(job)
        assert isinstance(await world.source("two").claim(id_), Taken)

    async def test_two_that_race_never_both_have_it(self, world: SourceWorld) -> None:
        """Whoever is told Claimed keeps it."""
        for n in range(_RACES):
            id_ = await world.add(f"Do {n}")
            one, two = world.source("one"), world.source("two")
            outcomes = await asyncio.gather(one.claim(id_), two.claim(id_))
            winners = [(s, o.job) for s, o in zip((one, two), outcomes, strict=True) if isinstance(o, Claimed)]
            assert len(winners) <= 1, outcomes
            for source, job in winners:
                assert await source.keep(job)

    async def test_what_is_not_there_is_gone(self, world: SourceWorld) -> None:
        """A name that nothing has, and a task that a person took away."""
        id_ = await world.add("Do it")
        await world.withdraw(id_)
        assert id_ not in await eligible(world.source())
        outcome = await world.source().claim(id_)
        assert isinstance(outcome, Gone)
        assert outcome.why

    async def test_a_dead_monitors_claim_passes_over(self, world: SourceWorld) -> None:
        """Once its time is over; the dead one, come to life, learns that it has lost the job."""
        id_ = await world.add("Do it")
        lost = await claimed(world.source("one"), id_)
        await world.die("one")
        await world.wait(world.lease)
        assert id_ in await eligible(world.source("two"))
        job = await claimed(world.source("two"), id_)
        assert world.text_of(job) == "Do it"
        assert not await world.source("one").keep(lost)
        assert isinstance(await world.source("one").claim(id_), Taken)
        assert await world.source("two").keep(job)

    async def test_a_claim_that_is_kept_never_passes_over(self, world: SourceWorld) -> None:
        """However long the work takes."""
        id_ = await world.add("Do it")
        job = await claimed(world.source("one"), id_)
        for _ in range(6):
            await world.wait(world.lease / 2)
            assert await world.source("one").keep(job)
        assert isinstance(await world.source("two").claim(id_), Taken)

    # --- progress ------------------------------------------------------------------------------------------

    async def test_progress_is_told_as_often_as_one_likes(self, world: SourceWorld) -> None:
        """The job stays ours, whatever the notes say."""
        job = await claimed(world.source(), await world.add("Do it"))
        for n in range(_MANY):
            await world.source().progress(job, Note("working", HOSTILE[n % len(HOSTILE)], n / 10, waiting=n % 5 == 0))
        await world.source().progress(job, Note("reviewing", "A link", link="https://example.org/pull/1"))
        assert await world.source().keep(job)
        assert await world.reported(job.id) == []

    # --- the end -------------------------------------------------------------------------------------------

    async def test_a_finished_job_has_one_result_and_is_listed_no_more(self, world: SourceWorld) -> None:
        """Neither for us nor for others, and nobody can claim it."""
        id_ = await world.add("Do it")
        await finish(world, world.source("one"), await claimed(world.source("one"), id_))
        assert await world.reported(id_) == [Status.COMPLETED]
        for monitor in ("one", "two"):
            assert id_ not in [o.id for o in await world.source(monitor).list()]
            assert isinstance(await world.source(monitor).claim(id_), Gone)

    async def test_a_failed_job_has_ended_too(self, world: SourceWorld) -> None:
        """It is not taken anew by itself."""
        id_ = await world.add("Do it")
        await finish(world, world.source(), await claimed(world.source(), id_), Status.FAILED)
        assert await world.reported(id_) == [Status.FAILED]
        assert id_ not in await eligible(world.source())

    async def test_a_job_finished_again_has_one_result(self, world: SourceWorld) -> None:
        """Also by the monitor that was killed in between."""
        id_ = await world.add("Do it")
        job = await claimed(world.source(), id_)
        await finish(world, world.source(), job)
        await world.source().finish(job, result_of(job))
        await world.die()
        await world.source().finish(job, result_of(job))
        assert await world.reported(id_) == [Status.COMPLETED]

    async def test_a_late_note_brings_no_second_result(self, world: SourceWorld) -> None:
        """Nor does a claim given back too late make a task of it again."""
        id_ = await world.add("Do it")
        job = await claimed(world.source(), id_)
        await finish(world, world.source(), job)
        await world.source().progress(job, Note("working", "late"))
        await world.source().give_back(job, "late")
        assert await world.reported(id_) == [Status.COMPLETED]
        assert id_ not in await eligible(world.source())

    async def test_what_is_given_back_anybody_may_take(self, world: SourceWorld) -> None:
        """At once, and it has no result."""
        id_ = await world.add("Do it")
        job = await claimed(world.source("one"), id_)
        await world.source("one").give_back(job, "The monitor stops.")
        assert await world.reported(id_) == []
        assert id_ in await eligible(world.source("two"))
        again = await claimed(world.source("two"), id_)
        assert world.text_of(again) == "Do it"

    async def test_given_back_twice_it_is_not_taken_from_who_has_it_now(self, world: SourceWorld) -> None:
        """Giving back is made again after a kill."""
        id_ = await world.add("Do it")
        job = await claimed(world.source("one"), id_)
        await world.source("one").give_back(job, "The monitor stops.")
        others = await claimed(world.source("two"), id_)
        await world.source("one").give_back(job, "The monitor stops.")
        assert isinstance(await world.source("one").claim(id_), Taken)
        assert await world.source("two").keep(others)

    async def test_what_is_given_back_can_be_claimed_again_by_the_same(self, world: SourceWorld) -> None:
        """A stop is followed by a start."""
        id_ = await world.add("Do it")
        source = world.source()
        await source.give_back(await claimed(source, id_), "The monitor stops.")
        await finish(world, source, await claimed(source, id_))
        assert await world.reported(id_) == [Status.COMPLETED]

    # --- trouble -------------------------------------------------------------------------------------------

    async def test_a_place_that_cannot_be_asked_says_until_when(self, world: SourceWorld) -> None:
        """Nothing is lost by it: the claim is still ours afterwards."""
        id_ = await world.add("Do it")
        source = world.source()
        job = await claimed(source, id_)
        await world.busy(60)
        for call in (source.list(), source.claim(id_), source.finish(job, result_of(job))):
            try:
                await call
            except SourceBusy as busy:
                assert str(busy)  # noqa: PT017 - which of the calls is refused is asked of each
                assert busy.until > 0  # noqa: PT017 - the same
            else:
                raise AssertionError("the place was asked while it could not be")
        with contextlib.suppress(SourceBusy):  # it may also be passed over: progress never fails a job
            await source.progress(job, Note("working", "in between"))
        await world.wait(61)
        assert await claimed(source, id_) == job
        assert await world.reported(id_) == []

    async def test_a_place_that_lets_nobody_in_says_so(self, world: SourceWorld) -> None:
        """In a sentence of its own."""
        await world.add("Do it")
        source = world.source()
        await world.refuse()
        try:
            await source.list()
        except SourceRefused as refused:
            assert str(refused)  # noqa: PT017 - nothing follows it
        else:
            raise AssertionError("nobody is let in, and the source lists")

    # --- hints ---------------------------------------------------------------------------------------------

    async def test_a_hint_comes_when_something_has_come(self, world: SourceWorld) -> None:
        """Or never; then the sweep finds it."""
        if not world.hints:
            raise unittest.SkipTest("this source gives no hints")
        source = world.source()
        await source.list()
        hint = asyncio.ensure_future(source.hint())
        await asyncio.sleep(0.1)
        id_ = await world.add("Do it")
        await asyncio.wait_for(hint, world.hints)
        assert id_ in await eligible(source)

    async def test_hints_do_not_spin(self, world: SourceWorld) -> None:
        """Where nothing comes, it waits, and lets itself be cancelled."""
        await world.add("Do it")
        source = world.source()
        await source.list()
        returned = 0
        try:
            async with asyncio.timeout(_SPIN_SECONDS):
                while True:
                    await source.hint()
                    returned += 1
                    assert returned < _MANY
        except TimeoutError:
            pass
        assert await eligible(source)

    async def test_closing_keeps_claims(self, world: SourceWorld) -> None:
        """The monitor starts again and carries on."""
        id_ = await world.add("Do it")
        await claimed(world.source("one"), id_)
        await world.source("one").close()
        await world.die("one")
        await claimed(world.source("one"), id_)
