"""An ASGI application on loopback sockets, in a thread of its own: up and down again in milliseconds."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState


def listening() -> socket.socket:
    """Return a loopback socket. Without IPPROTO_TCP asyncio sets no TCP_NODELAY, and each call takes 40 ms."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    made.bind(("127.0.0.1", 0))
    made.listen(128)
    return made


class _Protocol(H11Protocol):
    """Knows its connections by the client's port, so that one can be broken off in the middle."""

    open: dict[int, asyncio.Transport]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.port = transport.get_extra_info("peername")[1]
        self.open[self.port] = transport
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.open.pop(self.port, None)
        super().connection_lost(exc)


class Serving:
    """Serves the application on the sockets until `stop`."""

    def __init__(self, app: Callable[..., Any], *sockets: socket.socket) -> None:
        self._app = app
        self._sockets = sockets
        self._ready = threading.Event()
        self._transports: dict[int, asyncio.Transport] = {}
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="github")
        self._thread.start()
        self._ready.wait(10)

    async def _serve(self) -> None:
        settings = uvicorn.Config(
            self._app, interface="asgi3", ws="none", lifespan="off", log_config=None, log_level="critical"
        )
        settings.load()
        state = ServerState()
        self._loop, self._ending = asyncio.get_running_loop(), asyncio.Event()
        kind = type("Protocol", (_Protocol,), {"open": self._transports})
        made = [
            await self._loop.create_server(lambda: kind(config=settings, server_state=state, app_state={}), sock=each)
            for each in self._sockets
        ]
        self._ready.set()
        await self._ending.wait()
        for server in made:
            server.close()
        for transport in list(self._transports.values()):
            transport.abort()
        await asyncio.sleep(0)  # the transports' last callbacks

    def break_off(self, client: tuple[str, int]) -> None:
        """Break a client's connection. Of the loop's thread only."""
        if transport := self._transports.get(client[1]):
            transport.abort()

    def stop(self) -> None:
        """Close all and wait for the thread."""
        self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join()
