"""What can go wrong with a server, on purpose: an answer of another kind, one that is lost, a line gone silent."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


@dataclass(slots=True)
class Fault:
    """The next `times` requests that fit are answered like this instead of being heard. `path` is a pattern."""

    path: str = ".*"
    method: str = "[A-Z]+"
    times: int = 1
    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b'{"error": {"message": "a fault"}}'
    content_type: str = "application/json"


@dataclass(slots=True)
class Lost(Fault):
    """The request is heard and done; its answer breaks off."""


@dataclass(slots=True)
class Silent(Fault):
    """The answer begins, and nothing follows: the other end of the line is gone, and nobody says so."""

    status: int = 200
    content_type: str = "text/event-stream"


class Faulty:
    """An application with faults in front of it; each is used up by the requests that fit."""

    def __init__(self, app: ASGIApp, faults: list[Fault], closing: asyncio.Event) -> None:
        """Take the application, the faults as they are filled in, and what ends a silence."""
        self._app = app
        self._faults = faults
        self._closing = closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or fail as the first fault that fits says."""
        fault = self._next(scope["method"], scope["path"]) if scope["type"] == "http" else None
        match fault:
            case None:
                await self._app(scope, receive, send)
            case Lost():
                await self._app(scope, receive, _unheard)
                await _start(send, 200, {"content-length": "1000"}, "application/json")
                await send({"type": "http.response.body", "body": b"{", "more_body": True})
                raise ConnectionAbortedError
            case Silent():
                await _start(send, fault.status, fault.headers, fault.content_type)
                await send({"type": "http.response.body", "body": fault.body, "more_body": True})
                await self._closing.wait()
            case Fault():
                await _start(send, fault.status, fault.headers, fault.content_type)
                await send({"type": "http.response.body", "body": fault.body if fault.status != 204 else b""})  # noqa: PLR2004 - it has no body

    def _next(self, method: str, path: str) -> Fault | None:
        for fault in self._faults:
            if fault.times and re.fullmatch(fault.method, method) and re.fullmatch(fault.path, path):
                fault.times -= 1
                return fault
        return None


async def _unheard(message: Message) -> None:
    """Let an answer go nowhere."""


async def _start(send: Send, status: int, headers: Mapping[str, str], content_type: str) -> None:
    told = {"content-type": content_type, **headers} if status != 204 else headers  # noqa: PLR2004 - it has no body
    raw = [(name.lower().encode(), value.encode()) for name, value in told.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
