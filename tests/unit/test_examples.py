"""The example of a state directory is a real one, of nobody's machine; the basic example is the built-in demo."""

from __future__ import annotations

import getpass
import hashlib
import json
import re
import socket
from pathlib import Path

import pytest

from claudetm.adapters.store.directory import render
from claudetm.workflow.stages import Phase
from generate_example import BASIC, EXAMPLE, HOME, ROOT, basic, example_run

FILES = sorted(p for p in EXAMPLE.rglob("*") if p.is_file())
TEXT = {str(p.relative_to(EXAMPLE)): p.read_text(encoding="utf-8") for p in FILES}
README = TEXT["README.md"]


def test_its_journal_tells_a_verified_run_with_a_receipt_for_each_criterion() -> None:
    run = example_run()
    assert run.phase is Phase.VERIFIED
    assert len(run.changes) == 2
    assert {i: r.verdict for i, r in run.receipts.items()} == {c.id: "holds" for c in run.plan.criteria}
    assert not run.open_sessions


def test_its_journal_tells_of_the_fix_the_conflict_and_the_answer() -> None:
    types = [json.loads(line)["type"] for line in TEXT["journal.jsonl"].splitlines()]
    assert {"ChecksFailed", "FixPushed", "ConflictFound", "BranchUpdated", "ReviewsAnswered"} <= set(types)


@pytest.mark.parametrize("name", sorted(render(example_run())))
def test_its_views_say_what_its_journal_says(name: str) -> None:
    assert TEXT[name] == render(example_run())[name], "run `make example`"


def test_what_the_run_points_to_is_there() -> None:
    receipts = [r for r in example_run().receipts.values() if r.command]
    assert len(receipts) == 2
    for receipt in receipts:
        assert hashlib.sha256((EXAMPLE / receipt.log).read_bytes()).hexdigest() == receipt.output_sha256
    logs = [json.loads(line).get("log") for line in TEXT["forge/journal.jsonl"].splitlines()]
    assert any(logs)
    assert {log.removeprefix(f"{HOME}/greet/.claude-task-master/") for log in logs if log} <= TEXT.keys()


@pytest.mark.parametrize("name", sorted(TEXT))
def test_nothing_in_it_is_of_a_machine_or_a_person(name: str) -> None:
    text = TEXT[name]
    roots = {path.split("/")[1] for path in re.findall(r'(?<![\w./~{}"<-])/\w[\w.-]*(?:/[\w.-]+)+', text)}
    assert roots <= {"home", "tmp", "usr", "bin", "dev"}
    assert re.findall(rf"/home/(?!{Path(HOME).name}\b)\w+", text) == []
    assert str(Path.home()) not in text
    if len(socket.gethostname()) > 3:
        assert socket.gethostname() not in text
    if getpass.getuser() not in {"root", "ada", "runner", "user"}:
        assert not re.search(rf"\b{re.escape(getpass.getuser())}\b", text)
    mails = re.findall(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+", text)
    assert {m for m in mails if not m.endswith("@example.org")} == set()


def test_it_is_small_and_nobody_drives_it() -> None:
    assert sum(p.stat().st_size for p in FILES) < 150_000
    assert "lock" not in TEXT


def test_its_readme_explains_each_file_and_none_that_is_not_there() -> None:
    explained = set(re.findall(r"^\| `([^`]+)` \|", README, re.MULTILINE))
    tops = {name.split("/")[0] + ("/" if "/" in name else "") for name in TEXT} - {"README.md"}
    assert {e.split("/")[0] + ("/" if "/" in e else "") for e in explained} == tops
    for pattern in explained:
        assert list(EXAMPLE.glob(pattern)), pattern


@pytest.mark.parametrize("name", sorted(basic()))
def test_the_basic_example_is_the_built_in_demo(name: str) -> None:
    assert (BASIC / name).read_text(encoding="utf-8") == basic()[name], "run `make example`"


def test_the_basic_example_points_to_pages_that_are_there() -> None:
    readme = (BASIC / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", readme):
        assert (BASIC / target).exists(), target
    assert ROOT in BASIC.parents
