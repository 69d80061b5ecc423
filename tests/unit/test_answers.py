"""What each role may answer, what a refused answer is told, and what makes a plan go back."""

from __future__ import annotations

import asyncio
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from claudetm.plan.model import Change, Complexity, Criterion, Plan, Task, problems
from claudetm.ports.agent import Role
from claudetm.prompts.answers import (
    InvalidAnswer,
    PlannerAnswer,
    WorkerAnswer,
    findings,
    parse,
    plan_of,
    schema,
)
from claudetm.prompts.briefs import SessionBrief

TASK: dict[str, Any] = {
    "title": "Write the rows",
    "what": "One row an item.",
    "files": ["src/export.py"],
    "acceptance": ["`export` writes a line an item"],
    "complexity": "quick",
}
CHANGE: dict[str, Any] = {
    "id": "c1",
    "title": "Export invoices as CSV",
    "why": "Accountants",
    "depends_on": [],
    "paths": ["src"],
    "tasks": [TASK],
}
CHECK = {"command": "pytest", "exit_code": 0}
PLANNED: dict[str, Any] = {
    "outcome": "planned",
    "summary": "One change.",
    "changes": [CHANGE],
    "criteria": [{"text": "`export` exists", "command": "grep -q export src/export.py"}],
    "assumptions": [],
    "evidence": [],
}
WORK: dict[str, Any] = {
    "summary": "Done.",
    "checks": [CHECK],
    "evidence": [],
    "remaining": [],
    "learnings": [],
    "follow_ups": [],
}
BLOCKER = {"kind": "access", "needs": "a database", "tried": "sqlite"}
SPOT = {"path": "a.py", "line": 3, "command": "grep x a.py"}
FIXED: dict[str, Any] = {"outcome": "fixed", "cause": "A comma.", "reproduced": True, **WORK}
FINDING = {
    "path": "a.py",
    "line": 3,
    "severity": "blocking",
    "claim": "Drops a line.",
    "failure": "An empty file.",
    "confidence": "high",
}
SETTLED = {"path": "a.py", "kept": "both", "why": "Both are needed."}
JUDGED = {"criterion_id": "k1", "verdict": "holds", "evidence": ["a.py:3"]}

GOOD: dict[Role, list[dict[str, Any]]] = {
    Role.PLANNER: [
        PLANNED,
        PLANNED | {"outcome": "nothing_to_do", "changes": [], "evidence": ["a.py:1 has it"]},
        PLANNED | {"outcome": "blocked", "changes": []},
    ],
    Role.WORKER: [
        WORK | {"outcome": "done"},
        WORK | {"outcome": "unfinished", "remaining": ["the quotes"]},
        WORK | {"outcome": "blocked", "blocker": BLOCKER},
        WORK | {"outcome": "already_true", "evidence": [SPOT], "blocker": None},
    ],
    Role.FIXER: [
        FIXED,
        FIXED | {"outcome": "flaky"},
        FIXED | {"outcome": "not_ours"},
        FIXED | {"outcome": "unfinished", "remaining": ["the cause"]},
        FIXED | {"outcome": "blocked", "blocker": BLOCKER},
    ],
    Role.REVIEWER: [
        {"findings": [FINDING], "earlier": [{"id": "F1", "fixed": True}], "examined": ["a.py"]},
        {"findings": [], "earlier": [], "examined": ["a.py"]},
    ],
    Role.RESPONDER: [
        {"replies": [{"thread_id": "T1", "outcome": "fixed", "text": "Done in a.py."}], "checks": [CHECK]}
    ],
    Role.UPDATER: [
        {"outcome": "resolved", "files": [SETTLED], "checks": [CHECK]},
        {"outcome": "blocked", "files": [SETTLED | {"kept": "undecided"}], "checks": []},
    ],
    Role.VERIFIER: [
        {"results": [JUDGED, {"criterion_id": "k2", "verdict": "unproven", "evidence": [], "missing": "a display"}]}
    ],
    Role.AUDITOR: [
        {"score": 55, "notes": "No test.", "findings": ["a.py:3: drops a line"], "examined": ["pytest"]},
        {"score": 100, "notes": "", "findings": [], "examined": ["a.py"]},
    ],
    Role.ANALYST: [{"answer": "It does.", "evidence": ["a.py:3: return True"]}],
}
EVERY = [pytest.param(role, answer, id=f"{role}-{n}") for role, all_ in GOOD.items() for n, answer in enumerate(all_)]


# --- schemas -----------------------------------------------------------------------------------------------------

KEYWORDS = {"type", "properties", "required", "additionalProperties", "items", "enum", "anyOf", "$ref", "$defs"}


def keywords(node: Any) -> Iterator[str]:
    """Yield the keywords of a schema; the names of properties and definitions are none."""
    if isinstance(node, list):
        for n in node:
            yield from keywords(n)
    elif isinstance(node, dict):
        yield from node
        for key, value in node.items():
            yield from keywords(list(value.values()) if key in ("properties", "$defs") else value)


@pytest.mark.parametrize("role", Role)
def test_a_schema_is_plain_draft_7(role: Role) -> None:
    jsonschema.Draft7Validator.check_schema(schema(role))
    assert set(keywords(schema(role))) <= KEYWORDS | {"description"}
    assert schema(role)["type"] == "object"
    json.dumps(schema(role))


@pytest.mark.parametrize("role", Role)
def test_a_schema_costs_little(role: Role) -> None:
    assert len(json.dumps(schema(role), separators=(",", ":"))) <= 2000


@pytest.mark.parametrize("role", [Role.PLANNER, Role.WORKER, Role.FIXER, Role.UPDATER])
def test_what_routes_an_answer_comes_first(role: Role) -> None:
    assert next(iter(schema(role)["properties"])) == "outcome" == schema(role)["required"][0]


def objects(node: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(node, dict):
        if "properties" in node:
            yield node
        for value in node.values():
            yield from objects(value)


@pytest.mark.parametrize("role", Role)
def test_every_object_is_closed_and_names_what_must_be_said(role: Role) -> None:
    for found in objects(schema(role)):
        assert found["additionalProperties"] is False
        left_out = set(found["properties"]) - set(found["required"])
        assert left_out <= {"blocker", "check", "command", "line", "missing"}


SESSION = SessionBrief(goal="g", subject="s", cwd="/c", run="r", title="", base="b", head="h")


def test_a_whole_task_has_the_workers_form_with_a_report_and_no_way_to_have_held_already() -> None:
    asked = schema(SESSION)
    assert set(asked["properties"]) == {*schema(Role.WORKER)["properties"], "report"}
    assert "report" in asked["required"]
    assert asked["properties"]["outcome"]["enum"] == ["done", "unfinished", "blocked"]
    answer = WORK | {"outcome": "done", "report": "It is so."}
    jsonschema.validate(answer, asked, jsonschema.Draft7Validator)
    assert parse(SESSION, answer).report == "It is so."  # type: ignore[union-attr]
    with pytest.raises(InvalidAnswer, match="outcome: Input should be"):
        parse(SESSION, WORK | {"outcome": "already_true", "report": ""})


@pytest.mark.parametrize(("role", "answer"), EVERY)
def test_schema_and_reader_accept_the_same_answers(role: Role, answer: dict[str, Any]) -> None:
    jsonschema.validate(answer, schema(role), jsonschema.Draft7Validator)
    parse(role, answer)


@pytest.mark.e2e
@pytest.mark.parametrize("role", Role)
def test_the_real_cli_starts_with_the_schema_and_hands_over_the_answer(role: Role, tmp_path: Path) -> None:
    from claudetm.adapters.agent.claude_sdk import AgentSettings, ClaudeAgent
    from claudetm.adapters.agent.containment import Containment
    from claudetm.ports.agent import SessionReport, SessionRequest
    from claudetm.testing.scripted_model import scenario, serve
    from claudetm.workflow.outcomes import Outcome

    answer = GOOD[role][0]
    look = {"use": [{"Glob": {"pattern": "*"}}]}  # an audit that has looked at nothing is not taken
    turns = [look, {"answer": {"surplus": 1}}, {"answer": answer}]
    played = scenario.parse(
        json.dumps({"name": "t", "sessions": [{"role": role, "subject": "s", "turns": turns}]}), "t.yaml"
    )

    async def main() -> SessionReport:
        async with serve.serve(played) as model:
            environment = {"ANTHROPIC_BASE_URL": model.url, "ANTHROPIC_API_KEY": "k"}
            agent = ClaudeAgent(
                AgentSettings(tmp_path / "home", tmp_path / "logs", Containment(), environment=environment),
                os.environ,
            )
            request = SessionRequest(
                id=str(uuid.uuid4()),
                role=role,
                run=tmp_path.name,
                system=f"You are the {role} of claudetm.",
                prompt="Subject: s\nAnswer.",
                schema=schema(role),
                cwd=tmp_path,
                max_turns=6,
            )
            return await agent.converse(request, lambda _: None, asyncio.Event())

    report = asyncio.run(main())
    assert (report.outcome, report.answer) == (Outcome.ANSWERED, answer), report.detail


# --- reading -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "answer", "told"),
    [
        (Role.WORKER, {"summary": "x"}, "outcome: Field required."),
        (Role.WORKER, WORK | {"outcome": "successfully, but unmet"}, "outcome: Input should be 'done'"),
        (Role.WORKER, WORK | {"outcome": "done", "extra": 1}, "extra: Extra inputs are not permitted."),
        (Role.WORKER, WORK | {"outcome": "done", "remaining": ["x"]}, "say `unfinished`"),
        (Role.WORKER, WORK | {"outcome": "done", "blocker": BLOCKER}, "say `blocked`"),
        (Role.WORKER, WORK | {"outcome": "done", "checks": [CHECK | {"exit_code": 1}]}, "every check failed"),
        (Role.WORKER, WORK | {"outcome": "unfinished"}, "needs `remaining`"),
        (Role.WORKER, WORK | {"outcome": "blocked"}, "needs a `blocker`"),
        (Role.WORKER, WORK | {"outcome": "already_true"}, "needs evidence"),
        (
            Role.WORKER,
            WORK | {"outcome": "done", "checks": [{"command": "x" * 1001, "exit_code": 0}]},
            "is longer than",
        ),
        (Role.FIXER, FIXED | {"cause": ""}, "needs the cause"),
        (Role.FIXER, FIXED | {"outcome": "flaky", "checks": []}, "needs evidence"),
        (Role.PLANNER, PLANNED | {"changes": []}, "at least one change"),
        (Role.PLANNER, PLANNED | {"outcome": "nothing_to_do"}, "has no changes"),
        (Role.PLANNER, PLANNED | {"outcome": "nothing_to_do", "changes": []}, "needs evidence"),
        (Role.PLANNER, PLANNED | {"outcome": "blocked", "changes": [], "summary": " "}, "what is missing"),
        (Role.REVIEWER, {"findings": [], "earlier": [], "examined": []}, "`examined` needs"),
        (Role.AUDITOR, GOOD[Role.AUDITOR][0] | {"examined": []}, "`examined` needs"),
        (Role.AUDITOR, GOOD[Role.AUDITOR][0] | {"notes": " "}, "a score below 100 needs `notes`"),
        (Role.AUDITOR, GOOD[Role.AUDITOR][0] | {"score": 101}, "score: is not a number from 0 to 100."),
        (Role.AUDITOR, GOOD[Role.AUDITOR][0] | {"score": "55"}, "score: Input should be a valid integer."),
        (Role.ANALYST, {"answer": " ", "evidence": []}, "`answer` needs the answer"),
        (Role.RESPONDER, {"replies": GOOD[Role.RESPONDER][0]["replies"] * 2}, "the thread T1 is answered 2 times."),
        (
            Role.UPDATER,
            {"outcome": "resolved", "files": [SETTLED | {"kept": "undecided"}]},
            "leaves nothing undecided",
        ),
        (Role.UPDATER, {"outcome": "blocked", "files": []}, "at least one file"),
        (Role.VERIFIER, {"results": [JUDGED | {"evidence": []}]}, "`holds` needs evidence"),
        (Role.VERIFIER, {"results": [JUDGED, JUDGED]}, "answered 2 times"),
        (Role.VERIFIER, {"results": []}, "a verdict for each criterion"),
    ],
)
def test_an_answer_that_breaks_a_rule_is_told_which(role: Role, answer: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidAnswer) as caught:
        parse(role, answer)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


def test_what_is_too_long_is_cut_and_not_refused() -> None:
    long = {
        "summary": "s" * 9000,
        "learnings": ["a\n  b" + "x" * 900] * 9,
        "follow_ups": ["x"] * 9,
        "checks": [CHECK] * 500,
    }
    answer = parse(Role.WORKER, WORK | long | {"outcome": "done"})
    assert isinstance(answer, WorkerAnswer)
    assert len(answer.summary) == 4000
    assert answer.summary.endswith("…")
    assert [len(x) for x in answer.learnings] == [200] * 3
    assert answer.learnings[0].startswith("a b")
    assert (len(answer.follow_ups), len(answer.checks)) == (3, 100)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda v: st.lists(v) | st.dictionaries(st.text(), v)
    )
)
def test_whatever_a_model_answers_is_taken_or_refused_in_a_sentence(value: Any) -> None:
    for role in Role:
        for answer in ({"outcome": value}, GOOD[role][0] | {"summary": value, "findings": value, "results": value}):
            try:
                parse(role, answer)
            except InvalidAnswer as refused:
                assert str(refused)  # noqa: PT017 - taken is as good as refused


# --- the plan of an answer ---------------------------------------------------------------------------------------


def planned(*changes: dict[str, Any], **more: Any) -> PlannerAnswer:
    return PlannerAnswer.model_validate(PLANNED | {"changes": list(changes)} | more)


def test_a_plan_is_what_the_answer_says() -> None:
    plan = plan_of(planned(CHANGE | {"id": "csv-export"}, assumptions=["UTF-8"]))
    task = Task(
        "csv-export.t1",
        "Write the rows",
        "One row an item.",
        ("src/export.py",),
        ("`export` writes a line an item",),
        complexity=Complexity.QUICK,
    )
    change = Change("csv-export", "Export invoices as CSV", (task,), "Accountants", paths=("src",))
    criterion = Criterion("k1", "`export` exists", "grep -q export src/export.py")
    assert plan == Plan((change,), (criterion,), "One change.", ("UTF-8",))
    assert problems(plan) == ()


def test_ids_that_cannot_name_a_branch_become_numbers_wherever_they_stand() -> None:
    given_ids = ["C1", "a..b", "ok", "x.lock", "-f", "c1", "é", ""]
    changes = [CHANGE | {"id": i, "depends_on": given_ids[:n]} for n, i in enumerate(given_ids)]
    plan = plan_of(planned(*changes))
    ids = [c.id for c in plan.changes]
    assert ids == ["c2", "c3", "ok", "c4", "c5", "c1", "c7", "c8"]
    assert plan.changes[-1].depends_on == tuple(ids[:-1])
    assert [t.id for c in plan.changes for t in c.tasks] == [f"{i}.t1" for i in ids]
    assert problems(plan) == ()


def test_an_id_used_twice_stays_for_the_planner_to_settle() -> None:
    assert "The id c1 is used twice." in problems(plan_of(planned(CHANGE, CHANGE)))


def test_more_changes_for_a_plan_take_ids_that_are_free() -> None:
    more = plan_of(planned(CHANGE, CHANGE | {"id": "c9", "depends_on": ["c1"]}), taken=["c1", "c2"])
    assert [c.id for c in more.changes] == ["c3", "c9"]
    assert more.changes[1].depends_on == ("c3",)


@given(
    st.lists(st.text("abC1.-/ é", max_size=40), min_size=1, max_size=9, unique_by=str.strip),
    st.sets(st.sampled_from(["c1", "c2", "a"])),
)
def test_ids_are_always_sane_distinct_and_free(ids: list[str], taken: set[str]) -> None:
    plan = plan_of(planned(*(CHANGE | {"id": i, "depends_on": ids[:n]} for n, i in enumerate(ids))), taken)
    new = [c.id for c in plan.changes]
    assert len(set(new)) == len(ids)
    assert not set(new) & taken
    assert all(0 < len(i) <= 32 and i[0] not in ".-" and ".." not in i and "/" not in i for i in new)
    assert all(c.depends_on == tuple(new[:n]) for n, c in enumerate(plan.changes))


# --- what makes a plan go back -----------------------------------------------------------------------------------

KNOWN = ("README.md", "src/invoices/export.py", "tests/test_export.py")


def change(i: str = "c1", title: str = "Export invoices", *tasks: Task, **more: Any) -> Change:
    return Change(i, title, tasks or (task(f"{i}.t1"),), **more)


def task(i: str = "c1.t1", title: str = "Write the rows", **more: Any) -> Task:
    return Task(i, title, **{"files": ("src/invoices/export.py",), "acceptance": ("A line an item",), **more})


def plan(*changes: Change, criteria: tuple[Criterion, ...] = (Criterion("k1", "x", "make test"),)) -> Plan:
    return Plan(changes or (change(),), criteria)


def alone(**more: Any) -> Plan:
    return plan(change("c1", "Export invoices", task(**more)))


@pytest.mark.parametrize(
    "good",
    [
        plan(),
        alone(files=("src/invoices/new.py", "NEW.md", "src/invoices", "src/other.py")),
        alone(files=("src/pdf/render.py",), what="A new package src/pdf renders an invoice."),
        plan(change("c1", "Export", task(files=("docs/a.md",)), task("c1.t2", "Create the docs folder in docs/"))),
        alone(title="Check permissions before an invoice is shown"),
        alone(title="Validate e-mail addresses"),
        alone(what="Replaces what accountants did manually."),
        plan(change("c1", "Add tests for the export", task(files=("tests/test_export.py",)))),
        plan(change("c1", "Add the API")),
        plan(change("c1", "Export as CSV"), change("c2", "Show the export in the UI", task("c2.t1"))),
        plan(criteria=(Criterion("k1", "`export` writes a good file"),)),
        plan(criteria=(Criterion("k1", "The README names each option of the export"),)),
        plan(criteria=(Criterion("k1", "Works", "make test"),)),
    ],
)
def test_a_sound_plan_has_no_findings(good: Plan) -> None:
    assert findings(good, KNOWN) == ()


@pytest.mark.parametrize(
    ("bad", "found"),
    [
        (Plan(), "The plan has no changes."),
        (plan(change(depends_on=("c7",))), "depends on c7"),
        (plan(*(change(f"c{n}", f"Behaviour {n}") for n in range(9))), "The plan has 9 changes"),
        (plan(change("c1", "Export", *(task(f"c1.t{n}") for n in range(7)))), "Change c1 has 7 tasks"),
        (alone(files=tuple(f"src/f{n}.py" for n in range(11))), "wants everything in one session"),
        (alone(acceptance=("It is so",) * 9), "wants everything in one session"),
        (alone(title="Verify the export", files=()), "only verifies"),
        (alone(title="Run the full test suite"), "only verifies"),
        (alone(title="Make sure all tests pass"), "only verifies"),
        (alone(title="Manually check the file in a spreadsheet"), "needs a person's hands"),
        (alone(acceptance=("Opens, tested by hand",)), "needs a person's hands"),
        (alone(acceptance=()), "neither acceptance nor check"),
        (alone(files=("lib/deep/invented.py",)), "names lib/deep/invented.py, but neither it nor its folder exists"),
        (
            alone(files=("lib/deep/invented.py",), what="Add a row to the library."),
            "neither it nor its folder exists",
        ),
        (alone(files=("/etc/passwd",)), "not a path inside the repository"),
        (alone(files=("../other/x.py",)), "not a path inside the repository"),
        (alone(files=(".git/hooks/x",)), "not a path inside the repository"),
        (
            plan(change(), change("c2", "Cover it", task("c2.t1", files=("tests/test_export.py",)))),
            "brings the tests last",
        ),
        (plan(change(), change("c2", "Add unit tests", task("c2.t1", files=()))), "brings the tests last"),
        (plan(change("c1", "Create the models"), change("c2", "Pay", task("c2.t1"))), "is a layer"),
        (plan(change("c1", "Backend and API"), change("c2", "Pay", task("c2.t1"))), "is a layer"),
        (plan(change("c1", "Build the service layer"), change("c2", "Pay", task("c2.t1"))), "is a layer"),
        (plan(criteria=()), "has no criterion"),
        (plan(criteria=(Criterion("k1", "The code is clean and maintainable"),)), "nothing that can be observed"),
        (plan(criteria=(Criterion("k1", "Export works"),)), "nothing that can be observed"),
    ],
)
def test_a_plan_nobody_could_work_goes_back_with_the_reason(bad: Plan, found: str) -> None:
    assert any(found in f for f in findings(bad, KNOWN)), findings(bad, KNOWN)


def test_in_an_empty_repository_no_path_is_invented() -> None:
    assert findings(alone(files=("lib/deep/invented.py",)), ()) == ()


def test_more_changes_may_build_on_the_plan_they_extend_and_bring_no_criteria() -> None:
    more = Plan((change("c2", "Quote fields", task("c2.t1"), depends_on=("c1",)),))
    assert findings(more, KNOWN, extends=plan()) == ()
    assert findings(more, KNOWN) != ()
    assert findings(Plan((change(),)), KNOWN, extends=plan()) != ()
