"""`progress`, `context`, `say` and `undo` through the real entry point, on a run whose driver died in its work."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from claudetm.adapters.store.directory import StateDirectory
from claudetm.adapters.store.journal import encode
from terminal import Terminal, bytes_of, terminal
from world import World, answered, honest, proposal, task, work

pytestmark = pytest.mark.e2e

LEARNED = "The parser keeps its state_of_things in *one* `place`, parser.py [sic]: " + "and all of it matters " * 5
LONG = "Greet people in every language that anybody has ever spoken, and say goodbye to them in it too"


@pytest.fixture
def person(tmp_path: Path) -> Terminal:
    return terminal(tmp_path)


@pytest.fixture
def halted(person: Terminal) -> Terminal:
    """A run of two changes whose driver died after its first pull request was merged."""

    async def learns(world: World, request: object) -> object:
        report = await honest(world, request)  # type: ignore[arg-type]
        return answered(work(learnings=[LEARNED])) if report.answer and "checks" in report.answer else report

    first = {"id": "c1", "title": LONG, "why": "They like it.", "tasks": [task("Say hello"), task("Say bye")]}
    second = {"id": "c2", "title": "Shout", "why": "Loud.", "tasks": [task("Shout")]}
    world = World(proposal(first, second), play=learns)  # type: ignore[arg-type]
    asyncio.run(world.drive())
    records = world.records
    end = next(n for n, r in enumerate(records, 1) if r.type == "PullRequestMerged")
    state = StateDirectory(person.state)
    state.create(person.here / ".git")
    state.journal.write_bytes(b"".join(map(encode, records[:end])))
    state.lock.touch()
    return person


def narrow(text: str) -> bool:
    return all(len(line) <= 80 for line in text.splitlines())


def test_progress_shows_what_is_done_and_left_in_eighty_columns(halted: Terminal) -> None:
    shown = halted("progress")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert narrow(shown.stdout), shown.stdout
    text = " ".join(shown.stdout.split())
    assert "- Changes settled: 1 of 2 - Tasks done: 2 of 3" in text
    assert f"- c1 {LONG}: merged, 2 of 2 tasks, #1 - c2 Shout: queued, 0 of 1 tasks" in text
    data = json.loads(halted("progress", "--json").stdout)
    assert (data["phase"], data["tasks"]) == ("working", {"done": 2, "total": 3})
    assert [c["stage"] for c in data["changes"]] == ["merged", "queued"]


def test_what_was_learned_and_said_is_shown_in_eighty_columns(halted: Terminal) -> None:
    assert halted("say", "Use the existing parser").stdout == "say: done\n"
    shown = halted("context")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert narrow(shown.stdout), shown.stdout
    assert LEARNED.strip() in " ".join(shown.stdout.split())
    assert shown.stdout.splitlines()[-1] == "- Use the existing parser"
    assert json.loads(halted("context", "--json").stdout) == {
        "learnings": [LEARNED.strip()],
        "said": ["Use the existing parser"],
    }


@pytest.mark.parametrize("arguments", [("say", ""), ("say", " \n "), ("say", b"\xff"), ("say",), ("say", "a", "b")])
def test_words_that_are_none_are_refused(halted: Terminal, arguments: tuple[str | bytes, ...]) -> None:
    before = bytes_of(halted.here)
    refused = halted(*arguments)
    assert (refused.returncode, len(refused.stderr.splitlines())) == (1, 1), refused
    assert bytes_of(halted.here) == before


def test_what_was_set_aside_is_listed_and_becomes_a_branch(person: Terminal) -> None:
    assert person("undo").stdout == "There are no snapshots: nothing has been set aside.\n"
    assert person("undo", "--json").stdout == "[]\n"
    commit = person.git("rev-parse", "HEAD").strip()
    ref = "refs/claudetm/1121-1523-abcd/snapshots/c1-1"
    person.git("update-ref", ref, commit)
    listed = person("undo")
    assert listed.stdout.splitlines()[0] == ref
    assert "Greet people by name" in listed.stdout.splitlines()[1]
    assert narrow(listed.stdout)
    [found] = json.loads(person("undo", "--json").stdout)
    assert (found["snapshot"], found["commit"], found["why"]) == (ref, commit, "Greet people by name")
    made = json.loads(person("undo", "c1-1", "--branch", "rescue", "--json").stdout)
    assert made == {"branch": "rescue", "commit": commit}
    assert person.git("rev-parse", "rescue").strip() == commit


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("c1-9",), "no snapshot c1-9"),
        (("c1-1",), "more than one snapshot c1-1"),
        (("c1-2", "--branch", "main"), "The branch main is there already"),
        (("c1-2", "--branch", "main/rescue"), "The branch main is there already"),
        (("c1-2", "--branch=-x"), "cannot be a branch"),
        (("--branch", "rescue"), "--branch needs a snapshot"),
    ],
    ids=str,
)
def test_an_undo_that_cannot_be_is_refused(person: Terminal, arguments: tuple[str, ...], says: str) -> None:
    for run, name in (("r1", "c1-1"), ("r2", "c1-1"), ("r2", "c1-2")):
        person.git("update-ref", f"refs/claudetm/{run}/snapshots/{name}", "HEAD")
    before = person.git("for-each-ref")
    refused = person("undo", *arguments)
    assert (refused.returncode, len(refused.stderr.splitlines())) == (1, 1), refused
    assert says in refused.stderr
    assert person.git("for-each-ref") == before


def test_outside_of_a_run_each_says_so(person: Terminal) -> None:
    for command in (("progress",), ("context", "--json"), ("say", "hello")):
        refused = person(*command)
        assert refused.returncode == 1
        assert "There is no run in" in refused.stderr
