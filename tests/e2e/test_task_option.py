"""`claudetm --task ID` through the real entry point: a task's run beside the user's own, and what is said of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import pytest

from claudetm.adapters.agent.environment import MARKER
from claudetm.adapters.dispatch.handover import Handover, Order
from claudetm.adapters.dispatch.place import state_of
from claudetm.adapters.store.directory import StateDirectory, run_folder
from claudetm.adapters.store.journal import encode
from claudetm.adapters.store.lock import acquire
from claudetm.ports.source import Job
from claudetm.workflow import events as e
from claudetm.workflow.records import Record
from story import STARTED, Story, plan
from terminal import Terminal, bytes_of, terminal, wait_for
from world import World

pytestmark = pytest.mark.e2e

TASK = "fix it"


@cache
def verified() -> Sequence[Record]:
    world = World()
    asyncio.run(world.drive())
    return world.records


@pytest.fixture
def person(tmp_path: Path) -> Terminal:
    """The user's own run is verified; that of a task waits for its plan to be approved."""
    person = terminal(tmp_path)
    own = StateDirectory(person.state)
    own.create(person.here / ".git")
    own.journal.write_bytes(b"".join(map(encode, verified())))
    story = Story(*STARTED, e.PlanProposed(plan()))
    story.tell(e.RunPaused("the plan awaits your approval", "claudetm plan, then claudetm resume"))
    state = task(person)
    state.create(person.here / ".git")
    state.journal.write_bytes(b"".join(map(encode, story.records)))
    Handover(state).give(Order(Job(TASK, "directory", "Make it work")))
    return person


def task(person: Terminal) -> StateDirectory:
    return state_of(person.here, TASK)


def told(person: Terminal, *words: str) -> str:
    done = person("--task", TASK, *words)
    assert done.returncode == 0, done
    return done.stdout


def test_a_command_looks_at_the_task_s_run_and_names_the_command_that_does(person: Terminal) -> None:
    assert "verified" in person("status").stdout
    assert f"next: claudetm --task '{TASK}' plan, then claudetm --task '{TASK}' resume" in told(person, "status")
    assert json.loads(told(person, "status", "--json"))["phase"] == "planned"
    assert f"claudetm --task '{TASK}' resume" in told(person, "explain")
    assert told(person, "say", "Mind the tests") == "say: done\n"
    assert "text=Mind the tests" in told(person, "logs")
    assert f"next: claudetm --task '{TASK}' resume" in told(person, "plan", "approve")
    before = bytes_of(person.state / "journal.jsonl")
    refused = person("--task", TASK, "pause")
    assert "already: the plan awaits your approval" in refused.stderr
    assert told(person, "stop", "--cancel") == "stop: done\n"
    assert bytes_of(person.state / "journal.jsonl") == before


def test_without_the_option_nothing_looks_at_a_task(person: Terminal) -> None:
    (person.state / "journal.jsonl").unlink()
    none = person("status")
    assert none.returncode == 1
    assert none.stderr.startswith(f"claudetm: There is no run in {person.here}: ")


@pytest.mark.parametrize("spelling", [("--task", TASK), (f"--task={TASK}",)])
def test_both_spellings_are_one(person: Terminal, spelling: tuple[str, ...]) -> None:
    assert "awaits your approval" in person(*spelling, "status").stdout


def test_what_cannot_be_is_said_in_a_sentence(person: Terminal) -> None:
    for words, said in (
        (("--task", "other", "status"), f"No task other has been worked here, those here are {TASK}; "),
        (("--task", TASK, "start", "x"), "--task goes with a command that looks at a run: resume, pause, "),
        (("--task", TASK, "config", "show"), "--task goes with a command that looks at a run: "),
        (("--task", "../..", "status"), "No task ../.. has been worked here"),
        (("--task",), "--task"),
    ):
        refused = person(*words)
        assert refused.returncode == 1
        assert said in refused.stderr
    for command in ("status", "logs", "resume"):
        task(person).journal.unlink(missing_ok=True)
        assert person("--task", TASK, command).returncode == 1
    assert "has begun no run yet" in person("--task", TASK, "status").stderr


def test_a_task_of_another_repository_is_found_where_the_monitor_runs(person: Terminal, tmp_path: Path) -> None:
    place = tmp_path / "srv"
    (place / "results").mkdir(parents=True)
    person.here = person.here.rename(place / "repo")
    (place / "results" / f"{TASK}.json").write_text(json.dumps({"task_id": TASK, "repository": "repo"}))
    person.here = place
    assert "awaits your approval" in told(person, "status")
    assert told(person, "say", "Mind the tests") == "say: done\n"
    person.here = tmp_path
    elsewhere = person("monitor", "apply", TASK, "--working-dir", "srv", "--name", "second")
    assert "was not worked in one session" in elsewhere.stderr
    person.here = place
    assert "There are no snapshots" in told(person, "undo")
    for words in (("--task", "other", "status"), ("monitor", "apply", "other")):
        assert "call it where the monitor runs, or in the task's repository" in person(*words).stderr
    assert person("--task", TASK, "clean", "-f").returncode == 0


def test_a_task_s_damaged_journal_is_mended_and_no_other(person: Terminal) -> None:
    lines = task(person).journal.read_bytes().splitlines(keepends=True)
    task(person).journal.write_bytes(lines[0] + b"spoilt\n" + lines[2])
    before = (person.state / "journal.jsonl").read_bytes()
    refused = person("--task", TASK, "status")
    assert f"claudetm --task '{TASK}' doctor --repair keeps a copy" in refused.stderr
    assert "journal" not in {f["name"] for f in json.loads(person("doctor", "--json").stdout) if f["state"] != "ok"}
    mended = json.loads(person("--task", TASK, "doctor", "--repair", "--json").stdout)
    assert "repaired: 1 events" in next(f["found"] for f in mended if f["name"] == "journal")
    assert person("--task", TASK, "status").returncode == 0
    assert (person.state / "journal.jsonl").read_bytes() == before


def test_cleaning_one_leaves_the_other(person: Terminal) -> None:
    done = person("clean", "--force")
    assert done.returncode == 0, done
    assert "awaits your approval" in told(person, "status")
    told(person, "stop", "--cancel")
    before = bytes_of(person.state / "history")
    assert "moved its record" in told(person, "clean", "--force")
    assert bytes_of(person.state / "history") == before
    assert not task(person).journal.exists()
    assert Handover(task(person)).order() is not None


def test_doctor_spares_what_a_task_s_worker_has_begun(person: Terminal) -> None:
    run = "0101-0000-aaaa"
    (person.home / "state" / "claudetm" / run_folder(person.here, run).parent.name / run).mkdir(parents=True)
    sleeper = psutil.Popen(["sleep", "300"], env={MARKER: run, "PATH": "/usr/bin:/bin"})
    try:
        wait_for(lambda: MARKER in sleeper.environ(), "its environment")
        with acquire(task(person).lock, run):
            spared = {f["name"]: f for f in json.loads(person("doctor", "--repair", "--json").stdout)}
        assert spared["orphan agents"]["found"] == "none"
        ended = {f["name"]: f for f in json.loads(person("doctor", "--repair", "--json").stdout)}
        assert ended["orphan agents"]["found"] == f"ended: process {sleeper.pid}"
    finally:
        sleeper.kill()
        sleeper.wait()


def test_a_shell_offers_the_tasks_that_are_here(person: Terminal) -> None:
    asked: dict[str, Any] = {
        "COMP_WORDS": "claudetm\n--task\n",
        "COMP_CWORD": "2",
        "_TYPER_COMPLETE_ARGS": "claudetm --task ",
    }
    assert person(_CLAUDETM_COMPLETE="complete_bash", **asked).stdout.splitlines() == [TASK]
