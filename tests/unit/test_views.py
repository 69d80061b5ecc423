"""What driving commands tell: plain lines, JSON lines, the run's readable log; to whoever there is."""

from __future__ import annotations

import json
import os
import re
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from claudetm.cli.driving import audience
from claudetm.cli.exit_codes import ExitCode
from claudetm.cli.json_view import JsonLines
from claudetm.cli.runlog import RunLog
from claudetm.cli.views import Lines, Quiet, View, conclude
from claudetm.cli.words import spoken, told
from claudetm.engine.loop import Ending
from claudetm.errors import UsageError
from claudetm.ports.agent import Progress
from claudetm.workflow import events as e
from claudetm.workflow.limits import Wait
from claudetm.workflow.outcomes import Outcome, Usage
from claudetm.workflow.run import Run
from story import STARTED, Story, example, plan, working

SECRET = "ghp_abcdefghijklmnop"


def tell(view: View, *events: e.Event) -> Run:
    """Let a run happen before a view's eyes."""
    run = Run()
    for record in Story(*events).records:
        run.apply(record)
        view.event(run, record)
    return run


def lines(level: str = "normal", **more: Any) -> tuple[Lines, list[str]]:
    found: list[str] = []
    return Lines(level, found.append, lambda: "now", **more), found


def test_a_line_is_time_change_and_what_happened() -> None:
    view, found = lines()
    tell(view, *STARTED, e.PlanProposed(plan()), e.PlanApproved(), e.ChangeStarted("c1", "claudetm/r1/c1", "b0"))
    assert found == [
        "now      run r1 on main at b0",
        "now      planned: 1 change, 1 task, 1 criterion",
        "now      plan approved by policy",
        "now c1   begun on claudetm/r1/c1",
    ]


def test_at_normal_what_stands_elsewhere_on_the_screen_is_not_told_twice() -> None:
    paused = (*STARTED, e.DriverStarted("1.0", 7), e.RunPaused("because"))
    normal, verbose = lines(), lines("verbose")
    for view, _ in (normal, verbose):
        tell(view, *paused)
    assert normal[1] == ["now      run r1 on main at b0"]
    assert verbose[1][1:] == ["now      claudetm 1.0 drives the run (process 7)", "now      paused: because"]


def test_what_the_agent_does_is_told_at_verbose_alone() -> None:
    for level, expected in (("normal", []), ("verbose", ["now        Edit a.py"])):
        view, found = lines(level)
        view.progress(Progress("s1", "Edit a.py"))
        assert found == expected


def test_a_wait_is_told_once_until_something_happens() -> None:
    view, found = lines()
    for _ in range(3):
        view.wait(Wait(None, "the checks are running"))
    tell(view, *STARTED)
    view.wait(Wait(None, "the checks are running"))
    assert [text.split(" ", 1)[1].strip() for text in found] == [
        "waiting: the checks are running",
        "run r1 on main at b0",
        "waiting: the checks are running",
    ]


def test_a_line_is_one_line_clean_and_cut() -> None:
    view, found = lines(widest=60)
    view.notice(f"a\x1b[2J {SECRET}\nb {'x' * 100}")
    assert found[0].startswith("now      a [secret] b xxx")
    assert (len(found[0]), found[0][-1]) == (60, "…")


def test_a_wait_keeps_its_remedy_in_a_file_and_is_broken_by_words_at_a_terminal() -> None:
    why = f"github.com cannot be reached by git ({'no route to the host; ' * 10}): mend the network, or call git"
    whole, found = lines()
    whole.wait(Wait(None, why))
    assert found == [f"now      waiting: {why}"]
    narrow, rows = lines(columns=60)
    narrow.wait(Wait(None, why))
    assert max(map(len, rows)) <= 60
    assert " ".join(" ".join(rows).split()) == f"now waiting: {why}"
    assert {row[:14] for row in rows[1:]} == {" " * 14}


def test_settings_are_told_as_they_are_typed() -> None:
    story = Story(*STARTED)
    settings = {
        "auto_push": False,
        "session_seconds": 90.0,
        "trusted": ["bob", "helper[bot]"],
        "tuning": {"roles.fixer.model": "opus"},
    }
    assert told(story.run, "SettingsChanged", {"settings": settings}) == (
        "new settings: git.auto_push false, limits.session_minutes 1.5, reviews.trusted bob 'helper[bot]', "
        "roles.fixer.model opus"
    )
    assert told(story.run, "LimitsRaised", {"limits": {"sessions": 9}}) == "new limits: limits.sessions 9"


@pytest.mark.parametrize("kind", sorted(e.EVENTS))
def test_every_event_can_be_told(kind: str) -> None:
    """Whatever the journal holds, no view may fall over it."""
    story = working()
    event = example(e.EVENTS[kind], "c1" if issubclass(e.EVENTS[kind], e.ChangeEvent) else "")
    data = json.loads(json.dumps(e.event_to_data(event)))
    text = told(story.run, kind, data) or spoken(kind)
    assert text
    assert text.isprintable()


# --- JSON ----------------------------------------------------------------------------------------------------


def objects(level: str = "normal") -> tuple[JsonLines, list[str]]:
    found: list[str] = []
    return JsonLines(level, found.append), found


def test_what_takes_its_time_outside_of_a_session_is_told_at_any_level_but_quiet() -> None:
    ours, theirs = Progress("", "set-up for k1 at b0: make"), Progress("s1", "Edit a.py")
    view, found = lines()
    view.progress(theirs)
    view.progress(ours)
    assert found == ["now      set-up for k1 at b0: make"]
    told, written = objects("normal")
    told.progress(theirs)
    told.progress(ours)
    assert [json.loads(line)["text"] for line in written] == ["set-up for k1 at b0: make"]


def test_an_event_is_an_object_with_its_words() -> None:
    view, found = objects()
    tell(view, *STARTED, e.PlanProposed(plan()), e.PlanApproved(), e.ChangeStarted("c1", "claudetm/r1/c1", "b0"))
    assert json.loads(found[-1]) == {
        "type": "ChangeStarted",
        "seq": 4,
        "time": "1970-01-01T00:16:44.000Z",
        "change": "c1",
        "text": "begun on claudetm/r1/c1",
        "data": {"branch": "claudetm/r1/c1", "base": "b0"},
    }
    assert all("\n" not in line for line in found)


def test_secrets_are_masked_and_texts_bounded_wherever_they_stand() -> None:
    view, found = objects()
    tell(view, replace(STARTED[0], goal=f"{SECRET} {'x' * 5000}"), e.PlanRefused((SECRET, "y" * 5000)))
    assert SECRET not in "".join(found)
    goal = json.loads(found[0])["data"]["goal"]
    assert (goal[:9], len(goal), goal[-1]) == ("[secret] ", 2000, "…")
    assert len(json.loads(found[1])["data"]["reasons"][1]) == 2000


def test_waits_notices_and_at_verbose_progress_are_objects_too() -> None:
    view, found = objects("verbose")
    view.notice("checks: make test")
    view.wait(Wait(0.0, "it is over"))
    view.wait(Wait(1_000.0, "the usage limit resets"))
    view.progress(Progress("s1", "Edit a.py", Usage(0.5)))
    shown = [json.loads(line) for line in found]
    assert [s["type"] for s in shown] == ["notice", "wait", "wait", "progress"]
    assert shown[2]["until"] == "1970-01-01T00:16:40.000Z"
    assert (shown[3]["session"], shown[3]["cost_usd"]) == ("s1", 0.5)
    assert all(set(s) >= {"type", "seq", "time", "text"} for s in shown)
    normal, told_at_normal = objects()
    normal.progress(Progress("s1", "Edit a.py"))
    assert told_at_normal == []


@pytest.mark.parametrize(
    ("last", "ending", "code", "step"),
    [
        (e.RunPaused("because"), Ending.PAUSED, 2, "claudetm resume"),
        (e.RunBlocked("because", "do this"), Ending.BLOCKED, 1, "do this"),
        (e.RunCancelled(), Ending.CANCELLED, 1, None),
    ],
    ids=str,
)
def test_the_last_object_says_how_it_ended(last: e.Event, ending: Ending, code: int, step: str | None) -> None:
    view, found = objects("quiet")
    view.end(tell(view, *STARTED, last), ending)
    [only] = map(json.loads, found)
    assert (only["type"], only["ending"], only["exit_code"], only["next"]) == ("ended", str(ending), code, step)
    assert only["seq"] == 2


def test_a_driver_that_was_interrupted_says_so_last() -> None:
    view, found = objects()
    view.broke_off("interrupted", ExitCode.STOPPED)
    last = json.loads(found[-1])
    assert (last["type"], last["exit_code"], last["next"]) == ("ended", 2, "claudetm resume")


# --- the readable log ----------------------------------------------------------------------------------------


def test_the_log_holds_all_there_is_with_utc_times_and_is_its_owner_s_alone(tmp_path: Path) -> None:
    log = RunLog()
    log.notice(f"checks: make test {SECRET}")
    log.open(tmp_path / "logs")
    run = tell(log, *STARTED, e.SessionStarted("s1", "planner", "plan", model="opus"), e.RunPaused("because"))
    log.progress(Progress("s1", "Read a.py"))
    log.end(run, Ending.PAUSED)
    log.close()
    [path] = (tmp_path / "logs").iterdir()
    assert re.fullmatch(r"run-\d{8}T\d{6}Z\.txt", path.name)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    texts = path.read_text().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ", text) for text in texts)
    assert [text[26:] for text in texts] == [
        "checks: make test [secret]",
        "run r1 on main at b0",
        "planner session for plan (opus)",
        "paused: because",
        "  Read a.py",
        "paused: because (1 session, $0.00)",
        "next: claudetm resume",
    ]


def test_a_disk_that_refuses_the_log_ends_no_run(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file in its place")
    log = RunLog()
    log.open(tmp_path / "logs")
    log.notice("still here")
    log.close()
    full = RunLog()
    full._file = os.open("/dev/full", os.O_WRONLY)
    full.notice("no space left")
    full.close()


# --- who is told ---------------------------------------------------------------------------------------------


def test_quiet_tells_only_how_it_ended(capsys: pytest.CaptureFixture[str]) -> None:
    view = Quiet()
    view.notice("checks: make test")
    view.stopping("stopping")
    view.wait(Wait(None, "the checks are running"))
    view.end(tell(view, *STARTED, e.RunPaused("because")), Ending.PAUSED)
    assert capsys.readouterr().out == "paused: because (0 sessions, $0.00)\nnext: claudetm resume\n"


def test_how_it_ended_goes_to_standard_error_where_it_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    run = Story(*STARTED, e.RunBlocked("because", "do this")).run
    assert conclude(run, Ending.BLOCKED) == 1
    out, err = capsys.readouterr()
    assert (out, err) == ("", "blocked: because (0 sessions, $0.00)\nnext: do this\n")


@pytest.mark.parametrize(("level", "form"), [("loud", "text"), ("normal", "xml")])
def test_a_level_or_a_format_that_there_is_not_is_refused(level: str, form: str) -> None:
    with pytest.raises(UsageError, match="use one of"):
        audience(level, form)


def test_a_session_that_failed_says_why_and_one_that_was_stopped_does_not() -> None:
    for outcome, words in (
        (Outcome.CRASHED, "crashed: It broke, $0.00"),
        (Outcome.INTERRUPTED, "interrupted, $0.00"),
    ):
        view, found = lines()
        tell(
            view,
            *STARTED,
            e.SessionStarted("s1", "planner", "plan"),
            e.SessionEnded("s1", "plan", outcome, detail="It broke."),
        )
        assert found[-1] == f"now      session ended: {words}"
