"""The real SDK and its real CLI against the scripted model; and how each fault looks to who holds the session.

Seen with SDK 0.2.187 and CLI 2.1.330, where CLAUDE_CODE_MAX_RETRIES=1 (the default is 10, over a minute). A result
with `is_error` is yielded first; then `query` raises ResultError, and the CLI exits with 1. "A" is the `error` of the
synthetic AssistantMessage, "R" the result's subtype, api_error_status, terminal_reason and stop_reason.

    fault            A                      R
    status 400       unknown                success 400 api_error stop_sequence; asked 6 times in other forms
    status 401       authentication_failed  success 401 api_error stop_sequence; api_retry before
    status 403       authentication_failed  success 403 api_error stop_sequence; no retry
    status 404       model_not_found        success 404 api_error stop_sequence
    status 429       rate_limit             success 429 api_error stop_sequence; api_retry before
    status 500       server_error           success 500 api_error stop_sequence; api_retry before
    status 529       server_error           success 529 api_error stop_sequence; api_retry before, error "overloaded"
    usage_limit      rate_limit             success 429 api_error stop_sequence, at once. With a subscription's token
                                            a RateLimitEvent(rejected, resets_at) before, and the text "You've hit
                                            your limit"; with an API key neither, but "Request rejected (429)", and
                                            a limit of seconds is waited for by the CLI (api_retry, `retry-after`)
    credit           billing_error          success 400 api_error stop_sequence
    prompt_too_long  invalid_request        success 400 prompt_too_long stop_sequence; a longer conversation is to be
                                            compacted before (SystemMessage "status", compacting): the model refuses
    cut              server_error           success None api_error stop_sequence; api_retry (error_status None) before
    malformed        unknown                success None api_error stop_sequence; "JSON Parse error"; no retry
    stall            -                      nothing at all arrives any more
    refusal          invalid_request        success None api_error refusal; the CLI has tried once more before
    max_tokens       max_output_tokens      success None api_error stop_sequence; the CLI has tried thrice more before
    text only        -                      success, no error, structured_output None; the CLI has insisted once
    invalid answer   -                      error_max_structured_output_retries, structured_output_retry_exhausted

The transcript lags by about 0.1 s, so a killed session may have forgotten its last turns, done as they are. The tool
that a kill cut off is gone from the resumed conversation, or has the error "[Tool call interrupted: …" as its result;
after an interrupt it has "The user doesn't want to …", after a SIGTERM of the CLI "Exit code 137". With the SDK gone
(stdin closed) the CLI goes on until its hooks fail.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from claudetm.ports.agent import Role
from claudetm.prompts.answers import PlannerAnswer, schema
from claudetm.testing.scripted_model.messages_api import Model
from claudetm.testing.scripted_model.scenario import Scenario, load, parse
from claudetm.testing.scripted_model.serve import serve

pytestmark = pytest.mark.e2e

PROMPT = "Subject: c1.t1\n"
DONE = {"answer": {"outcome": "done"}}
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
    def session(self) -> str:
        return str(next(m.data["session_id"] for m in self.of("SystemMessage") if m.subtype == "init"))

    @property
    def result(self) -> Any:
        [result] = self.of("ResultMessage")
        return result


def scenario(*turns: Mapping[str, Any], **session: Any) -> Scenario:
    data = {"name": "test", "sessions": [{"role": "worker", "subject": "c1.t1", "turns": turns, **session}]}
    return parse(json.dumps(data), "test.yaml")


def options(model: Model, tmp_path: Path, env: Mapping[str, str], role: str, given: Mapping[str, Any]) -> Any:
    from claude_agent_sdk import ClaudeAgentOptions, HookMatcher

    async def allow(*_: Any) -> Any:
        return {"hookSpecificOutput": {"hookEventName": "PreToolUse", "permissionDecision": "allow"}}

    home, cwd = tmp_path / "home", tmp_path / "tree"
    for folder in (home, cwd):
        folder.mkdir(exist_ok=True)
    (home / "system.md").write_text(f"You are the {role} of claudetm.\n")
    quiet = {"HOME": str(home), "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "CLAUDE_CODE_MAX_RETRIES": "1"}
    defaults = {
        "cwd": cwd,
        "system_prompt": {"type": "file", "path": str(home / "system.md")},
        "setting_sources": [],
        "strict_mcp_config": True,
        "tools": ["Bash", "Read", "Write", "Edit", "Glob", "Grep"],
        "model": "sonnet",
        "max_turns": 10,
        "output_format": {"type": "json_schema", "schema": SCHEMA},
        "hooks": {"PreToolUse": [HookMatcher(hooks=[allow])]},
        "env": {**model.environment, **quiet, **env},
    }
    return ClaudeAgentOptions(**{**defaults, **given})


async def converse(
    model: Model,
    tmp_path: Path,
    prompt: str = PROMPT,
    *,
    role: str = "worker",
    seen: Seen | None = None,
    env: Mapping[str, str] | None = None,
    **given: Any,
) -> Seen:
    """Hold a session; `seen` fills while it lasts."""
    from claude_agent_sdk import query

    seen = seen or Seen()
    try:
        async for message in query(prompt=prompt, options=options(model, tmp_path, env or {}, role, given)):
            seen.messages.append(message)
    except Exception as error:  # noqa: BLE001 - whatever it raises is looked at
        seen.error = error
    return seen


def play(tmp_path: Path, plot: Scenario, **given: Any) -> tuple[Seen, Model]:
    async def main() -> tuple[Seen, Model]:
        async with serve(plot) as model:
            return await converse(model, tmp_path, **given), model

    return asyncio.run(main())


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - a file written by another process raises no event
        await asyncio.sleep(0.01)


def turns(model: Model) -> list[int]:
    return [a.turn for a in model.asked]


# --- sessions ----------------------------------------------------------------------------------------------


def test_the_cli_runs_the_tool_and_hands_over_the_answer(tmp_path: Path) -> None:
    write = {"say": "Writing.", "use": [{"Write": {"file_path": "{cwd}/made.txt", "content": "hello"}}]}
    seen, model = play(tmp_path, scenario(write, DONE))
    assert (tmp_path / "tree/made.txt").read_text() == "hello"
    assert seen.result.structured_output == {"outcome": "done"}
    assert seen.result.total_cost_usd > 0
    assert model.unexpected == []
    assert [(a.role, a.subject, a.turn) for a in model.asked] == [("worker", "c1.t1", 0), ("worker", "c1.t1", 1)]


def test_tokens_of_a_turn_are_what_the_result_reports(tmp_path: Path) -> None:
    tokens = {"input": 7, "output": 11, "cache_read": 13, "cache_write": 17}
    seen, _ = play(tmp_path, scenario({**DONE, "tokens": tokens}))
    usage = seen.result.usage
    assert (usage["input_tokens"], usage["output_tokens"]) == (7, 11)
    assert (usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]) == (13, 17)


def test_an_unexpected_request_ends_the_session_and_names_itself(tmp_path: Path) -> None:
    seen, model = play(tmp_path, scenario(DONE, subject="c2.t1"))
    assert model.unexpected == ["test.yaml has no session for the worker on c1.t1."]
    assert seen.result.is_error
    assert model.unexpected[0] in seen.result.result


def test_an_answer_of_another_form_is_asked_for_again_until_the_cli_gives_up(tmp_path: Path) -> None:
    seen, model = play(tmp_path, scenario({"answer": {"outcome": "perhaps"}}))
    assert seen.result.subtype == "error_max_structured_output_retries"
    assert seen.result.terminal_reason == "structured_output_retry_exhausted"
    assert turns(model) == [0] * 5


def test_an_early_end_is_a_success_without_an_answer(tmp_path: Path) -> None:
    seen, model = play(tmp_path, scenario({"say": "I would go on with the tests."}))
    assert (seen.result.subtype, seen.result.is_error) == ("success", False)
    assert seen.result.structured_output is None
    assert turns(model) == [0, 0]


def test_a_killed_session_resumes_at_the_turn_that_was_cut_off(tmp_path: Path) -> None:
    look = {"use": [{"Read": {"file_path": "{cwd}/text"}}, {"Bash": {"command": "echo one >> log"}}]}
    block = {"use": [{"Bash": {"command": "echo two >> log; test -e go || sleep 60"}}]}
    edit = {"use": [{"Edit": {"file_path": "{cwd}/text", "old_string": "old", "new_string": "new"}}]}
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "text").write_text("old\n")

    async def main() -> tuple[Seen, list[int]]:
        plot, seen = scenario(look, block, edit, DONE), Seen()
        async with serve(plot) as first:
            session = asyncio.create_task(converse(first, tmp_path, seen=seen))
            await until(lambda: "two" in text_of(tree / "log") and "toolu_s0t1u0" in transcript(tmp_path / "home"))
            kill_children()
            await session
        (tree / "go").touch()
        async with serve(plot) as second:
            return await converse(second, tmp_path, "Go on.", resume=seen.session), turns(second)

    resumed, asked = asyncio.run(main())
    assert resumed.result.structured_output == {"outcome": "done"}
    assert asked == [1, 2, 3]
    assert (tree / "log").read_text().split() == ["one", "two", "two"]
    assert (tree / "text").read_text() == "new\n"


def test_an_interrupted_session_resumes_at_the_turn_that_was_interrupted(tmp_path: Path) -> None:
    from claude_agent_sdk import ClaudeSDKClient

    block = {"use": [{"Bash": {"command": "echo two >> log; test -e go || sleep 60"}}]}
    tree = tmp_path / "tree"

    async def main() -> tuple[Seen, list[int]]:
        plot, seen = scenario(block, DONE), Seen()
        async with serve(plot) as first, ClaudeSDKClient(options(first, tmp_path, {}, "worker", {})) as client:
            await client.query(PROMPT)
            reading = asyncio.create_task(gather(client, seen))
            await until((tree / "log").exists)
            await client.interrupt()
            await reading
        (tree / "go").touch()
        async with serve(plot) as second:
            return await converse(second, tmp_path, "Go on.", resume=seen.session), turns(second)

    resumed, asked = asyncio.run(main())
    assert resumed.result.structured_output == {"outcome": "done"}
    assert asked == [0, 1]


async def gather(client: Any, seen: Seen) -> None:
    async for message in client.receive_response():
        seen.messages.append(message)


def text_of(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def transcript(home: Path) -> str:
    return "".join(p.read_text() for p in home.glob(".claude/projects/*/*.jsonl"))


def kill_children() -> None:
    for child in psutil.Process().children(recursive=True):
        with suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)


# --- faults ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "error", "status", "ended"),
    [
        ({"status": 400}, "unknown", 400, "api_error"),
        ({"status": 401}, "authentication_failed", 401, "api_error"),
        ({"status": 403}, "authentication_failed", 403, "api_error"),
        ({"status": 404}, "model_not_found", 404, "api_error"),
        ({"status": 429}, "rate_limit", 429, "api_error"),
        ({"status": 500}, "server_error", 500, "api_error"),
        ({"status": 529}, "server_error", 529, "api_error"),
        ({"credit": True}, "billing_error", 400, "api_error"),
        ({"prompt_too_long": True}, "invalid_request", 400, "prompt_too_long"),
        ({"cut": True}, "server_error", None, "api_error"),
        ({"malformed": True}, "unknown", None, "api_error"),
        ({"refusal": True}, "invalid_request", None, "api_error"),
        ({"max_tokens": True}, "max_output_tokens", None, "api_error"),
    ],
    ids=lambda value: "-".join(map(str, *value.items())) if isinstance(value, dict) else None,
)
def test_a_fault_ends_the_session_in_its_own_form(
    tmp_path: Path, fault: dict[str, Any], error: str, status: int | None, ended: str
) -> None:
    seen, model = play(tmp_path, scenario({"say": "Hm.", **DONE, **fault}), env={"ANTHROPIC_API_KEY": "anything"})
    result = seen.result
    assert (result.subtype, result.is_error) == ("success", True)
    assert (seen.of("AssistantMessage")[-1].error, result.api_error_status, result.terminal_reason) == (
        error,
        status,
        ended,
    )
    assert result.structured_output is None
    assert type(seen.error).__name__ == "ResultError"
    assert {a.fault for a in model.asked} == set(fault)


def test_a_conversation_that_grew_too_long_ends_as_too_long(tmp_path: Path) -> None:
    look = {"say": "Looking.", "use": [{"Bash": {"command": "ls"}}]}
    seen, model = play(tmp_path, scenario(look, look, look, {**DONE, "prompt_too_long": True}))
    assert [m.data["status"] for m in seen.of("SystemMessage") if m.subtype == "status"] == ["compacting", None]
    assert seen.result.terminal_reason == "prompt_too_long"
    assert turns(model) == [0, 1, 2, 3]


def test_a_refusal_is_the_result_s_stop_reason(tmp_path: Path) -> None:
    seen, _ = play(tmp_path, scenario({**DONE, "refusal": True}))
    assert seen.result.stop_reason == "refusal"


def test_a_fault_with_times_is_over_after_them(tmp_path: Path) -> None:
    seen, model = play(tmp_path, scenario({**DONE, "status": 529, "times": 1}))
    assert [m.data["error"] for m in seen.of("SystemMessage") if m.subtype == "api_retry"] == ["overloaded"]
    assert seen.result.structured_output == {"outcome": "done"}
    assert [a.fault for a in model.asked] == ["status", ""]


def test_a_usage_limit_names_its_reset(tmp_path: Path) -> None:
    seen, model = play(tmp_path, scenario({**DONE, "usage_limit": 3600}))
    [limit] = [e.rate_limit_info for e in seen.of("RateLimitEvent")]
    assert limit.status == "rejected"
    assert limit.resets_at == pytest.approx(model.began + 3600, abs=60)
    assert seen.result.api_error_status == 429


def test_a_usage_limit_without_a_subscription_is_a_rejection_without_a_reset(tmp_path: Path) -> None:
    key = {"CLAUDE_CODE_OAUTH_TOKEN": "", "ANTHROPIC_API_KEY": "anything"}
    seen, _ = play(tmp_path, scenario({**DONE, "usage_limit": 3600}), env=key)
    assert seen.of("RateLimitEvent") == []
    assert seen.of("AssistantMessage")[-1].error == "rate_limit"
    assert seen.result.api_error_status == 429


def test_a_stalled_stream_says_nothing_more_and_stays_open(tmp_path: Path) -> None:
    async def main() -> tuple[Seen, bool]:
        seen = Seen()
        async with serve(scenario({"say": "Half a", **DONE, "stall": True})) as model:
            session = asyncio.create_task(converse(model, tmp_path, seen=seen, include_partial_messages=True))
            await until(lambda: any(e.event["type"] == "content_block_delta" for e in seen.of("StreamEvent")))
            open_still = not session.done()
            kill_children()
            await session
        return seen, open_still

    seen, open_still = asyncio.run(main())
    assert open_still
    assert [e.event["type"] for e in seen.of("StreamEvent")][-1] == "content_block_delta"
    assert seen.of("ResultMessage") == []


def test_a_delay_comes_before_the_answer(tmp_path: Path) -> None:
    seen, _ = play(tmp_path, scenario(DONE, delay=0.4))
    assert seen.result.duration_api_ms >= 400


# --- the API itself ----------------------------------------------------------------------------------------


def post(url: str, body: Mapping[str, Any]) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request) as response:
        return json.load(response)


def test_a_request_without_a_stream_gets_the_same_message_as_json() -> None:
    body = {
        "model": "m",
        "system": "You are the worker of claudetm.",
        "tools": [{"name": "Bash"}],
        "messages": [{"role": "user", "content": PROMPT}],
    }

    async def main() -> Any:
        async with serve(scenario({"say": "Done.", **DONE})) as model:
            return await asyncio.to_thread(post, f"{model.url}/v1/messages", body)

    message = asyncio.run(main())
    assert [b["type"] for b in message["content"]] == ["text", "tool_use"]
    assert message["content"][1]["input"] == {"outcome": "done"}
    assert message["stop_reason"] == "tool_use"


def test_side_requests_are_answered_and_not_unexpected() -> None:
    title = {"model": "haiku", "system": "Name it.", "messages": [{"role": "user", "content": PROMPT}]}

    async def main() -> tuple[Any, Any, int, list[str]]:
        async with serve(scenario(DONE)) as model:
            said = await asyncio.to_thread(post, f"{model.url}/v1/messages", title)
            count = await asyncio.to_thread(post, f"{model.url}/v1/messages/count_tokens", title)
            head = urllib.request.Request(model.url, method="HEAD")
            with await asyncio.to_thread(urllib.request.urlopen, head) as response:
                return said, count, response.status, model.unexpected

    said, count, status, unexpected = asyncio.run(main())
    assert said["content"][0]["text"] == "scripted model: side request"
    assert count["input_tokens"] > 0
    assert (status, unexpected) == (200, [])


# --- a whole scenario --------------------------------------------------------------------------------------

GREET = {
    ".gitignore": "__pycache__/\n",
    "greet/__init__.py": "",
    "greet/greet.py": 'def greet(name):\n    return "Hello, " + name\n',
    "tests/__init__.py": "",
    "tests/test_greet.py": "import unittest\n\nfrom greet.greet import greet\n\n\n"
    "class GreetTest(unittest.TestCase):\n    def test_greets(self):\n"
    '        self.assertEqual(greet("Ada"), "Hello, Ada")\n',
}


def git(tree: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org", *arguments]
    return subprocess.run(command, cwd=tree, check=True, capture_output=True, text=True).stdout.strip()


def greeting_repository(tree: Path) -> None:
    for name, content in GREET.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(content)
    git(tree, "init", "-q")
    git(tree, "add", "-A")
    git(tree, "commit", "-q", "-m", "Start")


def holding(tree: Path, plan: PlannerAnswer) -> list[bool]:
    commands = [c.command for c in plan.criteria if c.command]
    return [
        subprocess.run(c, shell=True, cwd=tree, capture_output=True, check=False).returncode == 0 for c in commands
    ]


def test_a_scenario_does_what_its_criteria_ask_and_doing_it_twice_changes_nothing(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    greeting_repository(tree)
    plot = load(str(Path(__file__).parent / "scenarios" / "two_changes.yaml"))
    plan = PlannerAnswer.model_validate(plot.sessions[0].turns[-1].answer)
    author = {f"GIT_{who}_{what}": "ada@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    assert holding(tree, plan) == [False, False]

    async def session(model: Model, role: Role, subject: str) -> None:
        form = {"type": "json_schema", "schema": schema(role)}
        seen = await converse(model, tmp_path, f"Subject: {subject}\n", role=role, output_format=form, env=author)
        assert seen.result.structured_output, seen.result

    async def main() -> list[str]:
        trees = []
        async with serve(plot) as model:
            workers = [s for s in plot.sessions if s.role is Role.WORKER]
            for sessions in (plot.sessions, workers):
                for one in sessions:
                    await session(model, one.role, one.subject)
                assert git(tree, "status", "--porcelain") == ""
                trees.append(git(tree, "rev-parse", "HEAD"))
            assert model.unexpected == []
        return trees

    first, second = asyncio.run(main())
    assert first == second
    assert holding(tree, plan) == [True, True]
    assert (
        subprocess.run(["python3", "-B", "-m", "unittest"], cwd=tree, capture_output=True, check=False).returncode
        == 0
    )
    assert len(git(tree, "log", "--format=%s").splitlines()) == 5
