"""Other ways for a driver to die, or to be told to end: each resumes to the same end as an undisturbed run."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from crash.conftest import Undisturbed
from crash.demo_run import SOON, Demo, Moment, assert_same_end, below, until

pytestmark = [pytest.mark.crash, pytest.mark.timeout(400)]

FIRST_WORKER: Final = 9  # the record by which the first worker's session began
CHECKS_AWAITED: Final = 18


def working(demo: Demo) -> str:
    """Wait until a session has used something; return its id."""

    def busy() -> str:
        open_sessions = {s["id"] for s in demo.events("SessionStarted")} - {
            s["id"] for s in demo.events("SessionEnded")
        }
        logs = [demo.journal.parent / "logs" / f"session-{i}.jsonl" for i in open_sessions]
        return next((log.stem for log in logs if log.exists() and b'"Used"' in log.read_bytes()), "")

    until(busy, "a session that is at work")
    return busy()


@pytest.mark.parametrize(("when", "step"), [("after", 4), ("before", 9)])
def test_drivers_that_die_every_few_records_get_there_together(
    demo: Demo, undisturbed: Undisturbed, when: str, step: int
) -> None:
    """No step may be 3: a driver that dies once it has recorded a lost session's successor gets nowhere."""
    driver = demo.begin(CLAUDETM_KILL_AT=f"{when}:{step}")
    drivers = 1
    while demo.end(driver) != 0:
        assert driver.returncode == -signal.SIGKILL, demo.output.read_text()
        driver = demo.carry_on(CLAUDETM_KILL_AT=f"{when}:{demo.length + step}")
        drivers += 1
    assert drivers > len(undisturbed.times) // step
    assert_same_end(demo, undisturbed.outcome)


def test_killed_again_and_again_while_it_resumes(demo: Demo, undisturbed: Undisturbed) -> None:
    driver = demo.begin()
    demo.reach(driver, Moment(FIRST_WORKER, 0.5))
    demo.kill(driver)
    for seconds in (0.05, 0.3, 0.6):  # before it has the lock, before it drives, before its session began
        driver = demo.carry_on()
        demo.reach(driver, Moment(0, seconds))
        demo.kill(driver)
    driver = demo.carry_on()
    demo.reach(driver, Moment(demo.length + 4, 0.2))
    demo.kill(driver)
    assert demo.resume() == 0, demo.output.read_text()
    assert_same_end(demo, undisturbed.outcome)


def test_orphans_of_a_process_tree_that_was_killed_around_them_are_swept(
    demo: Demo, undisturbed: Undisturbed
) -> None:
    driver = demo.begin("--sandbox", "off")
    demo.reach(driver, Moment(FIRST_WORKER))
    working(demo)
    tree = below(driver.pid)
    demo.kill(driver)
    for pid in tree:
        if "_bundled/claude" not in _command(pid):
            with contextlib.suppress(ProcessLookupError):  # it may have ended by itself since it was listed
                os.kill(pid, signal.SIGKILL)
    assert demo.resume() == 0, demo.output.read_text()
    assert_same_end(demo, undisturbed.outcome)


def _command(pid: int) -> str:
    try:
        return Path("/proc", str(pid), "cmdline").read_bytes().split(b"\0")[0].decode()
    except OSError:
        return ""


def test_killed_while_a_check_runs(demo: Demo, undisturbed: Undisturbed) -> None:
    driver = demo.begin()
    demo.reach(driver, Moment(CHECKS_AWAITED - 1))
    until(lambda: list(demo.journal.parent.glob("logs/checks/*.log")), "a check that runs")
    demo.kill(driver)
    assert demo.resume() == 0, demo.output.read_text()
    assert_same_end(demo, undisturbed.outcome)


def test_told_to_end_it_charges_its_session_and_can_be_resumed(demo: Demo, undisturbed: Undisturbed) -> None:
    driver = demo.begin()
    for told in (signal.SIGTERM, signal.SIGINT):  # while its first task, and then again, is worked on
        demo.reach(driver, Moment(FIRST_WORKER))
        working(demo)
        driver.send_signal(told)
        assert demo.end(driver) == 2, demo.output.read_text()
        assert not demo.processes()
        driver = demo.carry_on()
    assert demo.end(driver) == 0, demo.output.read_text()
    assert [p["reason"] for p in demo.events("RunPaused")] == ["ended by SIGTERM", "interrupted (Ctrl+C)"]
    interrupted = [s for s in demo.events("SessionEnded") if s["outcome"] == "interrupted"]
    assert len(interrupted) == 2
    assert all(s["usage"]["cost_usd"] > 0 for s in interrupted)
    assert_same_end(demo, undisturbed.outcome)


def test_after_a_power_cut_the_lock_of_another_boot_and_a_torn_line_stop_nobody(
    demo: Demo, undisturbed: Undisturbed
) -> None:
    driver = demo.begin()
    demo.reach(driver, Moment(FIRST_WORKER))
    working(demo)
    demo.kill(driver)
    until(lambda: not demo.processes(), "the end of the processes, as by a reboot", SOON)
    lock = demo.journal.with_name("lock")
    lock.write_text(json.dumps({**json.loads(lock.read_text()), "boot": "another", "pid": os.getpid()}))
    with demo.journal.open("ab") as journal:
        journal.write(demo.journal.read_bytes().splitlines()[-1][:40])
    assert demo.resume() == 0, demo.output.read_text()
    assert_same_end(demo, undisturbed.outcome)


@pytest.mark.parametrize("victims", ["driver", "driver and git"])
def test_killed_while_the_checkout_is_updated(demo: Demo, undisturbed: Undisturbed, victims: str) -> None:
    armed = _dies_in_the_checkout(demo, git_too="git" in victims)
    driver = demo.begin()
    assert demo.end(driver) == -signal.SIGKILL
    assert not armed.exists()
    assert demo.resume() == 0, demo.output.read_text()
    assert_same_end(demo, _with_filter(demo, undisturbed.outcome))


def _dies_in_the_checkout(demo: Demo, *, git_too: bool) -> Path:
    """Let the user have a smudge filter that kills the driver as soon as git writes the first file for it."""
    armed, script = demo.repository.parent / "armed", demo.repository.parent / "smudge"
    lock = demo.journal.with_name("lock")
    victims = "$driver $PPID" if git_too else "$driver"
    script.write_text(
        "#!/bin/sh\n"
        f'if rm "{armed}" 2>/dev/null; then\n'
        f"  driver=$(sed 's/.*\"pid\": \\([0-9]*\\).*/\\1/' {lock})\n"
        f"  kill -9 {victims}\n"
        "fi\n"
        "exec cat\n"
    )
    script.chmod(0o755)
    armed.touch()
    demo.git("config", "filter.dies.smudge", str(script))
    (demo.repository / ".git" / "info").mkdir(exist_ok=True)
    (demo.repository / ".git" / "info" / "attributes").write_text("*.py filter=dies\n")
    return armed


def _with_filter(demo: Demo, outcome: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**outcome, "config": (demo.repository / ".git" / "config").read_text()}
