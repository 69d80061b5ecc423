"""`claudetm monitor sego`: the sandbox as a user starts it, and auto-task turned on and off there and elsewhere."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from terminal import SCENARIOS, Terminal, terminal, wait_for

pytestmark = pytest.mark.e2e


@pytest.fixture
def person(tmp_path: Path) -> Terminal:
    return terminal(tmp_path)


@contextmanager
def sandbox(person: Terminal, *options: str) -> Iterator[dict[str, str]]:
    """Run a sandbox; yield the variables that it says to export."""
    process = person.begin("monitor", "sego", "sandbox", *options)
    try:
        said = wait_for(lambda: re.search(r"export (.+)", person.output()), "the sandbox's introduction")
        yield dict(each.split("=", 1) for each in said[1].split())
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


def at(person: Terminal, variables: dict[str, str]) -> Terminal:
    return replace(person, extra={**person.extra, **variables})


def get(variables: dict[str, str], path: str) -> dict[str, object]:
    bearer = {"Authorization": f"Bearer {variables['SEGO_API_KEY']}"}
    answer = httpx2.get(variables["SEGO_API_URL"] + path, headers=bearer)
    read: dict[str, object] = answer.json()
    return read


def test_the_sandbox_can_be_looked_at_and_filled_as_it_says(person: Terminal) -> None:
    with sandbox(person, "--port", "0") as variables:
        commands = re.findall(r"^  (curl (?:.*\\\n)?.*)$", person.output(), re.MULTILINE)
        assert len(commands) == 4
        said = [
            subprocess.run(
                ["/bin/sh", "-c", c], env={**person.environment, **variables}, capture_output=True, check=True
            )
            for c in commands
        ]
        everything, task, request, message = (json.loads(each.stdout) for each in said)
        assert len(everything["tasks"]) == 3
        assert (task["title"], request["status"], message["role"]) == ("Say hello", "OPEN", "client")
        assert len(variables["SEGO_API_KEY"]) > 20


def test_the_sandbox_shows_what_would_be_taken_and_why_not_the_rest(person: Terminal) -> None:
    with sandbox(person, "--port", "0") as variables:
        ended = at(person, variables)("monitor", "--source", "sego", "--dry-run", "--no-update-check")
        assert ended.returncode == 0
        told = ended.stdout
        assert re.search(r"sego-1 +would be taken", told)
        assert "its AI confidence 0.7 is below 0.85" in told
        assert get(variables, "/api/mcp/tasks/1")["status"] == "BACKLOG"
        everywhere = at(person, {**variables, "SEGO_PROJECT_ID": ""})(
            "monitor", "--source", "sego", "--dry-run", "--no-update-check"
        )
        assert "auto-task is off in project Quiet" in everywhere.stdout


def test_a_port_that_is_taken_is_told_in_a_sentence(person: Terminal) -> None:
    with sandbox(person, "--port", "0") as variables:
        port = variables["SEGO_API_URL"].rpartition(":")[2]
        ended = person("monitor", "sego", "sandbox", "--port", port)
        assert ended.returncode == 1
        assert f"Port {port} cannot be had (Address already in use); name another with --port" in ended.stderr


def test_auto_task_is_turned_on_and_off(person: Terminal) -> None:
    with sandbox(person, "--port", "0") as variables:
        on = at(person, variables)("monitor", "sego", "enable", "--threshold", "0.6")
        assert on.stdout == (
            "Auto-task is on in project Greetings: tasks with an AI confidence of 0.6 or more are taken.\n"
        )
        assert get(variables, "/api/mcp/projects/demo")["autoTask"] == {"enabled": True, "threshold": 0.6}
        usual = at(person, variables)("monitor", "sego", "enable", "--project-id", "quiet")
        assert "Auto-task is on in project Quiet: tasks with an AI confidence of 0.85 or more" in usual.stdout
        off = at(person, variables)("monitor", "sego", "disable")
        assert off.stdout == "Auto-task is off in project Greetings.\n"
        elsewhere = {**variables, "SEGO_API_URL": "http://127.0.0.1:9"}
        named = ("--api-url", variables["SEGO_API_URL"], "--project-id", "quiet")
        assert "off in project Quiet" in at(person, elsewhere)("monitor", "sego", "disable", *named).stdout
        assert "on in project Quiet" in at(person, elsewhere)("monitor", "sego", "enable", *named).stdout


def test_another_folders_settings_are_used_where_it_is_named(person: Terminal) -> None:
    with sandbox(person, "--port", "0") as variables:
        other = person.home / "other"
        other.mkdir()
        dotenv = other / ".env"
        dotenv.write_text("".join(f"{name}={value}\n" for name, value in variables.items()), encoding="utf-8")
        dotenv.chmod(0o600)
        off = person("monitor", "sego", "disable", "--working-dir", str(other))
        on = person("monitor", "sego", "enable", "--working-dir", str(other))
        assert [e.stdout.partition(":")[0].strip() for e in (off, on)] == [
            "Auto-task is off in project Greetings.",
            "Auto-task is on in project Greetings",
        ]
        assert person("monitor", "sego", "enable").returncode == 1


def test_what_is_missing_or_wrong_is_said_in_a_sentence_each(person: Terminal) -> None:
    assert "API key is required" in person("monitor", "sego", "enable").stderr
    with sandbox(person, "--port", "0") as variables:
        cases = {
            "Auto-task belongs to a project": {"SEGO_PROJECT_ID": ""},
            "Sego has no project nope for this key": {"SEGO_PROJECT_ID": "nope"},
            "Sego refuses the API key": {"SEGO_API_KEY": "wrong-key"},
            "Sego cannot be reached at http://127.0.0.1:9": {"SEGO_API_URL": "http://127.0.0.1:9"},
            "would carry the API key over the network": {"SEGO_API_URL": "http://sego.example"},
        }
        for sentence, changed in cases.items():
            ended = at(person, {**variables, **changed})("monitor", "sego", "disable")
            assert ended.returncode == 1
            assert sentence in ended.stderr
            assert "wrong-key" not in ended.stderr
        assert at(person, variables)("monitor", "sego", "enable", "--threshold", "1.1").returncode == 1


PLAYED = ("--source", "sego", "--no-update-check", "--rehearse", str(SCENARIOS / "session.yaml"))


def results(variables: dict[str, str], task: str) -> list[str]:
    """Return the comments on a task that report a result."""
    listed: Any = get(variables, f"/api/mcp/tasks/{task}/comments")["comments"]
    return [c["text"] for c in listed if "<!-- claudetm:result" in c["text"]]


def worker(person: Terminal) -> list[Path]:
    """Return the journals of what is worked."""
    return list((person.here / ".claude-task-master" / "tasks").glob("*/journal.jsonl"))


def holders(key: str) -> list[str]:
    """Return the command lines of the processes whose environment or command line shows a key."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            told = (process / "cmdline").read_bytes()
            if key.encode() in told + (process / "environ").read_bytes():
                found.append(told.decode(errors="replace"))
    return found


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


@pytest.mark.timeout(180)
def test_a_monitor_that_is_killed_carries_on_and_a_task_tried_again_is_reported_again(person: Terminal) -> None:
    with sandbox(person, "--port", "0") as variables:
        there = at(person, variables)
        killed = there.begin("monitor", *PLAYED)
        wait_for(lambda: get(variables, "/api/mcp/tasks/1")["status"] == "IN_PROGRESS", "the claim")
        wait_for(lambda: worker(person), "the worker")
        assert holders(variables["SEGO_API_KEY"]) == []
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert get(variables, "/api/mcp/tasks/1")["status"] == "IN_PROGRESS"
        ended = there("monitor", "--once", *PLAYED)
        assert ended.returncode == 0, ended
        assert get(variables, "/api/mcp/tasks/1")["status"] == "IN_REVIEW"
        assert len(results(variables, "1")) == 1
        again = there("monitor", "retry", "sego-1")
        assert again.returncode == 0, again
        running = there.begin("monitor", *PLAYED)
        wait_for(lambda: len(results(variables, "1")) == 2, "the second result")
        wait_for(lambda: get(variables, "/api/mcp/tasks/1")["status"] == "IN_REVIEW", "its review")
        running.send_signal(signal.SIGTERM)
        assert running.wait(30) == 0
        messages: Any = get(variables, "/api/mcp/conversations/c1/messages")["messages"]
        assert [m["role"] for m in messages] == ["client", "assistant"]
        assert not [p for p in person.here.rglob("*") if p.is_file() and variables["SEGO_API_KEY"] in text_of(p)]
