"""Every adapter of the Agent port passes its suite."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from claudetm.adapters.agent.claude_sdk import AgentSettings, ClaudeAgent
from claudetm.adapters.agent.containment import choose
from claudetm.ports.agent import Agent, Role, SessionReport, SessionRequest
from claudetm.testing.agent_conformance import ANSWER, AgentConformance
from claudetm.testing.memory import MemoryAgent
from claudetm.testing.scripted_model.scenario import parse
from claudetm.testing.scripted_model.serve import serve
from claudetm.workflow.outcomes import Outcome


class TestMemoryAgent(AgentConformance):
    @asynccontextmanager
    async def agent(self, folder: Path) -> AsyncIterator[Agent]:  # noqa: ARG002 - the suite's
        async def answer(_request: SessionRequest) -> SessionReport:
            return SessionReport(Outcome.ANSWERED, ANSWER)

        yield MemoryAgent(answer)


@pytest.mark.e2e
class TestClaudeAgent(AgentConformance):
    @asynccontextmanager
    async def agent(self, folder: Path) -> AsyncIterator[Agent]:
        sessions = [{"role": role, "subject": "c1.t1", "turns": [{"answer": dict(ANSWER)}]} for role in Role]
        scenario = parse(json.dumps({"name": "conformance", "sessions": sessions}), "conformance.yaml")
        async with serve(scenario) as model:
            environment = {"ANTHROPIC_BASE_URL": model.url, "ANTHROPIC_API_KEY": "any"}
            settings = AgentSettings(folder / "home", folder / "logs", choose(), environment=environment)
            yield ClaudeAgent(settings, os.environ)
