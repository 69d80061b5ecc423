"""The updater on memory adapters: what it is told of both sides, and what of its merges is taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from claudetm.engine.loop import Ending
from claudetm.ports.agent import Role, SessionReport, SessionRequest
from claudetm.ports.repository import Conflicted, Merged
from claudetm.testing.memory import GREEN, PENDING, MemoryForge, MemoryRepository
from claudetm.workflow.outcomes import Outcome
from claudetm.workflow.policy import Policy
from claudetm.workflow.pull_request import Check, PullRequest
from world import World, answered, change_of, honest, play, proposal, task

THEIRS = {"c1.t1.txt": "theirs\n", "hers.txt": "hers\n"}


def conflicting(merge: Mapping[str, str] | None, *named: str, keep: str = "both") -> World:
    """Return a world where a person's commit conflicts with c1.

    `merge` is what the updater makes of the files besides taking both sides in, `named` the files it says it settled;
    None lets it do so honestly.
    """

    async def updates(world: World, request: SessionRequest) -> SessionReport:
        if request.role is not Role.UPDATER or merge is None:
            return await honest(world, request)
        report = world.resolves(request)
        tree = world.repository.worktrees[change_of(request)]
        tree.files = {p: text for p, text in {**tree.files, **merge}.items() if text}
        first = world.repository.nodes[tree.head].parents
        tree.head = world.repository.commit(first, tree.files, "Merge")
        files = [{"path": p, "kept": keep, "why": "Both are wanted."} for p in ("c1.t1.txt", *named)]
        return answered({**(report.answer or {}), "files": files})

    world = World(plan=proposal({"id": "c1", "title": "Greet", "tasks": [task("One")]}), play=updates)
    pushed: list[str] = []

    def checks(_pull: Any) -> Any:
        if not pushed:
            pushed.append(world.repository.push_by_person("main", THEIRS, "Greet in French"))
        return GREEN

    world.forge.checks = checks
    return world


def updaters(world: World) -> list[str]:
    return [r.prompt for r in world.agent.requests if r.role is Role.UPDATER]


def reason(world: World) -> str:
    return world.run.halt.reason if world.run.halt else ""


def test_the_updater_is_told_both_sides_intents() -> None:
    world = conflicting(None)
    assert play(world) is Ending.VERIFIED
    (prompt,) = updaters(world)
    for told in ("c1: Greet", "It is wanted.", "Greet in French", "+theirs", "c1.t1.txt"):
        assert told in prompt
    assert world.run.changes["c1"].base in prompt
    assert "hers.txt" not in prompt  # what does not conflict is not shown


def test_what_this_run_has_merged_meanwhile_is_told_with_its_why() -> None:
    same = {"same.txt": "c1\n"}
    two = ({"id": "c1", "title": "First", "why": "Wanted first.", "tasks": [task()]}, {"id": "c2", "title": "Second"})
    world = World(plan=proposal(two[0], {**two[1], "tasks": [task()]}))

    async def clashes(w: World, request: SessionRequest) -> SessionReport:
        if request.role is Role.WORKER:
            return await w.commits(request, same if change_of(request) == "c1" else {"same.txt": "c2\n"})
        return await honest(w, request)

    world.play = clashes
    world.forge.checks = lambda pull: GREEN if "c2" in world.repository.worktrees or pull.number == 2 else ()
    assert play(world) is Ending.VERIFIED, reason(world)
    assert any("c1, of this run: First: Wanted first." in prompt for prompt in updaters(world))


def test_a_snapshot_is_taken_of_what_an_updater_left_before_the_next_begins() -> None:
    world = conflicting(None)
    begun: list[str] = []

    async def leaves_a_mess(w: World, request: SessionRequest) -> SessionReport:
        if request.role is not Role.UPDATER:
            return await honest(w, request)
        tree = w.repository.worktrees["c1"]
        begun.append(request.id)
        if len(begun) == 1:
            tree.files["c1.t1.txt"] = "half a merge\n"
            return SessionReport(Outcome.NO_ANSWER)
        tree.files = dict(w.repository.nodes[tree.head].tree)
        return w.resolves(request)

    world.play = leaves_a_mess
    assert play(world) is Ending.VERIFIED, reason(world)
    kept = [r.data for r in world.records if r.type == "SnapshotTaken"]
    assert [k["why"] for k in kept] == ["before the base is merged in"]
    assert world.repository.nodes[kept[0]["commit"]].tree["c1.t1.txt"] == "half a merge\n"


MARKED = "<<<<<<< HEAD\nours\n=======\ntheirs\n>>>>>>> base\n"
REFUSED = {
    "a conflict marker": ({"c1.t1.txt": MARKED}, "There are conflict markers in c1.t1.txt."),
    "an edit of what only the base has changed": ({"hers.txt": "mine\n"}, "The merge makes of hers.txt what neither"),
    "a file that neither side has": ({"c1.t1.txt.orig": "x"}, "The merge makes of c1.t1.txt.orig what neither"),
    "an edit of what neither side has touched": ({"Makefile": "test: all\n"}, "The merge makes of Makefile what"),
    "what only the base has brought, removed": ({"hers.txt": ""}, "takes back what a side has changed: hers.txt"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_merge_that_is_not_both_sides_is_never_pushed(what: str) -> None:
    files, why = REFUSED[what]
    world = conflicting(files)
    assert play(world) is Ending.BLOCKED
    assert why in reason(world)
    assert world.count("BranchUpdated") == 0
    assert not world.forge.merges


class ByLine(MemoryRepository):
    """Merges api.py as git does, where each side has changed its own end."""

    async def merge(self, ours: str, theirs: str, message: str) -> Merged | Conflicted:
        """Merge path by path, and api.py line by line."""
        merged = await super().merge(ours, theirs, message)
        if not isinstance(merged, Conflicted) or "api.py" not in merged.paths:
            return merged
        tree = {**self.nodes[merged.attempt].tree, "api.py": "ours\n2\ntheirs\n"}
        return Conflicted(tuple(p for p in merged.paths if p != "api.py"), self.commit((ours, theirs), tree, message))


@pytest.mark.parametrize(
    ("text", "kept", "wrong"),
    [
        ("1\n2\ntheirs\n", "both", "The merge keeps only theirs of api.py, and the answer does not say so."),
        ("ours\n2\n3\n", "both", "The merge keeps only ours of api.py, and the answer does not say so."),
        ("ours\n2\n3\n", "theirs", "The merge keeps only ours of api.py, and the answer does not say so."),
        ("ours\n2\n3\n", "ours", ""),
        ("ours\n2\ntheirs\n", "both", ""),
        ("ours\nnew\ntheirs\n", "both", ""),
    ],
)
def test_a_side_lost_of_a_file_that_merges_by_itself_is_not_excused_by_its_name(
    text: str, kept: str, wrong: str
) -> None:
    world = conflicting({"api.py": text}, "api.py", keep=kept)
    world.repository = ByLine({"README.md": "hello\n", "api.py": "1\n2\n3\n"}, world.fault)
    world.forge = MemoryForge(world.repository, world.fault)
    updates = world.play
    pushed: list[str] = []

    async def plays(w: World, request: SessionRequest) -> SessionReport:
        if request.role is Role.WORKER:
            return await w.commits(request, {"c1.t1.txt": "ours\n", "api.py": "ours\n2\n3\n"})
        return await updates(w, request)

    def checks(_pull: Any) -> Any:
        if not pushed:
            pushed.append(world.repository.push_by_person("main", {**THEIRS, "api.py": "1\n2\ntheirs\n"}))
        return GREEN

    world.play, world.forge.checks = plays, checks
    play(world)
    assert (wrong in reason(world)) if wrong else (world.tree()["api.py"] == text)
    assert bool(world.forge.merges) is not bool(wrong)


@pytest.mark.parametrize("path", ["hers.txt", "Makefile"])
def test_a_merge_that_needs_more_says_where(path: str) -> None:
    world = conflicting({path: "needed\n"}, path)
    assert play(world) is Ending.VERIFIED, reason(world)
    assert world.tree()[path] == "needed\n"


def test_a_file_about_conflict_markers_is_no_conflict() -> None:
    world = conflicting(None)

    async def about_markers(w: World, request: SessionRequest) -> SessionReport:
        if request.role is Role.WORKER:
            return await w.commits(request, {"c1.t1.txt": MARKED})
        return await honest(w, request)

    world.play = about_markers
    assert play(world) is Ending.VERIFIED, reason(world)
    assert MARKED.rstrip() in world.tree()["c1.t1.txt"]


def independent(count: int, policy: Policy) -> World:
    """Return a world of changes that do not touch each other, whose checks take two minutes once all are open."""
    changes = [{"id": f"c{n}", "title": f"Step {n}", "tasks": [task(f"Step {n}")]} for n in range(1, count + 1)]
    world = World(plan=proposal(*changes), policy=policy)
    begun: dict[str, float] = {}

    def checks(pull: PullRequest) -> tuple[Check, ...]:
        if len(world.forge.pulls) < count:
            return PENDING
        return GREEN if world.clock.now() >= begun.setdefault(pull.head, world.clock.now()) + 120 else PENDING

    world.forge.checks = checks
    return world


def test_our_own_merges_are_no_base_that_never_stands_still() -> None:
    world = independent(8, Policy(self_review=False))
    assert play(world) is Ending.VERIFIED, reason(world)
    assert len(world.forge.merges) == 8
    assert not any(c.updates for c in world.run.changes.values())


def test_a_head_is_not_read_again_for_the_base_that_came_in_cleanly() -> None:
    world = independent(6, Policy(self_review=True))
    assert play(world) is Ending.VERIFIED, reason(world)
    read = [r.data["change"] for r in world.records if r.type == "SelfReviewed" and not r.data["skipped"]]
    assert sorted(read) == [f"c{n}" for n in range(1, 7)]
    assert {c.self_reviews for c in world.run.changes.values()} == {1}
    assert {r.data["skipped"] for r in world.records if r.type == "SelfReviewed"} == {"", "read before"}


def test_a_fix_after_the_base_came_in_is_read() -> None:
    world = independent(6, Policy(self_review=True, review_rounds=2))
    slow = world.forge.checks

    def checks(pull: PullRequest) -> tuple[Check, ...]:
        if len(world.forge.merges) == 5 and "fix.txt" not in world.repository.nodes[pull.head].tree:
            world.repository.push_by_person(pull.branch, {"fix.txt": "fixed"})
        return slow(pull)

    world.forge.checks = checks
    assert play(world) is Ending.VERIFIED, reason(world)
    last = world.run.changes["c6"]
    assert last.self_reviews == 2
    assert world.repository.nodes[last.reviewed_head].tree["fix.txt"] == "fixed"


def test_a_conflict_that_was_resolved_is_read() -> None:
    world = conflicting(None)
    world.policy = Policy(self_review=True)
    assert play(world) is Ending.VERIFIED, reason(world)
    change = world.run.changes["c1"]
    assert change.reviewed_head == change.head
