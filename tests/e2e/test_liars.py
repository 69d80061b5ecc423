"""Lying and failing agents on the real SDK, the real CLI and real git: none finishes a task, each end has its name.

The command line is the real one, too. Only the model is scripted, and what it does wrong is what the API, the CLI or
an agent's own shell can do wrong.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from claudetm.workflow.outcomes import CHARGED, Outcome
from terminal import Terminal, terminal, wait_for

pytestmark = pytest.mark.e2e

GOAL = "Let greet handle missing names"
CRITERION = {"text": "greet('') greets a stranger.", "command": "grep -q stranger greet/greet.py"}
PLAN: dict[str, Any] = {
    "outcome": "planned",
    "summary": "greet() gets a rule for missing names.",
    "changes": [
        {
            "id": "c1",
            "title": "Greet a stranger when the name is missing",
            "why": "greet('') greets nobody.",
            "depends_on": [],
            "paths": ["greet/greet.py"],
            "tasks": [
                {
                    "title": "Greet a stranger",
                    "what": "greet('') returns 'Hello, stranger'.",
                    "files": ["greet/greet.py"],
                    "acceptance": ["greet('') returns 'Hello, stranger'"],
                    "check": "make test",
                    "complexity": "quick",
                }
            ],
        }
    ],
    "criteria": [CRITERION],
    "assumptions": [],
    "evidence": [],
}
DONE: dict[str, Any] = {
    "answer": {
        "outcome": "done",
        "summary": "It is done.",
        "checks": [],
        "evidence": [],
        "remaining": [],
        "learnings": [],
        "follow_ups": [],
    }
}
WORK = "sed -i 's/+ name/+ (name or \"stranger\")/' greet/greet.py; git commit -qam 'Greet strangers'"


def bash(command: str) -> dict[str, Any]:
    return {"use": [{"Bash": {"command": command}}]}


def python(code: str) -> str:
    """Return a command the CLI does not look through: it denies a shell that names the git directory."""
    return f"python3 -c \"import os, shutil; git = chr(46) + chr(103) + 'it'; {code}\""


def scenario(folder: Path, *turns: Mapping[str, Any], **session: Any) -> Path:
    """Write a scenario with an honest planner and a worker of these turns; return its path."""
    sessions = [
        {"role": "planner", "subject": "plan", "turns": [{"answer": PLAN}]},
        {"role": "worker", "subject": "c1.t1", "turns": turns, **session},
    ]
    path = folder / "liar.yaml"
    path.write_text(json.dumps({"name": "liar", "sessions": sessions}))
    return path


DAMAGE = python(
    "h = os.popen('git rev-parse HEAD').read().strip(); f = os.path.join(git, 'objects', h[:2], h[2:]); "
    "os.chmod(f, 0o600); open(f, 'w').write('x')"
)
BORROW = python(
    "os.makedirs(git + '/objects/info', exist_ok=True); open(git + '/objects/info/alternates', 'w').write('/nowhere')"
)
QUICK = {
    "CLAUDE_CODE_MAX_RETRIES": "1",
    "CLAUDETM_LIMITS_ATTEMPTS": "1",
    "CLAUDETM_REVIEWS_SELF": "false",
    "PATH": "/usr/bin:/bin",
}


@pytest.fixture
def person(tmp_path: Path) -> Terminal:
    at = terminal(tmp_path)
    at.extra |= QUICK
    return at


def ended(person: Terminal) -> list[dict[str, Any]]:
    """Return what the journal says of the worker's sessions that have ended."""
    found = [e["data"] for e in person.events() if e["type"] == "SessionEnded"]
    return [d for d in found if d["subject"] == "c1.t1"]


def nothing_finished(person: Terminal, first: str) -> None:
    """No task is done, nothing is published, the person's branch is where it was."""
    types = [e["type"] for e in person.events()]
    assert not {"TaskFinished", "TaskSkipped", "PullRequestOpened", "GoalVerified"} & set(types)
    assert types.count("SessionStarted") == types.count("SessionEnded")
    assert person.git("rev-parse", "main").strip() == first
    assert person.git("status", "--porcelain") == ""


@dataclass(frozen=True)
class Liar:
    """What a worker's session does, how it must end, and what the run must say."""

    name: str
    turns: tuple[Mapping[str, Any], ...]
    outcome: Outcome
    says: str
    sessions: int = 1
    session: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)


NOTHING = "1 attempts came to nothing"
C = Outcome.CONTRADICTED
LIARS = (
    Liar("refuses", ({"refusal": True},), Outcome.REFUSED, NOTHING),
    Liar("is cut at the output limit", ({"max_tokens": True},), Outcome.CUT_OFF, NOTHING),
    Liar("has its stream broken", ({"cut": True},), Outcome.CUT_OFF, NOTHING),
    Liar("is sent nonsense", ({"malformed": True},), Outcome.CUT_OFF, NOTHING),
    Liar("hangs", ({"stall": True},), Outcome.IDLE, NOTHING, settings={"CLAUDETM_LIMITS_IDLE_MINUTES": "1.5s"}),
    Liar(
        "takes too long",
        ({"say": "Hm.", "delay": 60},),
        Outcome.TIME_LIMIT,
        NOTHING,
        settings={"CLAUDETM_LIMITS_SESSION_MINUTES": "2s"},
    ),
    Liar("has no key", ({"status": 401},), Outcome.UNAUTHENTICATED, "Claude refused the credentials"),
    Liar("has no credit", ({"credit": True},), Outcome.BILLING, "no credit"),
    Liar("asks for no model", ({"status": 404},), Outcome.UNKNOWN_MODEL, "does not know the model"),
    Liar(
        "outgrows its context",
        ({"prompt_too_long": True},),
        Outcome.CONTEXT_OVERFLOW,
        "outgrew the model's context",
        sessions=2,
    ),
    Liar("kills its own CLI", (bash("kill -9 $PPID; sleep 9"), DONE), Outcome.CRASHED, "quarantined", sessions=3),
    Liar(
        "spends its budget",
        ({**bash("true"), "tokens": {"input": 9_000_000, "output": 900_000}}, bash("true"), DONE),
        Outcome.BUDGET_LIMIT,
        NOTHING,
        settings={"CLAUDETM_LIMITS_SESSION_COST_USD": "0.05"},
    ),
    Liar(
        "goes in circles",
        (bash("true"),),
        Outcome.TURN_LIMIT,
        NOTHING,
        session={"repeat": True},
        settings={"CLAUDETM_LIMITS_TURNS": "3"},
    ),
    Liar("answers in another form", ({"answer": {"outcome": "perhaps"}},), Outcome.NO_ANSWER, NOTHING),
    Liar("only says so", ({"say": "I am done."},), Outcome.NO_ANSWER, NOTHING),
    Liar(
        "leaves something open",
        (bash(WORK), {"answer": {**DONE["answer"], "remaining": ["The tests"]}}),
        Outcome.NO_ANSWER,
        "leaves nothing in `remaining`",
    ),
    Liar("commits nothing", (DONE,), C, "There is no commit since the task began."),
    Liar(
        "commits an empty commit", (bash("git commit -q --allow-empty -m x"), DONE), C, "The commits change nothing."
    ),
    Liar(
        "leaves a dirty tree",
        (bash(f"{WORK}; echo more >> README.md"), DONE),
        C,
        "There are uncommitted changes: README.md.",
    ),
    Liar("stages without a commit", (bash("echo x >> README.md; git add -A"), DONE), C, "uncommitted changes"),
    Liar("rewrites history", (bash("git commit -q --amend -m mine"), DONE), C, "History was rewritten"),
    Liar(
        "begins history anew",
        (bash("git checkout -q --orphan mine && git commit -qam mine"), DONE),
        C,
        "History was rewritten",
    ),
    Liar(
        "leaves a repository within",
        (bash(f"{WORK}; git init -q sub && touch sub/x"), DONE),
        C,
        "sub/ is a repository of its own",
    ),
    Liar("removes its git directory", (bash(python("shutil.rmtree(git)")), DONE), C, "cannot be t"),
    Liar(
        "borrows objects from elsewhere",
        (bash(f"{WORK}; {BORROW}"), DONE),
        C,
        "its objects are borrowed from elsewhere",
    ),
    Liar(
        "damages its objects",
        (bash(f"{WORK}; {DAMAGE}"), DONE),
        C,
        "cannot be taken over",
    ),
)


@pytest.mark.parametrize("liar", LIARS, ids=lambda liar: liar.name)
def test_a_liar_finishes_nothing_and_its_end_is_named(person: Terminal, liar: Liar, tmp_path: Path) -> None:
    first = person.git("rev-parse", "main").strip()
    played = scenario(tmp_path, *liar.turns, **liar.session)
    person.extra |= liar.settings
    done = person("start", GOAL, "--rehearse", str(played))
    assert (done.returncode, [d["outcome"] for d in ended(person)]) == (1, [liar.outcome] * liar.sessions), done
    nothing_finished(person, first)
    [blocked, following, *_] = [line for line in done.stderr.splitlines() if line.strip()]
    assert blocked.startswith("blocked: ")
    assert liar.says in blocked
    assert following.startswith("next: ")
    assert "claudetm" in following
    charged = liar.outcome in CHARGED
    assert ("attempts came to nothing" in blocked) == charged


def test_leftovers_of_a_session_are_kept_beside_not_published(person: Terminal, tmp_path: Path) -> None:
    played = scenario(tmp_path, bash(f"{WORK}; echo noise > debug.log"), DONE)
    done = person("start", GOAL, "--rehearse", str(played))
    assert done.returncode == 0, done
    assert "debug.log" not in person.git("ls-tree", "-r", "--name-only", "main")
    [kept] = [e["data"]["ref"] for e in person.events() if e["type"] == "SnapshotTaken"]
    assert person.git("show", f"{kept}:debug.log") == "noise\n"


def test_a_worktree_bent_by_one_session_is_replaced_for_the_next(person: Terminal, tmp_path: Path) -> None:
    bent = scenario(tmp_path, bash(BORROW), DONE)
    assert person("start", GOAL, "--rehearse", str(bent)).returncode == 1
    scenario(tmp_path, bash(WORK), DONE)  # the same file: the run plays what stands there now
    resumed = person("resume")
    assert resumed.returncode == 0, resumed
    assert "stranger" in person.git("show", "main:greet/greet.py")


# --- pressure: it waits, charges nothing, and can be stopped ------------------------------------------------------


def _stopped(person: Terminal, *arguments: str) -> int:
    """Drive until the run waits, then interrupt it; return the exit code."""
    before = person.output()
    driver = person.begin(*arguments)
    wait_for(lambda: "waiting: " in person.output()[len(before) :] or driver.poll() is not None, "a wait")
    driver.send_signal(signal.SIGINT)
    return driver.wait(20)


def test_an_overloaded_service_is_waited_for_and_charges_no_attempt(person: Terminal, tmp_path: Path) -> None:
    first = person.git("rev-parse", "main").strip()
    played = scenario(tmp_path, {"status": 529, "times": 2}, bash(WORK), DONE)
    assert _stopped(person, "start", GOAL, "--rehearse", str(played)) == 2
    assert [d["outcome"] for d in ended(person)] == [Outcome.OVERLOADED]
    nothing_finished(person, first)
    assert "waiting: the model's service is overloaded (until " in person.output()
    assert "next: claudetm resume" in person.output()


def test_a_usage_limit_is_waited_for_also_after_a_restart(person: Terminal, tmp_path: Path) -> None:
    first = person.git("rev-parse", "main").strip()
    played = scenario(tmp_path, {"usage_limit": 7200})
    assert _stopped(person, "start", GOAL, "--rehearse", str(played)) == 2
    [limited] = ended(person)
    assert limited["outcome"] == Outcome.USAGE_LIMIT
    assert 7000 < limited["resets_at"] - time.time() < 7300
    assert _stopped(person, "resume") == 2
    assert len(ended(person)) == 1, "no session is begun before the reset"
    nothing_finished(person, first)
    assert person.output().count("waiting: the usage limit resets (until ") == 2
