"""A goal on GitHub, killed: the real program, SDK and CLI, real pushes. However it dies, the end is the same."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.test_github_lifecycle import CHECK, at_stage, clone, of, scenario
from github_double.double import Double
from github_double.state import Event, Protection
from terminal import Terminal

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]


@pytest.fixture
def github(tmp_path: Path) -> Iterator[Double]:
    with Double(tmp_path / "github") as double:
        double.create_repository(
            "acme/widgets",
            {"README.md": "hello\n", "Makefile": "test:\n\ttrue\n"},
            people={"octo": "write", "bob": "write"},
            protection=Protection(contexts=("test",)),
            allow_merge=False,
        )
        double.add_workflow("CI", {"test": CHECK})

        def remark(event: Event) -> None:
            if event.action == "opened":
                double.remark(event.number, "And strangers?", "bob", "loud.py", 1)

        double.state.listeners.append(remark)
        yield double


def killed(person: Terminal, moments: tuple[str, ...], issue: int) -> None:
    """Begin, and kill the driver as soon as each of these stands in its journal; the last one goes on to the end."""
    begin = ("start", "--from-issue", str(issue), "--forge", "github", "--rehearse", scenario(person))
    driver = person.begin(*begin)
    for moment in moments:
        at_stage(person, driver, moment)
        driver.kill()
        driver.wait(30)
        driver = person.begin("resume")
    assert driver.wait(150) == 0, person.output()[-4000:]


@pytest.mark.parametrize(
    "moments",
    [("TaskStarted", "PullRequestOpened", "FixPushed"), ("ChecksRerun", "ReviewsAnswered", "PullRequestMerged")],
    ids=" ".join,
)
def test_killed_as_soon_as_something_has_happened_it_comes_to_the_same_end(
    moments: tuple[str, ...], tmp_path: Path, github: Double
) -> None:
    issue = github.open_issue("Greet loudly", "People are hard of hearing.", "bob")
    person = clone(tmp_path, github, "octo")
    killed(person, moments, issue)
    assert_same_end(person, github, issue)


def test_killed_at_every_seventh_record_it_comes_to_the_same_end(tmp_path: Path, github: Double) -> None:
    issue = github.open_issue("Greet loudly", "People are hard of hearing.", "bob")
    person = clone(tmp_path, github, "octo")
    command = ["start", "--from-issue", str(issue), "--forge", "github", "--rehearse", scenario(person)]
    deaths = 0
    while not of(person, "GoalVerified"):
        person.extra["CLAUDETM_KILL_AT"] = f"after:{len(person.events()) + 7}"
        ended = person.begin(*command).wait(150)
        assert ended in {0, -signal.SIGKILL}, person.output()[-4000:]
        deaths += ended != 0
        command = ["resume"]
    assert deaths >= 4
    assert_same_end(person, github, issue)


def assert_same_end(person: Terminal, github: Double, issue: int) -> None:
    (pull,) = github.pulls()
    assert (pull.status, pull.merged_by) == ("MERGED", "octo")
    (thread,) = pull.threads
    assert (len(thread.comments), thread.resolved_by) == (2, "octo")
    assert github.comments(pull.number) == []
    assert github.tip(pull.head_ref) == ""
    assert github.issue(issue).state == "closed"
    assert len(person.git("--git-dir", str(github.path()), "rev-list", "main").split()) == 2  # squashed, once
    assert github.read("loud.py") == "def loud(name='you'): ..."
    assert next(r.attempt for r in github.runs("CI") if r.event == "pull_request") == 2
    assert [len(of(person, kind)) for kind in ("PullRequestOpened", "PullRequestMerged", "GoalVerified")] == [1, 1, 1]
