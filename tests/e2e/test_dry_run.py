"""`claudetm start --dry-run` through the real entry point, the real SDK and git: a plan, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from terminal import SCENARIOS, Terminal, terminal

pytestmark = pytest.mark.e2e

START = ("start", "Greet loudly", "--dry-run", "--rehearse", str(SCENARIOS / "loud.yaml"))


@pytest.fixture
def person(tmp_path: Path) -> Terminal:
    return terminal(tmp_path)


def git_side(person: Terminal) -> tuple[str, str, str]:
    return person.git("for-each-ref"), person.git("status", "--porcelain"), person.git("count-objects")


def test_the_plan_is_shown_and_a_start_is_possible_at_once(person: Terminal) -> None:
    before = git_side(person)
    ended = person(*START, "--pr-per-task", "--max-prs", "4", "--no-auto-merge")
    assert ended.returncode == 0, ended
    for said in (
        "## c1-1: Add loud() (queued)",
        "## c1-2: Test loud() (queued)",
        "- checks: make test",
        "- merging: left to you",
        "- pull requests: 2, on the local forge, for main",
        "- model of c1-1.t1: sonnet (low effort)",
        "planned, as asked: no branch, no pull request (1 session, $",
    ):
        assert said in ended.stdout
    assert git_side(person) == before
    assert not list((person.home / "state" / "claudetm").glob("*/*"))
    [record] = (person.state / "history").iterdir()
    assert (record / "journal.jsonl").exists()
    assert "There is no run" in person("status").stderr
    assert "nothing to resume" in person("resume").stderr


def test_programs_get_the_plan_as_one_object(person: Terminal) -> None:
    ended = person(*START, "--json", "--log-level", "quiet")
    assert ended.returncode == 0, ended
    plan, end = (json.loads(line) for line in ended.stdout.splitlines())
    assert (plan["type"], end["ending"], end["exit_code"]) == ("plan", "planned", 0)
    assert end["next"] == "the same `claudetm start` without --dry-run works it"
    assert [t["id"] for t in plan["plan"]["changes"][0]["tasks"]] == ["c1.t1", "c1.t2"]
    assert plan["would"]["checks"] == ["make test"]


def test_killed_half_way_it_only_plans_when_resumed_and_is_in_no_starts_way(person: Terminal) -> None:
    for kill in ("after:4", "before:6"):
        assert person(*START, CLAUDETM_KILL_AT=kill).returncode == -9
        assert [e["type"] for e in person.events()][:1] == ["RunStarted"]
        assert "PlanApproved" not in [e["type"] for e in person.events()]
    approved = person("plan", "approve")
    assert (approved.returncode, len(approved.stderr.splitlines())) == (1, 1)
    resumed = person("resume")
    assert resumed.returncode == 0, resumed
    assert "planned, as asked" in resumed.stdout
    assert len(list((person.state / "history").iterdir())) == 2
    assert not list((person.home / "state" / "claudetm").glob("*/*"))
    assert person.git("for-each-ref", "refs/heads/claudetm", "refs/claudetm") == ""
