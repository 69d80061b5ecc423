"""What every Agent adapter must do. A test class derives from the suite and says how to make one.

The agent under test answers each session at once with `ANSWER`, and again when its answer is refused.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from claudetm.ports.agent import Agent, Progress, Role, SessionReport, SessionRequest
from claudetm.workflow.outcomes import Outcome

ANSWER: Final[Mapping[str, Any]] = {"outcome": "done"}
SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {"outcome": {"type": "string", "enum": ["done"]}},
    "required": ["outcome"],
    "additionalProperties": False,
}


def request(folder: Path, role: Role = Role.WORKER) -> SessionRequest:
    """Return a request as a stage makes it."""
    system, prompt = f"You are the {role} of claudetm.", "Subject: c1.t1\n"
    return SessionRequest(str(uuid.uuid4()), role, "run-conformance", system, prompt, SCHEMA, folder)


class AgentConformance:
    """The suite. `agent` is to be overridden."""

    def agent(self, folder: Path) -> AbstractAsyncContextManager[Agent]:
        """Return the adapter under test; `folder` is empty and its own."""
        raise NotImplementedError

    def converse(self, folder: Path, **given: Any) -> tuple[SessionReport, list[Progress]]:
        """Hold one conversation; `stopped` stops it before it begins."""
        lines: list[Progress] = []
        stopped = given.pop("stopped", False)

        async def main() -> SessionReport:
            stop = asyncio.Event()
            if stopped:
                stop.set()
            async with self.agent(folder) as agent:
                return await agent.converse(replace(request(folder), **given), lines.append, stop)

        return asyncio.run(main()), lines

    def test_an_answer_comes_with_its_outcome(self, tmp_path: Path) -> None:
        """An answer comes with its outcome, and with signs of life that name the session."""
        session = str(uuid.uuid4())
        report, lines = self.converse(tmp_path, id=session)
        assert (report.outcome, report.answer) == (Outcome.ANSWERED, ANSWER)
        assert {line.session for line in lines} == {session}
        assert all(line.text and len(line.text) <= 200 and "\n" not in line.text for line in lines)  # noqa: PLR2004 - the port's bound

    def test_every_role_converses(self, tmp_path: Path) -> None:
        """Every role converses, also side by side."""

        async def main() -> list[SessionReport]:
            async with self.agent(tmp_path) as agent:
                requests = [request(tmp_path, role) for role in (Role.PLANNER, Role.REVIEWER)]
                holding = [agent.converse(r, lambda _: None, asyncio.Event()) for r in requests]
                return list(await asyncio.gather(*holding))

        assert [r.outcome for r in asyncio.run(main())] == [Outcome.ANSWERED] * 2

    def test_a_stop_before_it_begins_is_an_interruption(self, tmp_path: Path) -> None:
        """A stop before it begins is an interruption, without an answer."""
        report, _ = self.converse(tmp_path, stopped=True)
        assert (report.outcome, report.answer) == (Outcome.INTERRUPTED, None)

    def test_an_objection_is_heard_at_most_twice(self, tmp_path: Path) -> None:
        """An objection is heard at most twice, then the answer is taken."""
        heard: list[Mapping[str, Any]] = []

        async def object_to(answer: Mapping[str, Any]) -> str:
            heard.append(answer)
            return "Not yet."

        report, _ = self.converse(tmp_path, objection=object_to)
        assert heard == [ANSWER, ANSWER]
        assert report.outcome is Outcome.ANSWERED

    def test_an_accepted_answer_is_looked_at_once(self, tmp_path: Path) -> None:
        """An accepted answer is looked at once."""
        heard: list[Mapping[str, Any]] = []

        async def accept(answer: Mapping[str, Any]) -> str:
            heard.append(answer)
            return ""

        self.converse(tmp_path, objection=accept)
        assert heard == [ANSWER]

    def test_a_finished_session_leaves_nothing_to_sweep(self, tmp_path: Path) -> None:
        """A finished session leaves nothing to sweep."""

        async def main() -> int:
            async with self.agent(tmp_path) as agent:
                await agent.converse(request(tmp_path), lambda _: None, asyncio.Event())
                return await agent.sweep("run-conformance")

        assert asyncio.run(main()) == 0

    def test_an_unknown_session_cannot_be_charged(self, tmp_path: Path) -> None:
        """An unknown session cannot be charged."""

        async def main() -> Any:
            async with self.agent(tmp_path) as agent:
                return await agent.charge(str(uuid.uuid4()))

        assert asyncio.run(main()) is None
