"""What users of other orchestrators suffer, as far as a monitor could do it to them: none of it happens here."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil

from claudetm.intake.monitor import Ending
from claudetm.intake.policy import MonitorPolicy
from claudetm.ports.dispatch import AwaitsPerson, Died, Done, Failed, Stopped, TryAgain, WorkOutcome
from claudetm.ports.source import Job, Output, Status
from claudetm.testing.memory_dispatch import Working
from claudetm.testing.virtual_time import run
from crash import monitor_driver
from monitor_world import Killed, Life, MonitorWorld, started, stopped, until

NIGHT = 5 * 3600.0
DONE = Done(Output("It is done.", cost_usd=1.0))


def for_seconds(seconds: float, then: WorkOutcome = DONE) -> MonitorWorld:
    """A world whose workers work so long, and heed a stop."""

    async def script(working: Working) -> WorkOutcome:
        try:
            async with asyncio.timeout(seconds):
                await working.stop.wait()
        except TimeoutError:
            return then
        return Stopped()

    return MonitorWorld(script)


def test_a_restart_loses_neither_work_nor_money() -> None:
    """The worker outlives a killed monitor, is found again, and nothing is begun twice."""

    async def main() -> None:
        world = for_seconds(600)
        for id_ in ("a", "b"):
            world.place.add(id_)
        for _ in range(5):
            life = Life()
            running = started(world.monitor(life=life))
            await until(lambda: world.dispatch.living)
            life.at = len(life.points) + 1
            world.place.add(f"wakes-{len(world.place.items)}")
            await asyncio.wait([running])
            assert isinstance(running.exception(), Killed)
        running = started(monitor := world.monitor())
        await until(lambda: len(world.results.kept) == 7)
        await stopped(monitor, running)
        assert sorted(world.dispatch.began) == sorted(world.place.items)
        assert sum(r.output.cost_usd for r in world.results.kept.values()) == 7.0

    run(main())


def test_no_task_is_dispatched_twice_whatever_wakes_the_monitor() -> None:
    async def main() -> None:
        world = for_seconds(20)
        world.policy = MonitorPolicy(poll=0.5)
        monitors = [world.monitor(name) for name in ("one", "two")]
        running = [started(m) for m in monitors]
        for n in range(10):
            world.place.add(f"t{n}")
            for _ in range(20):
                world.place.wake()
                await asyncio.sleep(0.1)
        await until(lambda: len(world.results.kept) == 10)
        for monitor, task in zip(monitors, running, strict=True):
            await stopped(monitor, task)
        assert sorted(world.dispatch.began) == [f"t{n}" for n in range(10)]
        assert all(len(item.claims) == 1 for item in world.place.items.values())

    run(main())


def test_a_hang_is_seen_and_said() -> None:
    """The view names the source, the log says it once, and the other tasks go on."""

    async def main() -> None:
        world = for_seconds(1)
        world.place.hung = True
        running = started(monitor := world.monitor())
        await asyncio.sleep(200)
        assert world.state["sources"] == {"memory": "memory did not answer within 90 s."}
        assert len(world.said) == 1
        await stopped(monitor, running)

    run(main())


def test_a_worker_that_ends_without_a_word_has_done_nothing() -> None:
    """Exit code 0 or not: only an outcome completes a task."""

    async def main() -> None:
        world = for_seconds(1, Died("It ended with exit code 0 and left no outcome."))
        world.place.add("a")
        running = started(monitor := world.monitor())
        await until(lambda: world.results.kept)
        await stopped(monitor, running)
        assert world.results.kept["a"].status is Status.FAILED
        assert "left no outcome" in world.errors["a"]

    run(main())


def test_a_usage_limit_does_not_cost_the_night() -> None:
    """Every task waits for the reset and is done then; none has failed, none was tried in between."""

    async def script(_working: Working) -> WorkOutcome:
        limit = world.clock.began + NIGHT - world.clock.now()
        return TryAgain("The usage limit is reached.", limit) if limit > 0 else DONE

    async def main() -> None:
        for n in range(6):
            world.place.add(f"t{n}")
        running = started(monitor := world.monitor())
        await until(lambda: len(world.results.kept) == 6)
        await stopped(monitor, running)
        assert {r.status for r in world.results.kept.values()} == {Status.COMPLETED}
        assert len(world.dispatch.began) == 12
        assert world.dispatch.began[6:] == [f"t{n}" for n in range(6)]  # in order again

    world = MonitorWorld(script, tick=10.0)
    run(main())


def test_a_task_that_keeps_killing_its_worker_costs_three_workers_and_no_more() -> None:
    async def main() -> None:
        world = for_seconds(1, Died("signal 9 (out of memory)"))
        world.tick = 10.0
        world.place.add("a")
        running = started(monitor := world.monitor())
        await asyncio.sleep(100_000)
        await stopped(monitor, running)
        assert world.dispatch.began == ["a"] * 3
        assert world.results_of("a") == ["failed"]

    run(main())


def test_a_failed_task_is_not_taken_again_by_itself() -> None:
    """What cannot be done is not paid for night after night; a person may retry it."""

    async def main() -> None:
        world = for_seconds(1, Failed("The checks fail."))
        world.tick = 10.0
        world.place.add("a")
        running = started(monitor := world.monitor())
        await asyncio.sleep(50_000)
        await stopped(monitor, running)
        assert world.dispatch.began == ["a"]

    run(main())


def test_what_was_created_while_nobody_listened_is_run() -> None:
    """Before the start, and while every hint is lost."""

    async def main() -> None:
        world = for_seconds(1)
        world.place.add("before")
        running = started(monitor := world.monitor())
        await until(lambda: world.results.kept)
        world.place._hints.clear()
        world.place.add("unheard")
        await until(lambda: len(world.results.kept) == 2, 60)
        await stopped(monitor, running)

    run(main())


def test_a_place_that_cannot_be_read_is_not_an_empty_one() -> None:
    """What waits in the queue stays there while the source answers with errors, and is not asked for meanwhile."""

    async def main() -> None:
        world = for_seconds(5)
        for n in range(4):
            world.place.add(f"t{n}")
        running = started(monitor := world.monitor())
        await until(lambda: world.queue().size == 3)
        world.place.busy_until = world.clock.now() + 3600
        await asyncio.sleep(200)
        assert [entry.id for entry in world.queue().line()] == ["t1", "t2", "t3"]
        calls = len(world.place.calls)
        await asyncio.sleep(3000)
        assert len(world.place.calls) == calls  # a used-up quota is left alone until it is reset
        await until(lambda: len(world.results.kept) == 4)
        await stopped(monitor, running)

    run(main())


def test_a_task_changed_while_it_waits_is_worked_as_it_is_when_it_is_claimed() -> None:
    """Text and settings are read with the claim, and stay as they were then, whatever is edited afterwards."""
    seen: list[Job] = []

    async def script(working: Working) -> WorkOutcome:
        seen.append(working.job)
        await asyncio.sleep(60)
        return TryAgain("Not now.") if working.job.id == "b" and working.attempt == 1 else DONE

    async def main() -> None:
        world = MonitorWorld(script)
        for id_ in ("a", "b"):
            world.place.add(id_, settings={"merge.auto": True})
        running = started(monitor := world.monitor())
        await until(lambda: world.queue().size == 1)
        item = world.place.items["b"]
        item.job = replace(item.job, text="Better words.", settings={"merge.auto": False})
        await until(lambda: len(seen) == 2)
        item.job = replace(item.job, text="Too late.", settings={"merge.auto": True})
        await until(lambda: len(world.results.kept) == 2)
        await stopped(monitor, running)
        assert [(j.text, j.settings["merge.auto"]) for j in seen[1:]] == [("Better words.", False)] * 2

    run(main())


def test_stop_then_start_carries_on_and_a_stop_leaves_no_worker() -> None:
    async def main() -> None:
        world = for_seconds(30)
        world.policy = MonitorPolicy(grace=1)
        world.place.add("a")
        for _ in range(3):
            running = started(monitor := world.monitor())
            await until(lambda: world.dispatch.living)
            assert (await stopped(monitor, running)).ending is Ending.STOPPED
            assert world.dispatch.living == []
        running = started(monitor := world.monitor())
        await until(lambda: world.results.kept)
        await stopped(monitor, running)
        assert world.results_of("a") == ["completed"]

    run(main())


def test_a_task_that_waits_for_a_review_does_not_hold_up_the_night() -> None:
    async def main() -> None:
        world = for_seconds(1, AwaitsPerson("A review is wanted."))
        for n in range(5):
            world.place.add(f"t{n}")
        running = started(monitor := world.monitor())
        await until(lambda: len(world.dispatch.began) == 5, 100)
        await stopped(monitor, running)
        assert world.results.kept == {}

    run(main())


def test_with_no_standard_input_it_takes_no_processor_and_leaves_no_process(tmp_path: Path) -> None:
    """As under nohup, cron or a service."""
    (tmp_path / "tasks").mkdir()
    command = [sys.executable, monitor_driver.__file__, str(tmp_path), "30"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True) as process:
        until_ = time.monotonic() + 30
        while not (tmp_path / "state" / "queue_state.json").exists():
            assert time.monotonic() < until_
            time.sleep(0.05)
        time.sleep(1)
        at = psutil.Process(process.pid)
        before = sum(at.cpu_times()[:2])
        time.sleep(3)
        assert sum(at.cpu_times()[:2]) - before < 0.15
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    left = [p.pid for p in psutil.process_iter() if _session(p.pid) == process.pid]
    assert left == []


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0
