"""Options of `start` and `resume` with their effect seen: where a run stops, what it says, and how it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from terminal import SCENARIOS, Terminal, terminal

pytestmark = pytest.mark.e2e

PLANNER = "    subject: plan\n    turns:\n"


@pytest.fixture
def person(tmp_path: Path) -> Terminal:
    return terminal(tmp_path)


def scenario(person: Terminal, *changes: tuple[str, str]) -> str:
    """Write the scenario without its delay, with texts replaced; a run that goes by it plays what it says now."""
    text = (SCENARIOS / "loud.yaml").read_text(encoding="utf-8").replace("delay: 5", "delay: 0")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = person.home / "scenario.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def begin(person: Terminal, path: str, *options: str) -> tuple[int, str]:
    ended = person("start", "Greet loudly", "--rehearse", path, "--no-review", *options)
    assert ended.stderr == "" or ended.returncode == 1, ended
    return ended.returncode, ended.stdout


def go_on(person: Terminal, *options: str) -> tuple[int, str]:
    ended = person("resume", *options)
    return ended.returncode, ended.stdout + ended.stderr


def refused(person: Terminal, *options: str) -> str:
    """Resume with limits that cannot be: one sentence, and the journal as it was."""
    before = person.events()
    ended = person("resume", *options)
    assert (ended.returncode, ended.stdout, len(ended.stderr.splitlines())) == (1, "", 1), ended
    assert person.events() == before
    return ended.stderr


def of_kind(person: Terminal, kind: str) -> list[dict[str, Any]]:
    return [e["data"] for e in person.events() if e["type"] == kind]


def outcomes(person: Terminal) -> list[tuple[str, str]]:
    """Return each session's model and how it ended."""
    pairs = zip(of_kind(person, "SessionStarted"), of_kind(person, "SessionEnded"), strict=True)
    return [(start["model"], end["outcome"]) for start, end in pairs]


def test_time_sessions_turns_and_model_are_limited_and_raised(person: Terminal) -> None:
    person.git("branch", "other")
    path = scenario(person, (f"{PLANNER}      - answer:", f"{PLANNER}      - delay: 60\n        answer:"))
    first = ("--timeout", "3s", "-n", "1", "-m", "haiku", "--forge", "local", "--base", "other")
    code, out = begin(person, path, *first)
    assert (code, outcomes(person)) == (2, [("haiku", "time_limit")])
    assert "the limit of 1 sessions is reached" in out
    assert out.endswith("next: claudetm resume --max-sessions NUMBER\n")
    [started] = of_kind(person, "RunStarted")
    assert (started["target"], started["forge"], started["settings"]["session_seconds"]) == ("other", "local", 3.0)

    scenario(person)
    assert go_on(person, "--timeout", "5m", "-n", "2", "-m", "sonnet")[0] == 2
    assert outcomes(person)[1:] == [("sonnet", "answered")]
    assert go_on(person, "-n", "3", "--max-turns", "1")[0] == 2
    assert outcomes(person)[2:] == [("sonnet", "turn_limit")]
    assert "The run has used 3 sessions already, so 2 cannot be its limit" in refused(person, "-n", "2")

    assert go_on(person, "-n", "20", "--max-turns", "50")[0] == 0
    assert of_kind(person, "LimitsRaised") == [
        {"limits": {"sessions": 2, "session_seconds": 300.0, "model": "sonnet"}},
        {"limits": {"sessions": 3, "turns": 1}},
        {"limits": {"sessions": 20, "turns": 50}},
    ]
    assert "def loud" in person.git("show", "other:greet/loud.py")
    assert "loud.py" not in person.git("ls-tree", "-r", "--name-only", "main")


def test_cost_and_pull_requests_are_limited_and_raised(person: Terminal) -> None:
    renamed = (("subject: c1.t1", "subject: c1-1.t1"), ("subject: c1.t2", "subject: c1-2.t1"))
    path = scenario(person, *renamed)
    code, out = begin(person, path, "--max-cost", "0.003", "--pr-per-task", "--max-prs", "1")
    assert (code, len(outcomes(person))) == (2, 1)
    assert "paused: the budget of $0.00 is spent" in out
    assert out.endswith("next: claudetm resume --max-cost AMOUNT\n")
    assert "cannot be its limit" in refused(person, "--max-cost", "0.001")

    code, out = go_on(person, "--max-cost", "5")
    assert code == 1
    assert "makes 2 pull requests, one a task, and at most 1 is allowed: merge or drop tasks" in out
    assert out.endswith("next: claudetm resume --max-prs 2\n")
    assert [len(of_kind(person, kind)) for kind in ("PlanRefused", "PlanProposed")] == [2, 0]

    assert go_on(person, "--max-prs", "2")[0] == 0
    opened = [(p["change"], p["number"]) for p in of_kind(person, "PullRequestOpened")]
    assert opened == [("c1-1", 1), ("c1-2", 2)]
    assert of_kind(person, "LimitsRaised") == [{"limits": {"cost_usd": 5.0}}, {"limits": {"max_prs": 2}}]


def test_turns_of_a_session_are_limited_from_the_start(person: Terminal) -> None:
    looks = "      - use:\n          - Glob:\n              pattern: '**/*.py'\n      - answer:"
    path = scenario(person, (f"{PLANNER}      - answer:", f"{PLANNER}{looks}"))
    assert begin(person, path, "--max-turns", "1", "-n", "1")[0] == 2
    assert [outcome for _, outcome in outcomes(person)] == ["turn_limit"]
