"""What users of other orchestrators suffer, as far as a monitor could do it to them: none of it happens here.

The first test holds that each fear has tests that exist; those below it show what no other test names.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

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

TESTS = Path(__file__).parents[1]
HERE = "integration/test_peers_monitor_failures.py"
MONITOR, SESSION, WORKERS = "unit/test_monitor.py", "unit/test_session_mode.py", "integration/test_workers.py"
ISSUES, SEGO = "integration/test_github_issues.py", "integration/test_sego.py"

HELD = {
    "a restart loses work or money": [
        (HERE, "test_a_restart_loses_neither_work_nor_money"),
        (WORKERS, "test_a_worker_outlives_a_monitor_that_is_killed"),
        (
            "crash/test_kill_monitor.py",
            "test_a_thousand_tasks_have_one_result_each_however_often_the_monitor_is_killed",
        ),
        (
            "unit/test_directory_source.py",
            "test_results_that_are_gone_as_a_whole_let_no_task_run_again_until_somebody_says_so",
        ),
    ],
    "a write that is killed drops a task silently": [
        ("unit/test_monitor_killed.py", "test_killed_there_the_next_monitor_comes_to_the_same_end"),
        (
            "unit/test_monitor_queue.py",
            "test_a_compaction_that_is_killed_leaves_the_old_journal_and_what_it_left_is_removed",
        ),
    ],
    "pause or stop, then resume, breaks": [
        (HERE, "test_stop_then_start_carries_on_and_a_stop_leaves_no_worker"),
        (WORKERS, "test_a_stop_reaches_a_worker_whoever_has_begun_it"),
    ],
    "a task can be created and nothing runs it": [
        (HERE, "test_what_was_created_while_nobody_listened_is_run"),
        ("e2e/test_monitor.py", "test_a_file_that_is_dropped_is_taken_worked_and_reported"),
    ],
    "duplicate dispatch": [
        (HERE, "test_no_task_is_dispatched_twice_whatever_wakes_the_monitor"),
        ("unit/test_monitors_together.py", "test_whoever_dies_or_stops_each_task_has_one_result"),
        (ISSUES, "test_whatever_the_order_of_requests_one_of_two_monitors_has_the_issue"),
        (SEGO, "test_without_claimed_by_two_that_race_never_both_have_a_task"),
        (WORKERS, "test_two_monitors_at_once_begin_one_worker"),
    ],
    "duplicate pull requests": [
        ("e2e/test_worker.py", "test_a_killed_worker_is_told_and_the_next_ends_the_same"),
        ("integration/test_github_runs_killed.py", "test_killed_at_a_write_and_resumed_once"),
    ],
    "false done": [
        (HERE, "test_a_worker_that_ends_without_a_word_has_done_nothing"),
        (SESSION, "test_a_session_that_says_done_and_shows_nothing_finishes_nothing"),
        ("unit/test_worker_handover.py", "test_last_words_come_back_and_damage_is_none"),
    ],
    "verification fails open": [
        (SESSION, "test_an_audit_that_shows_nothing_or_is_none_lets_nothing_through"),
        (
            SESSION,
            "test_work_that_never_reaches_the_threshold_is_kept_and_the_change_says_score_threshold_and_rounds",
        ),
    ],
    "a usage limit kills the night, or ticks off untouched tasks": [
        (HERE, "test_a_usage_limit_does_not_cost_the_night")
    ],
    "runaway cost": [
        (HERE, "test_a_task_that_keeps_killing_its_worker_costs_three_workers_and_no_more"),
        (HERE, "test_a_failed_task_is_not_taken_again_by_itself"),
        (SESSION, "test_a_budget_that_is_spent_stops_before_the_next_session_and_goes_on_with_more"),
    ],
    "a setting changed during a wait is lost": [
        (HERE, "test_a_task_changed_while_it_waits_is_worked_as_it_is_when_it_is_claimed")
    ],
    "a restated task becomes many": [
        (
            "integration/test_directory_source.py",
            "test_an_editors_way_to_save_makes_one_task_with_what_was_saved_last",
        ),
        ("integration/test_directory_source.py", "test_a_task_that_is_renamed_is_one_task"),
        ("unit/test_directory_source.py", "test_a_task_that_is_edited_keeps_its_place"),
    ],
    "an error is read as “nothing there”": [
        (HERE, "test_a_place_that_cannot_be_read_is_not_an_empty_one"),
        (ISSUES, "test_a_github_that_fails_is_asked_again_later"),
    ],
    "a wait is endless, and hangs are silent": [
        (HERE, "test_a_hang_is_seen_and_said"),
        (MONITOR, "test_a_call_that_cannot_even_be_ended_stops_the_signs_of_life"),
        (MONITOR, "test_what_could_not_begin_for_a_day_has_failed"),
        ("integration/test_sego_stream.py", "test_a_line_that_has_gone_silent_is_given_up"),
    ],
    "one task in the way of all": [
        (HERE, "test_a_task_that_waits_for_a_review_does_not_hold_up_the_night"),
        (MONITOR, "test_others_go_on_while_one_is_tried_again"),
    ],
    "a processor burnt without standard input, orphan processes, an open local API": [
        (HERE, "test_with_no_standard_input_it_takes_no_processor_opens_no_port_and_leaves_no_process"),
        (WORKERS, "test_a_worker_that_does_not_hear_is_killed_after_its_grace"),
    ],
    "destructive git, and the user's files shipped": [
        ("e2e/test_session_mode.py", "test_with_commits_the_branch_of_the_task_has_them_and_nothing_else_moves"),
        ("integration/test_git_keeping.py", "test_a_branch_of_that_name_with_other_commits_stays_as_it_is"),
        ("integration/test_git_applying.py", "test_a_file_that_git_does_not_track_is_never_overwritten"),
        ("integration/test_git_user_repository.py", "test_no_file_of_the_users_is_also_one_of_the_agents"),
    ],
    "parallel edits collide": [
        ("e2e/test_worker.py", "test_a_goal_is_merged_beside_the_user_s_own_run"),
        (SESSION, "test_a_session_begins_where_the_run_did_though_the_target_moves"),
    ],
    "GitHub's quota is exhausted": [
        (ISSUES, "test_a_used_up_quota_is_waited_for_until_it_is_whole"),
        (ISSUES, "test_a_sweep_over_ten_issues_costs_few_requests_and_nothing_once_seen"),
    ],
    "comments of any author go to the agent, and injected text obtains an approval": [
        (ISSUES, "test_only_trusted_peoples_remarks_go_along_and_none_of_ours"),
        (ISSUES, "test_a_claim_that_a_stranger_forges_counts_for_nothing"),
        (SEGO, "test_the_projects_text_and_earlier_comments_come_untrusted"),
        (SESSION, "test_what_came_with_a_task_stands_behind_a_fence_in_every_prompt"),
    ],
    "keys printed unmasked": [
        ("unit/test_monitor_look.py", "test_the_log_rotates_is_private_masked_and_follows_no_link"),
        (SEGO, "test_the_key_is_in_no_log_and_no_representation"),
        (WORKERS, "test_a_token_crosses_over_in_a_pipe_and_stands_in_no_environment"),
    ],
    "one credential is not enough, and two that share a login spoil it": [
        ("unit/test_access.py", "test_any_one_credential_of_the_environment_suffices"),
        ("e2e/test_claude_sdk.py", "test_a_refused_login_ends_the_session_at_once"),
    ],
    "flags that do nothing": [
        ("e2e/test_monitor.py", "test_the_effect_of_every_option_and_variable_of_the_readme_s_table_is_shown")
    ],
    "what it costs grows with its past": [
        ("benchmarks/test_monitor.py", "test_an_event_costs_the_same_after_10000_finished_tasks_as_after_10"),
        ("unit/test_directory_source.py", "test_ten_thousand_finished_tasks_are_listed_once_a_minute"),
    ],
}


@pytest.mark.parametrize("fear", HELD)
def test_each_fear_is_held_by_tests_that_exist(fear: str) -> None:
    for file, name in HELD[fear]:
        found = re.search(rf"^(?:async )?def {name}\(", (TESTS / file).read_text(encoding="utf-8"), re.MULTILINE)
        assert found, f"{file} has no {name}"


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


def test_with_no_standard_input_it_takes_no_processor_opens_no_port_and_leaves_no_process(tmp_path: Path) -> None:
    """As under nohup, cron or a service."""
    (tmp_path / "tasks").mkdir()
    command = [sys.executable, monitor_driver.__file__, str(tmp_path), "30"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True) as process:
        until_ = time.monotonic() + 30
        while not (tmp_path / "state" / "queue_state.json").exists():
            assert time.monotonic() < until_
            time.sleep(0.05)
        at = psutil.Process(process.pid)
        time.sleep(0.5)
        before = sum(at.cpu_times()[:2])
        time.sleep(1.5)
        assert sum(at.cpu_times()[:2]) - before < 0.15
        assert [each for each in at.net_connections() if each.status == psutil.CONN_LISTEN] == []
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    left = [p.pid for p in psutil.process_iter() if _session(p.pid) == process.pid]
    assert left == []


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0
