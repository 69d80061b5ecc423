"""Several monitors at one place, killed and stopped in any order: one result a task, never two workers at one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claudetm.intake.policy import MonitorPolicy
from claudetm.ports.dispatch import Died, Done, Failed, Stopped, WorkOutcome
from claudetm.ports.source import Output
from claudetm.testing.memory import no_fault
from claudetm.testing.memory_dispatch import Working
from claudetm.testing.virtual_time import run
from monitor_world import Killed, Life, MonitorWorld, started, stopped, until

pytestmark = pytest.mark.sweep

POLICY = MonitorPolicy(poll=5, retry_first=2, keep=5, grace=5, stopping=20)
MONITORS = ("one", "two", "three")
LEASE = 60.0


async def _play(working: Working) -> WorkOutcome:
    try:
        async with asyncio.timeout(3):
            await working.stop.wait()
    except TimeoutError:
        if working.job.id.startswith("dies") and working.attempt == 1:
            return Died("signal 9")
        return Failed("It cannot be done.") if working.job.id.startswith("fails") else Done(Output())
    return Stopped()


@dataclass(frozen=True)
class Act:
    """What happens: to which monitor, and after how many seconds."""

    what: str
    monitor: str
    seconds: float


ACTS = st.builds(
    Act,
    st.sampled_from(["offer", "offer", "fails", "dies", "kill", "stop", "begin"]),
    st.sampled_from(MONITORS),
    st.sampled_from([0.0, 0.4, 2.0, 7.0, LEASE + 1]),
)


class _Together:
    """The monitors that run, over one world: as on one machine, they find each other's workers."""

    def __init__(self) -> None:
        self.world = MonitorWorld(_play, POLICY)
        self.world.place.lease = LEASE
        self.running: dict[str, tuple[Life, asyncio.Task[object], object]] = {}

    def begin(self, name: str) -> None:
        if name not in self.running:
            life = Life()
            monitor = self.world.monitor(name, life)
            # a monitor dies at a record of its own; the place is all monitors'
            self.world.place.faults = self.world.results.faults = no_fault
            task = asyncio.get_running_loop().create_task(monitor.run())
            self.running[name] = life, task, monitor.stop

    async def act(self, act: Act) -> None:
        match act.what:
            case "begin":
                self.begin(act.monitor)
            case "kill" if act.monitor in self.running:
                life, task, _ = self.running.pop(act.monitor)
                life.over = True
                task.cancel()
                await asyncio.wait([task])
            case "stop" if act.monitor in self.running:
                _, task, stop = self.running.pop(act.monitor)
                assert callable(stop)
                stop()
                await asyncio.wait([task])
            case "offer" | "fails" | "dies":
                self.world.place.add(f"{act.what}-{len(self.world.place.items)}")
            case _:
                pass
        await asyncio.sleep(act.seconds)

    def over(self) -> bool:
        return all(item.results for item in self.world.place.items.values())


@given(st.lists(ACTS, max_size=20))
@settings(max_examples=100, deadline=None)
def test_whoever_dies_or_stops_each_task_has_one_result(acts: list[Act]) -> None:
    async def main() -> None:
        together = _Together()
        for act in acts:
            await together.act(act)
        for name in MONITORS:
            together.begin(name)
        await until(together.over, 5000)
        await asyncio.sleep(30)
        for name in MONITORS:
            await together.act(Act("stop", name, 0))
        world = together.world
        assert all(len(item.results) == 1 for item in world.place.items.values())
        # what the files say is what the place was told
        assert {i: r.status for i, r in world.results.kept.items()} == {
            i: item.results[0].status for i, item in world.place.items.items()
        }
        assert not world.dispatch.living
        assert all(not world.queue(name).jobs for name in MONITORS)

    run(main())


def test_a_killed_monitor_is_dropped_at_once() -> None:
    async def main() -> None:
        world = MonitorWorld(_play, POLICY)
        world.place.add("offer-0")
        life = Life(at=4)
        running = started(world.monitor(life=life))
        await asyncio.wait([running])
        assert isinstance(running.exception(), Killed)
        assert len(life.points) == 4

    run(main())


async def _points() -> list[str]:
    """The points that a monitor with one task passes."""
    world, life = MonitorWorld(), Life()
    world.place.add("a")
    running = started(monitor := world.monitor(life=life))
    await until(lambda: world.results.kept)
    await stopped(monitor, running)
    return life.points


def test_a_result_that_stands_is_not_written_over() -> None:
    """A monitor that was killed before it wrote one finds another's in its place, if that took the task over."""

    async def main() -> None:
        points = await _points()
        world = MonitorWorld()
        world.place.add("a")
        (killed,), _ = await asyncio.wait([started(world.monitor(life=Life(points.index("before:result:a") + 1)))])
        assert isinstance(killed.exception(), Killed)
        other = started(second := world.monitor("two"))
        await until(lambda: world.results.kept and not world.queue("two").jobs)
        await stopped(second, other)
        stood = world.results.kept["a"]
        again = started(first := world.monitor())
        await until(lambda: not world.queue().jobs)
        await stopped(first, again)
        assert world.results.kept["a"] is stood
        assert world.results_of("a") == ["completed"]

    run(main())
