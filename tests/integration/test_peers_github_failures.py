"""What users of other tools suffer with GitHub, and the tests that show that it does not happen here.

The first test holds that each of those tests exists; the others show what no other test names.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from claudetm.engine.loop import Ending
from claudetm.ports.agent import SessionReport, SessionRequest
from claudetm.workflow.outcomes import Outcome, Usage
from github_double.double import Double
from github_double.state import Protection
from github_run import GithubRun, Hours, honest

HERE = Path(__file__).parent
RUNS, KILLED, FORGE = "test_github_runs.py", "test_github_runs_killed.py", "test_github_forge.py"

HELD = {
    "a GitHub 5xx is read as “no pull request”": [
        (RUNS, "test_a_github_that_fails_when_a_pull_request_is_looked_for_is_not_taken_for_none"),
        (RUNS, "test_a_github_that_fails_for_an_hour_is_waited_out_and_nothing_opened_twice"),
    ],
    "a 403 on branch protection makes the wait endless": [
        (RUNS, "test_rules_that_may_not_be_read_are_no_endless_wait")
    ],
    "a setting changed during a CI wait is lost, and it merges": [
        (RUNS, "test_a_setting_that_changes_while_checks_run_takes_effect")
    ],
    "the user's untracked .env is shipped": [
        (RUNS, "test_what_lies_untracked_in_the_users_checkout_is_not_shipped"),
        ("test_git_user_repository.py", "test_no_file_of_the_users_is_also_one_of_the_agents"),
    ],
    "a rollup of zero checks counts as success": [(RUNS, "test_zero_checks_are_not_green")],
    "a bot's quota notice counts as a rejection": [
        (RUNS, "test_what_strangers_and_bots_say_reaches_no_agent_and_gates_nothing")
    ],
    "review bodies are never fetched": [
        (RUNS, "test_changes_requested_with_only_a_body_reach_the_agent_and_are_lifted_by_that_person_alone")
    ],
    "threads that the agent skipped are resolved all the same": [
        (RUNS, "test_a_thread_that_the_agent_declined_is_left_to_its_author"),
        (RUNS, "test_a_stalemate_ends_with_both_sides_quoted"),
    ],
    "one request every 10 seconds for each pull request": [
        (RUNS, "test_a_day_of_waiting_for_a_review_asks_little"),
        (FORGE, "test_an_hour_of_looks_takes_a_fifth_of_the_quota_at_most"),
    ],
    "waits after green": [(RUNS, "test_nothing_is_waited_for_after_green")],
    "comments of any author go to the agent": [
        (RUNS, "test_what_strangers_and_bots_say_reaches_no_agent_and_gates_nothing")
    ],
    "GitHub's quota is exhausted": [
        (RUNS, "test_an_exhausted_quota_is_waited_for"),
        (RUNS, "test_a_secondary_limit_is_obeyed"),
    ],
    "CI's output never reaches the agent": [(RUNS, "test_the_failed_steps_output_reaches_the_fixer")],
    "flaky checks burn attempts": [(RUNS, "test_a_flaky_check_runs_again_and_no_agent_is_spent_on_it")],
    "duplicate pull requests": [
        (KILLED, "test_killed_at_a_write_and_resumed_once"),
        (KILLED, "test_a_write_that_is_lost_happens_once_and_the_run_goes_on_by_itself"),
    ],
    "stale green breaks main": [
        (RUNS, "test_the_second_change_is_tested_with_the_first_before_it_merges"),
        ("test_peers_github_failures.py", "test_what_was_green_with_an_older_base_is_tested_with_the_new_one"),
    ],
    "injected text obtains an approval": [
        (RUNS, "test_what_strangers_and_bots_say_reaches_no_agent_and_gates_nothing")
    ],
    "destructive git": [
        (RUNS, "test_what_lies_untracked_in_the_users_checkout_is_not_shipped"),
        (RUNS, "test_a_branch_that_was_forced_is_not_overrun"),
        ("test_git_user_repository.py", "test_a_run_leaves_the_users_bytes_as_they_were"),
    ],
    "pause or stop, then resume, breaks": [
        (RUNS, "test_paused_or_stopped_while_checks_run_it_resumes_to_the_end"),
        ("test_peers_github_failures.py", "test_killed_while_it_plans_it_resumes"),
    ],
    "a usage-limit refusal ticks off untouched tasks": [
        ("test_peers_github_failures.py", "test_a_usage_limit_finishes_no_task_and_opens_nothing"),
        ("../unit/test_scenarios.py", "test_a_usage_limit_waits_for_its_reset_and_charges_no_attempt"),
    ],
}


@pytest.mark.parametrize("failure", HELD)
def test_each_failure_is_held_by_tests_that_exist(failure: str) -> None:
    for file, name in HELD[failure]:
        found = re.search(rf"^(?:async )?def {name}\(", (HERE / file).read_text(encoding="utf-8"), re.MULTILINE)
        assert found, f"{file} has no {name}"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GithubRun]:
    clock = Hours()
    with Double(tmp_path / "github", clock.now) as github:
        yield GithubRun(tmp_path, github, clock, checks={"test": "test ! -e theirs.txt || test ! -e c1.t1.txt"})


def test_what_was_green_with_an_older_base_is_tested_with_the_new_one(world: GithubRun) -> None:
    """Each is green alone, and red together: where the rules ask for it, that shows before the merge."""
    world.github.protect(Protection(contexts=("test",), strict=True))
    world.github.at_the_last_moment(lambda: world.push_by_person("main", {"theirs.txt": "theirs\n"}))
    world.play = stuck
    assert asyncio.run(world.drive()) is Ending.BLOCKED
    assert world.only.status == "OPEN"
    assert "c1.t1.txt" not in world.hosted_git("ls-tree", "--name-only", "main").split()
    assert "BranchUpdated" in world.events


async def stuck(world: GithubRun, request: SessionRequest) -> SessionReport:
    report = await honest(world, request)
    if request.role.value != "fixer" or report.answer is None:
        return report
    blocker = {"kind": "decision", "needs": "Which of the two is wanted?"}
    return SessionReport(Outcome.ANSWERED, {**report.answer, "outcome": "blocked", "blocker": blocker}, Usage())


def test_killed_while_it_plans_it_resumes(world: GithubRun) -> None:
    world.kill_at = "after:3:SessionStarted"
    asyncio.run(world.to_the_end())
    assert world.count("DriverStarted") == 2
    assert world.only.merged


def test_a_usage_limit_finishes_no_task_and_opens_nothing(world: GithubRun) -> None:
    refused: list[float] = []

    async def limited(w: GithubRun, request: SessionRequest) -> SessionReport:
        if request.role.value == "worker" and not refused:
            refused.append(w.clock.time)
            return SessionReport(Outcome.USAGE_LIMIT, None, Usage(), resets_at=w.clock.time + 7200)
        if request.role.value == "worker":
            assert w.clock.time >= refused[0] + 7200
            assert "TaskFinished" not in w.events
            assert not w.hub.pulls
        return await honest(w, request)

    world.play = limited
    assert asyncio.run(world.drive()) is Ending.VERIFIED
    assert world.count("TaskFinished") == 1
