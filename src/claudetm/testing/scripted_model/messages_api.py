"""The Messages API over a scenario: answers as server-sent events or as JSON, and faults as the real API shows them.

Answers follow from the request alone. Only faults remember: how often each was met, and when a usage limit began.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from claudetm.testing.scripted_model.match import Play, Side, Unexpected, choose
from claudetm.testing.scripted_model.scenario import Fault, Scenario, Tokens

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Send

Event = tuple[str, dict[str, Any]]

_ERRORS: Final = {
    400: ("invalid_request_error", "The request is invalid."),
    401: ("authentication_error", "invalid x-api-key"),
    403: ("permission_error", "The key lacks permission."),
    404: ("not_found_error", "model: unknown"),
    413: ("request_too_large", "Request exceeds the maximum size"),
    429: ("rate_limit_error", "This request would exceed your rate limit."),
    529: ("overloaded_error", "Overloaded"),
}
_CREDIT: Final = (
    "Your credit balance is too low to access the Anthropic API."
    " Please go to Plans & Billing to upgrade or purchase credits."
)
_TOO_LONG: Final = "prompt is too long: 1050000 tokens > 1000000 maximum"


@dataclass(frozen=True, slots=True)
class Asked:
    """A turn that was asked for, in the order of asking."""

    role: str
    subject: str
    turn: int
    fault: str = ""


@dataclass(slots=True)
class Model:
    """A scenario being played, and what was asked of it."""

    scenario: Scenario
    url: str = ""
    unexpected: list[str] = field(default_factory=list)  # a sentence for each request the scenario had no answer for
    asked: list[Asked] = field(default_factory=list)
    began: float = field(default_factory=time.time)  # epoch seconds
    closing: asyncio.Event = field(default_factory=asyncio.Event)  # set when every open stream must end
    _met: dict[tuple[int, int, str], list[float]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """Return what leads the CLI here. Only with a subscription's token does it report a usage limit as one."""
        return {"ANTHROPIC_BASE_URL": self.url, "CLAUDE_CODE_OAUTH_TOKEN": "rehearsal"}

    def fault(self, play: Play) -> tuple[Fault | None, Any]:
        """Return what goes wrong now, and the value its key has. A limit is over after its seconds."""
        part = play.turn if play.turn.fault else play.session
        if (fault := part.fault) is None:
            return None, None
        value = getattr(part, fault)
        met = self._met.setdefault((play.session_at, play.turn_at, play.subject), [])
        met.append(time.time())
        over = part.times is not None and len(met) > part.times
        if fault is Fault.USAGE_LIMIT:
            over |= met[-1] >= met[0] + value
            value = met[0] + value
        return (None, None) if over else (fault, value)


def app(model: Model) -> Starlette:
    """Return the application that plays the model's scenario."""

    async def messages(request: Request) -> Response:
        body = await request.json()
        match choose(model.scenario, body):
            case Side(text):
                return _respond(body, _message(body, "msg_side", [_said(text)] if text else [], Tokens(), "end_turn"))
            case Unexpected(reason):
                if reason not in model.unexpected:  # the CLI tries a refused request in several forms
                    model.unexpected.append(reason)
                return _error(400, f"unexpected request: {reason}")
            case Play() as play:
                return await _play(model, play, body)

    async def count_tokens(request: Request) -> Response:
        return JSONResponse({"input_tokens": max(1, len(await request.body()) // 4)})

    async def root(_: Request) -> Response:
        return Response("scripted model", media_type="text/plain")

    return Starlette(
        routes=[
            Route("/v1/messages", messages, methods=["POST"]),
            Route("/v1/messages/count_tokens", count_tokens, methods=["POST"]),
            Route("/", root, methods=["GET"]),  # and HEAD, which comes with it
        ]
    )


async def _play(model: Model, play: Play, body: Mapping[str, Any]) -> Response:
    fault, value = model.fault(play)
    model.asked.append(Asked(play.session.role, play.subject, play.turn_at, fault or ""))
    if delay := play.turn.delay or play.session.delay:
        with suppress(TimeoutError):
            await asyncio.wait_for(model.closing.wait(), delay)
    message = _turn(play, body)
    match fault:
        case None:
            return _respond(body, message)
        case Fault.STATUS:
            return _error(value, _ERRORS.get(value, ("", "Internal server error"))[1])
        case Fault.USAGE_LIMIT:
            return _error(429, "This request would exceed your account's rate limit.", _limit_headers(value))
        case Fault.CREDIT:
            return _error(400, _CREDIT)
        case Fault.PROMPT_TOO_LONG:
            return _error(400, _TOO_LONG)
        case Fault.CUT:
            return _Cut(_head(message, body), media_type=_media(body))
        case Fault.STALL:
            return StreamingResponse(_then_wait(_head(message, body), model.closing), media_type=_media(body))
        case Fault.MALFORMED:
            return Response("".join(_head(message, body)) + _NONSENSE, media_type=_media(body))
        case Fault.REFUSAL:
            return _respond(body, {**message, "content": [], "stop_reason": "refusal"})
        case Fault.MAX_TOKENS:
            texts = [b for b in message["content"] if b["type"] == "text"] or [_said(_BROKEN_OFF)]
            return _respond(body, {**message, "content": texts, "stop_reason": "max_tokens"})


_BROKEN_OFF: Final = "I was about to"


def _turn(play: Play, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the message of a turn."""
    content = [_said(play.turn.say)] if play.turn.say else []
    for at, use in enumerate(play.turn.uses):
        content.append({"type": "tool_use", "id": play.tool_id(at), "name": use.tool, "input": use.input})
    name = f"msg_s{play.session_at}t{play.turn_at}_{play.call}"
    return _message(body, name, content, play.turn.tokens, "tool_use" if play.turn.uses else "end_turn")


def _said(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _message(
    body: Mapping[str, Any], name: str, content: list[dict[str, Any]], tokens: Tokens, stop: str
) -> dict[str, Any]:
    return {
        "id": name,
        "type": "message",
        "role": "assistant",
        "model": body.get("model", "scripted"),
        "content": content,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {
            "input_tokens": tokens.input,
            "output_tokens": tokens.output,
            "cache_read_input_tokens": tokens.cache_read,
            "cache_creation_input_tokens": tokens.cache_write,
        },
    }


def _respond(body: Mapping[str, Any], message: dict[str, Any]) -> Response:
    if not body.get("stream"):
        return JSONResponse(message)
    return Response("".join(map(_sse, _events(message))), media_type=_media(body))


def _events(message: dict[str, Any]) -> Iterator[Event]:
    """Yield the events of a message: https://docs.claude.com/en/docs/build-with-claude/streaming."""
    start = {**message, "content": [], "stop_reason": None, "usage": {**message["usage"], "output_tokens": 1}}
    yield "message_start", {"message": start}
    yield "ping", {}
    for index, block in enumerate(message["content"]):
        yield from _block_events(index, block)
    delta = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield "message_delta", {"delta": delta, "usage": message["usage"]}
    yield "message_stop", {}


def _block_events(index: int, block: dict[str, Any]) -> Iterator[Event]:
    if block["type"] == "text":
        empty: dict[str, Any] = {"type": "text", "text": ""}
        delta = {"type": "text_delta", "text": block["text"]}
    else:
        empty = {**block, "input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
    yield "content_block_start", {"index": index, "content_block": empty}
    yield "content_block_delta", {"index": index, "delta": delta}
    yield "content_block_stop", {"index": index}


def _sse(event: Event) -> str:
    name, data = event
    return f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n"


# --- faults ------------------------------------------------------------------------------------------------

_NONSENSE: Final = 'event: content_block_delta\ndata: {"type": "content_block_delta", "index": 0, "del\n\n'


class _Cut(StreamingResponse):
    """Sends the start of a body and never its end: the server closes the connection."""

    async def stream_response(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async for chunk in self.body_iterator:
            await send({"type": "http.response.body", "body": str(chunk).encode(), "more_body": True})


def _head(message: dict[str, Any], body: Mapping[str, Any]) -> list[str]:
    """Return the first half of a response: up to the start of the first block, or half of the JSON.

    A turn that says nothing begins to say something: its whole message would be no longer than the half.
    """
    message = {**message, "content": message["content"] or [_said(_BROKEN_OFF)]}
    if not body.get("stream"):
        whole = json.dumps(message)
        return [whole[: len(whole) // 2]]
    return [_sse(e) for e in list(_events(message))[:4]]


async def _then_wait(head: list[str], closing: asyncio.Event) -> AsyncIterator[str]:
    for chunk in head:
        yield chunk
    await closing.wait()


def _media(body: Mapping[str, Any]) -> str:
    return "text/event-stream" if body.get("stream") else "application/json"


def _error(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    kind = _ERRORS.get(status, ("api_error", ""))[0]
    return JSONResponse({"type": "error", "error": {"type": kind, "message": message}}, status, headers)


def _limit_headers(resets_at: float) -> dict[str, str]:
    """Return the headers of a subscription whose five hours are spent; `resets_at` in epoch seconds."""
    reset = str(math.ceil(resets_at))
    return {
        "retry-after": str(max(1, math.ceil(resets_at - time.time()))),
        "anthropic-ratelimit-unified-status": "rejected",
        "anthropic-ratelimit-unified-reset": reset,
        "anthropic-ratelimit-unified-representative-claim": "five_hour",
        "anthropic-ratelimit-unified-5h-status": "rejected",
        "anthropic-ratelimit-unified-5h-reset": reset,
        "anthropic-ratelimit-unified-5h-utilization": "1.0",
        "anthropic-ratelimit-unified-overage-status": "rejected",
    }
