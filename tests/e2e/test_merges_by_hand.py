"""A person who merges by hand, in git, on their own branch: the run takes that for what it is and goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from terminal import SCENARIOS, terminal

pytestmark = pytest.mark.e2e


def test_a_run_without_auto_merge_goes_on_from_what_a_person_merged_on_main(tmp_path: Path) -> None:
    person = terminal(tmp_path)
    scenario = str(SCENARIOS.parent / "two_changes.yaml")
    ended = person("start", "Greet strangers", "--rehearse", scenario, "--no-auto-merge")
    for change in ("c1", "c2"):
        run = person.events()[0]["data"]["run"]
        assert ended.returncode == 2, ended
        assert f"claudetm/{run}/{change} is ready; merging is left to you" in ended.stdout + ended.stderr, ended
        assert f"next: git merge claudetm/{run}/{change}, then claudetm resume" in ended.stdout, ended
        person.git("merge", "-q", "--no-ff", "-m", f"Take {change}", f"claudetm/{run}/{change}")
        ended = person("resume")
    assert ended.returncode == 0, ended
    merged = [e["data"] for e in person.events() if e["type"] == "PullRequestMerged"]
    assert [m["by"] for m in merged] == ["a person"] * 2
    assert person.git("log", "--first-parent", "--format=%s", "-2").split("\n")[:2] == ["Take c2", "Take c1"]
    assert person.git("status", "--porcelain") == ""
