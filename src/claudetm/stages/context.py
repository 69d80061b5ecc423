"""What a handler is given: the run as it stands, the ports, and the one way to write something down."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from claudetm.ports.agent import Agent, Progress
from claudetm.ports.clock import Clock
from claudetm.ports.commands import Commands
from claudetm.ports.forge import Forge
from claudetm.ports.repository import Repository
from claudetm.prompts.render import Prompts
from claudetm.workflow.events import Event
from claudetm.workflow.limits import Wait
from claudetm.workflow.pull_request import PullRequest
from claudetm.workflow.run import Run


def _ignore(_shown: Progress | Wait) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Context:
    """The ports of one run. `record` makes an event durable; `stop` is set when sessions shall end now.

    `progress` and `waiting` show what happens.
    """

    run: Run
    agent: Agent
    forge: Forge
    repository: Repository
    commands: Commands
    clock: Clock
    prompts: Prompts
    logs: Path
    record: Callable[[Event], Awaitable[object]]
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    progress: Callable[[Progress], None] = _ignore
    waiting: Callable[[Wait], None] = _ignore

    async def pull(self, number: int) -> PullRequest:
        """Read one pull request anew."""
        return (await self.forge.read([number]))[number]
