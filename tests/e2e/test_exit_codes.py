"""Each row of the table of exit codes is brought about: through the real entry point, or by a driver in memory."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from claudetm import __version__
from claudetm.adapters.store.directory import StateDirectory
from claudetm.adapters.store.journal import encode
from claudetm.cli.app import COMMANDS
from claudetm.cli.exit_codes import WHEN, ExitCode
from claudetm.cli.views import conclude
from claudetm.engine.loop import Ending
from claudetm.ports.agent import SessionReport, SessionRequest
from claudetm.workflow.policy import Policy
from github_double.double import Double
from terminal import SCENARIOS, Terminal, terminal, wait_for
from world import World, answered, honest, work

pytestmark = pytest.mark.e2e

Case = Callable[[Terminal], int]


def driven(**policy: Any) -> Case:
    """Return the case of a driver in memory that goes by this policy."""

    def case(_person: Terminal) -> int:
        world = World(policy=Policy(self_review=False, poll_seconds=30.0, **policy))
        ending = asyncio.run(world.drive())
        assert (ending is Ending.PAUSED) == bool(policy), world.events
        return conclude(world.run, ending)

    return case


def blocked(_person: Terminal) -> int:
    async def stuck(world: World, request: SessionRequest) -> SessionReport:
        report = await honest(world, request)
        blocker = {"kind": "needs_decision", "text": "Which of the two?"}
        return answered(work("blocked", blocker=blocker)) if "remaining" in (report.answer or {}) else report

    world = World(play=stuck)
    ending = asyncio.run(world.drive())
    assert ending is Ending.BLOCKED
    return conclude(world.run, ending)


def asked(name: str) -> Case:
    """Return the case of a driver in memory that is asked for something at its first session."""

    def case(_person: Terminal) -> int:
        async def asks(world: World, request: SessionRequest) -> SessionReport:
            if len(world.agent.requests) == 1:
                world.inbox.send(name)
            return await honest(world, request)

        world = World(play=asks)
        return conclude(world.run, asyncio.run(world.drive()))

    return case


def called(*arguments: str, **extra: Any) -> Case:
    """Return the case of a command in a repository without a run."""
    return lambda person: person(*arguments, **extra).returncode


def shown(person: Terminal) -> int:
    world = World()
    asyncio.run(world.drive())
    state = StateDirectory(person.state)
    state.create(person.here / ".git")
    codes = set()
    for length in range(1, len(world.records) + 1, 9):
        state.journal.write_bytes(b"".join(map(encode, world.records[:length])))
        codes |= {person(name).returncode for name in ("status", "plan")}
    [code] = codes
    return code


def interrupted(person: Terminal) -> int:
    process = person.begin("start", "Greet loudly", "--rehearse", str(SCENARIOS / "loud.yaml"), "--no-review")
    state = person.home / "state" / "claudetm"
    wait_for(lambda: list(state.glob("*/*/changes/c1/greet/loud.py")), person.output())
    process.send_signal(signal.SIGTERM)  # Ctrl+C comes to the same: test_commands.py
    return process.wait(60)


def not_merged(person: Terminal) -> int:
    with Double(person.home / "github") as github:
        github.create_repository("acme/widgets", people={"octo": "write", "ada": "write"})
        github.push_by_person("ada/loud", {"loud.py": "LOUD = 1\n"})
        number = github.open_pull_by_person("ada/loud")
        person.git("remote", "add", "origin", github.url())
        token = github.token("octo")
        ended = person("fix-pr", str(number), "--merge-only", GH_TOKEN=token, GITHUB_API_URL=github.api)
    assert "no check has reported, and zero checks is not green" in " ".join(ended.stdout.split())
    return ended.returncode


def alike(*cases: Case) -> Case:
    """Return the case of several that end with one code."""

    def case(person: Terminal) -> int:
        [code] = {case(person) for case in cases}
        return code

    return case


def broken(person: Terminal) -> int:
    """A library that does what it should not is a bug, as far as anybody can tell."""
    (person.home / "bug" / "git").mkdir(parents=True)
    (person.home / "bug" / "git" / "__init__.py").write_text("raise RuntimeError('unforeseen')\n")
    ended = person("undo", PYTHONPATH=str(person.home / "bug"))
    named = ended.stderr.strip().rpartition(" ")[2]
    assert "this is a bug: RuntimeError: unforeseen" in ended.stderr
    assert "unforeseen" in Path(named).read_text()
    return ended.returncode


def monitored(person: Terminal) -> int:
    monitor = person.begin("monitor", "--rehearse", "demo", "--no-update-check")
    wait_for((person.here / "state" / "monitor.json").exists, "the monitor")
    monitor.send_signal(signal.SIGTERM)
    stopped = monitor.wait(60)
    (person.here / "tasks" / "task-1.md").write_text(
        "---\nmode: session\nskill: none\n---\nSay hello\n", encoding="utf-8"
    )
    once = called("monitor", "--once", "--rehearse", "demo", "--no-update-check")(person)
    assert '"failed"' in (person.here / "results" / "task-1.json").read_text(encoding="utf-8")
    return stopped or once


def ended_by_its_disk(person: Terminal) -> int:
    assert person("monitor", "init", "--yes").returncode == 0
    (person.here / "state" / "queue.jsonl").mkdir()
    return person("monitor", "--rehearse", "demo", "--no-update-check").returncode


CASES: dict[str, Case] = {
    "`claudetm monitor` was ended by its disk, or lost its lock: it may be begun again": ended_by_its_disk,
    "`claudetm monitor` was stopped; with `--once`, it has worked what was there, failed tasks too": monitored,
    "a source of `claudetm monitor` lets nobody in, or with `--once` could not be asked": called(
        "monitor", "--once", "--rehearse", "demo", "--api-key", "nobody-s-key", "--api-url", "http://127.0.0.1:9"
    ),
    "the run is verified": driven(),
    "what was asked for is shown or done, in any phase of the run": shown,
    "the run is blocked": blocked,
    "the run was cancelled": asked("cancel"),
    "a known error, in one sentence": called("config", "get", "no.such.key"),
    "there is nothing to show": called("status"),
    "wrong usage": called("status", "--no-such-option"),
    "`claudetm doctor` found a failure": called("doctor"),
    "`claudetm fix-pr --merge-only` found something against the merge": not_merged,
    "Ctrl+C or SIGTERM during a run": interrupted,
    "`claudetm pause`, `claudetm stop`": alike(asked("pause"), asked("stop")),
    "a limit of sessions or of cost is reached": alike(driven(sessions=1), driven(cost_usd=0.6)),
    "`--pause-on-pr`: a pull request was opened": driven(pause_on_pr=True),
    "`--approve-plan`: the plan waits for you": driven(approve_plan=True),
    "`--no-auto-merge`: a pull request waits for you": driven(auto_merge=False),
    "a bug: the details are in the file that is named": broken,
}


def test_there_is_a_case_for_every_row() -> None:
    assert set(CASES) == set(WHEN)


@pytest.mark.parametrize(("when", "code"), WHEN.items(), ids=list(WHEN))
def test_a_command_ends_with_the_code_that_the_table_gives(tmp_path: Path, when: str, code: ExitCode) -> None:
    assert CASES[when](terminal(tmp_path)) == code


def test_wrong_usage_names_the_help_of_its_command(tmp_path: Path) -> None:
    person = terminal(tmp_path, repository=False)
    for arguments in (("--no-such",), ("no-such",), ("start",), ("logs", "-n", "none"), ("plan", "no-such")):
        refused = person(*arguments)
        assert (refused.returncode, len(refused.stderr.splitlines())) == (1, 1), refused
        assert "--help`" in refused.stderr


def test_an_interrupt_of_what_only_looks_is_no_stop(tmp_path: Path) -> None:
    person = terminal(tmp_path)
    (person.home / "slow").mkdir()
    (person.home / "slow" / "git").write_text("#!/bin/sh\nkill -INT $PPID\nsleep 60\n")
    (person.home / "slow" / "git").chmod(0o755)
    for command in (("undo",), ("fix-pr", "7", "--merge-only")):
        stopped = person(*command, PATH=f"{person.home / 'slow'}:{person.environment['PATH']}")
        assert (stopped.returncode, stopped.stderr) == (1, "claudetm: interrupted\n")


def test_version_and_help_are_shown_anywhere(tmp_path: Path) -> None:
    person = terminal(tmp_path, repository=False)
    assert person("--version").stdout == person("-V").stdout == f"claudetm {__version__}\n"
    assert person("-h").stdout == person("--help").stdout
    alone = person()
    assert (alone.returncode, alone.stderr) == (1, "")
    assert "Usage: claudetm [OPTIONS] COMMAND" in alone.stdout
    for name in COMMANDS:
        shown = person(name, "-h")
        assert (shown.returncode, shown.stderr) == (0, ""), name
        assert f"Usage: claudetm {name} " in shown.stdout
