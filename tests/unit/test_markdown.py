"""The views for people: what they show, and that no text can break out of its line."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claudetm.plan.model import Change, Criterion, Plan, Task
from claudetm.workflow import events as e
from claudetm.workflow.legality import edge
from claudetm.workflow.markdown import context_markdown, plan_markdown, progress_markdown, state_data
from claudetm.workflow.outcomes import Outcome, Usage
from claudetm.workflow.records import Record
from claudetm.workflow.run import Run

COMMIT = "c" * 40


def after(*events: e.Event) -> Run:
    run = Run()
    for event in events:
        step = edge(run, event)
        run.apply(Record(run.seq + 1, 1000.0 + run.seq, type(event).__name__, step, e.event_to_data(event)))
    return run


def planned(*changes: Change, criteria: Sequence[Criterion] = (), summary: str = "") -> Sequence[e.Event]:
    plan = Plan(changes, tuple(criteria), summary)
    return (e.RunStarted("run-1", "Make it *good*", "main", "b" * 40), e.PlanProposed(plan), e.PlanApproved())


TWO = (
    Change("c1", "First", (Task("c1.t1", "Add it"), Task("c1.t2", "Test it"))),
    Change("c2", "Second", (Task("c2.t1", "Document it"),), depends_on=("c1",)),
)
CRITERIA = (Criterion("k1", "It works", "make `it` work"), Criterion("k2", "It is nice"))


def midway() -> Run:
    return after(
        *planned(*TWO, criteria=CRITERIA, summary="Two steps."),
        e.ChangeStarted("c1", "claudetm/run-1/c1", "b" * 40),
        e.TaskStarted("c1", "c1.t1", "b" * 40),
        e.SessionStarted("s1", "worker", "c1.t1", "c1", 1.0),
        e.SessionEnded("s1", "c1.t1", Outcome.ANSWERED, "c1", Usage(0.25), learnings=("Use `make`",)),
        e.TaskFinished("c1", "c1.t1", COMMIT, "did it"),
        e.MessageAdded("Hurry\n# up"),
        e.RunPaused("a person asked", "claudetm resume"),
    )


def test_the_plan_has_a_checkbox_a_task_and_a_criterion() -> None:
    assert plan_markdown(midway()) == (
        "# Plan\n\nGoal: Make it \\*good\\*\n\nSummary: Two steps.\n\n"
        "## c1: First (working)\n\n- [x] c1.t1: Add it\n- [ ] c1.t2: Test it\n\n"
        "## c2: Second (queued)\n\nAfter c1.\n\n- [ ] c2.t1: Document it\n\n"
        "## Criteria\n\n- [ ] k1: It works (`` make `it` work ``)\n- [ ] k2: It is nice\n"
    )


def test_progress_says_where_the_run_stands_and_what_is_next() -> None:
    text = progress_markdown(midway())
    for line in (
        "- Phase: working",
        "- Changes settled: 0 of 2",
        "- Tasks done: 1 of 3",
        "- Sessions: 1, $0.25",
        "**Paused**: a person asked",
        "Next: `claudetm resume`",
        "- c1 First: working, 1 of 2 tasks",
        "- c2 Second: queued, 0 of 1 tasks",
    ):
        assert line in text.splitlines()


def test_the_context_holds_learnings_and_the_user_s_words() -> None:
    assert context_markdown(midway()) == ("# Learnings\n\n- Use \\`make\\`\n\n# Said by the user\n\n- Hurry # up\n")


def test_a_skipped_task_and_a_receipt_are_shown() -> None:
    run = after(
        *planned(Change("c1", "Only", (Task("c1.t1", "Add it"),)), criteria=CRITERIA[:1]),
        e.ChangeStarted("c1", "branch", "b" * 40),
        e.TaskStarted("c1", "c1.t1", "b" * 40),
        e.TaskSkipped("c1", "c1.t1", ("there already",)),
        e.ChangeEmpty("c1"),
        e.VerificationStarted(COMMIT),
        e.CriterionChecked("k1", "holds", COMMIT),
    )
    lines = plan_markdown(run).splitlines()
    assert "- [x] c1.t1: Add it (held already)" in lines
    assert "- [x] k1: It works (`` make `it` work ``) holds at cccccccccccc" in lines
    assert state_data(run)["changes"][0]["tasks"][0]["state"] == "skipped"
    assert state_data(run)["criteria"][0]["verdict"] == "holds"


def test_the_state_is_json_values_with_every_change_and_task() -> None:
    data = state_data(midway())
    assert data["phase"] == "working"
    assert data["halt"] == {"kind": "paused", "reason": "a person asked", "next": "claudetm resume"}
    assert data["tasks"] == {"done": 1, "total": 3}
    assert data["sessions"] == {"started": 1, "open": 0}
    assert data["used"]["cost_usd"] == 0.25
    assert [t["state"] for c in data["changes"] for t in c["tasks"]] == ["done", "waiting", "waiting"]
    started = after(*planned(*TWO), e.ChangeStarted("c1", "b", "b" * 40), e.TaskStarted("c1", "c1.t1", "b" * 40))
    assert state_data(started)["changes"][0]["tasks"][0]["state"] == "started"


def test_a_run_that_has_just_begun_has_views_too() -> None:
    run = after(e.RunStarted("run-1", "goal", "main", "b" * 40))
    assert plan_markdown(run) == "# Plan\n\nGoal: goal\n"
    assert "- Phase: planning" in progress_markdown(run)
    assert context_markdown(run) == "# Learnings\n\n"
    assert state_data(run)["changes"] == []


@pytest.mark.parametrize(
    "title",
    [
        "one\n- [x] two",
        "one\r\n## two",
        "one\u2028- [x] two",
        "one\x85two",
        "- [x] leading",
        "# heading",
        "`open",
        "```\ncode",
        "<!-- swallow",
        "[link](javascript:x)",
        "\\",
        "\x1b[31mred",
        "\u202egnol",
    ],
)
def test_a_title_stays_in_its_line_of_the_checklist(title: str) -> None:
    text = plan_markdown(after(*planned(Change("c1", title, (Task("t1", title), Task("t2", "after"))))))
    assert len(text.splitlines()) == len(plan_markdown(after(*planned(TWO[0]))).splitlines())
    assert [line[:9] for line in text.splitlines() if line.startswith("- ")] == ["- [ ] t1:", "- [ ] t2:"]
    assert not re.search(r"(?<!\\)(\\\\)*[`<]", text)
    assert text.isprintable() or set(filter(lambda c: not c.isprintable(), text)) == {"\n"}


@given(title=st.text(min_size=1).filter(str.strip), command=st.text())
def test_no_text_adds_a_line_or_a_box(title: str, command: str) -> None:
    criteria = [Criterion("k1", title, command)]
    change = Change("c1", title, (Task("t1", title),))
    text = plan_markdown(after(*planned(change, criteria=criteria, summary=title)))
    boxes = re.findall(r"^[ \t]*[-*+] \[[ xX]\]", text, re.MULTILINE)
    assert boxes == ["- [ ]", "- [ ]"]
    assert len(text.splitlines()) == 13


def test_a_command_with_backticks_is_a_span_that_stays_open_to_none() -> None:
    run = after(*planned(TWO[0], criteria=[Criterion("k1", "x", "``a`` `b`\n- [x] c")]))
    assert plan_markdown(run).splitlines()[-1] == "- [ ] k1: x (``` ``a`` `b` - [x] c ```)"


def test_ten_thousand_tasks_take_a_moment_each_view() -> None:
    changes = [
        Change(
            f"c{c}", f"Change {c}", tuple(Task(f"c{c}.t{t}", f"Add thing {t} to the {c}. place") for t in range(5))
        )
        for c in range(2000)
    ]
    run = after(*planned(*changes))

    def seconds(view: Any) -> float:
        began = time.process_time()
        view(run)
        return time.process_time() - began

    for view in (plan_markdown, progress_markdown, context_markdown, state_data):
        assert min(seconds(view) for _ in range(3)) < 0.1
