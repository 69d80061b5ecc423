"""SDK messages in our words. The end-to-end tests show what the CLI sends; here stand the forms it rarely sends."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from claude_agent_sdk import AssistantMessage, RateLimitEvent, ResultMessage, SystemMessage
from claude_agent_sdk.types import RateLimitInfo, StreamEvent, TextBlock, ToolUseBlock

from claudetm.adapters.agent.messages import Ending, Reading, describe, reset_time
from claudetm.adapters.agent.transcript import spent
from claudetm.ports.agent import SessionReport
from claudetm.workflow.outcomes import Outcome, Usage

NOW = datetime(2025, 11, 21, 12, 0, tzinfo=UTC).timestamp()


def result(**given: Any) -> ResultMessage:
    defaults: dict[str, Any] = {
        "subtype": "success",
        "duration_ms": 1,
        "duration_api_ms": 1,
        "is_error": True,
        "num_turns": 2,
        "session_id": "s",
        "total_cost_usd": 0.5,
    }
    return ResultMessage(**{**defaults, **given})


def limit(**given: Any) -> RateLimitEvent:
    return RateLimitEvent(RateLimitInfo(**{"status": "rejected", **given}), "u", "s")


def outcome(*messages: Any, ending: Ending = Ending.CLOSED, error: Exception | None = None) -> Outcome:
    return report(*messages, ending=ending, error=error).outcome


def report(*messages: Any, ending: Ending = Ending.CLOSED, error: Exception | None = None) -> SessionReport:
    reading = Reading()
    for message in messages:
        reading.take(message)
    return reading.report(ending, error, NOW)


RESULTS: list[tuple[dict[str, Any], Outcome]] = [
    ({"is_error": False, "structured_output": {"a": 1}}, Outcome.ANSWERED),
    ({"is_error": False, "structured_output": None}, Outcome.NO_ANSWER),
    ({"is_error": False, "structured_output": "text"}, Outcome.NO_ANSWER),
    ({"is_error": False, "stop_reason": "refusal"}, Outcome.REFUSED),
    ({"is_error": False, "stop_reason": "max_tokens"}, Outcome.CUT_OFF),
    ({"structured_output": {"a": 1}, "api_error_status": 529}, Outcome.OVERLOADED),
    ({"api_error_status": 502}, Outcome.OVERLOADED),
    ({"api_error_status": 401}, Outcome.UNAUTHENTICATED),
    ({"api_error_status": 402}, Outcome.BILLING),
    ({"api_error_status": 404}, Outcome.UNKNOWN_MODEL),
    ({"api_error_status": 413}, Outcome.CONTEXT_OVERFLOW),
    ({"api_error_status": 429, "result": "Request rejected (429)"}, Outcome.OVERLOADED),
    ({"api_error_status": 429, "result": "temporarily limiting requests (not your usage limit)"}, Outcome.OVERLOADED),
    ({"api_error_status": 429, "result": "5-hour limit reached ∙ resets 3pm"}, Outcome.USAGE_LIMIT),
    ({"result": "Claude AI usage limit reached|1763740800"}, Outcome.USAGE_LIMIT),
    ({"result": "You've hit your weekly limit · resets 3pm"}, Outcome.USAGE_LIMIT),
    ({"terminal_reason": "prompt_too_long", "api_error_status": 400}, Outcome.CONTEXT_OVERFLOW),
    ({"terminal_reason": "blocking_limit"}, Outcome.CONTEXT_OVERFLOW),
    ({"terminal_reason": "rapid_refill_breaker"}, Outcome.CONTEXT_OVERFLOW),
    ({"result": "Prompt is too long"}, Outcome.CONTEXT_OVERFLOW),
    ({"subtype": "error_max_turns"}, Outcome.TURN_LIMIT),
    ({"subtype": "error_max_budget_usd"}, Outcome.BUDGET_LIMIT),
    ({"subtype": "error_max_structured_output_retries"}, Outcome.NO_ANSWER),
    (
        {"subtype": "error_during_execution", "errors": ["No conversation found with session ID: x"]},
        Outcome.RESUME_FAILED,
    ),
    ({"subtype": "error_during_execution", "terminal_reason": "aborted_streaming"}, Outcome.INTERRUPTED),
    ({"subtype": "error_during_execution"}, Outcome.CRASHED),
    ({"subtype": "error_of_a_newer_version"}, Outcome.CRASHED),
    ({"result": "Credit balance is too low", "api_error_status": 400}, Outcome.BILLING),
    ({"result": "API Error: stream_truncated", "terminal_reason": "api_error"}, Outcome.CUT_OFF),
    ({"result": "API Error: Connection to the API was lost", "terminal_reason": "api_error"}, Outcome.CUT_OFF),
    ({"result": "API Error: something new", "terminal_reason": "api_error"}, Outcome.OVERLOADED),
    ({"stop_reason": "refusal", "terminal_reason": "api_error"}, Outcome.REFUSED),
]


@pytest.mark.parametrize(("given", "expected"), RESULTS, ids=[str(i) for i in range(len(RESULTS))])
def test_each_result_has_its_outcome(given: dict[str, Any], expected: Outcome) -> None:
    assert outcome(result(**given)) is expected


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("authentication_failed", Outcome.UNAUTHENTICATED),
        ("billing_error", Outcome.BILLING),
        ("model_not_found", Outcome.UNKNOWN_MODEL),
        ("max_output_tokens", Outcome.CUT_OFF),
        ("server_error", Outcome.OVERLOADED),
    ],
)
def test_the_cli_s_own_label_tells_an_error_without_a_status(label: Any, expected: Outcome) -> None:
    error = AssistantMessage([TextBlock("API Error")], "<synthetic>", error=label)
    assert outcome(error, result(terminal_reason="api_error")) is expected


def test_a_label_that_is_over_does_not_count() -> None:
    first = AssistantMessage([TextBlock("API Error")], "<synthetic>", error="billing_error")
    assert outcome(first, AssistantMessage([TextBlock("On.")], "m"), result()) is Outcome.CRASHED


def test_how_we_ended_it_is_how_it_ended() -> None:
    aborted = result(subtype="error_during_execution", terminal_reason="aborted_tools")
    assert outcome(aborted, ending=Ending.STOPPED) is Outcome.INTERRUPTED
    assert outcome(aborted, ending=Ending.IDLE) is Outcome.IDLE
    assert outcome(ending=Ending.OVERTIME) is Outcome.TIME_LIMIT
    assert outcome(ending=Ending.LOGIN) is Outcome.UNAUTHENTICATED


def test_an_answer_that_arrives_while_it_is_stopped_counts() -> None:
    assert outcome(result(is_error=False, structured_output={"a": 1}), ending=Ending.STOPPED) is Outcome.ANSWERED


def test_no_result_is_a_crash_whether_the_cli_fell_or_left() -> None:
    assert outcome() is Outcome.CRASHED
    assert outcome(error=RuntimeError("exit code -9")) is Outcome.CRASHED
    assert outcome(error=RuntimeError("No conversation found with session ID: x")) is Outcome.RESUME_FAILED


def test_a_usage_limit_is_told_by_its_event() -> None:
    ended = report(limit(resets_at=1_800_000_000), result(api_error_status=429))
    assert (ended.outcome, ended.resets_at) == (Outcome.USAGE_LIMIT, 1_800_000_000)


def test_a_limit_that_is_paid_over_or_lifted_is_none() -> None:
    assert outcome(limit(resets_at=1, overage_status="allowed"), result(api_error_status=429)) is Outcome.OVERLOADED
    assert outcome(limit(resets_at=1), limit(status="allowed"), result(api_error_status=529)) is Outcome.OVERLOADED


def test_too_many_requests_at_once_are_no_usage_limit() -> None:
    assert outcome(limit(resets_at=None), result(api_error_status=429)) is Outcome.OVERLOADED


def test_a_usage_limit_that_does_not_say_when_it_ends_is_waited_for_an_hour() -> None:
    assert report(result(result="Usage limit reached")).resets_at == NOW + 3600


@pytest.mark.parametrize(
    ("text", "hour", "minute"),
    [
        ("limit reached ∙ resets 3pm (UTC)", 15, 0),
        ("limit reached, resets at 3:30pm (Europe/Berlin)", 14, 30),
        ("resets 12pm (UTC)", 36, 0),  # it is noon: the next one is tomorrow's
        ("resets 12am (UTC)", 24, 0),
        ("resets 1pm (Nowhere/AtAll)", None, None),
    ],
)
def test_the_reset_is_read_from_the_text(text: str, hour: int | None, minute: int | None) -> None:
    found = reset_time(text, NOW)
    assert found is not None
    assert NOW < found <= NOW + 86400
    if hour is not None and minute is not None:
        assert found == NOW + (hour - 12) * 3600 + minute * 60


def test_the_reset_may_stand_as_a_number_or_not_at_all() -> None:
    assert reset_time("Claude AI usage limit reached|1763740800", NOW) == 1763740800
    assert reset_time("usage limit reached", NOW) is None


def test_a_refused_login_shows_at_the_first_retry() -> None:
    reading = Reading()
    reading.take(SystemMessage("api_retry", {"error_status": 529, "error": "overloaded"}))
    assert not reading.login_refused
    reading.take(SystemMessage("api_retry", {"error_status": 401, "error": "authentication_failed"}))
    assert reading.login_refused


def event(kind: str, **data: Any) -> StreamEvent:
    return StreamEvent("u", "s", {"type": kind, **data})


def start(call: str, **usage: int) -> StreamEvent:
    return event("message_start", message={"id": call, "model": "claude-sonnet-9", "usage": usage})


def test_a_call_is_counted_once_with_what_its_stream_says_in_the_end() -> None:
    reading = Reading()
    reading.take(start("m1", input_tokens=1_000_000, output_tokens=1))
    reading.take(AssistantMessage([], "claude-sonnet-9", message_id="m1", usage={"output_tokens": 1}))
    used = reading.take(event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 1_000_000}))
    assert used is not None
    assert used.tokens == {"input_tokens": 1_000_000, "output_tokens": 1_000_000}
    assert reading.usage == Usage(18.0, 1_000_000, 1_000_000, 0, 0, 1)


def test_a_message_that_never_ended_is_cut_off() -> None:
    broken = result(terminal_reason="api_error")
    label = AssistantMessage([], "<synthetic>", error="server_error")
    ended = event("message_delta", delta={"stop_reason": "end_turn"}, usage={})
    assert outcome(start("m1"), label, broken) is Outcome.CUT_OFF
    assert outcome(start("m1"), ended, label, broken) is Outcome.OVERLOADED


def test_the_result_counts_subagents_too() -> None:
    models = {
        "a": {"inputTokens": 1, "outputTokens": 2, "cacheReadInputTokens": 3, "cacheCreationInputTokens": 4},
        "b": {"inputTokens": 10, "outputTokens": 20, "cacheReadInputTokens": 30, "cacheCreationInputTokens": 40},
    }
    assert report(result(model_usage=models)).usage == Usage(0.5, 11, 22, 33, 44, 2)


def test_what_a_resumed_session_used_before_is_not_charged_again() -> None:
    before = Usage(1.0, 100, 10)
    assert spent(Usage(1.5, 150, 15, turns=2), before, Usage(0.4, 50, 5)) == Usage(0.5, 50, 5, turns=2)


def test_a_session_whose_sums_began_anew_is_charged_whole() -> None:
    before = Usage(1.0, 100, 10)
    assert spent(Usage(1.5, 150, 15), before, Usage(1.5, 150, 15)) == Usage(1.5, 150, 15)
    assert spent(Usage(0.2, 20, 2), before, Usage(0.2, 20, 2)) == Usage(0.2, 20, 2)


def test_progress_is_one_line() -> None:
    use = ToolUseBlock("t", "Bash", {"description": "d", "command": "make\n  test"})
    assert describe(AssistantMessage([use], "m")) == "Bash make test"
    assert describe(AssistantMessage([TextBlock("I look.\nThen act.")], "m")) == "I look. Then act."
    assert len(describe(AssistantMessage([TextBlock("x" * 500)], "m"))) == 200
    assert describe(AssistantMessage([TextBlock("API Error")], "m", error="unknown")) == ""
    assert describe(result()) == ""
