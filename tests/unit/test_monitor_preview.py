"""What a dry run says would be taken is what a monitor takes, in its order; and the view tells what is left."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from claudetm.bootstrap.monitor import policy
from claudetm.bootstrap.monitor_settings import monitor_settings
from claudetm.intake.monitor import Ending
from claudetm.intake.policy import MonitorPolicy
from claudetm.intake.preview import preview
from claudetm.intake.queue import Queue
from claudetm.ports.dispatch import TryAgain, WorkOutcome
from claudetm.ports.source import Lane, Offer
from claudetm.testing.memory_dispatch import Working, at_once
from claudetm.testing.memory_source import MemorySource
from claudetm.testing.virtual_time import run
from monitor_world import MonitorWorld, started, until


def told(queue: Queue, *listed: tuple[str, list[Offer]], ended: tuple[str, ...] = ()) -> dict[str, str]:
    """Return by task, in the order told, "goes on", "taken" or why not."""
    found = preview(queue, listed, lambda job: job in ended)
    return {p.offer.id: "goes on" if p.held else p.offer.why_not or "taken" for p in found}


def test_a_preview_is_what_the_monitor_then_does() -> None:
    async def slow(working: Working) -> WorkOutcome:
        await asyncio.sleep(60)
        return await at_once(working)

    async def main() -> None:
        world = MonitorWorld(slow)
        world.place.add("first")
        killed = started(world.monitor())
        await until(lambda: world.dispatch.began)
        world.place.add("queued")
        await until(lambda: "queued" in world.queue().jobs)
        killed.cancel()
        with suppress(asyncio.CancelledError):
            await killed

        world.place.add("late")
        world.place.add("urgent", priority=-5)
        world.place.add("odd", why_not="it is odd")
        source = MemorySource(world.place, "one")
        offers = list(await source.list())
        said = told(world.queue(), (source.name, offers))
        assert said == {
            "first": "goes on",
            "urgent": "taken",
            "queued": "taken",
            "late": "taken",
            "odd": "it is odd",
        }
        assert told(world.queue(), (source.name, offers), ended=("late",))["late"] == "it has its result already"

        world.policy = MonitorPolicy(once=True)
        await world.monitor().run()
        assert world.dispatch.ended == ["first", "urgent", "queued", "late"]
        [left] = world.state["not_taken"]
        assert left == {"task_id": "odd", "source": source.name, "why": "it is odd"}

    run(main())


def test_two_sources_with_one_name_have_one_task() -> None:
    one, two = [Offer("a"), Offer("b")], [Offer("a"), Offer("\n")]
    said = told(Queue(), ("directory", one), ("github", two))
    assert list(said.values()) == [
        "it is a task of directory",
        "taken",
        "its name holds a character that cannot be shown",
    ]


def test_the_option_for_how_many_at_a_time_is_that_of_the_lane() -> None:
    assert policy(monitor_settings({"monitor.jobs": 3})).lanes == {Lane.WORK: 3, Lane.TALK: 1}


def test_once_says_what_it_leaves_behind() -> None:
    async def later(working: Working) -> WorkOutcome:
        return TryAgain("The disk is full.", 500) if working.job.id == "a" else await at_once(working)

    async def main() -> None:
        world = MonitorWorld(later, MonitorPolicy(once=True))
        world.place.add("b")
        assert (await world.monitor().run()).sentence == ""
        world.place.add("a")
        ended = await world.monitor().run()
        assert (ended.ending, ended.code) == (Ending.DONE, 0)
        assert ended.sentence == (
            "all that could be done now is done; of the rest 1 is tried again at a next start: "
            "claudetm monitor status"
        )

    run(main())
