"""The state directory and its inbox: nothing sent is lost, nothing half-written read, a finished run moves whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from claudetm.adapters.store.directory import (
    NAME,
    VIEWS,
    FileInbox,
    FileViews,
    RunViews,
    StateDirectory,
    WaitView,
    present_wait,
    write_atomically,
)
from claudetm.adapters.store.journal import FileJournal
from claudetm.adapters.store.lock import acquire
from claudetm.errors import StoreError
from claudetm.ports.store import Command
from claudetm.testing.store_conformance import record, write
from claudetm.workflow.limits import Wait
from claudetm.workflow.run import Run


@pytest.fixture
def inbox(tmp_path: Path) -> FileInbox:
    return FileInbox(tmp_path / "inbox")


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    directory = StateDirectory(tmp_path / NAME)
    directory.create()
    return directory


# --- the inbox -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'{"id": "bad"}',
        b'{"id": "other", "name": "pause", "arguments": {}}',
        b'{"id": "bad", "name": 1, "arguments": {}}',
        b'{"id": "bad", "name": "pause", "arguments": []}',
    ],
)
def test_what_cannot_be_read_is_set_aside_with_the_reason(inbox: FileInbox, content: bytes) -> None:
    inbox.send(Command("good", "pause"))
    (inbox.path / "bad.json").write_bytes(content)
    assert [c.id for c in inbox.pending()] == ["good"]
    assert (inbox.path / "refused" / "bad.json").read_bytes() == content
    assert (inbox.path / "refused" / "bad.reason.txt").read_text().strip()
    assert not (inbox.path / "bad.json").exists()


def test_a_second_unreadable_file_of_one_name_does_not_replace_the_first(inbox: FileInbox) -> None:
    inbox.path.mkdir()
    for content in ("first", "second"):
        (inbox.path / "bad.json").write_text(content)
        assert list(inbox.pending()) == []
    kept = sorted(p.read_text() for p in (inbox.path / "refused").glob("*.json"))
    assert kept == ["first", "second"]


def test_drafts_and_other_files_are_no_commands(inbox: FileInbox) -> None:
    inbox.send(Command("one", "pause"))
    for name in (".two.json.abc.tmp", ".hidden.json", "notes.txt"):
        (inbox.path / name).write_text("{")
    assert [c.id for c in inbox.pending()] == ["one"]
    assert (inbox.path / "notes.txt").exists()


@pytest.mark.parametrize("name", ["../escape", "a/b", "", ".", "a.b", "x" * 100])
def test_an_id_that_is_no_file_name_is_not_sent(inbox: FileInbox, name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a file"):
        inbox.send(Command(name, "pause"))


def test_a_command_sent_twice_waits_once(inbox: FileInbox) -> None:
    inbox.send(Command("one", "say", {"text": "a"}))
    inbox.send(Command("one", "say", {"text": "a"}))
    assert list(inbox.pending()) == [Command("one", "say", {"text": "a"})]


SENDER = """
import sys
import tempfile
from pathlib import Path
from claudetm.adapters.store.directory import FileInbox
from claudetm.ports.store import Command
inbox = FileInbox(Path(sys.argv[1]))
for i in range(25):
    inbox.send(Command(f"{sys.argv[2]}-{i:02}", "say", {"text": "x" * 5000}))
"""


def test_commands_of_many_senders_all_arrive_whole_and_each_sender_s_in_order(inbox: FileInbox) -> None:
    senders = [subprocess.Popen([sys.executable, "-c", SENDER, str(inbox.path), f"s{i}"]) for i in range(3)]
    seen: list[Command] = []
    while True:
        over = all(sender.poll() is not None for sender in senders)
        for command in inbox.pending():
            seen.append(command)
            inbox.done(command)
        if over:
            break
    assert [sender.returncode for sender in senders] == [0, 0, 0]
    assert not (inbox.path / "refused").exists()
    assert {len(c.arguments["text"]) for c in seen} == {5000}
    for i in range(3):
        assert [c.id for c in seen if c.id.startswith(f"s{i}")] == [f"s{i}-{n:02}" for n in range(25)]


# --- the directory -------------------------------------------------------------------------------------------


def git(at: Path, *arguments: str) -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": str(at), "GIT_CONFIG_NOSYSTEM": "1"}
    names = ["-c", "user.name=t", "-c", "user.email=t@example.invalid", "-c", "protocol.file.allow=always"]
    done = subprocess.run(
        ["git", *names, *arguments], cwd=at, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def common_directory(checkout: Path) -> Path:
    return checkout / git(checkout, "rev-parse", "--git-common-dir").strip()


def test_git_does_not_see_it_in_a_checkout_a_linked_worktree_or_a_submodule(tmp_path: Path) -> None:
    main, linked, outer = tmp_path / "main", tmp_path / "linked", tmp_path / "outer"
    for path in (main, outer):
        path.mkdir()
        git(path, "init", "-q")
        git(path, "commit", "-q", "--allow-empty", "-m", "Begin")
    git(main, "worktree", "add", "-q", str(linked))
    git(outer, "submodule", "--quiet", "add", str(main), "inner")
    git(outer, "commit", "-q", "-m", "Add")
    for checkout in (main, linked, outer / "inner"):
        for _ in range(2):
            StateDirectory(checkout / NAME).create(common_directory(checkout))
        StateDirectory(checkout / NAME).write_start("goal")
        assert git(checkout, "status", "--porcelain") == ""
    assert git(outer, "status", "--porcelain") == ""
    assert (main / ".git" / "info" / "exclude").read_text().count(NAME) == 1


def test_the_exclude_file_keeps_every_byte_it_had(tmp_path: Path) -> None:
    exclude = tmp_path / "git" / "info" / "exclude"
    exclude.parent.mkdir(parents=True)
    exclude.write_bytes(b"*.log\r\n\xff no newline")
    StateDirectory(tmp_path / NAME).create(tmp_path / "git")
    assert exclude.read_bytes() == b"*.log\r\n\xff no newline\n/.claude-task-master/\n"


def test_it_is_its_owner_s_alone(tmp_path: Path) -> None:
    root = tmp_path / NAME
    root.mkdir(mode=0o755)
    state = StateDirectory(root)
    state.create()
    state.write_start("a goal", ["it works", "it is fast"])
    state.write_config({"models": {"opus": "x"}})
    assert root.stat().st_mode & 0o777 == 0o700
    assert {p.name: p.stat().st_mode & 0o777 for p in root.iterdir() if p.is_file()} == {
        "goal.txt": 0o600,
        "criteria.txt": 0o600,
        "config.json": 0o600,
    }
    assert (root / "criteria.txt").read_text() == "it works\nit is fast\n"
    assert json.loads(state.config.read_text()) == {"models": {"opus": "x"}}


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_stands_in_its_place_is_not_followed(tmp_path: Path, kind: str) -> None:
    root = tmp_path / NAME
    if kind == "file":
        root.write_text("mine")
    else:
        (tmp_path / "elsewhere").mkdir()
        root.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="is not a directory of its own; move it away"):
        StateDirectory(root).create()


def test_a_disk_that_cannot_be_written_is_one_sentence_with_path_and_reason(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(StoreError, match=r"\.claude-task-master cannot be written: Not a directory\."):
        StateDirectory(blocked / NAME).create()
    with pytest.raises(StoreError, match=r"cannot be written: Not a directory\."):
        FileViews(blocked).write("plan.md", "text")
    with pytest.raises(StoreError, match=r"cannot be (read|written): Not a directory\."):
        FileInbox(blocked).pending()
    with pytest.raises(StoreError, match="cannot be written"):
        FileInbox(blocked / "inbox").send(Command("one", "pause"))


def test_a_full_disk_keeps_the_old_file_and_leaves_no_draft() -> None:
    target = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else Path("/tmp")
    script = (
        "import resource, sys; from pathlib import Path\n"
        "from claudetm.adapters.store.directory import write_atomically\n"
        "from claudetm.errors import StoreError\n"
        "path = Path(sys.argv[1]); write_atomically(path, 'old')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "try: write_atomically(path, 'x' * 10_000)\n"
        "except StoreError as error: print(error)\n"
        "print(path.read_text(), [p.name for p in path.parent.iterdir()])"
    )
    with tempfile.TemporaryDirectory(dir=target) as folder:
        path = Path(folder) / "plan.md"
        done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"{path} cannot be written: File too large.", "old ['plan.md']"]


def test_another_program_s_state_is_recognised_and_can_be_moved_away(state: StateDirectory) -> None:
    state.refuse_foreign()
    write_atomically(state.root / "state.json", "{}")
    state.config.write_text('{"theirs": 1}')
    with pytest.raises(StoreError, match=r"state of another program .*; claudetm clean moves it"):
        state.refuse_foreign()
    target = state.archive("foreign", kept=frozenset({"lock", "history"}))
    state.refuse_foreign()
    assert (target / "config.json").read_text() == '{"theirs": 1}'


def finished(state: StateDirectory) -> dict[str, str]:
    state.write_start("goal", ["criterion"])
    write_atomically(state.root / "state.json", "{}")
    write_atomically(state.logs / "a.log", "log")
    FileInbox(state.inbox).send(Command("late", "pause"))
    state.journal.write_text("journal")
    return {str(p.relative_to(state.root)): p.read_text() for p in state.root.rglob("*") if p.is_file()}


def test_a_finished_run_leaves_whole_and_the_repository_s_settings_stay(state: StateDirectory) -> None:
    state.write_config({"land": False})
    state.prompts.mkdir()
    with acquire(state.lock):
        before = finished(state)
        target = state.archive("run-1")
    moved = {str(p.relative_to(target)): p.read_text() for p in target.rglob("*") if p.is_file()}
    assert moved == {name: text for name, text in before.items() if name not in {"config.json", "lock"}}
    assert {p.name for p in state.root.iterdir()} == {"history", "config.json", "prompts", "lock"}
    assert list(FileInbox(state.inbox).pending()) == []


def test_an_archive_killed_at_any_move_is_finished_by_the_next(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path\n"
        "from claudetm.adapters.store.directory import StateDirectory\n"
        "left = int(sys.argv[2])\n"
        "def audit(event, _arguments):\n"
        "    global left\n"
        "    if event == 'os.rename':\n"
        "        left -= 1\n"
        "        if left < 0: os._exit(9)\n"
        "sys.addaudithook(audit)\n"
        "StateDirectory(Path(sys.argv[1])).archive('run-1')"
    )
    killed = []
    for moves in range(7):
        state = StateDirectory(tmp_path / str(moves) / NAME)
        state.root.parent.mkdir()
        state.create()
        before = finished(state)
        done = subprocess.run([sys.executable, "-c", script, str(state.root), str(moves)], check=False)
        killed.append(done.returncode == 9)
        assert state.journal.exists() == killed[-1]
        if state.journal.exists():
            state.inbox.mkdir(exist_ok=True)  # the next driver makes what it needs
            target = state.archive("run-1")
        target = state.history / "run-1"
        assert {str(p.relative_to(target)): p.read_text() for p in target.rglob("*") if p.is_file()} == before
        assert {p.name for p in state.root.iterdir()} == {"history"}
    assert killed == [True] * 6 + [False]


# --- views ---------------------------------------------------------------------------------------------------


def test_a_view_is_written_once_a_second_and_its_newest_text_at_the_flush(tmp_path: Path) -> None:
    now = 100.0
    views = FileViews(tmp_path, now=lambda: now)
    path = tmp_path / "plan.md"
    views.write("plan.md", "1")
    now += 0.5
    views.write("plan.md", "2")
    views.write("plan.md", "3")
    assert path.read_text() == "1"
    views.write("state.json", "another view does not wait for this one")
    assert (tmp_path / "state.json").exists()
    now += 0.5
    views.write("plan.md", "4")
    assert path.read_text() == "4"
    views.write("plan.md", "5")
    views.flush()
    assert path.read_text() == "5"
    path.unlink()
    views.flush()
    assert not path.exists()
    views.write("plan.md", "6", force=True)
    assert path.read_text() == "6"
    assert {p.name for p in tmp_path.iterdir()} == {"plan.md", "state.json"}


def test_a_run_s_views_are_rendered_once_a_second_and_at_the_flush(tmp_path: Path) -> None:
    now = 100.0
    run, views = Run(id="run-1", seq=1), RunViews(FileViews(tmp_path), now=lambda: now)

    def shown() -> int:
        return int(json.loads((tmp_path / "state.json").read_text())["seq"])

    views(run, record(1))
    assert {p.name for p in tmp_path.iterdir()} == {"state.json", "plan.md", "progress.md", "context.md"}
    run.seq = 2
    views(run, record(2))
    assert shown() == 1
    views.flush()
    assert shown() == 2
    now += 1.0
    run.seq = 3
    views(run, record(3))
    assert shown() == 3


def test_what_the_driver_waits_for_is_a_view_that_goes_when_it_works_on(state: StateDirectory) -> None:
    path, me = state.root / "waiting.json", os.getpid()
    path.write_text('{"why": "of a driver that was killed", "until": null, "driver": 1}')
    shown = WaitView(FileViews(state.root))
    assert not path.exists()
    shown.show(Wait(100.0, "github.com cannot be reached"))
    before = path.stat().st_ino
    shown.show(Wait(100.0, "github.com cannot be reached"))
    assert path.stat().st_ino == before  # written when it changes
    assert present_wait(state, me, 90.0) == Wait(100.0, "github.com cannot be reached")
    assert present_wait(state, me, 1_000.0) is None  # over long ago
    assert present_wait(state, me + 1, 90.0) is None  # another driver's
    assert present_wait(state, 0, 90.0) is None
    shown.show(Wait(None, "the checks are running"))
    assert present_wait(state, me, 1_000.0) == Wait(None, "the checks are running")
    shown.over()
    assert not path.exists()
    assert present_wait(state, me, 90.0) is None


@pytest.mark.parametrize("text", ["", "[]", "{", "{}", '{"driver": 7}', '{"driver": 7, "why": "x", "until": "soon"}'])
def test_a_view_of_a_wait_that_cannot_be_read_tells_nothing(state: StateDirectory, text: str) -> None:
    (state.root / "waiting.json").write_text(text)
    assert present_wait(state, 7, 0.0) is None


def test_a_wait_is_not_archived(state: StateDirectory) -> None:
    state.journal.write_text("")
    WaitView(FileViews(state.root)).show(Wait(None, "the checks are running"))
    kept = state.archive("r1")
    assert not (state.root / "waiting.json").exists()
    assert not (kept / "waiting.json").exists()


def test_a_wait_that_cannot_be_written_costs_no_run(tmp_path: Path) -> None:
    shown = WaitView(FileViews(tmp_path / "gone"))
    shown.show(Wait(None, "the checks are running"))
    shown.over()


def test_the_journal_lives_in_the_directory(state: StateDirectory) -> None:
    with acquire(state.lock) as lock:
        journal = FileJournal(state.journal, lock)
        write(journal, [record(1)])
        journal.close()
    assert [r.seq for r in FileJournal(state.journal).read()] == [1]


def test_a_view_that_was_half_written_when_its_driver_was_killed_goes_with_the_next(tmp_path: Path) -> None:
    left = tmp_path / ".context.md.bfbd213c3065.tmp"
    others = [
        tmp_path / name for name in (".config.json.bfbd213c3065.tmp", "context.md", ".job.json.bfbd213c3065.tmp")
    ]
    for path in (left, *others):
        path.touch()
    FileViews(tmp_path).sweep(VIEWS)
    assert sorted(tmp_path.iterdir()) == sorted(others)
