"""What passes between the monitor and a task's worker, and what becomes of a job by it: each way a worker can end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from claudetm.adapters.dispatch.handover import (
    Begun,
    Ended,
    Ending,
    Handover,
    Notes,
    Order,
    note_of,
)
from claudetm.adapters.dispatch.hints import TASKED, after_failure, for_task
from claudetm.adapters.dispatch.place import below, state_of
from claudetm.adapters.dispatch.verdict import look_at, parting, settled, standing, waits
from claudetm.adapters.store.journal import encode
from claudetm.bootstrap import opening
from claudetm.bootstrap.worker import last_words, wish
from claudetm.cli.app import COMMANDS
from claudetm.config import policy, resolve
from claudetm.errors import JournalError, RepositoryError, Untested, UsageError
from claudetm.ports.dispatch import TOLD_TO_END, AwaitsPerson, Done, Failed, Stopped, TryAgain
from claudetm.ports.source import Job, Material, Mode, Note
from claudetm.workflow import events as e
from claudetm.workflow.limits import TRANSIENT_LIMIT, Blocked, Go, Wait, may_start
from claudetm.workflow.outcomes import Outcome, Usage
from claudetm.workflow.stages import MONITOR, Stage
from story import QUESTION, ROUTES, STARTED, Story, at, plan

JOB = Job("task 1", "directory", "Make it work")
TAKEN = e.SnapshotTaken("c1", "refs/claudetm/r1/snapshots/c1-1", "h1")


@pytest.fixture
def handover(tmp_path: Path) -> Handover:
    (tmp_path / ".git").mkdir()
    made = Handover(state_of(tmp_path, JOB.id))
    made.state.create()
    return made


def journalled(handover: Handover, *events: e.Event, story: Story | None = None) -> None:
    told = (story or Story(*STARTED)).tell(*events)
    handover.state.journal.write_bytes(b"".join(map(encode, told.records)))


def turned_away(outcome: Outcome) -> Story:
    """Return a run whose planner the service turned away until it was blocked."""
    story = Story(*STARTED)
    for n in range(TRANSIENT_LIMIT if outcome is Outcome.OVERLOADED else 1):
        story.tell(e.SessionStarted(f"s{n}", "planner", "plan"), e.SessionEnded(f"s{n}", "plan", outcome))
    blocked = may_start(story.run, "plan", story.now)
    assert isinstance(blocked, Blocked)
    return story.tell(e.RunBlocked(blocked.reason, blocked.next))


def came_to(handover: Handover, ended: Ended | None = None, **order: Any) -> object:
    stands = standing(handover, order.get("over", ""))
    return settled(Order(JOB, **order), stands, ended, handover)


# --- files -----------------------------------------------------------------------------------------------------


def test_an_order_comes_back_as_it_was_given(handover: Handover) -> None:
    job = Job(
        "a b", "sego", "\ud800 text", "T", Mode.SESSION, 3.5, (Material("m", "ü"),), "skill", "repo", "7",
        {"limits.cost_usd": 2.5, "checks.commands": ["make"]}, {"task": {"id": [1, None]}},
    )  # fmt: skip
    begun = Begun(3, "boot")
    for order in (Order(job), Order(job, 7, looks=True, over="r1", forgotten=True, rehearsal="demo", begun=begun)):
        handover.give(order)
        assert handover.order() == order
    assert (handover.state.root / "job.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"job": 3}', "\0"])
def test_an_order_that_cannot_be_read_is_said_to_be_so(handover: Handover, text: str) -> None:
    (handover.state.root / "job.json").write_text(text)
    with pytest.raises(JournalError, match="remove it to begin the task anew"):
        handover.order()


def test_last_words_come_back_and_damage_is_none(handover: Handover) -> None:
    assert handover.ended() is None
    words = Ended(Ending.PASSING, "busy", 4, 12.5)
    handover.end(words)
    assert handover.ended() == words
    for text in ("", "{", '{"ending": "else"}', "[]"):
        (handover.state.root / "outcome.json").write_text(text)
        assert handover.ended() is None


def test_notes_are_lines_and_their_file_is_begun_anew_when_it_is_full(tmp_path: Path) -> None:
    notes, path = Notes(tmp_path / "progress.jsonl", most=200), tmp_path / "progress.jsonl"
    said = [Note("working", f"step {n}", 0.5, waiting=True, link="https://x") for n in range(9)]
    kept = []
    for note in said:
        notes.tell(note)
        kept = path.read_bytes().splitlines() if path.exists() else []
        assert path.stat().st_size <= 200 if path.exists() else True
    assert [note_of(line) for line in kept] == said[len(said) - len(kept) :]
    assert note_of(b'{"stage"') is None


def test_a_disk_that_refuses_a_note_costs_the_note_alone(tmp_path: Path) -> None:
    Notes(tmp_path / "absent" / "progress.jsonl").tell(Note("a", "b"))


# --- what became of it -----------------------------------------------------------------------------------------


def test_a_job_that_was_never_begun_needs_a_worker(handover: Handover) -> None:
    assert came_to(handover) is None
    assert waits(JOB, None) is None


def test_a_run_under_way_needs_a_worker(handover: Handover) -> None:
    journalled(handover, e.PlanProposed(plan()))
    assert came_to(handover) is None


def test_a_verified_goal_is_done_with_all_that_it_brought(handover: Handover) -> None:
    story = Story(*STARTED, e.PlanProposed(plan()), e.PlanApproved())
    story.tell(e.SessionStarted("s1", "worker", "c1.t1"))
    story.tell(e.SessionEnded("s1", "c1.t1", Outcome.ANSWERED, usage=Usage(1.25, 10, 20, turns=3)))
    story.tell(*ROUTES[Stage.MERGED], e.VerificationStarted("m1"), e.CriterionChecked("k1", "holds", "m1"))
    journalled(handover, e.GoalVerified("m1", "main is at m1", "git pull"), story=story)
    handover.log.write_text("")
    done = came_to(handover)
    assert isinstance(done, Done)
    output = done.output
    assert output.summary == "merged: Change c1. 1 of 1 criteria hold. main is at m1. left to you: git pull"
    assert (output.cost_usd, output.usage["output_tokens"], output.usage["turns"]) == (1.25, 20, 3)
    assert (output.run, output.score) == ("r1", None)
    assert [(a["kind"], a["name"]) for a in output.artifacts] == [
        ("pull_request", "#7"), ("commit", "m1"), ("branch", "claudetm/r1/base"), ("log", str(handover.log)),
    ]  # fmt: skip


def test_a_session_brings_its_snapshot_and_its_score(handover: Handover) -> None:
    story = at(Stage.KEPT).tell(e.VerificationStarted("h1"), e.GoalVerified("h1", "kept"))
    journalled(handover, story=story)
    done = came_to(handover)
    assert isinstance(done, Done)
    assert (done.output.score, done.output.notes) == (90, "Good")
    assert {"kind": "snapshot", "name": "refs/claudetm/r1/snapshots/c1-1"} in done.output.artifacts


def test_a_question_brings_its_answer(handover: Handover) -> None:
    journalled(handover, story=Story(*QUESTION, e.QuestionAnswered("Yes.")))
    done = came_to(handover)
    assert isinstance(done, Done)
    assert (done.output.summary, done.output.raw) == ("Yes.", "Yes.")


def test_what_is_secret_in_an_output_is_masked(handover: Handover) -> None:
    token = "ghp_" + "a" * 36
    journalled(handover, story=Story(*QUESTION, e.QuestionAnswered(f"It is {token}.")))
    done = came_to(handover)
    assert isinstance(done, Done)
    assert token not in done.output.summary + done.output.raw


def test_a_cancelled_run_has_failed_and_says_why(handover: Handover) -> None:
    journalled(handover, e.RunCancelled("not wanted"))
    failed = came_to(handover)
    assert isinstance(failed, Failed)
    assert failed.error == "cancelled: not wanted"


def test_a_blocked_run_has_failed_with_the_command_that_helps_this_task(handover: Handover) -> None:
    journalled(handover, e.RunBlocked("the checks stay red", "claudetm logs, then claudetm resume"))
    failed = came_to(handover)
    assert isinstance(failed, Failed)
    assert failed.error == "the checks stay red"
    assert failed.next == "claudetm --task 'task 1' logs, then claudetm monitor retry 'task 1'"
    assert failed.output.run == "r1"


@pytest.mark.parametrize(
    ("outcome", "why", "everybody"),
    [
        (Outcome.UNAUTHENTICATED, "Claude refused the credentials: claude login, or ANTHROPIC_API_KEY; then ", True),
        (Outcome.BILLING, "the Claude account has no credit: add credit, then ", True),
        (Outcome.UNKNOWN_MODEL, "Claude does not know the model: ", False),
        (Outcome.OVERLOADED, "the model's service failed 10 times in a row: ", True),
    ],
)
def test_a_service_that_turns_everybody_away_is_no_fault_of_the_task(
    handover: Handover, outcome: Outcome, why: str, everybody: bool
) -> None:
    journalled(handover, story=turned_away(outcome))
    found = came_to(handover)
    assert isinstance(found, TryAgain)
    assert (found.seconds, found.everybody) == (None, everybody)
    assert found.why.startswith(why)
    assert "claudetm monitor retry 'task 1'" in found.why


@pytest.mark.parametrize("setting", ["model", "models.opus", "roles.planner.model"])
def test_a_model_that_the_task_itself_names_and_nobody_knows_has_failed(handover: Handover, setting: str) -> None:
    journalled(handover, story=turned_away(Outcome.UNKNOWN_MODEL))
    stands, job = standing(handover), replace(JOB, settings={setting: "claude-nobody"})
    assert isinstance(settled(Order(job), stands, None, handover), Failed)
    shared = {setting: "claude-nobody"}  # the monitor's own, for every task
    assert isinstance(settled(Order(job), stands, None, handover, shared), TryAgain)


def test_what_a_run_was_turned_away_by_before_does_not_excuse_another_block(handover: Handover) -> None:
    story = turned_away(Outcome.UNAUTHENTICATED).tell(e.RunResumed(MONITOR))
    journalled(handover, e.RunBlocked("the checks stay red"), story=story)
    assert isinstance(came_to(handover), Failed)


def test_what_turned_a_run_away_is_tried_again_and_nothing_else_is_accepted() -> None:
    run = turned_away(Outcome.UNAUTHENTICATED).run
    assert isinstance(may_start(run, "plan", run.time), Wait)
    run = turned_away(Outcome.UNAUTHENTICATED).tell(e.RunResumed(MONITOR)).run
    assert isinstance(may_start(run, "plan", run.time), Go)


def test_a_spent_limit_has_failed(handover: Handover) -> None:
    journalled(handover, e.RunPaused("the budget of $1.00 is spent", "claudetm resume --max-cost AMOUNT"))
    failed = came_to(handover)
    assert isinstance(failed, Failed)
    assert failed.next == "claudetm monitor retry 'task 1' --set limits.cost_usd=AMOUNT"


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ("claudetm resume", "claudetm --task a logs, then claudetm monitor retry a"),
        ("claudetm resume --model opus", "claudetm monitor retry a --set model=opus"),
        ('claudetm say "…", then claudetm resume', 'claudetm --task a say "…", then claudetm monitor retry a'),
        ("claudetm config set checks.none pass, then claudetm resume",
         "claudetm monitor retry a --set checks.none=pass"),
        ("claudetm status --criteria", "claudetm --task a status --criteria, then claudetm monitor retry a"),
        ("reopen it, or claudetm resume to accept that", "reopen it, or claudetm monitor retry a to accept that"),
        ("", "claudetm monitor retry a"),
    ],
)  # fmt: skip
def test_what_helps_a_failed_task_always_ends_in_a_new_result(step: str, told: str) -> None:
    assert after_failure(step, "a") == told


def test_work_whose_audit_never_passed_is_named(handover: Handover) -> None:
    journalled(handover, e.RunBlocked("no audit passed"), story=at(Stage.AUDITING).tell(TAKEN))
    failed = came_to(handover)
    assert isinstance(failed, Failed)
    assert {"kind": "snapshot", "name": TAKEN.ref} in failed.output.artifacts


@pytest.mark.parametrize("why", ["the plan awaits your approval", "paused by the user", "pull request #7 was opened"])
def test_a_pause_for_a_person_waits_for_that_person(handover: Handover, why: str) -> None:
    journalled(handover, e.RunPaused(why))
    assert came_to(handover) == AwaitsPerson(why, "claudetm --task 'task 1' resume")


@pytest.mark.parametrize(("waited", "pause"), [(0, 60), (200, 60), (2000, 500), (100_000, 1800)])
def test_the_forge_is_looked_at_ever_more_seldom_but_each_half_hour(waited: float, pause: float) -> None:
    story = at(Stage.READY_TO_MERGE).tell(e.RunPaused("ready", "merge it there", "forge"))
    for change in story.run.active.values():
        change.since = story.run.time - waited
    assert look_at(story.run) == story.run.time + pause


@pytest.mark.parametrize("halt", [e.RunPaused("later"), e.RunPaused("may it push?", "", "push"), e.RunBlocked("red")])
def test_what_a_person_has_to_say_is_not_looked_for(halt: e.Event) -> None:
    assert look_at(at(Stage.READY_TO_MERGE).tell(halt).run) is None


def test_a_run_that_was_told_to_end_is_carried_on(handover: Handover) -> None:
    journalled(handover, e.RunPaused(TOLD_TO_END))
    assert came_to(handover) is None
    assert waits(JOB, standing(handover).run) is None


def test_what_a_retry_lifted_holds_no_more_but_what_came_after_does(handover: Handover) -> None:
    journalled(handover, e.RunBlocked("red"))
    assert came_to(handover, lifted=2) is None
    assert isinstance(came_to(handover, lifted=1), Failed)


def test_of_a_run_that_is_over_for_the_order_nothing_counts(handover: Handover) -> None:
    journalled(handover, e.RunCancelled("not wanted"))
    assert came_to(handover, over="r1") is None
    assert isinstance(came_to(handover, over="r0"), Failed)


def test_a_refusal_stands_until_the_run_has_moved(handover: Handover) -> None:
    refused = Ended(Ending.REFUSED, "No checks; `claudetm resume` helps", 0)
    assert came_to(handover, refused) == Failed("No checks; `claudetm monitor retry 'task 1'` helps")
    journalled(handover)
    assert came_to(handover, refused) is None


def test_a_task_that_nothing_would_test_is_told_what_helps_a_task(handover: Handover) -> None:
    with pytest.raises(Untested, match="--no-checks"), last_words(handover):
        opening.refuse_ungated(policy(resolve({})))
    failed = came_to(handover, handover.ended())
    assert isinstance(failed, Failed)
    assert failed.error.startswith("No checks were found in this repository")
    assert "`claudetm config set checks.commands COMMAND`" in failed.error
    assert "`claudetm monitor retry 'task 1'`; a task with `mode: session` needs none" in failed.error
    assert " --" not in failed.error  # an option of a start, which nobody can give to a task


@pytest.mark.parametrize(
    ("ended", "outcome"),
    [
        (Ended(Ending.STOPPED), Stopped()),
        (Ended(Ending.PASSING, "busy"), TryAgain("busy")),
        (Ended(Ending.PASSING, "busy", until=130.0), TryAgain("busy", 30.0)),
        (Ended(Ending.PASSING, "busy", until=90.0), TryAgain("busy", 0.0)),
        (Ended(Ending.OVER), None),
        (Ended(Ending.REFUSED, "no"), None),
        (Ended(Ending.BUG, "oh"), None),
    ],
)
def test_last_words_by_themselves(ended: Ended, outcome: object) -> None:
    assert parting(ended, now=100.0) == outcome


def test_what_each_worker_brings_takes_a_run_no_further(handover: Handover) -> None:
    story = Story(*STARTED, e.PlanProposed(plan()))
    journalled(handover, story=story)
    reached = standing(handover).reached
    story.tell(e.DriverStarted("1"), e.SessionStarted("s1", "planner", "plan"))
    story.tell(e.SessionEnded("s1", "plan", Outcome.LOST))
    journalled(handover, story=story)
    assert standing(handover).reached == reached == 1


# --- the words around ------------------------------------------------------------------------------------------


def test_every_command_that_looks_at_a_run_takes_a_task_and_is_one() -> None:
    assert set(TASKED) < set(COMMANDS)
    assert for_task("claudetm start, claudetm resume; `claudetm config`", "a") == (
        "claudetm start, claudetm --task a resume; `claudetm config`"
    )
    assert for_task("claudetm resumes", "a") == "claudetm resumes"


def test_a_job_says_what_a_start_is_given() -> None:
    settings = {"monitor.auto_commit": True, "monitor.auto_push": True, "model": "opus"}
    session = wish(Order(Job("a b", "d", "Do", "T", Mode.SESSION, issue="7", skill="s", settings=settings)))
    assert (session.goal, session.issue, session.title, session.skill) == ("Do", "", "T", "s")
    assert (session.commit, session.push) == (True, True)
    assert session.task.startswith("a-b-")
    assert session.settings["model"] == "opus"
    goal = wish(Order(Job("a", "d", "Do", "T", Mode.GOAL, issue="7", settings=settings)))
    assert (goal.goal, goal.issue, goal.commit, goal.push, goal.task) == ("", "7", False, False, "")
    unpushed = wish(Order(Job("a", "d", "Do", mode=Mode.SESSION, settings={"monitor.auto_push": True})))
    assert (unpushed.commit, unpushed.push) == (False, False)


def repositories(tmp_path: Path, *names: str) -> Path:
    for name in names:
        (tmp_path / name / ".git").mkdir(parents=True)
    return tmp_path.resolve()


def test_a_job_is_worked_in_the_repository_around_its_folder(tmp_path: Path) -> None:
    root = repositories(tmp_path, "one", "two/deep")
    (root / "one" / "sub").mkdir()
    for named, found in (("one", "one"), ("one/sub", "one"), ("two/deep/../../one", "one"), ("two/deep", "two/deep")):
        assert below(root)(Job("a", "d", "x", repository=named)) == root / found
    assert below(root / "one" / "sub")(JOB) == root / "one"


@pytest.mark.parametrize("named", ["..", "../other", "/etc", "link", "a/../../x", "x" * 5000, "a\0b"])
def test_a_job_is_worked_nowhere_else(tmp_path: Path, named: str) -> None:
    root = repositories(tmp_path, "here/one", "other")
    (root / "here" / "link").symlink_to(root / "other")
    with pytest.raises(UsageError):
        below(root / "here")(Job("a", "d", "x", repository=named))


def test_a_folder_without_a_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="git init"):
        below(tmp_path.resolve())(JOB)
    with pytest.raises(UsageError, match="is not a folder"):
        below(tmp_path.resolve())(Job("a", "d", "x", repository="absent"))


def test_names_lead_to_folders_of_their_own(tmp_path: Path) -> None:
    roots: Sequence[Path] = [state_of(tmp_path, name).root for name in ("a", "a b", "a-b", "A", "é", "e", ".." * 9)]
    assert len(set(roots)) == len(roots)
    assert {root.parent for root in roots} == {tmp_path / ".claude-task-master" / "tasks"}
