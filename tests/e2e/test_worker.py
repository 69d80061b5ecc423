"""Tasks of the monitor, worked by real workers with the real CLI on the scripted model, in each mode."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest

from claudetm.adapters.dispatch.place import below, state_of
from claudetm.adapters.dispatch.processes import WORKER, ProcessDispatch
from claudetm.ports.dispatch import AwaitsPerson, Died, Done, Failed, Stopped, WorkOutcome
from claudetm.ports.source import Job, Mode, Note
from terminal import Terminal, terminal

pytestmark = pytest.mark.e2e

HERE = Path(__file__).parent / "scenarios"
GOAL = {"reviews.self": False}
SESSION = {"limits.session_minutes": "300s"}


@pytest.fixture
def person(tmp_path: Path) -> Terminal:
    return terminal(tmp_path.resolve())


def dispatch(person: Terminal, scenario: str = "task", **more: str) -> ProcessDispatch:
    return ProcessDispatch(
        below(person.here),
        {**person.environment, **more},
        rehearsal=str(HERE / f"{scenario}.yaml"),
        look=0.05,
    )


def job(mode: Mode, text: str = "Greet a stranger when the name is missing", **more: object) -> Job:
    return Job("task-1", "directory", text, "Greet strangers", mode=mode, settings=dict(SESSION), **more)  # type: ignore[arg-type] # of many types


def work(made: ProcessDispatch, job: Job, notes: list[Note] | None = None) -> WorkOutcome:
    told = notes if notes is not None else []
    return asyncio.run(made.work(job, told.append, asyncio.Event()))


def test_a_session_is_worked_scored_and_kept_and_applied(person: Terminal) -> None:
    head, notes = person.git("rev-parse", "HEAD"), list[Note]()
    outcome = work(dispatch(person), job(Mode.SESSION), notes)
    assert isinstance(outcome, Done), outcome
    output = outcome.output
    assert (output.summary, output.raw) == ("A stranger is greeted.", 'greet("") returns "Hello, stranger".')
    assert (output.score, output.notes) == (93, "A test of it would be good.")
    assert output.cost_usd > 0
    assert output.usage["output_tokens"] > 0
    [snapshot] = [a["name"] for a in output.artifacts if a["kind"] == "snapshot"]
    assert "stranger" in person.git("show", f"{snapshot}:greet/greet.py")
    assert all(Path(a["name"]).is_file() for a in output.artifacts if a["kind"] == "log")
    assert person.git("rev-parse", "HEAD") == head
    assert person.git("status", "--porcelain") == ""
    assert {"working", "auditing"} <= {note.stage for note in notes}
    assert notes[-1].cost_usd > 0
    status = person("--task", "task-1", "status")
    assert "the work is kept as" in status.stdout, status
    assert person("status").returncode == 1  # the user's own run is another, and there is none
    assert "Greet a stranger" in (person.here / ".claude-task-master" / "tasks" / "task-1" / "goal.txt").read_text()

    applied_in_one_step_or_not_at_all(person, snapshot)


def applied_in_one_step_or_not_at_all(person: Terminal, snapshot: str) -> None:
    file = person.here / "greet" / "greet.py"
    was = file.read_text()
    file.write_text(f"{was}# mine\n")
    refused = person("monitor", "apply", "task-1")
    assert refused.returncode == 1
    assert "greet/greet.py" in refused.stderr
    assert f"git merge {snapshot}" in refused.stderr
    picked = refused.stderr.partition("git cherry-pick ")[2].partition("`")[0]
    assert person.git("rev-list", picked) == person.git("rev-list", f"main..{snapshot}")
    assert file.read_text() == f"{was}# mine\n"
    file.write_text(was)
    assert "written: greet/greet.py" in person("monitor", "apply", "task-1").stdout
    assert "stranger" in file.read_text()
    assert json.loads(person("monitor", "apply", "task-1", "--json").stdout)["written"] == []
    assert person("monitor", "apply", "other").returncode == 1


def test_a_question_is_answered_and_nothing_is_changed(person: Terminal) -> None:
    outcome = work(dispatch(person), job(Mode.QUESTION, "Who is greeted?"))
    assert isinstance(outcome, Done), outcome
    assert outcome.output.summary == "Nobody is greeted yet where the name is empty."
    assert not [a for a in outcome.output.artifacts if a["kind"] != "log"]


def test_a_goal_is_merged_beside_the_user_s_own_run(person: Terminal) -> None:
    own = person.begin("start", "Greet a stranger", "--rehearse", "demo", "--approve-plan")
    outcome = work(dispatch(person, "one_change"), Job("goal 1", "directory", "Greet a stranger", settings=GOAL))
    assert own.wait(60) == 2, person.output()
    assert isinstance(outcome, Done), outcome
    kinds = [a["kind"] for a in outcome.output.artifacts]
    assert "pull_request" in kinds
    assert "commit" in kinds
    assert 'name or "stranger"' in person.git("show", "HEAD:greet/greet.py")
    assert "the plan awaits your approval" in person("status").stdout
    for command in ("status", "plan", "progress", "context", "logs", "pr", "comments", "explain", "undo"):
        seen = person("--task", "goal 1", command)
        assert seen.returncode == 0, seen
    assert person("clean", "--force").returncode == 0
    assert person("--task=goal 1", "status").returncode == 0
    assert person("--task", "goal 1", "clean", "--force").returncode == 0
    assert person("--task", "goal 1", "status").returncode == 1


def test_what_waits_for_a_person_is_carried_on_by_that_person(person: Terminal) -> None:
    made = dispatch(person, "one_change")
    asked = Job("goal", "directory", "Greet a stranger", settings={**GOAL, "plan.approve": True})
    outcome = work(made, asked)
    assert outcome == AwaitsPerson(
        "the plan awaits your approval", "claudetm --task goal plan, then claudetm --task goal resume"
    )
    assert asyncio.run(made.awaits(asked)) == outcome
    unknown = person("--task", "other", "resume")
    assert unknown.returncode == 1
    assert "those here are goal;" in unknown.stderr
    resumed = person("--task", "goal", "resume")
    assert resumed.returncode == 0, resumed
    assert asyncio.run(made.awaits(asked)) is None
    assert isinstance(work(made, asked), Done)


def test_what_a_person_merges_is_found_and_the_run_goes_on_by_itself(person: Terminal) -> None:
    now = 0.0
    made = ProcessDispatch(
        below(person.here),
        person.environment,
        rehearsal=str(HERE / "one_change.yaml"),
        look=0.05,
        now=lambda: time.time() + now,
    )
    asked = Job("goal", "directory", "Greet a stranger", settings={**GOAL, "merge.auto": False})
    outcome = work(made, asked)
    assert isinstance(outcome, AwaitsPerson), outcome
    assert "merging is left to you" in outcome.why
    assert asyncio.run(made.awaits(asked)) == outcome
    branch = outcome.next.split()[2].rstrip(",")
    person.git("merge", "-q", "--no-ff", "-m", "Take it", branch)
    now = 100.0
    assert asyncio.run(made.awaits(asked)) is None
    assert isinstance(done := work(made, asked), Done), done


def test_what_is_refused_at_the_start_fails_in_one_sentence_with_nothing_begun(person: Terminal) -> None:
    for settings, said in (
        ({"merge.method": "rebase"}, "The local forge cannot rebase"),
        ({"agent.cli": "path"}, "Claude CLI is not available: "),
        ({"limits.turn": 3}, "did you mean limits.turns"),
    ):
        outcome = work(
            dispatch(person, "one_change", PATH="/usr/bin:/bin"), Job("j", "directory", "Greet", settings=settings)
        )
        assert isinstance(outcome, Failed)
        assert said in outcome.error
        assert not state_of(person.here, "j").journal.exists()
        asyncio.run(dispatch(person).retry(Job("j", "directory", "Greet")))
    long = work(dispatch(person), job(Mode.SESSION, "x" * 70_000))
    assert isinstance(long, Failed)
    assert "longer than 64 KiB" in long.error


def test_a_killed_worker_is_told_and_the_next_ends_the_same(person: Terminal) -> None:
    made = dispatch(person, "one_change", CLAUDETM_KILL_AT="after:9")
    asked = Job("goal", "directory", "Greet a stranger", settings=GOAL)
    died = work(made, asked)
    assert isinstance(died, Died), died
    assert "signal 9" in died.evidence
    assert isinstance(work(dispatch(person, "one_change"), asked), Done)


def test_a_worker_that_is_stopped_keeps_its_work_and_is_carried_on(person: Terminal, tmp_path: Path) -> None:
    slow = tmp_path / "slow.yaml"
    text = (
        (HERE / "task.yaml")
        .read_text()
        .replace("      - use:\n          - Bash:", "      - delay: 20\n        use:\n          - Bash:", 1)
    )
    slow.write_text(text)
    made = ProcessDispatch(below(person.here), person.environment, rehearsal=str(slow), look=0.05)

    async def stopped() -> WorkOutcome:
        stop = asyncio.Event()
        at_work = asyncio.ensure_future(made.work(job(Mode.SESSION), lambda _note: None, stop))
        journal = state_of(person.here, "task-1").journal
        async with asyncio.timeout(40):
            while not (journal.exists() and "SessionStarted" in journal.read_text()):  # noqa: ASYNC110 - a file
                await asyncio.sleep(0.05)
        await asyncio.sleep(1)
        stop.set()
        return await at_work

    assert asyncio.run(stopped()) == Stopped()
    assert work(made, job(Mode.SESSION, lease=3.0)) == Stopped()  # by itself: nobody keeps its claim
    assert "no monitor keeps" in (state_of(person.here, "task-1").root / "worker.txt").read_text()
    slow.write_text((HERE / "task.yaml").read_text())
    assert isinstance(work(made, job(Mode.SESSION)), Done)


def test_a_worker_has_the_forge_s_token_and_no_other_key(person: Terminal) -> None:
    """What the monitor itself holds is withdrawn from its environment; what it is started with is looked at here."""
    told = {"SEGO_API_URL": "https://sego.example", "AUTO_PUSH": "true", "NOTIFY_SOCKET": "/run/x", "KEPT": "yes"}
    seen = person.home / "seen"
    script = f"import sys; open({str(seen)!r}, 'w').write(open('/proc/self/environ').read())"
    made = ProcessDispatch(
        below(person.here), {**person.environment, **told, "SEGO_API_KEY": "k"}, command=(WORKER[0], "-c", script)
    )
    work(made, job(Mode.SESSION))
    environment = dict(pair.split("=", 1) for pair in seen.read_text().split("\0") if pair)
    assert environment["KEPT"] == "yes"
    assert not {*told, "SEGO_API_KEY"} - {"KEPT"} & set(environment)


def test_work_is_nothing_for_people(person: Terminal) -> None:
    assert "The descriptor of" not in (shown := person("monitor", "--help").stdout)
    assert "│ work " not in shown
    for folder in (person.here, person.state / "tasks" / "x"):
        folder.mkdir(parents=True, exist_ok=True)
        refused = person("monitor", "work", str(folder), "--lock", "-1")
        assert refused.returncode == 1
        assert "its workers by itself" in refused.stderr


def test_a_finished_task_is_forgotten_and_its_journal_is_kept(
    person: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", person.environment["XDG_STATE_HOME"])
    made = dispatch(person)
    assert isinstance(work(made, job(Mode.QUESTION)), Done)
    runs = Path(person.environment["XDG_STATE_HOME"]) / "claudetm"
    assert list(runs.glob("greet-*/*"))
    for _ in range(2):
        asyncio.run(made.forget(job(Mode.QUESTION)))
    assert not list(runs.glob("greet-*/*"))
    state = state_of(person.here, "task-1")
    assert "QuestionAnswered" in state.journal.read_text()
    assert isinstance(work(made, job(Mode.QUESTION)), Done)  # worked anew
    assert len(list(state.history.iterdir())) == 1
