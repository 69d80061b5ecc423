"""A goal from an issue to a merged pull request: the real CLI on the scripted model, real pushes to GitHub's double.

Red check, its log to the fixer, green; a remark answered by a commit and resolved; a push in the last moment before
the merge, whose stale head is refused; squash; the branch deleted; the issue closed.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from github_double.double import Double
from github_double.state import Protection
from terminal import Terminal, terminal, wait_for

pytestmark = pytest.mark.e2e

EMPTY: dict[str, Any] = {"checks": [], "evidence": [], "remaining": [], "learnings": [], "follow_ups": []}
CHECK = "test ! -e loud.py || test -e NOTES.md || { echo 'AssertionError: loud() is not told in NOTES.md'; false; }"
TEMPLATE = "## What\n\n## Tests\n\n- [ ] I have read the guide\n"


BODY = """## What

It is wanted.

- Add loud(): loud() is there.

## Part of

Closes #{issue}

- loud() is there

## Tests

- `make test`

- [ ] I have read the guide"""


@pytest.fixture
def github(tmp_path: Path) -> Iterator[Double]:
    with Double(tmp_path / "github") as double:
        yield double
    double.assert_lawful()


def clone(folder: Path, github: Double, login: str) -> Terminal:
    """Return the terminal of somebody who has just cloned the repository, with a token of theirs."""
    token = github.token(login, scopes=("repo", "workflow"))
    person = terminal(folder, repository=False)
    person.extra |= {"GH_TOKEN": token, "GITHUB_API_URL": github.api}
    person.git("clone", "-q", str(github.path()), ".")
    person.git("remote", "set-url", "origin", github.url(github.main))
    for key, value in (("user.name", "Octo"), ("user.email", "octo@example.org")):
        person.git("config", key, value)
    return person


def of(person: Terminal, kind: str) -> list[dict[str, Any]]:
    return [e["data"] for e in person.events() if e["type"] == kind]


def at_stage(person: Terminal, driver: subprocess.Popen[str], event: str) -> None:
    """Wait until something has happened, for as long as the driver lives."""
    wait_for(lambda: of(person, event) or driver.poll() is not None, event)
    assert of(person, event), person.output()[-4000:]


def shell(command: str) -> dict[str, Any]:
    return {"use": [{"Bash": {"command": command}}]}


def commits(path: str, content: str, message: str) -> list[dict[str, Any]]:
    return [
        {"use": [{"Write": {"file_path": f"{{cwd}}/{path}", "content": content}}]},
        shell(f"git add -A; git diff --cached --quiet || git commit -qm '{message}'"),
    ]


def scenario(person: Terminal) -> str:
    task = {
        "title": "Add loud()", "what": "loud(name) greets in capitals.", "files": ["loud.py"],
        "acceptance": ['loud("Ada") returns "HELLO, ADA"'], "check": "make test", "complexity": "quick",
    }  # fmt: skip
    plan = {
        "outcome": "planned", "summary": "A loud greeting.", "assumptions": [], "evidence": [],
        "changes": [{"id": "c1", "title": "Greet loudly", "why": "It is wanted.", "depends_on": [], "paths": [],
                     "tasks": [task]}],
        "criteria": [{"text": "loud() is there", "command": "test -e loud.py"}],
    }  # fmt: skip
    fixed = {**EMPTY, "outcome": "fixed", "cause": "No notes.", "reproduced": True, "summary": "Noted."}
    answer = {"outcome": "fixed", "text": "It greets strangers now, and @nobody fixes #1."}
    told = [
        {"role": "planner", "subject": "plan", "turns": [{"answer": plan}]},
        {"role": "worker", "subject": "c1.t1", "turns": [
            *commits("loud.py", "def loud(name): ...\n", "Add it"),
            {"answer": {**EMPTY, "outcome": "done", "summary": "loud() is there."}}]},
        {"role": "fixer", "subject": "c1:fix", "find": {"error": r"(AssertionError: [^\n]+)"}, "turns": [
            *commits("NOTES.md", "{error}\n", "Note it"),
            {"answer": {**fixed, "checks": [{"command": "test -e NOTES.md", "exit_code": 0}]}}]},
        {"role": "responder", "subject": "c1:respond", "find": {"thread": r"(PRRT_\w+)"}, "turns": [
            *commits("loud.py", "def loud(name='you'): ...\n", "Greet strangers"),
            {"answer": {"replies": [{"thread_id": "{thread}", **answer}], "checks": []}}]},
    ]  # fmt: skip
    path = person.home / "scenario.yaml"
    path.write_text(json.dumps({"name": "loud", "about": "A loud greeting.", "sessions": told}))
    return str(path)


def test_a_goal_lives_from_an_issue_to_merged(tmp_path: Path, github: Double) -> None:
    github.create_repository(
        "acme/widgets",
        {"README.md": "hello\n", ".github/PULL_REQUEST_TEMPLATE.md": TEMPLATE, "Makefile": "test:\n\ttrue\n"},
        people={"octo": "write", "bob": "write"},
        protection=Protection(contexts=("test",), approvals=1),
        allow_merge=False,
    )
    github.add_workflow("CI", {"test": CHECK})
    issue = github.open_issue("Greet loudly", "People are hard of hearing.", "bob")
    person = clone(tmp_path, github, "octo")
    driver = person.begin("start", "--from-issue", str(issue), "--forge", "github", "--rehearse", scenario(person))

    at_stage(person, driver, "FixPushed")
    (pull,) = github.pulls()
    at_stage(person, driver, "SelfReviewed")  # green, and waiting for a review
    assert pull.title == "Greet loudly"
    assert pull.body == BODY.format(issue=issue)
    thread = github.remark(pull.number, "And strangers?", "bob", "loud.py", 1)
    at_stage(person, driver, "ReviewsAnswered")
    wait_for(lambda: github.thread(thread).resolved, "the thread's resolution")

    late: list[str] = []
    github.at_the_last_moment(lambda: late.append(github.push_by_person(pull.head_ref, {"late.txt": "x\n"}, "bob")))
    github.review(pull.number, "APPROVED", "", "bob")
    at_stage(person, driver, "HeadMoved")
    assert driver.wait(60) == 0, person.output()[-4000:]

    assert late
    assert of(person, "HeadMoved")[0]["head"] == late[0]
    merged = of(person, "PullRequestMerged")
    assert [m["commit"] for m in merged] == [github.tip("main")] == [pull.merge_commit]
    assert len(person.git("--git-dir", str(github.path()), "rev-list", "main").split()) == 2  # squashed
    assert {f: github.read(f) for f in ("loud.py", "late.txt")} == {
        "loud.py": "def loud(name='you'): ...",
        "late.txt": "x",
    }
    assert github.tip(pull.head_ref) == ""
    assert github.issue(issue).state == "closed"
    assert [s["role"] for s in of(person, "SessionStarted")] == ["planner", "worker", "fixer", "responder"]
