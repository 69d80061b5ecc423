"""What the SDK says, in our words: progress, usage, and the one outcome of a session.

The tables were measured against the CLI; its enumerations are open, so whatever is unknown ends as CRASHED, without
an answer from the service as OVERLOADED, never as an answer.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from claude_agent_sdk import AssistantMessage, Message, RateLimitEvent, ResultMessage, SystemMessage
from claude_agent_sdk.types import StreamEvent, TextBlock, ToolUseBlock

from claudetm.adapters.agent.transcript import estimate, result_usage, spent
from claudetm.ports.agent import SessionReport
from claudetm.workflow.outcomes import Outcome, Usage

_UNKNOWN_RESET: Final = 3600.0  # seconds to wait for a usage limit that does not say when it ends
_ONE_LINE: Final = 200


class Ending(StrEnum):
    """Who ended the conversation: the CLI, or we."""

    CLOSED = "closed"
    STOPPED = "stopped"
    IDLE = "idle"
    OVERTIME = "overtime"
    LOGIN = "login"


_OURS: Final = {
    Ending.STOPPED: (Outcome.INTERRUPTED, "Stopped."),
    Ending.IDLE: (Outcome.IDLE, "Nothing arrived for the idle time."),
    Ending.OVERTIME: (Outcome.TIME_LIMIT, "The session's time is over."),
    Ending.LOGIN: (
        Outcome.UNAUTHENTICATED,
        "The login or key of Claude is not accepted: log in again with `claude`.",
    ),
}
_STATUS: Final = {
    401: Outcome.UNAUTHENTICATED,
    402: Outcome.BILLING,
    403: Outcome.UNAUTHENTICATED,
    404: Outcome.UNKNOWN_MODEL,
    413: Outcome.CONTEXT_OVERFLOW,
}
_LABEL: Final = {
    "authentication_failed": Outcome.UNAUTHENTICATED,
    "billing_error": Outcome.BILLING,
    "model_not_found": Outcome.UNKNOWN_MODEL,
    "max_output_tokens": Outcome.CUT_OFF,
    "overloaded": Outcome.OVERLOADED,
    "server_error": Outcome.OVERLOADED,
}
_REASON: Final = {
    "prompt_too_long": Outcome.CONTEXT_OVERFLOW,
    "blocking_limit": Outcome.CONTEXT_OVERFLOW,
    "rapid_refill_breaker": Outcome.CONTEXT_OVERFLOW,
    "max_turns": Outcome.TURN_LIMIT,
    "structured_output_retry_exhausted": Outcome.NO_ANSWER,
    "aborted_streaming": Outcome.INTERRUPTED,
    "aborted_tools": Outcome.INTERRUPTED,
}
_SUBTYPE: Final = {
    "error_max_turns": Outcome.TURN_LIMIT,
    "error_max_budget_usd": Outcome.BUDGET_LIMIT,
    "error_max_structured_output_retries": Outcome.NO_ANSWER,
}
_STOP: Final = {"refusal": Outcome.REFUSED, "max_tokens": Outcome.CUT_OFF}

_NO_CONVERSATION: Final = re.compile(r"no conversation found", re.IGNORECASE)
_OVERFLOW: Final = re.compile(r"prompt is too long|context (window|length|limit)", re.IGNORECASE)
_CREDIT: Final = re.compile(r"credit balance|billing", re.IGNORECASE)
_BROKEN: Final = re.compile(r"truncated|malformed response|terminated|premature|was lost|ECONNRESET", re.IGNORECASE)
_LIMIT: Final = re.compile(r"(?<!not your )usage limit|limit reached|hit your .*limit", re.IGNORECASE)
_EPOCH: Final = re.compile(r"\|(\d{10})\b")
_CLOCK: Final = re.compile(r"resets?(?: at)? (\d{1,2})(?::(\d\d))?\s*(am|pm)(?: \(([\w/+-]+)\))?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Call:
    """What one call of the model has used so far."""

    id: str
    model: str
    tokens: Mapping[str, Any]


class Reading:
    """Takes a session's messages one by one; knows at any time what they amount to."""

    def __init__(self, before: Usage | None = None) -> None:
        self._before = before or Usage()  # the sums of a resumed session, which the CLI may carry on
        self._calls: dict[str, Call] = {}
        self._streaming: dict[str | None, str] = {}  # the call under way, by the subagent it belongs to
        self._result: ResultMessage | None = None
        self._label: str = ""  # the CLI's name for what went wrong last
        self._resets_at: float | None = None
        self.login_refused = False
        self.denied: list[str] = []
        """Tools that the CLI refused of itself: it still judges what the gate lets through."""

    @property
    def finished(self) -> bool:
        """Whether the CLI has given its result."""
        return self._result is not None

    @property
    def usage(self) -> Usage:
        """What was used so far; an estimate until the result is there."""
        calls = sum((estimate(c.model, c.tokens) for c in self._calls.values()), Usage())
        if self._result is None:
            return calls
        return spent(result_usage(dataclasses.asdict(self._result)), self._before, calls)

    def take(self, message: Message) -> Call | None:
        """Note one message; return what a call of the model has used so far, where the message says so."""
        match message:
            case ResultMessage():
                self._result = message
            case RateLimitEvent():
                self._take_limit(message)
            case SystemMessage(subtype="api_retry", data=data):
                self.login_refused = data.get("error_status") == 401 or data.get("error") == "authentication_failed"  # noqa: PLR2004 - HTTP's word for it
            case SystemMessage(subtype="permission_denied", data=data):
                self.denied.append(str(data.get("tool_name")))
            case StreamEvent():
                return self._take_event(message)
            case AssistantMessage():
                self._label = message.error or ""
                if message.message_id and message.message_id not in self._calls and not message.error:
                    return self._count(Call(message.message_id, message.model, message.usage or {}))
            case _:
                pass
        return None

    def _take_limit(self, event: RateLimitEvent) -> None:
        """Note when a spent limit ends. Without that it is a passing one: too many requests at once."""
        info = event.rate_limit_info
        paid = info.overage_status in ("allowed", "allowed_warning")
        at = info.resets_at if info.status == "rejected" and not paid else None
        self._resets_at = float(at) if at else None

    def _take_event(self, event: StreamEvent) -> Call | None:
        """Return the call of an event. Only the stream tells all a call used: a message has its first event's."""
        data, owner = event.event, event.parent_tool_use_id
        if data.get("type") == "message_start":
            message = data.get("message") or {}
            self._streaming[owner] = str(message.get("id"))
            return self._count(Call(str(message.get("id")), str(message.get("model")), message.get("usage") or {}))
        call = self._calls.get(self._streaming.get(owner, ""))
        if data.get("type") == "message_delta" and call is not None:
            if (data.get("delta") or {}).get("stop_reason"):  # the CLI closes a broken message too, without one
                del self._streaming[owner]
            used = {k: v for k, v in (data.get("usage") or {}).items() if v}
            return self._count(Call(call.id, call.model, {**call.tokens, **used}))
        return None

    def _count(self, call: Call) -> Call:
        self._calls[call.id] = call
        return call

    def report(self, ending: Ending, error: BaseException | None, now: float) -> SessionReport:
        """Return how the session ended. `error` is what the SDK raised, `now` is in epoch seconds."""
        result = self._result
        if result is not None and not result.is_error and isinstance(result.structured_output, Mapping):
            return SessionReport(Outcome.ANSWERED, dict(result.structured_output), self.usage)
        outcome, detail = self._end(ending, error)
        resets_at = None
        if outcome is Outcome.USAGE_LIMIT:
            resets_at = self._resets_at or reset_time(detail, now) or now + _UNKNOWN_RESET
        return SessionReport(outcome, None, self.usage, one_line(detail), resets_at)

    def _end(self, ending: Ending, error: BaseException | None) -> tuple[Outcome, str]:
        if ending is not Ending.CLOSED:
            return _OURS[ending]
        if self._result is not None:
            return self._of_result(self._result), _words(self._result)
        if error is not None:
            text = f"{type(error).__name__}: {error}"
            return (Outcome.RESUME_FAILED if _NO_CONVERSATION.search(text) else Outcome.CRASHED), text
        return Outcome.CRASHED, "The CLI ended without a result."

    def _of_result(self, result: ResultMessage) -> Outcome:
        if not result.is_error:
            return _STOP.get(result.stop_reason or "", Outcome.NO_ANSWER)
        text = _words(result)
        if result.stop_reason == "refusal":
            return Outcome.REFUSED
        if _NO_CONVERSATION.search(text):
            return Outcome.RESUME_FAILED
        status = result.api_error_status or 0
        if not status and result.terminal_reason == "api_error" and (self._streaming or _BROKEN.search(text)):
            return Outcome.CUT_OFF  # a message, or its connection, broke off
        return (
            _STATUS.get(status)
            or self._of_pressure(status, text)
            or _REASON.get(result.terminal_reason or "")
            or _LABEL.get(self._label)
            or _SUBTYPE.get(result.subtype)
            or _of_words(text, "" if status else result.terminal_reason or "")
        )

    def _of_pressure(self, status: int, text: str) -> Outcome | None:
        too_many, broken = 429, 500
        if self._resets_at is not None or (status in (0, too_many) and _LIMIT.search(text)):
            return Outcome.USAGE_LIMIT
        return Outcome.OVERLOADED if status == too_many or status >= broken else None


def _of_words(text: str, reason: str) -> Outcome:
    """Tell apart what only the text does; its words drift, so this comes last."""
    if _OVERFLOW.search(text):
        return Outcome.CONTEXT_OVERFLOW
    if _CREDIT.search(text):
        return Outcome.BILLING
    return Outcome.OVERLOADED if reason == "api_error" else Outcome.CRASHED


def _words(result: ResultMessage) -> str:
    return "; ".join([t for t in (result.result, *(result.errors or ())) if t]) or result.subtype


def reset_time(text: str, now: float) -> float | None:
    """Return the epoch seconds at which a usage limit ends, read from its text, or None.

    Two forms are known: "…limit reached|1763740800" and "…resets 3pm (Europe/Berlin)".
    """
    if found := _EPOCH.search(text):
        return float(found[1])
    found = _CLOCK.search(text)
    if found is None:
        return None
    try:
        zone = ZoneInfo(found[4]) if found[4] else None
    except (ZoneInfoNotFoundError, ValueError):
        zone = None
    hour = int(found[1]) % 12 + (12 if found[3].lower() == "pm" else 0)
    today = datetime.fromtimestamp(now, zone).astimezone(zone)
    then = today.replace(hour=hour, minute=int(found[2] or 0) % 60, second=0, microsecond=0)
    return (then if then.timestamp() > now else then + timedelta(days=1)).timestamp()


def describe(message: Message) -> str:
    """Return what the agent is doing, in one line; "" when the message does not tell."""
    if not isinstance(message, AssistantMessage) or message.error:
        return ""
    for block in message.content:
        if isinstance(block, ToolUseBlock):
            what = next((str(v) for k, v in block.input.items() if k in _TELLING and v), "")
            return one_line(f"{block.name} {what}")
        if isinstance(block, TextBlock) and block.text.strip():
            return one_line(block.text)
    return ""


_TELLING: Final = ("command", "file_path", "pattern", "path")


def one_line(text: str) -> str:
    """Return the text in one line of at most 200 characters."""
    line = " ".join(text.split())
    return line if len(line) <= _ONE_LINE else line[: _ONE_LINE - 1] + "…"
