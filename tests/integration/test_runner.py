"""The command runner on real processes, under both constructions."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from claudetm.adapters.agent.containment import Containment, bubblewrap
from claudetm.adapters.commands.runner import CommandRunner, RunnerSettings
from claudetm.ports.commands import CommandRequest, CommandResult

BWRAP = pytest.param("bwrap", marks=pytest.mark.skipif(not bubblewrap(), reason="bubblewrap does not work here"))


@dataclass
class Runner:
    """A runner with its folders."""

    root: Path
    containment: Containment
    parent: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    @property
    def cwd(self) -> Path:
        folder = self.root / "tree"
        folder.mkdir(exist_ok=True)
        return folder

    def build(self) -> CommandRunner:
        return CommandRunner(RunnerSettings("run-1", self.root / "home", self.containment), self.parent)

    def run(self, command: str, stop: asyncio.Event | None = None, **given: Any) -> CommandResult:
        request = CommandRequest(command, given.pop("cwd", self.cwd), **given)
        return asyncio.run(self.build().run(request, stop))


@pytest.fixture(params=[BWRAP, "reaper"])
def runner(request: pytest.FixtureRequest, tmp_path: Path) -> Runner:
    return Runner(tmp_path, Containment(bubblewrap() if request.param == "bwrap" else ""))


def alive(mark: str) -> bool:
    return any(mark in " ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"]))


def test_both_streams_come_as_they_were_written(runner: Runner) -> None:
    result = runner.run("echo one; echo two >&2; echo three; exit 4")
    assert (result.output, result.exit_code) == ("one\ntwo\nthree\n", 4)


def test_there_is_no_input(runner: Runner) -> None:
    assert runner.run("cat; echo end").output == "end\n"


def test_no_credential_is_in_reach(runner: Runner) -> None:
    names = ("GH_TOKEN", "ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN", "SSH_AUTH_SOCK", "ANYTHING")
    runner.parent = {**runner.parent, **dict.fromkeys(names, "canary")}
    result = runner.run("env; echo home=$HOME; ls -A $HOME; echo tmp=$TMPDIR; touch $TMPDIR/x")
    assert result.ok
    assert "canary" not in result.output
    assert f"home={runner.root}/home" in result.output
    assert f"TMPDIR={runner.parent.get('TMPDIR', '/tmp')}\n" not in result.output
    assert "CLAUDETM_RUN=run-1" in result.output


def test_the_request_s_own_variables_are_there(runner: Runner) -> None:
    assert runner.run("echo $MINE", environment={"MINE": "yes"}).output == "yes\n"


def test_files_are_written_in_the_folder_and_the_private_home_lasts(runner: Runner) -> None:
    assert runner.run("echo kept > made; echo kept > $HOME/cache").ok
    assert (runner.cwd / "made").read_text() == "kept\n"
    assert runner.run("cat $HOME/cache").output == "kept\n"


def test_other_writable_folders_are_named(runner: Runner) -> None:
    (other := runner.root / "other").mkdir()
    assert runner.run(f"touch {other}/made", writable=(other,)).ok
    assert (other / "made").exists()


def test_the_tail_is_kept_the_log_is_whole_and_the_hash_covers_all(runner: Runner) -> None:
    log = runner.root / "logs/check.log"
    result = runner.run("i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done", log=log)
    whole = "".join(f"line {i}\n" for i in range(20000))
    assert log.read_text() == whole
    assert result.output == whole[-64 * 1024 :]
    assert result.sha256 == hashlib.sha256(whole.encode()).hexdigest()
    assert result.log == log
    assert log.stat().st_mode & 0o777 == 0o600


def test_a_log_ends_at_its_bound(runner: Runner) -> None:
    log = runner.root / "big.log"
    result = runner.run("head -c 54000000 /dev/zero", log=log)
    assert result.ok
    assert 50 * 1024 * 1024 < log.stat().st_size < 50 * 1024 * 1024 + 100
    assert result.sha256 == hashlib.sha256(bytes(54_000_000)).hexdigest()


def test_bytes_that_are_no_text_are_replaced(runner: Runner) -> None:
    result = runner.run(r"printf 'a\377b'")
    assert result.output == "a\ufffdb"
    assert result.sha256 == hashlib.sha256(b"a\xffb").hexdigest()


def test_a_time_limit_ends_it_with_what_it_said_so_far(runner: Runner) -> None:
    mark = str(uuid.uuid4())
    result = runner.run(f"echo begun; trap '' TERM; sh -c 'sleep 63; : {mark}'", timeout=0.3)
    assert (result.exit_code, result.timed_out, result.stopped) == (None, True, False)
    assert result.output.startswith("begun\n")  # a shell may still say that its child was killed
    assert result.seconds < 5
    assert not alive(mark)


def test_a_stop_ends_it(runner: Runner) -> None:
    async def main() -> CommandResult:
        stop = asyncio.Event()
        running = asyncio.create_task(runner.build().run(CommandRequest("touch begun; sleep 63", runner.cwd), stop))
        while not (runner.cwd / "begun").exists():  # noqa: ASYNC110 - a file has no event
            await asyncio.sleep(0.01)
        stop.set()
        return await running

    result = asyncio.run(main())
    assert (result.exit_code, result.timed_out, result.stopped) == (None, False, True)


def test_a_cancelled_run_leaves_nothing(runner: Runner) -> None:
    mark = str(uuid.uuid4())

    async def main() -> None:
        command = CommandRequest(f"touch begun; sh -c 'sleep 63; : {mark}'", runner.cwd)
        running = asyncio.create_task(runner.build().run(command))
        while not (runner.cwd / "begun").exists():  # noqa: ASYNC110 - a file has no event
            await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(main())
    assert not alive(mark)


@pytest.mark.parametrize(
    "left",
    ["nohup {s} &", "setsid {s} &", "( ( {s} ) & )", "(cd /; env -i PATH=$PATH setsid {s} >/dev/null 2>&1 &)"],
)
def test_nothing_it_started_outlives_the_call(runner: Runner, left: str) -> None:
    mark = str(uuid.uuid4())
    began = time.monotonic()
    result = runner.run(left.format(s=f"sh -c 'sleep 63; : {mark}'") + "\necho done")
    assert result.exit_code == 0
    assert result.output.endswith("done\n")
    assert not alive(mark)
    assert time.monotonic() - began < 4


def test_a_signal_is_an_exit_code(runner: Runner) -> None:
    assert runner.run("kill -SEGV $$").exit_code == 128 + signal.SIGSEGV


def test_a_folder_that_is_gone_is_a_failure_with_a_sentence(runner: Runner) -> None:
    result = runner.run("true", cwd=runner.root / "gone")
    assert result.exit_code == 127
    assert "is not there" in result.output


@pytest.mark.parametrize("steps", range(6))
def test_a_loop_that_ends_under_a_command_ends_it_and_itself(runner: Runner, steps: int) -> None:
    """asyncio.run cancels every task at its end, whatever they are in the middle of."""
    mark = f"sleep 3{uuid.uuid4().int % 10**8}"

    async def leave() -> None:
        going = asyncio.create_task(runner.build().run(CommandRequest(mark, runner.cwd)))
        for _ in range(steps):
            await asyncio.sleep(0)
        assert not going.done()

    asyncio.run(leave())
    assert not alive(mark)
