"""`claudetm monitor add`, at a terminal: what it writes is a task, whole, and never stands over another."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from claudetm.adapters.sources.task_document import Document, parse
from claudetm.adapters.store.lock import acquire
from claudetm.ports.source import Mode
from terminal import CLAUDETM, Terminal, bytes_of, terminal

pytestmark = pytest.mark.e2e
EXAMPLES = Path(__file__).parents[2] / "examples" / "tasks"


@pytest.fixture
def person(tmp_path: Path) -> Terminal:
    return terminal(tmp_path)


def documents(folder: Path) -> dict[str, Document]:
    read = {path.name: parse(path.read_bytes()) for path in folder.iterdir()}
    assert all(isinstance(document, Document) for document in read.values()), read
    return {name: document for name, document in read.items() if isinstance(document, Document)}


def test_a_task_is_written_and_said(person: Terminal) -> None:
    added = person("monitor", "add", "Größere Überschriften: in every report, please!")
    path = Path(added.stdout.splitlines()[0])
    assert added.returncode == 0, added.stderr
    assert path.parent == person.here / "tasks"
    assert re.fullmatch(r"task-\d{8}-\d{6}-groere\.md", path.name), path.name  # whole words, as far as they fit
    assert added.stdout.splitlines()[1] == "no monitor runs here: `claudetm monitor` takes it"
    assert path.read_text(encoding="utf-8") == "Größere Überschriften: in every report, please!\n"
    assert person.git("status", "--porcelain") == ""


def test_all_that_front_matter_can_say_are_options(person: Terminal) -> None:
    (person.here / "part").mkdir()
    said = person(
        *("monitor", "add", "Do it", "--name", "one", "--mode", "session", "--title", "A: title", "--model", "opus"),
        *(
            "--priority",
            "high",
            "--budget",
            "2.5",
            "--repository",
            "part",
            "--skill",
            "coordinate",
            "--timeout",
            "2h",
        ),
        *("--auto-commit", "--auto-push"),
    )
    other = person("monitor", "add", "Do it", "--name", "task-two", "--no-auto-commit", "--no-auto-push")
    assert (said.returncode, other.returncode) == (0, 0), (said.stderr, other.stderr)
    found = documents(person.here / "tasks")
    one, two = found["task-one.md"], found["task-two.md"]
    assert (one.text, one.title, one.mode, one.priority) == ("Do it", "A: title", Mode.SESSION, -10)
    assert (one.repository, one.skill) == ("part", "coordinate")
    assert one.settings == {
        "model": "opus",
        "limits.cost_usd": 2.5,
        "limits.session_minutes": "7200.000s",
        "monitor.auto_commit": True,
        "monitor.auto_push": True,
    }
    assert two.settings == {"monitor.auto_commit": False, "monitor.auto_push": False}


def test_programs_are_told_in_json_whether_a_monitor_runs(person: Terminal) -> None:
    told = json.loads(person("monitor", "add", "Do it", "--json").stdout)
    path = Path(told["path"])
    assert told == {"task": path.stem, "path": str(path), "title": "Do it", "monitor_running": False}
    with acquire(person.here / "state" / "monitor.lock"):
        assert json.loads(person("monitor", "add", "Do it", "--json").stdout)["monitor_running"]
        assert "a monitor takes it: process " in person("monitor", "add", "Do it").stdout
    (person.here / "state" / "second").mkdir()
    with acquire(person.here / "state" / "second" / "monitor.lock"):
        assert json.loads(person("monitor", "add", "Do it", "--json").stdout)["monitor_running"]


def test_standard_input_is_a_text_or_a_whole_document(person: Terminal) -> None:
    example = (EXAMPLES / "task-goal.md").read_bytes()
    assert person("monitor", "add", "-", "--name", "text", said=b"Do it\n\nwell\n").returncode == 0
    assert person("monitor", "add", "-", "--name", "whole", said=example).returncode == 0
    assert (person.here / "tasks" / "task-text.md").read_text() == "Do it\n\nwell\n"
    assert (person.here / "tasks" / "task-whole.md").read_bytes() == example
    refused = person("monitor", "add", "-", "--mode", "goal", said=example)
    assert (refused.returncode, refused.stderr) == (
        1,
        "claudetm: What is read has front matter: say it there, or by options, not in both\n",
    )


def test_other_folders_are_named(person: Terminal) -> None:
    elsewhere = person.home / "elsewhere"
    elsewhere.mkdir()
    named = person("monitor", "add", "Do it", "--working-dir", str(elsewhere), "--tasks-dir", "mine", "--name", "a")
    assert (named.returncode, named.stdout.splitlines()[0]) == (0, f"{elsewhere}/mine/task-a.md"), named.stderr


def test_what_the_monitor_would_refuse_is_not_written(person: Terminal) -> None:
    before = bytes_of(person.here)
    refused = person("monitor", "add", b"\xff")
    assert (refused.returncode, refused.stderr) == (1, "claudetm: The task is not UTF-8 text; write it in UTF-8\n")
    assert bytes_of(person.here) == before


def test_a_name_is_given_once(person: Terminal) -> None:
    assert person("monitor", "add", "Do it", "--name", "a").returncode == 0
    sentence = "claudetm: task-a is the name of a task already, or of a result; take another\n"
    assert person("monitor", "add", "Do that", "--name", "a").stderr == sentence
    (person.here / "tasks" / "task-a.md").unlink()
    (person.here / "results" / "task-a.json").write_text("{}")
    assert person("monitor", "add", "Do that", "--name", "a").stderr == sentence
    assert list((person.here / "tasks").iterdir()) == []


def test_several_at_once_never_collide(person: Terminal) -> None:
    command = [str(CLAUDETM), "monitor", "add", "Do it"]
    running = [
        subprocess.Popen(command, cwd=person.here, env=person.environment, stdout=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    said = {process.communicate(timeout=60)[0].splitlines()[0] for process in running}
    assert len(said) == 8
    assert {str(path) for path in (person.here / "tasks").iterdir()} == said
    assert len(documents(person.here / "tasks")) == 8
