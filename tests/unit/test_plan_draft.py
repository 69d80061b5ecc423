"""The plan in a person's hands: written as YAML, read back, refused in one sentence, turned into events."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claudetm.cli.plan_draft import PROBLEM, parse, render, with_problem
from claudetm.engine.inbox import edits
from claudetm.engine.loop import Ending
from claudetm.plan.draft import UnusableDraft, read
from claudetm.plan.model import Change, Complexity, Criterion, Plan, Task, plan_to_data
from claudetm.workflow import events as e
from claudetm.workflow.legality import IllegalEvent
from claudetm.workflow.policy import Policy, policy_to_data
from claudetm.workflow.stages import Phase, Stage
from story import ROUTES, STARTED, Story, at, change, plan, working
from world import World

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60)
LINE = TEXT.map(lambda t: " ".join(t.split()))


def told(story: Story) -> str:
    return render(story.run)


# --- writing and reading ---------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(TEXT, max_size=3), LINE, TEXT, TEXT)
def test_a_plan_survives_its_form_as_yaml(items: list[str], title: str, what: str, command: str) -> None:
    lines = tuple(items)
    task = Task("c1.t1", title, what, lines, lines, command, Complexity.QUICK)
    first = Change("c1", title, (task, replace(task, id="c1.t2")), what, (), lines)
    whole = Plan((first, change("c2", "c1")), (Criterion("k1", what, command),), what, lines)
    story = Story(*STARTED)
    story.run.set_plan(whole, 7)
    assert parse(told(story), Plan()) == (whole, 7)


def test_what_plan_json_prints_is_taken() -> None:
    printed = json.dumps({"based_on": 3, **plan_to_data(plan())}, indent=2)
    assert parse(printed, Plan()) == (plan(), 3)


def test_the_draft_says_what_stays_and_what_can_go() -> None:
    story = working(change("c1", tasks=2), change("c2"))
    assert "begun" not in told(story).partition("changes:")[2]
    story.tell(e.ChangeStarted("c1", "claudetm/c1", "b0"), e.TaskStarted("c1", "c1.t1", "b0"))
    assert "# begun: remove it to drop it; tasks that have not begun can be changed\n  - id: c1" in told(story)
    assert "# begun: stays as it is, in this place\n      - id: c1.t1" in told(story)
    story.tell(e.TaskFinished("c1", "c1.t1", "h1"))
    assert "# done: stays as it is, in this place\n      - id: c1.t1" in told(story)
    assert "criteria can be added, but none changed or removed" in told(story)
    opened = Story(
        *working().records and STARTED, e.PlanProposed(plan()), e.PlanApproved(), *ROUTES[Stage.WAITING_CI]
    )
    assert "# waiting_ci, pull request #7: stays as it is; remove it to drop it\n  - id: c1" in told(opened)
    assert "# merged, pull request #7: stays as it is\n" in told(at(Stage.MERGED))


def test_what_is_new_needs_no_id_and_what_is_left_out_is_empty_or_as_it_was() -> None:
    changes = [{"title": "New", "tasks": [{"title": "Do it"}, {"id": "x", "title": "More"}, {"title": "Last"}]}]
    found, seq = read({"based_on": 2, "changes": [{"id": "c1", "title": "Old", "tasks": []}, *changes]}, plan())
    assert (seq, found.criteria, [c.id for c in found.changes]) == (2, plan().criteria, ["c1", "c2"])
    assert [t.id for t in found.changes[1].tasks] == ["c2.t1", "x", "c2.t3"]
    assert found.changes[1].tasks[0] == Task("c2.t1", "Do it")
    added, _ = read({"based_on": 2, "criteria": [{"text": "It is fast"}, {"text": "It is small"}]}, plan())
    assert [(k.id, k.text) for k in added.criteria] == [("k2", "It is fast"), ("k3", "It is small")]


GOOD: dict[str, Any] = {"id": "c1", "title": "Do", "tasks": [{"title": "Do it"}]}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "The plan is empty; hand in what `claudetm plan --json` prints, with your changes"),
        ("- 1", "The plan must be a mapping with based_on, summary, assumptions, changes, criteria"),
        ("changes: []", "The plan does not say what it is based on: keep the line based_on as you were shown it"),
        ("based_on: true", "The plan does not say what it is based on: keep the line based_on as you were shown it"),
        ("based_on: 1\nchange: []", "The plan has no 'change': did you mean changes?"),
        ("based_on: 1\nchanges: {}", "changes must be a list"),
        ("based_on: 1\nchanges: [x]", "changes[1] must be a mapping with id, title, why, depends_on, paths, tasks"),
        ("based_on: 1\nchanges: [{title: Yes}]", "changes[1].title must be a text: put it in quotes"),
        ("based_on: 1\nchanges: [{title: a, titel: b}]", "changes[1] has no 'titel': did you mean title?"),
        ("based_on: 1\nchanges: [{depends_on: c1}]", "changes[1].depends_on must be a list"),
        ("based_on: 1\nchanges: [{depends_on: [1]}]", "changes[1].depends_on[1] must be a text: put it in quotes"),
        (
            "based_on: 1\nchanges: [{tasks: [{complexity: hard}]}]",
            "changes[1].tasks[1].complexity is 'hard': use one of quick, general, coding, debugging",
        ),
        ("based_on: 1\nbased_on: 2", "Line 2: the key based_on stands twice"),
        ("based_on: 1\n  summary: [", "Line 2: mapping values are not allowed here"),
        ("based_on: 1\nsummary: !!python/object:os.x", "Line 2: could not determine a constructor for the tag"),
        (f"based_on: 1\nchanges: [{{title: {'x' * 201}}}]", "changes[1].title is longer than 200 characters"),
        ('{"based_on": 1, "summary": "\\u0000"}', "The plan.summary holds a NUL character: leave it out"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_no_plan_is_refused_in_one_sentence(text: str, says: str) -> None:
    with pytest.raises(UnusableDraft) as refused:
        parse(text, plan())
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_problem_stands_in_the_first_line_and_replaces_the_last_one() -> None:
    once = with_problem("a: 1\n", "No\nway")
    assert once == f"{PROBLEM}No way\na: 1\n"
    assert with_problem(once, "Not so") == f"{PROBLEM}Not so\na: 1\n"


# --- what an edit comes to -------------------------------------------------------------------------------------


def refused(story: Story, *changes: Change, based_on: int = 0) -> str:
    with pytest.raises(IllegalEvent) as why:
        edits(story.run, replace(story.run.plan, changes=changes), based_on or story.run.plan_seq)
    return str(why.value)


def accepted(story: Story, *changes: Change) -> list[str]:
    events = edits(story.run, replace(story.run.plan, changes=changes), story.run.plan_seq)
    story.tell(*events)
    return [type(event).__name__ for event in events]


@pytest.mark.parametrize("stage", [Stage.WORKING, Stage.PUBLISHING, Stage.WAITING_CI, Stage.READY_TO_MERGE])
def test_a_change_that_has_begun_and_is_removed_is_dropped(stage: Stage) -> None:
    story = working(change("c1"), change("c2", "c1"), change("c3")).tell(*ROUTES[stage])
    assert refused(story, change("c2", "c1"), change("c3")) == "Change c2 depends on c1, which is not in the plan."
    assert accepted(story, change("c2"), change("c3")) == ["ChangeDropped", "PlanEdited"]
    assert (story.change().stage, story.change().settled) == (Stage.ABANDONED, True)
    assert list(story.run.changes) == ["c1", "c2", "c3"]
    assert set(story.run.startable) == {"c2", "c3"}
    # what is dropped already is not dropped again: a command that was cut short is applied whole
    assert accepted(story, change("c3")) == ["PlanEdited"]
    assert list(story.run.changes) == ["c1", "c3"]


def test_a_refused_edit_drops_nothing() -> None:
    story = working(change("c1"), change("c2")).tell(*ROUTES[Stage.WORKING])
    seen = story.run.plan_seq
    assert accepted(story, change("c1"), change("c2"), change("c3")) == ["PlanEdited"]
    assert "The plan has changed since" in refused(story, change("c2"), based_on=seen)
    assert story.change().stage is Stage.WORKING


def test_what_is_merged_stays_in_the_plan() -> None:
    story = at(Stage.MERGED)
    assert refused(story, change("c2")) == "Change c1 is merged: it stays as it is."


def test_an_edit_keeps_to_the_limits_of_pull_requests() -> None:
    policy = Policy(pr_per_task=True, max_prs=2)
    started = e.RunStarted("r1", "Make it work", "main", "b0", policy_to_data(policy))
    story = Story(started, e.PlanProposed(plan(change("c1"), change("c2"))), e.PlanApproved())
    assert refused(story, change("c1"), change("c2", tasks=2)) == (
        "Each task is a pull request of its own (pr_per_task), so change c2 can have only one."
    )
    assert "The plan makes 3 pull requests" in refused(story, change("c1"), change("c2"), change("c3"))
    assert accepted(story, change("c1"), change("c3")) == ["PlanEdited"]
    story.tell(e.LimitsRaised({"max_prs": 3}))
    assert accepted(story, change("c1"), change("c3"), change("c4")) == ["PlanEdited"]


def test_the_plan_is_edited_while_it_is_planned_or_worked_only() -> None:
    for phase in (Phase.PLANNING, Phase.VERIFYING):
        story = at(phase)
        assert f"while the run is {phase}" in refused(story, change("c1"), change("c2"))


# --- before it is approved -------------------------------------------------------------------------------------


def waiting() -> World:
    made = World(policy=Policy(self_review=False, approve_plan=True))
    assert asyncio.run(made.drive()) is Ending.PAUSED
    return made


def test_a_plan_that_was_edited_is_approved_by_the_resume() -> None:
    made = waiting()
    shown = made.run.plan
    one = replace(shown.changes[0], tasks=shown.changes[0].tasks[:1])
    data = plan_to_data(replace(shown, changes=(one,)))
    made.inbox.send("edit_plan", plan=data, based_on=made.run.plan_seq)
    assert asyncio.run(made.drive()) is Ending.VERIFIED
    assert made.events.index("PlanEdited") < made.events.index("PlanApproved")
    assert made.count("TaskFinished") == 1


def test_a_plan_that_was_rejected_is_planned_again_with_the_reason() -> None:
    made = waiting()
    made.inbox.send("reject", reason="No bye, please.")
    assert asyncio.run(made.drive()) is Ending.PAUSED
    prompt = made.agent.requests[-1].prompt
    assert "The user sent it back with these words:\nNo bye, please." in prompt
    assert "# Your last proposal\n- c1: Greet people" in prompt
    assert made.run.rejection == ""
    assert asyncio.run(made.drive()) is Ending.VERIFIED
