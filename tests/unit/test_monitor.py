"""What the monitor does with each outcome of a job, with time, with stops: all in memory, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest

from claudetm.errors import StoreError
from claudetm.intake.asking import Asking
from claudetm.intake.commands import Hands, take
from claudetm.intake.monitor import Ending
from claudetm.intake.policy import MonitorPolicy
from claudetm.intake.queue import survivors
from claudetm.intake.writer import QueueWriter
from claudetm.ports.dispatch import AwaitsPerson, Died, Done, Failed, Stopped, TryAgain, WorkOutcome
from claudetm.ports.source import Claimed, ClaimOutcome, Job, Lane, Note, Offer, Output, Result, SourceBusy, Status
from claudetm.ports.store import Command
from claudetm.testing.memory import MemoryJournal
from claudetm.testing.memory_dispatch import Working
from claudetm.testing.memory_source import MemoryPlace, MemoryResults, MemorySource
from claudetm.testing.virtual_time import run
from monitor_world import MonitorWorld, started, stopped, until

ONCE = MonitorPolicy(once=True)


def outcomes(*each: WorkOutcome) -> MonitorWorld:
    """A world whose first worker ends in the first outcome, the second in the next, and so on."""

    async def script(working: Working) -> WorkOutcome:
        await asyncio.sleep(1)
        return each[min(working.attempt, len(each)) - 1]

    return MonitorWorld(script)


DONE = Done(Output("It is done.", "raw", {"input_tokens": 3}, 0.5, 90, "good"))


# --- order and ends ------------------------------------------------------------------------------------------


def test_once_works_all_that_is_due_in_order_and_ends() -> None:
    async def main() -> None:
        world = MonitorWorld(policy=ONCE)
        for n in range(5):
            world.place.add(f"t{n * 3 % 5}")
        ended = await world.monitor().run()
        assert (ended.ending, ended.code) == (Ending.DONE, 0)
        assert world.dispatch.began == ["t0", "t3", "t1", "t4", "t2"]
        assert world.dispatch.most == 1
        assert all(world.results_of(i) == ["completed"] for i in world.place.items)
        assert world.queue().jobs == {}
        assert (world.queue().completed, world.queue().failed) == (5, 0)

    run(main())


def test_the_more_urgent_goes_first_and_within_one_priority_the_earlier() -> None:
    async def main() -> None:
        world = MonitorWorld(policy=ONCE)
        for id_, priority in (("a", 0), ("b", 5), ("c", -1), ("d", 0), ("e", -1)):
            world.place.add(id_, priority=priority)
        await world.monitor().run()
        assert world.dispatch.began == ["c", "e", "a", "d", "b"]

    run(main())


def test_a_result_says_when_where_and_what() -> None:
    async def main() -> None:
        world = outcomes(DONE)
        world.policy = ONCE
        world.place.add("a")
        world.place.add("b")
        await world.monitor().run()
        result = world.results.kept["b"]
        assert (result.status, result.position, result.output, result.error) == (Status.COMPLETED, 2, DONE.output, "")
        assert result.created < result.started < result.completed
        assert result == world.place.items["b"].results[0]
        assert world.dispatch.forgotten == ["a", "b"]

    run(main())


def test_as_many_jobs_at_a_time_as_the_settings_say_and_talk_never_waits_behind_work() -> None:
    async def main() -> None:
        world = outcomes(DONE)
        world.policy = MonitorPolicy(once=True, lanes={Lane.WORK: 2, Lane.TALK: 1})
        for n in range(4):
            world.place.add(f"w{n}")
        world.place.add("talk", lane=Lane.TALK)
        await world.monitor().run()
        assert world.dispatch.most == 3
        assert world.dispatch.began[:3] == ["w0", "w1", "talk"]

    run(main())


def test_a_changed_priority_changes_the_place_in_the_queue() -> None:
    async def main() -> None:
        world = outcomes(DONE)
        running = started(monitor := world.monitor())
        for id_ in ("a", "b", "c"):
            world.place.add(id_)
        await until(lambda: world.dispatch.began)
        world.place.items["c"].priority = -1
        world.place.wake()
        await until(lambda: len(world.results.kept) == 3)
        assert world.dispatch.began == ["a", "c", "b"]
        await stopped(monitor, running)

    run(main())


# --- outcomes ------------------------------------------------------------------------------------------------


def test_a_failed_job_says_why_and_the_next_command() -> None:
    async def main() -> None:
        world = outcomes(Failed("The checks fail.", "claudetm --task a logs", Output("partly", cost_usd=2.0)))
        world.policy = ONCE
        world.place.add("a")
        await world.monitor().run()
        assert world.errors == {"a": "The checks fail. Next: claudetm --task a logs"}
        assert world.results_of("a") == ["failed"]
        assert world.results.kept["a"].output.cost_usd == 2.0
        assert world.dispatch.forgotten == ["a"]

    run(main())


def test_a_job_that_waits_for_a_person_stays_running_and_lets_others_go_on() -> None:
    async def main() -> None:
        world = outcomes(AwaitsPerson("A review is asked for.", "claudetm --task a resume"), DONE)
        world.place.add("a")
        world.place.add("b")
        running = started(monitor := world.monitor())
        await until(lambda: world.dispatch.began == ["a", "b"])
        await until(lambda: len(world.state["waiting"]) == 2)
        assert world.queue().jobs["a"].status is Status.RUNNING
        assert world.state["waiting"][0]["next"] == "claudetm --task a resume"
        assert world.place.items["a"].notes[-1] == Note("waiting", "A review is asked for.", waiting=True)
        world.dispatch.answer("a")
        await until(lambda: "a" in world.results.kept)
        assert world.results_of("a") == ["completed"]
        assert world.queue().jobs["b"].waiting
        await stopped(monitor, running)
        assert world.place.items["b"].holder == "one"  # it stays ours: its run is here

    run(main())


def test_a_job_that_waits_for_a_person_still_waits_after_a_restart() -> None:
    async def main() -> None:
        world = outcomes(AwaitsPerson("A review is asked for."), DONE)
        world.place.add("a")
        running = started(monitor := world.monitor())
        await until(lambda: world.queue().jobs.get("a") and world.queue().jobs["a"].waiting)
        await stopped(monitor, running)
        running = started(monitor := world.monitor())
        await asyncio.sleep(2000)
        assert world.dispatch.began == ["a"]
        assert world.place.items["a"].kept > world.clock.now() - 100  # its claim is kept all the while
        world.dispatch.answer("a")
        await until(lambda: "a" in world.results.kept)
        await stopped(monitor, running)

    run(main())


def test_what_passes_by_itself_is_tried_again_ever_more_slowly_and_not_counted_against_the_job() -> None:
    times: list[float] = []

    async def script(working: Working) -> WorkOutcome:
        times.append(asyncio.get_running_loop().time())
        return TryAgain("The disk is full.") if working.attempt < 12 else DONE

    async def main() -> None:
        world = MonitorWorld(script)
        world.place.add("a")
        running = started(monitor := world.monitor())
        await until(lambda: world.state["retrying"] if world.views.files else None)
        assert world.state["retrying"][0]["why"] == "The disk is full."
        await until(lambda: "a" in world.results.kept)
        await stopped(monitor, running)
        pauses = [b - a for a, b in pairwise(times)]
        assert 20 < pauses[0] < 45
        assert 40 < pauses[1] < 80
        assert max(pauses) <= 905
        assert pauses[-1] > 650
        assert world.results.kept["a"].retries == 11
        assert world.results_of("a") == ["completed"]

    run(main())


def test_while_the_service_turns_everybody_away_one_task_asks_and_the_others_are_not_begun() -> None:
    async def script(_working: Working) -> WorkOutcome:
        await asyncio.sleep(1)
        return TryAgain("Claude refused the credentials: claude login", everybody=True) if expired else DONE

    async def main() -> None:
        world = MonitorWorld(script)
        for id_ in ("a", "b", "c"):
            world.place.add(id_)
        running = started(monitor := world.monitor())
        await asyncio.sleep(20_000)
        assert set(world.dispatch.began) == {"a"}
        assert len(world.dispatch.began) > 10
        entry = world.queue().jobs["a"]
        assert (entry.status, entry.why) == (Status.RETRYING, "Claude refused the credentials: claude login")
        assert len([s for s in world.said if "no other task is begun" in s]) == 1
        expired.clear()
        world.inbox.send("retry", "c1", job="a")
        await until(lambda: len(world.results.kept) == 3, 60)
        assert {r.status for r in world.results.kept.values()} == {Status.COMPLETED}
        await stopped(monitor, running)

    expired = ["for weeks"]
    run(main())


def test_once_says_what_it_has_not_begun_as_the_service_turns_everybody_away() -> None:
    async def main() -> None:
        world = outcomes(TryAgain("no login", everybody=True))
        world.policy = ONCE
        for id_ in ("a", "b", "c"):
            world.place.add(id_)
        ended = await world.monitor().run()
        assert "1 is tried again at a next start, 2 are not begun" in ended.sentence

    run(main())


def test_others_go_on_while_one_is_tried_again() -> None:
    async def script(working: Working) -> WorkOutcome:
        return TryAgain("Not now.", 500) if working.job.id == "a" and working.attempt == 1 else DONE

    async def main() -> None:
        world = MonitorWorld(script)
        for id_ in ("a", "b", "c"):
            world.place.add(id_)
        running = started(monitor := world.monitor())
        await until(lambda: len(world.results.kept) == 3)
        assert world.dispatch.began == ["a", "b", "c", "a"]
        await stopped(monitor, running)

    run(main())


def test_a_clock_that_is_set_back_makes_nothing_wait_for_that_long() -> None:
    async def main() -> None:
        world = outcomes(TryAgain("Not now."), DONE)
        world.place.add("a")
        running = started(monitor := world.monitor())
        await until(lambda: world.views.files and world.state["retrying"])
        world.place.busy_until = world.clock.now() + 50
        world.place.wake()
        await until(lambda: world.said)
        world.clock.began -= 86_400
        world.place.busy_until = 0
        await until(lambda: "a" in world.results.kept, 200)
        await stopped(monitor, running)

    run(main())


def test_what_could_not_begin_for_a_day_has_failed() -> None:
    async def main() -> None:
        world = outcomes(TryAgain("No account is logged in."))
        world.tick = 30.0
        world.place.add("a")
        running = started(monitor := world.monitor())
        await until(lambda: "a" in world.results.kept, 200_000, step=60)
        assert world.clock.now() - world.clock.began >= 86_400
        assert "It could not begin for 24 hours; the last reason was: No account is logged in." in world.errors["a"]
        assert "claudetm monitor retry a" in world.errors["a"]
        await stopped(monitor, running)

    run(main())


def test_a_wait_of_more_than_a_day_is_waited_for() -> None:
    async def main() -> None:
        world = outcomes(TryAgain("The weekly limit is used up.", 100_000), DONE)
        world.tick = 30.0
        world.place.add("a")
        running = started(monitor := world.monitor())
        await until(lambda: "a" in world.results.kept, 200_000, step=60)
        assert world.results_of("a") == ["completed"]
        await stopped(monitor, running)

    run(main())


def test_three_deaths_in_a_row_quarantine_a_job_with_the_evidence_of_each_and_the_queue_goes_on() -> None:
    async def script(working: Working) -> WorkOutcome:
        await asyncio.sleep(1)
        return Died(f"signal 9, death {working.attempt}") if working.job.id == "bad" else DONE

    async def main() -> None:
        world = MonitorWorld(script)
        world.place.add("bad")
        world.place.add("good")
        running = started(monitor := world.monitor())
        await until(lambda: len(world.results.kept) == 2)
        assert world.dispatch.began == ["bad", "good", "bad", "bad"]
        assert world.results_of("bad") == ["failed"]
        error = world.errors["bad"]
        assert error.startswith("quarantined: 3 workers died in a row without progress.")
        assert all(f"[{n}] signal 9, death {n}" in error for n in (1, 2, 3))
        assert "claudetm monitor retry bad" in error
        await stopped(monitor, running)

    run(main())


def test_deaths_that_no_monitor_saw_are_forgiven_longer_but_not_for_ever() -> None:
    """Three stops that kill all at once blame nobody; a task that takes all down with it is set aside."""

    async def main() -> None:
        unseen = Died("it ended while no monitor ran", seen=False)
        world = outcomes(*[unseen] * 7, DONE)
        world.place.add("innocent")
        running = started(monitor := world.monitor())
        await until(lambda: "innocent" in world.results.kept)
        assert world.results_of("innocent") == ["completed"]
        world.place.add("guilty")
        world.script = world.dispatch.script = outcomes(*[unseen] * 9, DONE).script
        await until(lambda: "guilty" in world.results.kept)
        assert world.errors["guilty"].startswith(
            "quarantined: 8 workers died in a row without progress. [1] it ended"
        )
        await stopped(monitor, running)

    run(main())


def test_deaths_with_progress_between_them_quarantine_nothing() -> None:
    async def main() -> None:
        died, far = Died("signal 9"), Died("signal 9", progressed=True)
        world = outcomes(far, died, far, died, far, died, DONE)
        world.place.add("a")
        running = started(monitor := world.monitor())
        await until(lambda: "a" in world.results.kept)
        assert world.results_of("a") == ["completed"]
        assert world.results.kept["a"].retries == 6
        await stopped(monitor, running)

    run(main())


def test_monitors_that_died_elsewhere_count_but_three_say_nothing_of_the_task() -> None:
    async def main() -> None:
        world = MonitorWorld(policy=ONCE)
        world.place.add("a")
        world.place.add("b")
        world.place.items["a"].deaths = 8
        world.place.items["b"].deaths = 3
        await world.monitor().run()
        assert world.dispatch.began == ["b"]
        assert "quarantined" in world.errors["a"]

    run(main())


def test_a_bug_over_one_job_is_a_death_of_its_worker_and_the_monitor_lives() -> None:
    async def script(working: Working) -> WorkOutcome:
        if working.job.id == "bad":
            raise ZeroDivisionError("a bug")
        return DONE

    async def main() -> None:
        world = MonitorWorld(script)
        world.place.add("bad")
        world.place.add("good")
        running = started(monitor := world.monitor())
        await until(lambda: len(world.results.kept) == 2)
        assert "ZeroDivisionError: a bug" in world.errors["bad"]
        await stopped(monitor, running)

    run(main())


def test_a_worker_that_somebody_stopped_is_begun_again_after_a_pause() -> None:
    async def main() -> None:
        world = outcomes(Stopped(), DONE)
        world.place.add("a")
        running = started(monitor := world.monitor())
        await until(lambda: "a" in world.results.kept)
        assert world.results_of("a") == ["completed"]
        assert world.place.items["a"].given_back == []
        await stopped(monitor, running)

    run(main())


# --- claims --------------------------------------------------------------------------------------------------


def test_what_cannot_be_a_task_gets_a_failed_result_with_the_reason() -> None:
    async def main() -> None:
        world = MonitorWorld(policy=ONCE)
        world.place.add("bad", refused="line 3 of its front matter is no YAML")
        world.place.add("good")
        await world.monitor().run()
        assert "line 3 of its front matter is no YAML" in world.errors["bad"]
        assert world.results_of("good") == ["completed"]

    run(main())


def test_what_does_not_qualify_is_left_alone_until_it_does() -> None:
    async def main() -> None:
        world = outcomes(DONE)
        world.place.add("a", why_not="its author is not trusted")
        running = started(monitor := world.monitor())
        await asyncio.sleep(300)
        assert world.queue().jobs == {}
        world.place.items["a"].why_not = ""
        await until(lambda: "a" in world.results.kept)
        await stopped(monitor, running)

    run(main())


def test_what_is_withdrawn_while_it_waits_has_no_result() -> None:
    async def main() -> None:
        world = outcomes(DONE)
        world.place.add("a")
        world.place.add("b")
        running = started(monitor := world.monitor())
        await until(lambda: world.dispatch.began)
        world.place.items["b"].gone = True
        await until(lambda: not world.queue().jobs)
        assert list(world.results.kept) == ["a"]
        await stopped(monitor, running)

    run(main())


def test_several_monitors_share_a_place_and_each_task_is_worked_once() -> None:
    async def main() -> None:
        world = outcomes(DONE)
        for n in range(20):
            world.place.add(f"t{n}")
        monitors = [world.monitor(name) for name in ("one", "two", "three")]
        running = [started(m) for m in monitors]
        await until(lambda: len(world.results.kept) == 20)
        for monitor, task in zip(monitors, running, strict=True):
            await stopped(monitor, task)
        assert sorted(world.dispatch.began) == sorted(world.place.items)
        assert all(len(i.results) == 1 for i in world.place.items.values())

    run(main())


def test_a_claim_that_is_lost_stops_its_worker_and_nothing_is_reported() -> None:
    async def script(working: Working) -> WorkOutcome:
        await working.stop.wait()
        return Stopped()

    async def main() -> None:
        world = MonitorWorld(script)
        world.place.add("a")
        running = started(monitor := world.monitor())
        await until(lambda: world.dispatch.living)
        world.place.items["a"].holder, world.place.items["a"].kept = "other", world.clock.now()
        await until(lambda: not world.dispatch.living, 100)
        await asyncio.sleep(60)
        assert world.results.kept == {}
        assert world.queue().jobs["a"].status is Status.QUEUED
        assert world.place.items["a"].holder == "other"
        assert ("JobLost", "") in world.events("a", "by")  # a source tells that, and not who, or that a person did
        await stopped(monitor, running)

    run(main())


def test_what_was_done_after_the_claim_was_lost_is_not_reported() -> None:
    async def script(working: Working) -> WorkOutcome:
        await working.stop.wait()
        return DONE

    async def main() -> None:
        world = MonitorWorld(script)
        world.place.add("a")
        running = started(monitor := world.monitor())
        await until(lambda: world.dispatch.living)
        world.place.items["a"].holder, world.place.items["a"].kept = "other", world.clock.now()
        await until(lambda: not world.dispatch.living, 100)
        await asyncio.sleep(60)
        assert world.results.kept == {}
        assert world.results_of("a") == []
        await stopped(monitor, running)

    run(main())


def test_what_is_withdrawn_leaves_the_queue_while_another_is_worked() -> None:
    async def main() -> None:
        world = MonitorWorld(_long)
        world.place.add("a")
        world.place.add("b")
        running = started(monitor := world.monitor())
        await until(lambda: world.queue().size == 1)
        world.place.items["b"].gone = True
        world.place.wake()
        await asyncio.sleep(5)
        assert world.dispatch.living == ["a"]
        assert list(world.queue().jobs) == ["a"]
        await stopped(monitor, running)

    run(main())


def test_what_is_claimed_in_the_moment_of_a_stop_is_given_back_and_not_begun() -> None:
    class Slow(MemorySource):
        async def claim(self, job: str) -> ClaimOutcome:
            await asyncio.sleep(5)
            return await super().claim(job)

    async def main() -> None:
        world = outcomes(DONE)
        place = MemoryPlace(world.clock)
        place.add("a")
        running = started(monitor := world.monitor(more=(Slow(place, "one", "slow"),)))
        await until(lambda: world.queue().size)
        await asyncio.sleep(1)
        await stopped(monitor, running)
        assert world.dispatch.began == []
        assert place.items["a"].given_back == ["The monitor stops; the work so far is kept."]
        assert place.items["a"].holder == ""

    run(main())


def test_a_claim_lost_while_the_monitor_was_down_ends_the_worker_that_outlived_it() -> None:
    async def script(working: Working) -> WorkOutcome:
        await working.stop.wait()
        return Stopped()

    async def main() -> None:
        world = MonitorWorld(script, MonitorPolicy(grace=0, stopping=0))
        world.place.add("a")
        running = started(world.monitor())
        await until(lambda: world.dispatch.living)
        running.cancel()
        await asyncio.wait([running])
        assert world.dispatch.living == ["a"]
        world.place.items["a"].holder, world.place.items["a"].kept = "other", world.clock.now()
        running = started(monitor := world.monitor())
        await until(lambda: not world.dispatch.living, 100)
        assert world.results.kept == {}
        await stopped(monitor, running)

    run(main())


def test_what_was_removed_while_the_monitor_was_down_and_waits_for_a_person_is_no_task_any_more() -> None:
    async def main() -> None:
        world = outcomes(AwaitsPerson("A review is asked for."))
        world.place.add("a")
        running = started(monitor := world.monitor())
        await until(lambda: "a" in world.queue().jobs and world.queue().jobs["a"].waiting, 60)
        running.cancel()
        await asyncio.wait([running])
        world.place.items["a"].gone = True
        running = started(monitor := world.monitor())
        await until(lambda: not world.queue().jobs, 100)
        assert ("JobWithdrawn", "it was removed") in world.events("a", "why")
        await stopped(monitor, running)

    run(main())


def test_a_task_whose_text_was_spoilt_is_carried_on_by_the_next_monitor_where_its_source_takes_it_up_again() -> None:
    class Texts(MemorySource):
        async def reclaim(self, job: Job) -> ClaimOutcome:
            self.place.items[job.id].holder = self.monitor
            return Claimed(job)

    async def main() -> None:
        world = MonitorWorld(_long)
        place = MemoryPlace(world.clock)
        place.add("a")
        texts = Texts(place, name="texts")
        running = started(world.monitor(more=(texts,)))
        await until(lambda: world.dispatch.living)
        running.cancel()
        place.items["a"].gone = True
        running = started(monitor := world.monitor(more=(Texts(place, name="texts"),)))
        await until(lambda: "a" in world.results.kept)
        assert (world.dispatch.began, world.results.kept["a"].status) == (["a"], Status.COMPLETED)
        await stopped(monitor, running)

    run(main())


def test_every_claim_is_kept_alive_while_its_job_is_worked() -> None:
    async def script(_working: Working) -> WorkOutcome:
        await asyncio.sleep(10_000)
        return DONE

    async def main() -> None:
        world = MonitorWorld(script)
        world.place.add("a")
        running = started(monitor := world.monitor())
        await until(lambda: "a" in world.results.kept)
        assert world.place.calls.count(("keep", "a")) > 300
        assert world.place.items["a"].claims == ["one"]
        await stopped(monitor, running)

    run(main())


def test_progress_is_passed_on_and_its_trouble_never_reaches_the_job() -> None:
    async def script(working: Working) -> WorkOutcome:
        working.note(Note("working", "one"))
        await asyncio.sleep(5)
        world.place.busy_until = world.clock.now() + 3
        working.note(Note("working", "two"))
        await asyncio.sleep(5)
        working.note(Note("working", "three", 1.5))
        await asyncio.sleep(5)
        assert world.state["running"][0]["note"] == "three"
        return DONE

    async def main() -> None:
        world.place.add("a")
        running = started(monitor := world.monitor())
        await until(lambda: "a" in world.results.kept)
        assert [n.text for n in world.place.items["a"].notes] == ["one", "three"]
        await stopped(monitor, running)

    world = MonitorWorld(script)
    run(main())


# --- troubled sources ----------------------------------------------------------------------------------------


def test_a_busy_source_is_waited_for_said_once_and_others_go_on() -> None:
    async def main() -> None:
        world = outcomes(DONE)
        other = MemoryPlace(world.clock)
        other.busy_until = world.clock.now() + 3000
        other.add("from-other")
        world.place.add("a")
        running = started(monitor := world.monitor(more=(MemorySource(other, "one", "other"),)))
        await until(lambda: "a" in world.results.kept, 100)
        await until(lambda: world.state["sources"]["other"] == "The place in memory is busy.", 10)
        await until(lambda: "from-other" in world.results.kept)
        assert world.clock.now() >= other.busy_until
        assert len([s for s in world.said if "is busy" in s]) == 1
        assert len([s for s in world.said if "other answers again" in s]) == 1
        await stopped(monitor, running)

    run(main())


@pytest.mark.parametrize(("jump", "silent"), [(0, 600), (-500, 600), (-400_000, 60), (400_000, 60)])
def test_a_clock_that_is_set_while_a_source_is_busy_silences_it_no_longer(jump: float, silent: float) -> None:
    async def main() -> None:
        world = MonitorWorld()
        asking = Asking(MemorySource(world.place, "one"), world.clock, world.policy, world.said.append)
        world.place.busy_until = world.clock.now() + 600
        with pytest.raises(SourceBusy):
            await asking.ask(asking.source.list())
        await asyncio.sleep(550)
        assert not asking.ready
        world.clock.began += jump
        await asyncio.sleep(silent - 550 if silent > 550 else 0)
        assert asking.ready

    run(main())


def test_an_instant_before_which_a_source_is_not_to_be_asked_is_an_hour_off_at_most() -> None:
    async def main() -> None:
        world = MonitorWorld()
        asking = Asking(MemorySource(world.place, "one"), world.clock, world.policy, world.said.append)
        world.place.busy_until = world.clock.now() + 600
        world.clock.began -= 400_000
        with pytest.raises(SourceBusy):
            await asking.ask(asking.source.list())
        await asyncio.sleep(3600)
        assert asking.ready

    run(main())


def test_a_source_that_hangs_is_a_busy_one_and_the_others_are_served() -> None:
    async def main() -> None:
        world = outcomes(DONE)
        other = MemoryPlace(world.clock)
        other.hung = True
        world.place.add("a")
        running = started(monitor := world.monitor(more=(MemorySource(other, "one", "other"),)))
        await until(lambda: "a" in world.results.kept, 60)
        await asyncio.sleep(1000)
        assert [s for s in world.said if "other" in s] == [
            "other did not answer within 90 s. It is asked again later; other sources go on."
        ]
        other.hung = False
        other.add("b")
        await until(lambda: "b" in world.results.kept, 300)
        await stopped(monitor, running)

    run(main())


def test_a_call_that_cannot_even_be_ended_stops_the_signs_of_life() -> None:
    class Deaf(MemorySource):
        async def keep(self, job: Job) -> bool:  # noqa: ARG002 - the port's
            while True:  # it does not hear that it should end
                try:
                    await asyncio.sleep(100_000)
                except asyncio.CancelledError:
                    if dead.is_set():
                        raise

    async def script(_working: Working) -> WorkOutcome:
        await asyncio.sleep(1_000_000)
        return DONE

    async def main() -> None:
        world = MonitorWorld(script)
        deaf = MemoryPlace(world.clock)
        deaf.add("a")
        running = started(world.monitor(more=(Deaf(deaf, "one", "deaf"),)))
        await asyncio.sleep(60)
        beats = world.beats
        assert beats >= 50
        await asyncio.sleep(1000)
        between = world.beats
        await asyncio.sleep(1000)
        assert world.beats == between
        dead.set()
        running.cancel()
        await asyncio.wait([running])

    dead = asyncio.Event()
    run(main())


def test_a_source_that_lets_nobody_in_ends_the_monitor_with_its_sentence_and_running_jobs_finish() -> None:
    async def main() -> None:
        world = outcomes(DONE)
        other = MemoryPlace(world.clock)
        running = started(world.monitor(more=(MemorySource(other, "one", "other"),)))
        world.place.add("a")
        world.place.add("b")
        await until(lambda: world.dispatch.living)
        other.refusal = "The key is refused."
        other.wake()
        ended = await running
        assert (ended.ending, ended.sentence, ended.code) == (Ending.REFUSED, "The key is refused.", 1)
        assert world.results_of("a") == ["completed"]

    run(main())


def test_once_with_a_source_that_cannot_be_asked_says_so() -> None:
    async def main() -> None:
        world = MonitorWorld(policy=ONCE)
        world.place.busy_until = world.clock.now() + 1000
        ended = await world.monitor().run()
        assert (ended.ending, ended.code) == (Ending.TROUBLED, 1)
        assert ended.sentence == "The place in memory is busy."

    run(main())


def test_a_result_that_cannot_be_reported_now_is_reported_later_and_stands_at_once() -> None:
    async def script(_working: Working) -> WorkOutcome:
        world.place.busy_until = world.clock.now() + 500
        return DONE

    async def main() -> None:
        world.place.add("a")
        running = started(monitor := world.monitor())
        await until(lambda: "a" in world.results.kept, 50)
        assert world.results_of("a") == []
        await until(lambda: world.results_of("a"))
        assert world.results_of("a") == ["completed"]
        await until(lambda: not world.queue().jobs)
        await stopped(monitor, running)

    world = MonitorWorld(script)
    run(main())


def test_a_result_that_its_source_never_takes_holds_up_no_other_and_is_tried_again_ever_more_seldom() -> None:
    async def main() -> None:
        world = outcomes(DONE)
        for id_ in ("a", "b", "c"):
            world.place.add(id_, ill=id_ == "a")
        running = started(monitor := world.monitor())
        await until(lambda: world.results_of("b") and world.results_of("c"), 200)
        tried = world.place.calls.count(("finish", "a"))
        await asyncio.sleep(9000)
        assert 8 < world.place.calls.count(("finish", "a")) - tried < 20
        world.place.add("d")
        await until(lambda: world.results_of("d"), 200)
        world.place.items["a"].ill = False
        await until(lambda: world.results_of("a"), 1200)
        await until(lambda: not world.queue().jobs)
        await stopped(monitor, running)

    run(main())


def test_a_source_that_is_busy_as_a_whole_is_asked_once_at_a_time_and_told_all_as_soon_as_it_answers() -> None:
    async def script(_working: Working) -> WorkOutcome:
        await asyncio.sleep(1)
        return DONE

    async def main() -> None:
        world = MonitorWorld(script, MonitorPolicy(lanes={Lane.WORK: 3}))
        for id_ in ("a", "b", "c"):
            world.place.add(id_)
        running = started(monitor := world.monitor())
        await until(lambda: len(world.dispatch.began) == 3, 60)
        world.place.busy_until = end = world.clock.now() + 7200
        await until(lambda: world.clock.now() > end - 10)
        assert len([call for call, _ in world.place.calls if call == "finish"]) <= 2
        await until(lambda: all(world.results_of(i) for i in ("a", "b", "c")), 60)
        await stopped(monitor, running)

    run(main())


def test_many_hints_are_one_sweep() -> None:
    async def main() -> None:
        world = outcomes(DONE)
        running = started(monitor := world.monitor())
        await asyncio.sleep(5)
        before = world.place.calls.count(("list", ""))
        for n in range(100):
            world.place.add(f"t{n}")
        await asyncio.sleep(2)
        assert world.place.calls.count(("list", "")) - before <= 2
        assert world.queue().size == 98
        await stopped(monitor, running)

    run(main())


def test_without_hints_the_poll_finds_everything() -> None:
    async def main() -> None:
        world = outcomes(DONE)
        world.policy = replace(world.policy, poll=300)
        running = started(monitor := world.monitor())
        await asyncio.sleep(5)
        world.place._hints.clear()  # nobody is told
        world.place.add("a")
        await asyncio.sleep(200)
        assert world.dispatch.began == []
        await until(lambda: "a" in world.results.kept, 120)
        await stopped(monitor, running)

    run(main())


# --- stops ---------------------------------------------------------------------------------------------------


async def _long(working: Working) -> WorkOutcome:
    """Work for 30 seconds, or until it is told to stop."""
    try:
        async with asyncio.timeout(30):
            await working.stop.wait()
    except TimeoutError:
        return DONE
    return Stopped()


def test_the_first_stop_lets_running_jobs_finish_and_begins_nothing_new() -> None:
    async def main() -> None:
        world = MonitorWorld(_long)
        world.place.add("a")
        world.place.add("b")
        running = started(monitor := world.monitor())
        await until(lambda: world.dispatch.living)
        ended = await stopped(monitor, running)
        assert (ended.ending, ended.code) == (Ending.STOPPED, 0)
        assert world.dispatch.began == ["a"]
        assert world.results_of("a") == ["completed"]
        assert world.state["is_processing"] is False

    run(main())


def test_after_the_grace_workers_are_stopped_and_their_jobs_given_back() -> None:
    async def main() -> None:
        world = MonitorWorld(_long, MonitorPolicy(grace=5))
        world.place.add("a")
        running = started(monitor := world.monitor())
        await until(lambda: world.dispatch.living)
        await stopped(monitor, running)
        assert world.results.kept == {}
        assert world.place.items["a"].given_back == ["The monitor stops; the work so far is kept."]
        assert world.place.items["a"].holder == ""
        assert world.queue().jobs["a"].status is Status.QUEUED

    run(main())


def test_a_second_stop_does_not_wait_for_the_grace() -> None:
    async def main() -> None:
        world = MonitorWorld(_long, MonitorPolicy(grace=10_000))
        world.place.add("a")
        running = started(monitor := world.monitor())
        await until(lambda: world.dispatch.living)
        began = world.clock.now()
        monitor.stop()
        await asyncio.sleep(1)
        await stopped(monitor, running)
        assert world.clock.now() - began < 10
        assert world.place.items["a"].holder == ""

    run(main())


def test_a_worker_that_does_not_stop_lives_on_and_is_found_again() -> None:
    async def script(_working: Working) -> WorkOutcome:
        await asyncio.sleep(3000)
        return DONE

    async def main() -> None:
        world = MonitorWorld(script, MonitorPolicy(grace=5, stopping=5))
        world.place.add("a")
        running = started(monitor := world.monitor())
        await until(lambda: world.dispatch.living)
        await stopped(monitor, running)
        assert world.dispatch.living == ["a"]
        running = started(monitor := world.monitor())
        await until(lambda: "a" in world.results.kept)
        assert world.dispatch.began == ["a"]
        await stopped(monitor, running)

    run(main())


def test_what_was_given_back_is_taken_up_again_first_after_the_next_start() -> None:
    async def main() -> None:
        world = MonitorWorld(_long, MonitorPolicy(grace=1))
        for id_ in ("a", "b"):
            world.place.add(id_)
        running = started(monitor := world.monitor())
        await until(lambda: world.dispatch.living)
        await stopped(monitor, running)
        world.place.add("c")
        running = started(monitor := world.monitor())
        await until(lambda: len(world.results.kept) == 3)
        assert world.dispatch.began == ["a", "a", "b", "c"]
        await stopped(monitor, running)

    run(main())


# --- commands ------------------------------------------------------------------------------------------------


def test_retry_lets_a_failed_job_run_again_and_keeps_the_old_result() -> None:
    async def main() -> None:
        world = outcomes(Failed("blocked"), DONE)
        world.place.add("a")
        running = started(monitor := world.monitor())
        await until(lambda: not world.queue().jobs and world.results.kept)
        world.inbox.send("retry", "c1", job="a")
        await until(lambda: world.results_of("a") == ["completed"])
        assert [r.error for r in world.results.replaced] == ["blocked. Next: claudetm monitor retry a"]
        assert world.dispatch.retried == ["a"]
        assert world.results.kept["a"].retries == 1
        assert world.state["commands"] == {"c1": ""}
        await stopped(monitor, running)

    run(main())


def test_what_is_retried_while_its_source_is_busy_begins_anew_once_it_answers() -> None:
    async def main() -> None:
        world = outcomes(Failed("blocked"), DONE)
        world.place.add("a")
        running = started(monitor := world.monitor())
        await until(lambda: not world.queue().jobs and world.results.kept)
        world.place.busy_until = world.clock.now() + 500
        world.inbox.send("retry", "c1", job="a")
        await until(lambda: world.place.items["a"].ended)
        await until(lambda: world.results_of("a") == ["completed"])
        assert world.clock.now() >= world.place.busy_until
        await stopped(monitor, running)

    run(main())


def test_what_was_retried_while_no_monitor_ran_is_told_to_its_source_at_the_start() -> None:
    async def main() -> None:
        world = outcomes(Failed("blocked"), DONE)
        world.place.add("a")
        running = started(monitor := world.monitor())
        await until(lambda: not world.queue().jobs and world.results.kept)
        await stopped(monitor, running)
        writer = QueueWriter(MemoryJournal(world.lines["one"]), world.clock, lambda: None)
        hands = Hands(writer, world.dispatch, world.results, {}, world.said.append)
        await take(hands, Command("c1", "retry", {"job": "a"}))
        assert world.results.kept == {}
        running = started(monitor := world.monitor())
        await until(lambda: world.results_of("a") == ["completed"])
        assert world.results.kept["a"].retries == 1
        await stopped(monitor, running)

    run(main())


def test_once_works_what_was_retried_while_no_monitor_ran_and_no_other_source_is_asked() -> None:
    async def main() -> None:
        world = outcomes(Failed("blocked"), DONE)
        other = MemoryPlace(world.clock)
        world.policy = ONCE
        world.place.add("a", repository="elsewhere")
        await world.monitor(more=(MemorySource(other, name="other"),)).run()
        writer = QueueWriter(MemoryJournal(world.lines["one"]), world.clock, lambda: None)
        await take(Hands(writer, world.dispatch, world.results, {}, print), Command("c1", "retry", {"job": "a"}))
        assert world.dispatch.retried == ["a in elsewhere"]
        compacted = list(survivors(lambda: MemoryJournal(world.lines["one"]).read()))
        world.lines["one"] = []
        for record in compacted:
            await MemoryJournal(world.lines["one"]).append(record)
        await world.monitor(more=(MemorySource(other, name="other"),)).run()
        assert world.results_of("a") == ["completed"]
        assert ("reopen", "a") not in other.calls

    run(main())


def test_once_waits_for_a_source_that_is_slow() -> None:
    class Slow(MemorySource):
        async def list(self) -> Sequence[Offer]:
            await asyncio.sleep(20)
            return await super().list()

    async def main() -> None:
        world = MonitorWorld(policy=ONCE)
        place = MemoryPlace(world.clock)
        place.add("a")
        assert (await world.monitor(more=(Slow(place, name="slow"),)).run()).ending is Ending.DONE
        assert [r.status for r in place.items["a"].results] == [Status.COMPLETED]

    run(main())


def test_a_folder_of_results_that_cannot_be_written_is_said_once_and_loses_none() -> None:
    class Full(MemoryResults):
        full = True

        def write(self, result: Result, job: Job) -> None:
            if self.full:
                raise StoreError("results/ cannot be written: no space left.")
            super().write(result, job)

    async def main() -> None:
        world = MonitorWorld()
        world.results = full = Full()
        for name in "abc":
            world.place.add(name)
        running = started(monitor := world.monitor())
        await asyncio.sleep(600)
        assert world.said == ["The result of a waits, and others with it: results/ cannot be written: no space left."]
        full.full = False
        await until(lambda: len(full.kept) == 3)
        assert [world.results_of(name) for name in "abc"] == [["completed"]] * 3
        assert world.said[1:] == ["Results can be written again."]
        await stopped(monitor, running)

    run(main())


def test_retry_hastens_what_is_tried_again_later() -> None:
    async def main() -> None:
        world = outcomes(TryAgain("Not now.", 50_000), DONE)
        world.place.add("a")
        running = started(monitor := world.monitor())
        await until(lambda: world.views.files and world.state["retrying"])
        world.inbox.send("retry", "c1", job="a")
        await until(lambda: "a" in world.results.kept, 60)
        await stopped(monitor, running)

    run(main())


@pytest.mark.parametrize(
    ("name", "job", "reason"),
    [
        ("retry", "nothing", "There is no task nothing."),
        ("retry", "b", "Task b is queued: there is nothing to try again."),
        ("dance", "b", "The monitor knows no such command."),
        ("retry", 7, "The monitor knows no such command."),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(name: str, job: object, reason: str) -> None:
    async def main() -> None:
        world = MonitorWorld(_long)
        world.place.add("a")
        world.place.add("b")
        running = started(monitor := world.monitor())
        await until(lambda: world.dispatch.living)
        world.inbox.send(name, "c1", job=job)
        await until(lambda: world.state["commands"])
        assert world.state["commands"] == {"c1": reason}
        assert world.inbox.commands == []
        await stopped(monitor, running)

    run(main())


# --- what is seen --------------------------------------------------------------------------------------------


def test_a_view_of_thousands_that_wait_is_written_more_seldom_for_what_is_told_of_one_alone() -> None:
    async def script(working: Working) -> WorkOutcome:
        while not working.stop.is_set():
            working.note(Note("working", f"at {world.clock.now()}"))
            await asyncio.sleep(1)
        return Stopped()

    async def main() -> None:
        for n in range(5000):
            world.place.add(f"t{n}")
        running = started(monitor := world.monitor())
        await until(lambda: world.queue().size == 4999 and "queue_state.json" in world.views.files, 60)
        await asyncio.sleep(15)
        shown = set[str]()
        for _ in range(100):
            await asyncio.sleep(1)
            shown.add(world.views.files["queue_state.json"])
        assert 5 < len(shown) < 15
        world.place.items["t9"].priority = -1
        world.place.wake()
        await asyncio.sleep(3)
        assert world.state["queued_tasks"][0] == "t9"
        monitor.stop()
        await stopped(monitor, running)

    world = MonitorWorld(script)
    run(main())


def test_the_view_tells_order_position_and_what_runs() -> None:
    async def main() -> None:
        world = MonitorWorld(_long)
        for id_, priority in (("a", 0), ("b", 1), ("c", 0)):
            world.place.add(id_, title=f"Do {id_}", priority=priority)
        running = started(monitor := world.monitor())
        await until(lambda: world.dispatch.living)
        await asyncio.sleep(2)
        state = world.state
        assert (state["queue_size"], state["current_task"], state["is_processing"]) == (2, "a", True)
        assert state["queued_tasks"] == ["c", "b"]
        assert [(q["task_id"], q["position"]) for q in state["queue"]] == [("c", 1), ("b", 2)]
        assert state["running"][0]["title"] == "Do a"
        assert state["running"][0]["started_at"].endswith("+00:00")
        await stopped(monitor, running)

    run(main())


def test_a_listing_that_lags_behind_brings_no_second_run() -> None:
    async def main() -> None:
        world = outcomes(DONE)
        world.place.add("a")
        running = started(monitor := world.monitor())
        await until(lambda: world.results_of("a"))
        world.place.items["a"].results.clear()  # the place still lists it
        await asyncio.sleep(500)
        assert world.dispatch.began == ["a"]
        await stopped(monitor, running)

    run(main())


def test_tasks_of_a_source_that_is_no_longer_watched_are_said_and_kept() -> None:
    async def main() -> None:
        world = outcomes(DONE)
        other = MemoryPlace(world.clock)
        other.add("x")
        other.add("y")
        running = started(monitor := world.monitor(more=(MemorySource(other, "one", "other"),)))
        await until(lambda: world.dispatch.living)
        await stopped(monitor, running)
        running = started(monitor := world.monitor())
        await asyncio.sleep(100)
        assert "1 of the queue's tasks came from other, which is not watched now: they wait for it." in world.said
        assert list(world.queue().jobs) == ["y"]
        await stopped(monitor, running)

    run(main())
