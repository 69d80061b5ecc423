"""examples/basic, run as its README says, by the real command line."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from generate_example import BASIC, ROOT
from terminal import terminal

pytestmark = pytest.mark.e2e


def test_the_basic_example_runs_to_the_end_as_its_readme_says(tmp_path: Path) -> None:
    person = terminal(tmp_path, repository=False)
    [block] = re.findall(r"```console\n(.*?)```", (BASIC / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    commands = [line.removeprefix("$ ").replace("/tmp/greet", str(person.here)) for line in block.splitlines()]
    script = "set -e\n" + "\n".join(commands)
    ended = subprocess.run(
        ["bash", "-c", script], cwd=ROOT, env=person.environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended
    assert person.events()[-1]["type"] == "GoalVerified"
    assert person.events()[0]["data"]["goal"] == (BASIC / "goal.txt").read_text(encoding="utf-8").strip()
    assert person.git("log", "--first-parent", "--format=%s").splitlines()[0].startswith("Merge c")
