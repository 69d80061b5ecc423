"""Checks in whole runs, on the real CLI and real git: a flaky one, a real failure, a base that is red by itself.

The demo shows a red check that is fixed and a conflict that is resolved.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from terminal import CLAUDETM, Terminal, terminal

pytestmark = pytest.mark.e2e

EMPTY: dict[str, Any] = {"checks": [], "evidence": [], "remaining": [], "learnings": [], "follow_ups": []}
FLAKY = ': flaky\ntest -e "$HOME/once" || { touch "$HOME/once"; echo not yet; false; }'
NOTES = (
    ": notes\ntest ! -e greet/loud.py || test -e NOTES.md || { echo 'AssertionError: loud() is not told'; false; }"
)


def plan() -> dict[str, Any]:
    task = {
        "title": "Add loud()",
        "what": "loud(name) greets in capitals.",
        "files": ["greet/loud.py"],
        "acceptance": ['loud("Ada") returns "HELLO, ADA"'],
        "check": "make test",
        "complexity": "quick",
    }
    change = {"id": "c1", "title": "Greet loudly", "why": "It is wanted.", "depends_on": [], "paths": []}
    return {
        "outcome": "planned",
        "summary": "A loud greeting.",
        "changes": [{**change, "tasks": [task]}],
        "criteria": [{"text": "loud() is there", "command": "test -e greet/loud.py"}],
        "assumptions": [],
        "evidence": [],
    }


def shell(command: str) -> dict[str, Any]:
    return {"use": [{"Bash": {"command": command}}]}


def scenario(person: Terminal, *sessions: dict[str, Any]) -> str:
    """Write a scenario of one change; sessions besides the planner's and the worker's are given."""
    work = (
        "echo 'def loud(name): ...' > greet/loud.py; git add -A; git diff --cached --quiet || git commit -qm 'Add it'"
    )
    done = {"answer": {**EMPTY, "outcome": "done", "summary": "loud() is there."}}
    told = [
        {"role": "planner", "subject": "plan", "turns": [{"answer": plan()}]},
        {"role": "worker", "subject": "c1.t1", "turns": [shell(work), done]},
        *sessions,
    ]
    path = person.home / "scenario.yaml"
    path.write_text(json.dumps({"name": "loud", "about": "A loud greeting.", "sessions": told}))
    return str(path)


def of(person: Terminal, kind: str) -> list[dict[str, Any]]:
    return [e["data"] for e in person.events() if e["type"] == kind]


def roles(person: Terminal) -> list[str]:
    return [s["role"] for s in of(person, "SessionStarted")]


def test_a_flaky_check_is_told_apart_and_the_other_goes_to_the_fixer_with_its_log(tmp_path: Path) -> None:
    person = terminal(tmp_path)
    fix = "git add -A; git diff --cached --quiet || git commit -qm 'Note it'"
    fixed = {**EMPTY, "outcome": "fixed", "cause": "No notes.", "reproduced": True, "summary": "Noted."}
    fixer = {
        "role": "fixer",
        "subject": "c1:fix",
        "find": {"log": r"Whole log: (\S+)"},
        "turns": [
            {"use": [{"Read": {"file_path": "{log}"}}]},
            {"use": [{"Write": {"file_path": "{cwd}/NOTES.md", "content": "loud() greets in capitals.\n"}}]},
            shell(fix),
            {"answer": {**fixed, "checks": [{"command": "test -e NOTES.md", "exit_code": 0}]}},
        ],
    }
    told = scenario(person, fixer)
    ended = person("start", "Greet loudly", "--rehearse", told, "--no-review", "--check", FLAKY, "--check", NOTES)
    assert ended.returncode == 0, ended
    assert roles(person) == ["planner", "worker", "fixer"]
    assert [len(f["failed"]) for f in of(person, "ChecksFailed")] == [2, 1]
    assert "AssertionError: loud() is not told" in of(person, "ChecksFailed")[1]["how"][0]
    note = "passed when run again"
    assert "flaky: : flaky passed when run again" in ended.stdout
    assert note in (person.state / "progress.md").read_text()
    assert "flaky=" in person("logs").stdout or note in person("logs").stdout
    # the fixer could read the whole log, which lies outside of its worktree
    transcripts = "".join(p.read_text() for p in (person.state / "logs").glob("session-*.jsonl"))
    assert "is outside the worktree" not in transcripts


def test_a_base_that_is_red_by_itself_blocks_until_it_is_mended(tmp_path: Path) -> None:
    person = terminal(tmp_path)
    broken = person.here / "tests" / "test_broken.py"
    broken.write_text(
        "import unittest\n\n\nclass T(unittest.TestCase):\n    def test_it(self):\n        self.fail('old')\n"
    )
    person.git("add", "-A")
    person.git("commit", "-q", "-m", "Break it")
    ended = person("start", "Greet loudly", "--rehearse", scenario(person), "--no-review")
    assert ended.returncode == 1, ended
    assert "the base is red, too: make test fails at" in ended.stderr
    assert "next: mend the base, or set worktree.setup where a fresh checkout lacks what" in ended.stderr
    assert roles(person) == ["planner", "worker"]
    person.git("rm", "-q", "tests/test_broken.py")
    person.git("commit", "-q", "-m", "Mend it")
    ended = person("resume")
    assert ended.returncode == 0, ended
    assert roles(person) == ["planner", "worker"]
    assert not broken.exists()
    assert (person.here / "greet" / "loud.py").exists()


def test_a_check_whose_tool_is_not_installed_is_refused_at_the_start(tmp_path: Path) -> None:
    person = terminal(tmp_path)
    tools = person.home / "tools"
    tools.mkdir()
    (tools / "git").symlink_to(shutil.which("git") or "git")
    person.extra = {"PATH": f"{CLAUDETM.parent}:{tools}"}
    (person.here / "Makefile").unlink()
    shutil.rmtree(person.here / "tests")
    (person.here / "package.json").write_text('{"scripts": {"test": "vitest run"}}')
    person.git("add", "-A")
    person.git("commit", "-q", "-m", "Be JavaScript")
    refused = person("start", "Greet loudly", "--rehearse", scenario(person))
    assert refused.returncode == 1
    assert "This repository is checked by `npm test --silent`, and npm is not installed here" in refused.stderr
    assert not person.state.exists()
    assert (
        "npm is not installed here"
        in person("start", "Greet", "--rehearse", scenario(person), "--check", "npm t").stdout
    )


def test_variables_that_are_named_reach_set_up_and_checks(tmp_path: Path) -> None:
    person = terminal(tmp_path)
    needs = 'test "$PIP_INDEX_URL" = https://index.example'
    person.extra = {
        "PIP_INDEX_URL": "https://index.example",
        "CLAUDETM_WORKTREE_SETUP": needs,
        "CLAUDETM_CHECKS_ENVIRONMENT": "PIP_INDEX_URL",
    }
    words = ("start", "Greet loudly", "--rehearse", scenario(person), "--no-review", "--check", needs)
    ended = person(*words)
    assert ended.returncode == 0, ended
    assert of(person, "RunStarted")[0]["settings"]["checks_environment"] == ["PIP_INDEX_URL"]


def test_no_checks_are_said_where_they_are_allowed(tmp_path: Path) -> None:
    person = terminal(tmp_path)
    person.git("rm", "-q", "-r", "Makefile", "tests")
    person.git("commit", "-q", "-m", "Remove what could be checked")
    ended = person("start", "Greet loudly", "--rehearse", scenario(person), "--no-review", "--no-checks")
    assert ended.returncode == 0, ended
    assert "checks: none; as checks.none is pass, pull requests are merged untested" in ended.stdout
    assert of(person, "ChecksPassed")[0]["note"] == "no checks"
