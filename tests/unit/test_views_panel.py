"""The live panel: a pure function of the run, the clock, what goes on and the terminal's size."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.cells import cell_len

from claudetm.cli.frame import painted
from claudetm.cli.panel import Activity, judged, panel
from claudetm.plan.model import Change
from claudetm.ports.agent import Progress
from claudetm.workflow import events as e
from claudetm.workflow.limits import Wait
from claudetm.workflow.outcomes import Outcome, Usage
from claudetm.workflow.run import Run
from claudetm.workflow.stages import Phase, Stage
from story import STARTED, Story, at, change, forty, moved, plan, working

NOTHING = Activity()
SIZES = ((80, 24), (200, 50))


@pytest.fixture(autouse=True)
def _no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")


def shown(run: Run, now: float, activity: Activity = NOTHING, size: tuple[int, int] = SIZES[0]) -> list[str]:
    """Return the panel's lines as they stand on the screen; it fits, or this fails."""
    lines = painted(panel(run, now, activity, *size), size[0])
    assert len(lines) <= size[1] - 2
    assert all(line.columns < size[0] for line in lines)
    return [plain(line.text) for line in lines]


def plain(text: str) -> str:
    from rich.text import Text

    return Text.from_ansi(text).plain.rstrip()


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_small_run_is_shown_whole(size: tuple[int, int]) -> None:
    story = working(change("c1", tasks=2), change("c2", "c1")).tell(*moved("c1", Stage.WORKING))
    story.tell(e.TaskStarted("c1", "c1.t1", "b0"), e.SessionStarted("s1", "worker", "c1.t1", "c1"))
    doing = Progress("s1", "Edit greet/greet.py", Usage(0.25, 1_000, 500))
    lines = shown(story.run, story.now + 42, Activity({"s1": doing}, change="c1"), size)
    assert lines[1:] == [
        "Make it work",
        "working · 0/2 changes · 0/3 tasks · 0:47 · 1 session · $0.25 · 1.5k tokens",
        "▸ c1 working         0/2 Change c1",
        "  c2 queued after c1 0/1 Change c2",
        "now: worker on c1.t1: Step 1 (0:42)",
        "     Edit greet/greet.py",
    ]
    assert "claudetm r1" in lines[0]


def test_of_forty_changes_a_low_terminal_shows_what_moves() -> None:
    story = forty()
    lines = shown(story.run, story.now, Activity(change="c14"))
    ids = [line[2:].split()[0] for line in lines if line[2:3] == "c"]
    assert {"c12", "c13", "c14", "c15", "c16"} <= set(ids)
    assert ids == sorted(ids, key=lambda i: int(i[1:]))
    [rest] = [line for line in lines if "more:" in line]
    counted = [int(part.split()[0]) for part in rest.partition("more: ")[2].split(", ")]
    assert sum(counted) == 40 - len(ids)
    assert rest == f"  … and {40 - len(ids)} more: {counted[0]} queued, 11 merged"
    assert any(line.startswith("held: c13: the checks did not report") for line in lines)
    assert any("waiting ci, held #7" in line for line in lines)
    # a third of the terminal is left to what has happened
    assert len(lines) <= 16


def test_a_tall_terminal_shows_more_of_them() -> None:
    low, tall = (shown(forty().run, 2_000.0, size=size) for size in SIZES)
    assert len(tall) > len(low)
    assert sum("queued" in line for line in tall) > sum("queued" in line for line in low)


@pytest.mark.parametrize("size", [(20, 6), (40, 10), (80, 12), (300, 100)], ids=str)
def test_it_fits_any_terminal(size: tuple[int, int]) -> None:
    story = forty()
    shown(story.run, story.now, Activity(wait=Wait(None, "x" * 400), change="c14"), size)


def test_wide_characters_take_their_columns() -> None:
    wide = Change("c1", "打" * 100, change("c1").tasks)
    story = Story(*STARTED, e.PlanProposed(plan(wide)), e.PlanApproved())
    lines = shown(story.run, story.now)
    assert max(map(cell_len, lines)) >= 78


def test_a_wait_says_why_and_counts_down() -> None:
    story = at(Stage.WAITING_CI)
    until = story.now + 7_985
    line = shown(story.run, story.now, Activity(wait=Wait(until, "the usage limit resets")))[-1]
    assert line.startswith("waiting: the usage limit resets (2:13:05 left, until ")
    later = shown(story.run, story.now + 60, Activity(wait=Wait(until, "the usage limit resets")))[-1]
    assert "(2:12:05 left" in later
    assert shown(story.run, until, Activity(wait=Wait(until, "it resets")))[-1] == "waiting: it resets"


def test_a_long_wait_is_broken_by_words_and_keeps_its_remedy() -> None:
    story = at(Stage.WAITING_CI)
    why = (
        "github.com cannot be reached by git (Could not resolve host: github.com): mend the network; it goes on then"
    )
    rows = shown(story.run, story.now, Activity(wait=Wait(None, why)))
    assert " ".join(rows[-2:]) == f"waiting: {why}"


def test_the_budget_and_the_limit_of_sessions_are_shown_with_what_is_used() -> None:
    started = replace(STARTED[0], settings={"cost_usd": 5.0, "sessions": 9})
    story = Story(started, e.PlanProposed(plan()), e.PlanApproved(), *moved("c1", Stage.WORKING))
    story.session(Outcome.ANSWERED, usage=Usage(1.5, 1_000_000, 234_567))
    text = " ".join(shown(story.run, story.now + 3_600))
    assert "1 of 9 sessions · $1.50 of $5.00 · 1.2M tokens" in text
    assert "1:00:0" in text


def test_a_narrow_terminal_breaks_the_summary_in_two() -> None:
    story = forty()
    lines = shown(story.run, story.now, size=(60, 24))
    assert lines[2] == "working · 12/40 changes · 14/40 tasks"
    assert lines[3].endswith("1 session · $0.00 · 0 tokens")


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (Phase.PLANNING, "now: preparing the plan"),
        (Stage.WORKING, "now: c1: preparing the worktree"),
        (Stage.WAITING_CI, "now: c1: the checks are running"),
        (Stage.READY_TO_MERGE, "now: c1: merging"),
        (Phase.VERIFYING, "now: running the criteria"),
    ],
    ids=str,
)
def test_between_sessions_the_step_is_named(place: Phase | Stage, words: str) -> None:
    story = at(place)
    assert shown(story.run, story.now, Activity(change="c1"))[-1] == words


def test_what_takes_its_time_outside_of_a_session_is_shown_instead_of_the_step() -> None:
    story = at(Phase.VERIFYING)
    ours = Activity({"": Progress("", "set-up for k1 at m1: make")})
    assert shown(story.run, story.now, ours)[-1] == "now: set-up for k1 at m1: make"


def test_a_stop_that_was_asked_for_is_said_instead() -> None:
    story = forty()
    lines = shown(story.run, story.now, Activity(stopping="stopping: Ctrl+C again ends at once"))
    assert lines[-1] == "stopping: Ctrl+C again ends at once"


def test_what_is_not_judged_is_not_said_to_fail() -> None:
    story = at(Phase.VERIFYING)
    assert "criteria: 1, none judged yet" in shown(story.run, story.now)[2]
    story.tell(e.GoalVerified("m1"))
    assert judged(story.run) == "1, none judged"


def test_the_last_state_names_no_activity() -> None:
    story = at(Phase.VERIFYING).tell(e.CriterionChecked("k1", "holds", "m1"), e.GoalVerified("m1"))
    lines = shown(story.run, story.now, Activity(change="c1", over=True))
    assert lines[2].startswith("verified · 1/1 changes · 1/1 tasks · criteria: 1 of 1 hold")
    assert lines[-1].split() == ["c1", "merged", "#7", "1/1", "Change", "c1"]


def test_text_from_outside_cannot_steer_the_terminal_or_show_a_secret() -> None:
    nasty = "\x1b[2J[bold]ghp_abcdefghijklmnop\x07\nsecond line"
    story = Story(replace(STARTED[0], goal=nasty), e.SessionStarted("s1", "planner", "plan"))
    doing = Progress("s1", nasty)
    lines = shown(story.run, story.now, Activity({"s1": doing}))
    assert lines[1] == "[bold][secret] second line"
    assert lines[-1] == "     [bold][secret] second line"


def test_paths_are_shown_as_from_the_worktree() -> None:
    story = Story(*STARTED, e.SessionStarted("s1", "planner", "plan"))
    doing = Progress("s1", "Edit /home/ada/.local/state/claudetm/greet-1/r1/changes/c1/greet/greet.py")
    assert shown(story.run, story.now, Activity({"s1": doing}))[-1] == "     Edit greet/greet.py"
