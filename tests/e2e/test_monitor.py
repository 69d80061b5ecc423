"""The monitor through the real entry point, with real workers, sessions, signals and servers; its model is scripted.

Each option and variable that the README's table names has a test here that sees what it does.
"""

from __future__ import annotations

import asyncio
import functools
import http.server
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from claudetm.adapters.agent.cli import find_cli
from claudetm.adapters.store.lock import holder
from claudetm.testing.sego.serve import Serving, serve
from claudetm.testing.sego.state import Sandbox
from terminal import CLAUDETM, SCENARIOS, Terminal, bytes_of, terminal, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

KEY = "sk-sandbox-of-a-test"
PLAYED = ("--rehearse", str(SCENARIOS / "session.yaml"))
SESSIONS = ("--mode", "session", *PLAYED)


@pytest.fixture
def person(tmp_path: Path) -> Iterator[Terminal]:
    """Somebody in a repository; monitors and workers that a test leaves are ended."""
    made = terminal(tmp_path)
    made.extra["CLAUDETM_MONITOR_UPDATE_CHECK"] = "false"
    yield made
    for lock in made.here.rglob("*.lock"):
        text = lock.read_text(encoding="utf-8")
        if lock.name in {"monitor.lock", "worker.lock"} and text.strip():
            end(int(json.loads(text)["pid"]))


def amid(person: Terminal, variables: Mapping[str, str]) -> Terminal:
    """Return the person with more variables set."""
    return replace(person, extra={**person.extra, **variables})


def end(pid: int) -> None:
    """End one process and what it began."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def drop(person: Terminal, name: str = "task-0001", text: str = "Say hello\n") -> None:
    folder = person.here / "tasks"
    folder.mkdir(exist_ok=True)
    draft = person.here / f"{name}.draft"
    draft.write_text(text, encoding="utf-8")
    os.utime(draft, (time.time() - 60, time.time() - 60))  # or it could still be being written
    draft.rename(folder / f"{name}.md")


def result(person: Terminal, name: str = "task-0001") -> dict[str, Any]:
    path = person.here / "results" / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def about(person: Terminal, *command: str) -> Any:
    ended = person("monitor", *command, "--json")
    assert (ended.returncode, ended.stderr) == (0, ""), ended
    return json.loads(ended.stdout)


def begun(person: Terminal, *options: str) -> subprocess.Popen[str]:
    """Begin a monitor; return once it takes tasks."""
    monitor = person.begin("monitor", *options)
    lock = Path(person.extra.get("SEGO_WORKING_DIR", person.here)) / "state" / "monitor.lock"
    wait_for(lambda: monitor.poll() is not None or holder(lock), "the monitor")
    assert monitor.poll() is None, person.output()
    return monitor


def stopped(monitor: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> int:
    monitor.send_signal(number)
    return monitor.wait(60)


def journal(person: Terminal, task: str = "task-0001") -> list[dict[str, Any]]:
    """Return the events of a task's run."""
    path = person.state / "tasks" / task / "journal.jsonl"
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def began_with(person: Terminal, task: str = "task-0001") -> dict[str, Any]:
    """Return the settings that a task's run began with."""
    return dict(journal(person, task)[0]["data"]["settings"])


def queue(person: Terminal) -> list[str]:
    """Return the queue's events, as words of their type and task."""
    path = person.here / "state" / "queue.jsonl"
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
    return [f"{e['type']} {e['data'].get('job', '')}".strip() for e in map(json.loads, lines)]


def banner(text: str) -> dict[str, str]:
    """Return what a banner shows, each setting with its source."""
    found = re.findall(r"^  (\S+) +(.*?)  (\[\w+\])$", text, re.MULTILINE)
    return {name: f"{value} {source}" for name, value, source in found}


# --- the directory ---------------------------------------------------------------------------------------------


def test_a_file_that_is_dropped_is_taken_worked_and_reported(person: Terminal) -> None:
    monitor = begun(person, *SESSIONS, "--poll", "30")
    dropped = time.monotonic()
    drop(person)
    wait_for(lambda: "JobClaimed task-0001" in queue(person), "the claim")
    assert time.monotonic() - dropped < 5  # of which a busy machine may take most
    wait_for(lambda: result(person), "the result")
    found = result(person)
    assert (found["task_id"], found["status"], found["audit_score"]) == ("task-0001", "completed", 93)
    assert (found["worker_output"]["summary"], found["queue_position"]) == ("Added hello.txt.", 1)
    assert not (person.here / "hello.txt").exists()  # the work is in the snapshot that the result names

    other = person("monitor", *SESSIONS)
    assert other.returncode == 1
    assert re.fullmatch(
        r"claudetm: A monitor works in .*/state already \(process \d+ .*\): end .*--name\n", other.stderr
    )
    drop(person, "task-0002", "---\nnonsense: 1\n---\nSay hello\n")
    drop(person, "task-0003")
    wait_for(lambda: result(person, "task-0003"), "the one behind it")
    assert not result(person, "task-0002")

    wait_for(lambda: "JobReported task-0003" in queue(person), "the report")
    assert about(person, "status")["completed"] == 2
    status = person("monitor", "status").stdout
    assert re.search(r"^monitor: running \(process \d+ .*\) in .*", status)
    assert "ended: 2 completed, 0 failed" in status
    again = person("monitor", "retry", "task-0001")
    assert (again.returncode, again.stdout) == (0, "task-0001: it goes on\n"), again
    wait_for(lambda: result(person).get("retry_count") == 1, "the result anew")
    assert stopped(monitor) == 0
    assert "stopping: ended by SIGTERM" in person.output()
    assert about(person, "status")["running"] is False
    assert (person.here / "state" / "queue_state.json").exists()


def test_once_works_what_is_there_in_order_and_the_commands_show_it(person: Terminal) -> None:
    for name in ("task-2", "task-1"):
        drop(person, name)
        time.sleep(0.05)  # their order is that of their coming
    ended = person("monitor", "--once", *SESSIONS)
    assert (ended.returncode, ended.stderr) == (0, ""), ended
    assert [e for e in queue(person) if e.startswith("JobCompleted")] == [
        "JobCompleted task-2",
        "JobCompleted task-1",
    ]
    assert ended.stdout.endswith("all that was there is done\n")
    again = person("monitor", "--once", *SESSIONS)
    assert "begun" not in again.stdout  # a result says that it is done

    assert [row["id"] for row in about(person, "tasks")] == ["task-1", "task-2"]
    assert [row["id"] for row in json.loads(person("monitor", "tasks", "--all", "--json").stdout)] == [
        "task-1",
        "task-2",
    ]
    assert about(person, "queue") == []
    assert person("monitor", "queue").stdout == "nothing waits\n"
    one = person("monitor", "tasks", "task-1").stdout
    for line in ("  status         completed", "  audit score    93", "  summary        Added hello.txt."):
        assert line in one
    assert about(person, "tasks", "task-2")["result"]["task_id"] == "task-2"
    unknown = person("monitor", "tasks", "task-9")
    assert (unknown.returncode, unknown.stdout) == (1, "")

    assert about(person, "retry", "task-1")["said"].startswith("it goes on at the monitor's next start")
    assert not result(person, "task-1")
    assert len(list((person.here / "results" / "replaced").iterdir())) == 1
    ended = person("monitor", "--once", *SESSIONS)
    assert (ended.returncode, result(person, "task-1")["retry_count"]) == (0, 1)
    refused = person("monitor", "retry", "task-9")
    assert (refused.returncode, refused.stderr) == (1, "claudetm: There is no task task-9\n")


def test_what_failed_is_applied_all_the_same_and_goes_on_by_another_setting(person: Terminal) -> None:
    for name, value in (("session.threshold", "95"), ("session.rounds", "1")):
        assert person("config", "set", name, value).returncode == 0
    drop(person)
    assert person("monitor", "--once", *SESSIONS).returncode == 0
    found = result(person)
    assert (found["status"], found["audit_score"]) == ("failed", 93)
    assert found["error"].endswith('. Next: claudetm --task task-0001 say "…", then claudetm monitor retry task-0001')
    assert found["artifacts"][0]["kind"] == "snapshot"
    assert person("monitor", "apply", "task-0001").stdout.startswith("written: hello.txt\n")

    refused = person("monitor", "retry", "task-0001", "--set", "session.threshold")
    assert refused.stderr.startswith("claudetm: --set session.threshold is no setting of a run"), refused
    assert result(person)["status"] == "failed"
    again = person("monitor", "retry", "task-0001", "--set", "session.threshold=90")
    assert again.stdout.startswith("task-0001: it goes on at the monitor's next start"), again
    assert person("monitor", "--once", *SESSIONS).returncode == 0
    assert (result(person)["status"], result(person)["retry_count"]) == ("completed", 1), result(person)


def test_tasks_are_rehearsed_without_a_key_two_at_a_time_and_never_more(person: Terminal) -> None:
    for name in ("task-1", "task-2", "task-3"):
        drop(person, name, "Say hello\n" if name == "task-1" else "---\nmode: session\n---\nSay hello\n")
    ended = person("monitor", "--once", "--rehearse", "try", "--jobs", "2")
    assert (ended.returncode, ended.stderr) == (0, ""), ended
    assert [result(person, f"task-{n}")["status"] for n in (1, 2, 3)] == ["completed"] * 3
    assert "No model was asked" in person.git("grep", "No model was asked", "main", "--", "rehearsed")
    steps = [{"JobClaimed": 1, "JobCompleted": -1}.get(event.split()[0], 0) for event in queue(person)]
    assert max(itertools.accumulate(steps)) == 2


def test_a_dry_run_shows_what_would_be_taken_and_why_not_the_rest_and_changes_nothing(person: Terminal) -> None:
    drop(person, "task-0002", "---\nnonsense: 1\n---\nSay hello\n")
    (person.here / "tasks" / "task-0001.md").write_text("Say hello\n")  # just now: it is awaited
    before = bytes_of(person.here)
    ended = person("monitor", "--dry-run")
    assert (ended.returncode, ended.stderr) == (0, ""), ended
    assert "as it is, the monitor would not start: No Claude credentials" in ended.stdout
    assert re.search(r"task-0001 +would be taken from directory: Say hello\n", ended.stdout)
    assert re.search(r"task-0002 +not taken: .*nonsense", ended.stdout)
    assert ended.stdout.endswith("dry run: 1 would be taken, 1 not; nothing was changed\n")
    assert bytes_of(person.here) == before
    shown = [json.loads(line) for line in person("monitor", "--dry-run", "--json").stdout.splitlines()]
    assert [(o["task"], o["taken"]) for o in shown if o["type"] == "offer"] == [
        ("task-0001", True),
        ("task-0002", False),
    ]
    assert shown[0]["settings"]["poll"] == {"value": 30, "source": "default"}
    assert person("monitor", "--dry-run", "--log-format", "json").stdout.startswith('{"type": "started"')


@pytest.mark.crash
def test_a_monitor_that_is_killed_in_the_middle_of_a_task_goes_on_with_it(person: Terminal) -> None:
    drop(person, text="Say hello [slow]\n")
    drop(person, "task-0002")
    monitor = begun(person, "--mode", "session", "--rehearse", slow(person))
    wait_for(lambda: "SessionStarted" in [e["type"] for e in journal(person)], "the session")
    os.kill(monitor.pid, signal.SIGKILL)
    monitor.wait()
    assert about(person, "status")["running"] is False
    ended = person("monitor", "--once", "--mode", "session", "--rehearse", slow(person))
    assert (ended.returncode, ended.stderr) == (0, ""), ended
    assert (result(person)["status"], result(person)["retry_count"]) == ("completed", 0)
    assert [e["type"] for e in journal(person)].count("RunStarted") == 1
    assert [e for e in queue(person) if "Completed" in e] == ["JobCompleted task-0001", "JobCompleted task-0002"]


def slow(person: Terminal) -> str:
    """Return the scenario, its slow task slow enough to be met, and no slower."""
    path = person.home / "slow.yaml"
    text = (SCENARIOS / "session.yaml").read_text(encoding="utf-8").replace("sleep 60", "sleep 5")
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_stop_lets_what_runs_finish_and_a_second_one_keeps_it_for_the_next_start(person: Terminal) -> None:
    drop(person, text="Say hello [slow]\n")
    monitor = begun(person, "--mode", "session", "--rehearse", slow(person))
    wait_for(lambda: "SessionStarted" in [e["type"] for e in journal(person)], "the session")
    assert stopped(monitor, signal.SIGINT) == 0
    assert result(person)["status"] == "completed"

    drop(person, "task-0002", text="Say hello [slow]\n")
    monitor = begun(person, *SESSIONS)
    wait_for(lambda: "SessionStarted" in [e["type"] for e in journal(person, "task-0002")], "the session")
    row = wait_for(lambda: next((r for r in about(person, "tasks") if r["stage"]), None), "the stage")
    assert (row["id"], row["status"], row["stage"]) == ("task-0002", "running", "working")
    monitor.send_signal(signal.SIGHUP)
    wait_for(lambda: "its terminal was closed" in person.output(), "the first stop")
    assert stopped(monitor) == 0
    assert not result(person, "task-0002")
    assert queue(person)[-1] == "JobGivenBack task-0002"
    assert [row["position"] for row in about(person, "queue")] == [1]


def test_the_service_manager_is_told_that_it_is_ready_alive_and_stopping(person: Terminal) -> None:
    address = person.home / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.settimeout(30)
        person.extra |= {"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "2000000"}
        monitor = person.begin("monitor", *SESSIONS)
        assert manager.recv(4096) == b"READY=1\nSTATUS=tasks from directory"
        for _ in range(3):
            assert manager.recv(4096) == b"WATCHDOG=1"
        monitor.send_signal(signal.SIGTERM)
        said = [manager.recv(4096)]
        while not said[-1].startswith(b"STOPPING=1"):
            said.append(manager.recv(4096))
    assert monitor.wait(60) == 0


def test_what_is_wrong_is_one_sentence_and_nothing_is_made(person: Terminal) -> None:
    for options, said in {
        ("--poll", "4"): "monitor.poll must be a duration of at least 5s, as in 90s",
        ("--timeout", "soon"): "monitor.timeout must be a duration above 0",
        ("--source", "gitlab"): "monitor.source must be a list of directory, github, sego",
        ("--jobs", "0"): "monitor.jobs must be a whole number from 1 to 32",
        ("--mode", "both"): "monitor.mode must be one of auto, goal, session",
        ("--working-dir", "nowhere"): "nowhere is no folder that the monitor could work in",
        ("--name", "../x"): "--name must be letters, digits and dashes",
        ("--auto-push",): "--auto-push needs --auto-commit",
        ("--source", "sego"): "API key is required: set SEGO_API_KEY, give --api-key, write SEGO_API_KEY=… into .env",
        ("--log-level", "loud"): "There is no log level loud",
        ("--rehearse", "nothing"): "There is no scenario nothing",
        (): "No Claude credentials were found",
        ("--once", "status"): "--once stands before `status`, where it means nothing",
    }.items():
        before = bytes_of(person.here)
        ended = person("monitor", *options)
        assert (ended.returncode, ended.stdout, len(ended.stderr.splitlines())) == (1, "", 1), ended
        assert said in ended.stderr
        assert bytes_of(person.here) == before


# --- settings --------------------------------------------------------------------------------------------------


def test_the_banner_shows_each_setting_and_where_it_comes_from(person: Terminal) -> None:
    (person.here / ".env").write_text(f"SEGO_API_KEY={KEY}\nSEGO_PROJECT_ID=of-file\nAUTO_COMMIT=true\n")
    (person.here / ".env").chmod(0o600)
    with sandbox() as (url, _):
        ended = person("monitor", "--dry-run", "--api-url", url, "--jobs", "2", STREAM_PROGRESS="off")
    shown = banner(ended.stdout)
    for name, expected in {
        "source": "sego [default]",
        "working_dir": f"{person.here} [default]",
        "sego.api_key": "[secret] [file]",
        "sego.project_id": "of-file [file]",
        "sego.api_url": f"{url} [cli]",
        "sego.stream_progress": "off [env]",
        "sego.sse": "on [default]",
        "jobs": "2 [cli]",
        "auto_commit": "on [file]",
        "poll": "30s [default]",
        "client_request_timeout": "2 min [default]",
    }.items():
        assert shown[name] == expected
    assert KEY not in ended.stdout + ended.stderr


OPTIONS: Mapping[tuple[str, ...], tuple[str, str]] = {
    ("--api-url", "https://sego.example"): ("sego.api_url", "https://sego.example"),
    ("--project-id", "p-7"): ("sego.project_id", "p-7"),
    ("--poll", "5"): ("poll", "5s"),
    ("--timeout", "90s"): ("timeout", "1.5 min"),
    ("--client-request-timeout", "3"): ("client_request_timeout", "3 min"),
    ("--no-sse",): ("sego.sse", "off"),
    ("--no-stream-progress",): ("sego.stream_progress", "off"),
    ("--auto-commit",): ("auto_commit", "on"),
    ("--auto-commit", "--auto-push"): ("auto_push", "on"),
    ("--use-cli-mode",): ("agent.cli", "path"),
    ("--no-update-check",): ("update_check", "off"),
    ("--conversation-only", "--project-id", "p"): ("sego.conversation_only", "on"),
    ("-m", "haiku"): ("model", "haiku"),
    ("--mode", "goal"): ("mode", "goal"),
    ("--jobs", "3"): ("jobs", "3"),
}


def test_every_option_stands_above_the_environment_and_that_above_the_file(person: Terminal) -> None:
    url = {"SEGO_API_URL": "http://127.0.0.1:9"}  # where nobody answers
    for options, (name, value) in OPTIONS.items():
        ended = amid(person, {"SEGO_API_KEY": KEY, **url})("monitor", "--dry-run", *options)
        assert banner(ended.stdout)[name] == f"{value} [cli]", ended
    variables = {
        "SEGO_PROJECT_ID": ("sego.project_id", "p-1", "p-1"),
        "SEGO_WORKING_DIR": ("working_dir", str(person.here), str(person.here)),
        "USE_CLI_MODE": ("agent.cli", "true", "path"),
        "STREAM_PROGRESS": ("sego.stream_progress", "false", "off"),
        "CONVERSATION_ONLY": ("sego.conversation_only", "true", "on"),
        "AUTO_COMMIT": ("auto_commit", "true", "on"),
        "AUTO_PUSH": ("auto_push", "true", "on"),
    }
    base = {**url, "SEGO_API_KEY": KEY, "SEGO_PROJECT_ID": "p", "AUTO_COMMIT": "true"}
    for variable, (name, given, value) in variables.items():
        ended = amid(person, {**base, variable: given})("monitor", "--dry-run")
        assert banner(ended.stdout)[name] == f"{value} [env]", ended
        own = {n: v for n, v in base.items() if n != variable}
        (person.here / ".env").write_text(f"{variable}={given}\n")
        ended = amid(person, own)("monitor", "--dry-run")
        assert banner(ended.stdout)[name] == f"{value} [file]", ended
        (person.here / ".env").unlink()


def test_a_key_on_the_command_line_is_warned_of_and_standard_input_is_not(person: Terminal) -> None:
    with sandbox() as (url, _):
        said = person("monitor", "--dry-run", "--api-key", KEY, "--api-url", url)
        read = person("monitor", "--dry-run", "--api-key", "-", "--api-url", url, said=f"{KEY}\n".encode())
    assert (said.returncode, read.returncode) == (0, 0), (said, read)
    assert "the key stands in the process list" in said.stdout
    assert "process list" not in read.stdout
    assert banner(read.stdout)["sego.api_key"] == "[secret] [cli]"
    assert KEY not in said.stdout + read.stdout


def test_the_monitor_works_where_it_is_told_to_and_two_share_a_folder_by_name(
    person: Terminal, tmp_path: Path
) -> None:
    drop(person)
    elsewhere = Terminal(tmp_path, person.home, person.extra)
    there = ("--working-dir", str(person.here))
    ended = elsewhere("monitor", "--once", "--name", "night", *there, *SESSIONS, "--log-level", "quiet")
    assert (ended.returncode, ended.stderr) == (0, ""), ended
    assert re.fullmatch(r"\S+ all that was there is done\n", ended.stdout)
    assert result(person)["status"] == "completed"
    assert sorted(p.name for p in (person.here / "state").iterdir()) == ["night"]
    log = person.here / "logs" / "monitor-night.log"
    assert "task-0001: completed: Added hello.txt." in log.read_text(encoding="utf-8")
    assert log.stat().st_mode & 0o777 == 0o600
    where = str(person.here)
    for ended in (
        elsewhere("monitor", "status", "--working-dir", where, "--name", "night", "--json"),
        elsewhere("monitor", "tasks", "--working-dir", where, "--name", "night", "--json"),
        elsewhere("monitor", "queue", "--working-dir", where, "--name", "night", "--json"),
    ):
        assert (ended.returncode, ended.stderr) == (0, ""), ended
        assert json.loads(ended.stdout) is not None
    status = elsewhere("monitor", "status", *there, "--name", "night").stdout
    assert "ended: 1 completed, 0 failed\n" in status
    again = elsewhere("monitor", "retry", "task-0001", "--working-dir", where, "--name", "night", "--json")
    assert json.loads(again.stdout)["said"].startswith("it goes on")
    assert person.git("status", "--short") == ""  # what the monitor makes is none of git's


def test_sessions_go_by_the_monitor_s_time_model_and_cli(person: Terminal) -> None:
    drop(person)
    tools = person.home / "tools"
    tools.mkdir()
    (tools / "claude").symlink_to(find_cli(None))
    options = ("--timeout", "7", "--model", "haiku", "--use-cli-mode")
    path = {"PATH": f"{tools}:{os.environ['PATH']}"}
    ended = amid(person, path)("monitor", "--once", *SESSIONS, *options)
    assert (ended.returncode, result(person)["status"]) == (0, "completed"), ended
    began = began_with(person)
    assert (began["session_seconds"], began["model"], began["cli"]) == (420.0, "haiku", "path")
    bare = {"PATH": "/usr/bin:/bin"}
    without = subprocess.run(
        [sys.executable, "-m", "claudetm", "monitor", "--use-cli-mode", *SESSIONS],
        cwd=person.here,
        env={**person.environment, **bare},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (without.returncode, len(without.stderr.splitlines())) == (1, 1)
    assert without.stderr.startswith("claudetm: Claude CLI is not available")


def test_work_is_committed_and_pushed_only_where_that_was_said(person: Terminal, tmp_path: Path) -> None:
    remote = tmp_path / "remote.git"
    person.git("init", "-q", "--bare", str(remote))
    person.git("push", "-q", str(remote), "main")
    person.git("remote", "add", "origin", f"ssh://git@localhost{remote}")
    tools = person.home / "tools"
    tools.mkdir()
    (tools / "ssh").write_text('#!/bin/sh\nfor last; do :; done\nexec sh -c "$last"\n')  # a machine that is this one
    (tools / "ssh").chmod(0o755)
    person.extra["PATH"] = f"{tools}:{CLAUDETM.parent}:{os.environ['PATH']}"
    main = person.git("rev-parse", "main")
    for name, options in (
        ("task-1", ()),
        ("task-2", ("--auto-commit",)),
        ("task-3", ("--auto-commit", "--auto-push")),
    ):
        drop(person, name)
        assert person("monitor", "--once", *SESSIONS, *options).returncode == 0
        assert result(person, name)["status"] == "completed", result(person, name)
    assert person.git("branch", "--list", "claudetm/task/*").split() == [
        "claudetm/task/task-2",
        "claudetm/task/task-3",
    ]
    pushed = person.git("ls-remote", "origin")
    assert re.findall(r"refs/heads/(\S+)", pushed) == ["claudetm/task/task-3", "main"]
    assert person.git("ls-remote", "origin", "refs/heads/main").split()[0] == main.strip()
    assert "snapshot" in [a["kind"] for a in result(person, "task-1")["artifacts"]]


# --- a newer version -------------------------------------------------------------------------------------------


def test_a_newer_version_is_told_at_the_next_start_and_never_where_that_is_off(person: Terminal) -> None:
    del person.extra["CLAUDETM_MONITOR_UPDATE_CHECK"]
    stamp = person.home / "cache" / "claudetm" / "update.json"
    with package_index(person.home / "index") as url:
        person.extra |= {"PIP_INDEX_URL": url, "PIP_CONFIG_FILE": os.devnull}
        assert person("monitor", "--once", *SESSIONS, "--no-update-check").returncode == 0
        assert not stamp.exists()
        first = person("monitor", "--once", *SESSIONS)
        assert (first.returncode, first.stderr) == (0, "")
        assert "is out" not in first.stdout
        wait_for(lambda: "latest" in json.loads(stamp.read_text(encoding="utf-8")), "pip's answer")
        asked = stamp.read_bytes()
        second = person("monitor", "--once", *SESSIONS)
    assert re.search(r"claudetm 99\.1 is out, this is \S+: pip install --upgrade claudetm", second.stdout)
    assert stamp.read_bytes() == asked  # once a day
    assert "is out" not in person("monitor", "--once", *SESSIONS, "--no-update-check").stdout


@contextmanager
def package_index(folder: Path) -> Iterator[str]:
    """Serve an index that has a version of claudetm which no other has."""
    page = folder / "simple" / "claudetm"
    page.mkdir(parents=True)
    files = (f'<a href="claudetm-{v}-py3-none-any.whl">claudetm-{v}-py3-none-any.whl</a>' for v in ("0.0.1", "99.1"))
    (page / "index.html").write_text(f"<!DOCTYPE html><html><body>{''.join(files)}</body></html>")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the standard library's name
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/simple"
        finally:
            server.shutdown()
            thread.join()


# --- Sego PM ---------------------------------------------------------------------------------------------------


@contextmanager
def sandbox(fill: Callable[[Sandbox], object] = lambda _box: None) -> Iterator[tuple[str, Serving]]:
    """Serve a Sego server with a project `demo` in a thread of its own; yield its address and what it knows."""
    box = Sandbox(key=KEY)
    box.add_project("demo", threshold=0.85)
    fill(box)
    up, loop = threading.Event(), asyncio.new_event_loop()
    found: list[Serving] = []
    over = asyncio.Event()

    async def main() -> None:
        async with serve(box) as serving:
            found.append(serving)
            up.set()
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(main(),))
    thread.start()
    assert up.wait(20)
    try:
        yield found[0].url, found[0]
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()


def paths(serving: Serving) -> list[str]:
    return [path for _, path, _ in serving.sandbox.asked]


def analysed(serving: Serving) -> bool:
    return all(request["analysis"] for request in serving.sandbox.requests.values())


def ask(url: str, text: str) -> None:
    """Let a client ask for something, as the sandbox's users do."""
    body, headers = json.dumps({"text": text}).encode(), {"Authorization": f"Bearer {KEY}"}
    request = urllib.request.Request(f"{url}/sandbox/client-requests", body, headers)
    urllib.request.urlopen(request, timeout=20).close()


def at(url: str, **more: str) -> dict[str, str]:
    return {"SEGO_API_URL": url, "SEGO_API_KEY": KEY, "SEGO_PROJECT_ID": "demo", **more}


def test_a_task_of_sego_goes_to_review_with_its_result_as_a_comment(person: Terminal) -> None:
    def fill(box: Sandbox) -> None:
        box.add_task("demo", "t1", title="Say hello", description="Add hello.txt", aiConfidence=0.95)
        box.add_task("demo", "t2", title="Doubtful", description="Hm.", aiConfidence=0.5)
        box.add_project("other")
        box.add_task("other", "t3", title="Elsewhere", description="Not ours.", aiConfidence=0.95)

    with sandbox(fill) as (url, serving):
        ended = amid(person, at(url))("monitor", "--once", *PLAYED)
        assert (ended.returncode, ended.stderr) == (0, ""), ended
        box = serving.sandbox
        statuses = {id_: task["status"] for id_, task in box.tasks.items()}
        assert statuses == {"t1": "IN_REVIEW", "t2": "BACKLOG", "t3": "BACKLOG"}
        assert any("Added hello.txt." in c["text"] for c in box.comments["t1"])
        assert box.progress["t1"]
        [name] = [p.stem for p in (person.here / "results").glob("*.json")]
    assert result(person, name)["source"] == "sego"
    assert began_with(person, name)["session_seconds"] == 600.0
    assert KEY not in "".join(p.read_text(errors="replace") for p in person.here.rglob("*") if p.is_file())


def test_progress_stays_here_where_it_shall_not_be_streamed(person: Terminal) -> None:
    with sandbox(lambda box: box.add_task("demo", "t1", title="Say hello", description="x")) as (url, serving):
        ended = amid(person, at(url))("monitor", "--once", "--no-stream-progress", *PLAYED)
        assert ended.returncode == 0, ended
        assert serving.sandbox.tasks["t1"]["status"] == "IN_REVIEW"
        assert serving.sandbox.progress["t1"] == []


def test_conversations_alone_are_answered_where_that_is_said_within_their_own_time(person: Terminal) -> None:
    def fill(box: Sandbox) -> None:
        box.add_task("demo", "t1", title="Say hello", description="x")
        box.add_request("demo", "Could it be in French?")
        box.add_message("demo", "Which languages?")

    with sandbox(fill) as (url, serving):
        options = ("--conversation-only", "--client-request-timeout", "4")
        ended = amid(person, at(url))("monitor", "--once", *options, *PLAYED)
        assert (ended.returncode, ended.stderr) == (0, ""), ended
        box = serving.sandbox
        assert box.tasks["t1"]["status"] == "BACKLOG"
        assert [r["analysis"] for r in box.requests.values()] == [None]
        assert [m["role"] for m in box.messages["c1"]] == ["client", "assistant"]
        assert "It greets in English alone." in box.messages["c1"][1]["text"]
    [name] = [p.stem for p in (person.here / "results").glob("*.json")]
    assert began_with(person, name)["session_seconds"] == 240.0


def test_events_are_heard_unless_that_is_off_and_the_poll_finds_the_rest(person: Terminal) -> None:
    for folder, options in (("polled", ("--no-sse", "--poll", "5")), ("heard", ("--poll", "600"))):
        (person.here / folder).mkdir()
        person.extra["SEGO_WORKING_DIR"] = str(person.here / folder)
        with sandbox() as (url, serving):
            person.extra |= at(url)
            monitor = begun(person, *options, *PLAYED)
            wait_for(lambda: [p for p in paths(serving) if p.endswith("/client-requests")], "the first sweep")
            if "--no-sse" not in options:
                wait_for(lambda: [p for p in paths(serving) if p.endswith("/events")], "the stream")
            ask(url, "Could it be in French?")
            wait_for(functools.partial(analysed, serving), "the analysis")
            assert any(p.endswith("/events") for p in paths(serving)) == ("--no-sse" not in options)
            assert stopped(monitor) == 0


def test_a_refused_key_an_absent_server_and_a_wrong_project_are_three_sentences(person: Terminal) -> None:
    with sandbox() as (url, _):
        refused = amid(person, at(url, SEGO_API_KEY="sk-of-somebody-else"))("monitor", *PLAYED)
        wrong = amid(person, at(url))("monitor", *PLAYED, "--project-id", "nowhere")
    absent = amid(person, at("http://127.0.0.1:9"))("monitor", "--once", *PLAYED)
    said = [ended.stdout.splitlines()[-1].split(" ", 1)[1] for ended in (refused, wrong, absent)]
    assert [e.returncode for e in (refused, wrong, absent)] == [1, 1, 1]
    assert len(set(said)) == 3
    for sentence, word in zip(said, ("key", "nowhere", "127.0.0.1:9"), strict=True):
        assert word in sentence


# --- the README's table ----------------------------------------------------------------------------------------


SHOWN: Mapping[str, Callable[..., None]] = {
    "--source": test_what_is_wrong_is_one_sentence_and_nothing_is_made,
    "--working-dir": test_the_monitor_works_where_it_is_told_to_and_two_share_a_folder_by_name,
    "--mode": test_sessions_go_by_the_monitor_s_time_model_and_cli,
    "--model": test_sessions_go_by_the_monitor_s_time_model_and_cli,
    "--jobs": test_tasks_are_rehearsed_without_a_key_two_at_a_time_and_never_more,
    "--poll": test_events_are_heard_unless_that_is_off_and_the_poll_finds_the_rest,
    "--timeout": test_sessions_go_by_the_monitor_s_time_model_and_cli,
    "--client-request-timeout": test_conversations_alone_are_answered_where_that_is_said_within_their_own_time,
    "--once": test_once_works_what_is_there_in_order_and_the_commands_show_it,
    "--dry-run": test_a_dry_run_shows_what_would_be_taken_and_why_not_the_rest_and_changes_nothing,
    "--name": test_the_monitor_works_where_it_is_told_to_and_two_share_a_folder_by_name,
    "--rehearse": test_a_file_that_is_dropped_is_taken_worked_and_reported,
    "--auto-commit": test_work_is_committed_and_pushed_only_where_that_was_said,
    "--auto-push": test_work_is_committed_and_pushed_only_where_that_was_said,
    "--use-cli-mode": test_sessions_go_by_the_monitor_s_time_model_and_cli,
    "--no-update-check": test_a_newer_version_is_told_at_the_next_start_and_never_where_that_is_off,
    "--api-key": test_a_key_on_the_command_line_is_warned_of_and_standard_input_is_not,
    "--api-url": test_the_banner_shows_each_setting_and_where_it_comes_from,
    "--project-id": test_a_refused_key_an_absent_server_and_a_wrong_project_are_three_sentences,
    "--no-sse": test_events_are_heard_unless_that_is_off_and_the_poll_finds_the_rest,
    "--no-stream-progress": test_progress_stays_here_where_it_shall_not_be_streamed,
    "--conversation-only": test_conversations_alone_are_answered_where_that_is_said_within_their_own_time,
    "--log-level": test_the_monitor_works_where_it_is_told_to_and_two_share_a_folder_by_name,
    "--json": test_a_dry_run_shows_what_would_be_taken_and_why_not_the_rest_and_changes_nothing,
    **dict.fromkeys(
        (
            "SEGO_API_KEY",
            "SEGO_API_URL",
            "SEGO_PROJECT_ID",
            "SEGO_WORKING_DIR",
            "USE_CLI_MODE",
            "STREAM_PROGRESS",
            "CONVERSATION_ONLY",
            "AUTO_COMMIT",
            "AUTO_PUSH",
        ),
        test_every_option_stands_above_the_environment_and_that_above_the_file,
    ),
}
"""What shows the effect of each option and variable that the README's table of the monitor names."""


def test_the_effect_of_every_option_and_variable_of_the_readme_s_table_is_shown() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    section = readme.partition("\n## The monitor\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(--[a-z-]+|[A-Z_]{6,})", " ".join(row.split(" | ")[:2]))}
    assert named == set(SHOWN)
