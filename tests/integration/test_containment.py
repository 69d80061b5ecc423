"""What we start does not outlive us: bubblewrap, the reaper, the sweep. Real processes, both constructions."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from claudetm.adapters.agent import reaper
from claudetm.adapters.agent.containment import Containment, Sandbox, View, bubblewrap, choose, settle, sweep
from claudetm.errors import AgentError

BWRAP = pytest.param("bwrap", marks=pytest.mark.skipif(not bubblewrap(), reason="bubblewrap does not work here"))
needs_bwrap = pytest.mark.skipif(not bubblewrap(), reason="bubblewrap does not work here")


@pytest.fixture(params=[BWRAP, "reaper"])
def containment(request: pytest.FixtureRequest) -> Containment:
    return Containment(bubblewrap() if request.param == "bwrap" else "")


@pytest.fixture
def mark() -> Iterator[str]:
    """Return a text for command lines that finds a test's processes; what is left of them at the end is killed."""
    text = f"mark-{uuid.uuid4()}"
    yield text
    for process in alive(text):
        process.kill()


def alive(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if mark in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def sleeper(mark: str) -> str:
    """Return a shell command that lasts, and can be found."""
    return f"sh -c 'sleep 61; : {mark}'"


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def sh(containment: Containment, cwd: Path, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    with containment.launcher(
        ["sh"], {"PATH": os.environ["PATH"], **environment}, View(cwd, writable=[cwd])
    ) as start:
        argv = [str(start), "-c", script]
        return subprocess.run(argv, check=False, capture_output=True, text=True, cwd=cwd, timeout=30)


def test_the_program_has_its_arguments_its_folder_and_its_exit_code(containment: Containment, tmp_path: Path) -> None:
    done = sh(containment, tmp_path, "pwd; cat; exit 7")
    assert (done.stdout, done.returncode) == (f"{tmp_path}\n", 7)


def test_a_signal_becomes_an_exit_code(containment: Containment, tmp_path: Path) -> None:
    assert sh(containment, tmp_path, "kill -9 $$").returncode == 128 + signal.SIGKILL


def test_the_environment_is_exactly_the_given_one(
    containment: Containment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GH_TOKEN", "canary")
    look = "env; for p in /proc/[0-9]*; do case $p in */%d) ;; *) cat $p/environ;; esac; done 2>/dev/null; true"
    done = sh(containment, tmp_path, look % os.getpid(), GIVEN="yes")
    assert "GIVEN=yes" in done.stdout
    assert "GH_TOKEN=canary" not in done.stdout


def test_the_specification_is_gone_before_the_program_runs(tmp_path: Path) -> None:
    with Containment().launcher(["sh"], {"PATH": os.environ["PATH"]}, View(tmp_path)) as start:
        subprocess.run([str(start), "-c", "true"], check=True)
        assert [p.name for p in start.parent.iterdir()] == ["launch"]
    assert not start.parent.exists()


def test_a_program_that_is_not_there_says_so(tmp_path: Path) -> None:
    with Containment().launcher(["/nonexistent/claude"], {}, View(tmp_path)) as start:
        done = subprocess.run([str(start)], check=False, capture_output=True, text=True)
    assert done.returncode == 127
    assert "No such file" in done.stderr


def test_what_the_program_leaves_behind_ends_with_it(containment: Containment, tmp_path: Path, mark: str) -> None:
    s = sleeper(mark)
    left = [
        f"nohup {s} &",
        f"setsid {s} &",
        f"( ( {s} ) & );",
        f"(cd /; env -i PATH=$PATH setsid {s} &);",
        f"trap '' TERM; {s} &",
    ]
    done = sh(containment, tmp_path, f"exec >/dev/null 2>&1; {' '.join(left)} exit 0")
    assert done.returncode == 0
    assert alive(mark) == []


def test_a_terminated_launcher_takes_everything_with_it(containment: Containment, tmp_path: Path, mark: str) -> None:
    environment = {"PATH": os.environ["PATH"]}
    with containment.launcher(["sh"], environment, View(tmp_path, writable=[tmp_path])) as start:
        script = f"setsid {sleeper(mark)} & touch ready; {sleeper(mark)}"
        with subprocess.Popen([str(start), "-c", script], cwd=tmp_path) as running:
            wait_until((tmp_path / "ready").exists)
            running.terminate()
    wait_until(lambda: alive(mark) == [])


DRIVER = """
import json, os, subprocess, sys
sys.path[:0] = json.loads(sys.argv[1])
from pathlib import Path
from claudetm.adapters.agent.containment import Containment, View
cwd = Path(sys.argv[3])
with Containment(sys.argv[2]).launcher(["sh"], {"PATH": os.environ["PATH"]}, View(cwd, writable=[cwd])) as start:
    subprocess.run([str(start), "-c", sys.argv[4]], cwd=cwd)
"""


def test_a_terminal_s_interrupt_is_not_the_program_s(containment: Containment, tmp_path: Path) -> None:
    done = sh(containment, tmp_path, "cut -d' ' -f5,6,7 /proc/self/stat; cut -d' ' -f5 /proc/$PPID/stat")
    group, _session, terminal = done.stdout.split()[:3]
    assert (group != str(os.getpgrp()), terminal) == (True, "0")


def test_a_killed_driver_takes_everything_with_it(containment: Containment, tmp_path: Path, mark: str) -> None:
    s = sleeper(mark)
    script = f"setsid {s} & (cd /; env -i PATH=$PATH setsid {s} &); touch ready; {s}"
    argv = [sys.executable, "-c", DRIVER, json.dumps(sys.path), containment.bwrap, str(tmp_path), script]
    with subprocess.Popen(argv) as driver:
        wait_until((tmp_path / "ready").exists)
        assert alive(mark)
        driver.kill()
    wait_until(lambda: [p for p in alive(mark) if p.pid != driver.pid] == [])


def test_a_driver_that_is_gone_already_starts_nothing(tmp_path: Path) -> None:
    spec = tmp_path / "spec.json"
    data = {"argv": ["/bin/touch", str(tmp_path / "made")], "environment": {}, "driver": 1}
    spec.write_text(json.dumps(data))
    done = subprocess.run([sys.executable, "-I", "-S", reaper.__file__, str(spec)], check=False)
    assert done.returncode == 128 + signal.SIGTERM
    assert not (tmp_path / "made").exists()


# --- what is seen under bubblewrap -------------------------------------------------------------------------------


@needs_bwrap
def test_only_named_folders_can_be_written_and_private_ones_are_out_of_sight(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    here, shared, private = tmp_path, tmp_path_factory.mktemp("shared"), tmp_path_factory.mktemp("private")
    for folder in (shared, private):
        (folder / "file").write_text("x")
    script = f"cat {shared}/file; touch made; touch {shared}/made; cat {private}/file; touch /etc/made; ls ~"
    home = str(Path.home())
    with Containment(bubblewrap()).launcher(
        ["sh"], {"PATH": "/usr/bin:/bin", "HOME": home}, View(here, [shared], [here])
    ) as start:
        done = subprocess.run([str(start), "-c", script], check=False, capture_output=True, text=True, cwd=here)
    assert done.stdout == "x"
    assert (here / "made").exists()
    assert not (shared / "made").exists()
    assert "Read-only file system" in done.stderr
    assert f"cat: {private}/file: No such file" in done.stderr


@needs_bwrap
def test_no_process_of_ours_is_seen(tmp_path: Path) -> None:
    done = sh(Containment(bubblewrap()), tmp_path, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    assert "pytest" not in done.stdout.replace(str(tmp_path), "")


# --- the choice --------------------------------------------------------------------------------------------------


def test_the_setting_decides() -> None:
    assert choose(Sandbox.OFF) == Containment()
    assert choose("auto") == Containment(bubblewrap())


def test_a_sandbox_that_is_demanded_works_or_is_refused_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    bubblewrap.cache_clear()
    try:
        with pytest.raises(AgentError, match="install it"):
            choose(Sandbox.ON)
        assert choose(Sandbox.AUTO) == Containment()
        (tmp_path / "bwrap").write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / "bwrap").chmod(0o755)
        bubblewrap.cache_clear()
        with pytest.raises(AgentError, match="does not work"):
            choose(Sandbox.ON)
    finally:
        bubblewrap.cache_clear()


# --- the sweep ---------------------------------------------------------------------------------------------------


def started(run: str, cwd: Path, session: str = "") -> subprocess.Popen[bytes]:
    environment = {"CLAUDETM_RUN": run, "CLAUDETM_SESSION": session}
    return subprocess.Popen(["sleep", "62"], env=environment, cwd=cwd, start_new_session=True)


def test_a_sweep_ends_its_run_and_no_other(tmp_path: Path) -> None:
    run = str(uuid.uuid4())
    with started(run, tmp_path) as ours, started(run + "0", tmp_path) as other:
        try:
            assert asyncio.run(sweep(run)) == 1
            assert ours.wait(5) == -signal.SIGTERM
            assert other.poll() is None
            assert asyncio.run(sweep(run)) == 0
        finally:
            other.kill()


def test_a_sweep_after_a_session_spares_the_ones_beside_it(tmp_path: Path) -> None:
    run = str(uuid.uuid4())
    with started(run, tmp_path, f"{run}-1") as ours, started(run, tmp_path, f"{run}-2") as other:
        assert asyncio.run(sweep(session=f"{run}-1")) == 1
        assert ours.wait(5) == -signal.SIGTERM
        assert other.poll() is None
        other.kill()


def test_what_does_not_listen_is_killed(tmp_path: Path) -> None:
    run = str(uuid.uuid4())
    script = "trap '' TERM; touch ready; while :; do sleep 0.05; done"
    with subprocess.Popen(
        ["sh", "-c", script], env={"CLAUDETM_RUN": run, "PATH": "/usr/bin:/bin"}, cwd=tmp_path
    ) as deaf:
        wait_until((tmp_path / "ready").exists)
        assert asyncio.run(sweep(run)) >= 1
        assert deaf.wait(5) == -signal.SIGKILL


def test_what_stands_in_a_folder_is_ended_though_it_lost_its_mark(tmp_path: Path) -> None:
    inside, beside = tmp_path / "tree", tmp_path / "tree-beside"
    (inside / "deep").mkdir(parents=True)
    beside.mkdir()
    with (
        subprocess.Popen(["sleep", "62"], env={}, cwd=inside / "deep", start_new_session=True) as ours,
        subprocess.Popen(["sleep", "62"], env={}, cwd=beside, start_new_session=True) as other,
    ):
        assert asyncio.run(sweep(folders=[inside])) == 1
        assert ours.wait(5) == -signal.SIGTERM
        assert other.poll() is None
        other.kill()


def test_a_person_s_shell_in_a_folder_is_left_alone(tmp_path: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execv("/bin/sleep", ["sleep", "62"])
    try:
        wait_until(lambda: psutil.Process(pid).cwd() == str(tmp_path))
        assert asyncio.run(sweep(folders=[tmp_path])) == 0
        assert psutil.pid_exists(pid)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)


def test_a_sweep_never_ends_itself_or_who_started_it(tmp_path: Path) -> None:
    code = "import asyncio; from claudetm.adapters.agent.containment import sweep; print(asyncio.run(sweep('mine')))"
    environment = {**os.environ, "CLAUDETM_RUN": "mine", "PYTHONPATH": os.pathsep.join(sys.path)}
    argv = ["sh", "-c", '"$0" -c "$1"; exit $?', sys.executable, code]
    done = subprocess.run(argv, check=True, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.stdout.strip() == "0"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="leases are of Linux")
def test_a_launcher_is_handed_out_once_no_other_process_can_write_it(tmp_path: Path) -> None:
    """A child of another thread has our descriptor until it begins its own program; executing the file fails."""
    script = tmp_path / "launch"
    writer = script.open("w")
    waiting = threading.Thread(target=settle, args=(script,))
    waiting.start()
    waiting.join(0.05)
    held = waiting.is_alive()
    writer.close()
    waiting.join(10)
    assert held
    assert not waiting.is_alive()


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become another user")
def test_a_user_that_no_account_belongs_to_is_no_bug() -> None:
    """As in a container that was started with a number for a user."""
    code = """import os
from claudetm.adapters.agent.environment import account_home
os.setuid(54321)
print(account_home())"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "/nonexistent\n", done
