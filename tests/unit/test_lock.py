"""The lock: one driver at a time, named to whoever is turned away, and no trace of the dead."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from claudetm.adapters.store.lock import Holder, LockHeld, acquire, holder
from claudetm.errors import LockLost, StoreError, UsageError

HOLD = """
import sys
from pathlib import Path
from claudetm.adapters.store.lock import acquire
with acquire(Path(sys.argv[1]), "run-7"):
    print("held", flush=True)
    sys.stdin.readline()
"""

RACE = """
import sys
from pathlib import Path
from claudetm.adapters.store.lock import LockHeld, acquire
sys.stdin.readline()
try:
    acquire(Path(sys.argv[1]), "race", patience=0)
except LockHeld:
    print("turned away", flush=True)
else:
    print("held", flush=True)
sys.stdin.readline()
"""

Spawn = Callable[[str], subprocess.Popen[str]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lock"


@pytest.fixture
def spawn(path: Path) -> Iterator[Spawn]:
    children: list[subprocess.Popen[str]] = []

    def start(script: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", script, str(path)]
        children.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return children[-1]

    yield start
    for child in children:
        child.kill()
        child.communicate()


def line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def go(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()


def test_whoever_comes_second_is_told_who_holds_it(path: Path, spawn: Spawn) -> None:
    child = spawn(HOLD)
    assert line(child) == "held"
    with pytest.raises(LockHeld) as caught:
        acquire(path, patience=0.02)
    assert isinstance(caught.value, UsageError)
    assert str(caught.value).startswith(
        f"Run run-7 is being driven by process {child.pid} on {socket.gethostname()} since 20"
    )
    assert caught.value.holder.pid == child.pid


def test_a_dead_driver_does_not_block(path: Path, spawn: Spawn) -> None:
    child = spawn(HOLD)
    assert line(child) == "held"
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert json.loads(path.read_text())["pid"] == child.pid
    assert holder(path) is None
    with acquire(path, "run-8") as lock:
        lock.check()
        assert json.loads(path.read_text())["pid"] == os.getpid()


def test_of_two_who_come_at_once_one_gets_it(spawn: Spawn) -> None:
    for _ in range(3):
        racers = [spawn(RACE), spawn(RACE)]
        for racer in racers:
            go(racer)
        assert sorted(line(racer) for racer in racers) == ["held", "turned away"]
        for racer in racers:
            go(racer)
            racer.wait()


def test_looking_names_the_holder_and_takes_nothing(path: Path, spawn: Spawn) -> None:
    assert holder(path) is None
    assert not path.exists()
    child = spawn(HOLD)
    assert line(child) == "held"
    content = path.read_bytes()
    found = holder(path)
    assert found is not None
    assert (found.pid, found.run, found.host) == (child.pid, "run-7", socket.gethostname())
    assert 0 <= time.time() - found.since < 60
    assert found.boot
    assert found.process_start
    assert path.read_bytes() == content
    go(child)
    child.wait()
    assert holder(path) is None


def test_many_who_look_do_not_turn_a_driver_away(path: Path, spawn: Spawn) -> None:
    look = (
        "import sys; from pathlib import Path; from claudetm.adapters.store.lock import holder\n"
        "holder(Path(sys.argv[1])); print('looking', flush=True)\n"
        "while True: holder(Path(sys.argv[1]))"
    )
    with acquire(path):
        pass
    lookers = [spawn(look), spawn(look)]
    assert [line(looker) for looker in lookers] == ["looking", "looking"]
    for _ in range(20):
        with acquire(path, patience=5) as lock:
            lock.check()


def test_a_holder_that_the_file_does_not_name_is_still_a_holder(path: Path) -> None:
    with acquire(path):
        for content in ("", "{", "[]", '{"pid": 1}', '{"pid": "x"}'):
            path.write_text(content)
            assert holder(path) == Holder()
            with pytest.raises(LockHeld, match="is being driven by another process"):
                acquire(path, patience=0)


def test_a_lock_file_that_is_deleted_or_replaced_is_noticed(path: Path) -> None:
    with acquire(path) as lock:
        lock.check()
        path.rename(path.with_name("moved"))
        with pytest.raises(LockLost, match=r"lock was deleted or replaced under the running driver"):
            lock.check()
        with acquire(path) as other:
            other.check()
            with pytest.raises(LockLost, match="deleted or replaced"):
                lock.check()
        path.with_name("moved").rename(path)
        lock.check()


def test_a_lock_that_was_given_back_is_no_longer_held(path: Path) -> None:
    lock = acquire(path)
    lock.release()
    lock.release()
    with pytest.raises(LockLost, match="given back"):
        lock.check()
    acquire(path, patience=0).release()


def test_a_child_process_does_not_inherit_the_lock(path: Path) -> None:
    lock = acquire(path)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False) as child:
        lock.release()
        assert holder(path) is None
        acquire(path, patience=0).release()
        assert child.poll() is None
        child.communicate()


def test_the_run_can_be_named_once_it_has_a_name(path: Path) -> None:
    with acquire(path) as lock:
        lock.name("run-9")
        found = holder(path)
        assert found is not None
        assert found.run == "run-9"


def test_a_directory_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"gone/lock cannot be opened: No such file or directory"):
        acquire(tmp_path / "gone" / "lock")


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="cannot be opened"):
        acquire(tmp_path / "lock")
    assert not (tmp_path / "elsewhere").exists()
