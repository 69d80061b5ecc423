"""`claudetm clean` through the real entry point: what goes, what stays, who is asked, and what a kill leaves."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from claudetm.adapters.store.directory import NAME, StateDirectory, run_folder
from claudetm.adapters.store.journal import encode
from claudetm.adapters.store.lock import acquire
from claudetm.workflow.records import Record
from claudetm.workflow.run import fold
from terminal import CLAUDETM, Terminal, bytes_of, terminal
from world import World

pytestmark = pytest.mark.e2e

RUN = "r1"


@pytest.fixture
def person(tmp_path: Path) -> Terminal:
    return ended(tmp_path)


def ended(folder: Path) -> Terminal:
    """Return where a run is over: logs, a repository of its own, one merged branch, one that is not, a snapshot."""
    person = terminal(folder)
    state = StateDirectory(person.state)
    state.create(person.here / ".git")
    state.journal.write_bytes(b"".join(map(encode, records())))
    state.lock.touch()
    for name in ("goal.txt", "state.json", "logs/run-1.txt", "logs/session-a.jsonl", "logs/setup/c1-1.txt"):
        (state.root / name).parent.mkdir(exist_ok=True)
        (state.root / name).write_text(name)
    (own(person) / "changes").mkdir(parents=True)
    (own(person) / "clean-room.git").write_text("")
    merged = person.git("rev-parse", "HEAD").strip()
    tree = person.git("rev-parse", "HEAD^{tree}").strip()
    apart = person.git("commit-tree", "-p", merged, "-m", "Unmerged", tree).strip()
    for ref, commit in (
        (f"refs/heads/claudetm/{RUN}/c1", merged),
        (f"refs/heads/claudetm/{RUN}/c2", apart),
        (f"refs/claudetm/{RUN}/snapshots/c1-1", apart),
        ("refs/heads/claudetm/undo/1", merged),
    ):
        person.git("update-ref", ref, commit)
    return person


@cache
def records() -> Sequence[Record]:
    """Return the records of a run that is over."""
    world = World()
    asyncio.run(world.drive())
    return world.records


def own(person: Terminal) -> Path:
    """Return the folder of the run's own repository."""
    below = run_folder(person.here, RUN)
    return person.home / "state" / "claudetm" / below.parent.name / below.name


def refs(person: Terminal) -> list[str]:
    return person.git("for-each-ref", "--format=%(refname)", "refs/heads/claudetm", "refs/claudetm").split()


def asked(person: Terminal, answer: bytes) -> tuple[int, str]:
    """Run `clean` at a terminal of its own and answer; return the exit code and the screen."""
    here, there = pty.openpty()
    with subprocess.Popen(
        [CLAUDETM, "clean"], cwd=person.here, env=person.environment, stdin=there, stdout=there, stderr=there
    ) as process:
        os.close(there)
        os.write(here, answer)
        screen = b""
        try:
            while chunk := os.read(here, 4096):
                screen += chunk
        except OSError:
            pass  # Linux says so when the other end is closed
        os.close(here)
        return process.wait(30), screen.decode().replace("\r\n", "\n")


def test_it_says_what_will_go_and_a_no_changes_nothing(person: Terminal) -> None:
    before = bytes_of(person.here, person.home)
    for answer in (b"\n", b"n\n", b"\x04"):  # the last is the end of the input
        code, screen = asked(person, answer)
        assert code == 1
        assert f"The run {RUN} (verified) is put away:\n  removed {own(person)}\n" in screen
        assert f"  removed refs/heads/claudetm/{RUN}/c1\n" in screen
        assert f"  kept refs/heads/claudetm/{RUN}/c2: it has commits that are nowhere else\n" in screen
        assert "Nothing was cleaned" in screen
    assert bytes_of(person.here, person.home) == before


def test_an_interrupt_at_the_question_changes_nothing(person: Terminal) -> None:
    before = bytes_of(person.here, person.home)
    here, there = pty.openpty()
    command = ["setsid", "--ctty", "--wait", str(CLAUDETM), "clean"]  # the terminal's keys reach whom it controls
    with subprocess.Popen(
        command, cwd=person.here, env=person.environment, stdin=there, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        os.close(there)
        assert process.stdout is not None
        while not process.stdout.readline().startswith(b"  moved"):
            pass
        os.write(here, b"\x03")
        _, told = process.communicate(timeout=30)
    os.close(here)
    assert (process.returncode, told.decode().splitlines()[-1]) == (1, "claudetm: interrupted")
    assert bytes_of(person.here, person.home) == before


def test_a_yes_removes_what_is_merged_and_keeps_the_record_the_logs_and_what_is_nowhere_else(
    person: Terminal,
) -> None:
    journal = (person.state / "journal.jsonl").read_bytes()
    code, screen = asked(person, b"y\n")
    assert code == 0, screen
    assert f"removed {own(person)}\n" in screen
    assert not own(person).parent.exists()
    assert refs(person) == [
        f"refs/claudetm/{RUN}/snapshots/c1-1",
        f"refs/heads/claudetm/{RUN}/c2",
        "refs/heads/claudetm/undo/1",
    ]
    history = person.state / "history" / RUN
    assert (history / "journal.jsonl").read_bytes() == journal
    assert (history / "logs" / "setup" / "c1-1.txt").exists()
    for name in ("run-1.txt", "session-a.jsonl"):
        assert (person.state / "logs" / name).read_text() == (history / "logs" / name).read_text() == f"logs/{name}"
    assert {p.name for p in person.state.iterdir()} <= {"history", "logs", "lock"}
    again = person("clean", "-f")
    assert (again.returncode, "nothing to clean" in again.stderr) == (1, True)


def test_what_is_left_of_the_runs_in_history_goes_too_and_what_is_nowhere_else_stays(person: Terminal) -> None:
    archived = StateDirectory(person.state).archive(RUN)  # as the next `start` does
    refused = person("clean")
    assert f"The run {RUN} (verified) is over, and its record is in history/:" in refused.stdout
    assert own(person).is_dir()
    done = person("clean", "-f")
    assert (done.returncode, done.stdout.splitlines()) == (
        0,
        [
            f"kept refs/claudetm/{RUN}/snapshots/c1-1: it has commits that are nowhere else",
            f"removed refs/heads/claudetm/{RUN}/c1",
            f"kept refs/heads/claudetm/{RUN}/c2: it has commits that are nowhere else",
            f"removed {own(person)}",
        ],
    )
    assert not own(person).parent.exists()
    assert f"refs/heads/claudetm/{RUN}/c1" not in refs(person)
    assert (archived / "journal.jsonl").exists()
    assert "nothing to clean" in person("clean", "-f").stderr


def test_without_a_terminal_it_refuses_unless_forced(person: Terminal) -> None:
    before = bytes_of(person.here, person.home)
    refused = person("clean", said=b"y\n")
    assert (refused.returncode, len(refused.stderr.splitlines())) == (1, 1)
    assert "nobody is there to ask: `claudetm clean --force` does it" in refused.stderr
    assert bytes_of(person.here, person.home) == before
    assert person("clean", "--force").returncode == 0


def test_while_a_run_is_alive_it_refuses(person: Terminal) -> None:
    with acquire(person.state / "lock", RUN):
        before = bytes_of(person.here, person.home)
        refused = person("clean", "-f")
        assert bytes_of(person.here, person.home) == before
    assert refused.returncode == 1
    assert "is being driven by process" in refused.stderr


def test_a_branch_whose_commits_were_squashed_into_the_target_goes(person: Terminal) -> None:
    run = fold(records())
    change = run.changes["c1"]
    apart = person.git("rev-parse", f"claudetm/{RUN}/c2").strip()
    text = b"".join(map(encode, records())).decode()
    assert change.branch == f"claudetm/{RUN}/c1"
    person.git("update-ref", f"refs/heads/{change.branch}", apart)
    merged = person.git("rev-parse", "HEAD").strip()
    lines = [
        json.loads(r) for r in text.replace(change.head, apart).replace(change.merge_commit, merged).splitlines()
    ]
    told = [replace(r, data=row["data"]) for r, row in zip(records(), lines, strict=True)]
    (person.state / "journal.jsonl").write_bytes(b"".join(map(encode, told)))
    assert f"removed refs/heads/claudetm/{RUN}/c1\n" in person("clean", "-f").stdout
    assert f"refs/heads/claudetm/{RUN}/c2" in refs(person)  # the same commits, and no merge of them is on record


def test_a_branch_that_is_checked_out_stays(person: Terminal) -> None:
    person.git("worktree", "add", "-q", str(person.home / "mine"), f"claudetm/{RUN}/c1")
    assert f"kept refs/heads/claudetm/{RUN}/c1: it is checked out in" in person("clean", "-f").stdout
    assert f"refs/heads/claudetm/{RUN}/c1" in refs(person)


def test_a_repository_of_the_run_that_cannot_be_looked_through_stays_whole(person: Terminal) -> None:
    (own(person) / "changes" / "c1").mkdir()
    done = person("clean", "-f")
    assert done.returncode == 0, done
    assert f"kept {own(person)}: its work could not be kept elsewhere" in done.stdout
    assert (own(person) / "changes" / "c1").is_dir()


def test_a_journal_that_names_a_folder_of_somebody_else_removes_nothing(person: Terminal) -> None:
    precious = person.home / "state" / "precious"
    precious.mkdir()
    journal = person.state / "journal.jsonl"
    first, *rest = records()
    first = replace(first, data={**first.data, "run": "../../precious"})
    journal.write_bytes(b"".join(map(encode, [first, *rest])))
    assert person("clean", "-f").returncode == 0
    assert precious.is_dir()
    assert (person.state / "history" / "damaged-1" / "journal.jsonl").exists()


def test_a_state_directory_that_came_with_the_repository_is_refused(person: Terminal) -> None:
    person.git("add", "--force", NAME)
    refused = person("clean", "-f")
    assert refused.returncode == 1
    assert "git rm -r --cached" in refused.stderr
    assert own(person).is_dir()


def test_a_damaged_journal_goes_to_history_as_it_is(person: Terminal) -> None:
    journal = person.state / "journal.jsonl"
    damaged = journal.read_bytes().replace(b'"seq":3', b'"seq":7', 1)
    journal.write_bytes(damaged)
    done = person("clean", "-f")
    assert (done.returncode, done.stdout) == (0, f"moved to {person.state / 'history' / 'damaged-1'}\n")
    assert (person.state / "history" / "damaged-1" / "journal.jsonl").read_bytes() == damaged


# --- a directory that claude-task-master left ---------------------------------------------------------------------

THEIRS = {"goal.txt": "Be kind", "plan.md": "- [ ] it", "state.json": '{"status": "working"}', "verify.md": "later"}
LOOKING = [
    ("status",),
    ("plan",),
    ("progress",),
    ("context",),
    ("logs",),
    ("pr",),
    ("comments",),
    ("explain",),
    ("review", "list"),
    ("plan", "approve"),
    ("say", "hello"),
    ("pause",),
    ("stop",),
    ("resume",),
    ("start", "Greet", "--rehearse", "demo"),
]


@pytest.fixture
def left(tmp_path: Path) -> Terminal:
    """A repository in which claude-task-master has worked."""
    person = terminal(tmp_path)
    person.state.mkdir()
    for name, text in THEIRS.items():
        (person.state / name).write_text(text)
    (person.state / "config.json").write_text(json.dumps({"version": "1.0"}))
    (person.state / "logs").mkdir()
    (person.state / "logs" / "run-2.txt").write_text("theirs")
    return person


def test_every_other_command_recognises_it_in_one_sentence_and_leaves_it_alone(left: Terminal) -> None:
    before = bytes_of(left.here)
    for command in LOOKING:
        refused = left(*command)
        assert (refused.returncode, len(refused.stderr.splitlines())) == (1, 1), (command, refused)
        assert "claude-task-master" in refused.stderr, command
        assert "claudetm clean moves it to history/" in refused.stderr, command
    assert bytes_of(left.here) == before


def test_it_is_moved_to_history_but_for_its_settings(left: Terminal) -> None:
    done = left("clean", "-f")
    assert (done.returncode, done.stdout) == (0, f"moved to {left.state / 'history' / 'foreign-1'}\n")
    moved = left.state / "history" / "foreign-1"
    assert {p.name: p.read_text() for p in moved.iterdir() if p.is_file()} == THEIRS
    assert (moved / "logs" / "run-2.txt").read_text() == "theirs"
    assert (left.state / "config.json").exists()
    assert "There is no run" in left("status").stderr
    (left.state / "state.json").write_text("{}")
    assert "foreign-2" in left("clean", "-f").stdout


# --- killed half-way ----------------------------------------------------------------------------------------------

KILLED = """
import os, sys
left, folder = int(os.environ["KILL_AT"]), os.environ["KILL_IN"]
def audit(event, arguments):
    global left
    if event in {"os.rename", "os.link", "os.rmdir", "os.remove", "subprocess.Popen"} and folder in str(arguments):
        left -= 1
        if left < 0:
            os._exit(9)
sys.addaudithook(audit)
"""


def result(person: Terminal) -> Mapping[str, object]:
    """Return all that a clean can leave, by names that do not differ between two people."""
    found = {
        k.removeprefix(str(person.here)): v for k, v in bytes_of(person.state).items() if not k.endswith("/lock")
    }
    return {**found, "refs": refs(person), "own": bytes_of(own(person).parent)[str(own(person).parent)]}


@pytest.mark.parametrize(("foreign", "every"), [(False, 5), (True, 2)], ids=["a run", "another program's"])
def test_killed_half_way_and_called_again_it_ends_the_same(tmp_path: Path, *, foreign: bool, every: int) -> None:
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(KILLED)
    results, codes = [], []
    for step in (999, *range(0, 60, every)):
        folder = tmp_path / f"{step}"
        folder.mkdir()
        person = ended(folder)
        if foreign:
            (person.state / "journal.jsonl").unlink()
        hook: dict[str, Any] = {"PYTHONPATH": str(tmp_path / "hook"), "PYTHONDONTWRITEBYTECODE": "1"}
        codes.append(person("clean", "-f", KILL_AT=str(step), KILL_IN=str(folder), **hook).returncode)
        if codes[-1]:
            person("clean", "-f")
        results.append(result(person))
        if codes[-1] == 0 and step != 999:
            break
    assert codes[0] == codes[-1] == 0
    assert set(codes[1:-1]) == {9}
    assert len(codes) > 3, codes
    for found in results:
        assert found == results[0]
