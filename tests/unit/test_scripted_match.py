"""Which turn of a scenario answers a request."""

from __future__ import annotations

import json
from typing import Any

import pytest

from claudetm.prompts.briefs import PlannerBrief
from claudetm.prompts.render import Prompts
from claudetm.testing.scripted_model.match import Play, Side, Unexpected, choose
from claudetm.testing.scripted_model.scenario import Scenario, parse

LOOK = {"say": "Looking.", "use": [{"Bash": {"command": "ls {cwd}"}}]}
PAIR = {"use": [{"Bash": {"command": "one"}}, {"Bash": {"command": "two"}}]}
TALK = {"say": "Thinking aloud."}
DONE = {"answer": {"outcome": "done"}}


def scenario(*sessions: dict[str, Any]) -> Scenario:
    return parse(json.dumps({"name": "test", "sessions": sessions}), "test.yaml")


def worker(*turns: dict[str, Any], subject: str = "c1.t1", **more: Any) -> dict[str, Any]:
    return {"role": "worker", "subject": subject, "turns": turns, **more}


def request(*messages: dict[str, Any], role: str = "worker", prompt: str = "Subject: c1.t1\n") -> dict[str, Any]:
    first = {"role": "user", "content": [text("<system-reminder>\nSubject: no\n</system-reminder>"), text(prompt)]}
    system = [text("You are a Claude agent."), text(f"You are the {role} of claudetm.\n")]
    return {"model": "m", "system": system, "tools": [{"name": "Bash"}], "messages": [first, *messages]}


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def said(words: str) -> dict[str, Any]:
    return {"role": "assistant", "content": [text(words)]}


def asked(words: str) -> dict[str, Any]:
    return {"role": "user", "content": words}


def result(tool_id: str, content: str = "ok", *, is_error: bool = False) -> dict[str, Any]:
    block = {"type": "tool_result", "tool_use_id": tool_id, "content": content, "is_error": is_error}
    return {"role": "user", "content": [block]}


def call(play: Play) -> dict[str, Any]:
    blocks = [
        {"type": "tool_use", "id": play.tool_id(at), "name": use.tool, "input": use.input}
        for at, use in enumerate(play.turn.uses)
    ]
    return {"role": "assistant", "content": blocks}


def played(of: Scenario, *messages: dict[str, Any], **more: Any) -> Play:
    play = choose(of, request(*messages, **more))
    assert isinstance(play, Play), play
    return play


def test_each_round_of_results_leads_to_the_next_turn() -> None:
    plot = scenario(worker(LOOK, DONE))
    first = played(plot)
    second = played(plot, call(first), result(first.tool_id(0)))
    assert (first.turn_at, second.turn_at) == (0, 1)


def test_the_same_request_gets_the_same_turn_and_the_same_tool_ids() -> None:
    plot = scenario(worker(PAIR, DONE))
    assert played(plot) == played(plot)


def test_a_turn_is_over_only_when_each_of_its_tools_has_a_result() -> None:
    plot = scenario(worker(PAIR, DONE))
    first = played(plot)
    half = [call(first), result(first.tool_id(0))]
    assert played(plot, *half).turn_at == 0
    assert played(plot, *half, result(first.tool_id(1))).turn_at == 1


def test_results_count_when_the_cli_splits_them_over_messages_of_one_tool_each() -> None:
    plot = scenario(worker(PAIR, DONE))
    first = played(plot)
    one, two = ({"role": "assistant", "content": [b]} for b in call(first)["content"])
    assert played(plot, one, result(first.tool_id(0)), two, result(first.tool_id(1))).turn_at == 1


def test_a_resumed_session_plays_the_turn_that_the_kill_cut_off_again() -> None:
    plot = scenario(worker(LOOK, PAIR, DONE))
    first = played(plot)
    resumed = [call(first), result(first.tool_id(0)), said("No response requested."), asked("Go on.")]
    again = played(plot, *resumed)
    assert again.turn_at == 1
    assert again.tool_id(0) != first.tool_id(0)


@pytest.mark.parametrize(
    "words",
    [
        "The user doesn't want to proceed with this tool use. The tool use was rejected.",
        "[Tool call interrupted: the session ended before this call's result was recorded.]",
        "Exit code 137",
    ],
)
def test_a_tool_that_was_stopped_is_used_again_once_the_session_is_resumed(words: str) -> None:
    plot = scenario(worker(LOOK, DONE))
    first = played(plot)
    stopped = [call(first), result(first.tool_id(0), words, is_error=True)]
    assert played(plot, *stopped, asked("Go on.")).turn_at == 0


def test_a_command_that_ends_by_a_signal_of_its_own_is_over() -> None:
    plot = scenario(worker(LOOK, DONE))
    first = played(plot)
    assert played(plot, call(first), result(first.tool_id(0), "Exit code 137", is_error=True)).turn_at == 1


def test_a_tool_that_failed_leads_on() -> None:
    plot = scenario(worker(LOOK, DONE))
    first = played(plot)
    assert played(plot, call(first), result(first.tool_id(0), "Exit code 1", is_error=True)).turn_at == 1


def test_a_turn_of_text_is_over_once_it_was_said() -> None:
    plot = scenario(worker(TALK, DONE))
    assert played(plot, said("Thinking aloud."), asked("You MUST call StructuredOutput.")).turn_at == 1


def test_texts_of_the_cli_itself_do_not_count() -> None:
    plot = scenario(worker(TALK, DONE))
    assert played(plot, said("No response requested."), asked("Go on.")).turn_at == 0


def test_the_last_turn_plays_again_when_it_is_asked_for_again() -> None:
    plot = scenario(worker(DONE))
    first = played(plot)
    again = played(plot, call(first), result(first.tool_id(0), "not yet", is_error=True))
    assert (again.turn_at, again.turn) == (0, first.turn)
    assert again.tool_id(0) != first.tool_id(0)


def test_the_first_session_that_fits_plays() -> None:
    plot = scenario(worker(TALK, subject="c1.*", contains=["tried before"]), worker(DONE, subject="c1.*"))
    assert played(plot).session_at == 1
    assert played(plot, prompt="Subject: c1.t9\nThis was tried before.").session_at == 0


def test_a_conversation_that_comes_to_fit_another_session_starts_that_one() -> None:
    plot = scenario(worker(TALK, LOOK, DONE, contains=["review"]), worker(LOOK, DONE))
    first = played(plot)
    later = played(plot, call(first), result(first.tool_id(0)), asked("Now mind the review."))
    assert (later.session_at, later.turn_at) == (0, 0)


@pytest.mark.parametrize(
    "message",
    [
        {"role": "system", "content": "# Environment\n - Primary working directory: /some/where\n - Shell: bash"},
        {"role": "user", "content": [text("Working directory: /some/where")]},
    ],
)
def test_the_working_directory_comes_from_the_request(message: dict[str, Any]) -> None:
    assert played(scenario(worker(LOOK, DONE)), message).turn.use[0].input == {"command": "ls /some/where"}


def test_what_claudetm_tells_a_session_is_recognised() -> None:
    prompts = Prompts()
    look = {"role": "planner", "subject": "plan", "turns": [LOOK, DONE]}
    brief = PlannerBrief(goal="Subject: none of this", subject="plan", cwd="/some/where", run="r1")
    body = request(prompt=prompts.user(brief))
    body["system"] = prompts.system(brief, "You are the worker of claudetm.")
    play = choose(scenario(worker(DONE), look), body)
    assert isinstance(play, Play), play
    assert play.turn.use[0].input == {"command": "ls /some/where"}


def test_what_is_found_in_the_prompt_fills_the_answer_and_other_braces_stay() -> None:
    answer = {"answer": {"id": "{thread}", "files": ["{subject}.txt", "{other}", "${HOME}"]}}
    plot = scenario(worker(answer, find={"thread": r"thread (\w+)"}))
    filled = played(plot, prompt="Subject: c1.t1\nSee thread T7.").turn.answer
    assert filled == {"id": "T7", "files": ["c1.t1.txt", "{other}", "${HOME}"]}


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (request(role="fixer"), "the fixer on c1.t1"),
        (request(prompt="Subject: c9.t1\n"), "the worker on c9.t1"),
        (request(prompt="No subject here."), "Subject:"),
        ({**request(), "system": "You are somebody else."}, "without a role"),
    ],
)
def test_what_the_scenario_does_not_know_is_unexpected_and_named(body: dict[str, Any], named: str) -> None:
    chosen = choose(scenario(worker(DONE)), body)
    assert isinstance(chosen, Unexpected)
    assert named in chosen.reason
    assert "test.yaml" in chosen.reason


def test_a_prompt_without_what_is_to_be_found_is_unexpected() -> None:
    chosen = choose(scenario(worker(DONE, find={"thread": r"thread (\w+)"})), request())
    assert isinstance(chosen, Unexpected)
    assert r"thread (\w+)" in chosen.reason


def test_a_conversation_is_not_summarised() -> None:
    order = asked("Respond with plain text only \u2014 an <analysis> block followed by a <summary> block.")
    plot = scenario(worker(TALK, DONE))
    assert choose(plot, request(order)) == Side("")
    assert played(plot, order, said("Thinking aloud."), asked("Go on.")).turn_at == 1


def test_a_request_of_the_cli_itself_is_a_side_request() -> None:
    title = {"model": "haiku", "system": "Name this conversation.", "messages": [asked("Subject: c1.t1")]}
    assert isinstance(choose(scenario(worker(DONE)), title), Side)
