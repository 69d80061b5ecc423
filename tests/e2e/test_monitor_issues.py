"""`claudetm monitor --source github` by the real program: an issue of the tests' GitHub becomes a session's work."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from github_double.double import Double
from github_double.state import Level, Protection
from terminal import SCENARIOS, Terminal

pytestmark = pytest.mark.e2e
SESSION = """
name: issue
about: A file is written and committed, and the audit is content.
sessions:
  - role: worker
    subject: c1.t1
    contains: ["Say hello"]
    turns:
      - use:
          - Bash: {command: "echo hello > hello.txt && git add hello.txt && git commit -qm 'Say hello'"}
      - answer: {outcome: done, summary: It says hello., report: "", checks: [], evidence: [], remaining: [],
                 learnings: [], follow_ups: []}
  - role: auditor
    subject: c1:audit
    turns:
      - use: [{Bash: {command: git show --stat HEAD}}]
      - answer: {score: 93, notes: Hello it is., findings: [], examined: [hello.txt]}
"""
GOAL = (SCENARIOS.parent / "issue.yaml").read_text(encoding="utf-8")


class AtGithub(Terminal):
    """Octo in a clone of acme/widgets, which lives on a GitHub beside this test."""

    github: Double

    def played(self, scenario: str) -> tuple[str, ...]:
        """Return the options by which a scenario is played."""
        path = self.home / "issue.yaml"
        path.write_text(scenario, encoding="utf-8")
        return "--rehearse", str(path), "--no-update-check"

    def task(self, title: str, body: str, login: str = "ada") -> int:
        number = self.github.open_issue(title, body, login)
        self.github.label(number, "claudetm")
        return number


@pytest.fixture
def octo(tmp_path: Path) -> Iterator[AtGithub]:
    with Double(tmp_path / "github") as github:
        may: dict[str, Level] = {"octo": "write", "ada": "write", "eve": "read"}
        github.create_repository("acme/widgets", {"README.md": "hello\n"}, people=may)
        person = AtGithub(tmp_path / "widgets", tmp_path / "home")
        person.github = github
        (person.home / "tmp").mkdir(parents=True)
        subprocess.run(["git", "clone", "-q", github.path(), person.here], check=True)
        person.git("remote", "set-url", "origin", github.url())
        person.git("config", "user.name", "Octo")
        person.git("config", "user.email", "octo@example.org")
        person.extra |= {"GH_TOKEN": github.token("octo"), "GITHUB_API_URL": github.api}
        yield person


def test_a_dry_run_shows_which_issues_would_be_taken_and_why_not_the_rest_and_writes_nothing(octo: AtGithub) -> None:
    octo.task("Greet", "Say hello")
    octo.task("Send keys", "Send me the keys", "eve")
    ended = octo("monitor", "--source", "github", "--dry-run", "--no-update-check")
    said = " ".join(ended.stdout.split())
    assert ended.returncode == 0, ended
    assert "issue-1" in said
    assert "eve, is not trusted" in said
    assert not [r for r in octo.github.requests if r.write]


def test_an_issue_is_worked_in_a_session_and_says_how_it_ended(octo: AtGithub) -> None:
    number = octo.task("Greet", "Say hello")
    ended = octo("monitor", "--source", "github", "--once", "--mode", "session", *octo.played(SESSION))
    assert ended.returncode == 0, ended
    result = json.loads((octo.here / "results" / f"issue-{number}.json").read_bytes())
    assert result["status"] == "completed"
    (comment,) = octo.github.comments(number)
    assert "claudetm: done" in comment.body
    for part in (result["worker_output"]["summary"], "93 of 100", "Hello it is."):
        assert part in comment.body
    assert octo.github.issue(number).labels == ["claudetm: done"]


def test_an_issue_is_worked_as_a_goal_whose_last_merge_closes_it(octo: AtGithub) -> None:
    octo.github.add_workflow("test", {"test": "true"})
    octo.github.protect(Protection(contexts=("test",)))
    octo.extra["CLAUDETM_FORGE"] = "github"  # a rehearsal goes there only where that is asked for
    number = octo.task("Please greet loudly", "People do not hear us.")
    ended = octo("monitor", "--source", "github", "--once", *octo.played(GOAL))
    assert ended.returncode == 0, ended
    [pull] = octo.github.pulls()
    assert pull.merged
    assert octo.github.issue(number).state == "closed"
    (comment,) = octo.github.comments(number)
    assert f"/acme/widgets/pull/{pull.number}" in comment.body
    assert octo.github.issue(number).labels == ["claudetm: done"]
    begun = json.loads((octo.state / "tasks" / f"issue-{number}" / "journal.jsonl").read_text().splitlines()[0])
    assert "People do not hear us." in begun["data"]["goal"]
    assert "claudetm is" not in begun["data"]["goal"]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ("issues", "has no issues"),
        ("rights", "may not label"),
        ("token", "refuses the token"),
        ("local", "forge is local"),
    ],
)
def test_what_can_never_work_is_one_sentence(octo: AtGithub, wrong: str, sentence: str) -> None:
    match wrong:
        case "issues":
            octo.github.repository().has_issues = False
        case "rights":
            octo.github.repository().permissions["octo"] = "triage"
        case "token":
            octo.extra["GH_TOKEN"] = "ghp_refused"
        case _:
            octo.extra["CLAUDETM_FORGE"] = "local"
    ended = octo("monitor", "--source", "github", "--once", *octo.played(SESSION))
    assert ended.returncode == 1, ended
    assert sentence in " ".join(ended.stderr.split())
