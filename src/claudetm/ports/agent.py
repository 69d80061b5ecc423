"""One conversation with the agent, from prompt to structured answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from claudetm.workflow.outcomes import Outcome, Usage


class Role(StrEnum):
    """What a session is for: its prompt, its tools and its answer."""

    PLANNER = "planner"
    WORKER = "worker"
    FIXER = "fixer"
    REVIEWER = "reviewer"
    RESPONDER = "responder"
    UPDATER = "updater"
    VERIFIER = "verifier"
    AUDITOR = "auditor"
    ANALYST = "analyst"


WRITERS = frozenset({Role.WORKER, Role.FIXER, Role.RESPONDER, Role.UPDATER})
"""Roles that may change files in their worktree. The others work in a throw-away checkout, read-only."""

JUDGES = frozenset({Role.REVIEWER, Role.VERIFIER, Role.AUDITOR})
"""Roles that judge what other sessions have made; that has no say in how it is judged."""

Objection = Callable[[Mapping[str, Any]], Awaitable[str]]
"""Looks at an answer before it is taken: "" accepts, a sentence sends the session back to work."""


@dataclass(frozen=True, slots=True)
class SessionRequest:
    """Everything a session is given. Amounts are US dollars, times seconds."""

    id: str  # a UUID that we chose
    role: Role
    run: str
    system: str  # the stable part: equal for all sessions of one role of one run
    prompt: str
    schema: Mapping[str, Any]  # JSON schema (draft 7) of the answer
    cwd: Path
    model: str = ""  # alias or id; "" leaves the choice to the CLI
    effort: str = ""  # low | medium | high, or ""
    resume: str = ""  # the id of a session to carry on; the id of the new one is then the same
    max_turns: int = 200
    max_cost_usd: float = 10.0
    seconds: float = 3600.0
    idle_seconds: float = 600.0
    objection: Objection | None = None  # may refuse an answer at most twice
    says: Sequence[str] = ()  # the user's own words, after the prompt
    skill: str = ""  # the one of the project that may be used, where its settings are trusted


@dataclass(frozen=True, slots=True)
class SessionReport:
    """How a session ended. `answer` is there exactly when the outcome is ANSWERED."""

    outcome: Outcome
    answer: Mapping[str, Any] | None = None
    usage: Usage = field(default_factory=Usage)
    detail: str = ""  # one line for people
    resets_at: float | None = None  # epoch seconds, of a usage limit
    transcript: str = ""  # path below the state directory
    denied: tuple[str, ...] = ()  # tools that were refused


@dataclass(frozen=True, slots=True)
class Progress:
    """What the agent is doing now, for the screen; or, without a session, what we do that takes its time."""

    session: str
    text: str  # one line, at most 200 characters
    usage: Usage = field(default_factory=Usage)


class Agent(Protocol):
    """Holds conversations."""

    async def converse(
        self, request: SessionRequest, progress: Callable[[Progress], None], stop: asyncio.Event
    ) -> SessionReport:
        """Hold one conversation to its end, a limit, or `stop`. Never raises for how a session ends."""
        ...

    async def sweep(self, run: str) -> int:
        """End every process that sessions of this run left behind; return how many there were."""
        ...

    async def charge(self, session: str) -> Usage | None:
        """Return what the transcript of a session whose driver died shows that it used, or None."""
        ...
