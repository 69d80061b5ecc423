"""`claudetm logs`: the readable log and its end, events as JSON, the sessions, and what was said in one."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from claudetm.adapters.agent.transcript import Transcript
from claudetm.adapters.store.directory import StateDirectory
from claudetm.adapters.store.journal import encode
from claudetm.adapters.store.lock import acquire
from claudetm.cli.transcript_text import told
from claudetm.workflow import events as e
from claudetm.workflow.outcomes import Outcome, Usage
from story import STARTED, Story
from terminal import Terminal, terminal, wait_for

SECRET = "ghp_abcdefghijklmnop"
BEFORE = "run-19700101T000000Z.txt"  # older than the run, which begins at 1,001 seconds
FIRST, SECOND = "run-19700101T010000Z.txt", "run-19700101T020000Z.txt"


@pytest.fixture
def person(tmp_path: Path) -> Terminal:
    """A person whose run held three sessions, and has logs of two drivers; one more log is of a run before it."""
    person = terminal(tmp_path, repository=False)
    (person.here / ".git").mkdir()
    state = StateDirectory(person.state)
    state.create(person.here / ".git")
    story = Story(*STARTED)
    for i, outcome in (("aa11", Outcome.CRASHED), ("aa22", Outcome.ANSWERED)):
        story.tell(e.SessionStarted(i, "planner", "plan", model="opus"))
        story.tell(e.SessionEnded(i, "plan", outcome, usage=Usage(0.25)))
    story.tell(e.SessionStarted("bb33", "planner", "plan", model="opus"))
    state.journal.write_bytes(b"".join(encode(r) for r in story.records))
    for name, text in (
        (BEFORE, "of another run\n"),
        (FIRST, "one\ntwo\n"),
        (SECOND, f"three {SECRET}\x1b[2J\nfour\n"),
    ):
        (state.logs / name).write_text(text)
    for i in ("aa11", "aa22"):
        transcript = Transcript(state.logs, i)
        transcript.write("Started", {"role": "planner", "model": "opus", "at": 0.0, "prompt": "Plan it"})
        transcript.write("AssistantMessage", {"content": [{"text": "I look first."}]})
        transcript.close()
    return person


def test_the_last_lines_of_the_run_s_logs_are_shown_clean(person: Terminal) -> None:
    assert person("logs").stdout == "one\ntwo\nthree [secret]\nfour\n"
    assert person("logs", "-n", "3").stdout == "two\nthree [secret]\nfour\n"
    assert person("logs", "--lines", "1").stdout == "four\n"


def test_without_a_log_the_journal_s_events_are_shown(person: Terminal) -> None:
    for path in person.state.glob("logs/run-*.txt"):
        path.unlink()
    shown = person("logs").stdout.splitlines()
    assert len(shown) == 6
    assert "SessionStarted [planning] id=aa11 role=planner" in shown[1]


def test_a_follower_ends_at_once_where_nobody_drives(person: Terminal) -> None:
    ended = person("logs", "-f", "-n", "1")
    assert (ended.returncode, ended.stdout) == (0, "four\n")


def test_a_follower_goes_on_with_the_next_driver_s_log_and_ends_with_it(person: Terminal) -> None:
    logs = person.state / "logs"
    with acquire(person.state / "lock"):
        follower = person.begin("logs", "-f", "-n", "1")
        wait_for(lambda: "four\n" in person.output(), "the last line")
        with (logs / SECOND).open("a") as log:
            log.write("five\nhalf a li")
            log.flush()
            wait_for(lambda: "five\n" in person.output(), "the next line")
            log.write("ne\n")
        (logs / "run-20000101T000000Z.txt").write_text("of the next driver\n")
        wait_for(lambda: "of the next driver\n" in person.output(), "the next log")
    assert follower.wait(30) == 0
    assert person.output() == "four\nfive\nhalf a line\nof the next driver\n"


def test_ctrl_c_ends_a_follower_with_exit_0(person: Terminal) -> None:
    with acquire(person.state / "lock"):
        follower = person.begin("logs", "-f", "-n", "1")
        wait_for(lambda: person.output() == "four\n", "the last line")
        follower.send_signal(signal.SIGINT)
        assert follower.wait(30) == 0
    assert person.output() == "four\n"


def test_events_as_json(person: Terminal) -> None:
    objects = [json.loads(line) for line in person("logs", "--json", "-n", "2").stdout.splitlines()]
    assert [(o["seq"], o["type"], o["text"]) for o in objects] == [
        (5, "SessionEnded", "session ended: answered, $0.25"),
        (6, "SessionStarted", "planner session for plan (opus)"),
    ]


def test_sessions_are_listed_with_role_subject_outcome_and_cost(person: Terminal) -> None:
    clock = time.strftime("%H", time.localtime(1_002.0))
    rows = [line.split() for line in person("logs", "--list").stdout.splitlines()]
    assert [(r[0], *r[2:]) for r in rows] == [
        ("aa11", "planner", "plan", "crashed", "$0.25", "opus"),
        ("aa22", "planner", "plan", "answered", "$0.25", "opus"),
        ("bb33", "planner", "plan", "open", "$0.00", "opus"),
    ]
    assert rows[0][1].startswith(clock)
    listed = json.loads(person("logs", "--list", "--json").stdout)
    assert [(s["id"], s["outcome"], s["cost_usd"]) for s in listed][1] == ("aa22", "answered", 0.25)


def test_one_session_is_named_by_the_start_of_its_id(person: Terminal) -> None:
    assert person("logs", "--session", "aa2").stdout.splitlines()[1:] == ["claudetm: Plan it", "agent: I look first."]
    assert "2 sessions begin with aa" in person("logs", "--session", "aa").stderr
    assert "no transcript of a session bb33" in person("logs", "--session", "bb33").stderr
    raw = person("logs", "--session", "aa2", "--json").stdout.splitlines()
    assert [json.loads(line)["type"] for line in raw] == ["Started", "AssistantMessage"]
    cut = person("logs", "--session", "aa2", "-n", "1").stdout.splitlines()
    assert cut == ["… 2 lines before these; -n 3 shows them", "agent: I look first."]


def test_the_list_is_no_companion_of_other_questions(person: Terminal) -> None:
    for options in (("-f",), ("--session", "aa2")):
        ended = person("logs", "--list", *options)
        assert (ended.returncode, len(ended.stderr.splitlines())) == (1, 1)


# --- a transcript's lines in words ---------------------------------------------------------------------------


def words(kind: str, run: str = "r1", **data: object) -> list[str]:
    return told(run, json.dumps({"type": kind, **data}))


def test_who_said_what_and_which_tools_with_their_results_cut() -> None:
    assert words("AssistantMessage", content=[{"text": "First\n\nthe state."}]) == [
        "agent: First",
        "       the state.",
    ]
    use = {"id": "t1", "name": "Edit", "input": {"file_path": "/x/r1/changes/c1/a.py", "old_string": "x"}}
    assert words("AssistantMessage", content=[use]) == ["  Edit a.py"]
    result = {"tool_use_id": "t1", "content": "\n".join(f"row {n}" for n in range(9)), "is_error": None}
    assert words("UserMessage", content=[result])[3:] == ["    row 3", "    … 5 more lines"]
    wrong = {"tool_use_id": "t1", "content": [{"type": "text", "text": "no such file"}], "is_error": True}
    assert words("UserMessage", content=[wrong]) == ["    ! no such file"]
    assert words("UserMessage", content="Carry on") == ["claudetm: Carry on"]


def test_the_answer_is_told_once() -> None:
    answer = {"id": "t1", "name": "StructuredOutput", "input": {"outcome": "done"}}
    assert words("AssistantMessage", content=[answer]) == ["answer: {", '         "outcome": "done"', "        }"]
    assert (
        words("UserMessage", content=[{"tool_use_id": "t1", "content": "Structured output provided successfully"}])
        == []
    )


def test_the_end_and_what_went_wrong_are_told() -> None:
    assert words("ResultMessage", subtype="success", num_turns=3, total_cost_usd=0.5) == [
        "ended: success, 3 turns, $0.50"
    ]
    denied = words("SystemMessage", subtype="permission_denied", data={"tool_name": "WebFetch"})
    assert denied == ["the CLI: permission denied WebFetch"]
    assert words("AssistantMessage", error="overloaded", content=[]) == ["the service: overloaded"]


@pytest.mark.parametrize("line", ["", "{", "[]", "1", '{"type": "Used"}', '{"type": "AssistantMessage"}'])
def test_what_is_of_no_use_or_torn_is_passed_over(line: str) -> None:
    assert told("r1", line) == []


def test_a_transcript_cannot_steer_the_terminal_show_a_secret_or_fill_the_screen() -> None:
    [line] = words("AssistantMessage", content=[{"text": f"\x1b[2J{SECRET} {'x' * 500}"}])
    assert line.startswith("agent: [secret] xxx")
    assert (len(line), line[-1]) == (160, "…")
