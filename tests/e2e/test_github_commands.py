"""`fix-pr`, `start --from-issue`, `pr`, `comments`, `stop` and `explain` of runs on GitHub, by the real program."""

from __future__ import annotations

from pathlib import Path

import pytest

from terminal import Terminal, bytes_of, terminal

pytestmark = pytest.mark.e2e


def told(person: Terminal, *arguments: str, code: int = 0) -> str:
    """Return what a command says, in one paragraph."""
    ended = person(*arguments)
    assert ended.returncode == code, ended
    return " ".join((ended.stderr if code == 1 and not ended.stdout else ended.stdout).split())


# --- where there is no GitHub -----------------------------------------------------------------------------------


def test_without_github_nothing_is_begun_and_the_way_out_is_named(tmp_path: Path) -> None:
    person = terminal(tmp_path)
    person.extra["ANTHROPIC_API_KEY"] = "sk-ant-none"
    before = bytes_of(person.here, person.home)
    says = "asks GitHub, and this run is on the local forge; call it in a clone from GitHub"
    assert f"--from-issue {says}" in told(person, "start", "--from-issue", "7", code=1)
    assert f"fix-pr {says}" in told(person, "fix-pr", "7", code=1)
    only = "Pull requests of the local forge are merged by the run that made them; call this in a clone from GitHub"
    assert only in told(person, "fix-pr", "7", "--merge-only", code=1)
    assert "or --from-issue N; see `claudetm start --help`" in told(person, "start", code=1)
    assert bytes_of(person.here, person.home) == before


def test_merge_only_takes_no_option_of_a_run(tmp_path: Path) -> None:
    person = terminal(tmp_path)
    given = (
        ("--model", "opus"),
        ("--no-auto-merge",),
        ("--auto-merge",),
        ("--review",),
        ("--no-review",),
        ("--max-sessions", "3"),
        ("--max-cost", "5"),
        ("--max-turns", "50"),
        ("--timeout", "30m"),
        ("--sandbox", "off"),
        ("--trust-project-settings",),
        ("--rehearse", "happy"),
    )
    for option in given:
        said = told(person, "fix-pr", "7", "--merge-only", *option, code=1)
        assert "--merge-only begins no run: of the other options it takes --no-checks and --json alone" in said
