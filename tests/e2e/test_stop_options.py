"""`claudetm stop --cancel`, with and without `--close`, over a run whose pull request is open."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from terminal import SCENARIOS, Terminal, bytes_of, terminal

pytestmark = pytest.mark.e2e


@pytest.fixture
def paused(tmp_path: Path) -> Terminal:
    """A run that has opened a pull request and leaves the merging to a person."""
    person = terminal(tmp_path)
    scenario = tmp_path / "quick.yaml"
    text = (SCENARIOS / "loud.yaml").read_text(encoding="utf-8").replace("delay: 5", "delay: 0")
    scenario.write_text(text, encoding="utf-8")
    ended = person("start", "Greet loudly", "--rehearse", str(scenario), "--no-review", "--pause-on-pr")
    assert ended.returncode == 2, ended
    return person


def closed(person: Terminal) -> list[str]:
    lines = (person.state / "forge" / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    return [record["by"] for line in lines if (record := json.loads(line))["kind"] == "closed"]


def test_what_is_open_is_left_closed_when_asked_for_and_once(paused: Terminal) -> None:
    before = bytes_of(paused.here, paused.home)
    alone = paused("stop", "--close")
    assert (alone.returncode, alone.stdout, len(alone.stderr.splitlines())) == (1, "", 1)
    assert "--close goes with --cancel" in alone.stderr
    assert bytes_of(paused.here, paused.home) == before
    branch = f"claudetm/{paused.events()[0]['data']['run']}/c1"
    assert paused("stop", "--cancel").stdout == f"stop: done\nleft open: #1 {branch}\n"
    assert closed(paused) == []
    # a kill between the cancel and the close leaves just this
    assert paused("stop", "--cancel", "--close").stdout == f"closed: #1 {branch}\n"
    assert closed(paused) == ["claudetm"]
    again = paused("stop", "--cancel", "--close")
    assert (again.returncode, again.stdout) == (0, "")
    assert closed(paused) == ["claudetm"]
    assert paused.git("rev-parse", "--verify", branch)
    assert [e["type"] for e in paused.events()].count("RunCancelled") == 1
    assert "The run is over (cancelled)" in paused("stop").stderr


def test_a_run_is_given_up_and_its_pull_request_closed_in_one_go(paused: Terminal) -> None:
    ended = paused("stop", "--cancel", "--close")
    assert (ended.returncode, ended.stdout.splitlines()[0]) == (0, "stop: done")
    assert ended.stdout.splitlines()[1].startswith("closed: #1 claudetm/")
    assert closed(paused) == ["claudetm"]
    assert "cancelled" in paused("status").stdout
