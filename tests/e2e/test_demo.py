"""The demo, as a newcomer sees it: everything that it promises is in its repository, and is real."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from claudetm.cli.demo import GOAL, NEXT
from terminal import Terminal, bytes_of, terminal

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Terminal:
    """Return the one who has tried the demo, once for all tests: whichever worker is first runs it."""
    base = tmp_path_factory.getbasetemp()
    place = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "newcomer"
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if place.exists():
            person = Terminal(place / "greet", place / "home")
        else:
            person = terminal(place, repository=False)
            Terminal(place, person.home).begin("demo", str(person.here)).wait()
    assert [e["type"] for e in person.events()[-1:]] == ["GoalVerified"], person.output()
    return person


@pytest.fixture
def events(newcomer: Terminal) -> list[dict[str, Any]]:
    return newcomer.events()


def of(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [e["data"] for e in events if e["type"] == kind]


def place(events: list[dict[str, Any]], kind: str, change: str) -> int:
    """Return where the first event of a kind stands in a change's story."""
    return next(n for n, e in enumerate(events) if e["type"] == kind and e["data"]["change"] == change)


def forge(newcomer: Terminal, kind: str) -> list[dict[str, Any]]:
    lines = (newcomer.state / "forge" / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    return [r for r in map(json.loads, lines) if r["kind"] == kind]


@pytest.fixture
def passes(newcomer: Terminal, tmp_path: Path) -> Callable[..., bool]:
    """Whether a command succeeds in a checkout of a commit."""

    def check(commit: str, *command: str) -> bool:
        folder = tmp_path / commit
        if not folder.exists():
            newcomer.git("clone", "-q", "--no-checkout", ".", str(folder))
            subprocess.run(["git", "checkout", "-q", commit], cwd=folder, check=True)
        environment = newcomer.environment
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False).returncode == 0

    return check


def test_it_says_where_to_look_next_and_there_is_something_to_see(newcomer: Terminal) -> None:
    said = newcomer.output()
    assert f"cd {newcomer.here}" in said
    for line in NEXT:
        assert f"  {line}" in said
        if line.startswith("claudetm"):
            ended = newcomer(*line.split()[1:])
            assert (ended.returncode, ended.stderr) == (0, ""), ended
            assert ended.stdout.strip()
    wide = [line for line in said.split("Where to look next:")[1].splitlines() if len(line) > 80]
    assert [line for line in wide if "cd " not in line] == []


def test_the_plan_is_two_pull_requests_and_four_tasks(events: list[dict[str, Any]]) -> None:
    [plan] = [p["plan"] for p in of(events, "PlanProposed")]
    assert [len(c["tasks"]) for c in plan["changes"]] == [1, 3]
    assert [t["task"] for t in of(events, "TaskFinished")] == ["c1.t1", "c2.t1", "c2.t2", "c2.t3"]
    assert [o["number"] for o in of(events, "PullRequestOpened")] == [1, 2]


def test_the_first_check_run_is_red_for_real_and_the_fixers_commit_makes_it_green(
    newcomer: Terminal, events: list[dict[str, Any]], passes: Callable[..., bool]
) -> None:
    verdicts = [(r["number"], r["head"], r["ok"]) for r in forge(newcomer, "checked")]
    red, fixed = verdicts[0][1], of(events, "FixPushed")[0]["head"]
    assert verdicts[0] == (1, red, False)
    assert (1, fixed, True) in verdicts
    assert len(of(events, "FixPushed")) == 1
    assert not passes(red, "make", "test")
    assert passes(fixed, "make", "test")
    assert newcomer.git("rev-parse", f"{fixed}~1").strip() == red
    assert newcomer.git("diff", "--name-only", red, fixed).split() == ["README.md"]


def test_the_one_that_merges_second_conflicts_for_real_and_both_sides_stand_after_it(
    newcomer: Terminal, events: list[dict[str, Any]]
) -> None:
    first, second = (m["change"] for m in of(events, "PullRequestMerged"))
    assert place(events, "ChangeStarted", "c2") < place(events, "PullRequestMerged", first)
    assert place(events, "PullRequestMerged", first) < place(events, "ConflictFound", second)
    [updated] = of(events, "BranchUpdated")
    ours, base = newcomer.git("rev-parse", f"{updated['head']}^1", f"{updated['head']}^2").split()
    assert base == of(events, "PullRequestMerged")[0]["commit"]
    tried = subprocess.run(
        ["git", "merge-tree", "--write-tree", ours, base], cwd=newcomer.here, capture_output=True, check=False
    )
    assert tried.returncode == 1, "the two sides conflict"
    greet = newcomer.git("show", f"{updated['head']}:greet/greet.py")
    assert 'or "stranger"' in greet
    assert "the greeting is empty" in greet
    assert [s["subject"] for s in of(events, "SessionStarted") if s["role"] == "updater"] == [f"{second}:update"]


def test_the_reviewers_finding_is_answered_and_resolved_with_a_commit(
    newcomer: Terminal, events: list[dict[str, Any]], passes: Callable[..., bool]
) -> None:
    finding, reply = forge(newcomer, "noted")
    assert (finding["number"], finding["path"], finding["blocking"]) == (2, "greet/__main__.py", True)
    assert (reply["thread"], reply["resolve"]) == (finding["thread"], True)
    [answered] = of(events, "ReviewsAnswered")
    assert f"Fixed in {answered['head']}" in reply["body"]
    command = ("python3", "-B", "-m", "greet", "Ada", "Lovelace")
    assert not passes(f"{answered['head']}~1", *command)
    assert passes(answered["head"], *command)
    assert newcomer.git("merge-base", "--is-ancestor", answered["head"], "main") == ""


def test_three_criteria_hold_with_receipts_that_anybody_can_repeat(
    newcomer: Terminal, events: list[dict[str, Any]], passes: Callable[..., bool]
) -> None:
    receipts = {c["criterion"]: c for c in of(events, "CriterionChecked")}
    assert {i: r["verdict"] for i, r in receipts.items()} == dict.fromkeys(("k1", "k2", "k3"), "holds")
    base, tip = newcomer.git("rev-list", "--max-parents=0", "main").strip(), newcomer.git("rev-parse", "main").strip()
    by_command = [r for r in receipts.values() if r["command"]]
    assert [r["criterion"] for r in by_command] == ["k1", "k2"]
    for receipt in by_command:
        assert receipt["commit"] == tip
        assert not passes(base, "bash", "-c", receipt["command"]), "it shows nothing that held before"
        assert passes(tip, "bash", "-c", receipt["command"])
    assert receipts["k3"]["evidence"]
    shown = newcomer("status", "--criteria").stdout
    assert [line[:8] for line in shown.splitlines() if line[:1] == "k"] == ["k1 holds", "k2 holds", "k3 holds"]


def test_all_of_it_stands_in_the_history_of_main(newcomer: Terminal, passes: Callable[..., bool]) -> None:
    first = newcomer.git("log", "--first-parent", "--format=%s", "main").splitlines()
    assert sorted(first[:-1]) == [
        "Merge c1: Let callers choose the greeting",
        "Merge c2: Greet strangers, and add a command line",
    ]
    assert first[-1] == "Greet people by name"
    assert len(newcomer.git("log", "--format=%s", "main").splitlines()) == 10
    assert newcomer.git("status", "--porcelain") == ""
    assert passes(newcomer.git("rev-parse", "main").strip(), "make", "test")


def test_prepared_it_makes_the_repository_and_leaves_the_start_to_you(tmp_path: Path) -> None:
    person = terminal(tmp_path, repository=False)
    ended = person("demo", "--prepare", "mine")
    assert ended.returncode == 0, ended
    assert ended.stdout.splitlines() == [f"cd {person.here / 'mine'}", f"claudetm start '{GOAL}' --rehearse demo"]
    person.here /= "mine"
    assert person.git("log", "--format=%s").splitlines() == ["Greet people by name"]
    assert not person.state.exists()
    assert person.git("status", "--porcelain") == ""


@pytest.mark.parametrize("folder", ["file", "file/below", "loop", "n" * 300, "/proc/below"])
def test_a_folder_that_cannot_be_made_a_repository_is_refused(tmp_path: Path, folder: str) -> None:
    person = terminal(tmp_path, repository=False)
    (person.here / "file").write_text("mine")
    (person.here / "loop").symlink_to("loop")
    before = bytes_of(tmp_path)
    refused = person("demo", folder, "--prepare")
    assert (refused.returncode, refused.stdout, len(refused.stderr.splitlines())) == (1, "", 1)
    assert "; name a folder that is not there yet" in refused.stderr
    assert bytes_of(tmp_path) == before
