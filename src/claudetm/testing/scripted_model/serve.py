"""Runs the scripted model on a free port of 127.0.0.1 in the running event loop, for as long as a block lasts."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn

from claudetm.testing.scripted_model.messages_api import Model, app
from claudetm.testing.scripted_model.scenario import Scenario


class _Server(uvicorn.Server):
    """A server that leaves the process's signals to whom they belong."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serve(scenario: Scenario) -> AsyncIterator[Model]:
    """Yield the model that plays the scenario at `model.url`; give that to the CLI as ANTHROPIC_BASE_URL."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        model = Model(scenario, f"http://127.0.0.1:{listening.getsockname()[1]}")
        config = uvicorn.Config(
            app(model), http="h11", ws="none", lifespan="off", log_config=None, log_level="critical"
        )
        server = _Server(config)
        running = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield model
        finally:
            model.closing.set()
            server.should_exit = True
            await running
