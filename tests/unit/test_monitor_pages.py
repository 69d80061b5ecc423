"""docs/monitor.md and the container's files say what the program does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from claudetm.adapters.service.described import MARGIN_SECONDS, Service
from claudetm.adapters.service.systemd import Systemd
from claudetm.adapters.store.results import result_data
from claudetm.config import resolve
from claudetm.intake.queue import Queue
from claudetm.intake.view import queue_state
from claudetm.ports.source import Job, Result, Status
from commands_reference import commands, parse
from generate_docs import DOCS
from monitor_reference import SETTINGS, options

ROOT = DOCS.parent
PAGE = (DOCS / "monitor.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    found = re.search(rf"^##+ {re.escape(title)}\n(.*?)(?=^##? |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def first_cells(text: str) -> list[str]:
    return re.findall(r"^\| `([^`]+)`", text, re.MULTILINE)


def test_every_option_that_stands_for_a_setting_is_there() -> None:
    params = {p.name: p for p in dict(commands())["monitor"].params}
    assert set(SETTINGS) <= set(params)
    assert len(options().splitlines()) == len(params) + 2


def test_every_field_of_a_result_is_described_and_none_that_is_gone() -> None:
    data = result_data(Result("t", Status.COMPLETED, 0.0, 0.0, 0.0, 1), Job("t", "directory", "x"))
    inner = [f"worker_output.{name}" for name in data["worker_output"]]
    fields = [name for name in data if name != "worker_output"] + inner
    assert sorted(first_cells(section("The result of a task"))) == sorted(fields)


def test_every_field_of_the_queue_s_state_is_described() -> None:
    data: dict[str, Any] = queue_state(Queue(), {}, {}, 0.0, passed={}, alive=True)
    assert set(first_cells(section("The queue"))) == {*data, *(str(s) for s in Status)}


def test_the_container_runs_the_monitor_as_somebody_without_rights() -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    steps = [line.split(maxsplit=1) for line in lines if line and not line.startswith(("#", " "))]
    known = {
        "FROM",
        "ARG",
        "ENV",
        "RUN",
        "COPY",
        "WORKDIR",
        "USER",
        "VOLUME",
        "ENTRYPOINT",
        "CMD",
        "LABEL",
        "STOPSIGNAL",
    }
    assert {name for name, _ in steps} <= known
    last = max(n for n, (name, _) in enumerate(steps) if name == "FROM")
    stage = steps[last:]
    assert last > 0  # what builds is not what runs
    users = [text for name, text in stage if name == "USER"]
    assert users
    assert users[-1] not in {"root", "0"}
    assert "tini" in next(text for name, text in stage if name == "ENTRYPOINT")  # reaps what agents leave
    entry = yaml.safe_load(next(text for name, text in stage if name == "ENTRYPOINT"))
    command = yaml.safe_load(next(text for name, text in stage if name == "CMD"))
    assert entry[-1].endswith("claudetm")
    parse(command)
    assert not [text for name, text in steps if name in {"ENV", "ARG"} and re.search("KEY|TOKEN|SECRET", text)]
    copied = [word for name, text in steps if name == "COPY" and "--from" not in text for word in text.split()[:-1]]
    assert [word for word in copied if not (ROOT / word).exists()] == []


def test_the_composition_names_what_there_is() -> None:
    composed = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    monitor = composed["services"]["monitor"]
    assert (monitor["restart"], monitor["build"]["context"]) == ("unless-stopped", ".")
    declared = re.findall(r"^ARG (\w+)", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(monitor["build"]["args"]) <= set(declared)
    parse(monitor["command"])
    named = [v.partition(":")[0] for v in monitor["volumes"]]
    assert {v for v in named if re.match(r"[a-z]", v)} == set(composed["volumes"])
    kept = {
        "ANTHROPIC_API_KEY",
        "CLAUDE_CODE_OAUTH_TOKEN",
        "GH_TOKEN",
        "SEGO_API_KEY",
        "SEGO_API_URL",
        "SEGO_PROJECT_ID",
    }
    assert set(monitor["environment"]) == kept  # names alone: their values are the caller's
    asked_for = int(monitor["stop_grace_period"].removesuffix("s"))
    assert asked_for >= resolve()["monitor.grace"] + MARGIN_SECONDS


def test_what_a_container_is_built_from_holds_no_secret_and_no_rubbish() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert {".git", ".env", ".venv", ".claude-task-master"} <= set(ignored)


def test_what_the_page_says_of_the_unit_is_in_it() -> None:
    service = Service("x", ("/bin/true",), Path("/"), Path("/v"), grace=60.0)
    unit = Systemd("x").text(service)
    named = re.findall(r"`([A-Z][A-Za-z]+=[\w-]*)`", section("As a service"))
    assert named
    assert [line for line in named if f"\n{line}" not in unit] == []
