"""What a pull request says of itself, in the words of its change and the form of its repository."""

from __future__ import annotations

import pytest

from claudetm.plan.model import Change, Criterion, Plan, Task
from claudetm.stages.description import LONGEST, description, harmless, linked, template_among
from claudetm.workflow.run import ChangeState, Run, TaskState
from claudetm.workflow.stages import Stage

TASKS = (Task("t1", "Say hello", check="make test"), Task("t2", "Say bye"))


def run_of(*, issue: int = 0, goal: str = "Greet people") -> tuple[Run, ChangeState]:
    run = Run()
    run.goal, run.issue = goal, issue
    plan = Change("c1", "Greet", TASKS, why="They like it.")
    run.plan = Plan((plan,), (Criterion("k1", "People are greeted"),))
    change = ChangeState(plan=plan, stage=Stage.PUBLISHING)
    change.tasks = {"t1": TaskState("b0", "h1", summary="hello() is there"), "t2": TaskState("b0", skipped=True)}
    run.changes = {"c1": change}
    return run, change


OWN = """They like it.

## What

- Say hello: hello() is there
- Say bye: already true

## How it was tested

- `make test`

## Part of

Greet people

- People are greeted"""


def test_it_says_why_what_how_it_was_tested_and_the_criteria() -> None:
    assert description(*run_of()) == OWN


def test_the_issue_stands_in_the_place_of_the_goal() -> None:
    told = description(*run_of(issue=9, goal="A very long issue"))
    assert "## Part of\n\nCloses #9\n\n- People are greeted" in told
    assert "A very long issue" not in told


def test_only_the_last_change_to_be_merged_closes_the_issue() -> None:
    run, change = run_of(issue=9)
    other = ChangeState(plan=Change("c2", "Other", TASKS), stage=Stage.WORKING)
    run.changes["c2"] = other
    assert linked(run, change) == "Part of #9"
    other.stage = Stage.MERGED
    assert linked(run, change) == "Closes #9"


TEMPLATE = """<!-- Thank you!
Read CONTRIBUTING.md -->
## Description
<!-- What does it do? -->

## Motivation and Context

## How Has This Been Tested?
Say on which platforms.

## Screenshots (if appropriate):

## Checklist
- [ ] I have read the contributing guide.
- [ ] I have added tests.
"""


def test_a_template_keeps_its_headings_and_its_boxes_are_left_to_people() -> None:
    assert (
        description(*run_of(), template=TEMPLATE)
        == """## Description

- Say hello: hello() is there
- Say bye: already true

## Part of

Greet people

- People are greeted

## Motivation and Context

They like it.

## How Has This Been Tested?

- `make test`

Say on which platforms.

## Screenshots (if appropriate):

## Checklist

- [ ] I have read the contributing guide.
- [ ] I have added tests."""
    )


def test_without_a_heading_for_it_the_reason_goes_with_the_work() -> None:
    told = description(*run_of(), template="### Summary\n\n### Related issues\n")
    assert told.startswith("### Summary\n\nThey like it.\n\n- Say hello")
    assert "### Related issues\n\nGreet people" in told
    assert told.count("They like it.") == 1


def test_a_template_that_asks_for_nothing_stands_behind() -> None:
    told = description(*run_of(), template="Please be kind.\n```\n# no heading\n```\n")
    assert told == f"{OWN}\n\nPlease be kind.\n```\n# no heading\n```"


def test_everything_is_said_whatever_the_headings_are() -> None:
    for template in (TEMPLATE, "# What\n# What\n", "## Tests\n", "## Why\n## Why not\n", "<!-- never closed"):
        told = description(*run_of(), template=template)
        for said in ("They like it.", "hello() is there", "`make test`", "People are greeted"):
            assert told.count(said) == 1, template


def test_a_description_is_bounded() -> None:
    told = description(*run_of(), template="x" * 100_000)
    assert len(told) < LONGEST + 10
    assert told.endswith("…")


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("This fixes #3.", "This fixes `#3`."),
        ("Closes: acme/widgets#3 and resolves https://github.com/acme/widgets/issues/4",
         "Closes: `acme/widgets#3` and resolves `https://github.com/acme/widgets/issues/4`"),
        ("See #3 for more", "See #3 for more"),
        ("Ask @ada, or use @pytest.fixture", "Ask `@ada`, or use `@pytest.fixture`"),
        ("`@ada` and ada@example.org stay", "`@ada` and ada@example.org stay"),
        ("```\n@ada fixes #3\n```\n@bob", "```\n@ada fixes #3\n```\n`@bob`"),
    ],
)  # fmt: skip
def test_what_agents_write_calls_nobody_and_closes_nothing(said: str, shown: str) -> None:
    assert harmless(said) == shown


def test_the_template_is_found_where_github_looks() -> None:
    assert template_among(["README.md", "docs/pull_request_template.md"]) == "docs/pull_request_template.md"
    found = ["PULL_REQUEST_TEMPLATE.md", ".github/PULL_REQUEST_TEMPLATE.md", "docs/pull_request_template.md"]
    assert template_among(found) == ".github/PULL_REQUEST_TEMPLATE.md"
    assert template_among(["src/pull_request_template.md"]) == ""
