"""Runs a sandbox on 127.0.0.1 in the running event loop, for as long as a block lasts."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import uvicorn

from claudetm.testing.sego.app import app
from claudetm.testing.sego.faults import Fault, Faulty
from claudetm.testing.sego.state import Sandbox

if TYPE_CHECKING:
    from starlette.types import ASGIApp


@dataclass
class Serving:
    """A sandbox at `url`. Faults that are put into `faults` befall the next requests that fit."""

    sandbox: Sandbox
    url: str
    faults: list[Fault] = field(default_factory=list)
    closing: asyncio.Event = field(default_factory=asyncio.Event)


class _Server(uvicorn.Server):
    """A server that leaves the process's signals to whom they belong."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listening(port: int = 0) -> socket.socket:
    """Return a socket of this machine alone. Without IPPROTO_TCP asyncio sets no TCP_NODELAY: 40 ms a call."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind(("127.0.0.1", port))
        made.listen(128)
    except OSError:
        made.close()
        raise
    return made


def _as_it_is(app: ASGIApp) -> ASGIApp:
    return app


@asynccontextmanager
async def serve(
    sandbox: Sandbox, port: int = 0, around: Callable[[ASGIApp], ASGIApp] = _as_it_is
) -> AsyncIterator[Serving]:
    """Yield the sandbox as it is served; `around` hears all that no fault befalls. Raises OSError."""
    with listening(port) as sock:
        serving = Serving(sandbox, f"http://127.0.0.1:{sock.getsockname()[1]}")
        inner = around(app(sandbox, serving.closing))
        config = uvicorn.Config(
            Faulty(inner, serving.faults, serving.closing),
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            timeout_graceful_shutdown=1,
        )
        server = _Server(config)
        running = asyncio.create_task(server.serve(sockets=[sock]))
        try:
            yield serving
        finally:
            serving.closing.set()
            server.should_exit = True
            await running
