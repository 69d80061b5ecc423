"""`claudetm status` fits the terminal with forty changes, and tells what the run waits for; it takes no lock."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from claudetm.adapters.forge.github.place import hosted_to_data
from claudetm.adapters.store.directory import FileViews, StateDirectory, WaitView
from claudetm.adapters.store.journal import encode
from claudetm.adapters.store.lock import acquire
from claudetm.cli.waits import waits
from claudetm.workflow import events as e
from claudetm.workflow.limits import Wait
from claudetm.workflow.outcomes import Outcome
from claudetm.workflow.stages import Stage
from hosted import PLACE
from story import Story, at, change, forty, plan, working
from terminal import Terminal, terminal


def person_with(story: Story, folder: Path) -> Terminal:
    person = terminal(folder, repository=False)
    (person.here / ".git").mkdir()
    return with_run(person, story)


def with_run(person: Terminal, story: Story) -> Terminal:
    state = StateDirectory(person.state)
    state.create(person.here / ".git")
    state.journal.write_bytes(b"".join(encode(r) for r in story.records))
    return person


@pytest.mark.parametrize("lines", [12, 24, 50, 80])
def test_forty_changes_fit_any_terminal_and_all_shows_them(lines: int, tmp_path: Path) -> None:
    person = person_with(forty(), tmp_path)
    person.extra |= {"COLUMNS": "80", "LINES": str(lines)}
    ended = person("status")
    assert (ended.returncode, ended.stderr) == (0, "")
    shown = ended.stdout.splitlines()
    assert len(shown) <= max(lines - 3, 14)  # `watch` takes two, a prompt one
    assert max(map(len, shown)) <= 80
    assert "\x1b" not in ended.stdout
    assert ("more:" in ended.stdout) == (lines < 60)
    assert any(line.startswith("held: c13: ") for line in shown)
    everything = person("status", "--all").stdout
    assert all(f"Change c{n}\n" in everything for n in range(1, 41))


def test_what_a_pipe_gets_fits_80x24(tmp_path: Path) -> None:
    shown = person_with(forty(), tmp_path)("status").stdout.splitlines()
    assert len(shown) <= 24


def test_before_anything_was_judged_no_criterion_is_said_to_fail(tmp_path: Path) -> None:
    shown = person_with(working(), tmp_path)("status").stdout
    assert "criteria: 1, none judged yet\n" in shown
    assert "hold" not in shown


def test_looking_takes_no_lock_and_writes_nothing(tmp_path: Path) -> None:
    person = person_with(working(), tmp_path)
    before = sorted(person.state.rglob("*"))
    assert person("status").returncode == 0
    assert sorted(person.state.rglob("*")) == before


def limited(outcome: Outcome, resets_at: float | None = None) -> Story:
    story = working(change("c1")).tell(e.ChangeStarted("c1", "claudetm/c1", "b0"))
    story.tell(e.TaskStarted("c1", "c1.t1", "b0"))
    return story.session(outcome, resets_at=resets_at)


def test_a_usage_limit_is_waited_for_until_its_reset() -> None:
    story = limited(Outcome.USAGE_LIMIT, resets_at=9_000.0)
    assert waits(story.run, story.now) == [Wait(9_020.0, "the usage limit resets")]
    assert waits(story.run, 9_020.0) == []


def test_an_overloaded_service_is_waited_for_until_the_next_try() -> None:
    story = limited(Outcome.OVERLOADED)
    assert waits(story.run, story.now) == [Wait(story.now + 15, "the model's service is overloaded")]


def test_checks_and_reviews_are_waited_for() -> None:
    assert waits(at(Stage.WAITING_CI).run, 0.0) == [Wait(None, "c1: the checks are running")]
    story = at(Stage.WAITING_REVIEWS).tell(e.SettingsChanged({"review_wait": 90.0}))
    since = story.change().since
    assert waits(story.run, since + 1) == [Wait(since + 90, "c1: reviews")]


def test_nothing_is_waited_for_once_the_run_is_halted() -> None:
    assert waits(at(Stage.WAITING_CI).tell(e.RunPaused("because")).run, 0.0) == []


def test_a_wait_is_in_the_text_and_in_the_json(tmp_path: Path) -> None:
    person = person_with(limited(Outcome.USAGE_LIMIT, resets_at=4_000_000_000.0), tmp_path)
    assert "waiting: the usage limit resets (" in person("status").stdout
    data = json.loads(person("status", "--json").stdout)
    assert data["waits"] == [{"why": "the usage limit resets", "until": 4_000_000_020.0}]
    assert (data["driver"], data["now"]) == (None, [])


DOWN = "github.com cannot be reached by git (Could not resolve host): mend the network; it is tried again by itself"


def test_why_the_living_driver_waits_is_seen_from_another_terminal(tmp_path: Path) -> None:
    person = with_run(terminal(tmp_path), at(Stage.PUBLISHING))
    state = StateDirectory(person.state)
    with acquire(state.lock):
        WaitView(FileViews(state.root)).show(Wait(4_000_000_000.0, DOWN))
        status = person("status").stdout
        assert " ".join(status.split()).count(f"waiting: {DOWN} (") == 1  # whole, however long
        assert max(map(len, status.splitlines())) <= 80
        assert json.loads(person("status", "--json").stdout)["waits"] == [{"why": DOWN, "until": 4_000_000_000.0}]
        told = json.loads(person("explain", "--json").stdout)
        assert told["waits_for"] == [{"why": f"c1: the driver, which waits: {DOWN}", "next": "", "until": 4e9}]
        assert json.loads(person("explain", "c1", "--json").stdout)["waits_for"][0]["until"] == 4e9
        assert f"waits for: the driver, which waits: {DOWN} (until " in " ".join(person("pr").stdout.split())
    assert "cannot be reached" not in person("status").stdout  # what a driver has left that is no more
    assert "- c1: a driver" in person("explain").stdout


def test_what_the_driver_waits_for_goes_before_what_the_stage_lets_one_think() -> None:
    held = Wait(9_000.0, "GitHub's quota of this hour is used up")
    assert waits(at(Stage.WAITING_CI).run, 0.0, held) == [held]
    checks = Wait(None, "the checks are running")
    assert waits(at(Stage.WAITING_CI).run, 0.0, checks) == [checks]


def test_a_run_on_github_that_has_no_pull_request_yet_sends_nobody_to_an_address_for_git(tmp_path: Path) -> None:
    clone = "https://github.com/acme/widgets.git"
    began = e.RunStarted("r1", "Greet", "main", "b0", forge="github", hosted=hosted_to_data(PLACE), remote=clone)
    person = person_with(Story(began, e.PlanProposed(plan()), e.PlanApproved()), tmp_path)
    refused = person("review", "list")
    assert refused.returncode == 1
    assert clone not in refused.stderr
    assert "no pull request was opened yet: `claudetm explain` tells what it waits for" in refused.stderr
