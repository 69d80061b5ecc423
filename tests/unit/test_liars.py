"""Agents that lie, stop early or break, in memory: none finishes anything, each session ends in a named outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from claudetm.engine.loop import Ending
from claudetm.ports.agent import Role, SessionReport, SessionRequest
from claudetm.testing.memory import GREEN, RED
from claudetm.workflow.outcomes import CHARGED, Outcome
from claudetm.workflow.stages import Phase, Stage
from world import USAGE, Play, World, answered, change_of, honest, play, proposal, subject_of, task, work

ONE = proposal({"id": "c1", "title": "Greet people", "tasks": [task("Say hello")]})
DONE = work()

Trick = Callable[[World, SessionRequest], Awaitable[SessionReport] | SessionReport]


def liar(role: Role, trick: Trick, subject: str = "") -> Play:
    """Return a play where every session of the role does the trick, and all others are honest."""

    async def acts(world: World, request: SessionRequest) -> SessionReport:
        if request.role is not role or subject not in subject_of(request.prompt):
            return await honest(world, request)
        result = trick(world, request)
        return result if isinstance(result, SessionReport) else await result

    return acts


def world_of(trick: Trick, role: Role = Role.WORKER, plan: Mapping[str, Any] = ONE, **policy: Any) -> World:
    world = World(dict(plan), play=liar(role, trick))
    world.policy = replace(world.policy, **policy)
    return world


def outcomes(world: World, subject: str) -> list[str]:
    return [r.data["outcome"] for r in world.records if r.type == "SessionEnded" and r.data["subject"] == subject]


def details(world: World, subject: str) -> str:
    return " ".join(
        r.data["detail"] for r in world.records if r.type == "SessionEnded" and r.data["subject"] == subject
    )


def reason(world: World) -> str:
    """Return why the run halted; it has a sentence and a next command."""
    halt = world.run.halt
    assert halt is not None
    assert "claudetm" in halt.next
    return halt.reason


def nothing_finished(world: World) -> None:
    assert world.count("TaskFinished") == 0
    assert world.count("TaskSkipped") == 0
    assert not world.forge.pulls
    assert world.repository.branches["main"] == world.repository.first
    assert not world.run.open_sessions


# --- a worker that says it is done ---------------------------------------------------------------------------------


def says_done(_world: World, _request: SessionRequest) -> SessionReport:
    return answered(DONE)


def commits_nothing(world: World, request: SessionRequest) -> SessionReport:
    world.repository.work(change_of(request), {}, "An empty commit")
    return answered(DONE)


def commits_and_reverts(world: World, request: SessionRequest) -> SessionReport:
    before = world.repository.worktrees[change_of(request)].files["README.md"]
    world.repository.work(change_of(request), {"README.md": "other"}, "Change it")
    world.repository.work(change_of(request), {"README.md": before}, "Take it back")
    return answered(DONE)


def leaves_it_modified(world: World, request: SessionRequest) -> SessionReport:
    world.repository.work(change_of(request), {f"{len(world.agent.requests)}.txt": "x"}, "Half of it")
    world.repository.worktrees[change_of(request)].files["README.md"] = f"half-way {len(world.repository.nodes)}"
    return answered(DONE)


def rewrites_history(world: World, request: SessionRequest) -> SessionReport:
    tree = world.repository.worktrees[change_of(request)]
    tree.files["mine.txt"] = "x"
    tree.head = world.repository.commit((), tree.files, "I was first")
    return answered(DONE)


LIES_ABOUT_DONE = {
    "says done without a commit": (says_done, "There is no commit since the task began."),
    "an empty commit": (commits_nothing, "The commits change nothing."),
    "a commit and its revert": (commits_and_reverts, "The commits change nothing."),
    "a dirty tree": (leaves_it_modified, "There are uncommitted changes: README.md."),
    "rewritten history": (rewrites_history, "History was rewritten"),
}


@pytest.mark.parametrize("lie", LIES_ABOUT_DONE)
def test_a_worker_whose_done_the_repository_contradicts_finishes_nothing(lie: str) -> None:
    trick, why = LIES_ABOUT_DONE[lie]
    world = world_of(trick)
    assert play(world) is Ending.BLOCKED
    nothing_finished(world)
    assert outcomes(world, "c1.t1") == ["contradicted"] * 3
    assert why in details(world, "c1.t1")
    assert "3 attempts came to nothing" in reason(world)
    assert why in reason(world)


def test_the_next_session_is_told_what_contradicted_the_last() -> None:
    world = world_of(says_done)
    play(world)
    second = [r for r in world.agent.requests if r.role is Role.WORKER][1]
    assert "There is no commit since the task began." in second.prompt


def test_a_worktree_put_back_to_an_older_commit_loses_no_finished_task() -> None:
    def resets(world: World, request: SessionRequest) -> SessionReport:
        tree = world.repository.worktrees[change_of(request)]
        tree.head = world.repository.first
        tree.files = dict(world.repository.nodes[tree.head].tree)
        return answered(DONE)

    world = World(play=liar(Role.WORKER, resets, "c1.t2"))
    assert play(world) is Ending.BLOCKED
    assert world.count("TaskFinished") == 1
    assert outcomes(world, "c1.t2") == ["contradicted"] * 3
    assert "History was rewritten" in details(world, "c1.t2")
    head = world.run.changes["c1"].head
    assert "c1.t1.txt" in world.repository.nodes[head].tree
    world.play = honest
    assert play(world) is Ending.VERIFIED
    assert {"c1.t1.txt", "c1.t2.txt"} <= set(world.tree())


def test_untracked_leftovers_are_kept_under_a_ref_and_never_published() -> None:
    async def leaves(world: World, request: SessionRequest) -> SessionReport:
        files = world.repository.worktrees[change_of(request)].files
        files.pop("debug.log", None)
        report = await world.commits(request)
        files["debug.log"] = "noise"
        return report

    world = world_of(leaves)
    assert play(world) is Ending.VERIFIED
    assert "debug.log" not in world.tree()
    assert world.count("SnapshotTaken") == 1
    [kept] = world.repository.snapshots.values()
    assert world.repository.nodes[kept].tree["debug.log"] == "noise"


def test_a_change_of_blanks_alone_may_be_a_task_but_proves_no_goal() -> None:
    async def reindents(world: World, request: SessionRequest) -> SessionReport:
        return await world.commits(request, {"README.md": f"hello{' ' * len(world.agent.requests)}\n"})

    world = world_of(reindents, verify_rounds=1)
    world.commands.answer = lambda _request: 1  # the criterion fails, whatever was merged
    assert play(world) is Ending.BLOCKED
    assert world.count("GoalVerified") == 0
    assert "People are greeted" in reason(world)


# --- a worker whose answer is not one ------------------------------------------------------------------------------

CRITERION = {"criterion_id": "c1.t1", "verdict": "holds", "evidence": ["README.md:1"], "missing": ""}

NO_ANSWERS = {
    "done, with every check failed": work(checks=[{"command": "make test", "exit_code": 1}]),
    "done, with something remaining": work(remaining=["The other half"]),
    "done, with a blocker": work(blocker={"kind": "access", "needs": "a key", "tried": "none"}),
    "unfinished, with nothing remaining": work("unfinished"),
    "blocked, by nothing": work("blocked"),
    "already true, without proof": work("already_true"),
    "an unknown outcome": work("finished"),
    "an unknown field": work(merged=True),
    "no fields at all": {},
    "a verdict, as if it were the verifier": {"results": [CRITERION]},
}


@pytest.mark.parametrize("form", NO_ANSWERS)
def test_an_answer_that_breaks_its_form_finishes_nothing(form: str) -> None:
    def commits_and_says(world: World, request: SessionRequest) -> SessionReport:
        world.repository.work(change_of(request), {"real.txt": "x"}, "Real work")
        return answered(NO_ANSWERS[form])

    world = world_of(commits_and_says)
    assert play(world) is Ending.BLOCKED
    nothing_finished(world)
    assert outcomes(world, "c1.t1") == ["no_answer"] * 3
    assert "3 attempts came to nothing" in reason(world)


def test_a_session_may_mend_an_answer_of_the_wrong_form_before_it_ends() -> None:
    said: list[str] = []

    async def mends(world: World, request: SessionRequest) -> SessionReport:
        said.append("once")
        if len(said) == 1:
            return answered(work(remaining=["The other half"]))
        return await world.commits(request)

    world = world_of(mends)
    assert play(world) is Ending.VERIFIED
    assert outcomes(world, "c1.t1") == ["answered"]


def test_an_unfinished_task_is_charged_until_it_blocks() -> None:
    world = world_of(lambda *_: answered(work("unfinished", remaining=["All of it"])))
    assert play(world) is Ending.BLOCKED
    nothing_finished(world)
    assert outcomes(world, "c1.t1") == ["answered"] * 3
    assert "All of it" in reason(world)


def test_a_worker_that_is_stuck_blocks_the_change_at_once() -> None:
    stuck = {"kind": "access", "needs": "the password of the database", "tried": "guessing"}
    world = world_of(lambda *_: answered(work("blocked", blocker=stuck)))
    assert play(world) is Ending.BLOCKED
    nothing_finished(world)
    assert outcomes(world, "c1.t1") == ["answered"]
    assert "the password of the database" in reason(world)


CONFIRMATIONS = {
    "refuted": {**CRITERION, "verdict": "fails"},
    "unproven": {**CRITERION, "verdict": "unproven", "evidence": []},
    "held without evidence": {**CRITERION, "evidence": []},
    "answered for another task": {**CRITERION, "criterion_id": "c9.t9"},
}


@pytest.mark.parametrize("verdict", CONFIRMATIONS)
def test_already_true_that_no_second_look_confirms_skips_nothing(verdict: str) -> None:
    async def acts(world: World, request: SessionRequest) -> SessionReport:
        if request.role is Role.WORKER:
            return answered(work("already_true", evidence=[{"path": "README.md", "line": 1, "command": ""}]))
        if ":confirm" in subject_of(request.prompt):
            return answered({"results": [CONFIRMATIONS[verdict]]})
        return await honest(world, request)

    world = World(ONE, play=acts)
    assert play(world) is Ending.BLOCKED
    nothing_finished(world)
    assert "attempts came to nothing" in reason(world)


def test_a_flood_of_learnings_stays_bounded_and_said_once() -> None:
    flood = [f"Learning {n % 50}: " + "x" * 1000 for n in range(200)]

    async def floods(world: World, request: SessionRequest) -> SessionReport:
        await world.commits(request)
        return answered(work(learnings=flood))

    world = World(play=liar(Role.WORKER, floods))
    assert play(world) is Ending.VERIFIED
    ended = [r.data["learnings"] for r in world.records if r.type == "SessionEnded"]
    assert max(len(learned) for learned in ended) <= 3
    assert all(len(text) <= 200 for text in world.run.learnings)
    assert len(set(world.run.learnings)) == len(world.run.learnings)


# --- sessions that end without an answer ---------------------------------------------------------------------------

ENDS = [
    o
    for o in Outcome
    if o
    not in {
        Outcome.ANSWERED,
        Outcome.CONTRADICTED,
        Outcome.LOST,
        Outcome.USAGE_LIMIT,
        Outcome.INTERRUPTED,
        Outcome.RESUME_FAILED,
    }
]
WHY = {
    Outcome.CRASHED: "quarantined",
    Outcome.OVERLOADED: "the model's service failed",
    Outcome.START_FAILED: "the model's service failed",
    Outcome.CONTEXT_OVERFLOW: "outgrew the model's context",
    Outcome.UNAUTHENTICATED: "refused the credentials",
    Outcome.BILLING: "no credit",
    Outcome.UNKNOWN_MODEL: "does not know the model",
}


@pytest.mark.parametrize("outcome", ENDS)
def test_a_session_without_an_answer_finishes_nothing_and_names_its_end(outcome: Outcome) -> None:
    def ends(world: World, request: SessionRequest) -> SessionReport:
        world.repository.work(change_of(request), {"half.txt": "x"}, "Half of it")
        return SessionReport(outcome, None, USAGE, f"It ended: {outcome}.")

    world = world_of(ends)
    assert play(world) is Ending.BLOCKED
    nothing_finished(world)
    assert set(outcomes(world, "c1.t1")) == {outcome.value}
    assert WHY.get(outcome, "3 attempts came to nothing") in reason(world)
    assert len(outcomes(world, "c1.t1")) == (3 if outcome in CHARGED else len(outcomes(world, "c1.t1")))
    assert world.run.tally("c1.t1").attempts == (3 if outcome in CHARGED else 0)


def test_what_a_broken_session_committed_is_there_for_the_next_one() -> None:
    ended: list[str] = []

    def ends_once(world: World, request: SessionRequest) -> SessionReport:
        if not ended:
            ended.append(request.id)
            world.repository.work(change_of(request), {"half.txt": "x"}, "Half of it")
            return SessionReport(Outcome.CUT_OFF, None, USAGE)
        world.repository.work(change_of(request), {"rest.txt": "x"}, "The rest")
        return answered(DONE)

    world = world_of(ends_once)
    assert play(world) is Ending.VERIFIED
    assert {"half.txt", "rest.txt"} <= set(world.tree())
    assert "Half of it" in [r for r in world.agent.requests if r.role is Role.WORKER][1].prompt


# --- planners ------------------------------------------------------------------------------------------------------


def lies_in_planning(answer: Mapping[str, Any]) -> World:
    return world_of(lambda *_: answered(answer), Role.PLANNER)


def change(change_id: str, *depends: str, **more: Any) -> dict[str, Any]:
    return {"id": change_id, "title": f"Change {change_id}", "tasks": [task()], "depends_on": list(depends), **more}


NO_PLANS = {
    "empty": {**proposal(), "changes": []},
    "nothing to do, without proof": {**proposal(), "outcome": "nothing_to_do", "changes": []},
    "nothing to do, without criteria": {
        **proposal(criteria=[]),
        "outcome": "nothing_to_do",
        "changes": [],
        "evidence": ["README.md:1"],
    },
    "of another form": {"outcome": "planned"},
}

BAD_PLANS = {
    "cyclic": (proposal(change("c1", "c2"), change("c2", "c1")), "depend on each other in a circle"),
    "leaning on what is not there": (proposal(change("c1", "c7")), "c7"),
    "without tasks": (proposal(change("c1", tasks=[])), "c1"),
    "without criteria": (proposal(change("c1"), criteria=[]), "criteri"),
}


@pytest.mark.parametrize("form", NO_PLANS)
def test_a_planner_without_an_answer_begins_no_work(form: str) -> None:
    world = lies_in_planning(NO_PLANS[form])
    assert play(world) is Ending.BLOCKED
    nothing_finished(world)
    assert outcomes(world, "plan") == ["no_answer"] * 3
    assert world.run.phase is Phase.PLANNING
    assert "plan: 3 attempts came to nothing" in reason(world)


@pytest.mark.parametrize("form", BAD_PLANS)
def test_a_plan_that_cannot_be_worked_goes_back_and_then_blocks(form: str) -> None:
    plan, why = BAD_PLANS[form]
    world = lies_in_planning(plan)
    assert play(world) is Ending.BLOCKED
    nothing_finished(world)
    assert world.count("PlanProposed") == 0
    assert world.count("PlanRefused") == 2
    assert why in reason(world)


def test_files_that_the_planner_invents_go_back_to_it() -> None:
    invented = proposal(change("c1", tasks=[{**task("Mend it"), "files": ["lib/engine/core.rs"]}]))
    world = lies_in_planning(invented)
    play(world)
    refused = [r.data["reasons"] for r in world.records if r.type == "PlanRefused"]
    assert "lib/engine/core.rs" in " ".join(refused[0])


def test_nothing_to_do_that_does_not_hold_is_mended_not_believed() -> None:
    answer = {**proposal(), "outcome": "nothing_to_do", "changes": [], "evidence": ["README.md:1 it is there"]}
    world = world_of(lambda *_: answered(answer), Role.PLANNER)
    assert play(world) is Ending.BLOCKED
    assert world.count("GoalVerified") == 0
    assert "the planner sees no way" in reason(world)


# --- verifiers, reviewers ------------------------------------------------------------------------------------------

JUDGED = [{"text": "The help explains itself."}, {"text": "The error names the file."}]


def holds(*ids: str, evidence: tuple[str, ...] = ("README.md:1",)) -> dict[str, Any]:
    each = {"verdict": "holds", "evidence": list(evidence), "missing": ""}
    return {"results": [{"criterion_id": i, **each} for i in ids]}


NO_VERDICTS = {
    "holds without evidence": holds("k1", "k2", evidence=()),
    "holds by blanks": holds("k1", "k2", evidence=(" ",)),
    "no verdict at all": {"results": []},
    "the same criterion twice": holds("k1", "k1"),
}


@pytest.mark.parametrize("form", NO_VERDICTS)
def test_a_verifier_without_proof_verifies_nothing(form: str) -> None:
    world = world_of(lambda *_: answered(NO_VERDICTS[form]), Role.VERIFIER, {**ONE, "criteria": JUDGED})
    assert play(world) is Ending.BLOCKED
    assert world.count("GoalVerified") == 0
    assert outcomes(world, "verify") == ["no_answer"] * 3
    assert "verify: 3 attempts came to nothing" in reason(world)


def test_a_criterion_that_the_verifier_omits_is_unproven() -> None:
    world = world_of(lambda *_: answered(holds("k1")), Role.VERIFIER, {**ONE, "criteria": JUDGED}, verify_rounds=1)
    assert play(world) is Ending.BLOCKED
    assert world.count("GoalVerified") == 0
    checked = [r.data for r in world.records if r.type == "CriterionChecked"]
    verdicts = [(c["criterion"], c["verdict"], c["missing"]) for c in checked[:2]]
    assert verdicts == [("k1", "holds", ""), ("k2", "unproven", "the verifier gave no verdict")]


def test_a_verdict_on_a_criterion_there_is_not_proves_nothing() -> None:
    plan = {**ONE, "criteria": JUDGED}
    world = world_of(lambda *_: answered(holds("k7", "k8")), Role.VERIFIER, plan, verify_rounds=1)
    assert play(world) is Ending.BLOCKED
    assert world.count("GoalVerified") == 0


def test_a_verifier_cannot_talk_a_failing_command_right() -> None:
    plan = {**ONE, "criteria": [{"text": "People are greeted", "command": "greet"}, JUDGED[0]]}
    world = world_of(lambda *_: answered(holds("k1", "k2")), Role.VERIFIER, plan, verify_rounds=1)
    world.commands.answer = lambda _request: 1
    assert play(world) is Ending.BLOCKED
    assert world.run.receipts["k1"].verdict == "fails"


def test_a_reviewer_that_examined_nothing_has_not_reviewed() -> None:
    blind: dict[str, Any] = {"findings": [], "earlier": [], "examined": []}
    world = world_of(lambda *_: answered(blind), Role.REVIEWER, self_review=True)
    assert play(world) is Ending.BLOCKED
    assert world.count("SelfReviewed") == 0
    assert not world.forge.merges
    assert outcomes(world, "c1:review") == ["no_answer"] * 3


# --- responders, fixers, updaters ----------------------------------------------------------------------------------


def remarked(trick: Trick) -> World:
    """Return a world where a person has two remarks on the pull request, and the responder does the trick."""
    world = world_of(trick, Role.RESPONDER)
    noted: list[str] = []

    def checks(pull: Any) -> Any:
        if not noted:
            noted.extend(world.forge.remark(pull.number, text) for text in ("Rename this.", "And why that?"))
        return GREEN

    world.forge.checks = checks
    return world


def replies(world: World, outcome: str, most: int = 9) -> SessionReport:
    threads = list(world.forge.pulls[1].threads)[:most]
    return answered(
        {"replies": [{"thread_id": t, "outcome": outcome, "text": "Done."} for t in threads], "checks": []}
    )


def empties(world: World, request: SessionRequest) -> SessionReport:
    world.repository.work(change_of(request), {}, "Address review")
    return replies(world, "fixed")


LIES_TO_REVIEWERS = {
    "skips a thread": (lambda w, _r: replies(w, "declined", 1), "These threads have no reply: t1.2."),
    "fixed without a commit": (lambda w, _r: replies(w, "fixed"), "There is no commit since the task began."),
    "fixed by an empty commit": (empties, "The commits change nothing."),
}


@pytest.mark.parametrize("lie", LIES_TO_REVIEWERS)
def test_a_responder_that_lies_answers_nobody(lie: str) -> None:
    trick, why = LIES_TO_REVIEWERS[lie]
    world = remarked(trick)
    assert play(world) is Ending.BLOCKED
    assert world.count("ReviewsAnswered") == 0
    assert not world.forge.merges
    assert not any(c.ours for t in world.forge.pulls[1].threads.values() for c in t.comments)
    assert outcomes(world, "c1:respond") == ["contradicted"] * 3
    assert why in reason(world)


FIXED = work("fixed", cause="A typo", reproduced=True)


def fixes_nothing(world: World, request: SessionRequest) -> SessionReport:
    world.repository.work(change_of(request), {}, "Fix")
    return answered(FIXED)


LIES_ABOUT_FIXES = {
    "fixed without a commit": (lambda *_: answered(FIXED), "contradicted"),
    "fixed by an empty commit": (fixes_nothing, "contradicted"),
    "fixed, with every check failed": (
        lambda *_: answered({**FIXED, "checks": [{"command": "make test", "exit_code": 2}]}),
        "no_answer",
    ),
    "flaky, without a run that shows it": (lambda *_: answered({**FIXED, "outcome": "flaky"}), "no_answer"),
}


@pytest.mark.parametrize("lie", LIES_ABOUT_FIXES)
def test_a_fixer_that_lies_pushes_nothing(lie: str) -> None:
    trick, outcome = LIES_ABOUT_FIXES[lie]
    world = world_of(trick, Role.FIXER)
    world.forge.checks = lambda _pull: RED
    assert play(world) is Ending.BLOCKED
    assert world.count("FixPushed") == 0
    assert world.run.changes["c1"].stage is Stage.CI_FAILED
    assert outcomes(world, "c1:fix") == [outcome] * 3
    assert "c1:fix: 3 attempts came to nothing" in reason(world)


def test_a_fixer_that_blames_others_merges_nothing() -> None:
    blames = {**FIXED, "outcome": "not_ours", "checks": [{"command": "make test", "exit_code": 2}]}
    world = world_of(lambda *_: answered(blames), Role.FIXER)
    world.forge.checks = lambda _pull: RED
    assert play(world) is Ending.BLOCKED
    assert not world.forge.merges
    assert "fails without this change" in reason(world)


def conflicting(trick: Trick) -> World:
    """Return a world where the base gets a clashing file and one of its own, and the updater does the trick."""
    world = world_of(trick, Role.UPDATER)
    moved: list[str] = []

    def checks(_pull: Any) -> Any:
        if not moved:
            moved.append(world.repository.push_by_person("main", {"c1.t1.txt": "theirs", "hers.txt": "hers"}))
        return GREEN

    world.forge.checks = checks
    return world


def merges(world: World, request: SessionRequest, keep: str, kept: str, *more: str) -> SessionReport:
    """Commit a merge of both sides whose files are those of one; `more` are files taken from the base besides."""
    tree = world.repository.worktrees[change_of(request)]
    base = world.repository.branches["main"]
    theirs = world.repository.nodes[base].tree
    tree.files = {**(tree.files if keep == "ours" else theirs), **{p: theirs[p] for p in more}}
    tree.head = world.repository.commit((tree.head, base), tree.files, "Merge")
    files = [{"path": "c1.t1.txt", "kept": kept, "why": "So."}]
    return answered({"outcome": "resolved", "files": files, "checks": []})


def resolved(_world: World, _request: SessionRequest) -> SessionReport:
    return answered({"outcome": "resolved", "files": [], "checks": []})


def drops_the_branch(world: World, request: SessionRequest) -> SessionReport:
    tree = world.repository.worktrees[change_of(request)]
    tree.head = world.repository.branches["main"]
    tree.files = dict(world.repository.nodes[tree.head].tree)
    return resolved(world, request)


LOST_SIDES = {
    "no merge at all": (resolved, "The merge lacks the base"),
    "the base instead of a merge": (drops_the_branch, "The merge lacks the branch"),
    "git merge -s ours": (lambda w, r: merges(w, r, "ours", "both"), "takes back what a side has changed: hers.txt"),
    "theirs alone, called both": (lambda w, r: merges(w, r, "theirs", "both"), "keeps only theirs of c1.t1.txt"),
    "ours alone, called both": (
        lambda w, r: merges(w, r, "ours", "both", "hers.txt"),
        "keeps only ours of c1.t1.txt",
    ),
}


@pytest.mark.parametrize("lie", LOST_SIDES)
def test_an_updater_that_loses_a_side_updates_nothing(lie: str) -> None:
    trick, why = LOST_SIDES[lie]
    world = conflicting(trick)
    assert play(world) is Ending.BLOCKED
    assert world.count("BranchUpdated") == 0
    assert not world.forge.merges
    assert outcomes(world, "c1:update") == ["contradicted"] * 3
    assert why in reason(world)


def test_an_updater_that_says_which_side_it_kept_is_taken_at_its_word() -> None:
    world = conflicting(lambda w, r: merges(w, r, "ours", "ours", "hers.txt"))
    assert play(world) is Ending.VERIFIED
    assert {"hers.txt": "hers", "c1.t1.txt": "c1.t1\n"}.items() <= world.tree().items()


def test_a_liar_that_turns_honest_gets_the_run_to_its_end() -> None:
    async def story() -> None:
        world = world_of(says_done)
        assert await world.drive() is Ending.BLOCKED
        world.play = honest
        assert await world.drive() is Ending.VERIFIED

    asyncio.run(story())
