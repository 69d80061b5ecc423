"""A monitor killed at every record and every effect in turn: one result each, never two at once, order kept."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claudetm.intake.monitor import Monitor
from claudetm.intake.policy import MonitorPolicy
from claudetm.intake.queue import Entry, survivors
from claudetm.ports.dispatch import AwaitsPerson, Died, Done, Failed, Stopped, TryAgain, WorkOutcome
from claudetm.ports.source import Output
from claudetm.testing.memory import MemoryJournal
from claudetm.testing.memory_dispatch import Working
from claudetm.testing.virtual_time import run
from monitor_world import Killed, Life, MonitorWorld, started, until

pytestmark = pytest.mark.sweep

POLICY = MonitorPolicy(poll=5, retry_first=2, keep=5, grace=5, stopping=20)
JOBS = ("done", "dies", "asks", "fails", "later", "last")


async def _play(working: Working) -> WorkOutcome:
    """Work a second, end as the job's name says; heed a stop."""
    try:
        async with asyncio.timeout(1):
            await working.stop.wait()
    except TimeoutError:
        return _outcome(working)
    return Stopped()


def _outcome(working: Working) -> WorkOutcome:
    first = working.attempt == 1
    match working.job.id.partition("-")[0]:
        case "dies" if first:
            return Died("signal 9")
        case "asks" if first:
            return AwaitsPerson("A review.")
        case "fails":
            return Failed("It cannot be done.")
        case "later" if first:
            return TryAgain("Not now.")
        case _:
            return Done(Output())


async def _till_all_have_results(world: MonitorWorld, first: Life | None = None) -> None:
    """Run monitors one after the other, the first with a life of its own, until each job has its result."""
    if first is not None:
        await _one_life(world, first)
    while not _all_over(world):
        await _one_life(world, Life())


async def _one_life(world: MonitorWorld, life: Life) -> None:
    monitor = world.monitor(life=life)
    running = started(monitor)
    await until(lambda: running.done() or (_answer(world) and _all_over(world)), 10_000)
    if not running.done():
        monitor.stop()
    try:
        await running
    except Killed:
        life.over = True
    await _compact(world)


def _answer(world: MonitorWorld) -> bool:
    for id_, item in world.place.items.items():
        if id_.startswith("asks") and not item.results and _waits(world, id_):
            world.dispatch.answer(id_)
    return True


def _waits(world: MonitorWorld, id_: str) -> bool:
    return isinstance(world.dispatch._outcomes.get(id_), AwaitsPerson)


def _all_over(world: MonitorWorld) -> bool:
    return all(i.results for i in world.place.items.values()) and not world.queue().jobs


def _check(world: MonitorWorld) -> None:
    assert {i: len(item.results) for i, item in world.place.items.items()} == dict.fromkeys(world.place.items, 1)
    assert world.results.kept == {i: item.results[0] for i, item in world.place.items.items()}
    assert world.dispatch.most <= 1
    assert list(dict.fromkeys(world.dispatch.began)) == list(world.place.items)
    queue = world.queue()
    assert queue.completed + queue.failed == len(world.place.items)


async def _compact(world: MonitorWorld) -> None:
    """Put a compacted journal in the place of the monitor's: it tells the same."""
    before, made = world.queue(), MemoryJournal()
    for record in survivors(MemoryJournal(world.lines["one"]).read):
        await made.append(record)
    world.lines["one"] = made.lines
    after = world.queue()
    assert (after.completed, after.failed, after.again) == (before.completed, before.failed, before.again)
    assert [_apart_from_order(x) for x in after.line()] == [_apart_from_order(x) for x in before.line()]
    assert [_apart_from_order(x) for x in after.held] == [_apart_from_order(x) for x in before.held]
    assert [_apart_from_order(x) for x in after.concluded] == [_apart_from_order(x) for x in before.concluded]
    assert len(made.lines) <= 1 + 12 * len(after.jobs)


def _apart_from_order(entry: Entry) -> Entry:
    return replace(entry, order=0)


def _world() -> MonitorWorld:
    world = MonitorWorld(_play, POLICY)
    for id_ in JOBS:
        world.place.add(id_)
    return world


def _points() -> list[str]:
    """The points that an undisturbed monitor passes."""

    async def main() -> list[str]:
        world, life = _world(), Life()
        await _till_all_have_results(world, life)
        _check(world)
        return life.points

    return run(main())


POINTS = _points()


def test_a_life_has_many_ends() -> None:
    assert len(POINTS) > 80
    assert {p.split(":")[1] for p in POINTS if not p.split(":")[1].isdigit()} == {"claim", "finish", "result"}


@pytest.mark.parametrize("at", range(1, len(POINTS) + 1))
def test_killed_there_the_next_monitor_comes_to_the_same_end(at: int) -> None:
    async def main() -> None:
        world = _world()
        await _till_all_have_results(world, Life(at))
        _check(world)

    run(main())


@pytest.mark.parametrize("at", range(1, len(POINTS) + 1, 3))
def test_killed_again_and_again_it_comes_to_the_same_end(at: int) -> None:
    async def main() -> None:
        world = _world()
        for further in (at, 2, 3, 5, 8):
            await _one_life(world, Life(further))
        await _till_all_have_results(world)
        _check(world)

    run(main())


# --- any order of offers, kills, stops -----------------------------------------------------------------------


@dataclass(frozen=True)
class Offer:
    kind: str


@dataclass(frozen=True)
class Pass:
    seconds: float


@dataclass(frozen=True)
class Kill:
    points: int


@dataclass(frozen=True)
class Stop:
    twice: bool


ACTIONS = st.one_of(
    st.builds(Offer, st.sampled_from(["done", "dies", "asks", "fails", "later"])),
    st.builds(Pass, st.sampled_from([0.0, 0.3, 1.0, 4.0, 40.0])),
    st.builds(Kill, st.integers(1, 12)),
    st.builds(Stop, st.booleans()),
)


class _Story:
    """One monitor after the other, as the actions say."""

    def __init__(self) -> None:
        self.world = MonitorWorld(_play, POLICY)
        self.life = Life()
        self.monitor: Monitor = self.world.monitor(life=self.life)
        self.running = started(self.monitor)

    async def act(self, action: Offer | Pass | Kill | Stop) -> None:
        match action:
            case Offer(kind):
                self.world.place.add(f"{kind}-{len(self.world.place.items)}")
            case Pass(seconds):
                await asyncio.sleep(seconds)
            case Kill(points):
                self.life.at = len(self.life.points) + points
            case Stop(twice):
                await self.stop(twice=twice)
        _answer(self.world)
        if self.running.done():
            await self.again()

    async def stop(self, *, twice: bool) -> None:
        self.monitor.stop()
        if twice:
            await asyncio.sleep(0.5)
            self.monitor.stop()
        await asyncio.wait([self.running])

    async def again(self) -> None:
        try:
            await self.running
        except Killed:
            self.life.over = True
        await _compact(self.world)
        self.life = Life()
        self.monitor = self.world.monitor(life=self.life)
        self.running = started(self.monitor)


@given(st.lists(ACTIONS, max_size=25))
@settings(max_examples=150, deadline=None)
def test_whatever_happens_in_whatever_order_each_task_has_one_result(
    actions: list[Offer | Pass | Kill | Stop],
) -> None:
    async def main() -> None:
        story = _Story()
        for action in actions:
            await story.act(action)
        story.life.at = 0
        await story.stop(twice=True)
        await story.again()
        await story.stop(twice=True)
        await _till_all_have_results(story.world, Life())
        _check(story.world)

    run(main())
