"""Commands to a run, through real processes: each with a live driver, and what it means without one."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from claudetm.adapters.store.lock import acquire
from terminal import SCENARIOS, Terminal, bytes_of, left_halfway, terminal, wait_for

pytestmark = pytest.mark.e2e

LOUD = SCENARIOS / "loud.yaml"


@pytest.fixture
def person(tmp_path: Path) -> Terminal:
    return terminal(tmp_path)


@pytest.fixture
def quick(tmp_path: Path) -> str:
    """The scenario without its delay."""
    path = tmp_path / "quick.yaml"
    path.write_text(LOUD.read_text(encoding="utf-8").replace("delay: 5", "delay: 0"), encoding="utf-8")
    return str(path)


@pytest.fixture
def halted(person: Terminal) -> Terminal:
    """A run whose driver died in the middle of its work."""
    left_halfway(person)
    return person


def start(person: Terminal, *options: str, scenario: str = str(LOUD)) -> subprocess.Popen[str]:
    return person.begin("start", "Greet loudly", "--rehearse", scenario, "--no-review", *options)


def at_work(person: Terminal) -> None:
    """Wait until the first task's session has written a file and not committed it."""
    state = person.home / "state" / "claudetm"
    wait_for(lambda: list(state.glob("*/*/changes/c1/greet/loud.py")), f"uncommitted work\n{person.output()}")


def kinds(person: Terminal) -> list[str]:
    return [e["type"] for e in person.events()]


def of_kind(person: Terminal, kind: str) -> list[dict[str, object]]:
    return [e["data"] for e in person.events() if e["type"] == kind]


def ended(person: Terminal, process: subprocess.Popen[str], code: int) -> None:
    assert process.wait(60) == code, person.output()


def verified(person: Terminal, *options: str) -> None:
    done = person("resume", *options)
    assert done.returncode == 0, (done, person.output())
    assert "verified" in person("status").stdout
    assert kinds(person).count("PullRequestMerged") == 1


# --- a live driver ---------------------------------------------------------------------------------------------


def test_a_pause_lets_the_session_finish_and_what_is_said_reaches_the_next(person: Terminal, tmp_path: Path) -> None:
    slow = tmp_path / "slow.yaml"
    slow.write_text(LOUD.read_text(encoding="utf-8").replace("delay: 5", "delay: 10"), encoding="utf-8")
    process = start(person, scenario=str(slow))
    wait_for(lambda: "DriverStarted" in kinds(person), "a driver")
    second: tuple[str, ...]
    for second in (("start", "Another goal", "--rehearse", "demo"), ("resume",)):
        refused = person(*second)
        assert refused.returncode == 1
        assert f"process {process.pid} on " in refused.stderr
    for command in (("status", "--json"), ("plan", "--json")):
        assert json.loads(person(*command).stdout)
    assert f"driven by process {process.pid}" in person("status").stdout
    at_work(person)
    assert person("say", "Call the test LoudestTest").stdout == "say: done\n"
    assert person("pause").stdout == "pause: done\n"
    ended(person, process, 2)
    assert [s["outcome"] for s in of_kind(person, "SessionEnded")] == ["answered"] * 2
    assert [t["task"] for t in of_kind(person, "TaskFinished")] == ["c1.t1"]
    assert "next: claudetm resume" in person.output()
    assert "paused: paused by the user" in person("status").stdout
    verified(person, "--max-cost", "5")
    assert of_kind(person, "LimitsRaised") == [{"limits": {"cost_usd": 5.0}}]
    assert "LoudestTest" in (person.here / "tests" / "test_loud.py").read_text()


def test_a_stop_interrupts_the_session_and_keeps_its_work(person: Terminal) -> None:
    process = start(person)
    at_work(person)
    assert person("stop").stdout == "stop: done\n"
    ended(person, process, 2)
    assert of_kind(person, "SessionEnded")[-1]["outcome"] == "interrupted"
    [kept] = of_kind(person, "SnapshotTaken")
    assert "def loud" in person.git("show", f"{kept['ref']}:greet/loud.py")
    assert str(kept["ref"]) in person("undo").stdout
    assert person("undo", "c1-1", "--branch", "rescue").returncode == 0
    assert "def loud" in person.git("show", "rescue:greet/loud.py")
    assert "claudetm/undo/1 is at" in person("undo", str(kept["ref"])).stdout
    for arguments in (("c1-9",), ("c1-1", "--branch", "rescue"), ("c1-1", "--branch=-x")):
        refused = person("undo", *arguments)
        assert (refused.returncode, len(refused.stderr.splitlines())) == (1, 1)
    assert "paused: stopped by the user (claudetm stop)" in person("status").stdout
    verified(person)


def test_a_cancelled_run_can_be_cleaned_and_its_work_is_kept(person: Terminal) -> None:
    process = start(person)
    at_work(person)
    alive = person("clean", "--force")
    assert alive.returncode == 1
    assert f"process {process.pid} on " in alive.stderr
    assert person("stop", "--cancel").stdout.startswith("stop: done\n")
    ended(person, process, 1)
    assert "cancelled" in person("status").stdout
    assert "The run is over (cancelled)" in person("resume").stderr
    [kept] = of_kind(person, "SnapshotTaken")
    [run] = of_kind(person, "RunStarted")
    before = bytes_of(person.here, person.home)
    asked = person("clean")
    assert (asked.returncode, len(asked.stderr.splitlines())) == (1, 1)
    assert "claudetm clean --force" in asked.stderr
    assert bytes_of(person.here, person.home) == before
    cleaned = person("clean", "--force")
    assert cleaned.returncode == 0, cleaned
    assert f"kept {kept['ref']}" in cleaned.stdout
    assert "def loud" in person.git("show", f"{kept['ref']}:greet/loud.py")
    assert (person.state / "history" / str(run["run"]) / "journal.jsonl").exists()
    assert not list((person.home / "state" / "claudetm").glob("*/*"))
    assert "There is no run" in person("status").stderr
    assert "nothing to clean" in person("clean").stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_the_run_as_stop_does(person: Terminal, number: signal.Signals) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored, and so it would be by claudetm
    process = start(person)
    signal.signal(signal.SIGHUP, before)
    at_work(person)
    process.send_signal(number)
    ended(person, process, 2)
    assert "next: claudetm resume" in person.output()
    assert of_kind(person, "SessionEnded")[-1]["outcome"] == "interrupted"
    assert len(of_kind(person, "SnapshotTaken")) == 1


def test_a_second_interrupt_ends_the_driver_at_once(person: Terminal) -> None:
    process = start(person)
    at_work(person)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    ended(person, process, 2)
    assert "Traceback" not in person.output()
    assert "claudetm resume" in person.output()
    verified(person)


def test_a_lock_file_deleted_under_the_driver_ends_it_and_nothing_is_lost(person: Terminal) -> None:
    process = start(person)
    at_work(person)
    (person.state / "lock").unlink()
    ended(person, process, 1)
    assert "was deleted or replaced under the running driver" in person.output()
    assert "claudetm resume" in person.output()
    assert "Traceback" not in person.output()
    verified(person)


def test_a_state_directory_deleted_under_the_driver_ends_it_and_nothing_is_lost(person: Terminal) -> None:
    process = start(person)
    at_work(person)
    shutil.rmtree(person.state)
    ended(person, process, 1)
    last = person.output().splitlines()[-1]
    assert "was deleted under the running driver" in last
    assert "Traceback" not in person.output()
    put_back = last.partition("put it back with `")[2].partition("`")[0]
    subprocess.run(put_back, shell=True, check=True, cwd=person.here)
    verified(person)


# --- options of start ------------------------------------------------------------------------------------------


def test_a_limit_of_sessions_pauses_and_a_higher_one_carries_on(person: Terminal, quick: str) -> None:
    ended(person, start(person, "--max-sessions", "1", scenario=quick), 2)
    assert kinds(person).count("SessionStarted") == 1
    assert "the limit of 1 sessions is reached" in person("status").stdout
    assert "next: claudetm resume" in person.output()
    verified(person, "-n", "20")
    assert "removed refs/heads/claudetm/" in person("clean", "-f").stdout
    assert person.git("for-each-ref", "refs/heads/claudetm", "refs/claudetm") == ""


def test_a_plan_waits_for_approval(person: Terminal, quick: str) -> None:
    ended(person, start(person, "--approve-plan", "--check", "make test", scenario=quick), 2)
    assert "planned" in person("status").stdout
    assert "Greet loudly" in person("plan").stdout
    assert of_kind(person, "RunStarted")[0]["settings"]["checks"] == ["make test"]  # type: ignore[index]
    verified(person)


def test_a_run_pauses_on_its_pull_request(person: Terminal, quick: str) -> None:
    ended(person, start(person, "--pause-on-pr", scenario=quick), 2)
    assert kinds(person).count("PullRequestOpened") == 1
    assert "PullRequestMerged" not in kinds(person)
    verified(person)


def test_without_auto_merge_a_person_decides(person: Terminal, quick: str) -> None:
    ended(person, start(person, "--no-auto-merge", scenario=quick), 2)
    assert kinds(person)[-1] == "RunPaused"
    assert "PullRequestMerged" not in kinds(person)
    set_ = person("config", "set", "merge.auto", "true")
    assert set_.returncode == 0, set_
    assert "goes by it from its next step on (done)" in set_.stdout
    verified(person)


def test_criteria_of_the_user_are_judged_and_no_verify_judges_nothing(person: Terminal, quick: str) -> None:
    said = 'loud("Ada") is louder than greet("Ada")'
    process = start(person, "--criteria", said, "--no-verify", "--no-checks", "--base", "main", scenario=quick)
    ended(person, process, 0)
    assert of_kind(person, "RunStarted")[0]["criteria"] == [said]
    assert (person.state / "criteria.txt").read_text() == f"{said}\n"
    assert "CriterionChecked" not in kinds(person)[kinds(person).index("VerificationStarted") :]
    assert "GoalVerified" in kinds(person)


def test_a_broken_scenario_is_refused_with_its_line(person: Terminal, tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("name: x\nsessions:\n  - role: worker\n    subject: c1\n    trns: []\n")
    before = bytes_of(person.here)
    refused = person("start", "Greet", "--rehearse", str(broken))
    assert (refused.returncode, len(refused.stderr.splitlines())) == (1, 1)
    assert f"{broken}:5" in refused.stderr
    assert bytes_of(person.here) == before


# --- no driver -------------------------------------------------------------------------------------------------


def test_without_a_driver_a_command_is_applied_at_once(halted: Terminal) -> None:
    assert halted("pause").stdout == "pause: done\n"
    assert halted("say", "Be kind").stdout == "say: done\n"
    assert halted("config", "set", "limits.attempts", "5").returncode == 0
    assert halted("stop", "--cancel").stdout.startswith("stop: done\n")
    assert kinds(halted)[-4:] == ["RunPaused", "MessageAdded", "SettingsChanged", "RunCancelled"]
    assert of_kind(halted, "SettingsChanged") == [{"settings": {"attempts": 5}}]
    assert "cancelled" in halted("status").stdout


def test_a_driver_that_does_not_answer_finds_the_command_later(halted: Terminal) -> None:
    with acquire(halted.state / "lock", "0101-0000-abcd"):
        asked = halted("pause")
    assert (asked.returncode, asked.stdout) == (0, "pause: queued: the driver takes it at its next step\n")
    [waiting] = (halted.state / "inbox").glob("*.json")
    assert json.loads(waiting.read_text())["name"] == "pause"


# --- clean and config ------------------------------------------------------------------------------------------


def test_settings_are_shown_with_their_source_and_set_for_good(person: Terminal) -> None:
    assert person("config", "set", "checks.none", "pass").returncode == 0
    assert person("config", "set", "checks.commands", "make test", "make lint").returncode == 0
    assert person("config", "set", "limits.cost_usd", "2.5").returncode == 0
    file = person.state / "config.json"
    assert json.loads(file.read_text()) == {
        "checks": {"none": "pass", "commands": ["make test", "make lint"]},
        "limits": {"cost_usd": 2.5},
    }
    assert file.stat().st_mode & 0o777 == 0o600
    assert f'checks.none = "pass"  ({file})' in person("config", "show").stdout
    assert json.loads(person("config", "--json").stdout)["limits.cost_usd"] == {
        "value": 2.5,
        "source": str(file),
        "hides": [],
    }
    assert person("config", "get", "checks.none").stdout == "pass\n"
    assert person("config", "path").stdout.splitlines()[0] == str(file)
    assert person.git("status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("set", "chekcs.none", "pass"), "did you mean checks.none?"),
        (("set", "limits.cost_usd", "nan"), "above 0"),
        (("set", "limits.cost_usd", "--", "-1"), "above 0"),
        (("set", "checks.none"), "`set KEY VALUE`"),
        (("get", "nothing.at.all"), "is no setting"),
        (("become", "kind"), "claudetm config show"),
    ],
    ids=str,
)
def test_a_setting_that_cannot_be_is_refused(person: Terminal, arguments: tuple[str, ...], says: str) -> None:
    before = bytes_of(person.here)
    refused = person("config", *arguments)
    assert (refused.returncode, len(refused.stderr.splitlines())) == (1, 1), refused
    assert says in refused.stderr
    assert bytes_of(person.here) == before


def test_a_run_goes_on_when_whoever_read_along_has_gone(person: Terminal, quick: str) -> None:
    command = ("start", "Greet loudly", "--rehearse", quick, "--no-review")
    done = person(*command, wrap=("bash", "-o", "pipefail", "-c", '"$@" | head -n 1', "sh"))
    assert (done.returncode, done.stderr) == (0, ""), done
    assert kinds(person)[-1] == "GoalVerified"
