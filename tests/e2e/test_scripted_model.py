"""The real SDK and its real CLI against the scripted model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from claudetm.testing.scripted_model.messages_api import Model
from claudetm.testing.scripted_model.scenario import Scenario, parse
from claudetm.testing.scripted_model.serve import serve

pytestmark = pytest.mark.e2e

SCHEMA = {
    "type": "object",
    "properties": {"outcome": {"enum": ["done", "unfinished"]}},
    "required": ["outcome"],
    "additionalProperties": False,
}


@dataclass
class Seen:
    """What the SDK showed of one session."""

    messages: list[Any] = field(default_factory=list)
    error: Exception | None = None

    def of(self, name: str) -> list[Any]:
        return [m for m in self.messages if type(m).__name__ == name]

    @property
    def result(self) -> Any:
        [result] = self.of("ResultMessage")
        return result


async def converse(model: Model, tmp_path: Path, prompt: str = "Subject: c1.t1\n", **options: Any) -> Seen:
    from claude_agent_sdk import ClaudeAgentOptions, HookMatcher, query

    async def allow(*_: Any) -> Any:
        return {"hookSpecificOutput": {"hookEventName": "PreToolUse", "permissionDecision": "allow"}}

    home, cwd = tmp_path / "home", tmp_path / "tree"
    for folder in (home, cwd):
        folder.mkdir(exist_ok=True)
    (home / "system.md").write_text("You are the worker of claudetm.\n")
    seen = Seen()
    given = ClaudeAgentOptions(
        **{
            "cwd": cwd,
            "system_prompt": {"type": "file", "path": str(home / "system.md")},
            "setting_sources": [],
            "strict_mcp_config": True,
            "tools": ["Bash", "Read", "Write", "Edit", "Glob", "Grep"],
            "model": "sonnet",
            "max_turns": 10,
            "output_format": {"type": "json_schema", "schema": SCHEMA},
            "hooks": {"PreToolUse": [HookMatcher(hooks=[allow])]},
            "env": environment(model, home),
            **options,
        }
    )
    try:
        async for message in query(prompt=prompt, options=given):
            seen.messages.append(message)
    except Exception as error:  # noqa: BLE001 - what it raises is what is looked at
        seen.error = error
    return seen


def environment(model: Model, home: Path) -> dict[str, str]:
    return {
        "ANTHROPIC_BASE_URL": model.url,
        "ANTHROPIC_API_KEY": "anything",
        "HOME": str(home),
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }


def scenario(*turns: Mapping[str, Any], **session: Any) -> Scenario:
    data = {"name": "test", "sessions": [{"role": "worker", "subject": "c1.t1", "turns": turns, **session}]}
    return parse(json.dumps(data), "test.yaml")


DONE = {"answer": {"outcome": "done"}}


async def play(tmp_path: Path, *turns: Mapping[str, Any], **options: Any) -> tuple[Seen, Model]:
    async with serve(scenario(*turns)) as model:
        seen = await converse(model, tmp_path, **options)
    return seen, model


def run(coroutine: Any) -> Any:
    import anyio

    async def main() -> Any:
        return await coroutine

    return anyio.run(main)


def test_the_cli_runs_the_tool_and_hands_over_the_answer(tmp_path: Path) -> None:
    write = {"say": "Writing.", "use": [{"Write": {"file_path": "{cwd}/made.txt", "content": "hello"}}]}
    seen, model = run(play(tmp_path, write, DONE))
    assert (tmp_path / "tree/made.txt").read_text() == "hello"
    assert seen.result.structured_output == {"outcome": "done"}
    assert seen.result.total_cost_usd > 0
    assert model.unexpected == []
    assert [(a.role, a.subject, a.turn) for a in model.asked] == [("worker", "c1.t1", 0), ("worker", "c1.t1", 1)]
