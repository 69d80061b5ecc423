"""`claudetm plan`, `plan edit`, `plan approve` and `plan reject`, through real processes; mostly without a driver."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from claudetm.adapters.store.directory import StateDirectory
from claudetm.adapters.store.journal import encode
from claudetm.adapters.store.lock import acquire
from claudetm.workflow.policy import Policy
from terminal import SCENARIOS, Terminal, terminal, wait_for
from world import World, proposal, task

pytestmark = pytest.mark.e2e

ONE = {"id": "c1", "title": "Greet people", "tasks": [task("Say hello"), task("Say bye")]}
AT_A_TERMINAL = (
    sys.executable,
    "-c",
    "import pty, subprocess, sys; sys.exit(subprocess.run(sys.argv[1:], stdin=pty.openpty()[1]).returncode)",
)
TWO = {"id": "c2", "title": "Sing", "tasks": [task("Sing")]}


def lay(person: Terminal, world: World, upto: str = "") -> Terminal:
    """Lay a run of the memory world down where a driver would have left it, up to the first event of a kind."""
    asyncio.run(world.drive())
    records = list(world.records)
    if upto:
        records = records[: world.events.index(upto) + 1]
    state = StateDirectory(person.state)
    state.create(person.here / ".git")
    state.journal.write_bytes(b"".join(encode(r) for r in records))
    state.lock.touch()
    return person


@pytest.fixture
def person(tmp_path: Path) -> Terminal:
    return terminal(tmp_path)


@pytest.fixture
def waiting(person: Terminal) -> Terminal:
    """A run that waits for its plan's approval."""
    return lay(person, World(plan=proposal(ONE, TWO), policy=Policy(self_review=False, approve_plan=True)))


@pytest.fixture
def working(person: Terminal) -> Terminal:
    """A run whose driver died in the first task."""
    return lay(person, World(plan=proposal(ONE, TWO)), upto="TaskStarted")


def plan_of(person: Terminal) -> dict[str, Any]:
    printed = person("plan", "--json")
    assert printed.returncode == 0, printed
    found: dict[str, Any] = json.loads(printed.stdout)
    return found


def hand_in(person: Terminal, plan: object) -> tuple[int, str, str]:
    ended = person("plan", "edit", "--file", "-", said=json.dumps(plan).encode())
    return ended.returncode, ended.stdout, ended.stderr


def edit(person: Terminal, script: str) -> subprocess.CompletedProcess[str]:
    """Edit the plan in an editor that changes the draft `path` by Python."""
    path = person.home / "editor.py"
    path.write_text(
        "#!/usr/bin/env python3\nimport pathlib, sys\npath = pathlib.Path(sys.argv[-1])\n"
        f"log = pathlib.Path({str(person.home / 'seen.txt')!r})\n"
        f"seen = log.read_text().count('=====') if log.exists() else 0\ntext = path.read_text()\n"
        "log.open('a').write('=====\\n' + text)\n" + script
    )
    path.chmod(0o755)
    person.extra["EDITOR"] = f"{path} --wait"
    return person("plan", "edit", wrap=AT_A_TERMINAL)


def drafts(person: Terminal) -> list[Path]:
    return list(person.state.glob("plan-*.yaml"))


# --- looking, and scripts --------------------------------------------------------------------------------------


def test_the_plan_is_shown_in_lines_that_fit(person: Terminal) -> None:
    long = {**TWO, "title": "Sing " + "a very long song " * 12, "tasks": [task("Sing " + "and sing again " * 12)]}
    shown = lay(person, World(plan=proposal(ONE, long)), upto="TaskStarted")("plan").stdout
    assert max(map(len, shown.splitlines())) <= 80
    assert " ".join("sing again and" for _ in range(3)) in " ".join(shown.split())


def test_a_script_edits_the_plan_and_the_run_goes_by_it(waiting: Terminal) -> None:
    assert "## c2: Sing (queued)" in waiting("plan").stdout
    plan = plan_of(waiting)
    code, out, _ = hand_in(waiting, plan)
    assert (code, out) == (0, "plan edit: nothing changed\n")
    plan["changes"] = [plan["changes"][1], {"title": "Dance", "tasks": [{"title": "Dance"}]}]
    plan["criteria"].append({"text": "There is a `dance`", "command": "true"})
    code, out, err = hand_in(waiting, plan)
    assert (code, err) == (0, "")
    assert out == "plan edit: done\nadded: c3\nremoved: c1\nadded: k2\nnext: claudetm resume\n"
    assert [c["title"] for c in plan_of(waiting)["changes"]] == ["Sing", "Dance"]
    stale = hand_in(waiting, plan)
    assert stale[0] == 1
    assert "## c2: Sing (queued)" in stale[1]
    assert "The plan has changed since" in stale[2]
    assert waiting.events()[-1]["type"] == "PlanEdited"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda p: p["changes"][1].update(depends_on=["c9"]), "Change c2 depends on c9, which is not in the plan"),
        (lambda p: p["changes"][1].update(depends_on=["c2"]), "depend on each other in a circle"),
        (lambda p: p["changes"][1].update(id="c1"), "The id c1 is used twice"),
        (lambda p: p["changes"].clear(), "The plan has no changes"),
        (lambda p: p["changes"][0]["tasks"][0].update(title="Else"), "that has started cannot be changed or moved"),
        (lambda p: p["criteria"].clear(), "criteria can be added, but none changed or removed"),
        (lambda p: p.update(based_on="x"), "does not say what it is based on"),
    ],
)
def test_an_edit_that_cannot_be_is_one_sentence_and_changes_nothing(
    working: Terminal, change: Any, says: str
) -> None:
    plan = plan_of(working)
    before = working.events()
    change(plan)
    code, out, err = hand_in(working, plan)
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert says in err
    assert working.events() == before


def test_what_has_begun_and_is_removed_is_dropped(working: Terminal) -> None:
    plan = plan_of(working)
    del plan["changes"][0]
    assert hand_in(working, plan)[:2] == (0, "plan edit: done\ndropped: c1\n")
    assert [e["type"] for e in working.events()[-2:]] == ["ChangeDropped", "PlanEdited"]


# --- the editor ------------------------------------------------------------------------------------------------


def test_an_editor_that_changes_nothing_leaves_nothing(working: Terminal) -> None:
    before = working.events()
    edited = edit(working, "")
    assert (edited.returncode, edited.stdout) == (0, "plan edit: nothing changed\n"), edited
    assert (working.events(), drafts(working)) == (before, [])
    assert "# begun: stays as it is" in (working.home / "seen.txt").read_text()


def test_the_editor_opens_again_on_what_cannot_be_taken_and_nothing_typed_is_lost(working: Terminal) -> None:
    script = (
        "head, _, tail = text.replace('title: Sing', 'title: Dance').rpartition('depends_on: []')\n"
        "if seen == 0: path.write_text(head + 'depends_on: [c9]' + tail)\n"
        "else: path.write_text(text.replace('[c9]', '[c1]'))\n"
    )
    edited = edit(working, script)
    assert (edited.returncode, edited.stdout) == (0, "plan edit: done\nchanged: c2\n"), edited
    seen = (working.home / "seen.txt").read_text()
    assert "# NOT TAKEN:" in seen.split("=====")[2]
    second = plan_of(working)["changes"][1]
    assert (second["title"], second["depends_on"]) == ("Dance", ["c1"])
    assert drafts(working) == []


def test_a_person_who_gives_up_finds_the_draft_again(working: Terminal) -> None:
    before = working.events()
    script = "path.write_text(text.replace('title: Sing', 'titel: Sing'))\n"
    edited = edit(working, script)
    assert (edited.returncode, len(edited.stderr.splitlines())) == (1, 1), edited
    assert "did you mean title?" in edited.stderr
    [draft] = drafts(working)
    assert f"claudetm plan edit --file {draft}" in edited.stderr
    assert "titel: Sing" in draft.read_text()
    assert working.events() == before
    draft.write_text(draft.read_text().replace("titel: Sing", "title: Dance"))
    assert working("plan", "edit", "--file", str(draft)).stdout == "plan edit: done\nchanged: c2\n"


@pytest.mark.parametrize("wrap", [(), AT_A_TERMINAL])
def test_an_editor_that_only_ever_writes_what_cannot_be_taken_is_not_opened_for_ever(
    working: Terminal, wrap: tuple[str, ...]
) -> None:
    before = working.events()
    working.extra["EDITOR"] = "sh -c 'echo garbage > $0'"
    edited = working("plan", "edit", wrap=wrap)
    assert (edited.returncode, edited.stdout, len(edited.stderr.splitlines())) == (1, "", 1), edited
    [draft] = drafts(working)
    assert f"claudetm plan edit --file {draft}" in edited.stderr
    assert draft.read_text() == "garbage\n"
    assert working.events() == before


def test_a_plan_that_changed_meanwhile_is_shown_and_the_draft_kept(working: Terminal) -> None:
    other = plan_of(working)
    other["changes"][1]["title"] = "Hum"
    (working.home / "other.json").write_text(json.dumps(other))
    script = (
        "import subprocess\n"
        f"subprocess.run(['claudetm', 'plan', 'edit', '--file', {str(working.home / 'other.json')!r}], check=True)\n"
        "path.write_text(text.replace('title: Sing', 'title: Dance', 1))\n"
    )
    edited = edit(working, script)
    assert edited.returncode == 1
    assert "## c2: Hum (queued)" in edited.stdout
    assert f"set based_on to {plan_of(working)['based_on']}; your draft is kept" in edited.stderr
    assert "title: Dance" in drafts(working)[0].read_text()


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"EDITOR": "false"}, "false ended with exit code 1"),
        ({"VISUAL": "no-such-editor", "EDITOR": "true"}, "no-such-editor cannot be started"),
    ],
)
def test_an_editor_that_fails_changes_nothing(working: Terminal, environment: dict[str, str], says: str) -> None:
    before = working.events()
    working.extra.update(environment)
    edited = working("plan", "edit")
    assert (edited.returncode, len(edited.stderr.splitlines())) == (1, 1)
    assert says in edited.stderr
    assert working.events() == before


# --- approve and reject ----------------------------------------------------------------------------------------


def test_a_plan_is_approved_or_rejected_while_it_waits_only(waiting: Terminal) -> None:
    assert waiting("plan", "reject", " ").stderr.startswith("claudetm: The reason is empty; say what is wrong")
    rejected = waiting("plan", "reject", "No singing")
    assert (rejected.returncode, rejected.stdout) == (0, "plan reject: done\nnext: claudetm resume\n")
    assert waiting.events()[-1]["data"] == {"reason": "No singing"}
    for what in ("approve", "edit"):
        refused = waiting("plan", what)
        assert (refused.returncode, len(refused.stderr.splitlines())) == (1, 1)
        assert "while the run is planning" in refused.stderr or "the run is planning" in refused.stderr


def test_an_approved_plan_is_worked_next(waiting: Terminal) -> None:
    assert waiting("plan", "approve").stdout == "plan approve: done\nnext: claudetm resume\n"
    assert waiting.events()[-1]["type"] == "PlanApproved"
    assert "the run is working" in waiting("plan", "reject", "Too late").stderr


# --- a live driver ---------------------------------------------------------------------------------------------


def test_a_live_driver_takes_an_edit_between_its_steps(person: Terminal) -> None:
    process = person.begin("start", "Greet loudly", "--rehearse", str(SCENARIOS / "loud.yaml"), "--no-review")
    wait_for(lambda: [e for e in person.events() if e["type"] == "TaskStarted"], "work")
    plan = plan_of(person)
    del plan["changes"][0]["tasks"][1]
    code, out, err = hand_in(person, plan)
    assert (code, out) == (0, "plan edit: done\nchanged: c1\n"), err
    assert process.wait(60) == 0, person.output()
    assert [e["data"]["task"] for e in person.events() if e["type"] == "TaskFinished"] == ["c1.t1"]


def test_a_driver_that_does_not_answer_finds_the_edit_later(working: Terminal) -> None:
    with acquire(working.state / "lock", "r1"):
        edited = edit(working, "path.write_text(text.replace('title: Sing', 'title: Dance', 1))\n")
    assert (edited.returncode, edited.stderr) == (0, "")
    [draft] = drafts(working)
    assert edited.stdout.splitlines() == [
        "plan edit: queued: the driver takes it at its next step",
        "changed: c2",
        f"your draft is kept: {draft}",
    ]
    [command] = (working.state / "inbox").glob("*.json")
    assert json.loads(command.read_text())["name"] == "edit_plan"


def test_yaml_is_what_an_editor_shows(working: Terminal) -> None:
    edit(working, "")
    shown = yaml.safe_load((working.home / "seen.txt").read_text().removeprefix("=====\n"))
    assert [c["id"] for c in shown["changes"]] == ["c1", "c2"]
    assert shown["changes"][0]["depends_on"] == []
