"""Sessions and questions on the real SDK, the real CLI and real git, with only the model scripted."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from claudetm.adapters.store.journal import FileJournal
from claudetm.workflow.run import Run, fold
from integration.git_server import TOKEN, GitServer, serving
from integration.repositories import commit, git
from terminal import Terminal, terminal

pytestmark = pytest.mark.e2e

PLAYED = str(Path(__file__).parent / "scenarios" / "session.yaml")
TASK = "/clear and see @README.md\n\nLet greet('') greet a stranger."
DRIVE = """
import asyncio, json, sys
from pathlib import Path
from claudetm.bootstrap.driving import Screen, drive
from claudetm.bootstrap.opening import Wish, begin, reopen
from claudetm.cli.views import outcome
from claudetm.errors import ClaudetmError
from claudetm.workflow.stages import Mode

given = json.loads(sys.argv[1])
try:
    wish = Wish(**{**given, "mode": Mode(given["mode"])}) if given else None
    opened = begin(wish, Path.cwd(), print) if wish else reopen(Path.cwd())
    try:
        print(outcome(opened.run, asyncio.run(drive(opened, Screen(), None if wish else {}))))
    finally:
        opened.close()
except ClaudetmError as error:
    sys.exit(str(error))
"""


@pytest.fixture
def person(tmp_path: Path) -> Terminal:
    return terminal(tmp_path)


def drive(person: Terminal, **wish: Any) -> subprocess.CompletedProcess[str]:
    """Begin what is wished for and drive it to its end; without a wish, carry on what is there."""
    given = {"rehearsal": PLAYED, "goal": TASK, "mode": "session", **wish} if wish != {"resume": True} else {}
    return subprocess.run(
        [sys.executable, "-c", DRIVE, json.dumps(given)],
        cwd=person.here,
        env=person.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def run_of(person: Terminal) -> Run:
    return fold(FileJournal(person.state / "journal.jsonl").read())


def test_a_session_is_mended_after_a_bad_audit_and_kept_as_a_snapshot(person: Terminal) -> None:
    main, head = person.git("rev-parse", "main"), person.git("rev-parse", "HEAD")
    ended = drive(person, title="Greet strangers")
    assert ended.returncode == 0, ended.stderr
    run = run_of(person)
    roles = [e["data"]["role"] for e in person.events() if e["type"] == "SessionStarted"]
    assert roles == ["worker", "auditor", "worker", "auditor"]
    assert run.audit is not None
    assert run.kept is not None
    assert (run.audit.score, run.audit.passed, run.summary) == (
        95,
        True,
        "A stranger is greeted, and a test says so.",
    )
    assert f"done: the work is kept as {run.kept.ref}, scored 95 of 100" in ended.stdout
    subjects = person.git("log", "--format=%s", f"main..{run.kept.ref}").splitlines()
    assert subjects == ["Test that a stranger is greeted", "Greet a stranger"], "nothing of the auditor's is in it"
    assert (person.git("rev-parse", "main"), person.git("rev-parse", "HEAD")) == (main, head)
    assert person.git("status", "--porcelain") == ""
    assert person.git("for-each-ref", "--format=%(refname)", "refs/heads").split() == ["refs/heads/main"]
    status = person("status")
    assert "audit: 95 of 100; The docs could name it." in status.stdout
    assert "merged" not in status.stdout
    assert f"next: git diff {main[:10]} {run.kept.ref}" in status.stdout
    assert run.kept.ref in person("undo").stdout


def test_with_commits_the_branch_of_the_task_has_them_and_nothing_else_moves(person: Terminal) -> None:
    ended = drive(person, task="greet", commit=True)
    assert ended.returncode == 0, ended.stderr
    kept = run_of(person).kept
    assert kept is not None
    assert (kept.branch, kept.pushed) == ("claudetm/task/greet", False)
    assert person.git("rev-parse", "claudetm/task/greet").strip() == kept.commit
    heads = person.git("for-each-ref", "--format=%(refname:short)", "refs/heads").split()
    assert heads == ["claudetm/task/greet", "main"]
    again = drive(person, task="greet", commit=True)
    assert again.returncode == 1
    assert "The branch claudetm/task/greet has commits that main has not" in again.stderr


@pytest.mark.parametrize("point", ["before:8", "after:13", "before:22", "after:23"])
def test_killed_in_the_middle_it_is_carried_on_to_the_same_end(person: Terminal, point: str) -> None:
    person.extra["CLAUDETM_KILL_AT"] = point
    assert drive(person, title="x").returncode < 0
    del person.extra["CLAUDETM_KILL_AT"]
    ended = drive(person, resume=True)
    assert ended.returncode == 0, ended.stderr
    run = run_of(person)
    assert run.kept is not None
    subjects = person.git("log", "--format=%s", f"main..{run.kept.ref}").splitlines()
    assert subjects == ["Test that a stranger is greeted", "Greet a stranger"]
    assert [e["data"]["score"] for e in person.events() if e["type"].startswith("Audit")] == [40, 95]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    with serving(tmp_path_factory.mktemp("hosted")) as host:
        yield host


def at_github(person: Terminal, server: GitServer, token: str) -> Path:
    """Let the repository be one of a GitHub server on this machine; return what it is there."""
    name = person.here.parent.name
    there = server.create("acme", name, person.here)
    person.git("remote", "add", "origin", server.address("acme", name))
    person.extra |= {
        "CLAUDETM_GITHUB_API_URL": f"{server.url}/api/v3",
        "GH_TOKEN": token,
        "GH_ENTERPRISE_TOKEN": token,
    }
    return there


def test_a_pushed_branch_is_at_the_remote_and_the_target_stays_where_it_was(
    person: Terminal, server: GitServer
) -> None:
    there = at_github(person, server, TOKEN)
    git(person.here.parent, "clone", "-q", str(there), "colleague")
    before = commit(person.here.parent / "colleague", {"theirs.txt": "theirs\n"})
    git(person.here.parent / "colleague", "push", "-q", "origin", "HEAD:main")
    settings = {"session.audit": False, "forge": "github"}
    ended = drive(person, task="greet", commit=True, push=True, settings=settings)
    assert ended.returncode == 0, ended.stderr
    assert run_of(person).base == before, "it begins at what the remote has, though nobody has fetched it here"
    kept = run_of(person).kept
    assert kept is not None
    assert (kept.branch, kept.pushed) == ("claudetm/task/greet", True)
    assert git(there, "rev-parse", "claudetm/task/greet") == kept.commit
    assert git(there, "rev-parse", "main") == before
    assert "the work is kept on claudetm/task/greet and pushed" in ended.stdout
    assert TOKEN not in (person.state / "journal.jsonl").read_text()


@pytest.mark.parametrize(("token", "why"), [("", "there is no token for"), ("ghp_reader", ""), ("ghp_unknown", "")])
def test_a_push_that_nobody_is_let_in_for_is_refused_at_the_start(
    person: Terminal, server: GitServer, token: str, why: str
) -> None:
    at_github(person, server, token)
    refused = drive(person, task="greet", commit=True, push=True)
    assert refused.returncode == 1
    assert why in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1, refused.stderr
    assert not person.state.exists()


def test_work_that_stays_below_the_threshold_is_kept_and_said_to_be_insufficient(person: Terminal) -> None:
    ended = drive(person, settings={"session.threshold": 99, "session.rounds": 2})
    run = run_of(person)
    hold = run.changes["c1"].hold
    assert hold is not None
    assert hold.reason.startswith("the audit gives 95 of 100 after 2 rounds, and 99 are wanted")
    assert "blocked: c1: the audit gives 95 of 100" in ended.stdout
    assert "stranger" in person.git("show", f"{run.snapshot}:greet/greet.py")


def test_a_question_is_answered_and_nothing_is_left_in_the_repository(person: Terminal) -> None:
    before = person.git("for-each-ref")
    ended = drive(person, goal="/help Where is @greet defined?", mode="question")
    assert ended.returncode == 0, ended.stderr
    run = run_of(person)
    assert run.answer == "greet() is in greet/greet.py."
    assert [e["type"] for e in person.events()].count("SessionStarted") == 1
    assert person.git("for-each-ref") == before
    assert person.git("status", "--porcelain") == ""
    assert "greet() is in greet/greet.py." in person("status").stdout


def test_what_a_session_could_never_do_is_refused_before_anything_is_written(person: Terminal) -> None:
    (person.here / ".claude" / "skills" / "tidy").mkdir(parents=True)
    (person.here / ".claude" / "skills" / "tidy" / "SKILL.md").write_text("---\nname: tidy\n---\nTidy.\n")
    person.git("add", "-A")
    person.git("commit", "-q", "-m", "A skill")
    trusted = {"trust_project_settings": True}
    for wish, why in (
        ({"push": True}, "Work that is not committed cannot be pushed"),
        ({"push": True, "commit": True}, "There is no remote to push to"),
        ({"skill": "tidy"}, "pass --trust-project-settings, or set trust_project_settings"),
        ({"skill": "../x"}, "'../x' cannot be a skill's name"),
        ({"skill": "none", "settings": trusted}, "The project has no skill none at"),
        ({"criteria": ["It works"]}, "A session takes no criterion, which is a goal's alone"),
        ({"mode": "question", "skill": "tidy"}, "A question takes no skill, which is a session's alone"),
        ({"mode": "goal", "commit": True}, "A goal takes no commit to keep, which is a session's alone"),
    ):
        refused = drive(person, **wish)
        assert (refused.returncode, person.events()) == (1, []), wish
        assert why in refused.stderr
    assert not person.state.exists()


def test_a_skill_of_a_trusted_project_goes_into_the_prompt_and_the_tools(person: Terminal) -> None:
    folder = person.here / ".claude" / "skills" / "tidy"
    folder.mkdir(parents=True)
    (folder / "SKILL.md").write_text("---\nname: tidy\ndescription: How\n---\nTidy.\n")
    person.git("add", "-A")
    person.git("commit", "-q", "-m", "A skill")
    ended = drive(person, skill="tidy", settings={"trust_project_settings": True, "session.audit": False})
    assert ended.returncode == 0, ended.stderr
    started = person.state / "logs"
    prompts = [p.read_text() for p in started.rglob("*.jsonl")]
    assert any("Use the project's skill `tidy`" in text for text in prompts)
    assert run_of(person).landed.endswith(", not audited")
