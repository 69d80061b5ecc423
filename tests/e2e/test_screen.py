"""Driving a run at a real terminal, and where there is none: what stands on the screen, and what it is left as."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import termios
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pyte
import pytest

from terminal import CLAUDETM, SCENARIOS, Terminal, terminal, wait_for

pytestmark = pytest.mark.e2e

LOUD = SCENARIOS / "loud.yaml"
NONE: Mapping[str, str] = {}
_PATIENCE = 60.0  # seconds


class Screen:
    """A process at a terminal of its own, and what a person sees there."""

    def __init__(self, person: Terminal, *arguments: str, extra: Mapping[str, str] = NONE) -> None:
        self.person = person
        self.screen = pyte.Screen(80, 24)
        self._stream = pyte.ByteStream(self.screen)
        self.said = b""
        self.master, self.slave = pty.openpty()
        self._size(80, 24)
        self.modes = termios.tcgetattr(self.slave)
        environment = {**person.environment, "TERM": "xterm-256color", "LANG": "C.UTF-8", **extra}
        job = 'set -m; "$@"; code=$?; [ $code != 148 ] && exit $code; echo "$ fg"; fg'
        self.process = subprocess.Popen(
            # a controlling terminal, so that its keys send signals; and a shell that goes on with a stopped job
            [
                "setsid",
                "--ctty",
                "--wait",
                "bash",
                "-c",
                job,
                "sh",
                CLAUDETM,
                *arguments,
            ],
            cwd=person.here,
            env=environment,
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
        )
        os.set_blocking(self.master, False)

    def _size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def resize(self, columns: int, lines: int) -> None:
        self.screen.resize(lines, columns)
        self._size(columns, lines)

    def press(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def look(self) -> str:
        """Return what stands on the screen."""
        while True:
            try:
                read = os.read(self.master, 1 << 16)
            except BlockingIOError:
                break
            except OSError:
                break  # nobody holds the other end any more
            self.said += read
            self._stream.feed(read)
        return "\n".join(line.rstrip() for line in self.screen.display)

    def driver(self) -> int:
        """Return the process that drives the run."""
        return int(json.loads((self.person.state / "lock").read_text())["pid"])

    def until(self, sees: Callable[[str], object], what: str) -> str:
        """Return the first screen on which that is to be seen."""
        found = ""

        def look() -> bool:
            nonlocal found
            found = self.look()
            return bool(sees(found))

        try:
            wait_for(look, what)
        except AssertionError:
            pytest.fail(f"{what} is not on the screen:\n{found}")
        return found

    def ended(self) -> int:
        """Wait for the end, reading along; return the exit code."""
        wait_for(lambda: (self.look(), self.process.poll() is not None)[1], "the end")
        self.look()
        return self.process.returncode


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Callable[..., Screen]]:
    """Open screens; what still runs at the end of a test is ended."""
    opened: list[Screen] = []

    def start(*options: str, **extra: str) -> Screen:
        person = terminal(tmp_path)
        opened.append(Screen(person, "start", "Greet loudly", "--rehearse", str(LOUD), *options, extra=extra))
        return opened[-1]

    yield start
    for screen in opened:
        if screen.process.poll() is None:
            screen.process.kill()
        os.close(screen.master)
        os.close(screen.slave)


def test_a_run_is_shown_in_place_and_stopped_by_ctrl_c(at: Callable[..., Screen]) -> None:
    screen = at("--no-review")
    seen = screen.until(lambda s: "now: worker on c1.t1" in s and "Write" in s, "the worker's tool")
    panel = seen[seen.index("claudetm ") :].splitlines()
    assert panel[1] == "Greet loudly"
    assert panel[2].startswith("working · 0/1 changes · 0/2 tasks · 0:")
    assert panel[3] == "▸ c1 working 0/2 Greet loudly"
    assert "planned: 1 change, 2 tasks, 1 criterion" in seen
    assert seen.count("Greet loudly\n") <= 2  # the goal, and the change of that name: one panel, not several
    screen.resize(100, 30)
    screen.press(b"\x03")
    screen.until(lambda s: "stopping: interrupted (Ctrl+C); Ctrl+C again ends at once" in s, "the word")
    assert screen.ended() == 2
    last = screen.look().rstrip().splitlines()
    assert last[-2:] == [last[-2], "next: claudetm resume"]
    assert last[-2].startswith("paused: interrupted (Ctrl+C) (2 sessions, $")
    assert last[-3] == "  c1 working 0/2 Greet loudly", "the last state remains"
    assert termios.tcgetattr(screen.slave) == screen.modes
    assert b"\x1b[?25l" not in screen.said
    assert screen.said.endswith(b"next: claudetm resume\r\n")


def test_a_second_ctrl_c_ends_at_once(at: Callable[..., Screen]) -> None:
    screen = at("--no-review")
    screen.until(lambda s: "now: worker on c1.t1" in s, "the worker")
    screen.press(b"\x03")
    os.kill(screen.driver(), signal.SIGTERM)  # the same key twice may count as once
    assert screen.ended() == 2
    assert "interrupted; `claudetm resume` carries on" in screen.look()
    assert termios.tcgetattr(screen.slave) == screen.modes


def test_ctrl_z_leaves_the_terminal_to_the_shell_and_fg_goes_on_below(at: Callable[..., Screen]) -> None:
    screen = at("--no-review", NO_COLOR="1")
    screen.until(lambda s: "now: worker on c1.t1" in s, "the worker")
    screen.press(b"\x1a")
    after = screen.until(lambda s: "now: " in s.partition("$ fg")[2], "the panel below")
    assert "now: worker on c1.t1" in after.partition("$ fg")[0]
    screen.press(b"\x03")
    assert screen.ended() == 2
    assert b"\x1b[3" not in screen.said, "a colour, though none is wanted"


def test_a_terminal_that_cannot_be_painted_on_gets_plain_lines(tmp_path: Path) -> None:
    extra = {"TERM": "dumb"}
    person = terminal(tmp_path)
    (person.home / "quick.yaml").write_text(LOUD.read_text(encoding="utf-8").replace("delay: 5", "delay: 0"))
    options = ("--rehearse", str(person.home / "quick.yaml"), "--approve-plan")
    screen = Screen(person, "start", "Greet loudly", *options, extra=extra)
    try:
        assert screen.ended() == 2
        assert b"\x1b" not in screen.said
        assert "planned: 1 change, 2 tasks, 1 criterion" in screen.look()
    finally:
        os.close(screen.master)
        os.close(screen.slave)


# --- where there is no terminal ------------------------------------------------------------------------------


@pytest.fixture
def quick(tmp_path: Path) -> tuple[Terminal, tuple[str, ...]]:
    """A person, and what starts a run that ends with its plan."""
    person = terminal(tmp_path)
    return person, ("start", "Greet loudly", "--rehearse", str(LOUD), "--approve-plan")


def test_json_is_all_there_is_on_standard_output(quick: tuple[Terminal, tuple[str, ...]]) -> None:
    person, start = quick
    for flags in (("--json",), ("--log-format", "json", "--log-level", "verbose")):
        ended = person(*start, *flags) if not person.state.exists() else person("resume", *flags, "-n", "1")
        assert (ended.returncode, ended.stderr) == (2, ""), ended
        objects = [json.loads(line) for line in ended.stdout.splitlines()]
        assert all({"type", "seq", "time", "text"} <= set(o) for o in objects)
        assert (objects[-1]["type"], objects[-1]["ending"], objects[-1]["exit_code"]) == ("ended", "paused", 2)
        assert "claudetm resume" in objects[-1]["next"]
        seqs = [o["seq"] for o in objects]
        assert seqs == sorted(seqs)


def test_quiet_prints_only_how_it_ended_and_the_log_holds_the_rest(quick: tuple[Terminal, tuple[str, ...]]) -> None:
    person, start = quick
    ended = person(*start, "--log-level", "quiet")
    assert ended.returncode == 2
    assert [line.partition(":")[0] for line in ended.stdout.splitlines()] == ["paused", "next"]
    [log] = (person.state / "logs").glob("run-*.txt")
    assert "StructuredOutput" not in (text := log.read_text())
    assert "checks: make test (detected)" in text
    assert "gives its answer" in text
    assert person("logs", "-n", "3").stdout == "".join(text.splitlines(keepends=True)[-3:])
    assert person("logs", "-f", "-n", "1").stdout == text.splitlines(keepends=True)[-1]


@pytest.mark.parametrize("reader", ['"$@" | head -1', '"$@" >&- <&-'])
def test_a_reader_that_goes_away_ends_no_run(quick: tuple[Terminal, tuple[str, ...]], reader: str) -> None:
    person, start = quick
    ended = person(*start, wrap=("bash", "-o", "pipefail", "-c", reader, "sh"))
    assert (ended.returncode, ended.stderr) == (2, ""), ended
    assert person.events()[-1]["type"] == "RunPaused"


def test_a_follower_sees_the_run_go_by_and_ends_with_its_driver(tmp_path: Path) -> None:
    person = terminal(tmp_path)
    driver = person.begin("start", "Greet loudly", "--rehearse", str(LOUD), "--no-review", "--log-level", "quiet")
    wait_for(lambda: any(e["type"] == "SessionStarted" for e in person.events()), "a session")
    followed = person("logs", "-f", "--json")
    assert driver.wait(_PATIENCE) == 0
    kinds = [json.loads(line)["type"] for line in followed.stdout.splitlines()]
    assert kinds == [e["type"] for e in person.events()]
    listed = person("logs", "--list").stdout.splitlines()
    assert [line.split()[2:5:2] for line in listed] == [["planner", "answered"], *[["worker", "answered"]] * 2]
    shown = person("logs", "--session", listed[1].split()[0]).stdout
    assert "  Write greet/loud.py" in shown
    assert "ended: success" in shown
