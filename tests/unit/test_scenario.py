"""Reading scenarios: what is written is what plays, and what is wrong is named with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from claudetm.errors import ConfigError
from claudetm.ports.agent import Role
from claudetm.prompts.answers import PlannerAnswer, SessionAnswer, findings, plan_of
from claudetm.prompts.answers import parse as parse_answer
from claudetm.testing.scripted_model.scenario import ANSWER, Fault, Scenario, Session, load, parse, shipped

GOOD = """\
name: small
sessions:
  - role: worker
    subject: c1.t1
    status: 529
    times: 2
    turns:
      - say: Hello
        use:
          - Bash: {command: ls}
      - answer: {outcome: done}
        stall: true
"""


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as refused:
        parse(text, "file.yaml")
    return str(refused.value)


def test_a_scenario_reads_as_it_is_written() -> None:
    [session] = parse(GOOD, "file.yaml").sessions
    assert (session.role, session.subject, session.fault, session.times) == (Role.WORKER, "c1.t1", Fault.STATUS, 2)
    first, last = session.turns
    assert [(u.tool, u.input) for u in first.uses] == [("Bash", {"command": "ls"})]
    assert [(u.tool, u.input) for u in last.uses] == [(ANSWER, {"outcome": "done"})]
    assert (first.fault, last.fault) == (None, Fault.STALL)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("subject: c1.t1", "subjct: c1.t1", "file.yaml:4: sessions[0].subjct: unknown key"),
        ("role: worker", "role: walker", "file.yaml:3: sessions[0].role: "),
        ("- Bash:", "- Bish:", "file.yaml:10: sessions[0].turns[0].use[0]: unknown tool Bish"),
        ("{command: ls}", "{comand: ls}", "file.yaml:10: sessions[0].turns[0].use[0]: Bash needs command"),
        ("{command: ls}", "{command: ls, colour: red}", "Bash has no input colour"),
        ("- Bash: {command: ls}", "- Bash", "a use is one tool with its input"),
        ("- Bash: {command: ls}", "- Bash: ls", "file.yaml:10: "),
        ("stall: true", "stal: true", "file.yaml:12: sessions[0].turns[1].stal: unknown key"),
        ("stall: true", "stall: true\n        cut: true", "only one of cut, stall can happen"),
        ("stall: true", "times: 3", "`times` counts a fault"),
        ("answer: {outcome: done}", "use: [Bash: {command: ls}]", "the last turn must answer"),
        ("- say: Hello", "- delay: 1\n      - say: Hello", "file.yaml:8: sessions[0].turns[0]: a turn says"),
        ("status: 529", "status: 200", "file.yaml:5: sessions[0].status: "),
        ("name: small", "nam: small", "file.yaml:1: "),
    ],
)
def test_what_is_wrong_is_one_sentence_with_its_line(old: str, new: str, said: str) -> None:
    assert old in GOOD
    sentence = refusal(GOOD.replace(old, new, 1))
    assert said in sentence
    assert "\n" not in sentence
    assert sentence.endswith(".")


@pytest.mark.parametrize("text", ["", "- a list", "name: [", "name: only", "name: x\nsessions: []"])
def test_what_is_no_scenario_is_refused(text: str) -> None:
    assert refusal(text).startswith("file.yaml")


@pytest.mark.parametrize("pattern", ["thread (", "thread"])
def test_what_cannot_find_anything_is_refused(pattern: str) -> None:
    text = GOOD.replace("status: 529", f"find: {{thread: {pattern!r}}}\n    status: 529")
    assert "file.yaml:5: sessions[0].find.thread: " in refusal(text)


def test_a_key_that_stands_twice_is_refused() -> None:
    assert refusal(GOOD.replace("times: 2", "status: 500")) == "file.yaml:6: the key status stands twice."


def test_a_scenario_is_read_from_a_path(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(GOOD)
    assert load(str(tmp_path / "mine.yaml")).source == str(tmp_path / "mine.yaml")


def test_an_unknown_name_is_refused_with_those_that_ship() -> None:
    with pytest.raises(ConfigError, match=r"no scenario damo; known are .*demo"):
        load("damo")


@pytest.fixture(params=shipped())
def scenario(request: pytest.FixtureRequest) -> Scenario:
    return load(str(request.param))


def test_what_ships_answers_in_the_form_of_its_role(scenario: Scenario) -> None:
    answers = [(s, t.answer) for s in scenario.sessions for t in s.turns if t.answer is not None]
    assert answers
    for session, answer in answers:
        SessionAnswer.model_validate(answer) if alone(session) else parse_answer(session.role, answer)


def alone(session: Session) -> bool:
    """Whether a worker's session is a whole task of the monitor, which answers in a form of its own."""
    return session.role is Role.WORKER and any("what is asked for above" in text for text in session.contains)


def test_what_ships_has_a_sound_plan_with_a_worker_for_each_task_and_a_reviewer_for_each_change(
    scenario: Scenario,
) -> None:
    planner = [s for s in scenario.sessions if s.role is Role.PLANNER]
    said = [parse_answer(s.role, t.answer) for s in planner for t in s.turns if t.answer is not None]
    plans = [plan_of(a) for a in said if isinstance(a, PlannerAnswer)]
    subjects = {(s.role, s.subject) for s in scenario.sessions}
    assert plans
    assert [findings(p, ()) for p in plans] == [()] * len(plans)
    for change in (c for p in plans for c in p.changes):
        assert {(Role.WORKER, t.id) for t in change.tasks} <= subjects
        assert (Role.REVIEWER, f"{change.id}:review") in subjects
