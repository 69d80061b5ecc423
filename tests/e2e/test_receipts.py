"""`claudetm status --criteria` in a real repository: the receipts, and what has happened to the target since."""

from __future__ import annotations

from pathlib import Path

import pytest

from claudetm.adapters.store.directory import StateDirectory
from claudetm.adapters.store.journal import encode
from claudetm.plan.model import Criterion
from claudetm.workflow import events as e
from story import Story, plan
from terminal import Terminal, terminal

pytestmark = pytest.mark.e2e


@pytest.fixture
def person(tmp_path: Path) -> Terminal:
    """Return where a run was verified, at the commit that main stands at."""
    person = terminal(tmp_path)
    tip = person.git("rev-parse", "HEAD").strip()
    told = plan(criteria=(Criterion("k1", "It works", "make test"),))
    story = Story(e.RunStarted("r1", "Make it work", "main", tip), e.NothingToDo(type(told)((), told.criteria)))
    receipt = e.CriterionChecked("k1", "holds", tip, "make test", 0, "a" * 64, "logs/criteria/k1.txt")
    story.tell(receipt, e.GoalVerified(tip, "nothing to land"))
    state = StateDirectory(person.state)
    state.create(person.here / ".git")
    state.journal.write_bytes(b"".join(map(encode, story.records)))
    return person


def test_the_receipt_stands_while_the_target_does_and_says_when_it_has_moved_on(person: Terminal) -> None:
    told = person("status", "--criteria")
    assert (told.returncode, told.stderr) == (0, "")
    for fact in (
        "k1 holds: It works",
        "command   make test",
        "exit code 0",
        "sha256    " + "a" * 64,
        "logs/criteria",
    ):
        assert fact in told.stdout
    assert "now at" not in told.stdout
    person.git("commit", "-q", "--allow-empty", "-m", "Go on")
    tip = person.git("rev-parse", "HEAD")[:10]
    assert f"The target is now at {tip} (main)" in person("status", "--criteria").stdout
    person.git("switch", "-q", "-c", "elsewhere")
    person.git("branch", "-q", "-D", "main")
    gone = person("status", "--criteria")
    assert (gone.returncode, "now at" in gone.stdout, gone.stderr) == (0, False, "")


def test_looking_at_receipts_loads_nothing_heavy(person: Terminal) -> None:
    ended = person("status", "--criteria", PYTHONPROFILEIMPORTTIME="1")
    loaded = {line.rsplit("|", 1)[1].strip() for line in ended.stderr.splitlines() if line.startswith("import time:")}
    assert "claudetm.cli.receipts" in loaded
    assert not loaded & {"claude_agent_sdk", "github", "git", "fastapi", "pydantic", "asyncio"}


def test_clean_leaves_the_receipts_in_history(person: Terminal) -> None:
    log = person.state / "logs" / "criteria" / "k1.txt"
    log.parent.mkdir(parents=True)
    log.write_text("3 passed\n")
    assert person("clean", "-f").returncode == 0
    kept = person.state / "history" / "r1"
    assert "## k1: It works\n\n- Verdict: holds" in (kept / "receipts.md").read_text()
    assert (kept / "logs" / "criteria" / "k1.txt").read_text() == "3 passed\n"
