"""What looks at a monitor: tables that fit, texts that cannot act on a terminal, its log, a newer version."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from claudetm.adapters.dispatch.place import state_of
from claudetm.adapters.store.journal import encode
from claudetm.adapters.store.lock import acquire
from claudetm.bootstrap import updates
from claudetm.bootstrap.monitor_places import Places, find_places
from claudetm.cli.chosen import look_at
from claudetm.cli.monitor.log import open_log
from claudetm.cli.monitor.look import look, result_of
from claudetm.cli.monitor.screen import Screen, spoken
from claudetm.cli.monitor.status import command as status
from claudetm.cli.monitor.table import Row, duration, ended_rows, open_rows, show
from claudetm.cli.monitor.worked_in import repository_of
from claudetm.cli.state import task_state
from claudetm.errors import UsageError
from claudetm.redact import learn
from claudetm.workflow.records import Record

ESC = "\x1b]0;owned\x07\x1b[31m\u202e"
SECRET = "sk-of-a-look-1234"
HEAVY = (
    "asyncio",
    "claude_agent_sdk",
    "github",
    "git",
    "fastapi",
    "httpx2",
    "watchdog",
    "pydantic",
    "anyio",
    "jinja2",
)


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Places]:
    before, was = dict(os.environ), Path.cwd()
    os.environ.update(XDG_CONFIG_HOME=str(tmp_path / "config"), XDG_CACHE_HOME=str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    os.chdir(tmp_path / "here")
    found = find_places()
    found.create()
    yield found
    os.chdir(was)
    os.environ.clear()
    os.environ.update(before)


def queued(seq: int, job: str, title: str = "") -> Record:
    data = {"job": job, "source": "directory", "title": title, "created": 1.0, "priority": 0, "lane": "work"}
    return Record(seq, 1000.0 + seq, "JobQueued", ("", "queued"), {**data, "position": seq, "retries": 0})


def claimed(seq: int, job: str, **more: str) -> Record:
    claim = {"id": job, "source": "directory", "text": "x", "mode": "session", "title": "", **more}
    data = {"job": job, "claim": claim, "deaths": 0}
    return Record(seq, 1000.0 + seq, "JobClaimed", ("queued", "running"), data)


def write(places: Places, *records: Record) -> None:
    places.journal.write_bytes(b"".join(map(encode, records)))


def ended(places: Places, name: str, **more: Any) -> None:
    data = {"task_id": name, "status": "completed", "completed_at": "2026-01-02T03:04:05+00:00", **more}
    (places.results / f"{name}.json").write_text(json.dumps(data), encoding="utf-8")


def shown(rows: list[Row], width: int) -> list[str]:
    out = io.StringIO()
    with redirect_stdout(out):
        show(rows, width)
    return out.getvalue().splitlines()


def test_the_queue_is_shown_with_what_runs_first_and_positions(places: Places) -> None:
    write(places, queued(1, "a"), queued(2, "b"), queued(3, "c"), claimed(4, "a"))
    places.queue_state.write_text(
        json.dumps({"running": [{"task_id": "a", "stage": "auditing", "note": "it looks"}]})
    )
    rows = open_rows(look(None, ""))
    told = [(r.id, r.status, r.stage, r.what, r.position) for r in rows]
    assert told[0] == ("a", "running", "auditing", "it looks", 0)
    assert [(r.id, r.position) for r in rows[1:]] == [("b", 1), ("c", 2)]


def test_results_that_are_gone_are_not_made_anew_where_tasks_have_been_worked(places: Places) -> None:
    places.results.rmdir()
    places.create()
    write(places, queued(1, "task-a"))
    places.create()
    places.results.rmdir()
    with pytest.raises(UsageError, match="put it back, or make an empty folder to have every task run anew"):
        places.create()
    assert not places.results.exists()


def test_what_lies_in_the_folder_is_shown_before_any_monitor_has_seen_it(places: Places) -> None:
    write(places, queued(1, "task-known"), queued(2, "task-spoilt"))
    ended(places, "task-over")
    documents = {
        "task-known.md": "Known.",
        "task-spoilt.md": "---\nmood: good\n---\nSpoilt since.",
        "task-over.md": "Over.",
        "task-new.md": "New.",
        "task-urgent.md": "---\npriority: high\n---\nUrgent.",
        "task-wrong.md": "---\nbugdet: 1\n---\nWrong.",
        "notes.txt": "No task.",
    }
    for at, (name, text) in enumerate(documents.items()):
        (places.tasks / name).write_text(text, encoding="utf-8")
        os.utime(places.tasks / name, (at, at))
    os.mkfifo(places.tasks / "task-pipe.md")
    rows = {r.id: r for r in open_rows(look(None, ""))}
    assert [(r.id, r.position) for r in rows.values() if r.position] == [
        ("task-urgent", 1),
        ("task-known", 2),
        ("task-spoilt", 3),
        ("task-new", 4),
    ]
    left = {r.id: r.what for r in rows.values() if r.status == "not taken"}
    assert left == {
        "task-pipe": "task-pipe.md: it is a pipe, not a file",
        "task-wrong": "task-wrong.md:2: there is no key `bugdet`; did you mean `budget`?",
    }
    assert rows["task-spoilt"].what.startswith("task-spoilt.md:2: there is no key `mood`")


def test_what_a_running_monitor_leaves_at_its_other_sources_is_shown_with_the_reason(places: Places) -> None:
    places.about.write_text(json.dumps({"sources": ["github"]}))
    (places.tasks / "task-0001.md").write_text("Nobody looks here.")
    left = [{"task_id": "issue-7", "source": "github", "why": f"{ESC}a stranger wrote it"}, {}, 7]
    places.queue_state.write_text(json.dumps({"not_taken": left}))
    assert open_rows(look(None, "")) == []  # as of a monitor that is gone
    with acquire(places.lock, "monitor"):
        rows = open_rows(look(None, ""))
    assert (rows[0].id, rows[0].source, rows[0].status) == ("issue-7", "github", "not taken")
    assert rows[0].what.isprintable()
    assert rows[0].what.endswith("a stranger wrote it")


def test_results_come_newest_first_and_what_is_none_is_passed_over(places: Places) -> None:
    for at, name in enumerate(("old", "new")):
        ended(places, name, worker_output={"summary": f"{name} is done"})
        os.utime(places.results / f"{name}.json", (at, at))
    (places.results / "broken.json").write_text("{")
    (places.results / "list.json").write_text("[]")
    os.mkfifo(places.results / "pipe.json")
    (places.results / "link.json").symlink_to(places.results / "old.json")
    rows = list(ended_rows(look(None, ""), None))
    assert [(r.id, r.what) for r in rows] == [("new", "new is done"), ("old", "old is done")]
    assert [r.id for r in ended_rows(look(None, ""), 1)] != ["old"]
    assert result_of(places, "pipe") == {}


def test_results_that_are_no_folder_are_one_sentence(places: Places) -> None:
    places.results.rmdir()
    places.results.write_text("x")
    assert open_rows(look(None, "")) == []
    with pytest.raises(UsageError, match="results cannot be read: Not a directory; mend that, or move it away"):
        list(ended_rows(look(None, ""), None))


def test_a_result_of_odd_kinds_is_shown_all_the_same(places: Places) -> None:
    ended(places, "odd", status=7, completed_at=[], worker_output="x", title=None, error=None)
    [row] = ended_rows(look(None, ""), None)
    assert (row.status, row.since, row.what) == ("7", 0.0, "")


@pytest.mark.parametrize("width", [30, 40, 80, 200])
def test_the_table_fits_the_terminal_and_keeps_every_row(width: int) -> None:
    rows = [
        Row("task-0001", "running", 1.0, what="w" * 300, stage="waiting_ci"),
        Row("t" * 120, "completed", 0.0, what="done"),
        Row("日本語", "queued", 1.0, title="広い" * 50, position=1),
    ]
    lines = shown(rows, width)
    assert len(lines) == 4
    assert all(len(line) <= width for line in lines)
    assert "running" in lines[1]


def test_texts_of_others_cannot_act_on_the_terminal(places: Places) -> None:
    learn(SECRET)
    write(places, queued(1, "a", f"{ESC}two\nlines {SECRET}"))
    ended(places, "b", error=f"{ESC}bad\nworse {SECRET}")
    monitor = look(None, "")
    for line in shown([*open_rows(monitor), *ended_rows(monitor, None)], 200):
        assert line.isprintable()
        assert SECRET not in line
    said: list[str] = []
    for as_json in (False, True):
        screen = Screen("verbose", as_json=as_json, write=said.append)
        screen.event(queued(1, "a", f"{ESC}two\nlines {SECRET}"))
        screen.progress("a", f"{ESC}does\nthings {SECRET}")
        screen.notice(f"{ESC}a\nnotice {SECRET}")
    assert len(said) == 6
    assert all(line.isprintable() and SECRET not in line for line in said)


def test_levels_and_forms_of_what_is_told() -> None:
    for level, expected in {"quiet": 1, "normal": 3, "verbose": 4}.items():
        said: list[str] = []
        screen = Screen(level, as_json=True, write=said.append)
        screen.event(queued(1, "a", "Title"))
        screen.event(Record(2, 2.0, "JobReported", ("completed", ""), {"job": "a"}))  # nobody wants to know
        screen.notice("A notice.")
        screen.progress("a", "working: it writes")
        screen.end("done", 0)
        assert len(said) == expected
        assert json.loads(said[-1]) | {"time": ""} == {
            "type": "ended",
            "time": "",
            "text": "done",
            "exit_code": 0,
            "task": None,
        }


RESULT: Mapping[str, Any] = {"output": {"summary": "Good."}, "error": "Bad. Next: claudetm resume"}


@pytest.mark.parametrize(
    ("type_", "data", "words"),
    [
        ("JobDied", {"evidence": "signal 9", "until": 0.0}, "its worker died (signal 9); again at 1970"),
        ("JobPostponed", {"why": "no model", "until": 0.0}, "no model; again at 1970"),
        ("JobWaiting", {"why": "a review", "next": "claudetm x"}, "waits for you: a review; next: claudetm x"),
        ("JobResumed", {}, "goes on"),
        ("JobGivenBack", {"why": "it stops"}, "given back: it stops"),
        ("JobLost", {"by": "other"}, "taken over by other"),
        ("JobLost", {"by": ""}, "no longer ours there: taken over by another monitor, or taken back by a person"),
        ("JobWithdrawn", {"why": "gone"}, "no task any more: gone"),
        ("JobCompleted", {"result": RESULT}, "completed: Good."),
        ("JobFailed", {"result": RESULT}, "failed: Bad. Next: claudetm resume"),
        ("CommandTaken", {"name": "retry", "subject": "a", "refusal": "no"}, "asked to retry a: no"),
        ("SomethingNew", {}, ""),
    ],
)
def test_each_event_has_its_words(type_: str, data: Mapping[str, Any], words: str) -> None:
    said, _ = spoken(Record(1, 1.0, type_, ("", ""), {"job": "a", **data}))
    assert said.startswith(words)
    assert bool(said) == bool(words)


def test_spans_are_a_few_characters() -> None:
    spans = (0, 59, 60, 3599, 3600, 7500, 86_400 * 3)
    assert [duration(s) for s in spans] == ["0s", "59s", "1m", "59m", "1h00m", "2h05m", "3d"]


def test_the_log_rotates_is_private_masked_and_follows_no_link(tmp_path: Path) -> None:
    learn(SECRET)
    log = open_log(tmp_path / "monitor.log", largest=2000, kept=2)
    for n in range(100):
        log.info("line %d %s%s\nforged", n, SECRET, ESC)
    files = sorted(p.name for p in tmp_path.iterdir())
    assert files == ["monitor.log", "monitor.log.1", "monitor.log.2"]
    for path in tmp_path.iterdir():
        text = path.read_text(encoding="utf-8")
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.stat().st_size <= 2000
        assert SECRET not in text
        assert all(line.isprintable() and "INFO line" in line for line in text.splitlines())
    for handler in log.handlers:
        handler.close()
    (tmp_path / "link.log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match=r"link.log cannot be written: Too many levels of symbolic links; mend"):
        open_log(tmp_path / "link.log")
    with pytest.raises(UsageError, match="cannot be written: Is a directory"):
        open_log(tmp_path)


def test_a_log_that_cannot_be_written_costs_lines_and_nothing_else(tmp_path: Path) -> None:
    log = open_log(tmp_path / "monitor.log")
    [handler] = log.handlers
    assert isinstance(handler, logging.StreamHandler)
    handler.stream.close()
    handler.stream = Path("/dev/full").open("w", encoding="utf-8")  # noqa: SIM115 - the handler closes it
    log.info("a line")
    log.removeHandler(handler)
    with pytest.raises(OSError, match="No space"):
        handler.stream.close()
    handler.stream = io.StringIO()
    handler.close()


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("claudetm (1.2.3)\nAvailable versions: 1.2.3, 1.0\n", "1.2.3"),
        ("other (1.2.3)\n", ""),
        ("claudetm (1.2.3rc1)\n", ""),
        ("", ""),
    ],
)
def test_the_version_is_read_from_pip_s_words(said: str, version: str) -> None:
    assert updates.latest(said) == version


@pytest.mark.parametrize(
    ("stamp", "told"),
    [
        ('{"latest": "1.10"}', True),
        ('{"latest": "1.9"}', False),
        ('{"latest": "1.2"}', False),
        ('{"latest": "\\u001b[31m9"}', False),
        ("[]", False),
        ("{", False),
    ],
)
def test_a_newer_version_is_told_of_and_no_other(stamp: str, told: bool, places: Places) -> None:
    del places
    updates.stamp_file().parent.mkdir(parents=True)
    updates.stamp_file().write_text(stamp, encoding="utf-8")
    assert bool(updates.notice("1.9")) == told


def test_pip_is_asked_once_a_day_and_not_where_nothing_can_be_kept(places: Places) -> None:
    del places
    os.environ["PIP_INDEX_URL"] = "http://127.0.0.1:9/simple"
    os.environ["PIP_RETRIES"] = "0"
    now = time.time()
    assert [updates.ask_in_background(now + after) for after in (0, 60, updates.DAY - 1, updates.DAY)] == [
        True,
        False,
        False,
        True,
    ]
    os.environ["XDG_CACHE_HOME"] = "/dev/null/nowhere"
    assert updates.ask_in_background() is False
    assert updates.notice() == ""


@pytest.mark.parametrize("command", ["status", "tasks", "queue"])
def test_nothing_heavy_is_loaded_to_look(command: str, places: Places) -> None:
    write(places, queued(1, "a"), claimed(2, "a"))
    ended(places, "b")
    script = (
        "import sys\nfrom claudetm.cli.app import run\n"
        f"sys.argv = ['claudetm', 'monitor', {command!r}]\n"
        f"try: run()\nfinally: print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.stderr, bool(done.stdout)) == ("[]\n", True)


def test_the_list_of_commands_loads_the_command_line_alone() -> None:
    script = (
        "import sys\nfrom claudetm.cli.app import run\nsys.argv = ['claudetm', '--help']\n"
        "try: run()\nfinally: print(sorted({m.split('.')[1] for m in sys.modules if m.startswith('claudetm.')}),"
        " file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.stderr, "monitor" in done.stdout) == ("['cli', 'errors']\n", True)


def test_a_monitor_with_a_name_is_named_beside_the_one_without(places: Places) -> None:
    def said(name: str = "", *, as_json: bool = False) -> str:
        with redirect_stdout(io.StringIO()) as out:
            status(places.here, name, as_json=as_json)
        return out.getvalue()

    second = find_places(places.here, "second")
    second.create()
    assert "second" not in said()
    with acquire(second.lock, "monitor"):
        assert "also here: --name second, running (process " in said()
        assert "next: claudetm monitor status --name second" in said()
        assert json.loads(said(as_json=True))["named"] == [{"name": "second", "pid": os.getpid()}]
        assert "also here" not in said("second")
        with acquire(places.lock, "monitor"):
            assert "--name second" not in said().splitlines()[-1]


# --- where a task is worked ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", ["result", "queue", "named queue"])
def test_the_repository_that_a_task_names_is_found_where_the_monitor_runs(places: Places, said: str) -> None:
    root = places.here / "deep" / "other"
    (root / ".git").mkdir(parents=True)
    match said:
        case "result":
            ended(places, "task-1", repository="deep/other")
        case "queue":
            write(places, queued(1, "task-1"), claimed(2, "task-1", repository="deep/other"))
        case _:
            (places.state / "second").mkdir()
            records = (queued(1, "task-1"), claimed(2, "task-1", repository="deep/other"))
            (places.state / "second" / "queue.jsonl").write_bytes(b"".join(map(encode, records)))
    assert repository_of("task-1") is None, "nothing has been worked there"
    state_of(root, "task-1").root.mkdir(parents=True)
    assert repository_of("task-1") == root
    assert repository_of("../task-1") is None


def test_a_task_is_found_from_elsewhere_and_as_the_named_monitor_has_it(places: Places, tmp_path: Path) -> None:
    for name, repository in {"": "one", "second": "two"}.items():
        (places.here / repository / ".git").mkdir(parents=True)
        state_of(places.here / repository, "task-1").root.mkdir(parents=True)
        found = find_places(places.here, name)
        found.state.mkdir(exist_ok=True)
        records = (queued(1, "task-1"), claimed(2, "task-1", repository=repository))
        found.journal.write_bytes(b"".join(map(encode, records)))
    os.chdir(tmp_path)
    with pytest.raises(UsageError, match="No task of the monitor has been worked in"):
        task_state("task-1")
    assert task_state("task-1", Path("here")).repository == places.here / "one"
    assert task_state("task-1", Path("here"), "second").repository == places.here / "two"
    os.chdir(places.here)
    assert task_state("task-1").repository == places.here / "one"
    assert task_state("task-1", monitor="second").repository == places.here / "two"
    with pytest.raises(UsageError, match="is no folder that the monitor could work in"):
        task_state("task-1", Path("nowhere"))
    look_at("")


@pytest.mark.parametrize("said", [None, 7, "", "../elsewhere", "/", "gone", "\0"])
def test_a_result_that_names_no_repository_below_the_monitor_leads_nowhere(places: Places, said: object) -> None:
    ended(places, "task-1", repository=said)
    assert repository_of("task-1") is None
