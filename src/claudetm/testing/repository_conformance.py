"""What every `Repository` must do, as tests over a world that a fixture builds around one.

Subclass in a test module, give it a fixture `world`, and mark the module with `pytest.mark.anyio`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from claudetm.errors import RepositoryError
from claudetm.ports.repository import Conflicted, Landed, Merged, NotLanded, Pushed, PushRefused, Repository

BRANCH = "claudetm/r1/c1"
README = "README.md"


class RepositoryWorld(Protocol):
    """A repository, and what an agent and a person do around it."""

    @property
    def repository(self) -> Repository:
        """The one under test."""
        ...

    @property
    def first(self) -> str:
        """The commit that main stands at; it holds README.md."""
        ...

    def work(self, change: str, files: Mapping[str, str]) -> str:
        """Commit files in a change's worktree, as its agent would; return the commit."""
        ...

    def leave(self, change: str, files: Mapping[str, str]) -> None:
        """Leave files in a change's worktree, uncommitted."""
        ...

    def push_by_person(self, branch: str, files: Mapping[str, str]) -> str:
        """Commit on a branch where the forge reads it, as a person would; return the commit."""
        ...

    def delete_by_person(self, branch: str) -> None:
        """Delete a branch where the forge reads it."""
        ...

    def bring_back_by_person(self, branch: str, commit: str) -> None:
        """Let a deleted branch stand at a commit again."""
        ...


class RepositoryConformance:
    """The suite."""

    async def test_a_worktree_is_made_once_and_found_again(self, world: RepositoryWorld) -> None:
        """Open twice: the same place, and work in it survives."""
        repo = world.repository
        assert await repo.worktree("c1") is None
        path = await repo.open_worktree("c1", BRANCH, world.first)
        head = world.work("c1", {"a.txt": "a\n"})
        assert await repo.open_worktree("c1", BRANCH, world.first) == path == await repo.worktree("c1")
        assert (await repo.state("c1")).head == head

    async def test_a_change_without_a_worktree_has_no_state(self, world: RepositoryWorld) -> None:
        """It is an error, with a sentence."""
        try:
            await world.repository.state("c1")
        except RepositoryError as e:
            assert "c1" in str(e)  # noqa: PT017 - no pytest in a package that ships
        else:
            raise AssertionError("there is no worktree")

    async def test_what_cannot_be_the_name_of_a_change_is_refused(self, world: RepositoryWorld) -> None:
        """By all that take one: a name is a folder's as well, and a subject such as `c1:review` is no name."""
        repo, first = world.repository, world.first
        for name in ("c1:review", "../c1", "", ".c1", "c1/t1"):
            for refused in (
                repo.open_worktree(name, BRANCH, first),
                repo.reset_worktree(name, BRANCH, first),
                repo.worktree(name),
                repo.is_set_up(name, ""),
                repo.mark_set_up(name, ""),
                repo.state(name),
                repo.adopt(name),
                repo.bring(name, first),
                repo.snapshot(name, "why"),
                repo.keep(name, first),
                repo.remove_untracked(name),
            ):
                try:
                    await refused
                except RepositoryError as e:
                    said = f"{name!r} cannot be the name of a change"
                    assert said in str(e)  # noqa: PT017 - no pytest in a package that ships
                else:
                    raise AssertionError(f"{name!r} was taken")

    async def test_state_tells_modified_from_untracked(self, world: RepositoryWorld) -> None:
        """And a fresh worktree has neither."""
        repo = world.repository
        await repo.open_worktree("c1", BRANCH, world.first)
        fresh = await repo.state("c1")
        assert (fresh.head, fresh.clean, fresh.refused) == (world.first, True, "")
        world.leave("c1", {README: "changed\n", "sub/new.txt": "new\n"})
        state = await repo.state("c1")
        assert (state.modified, state.untracked, state.clean) == ((README,), ("sub/new.txt",), False)

    async def test_a_worktree_is_set_up_once_it_is_marked_until_it_is_replaced(self, world: RepositoryWorld) -> None:
        """Opened again, it still is; a fresh one in its place is not, and each change and set-up has its own mark."""
        repo = world.repository
        assert not await repo.is_set_up("c1", "")
        await repo.open_worktree("c1", BRANCH, world.first)
        await repo.open_worktree("c2", "claudetm/r1/c2", world.first)
        assert not await repo.is_set_up("c1", "")
        await repo.mark_set_up("c1", "")
        assert (await repo.is_set_up("c1", ""), await repo.is_set_up("c1", "make")) == (True, False)
        await repo.mark_set_up("c1", "make\nnpm ci # \u00fc")
        await repo.open_worktree("c1", BRANCH, world.first)
        assert (await repo.is_set_up("c1", "make\nnpm ci # \u00fc"), await repo.is_set_up("c2", "")) == (True, False)
        assert not await repo.is_set_up("c1", "make")
        await repo.reset_worktree("c1", BRANCH, world.first)
        assert not await repo.is_set_up("c1", "make\nnpm ci # \u00fc")

    async def test_commits_of_the_agent_are_adopted(self, world: RepositoryWorld) -> None:
        """They are listed oldest first, with what they touch."""
        repo = world.repository
        await repo.open_worktree("c1", BRANCH, world.first)
        one, two = world.work("c1", {"a.txt": "a\n"}), world.work("c1", {"b.txt": "b\n"})
        assert await repo.adopt("c1") == two
        assert [c.id for c in await repo.commits(world.first, two)] == [one, two]
        assert list(await repo.commits(two, two)) == []
        assert list(await repo.changed_paths(world.first, two)) == ["a.txt", "b.txt"]
        patch = await repo.diff(world.first, two, ["b.txt", "no-such-file"])
        assert ("+b" in patch.splitlines(), "a.txt" in patch) == (True, False)
        assert await repo.diff(world.first, two, []) == ""
        assert await repo.contains(two, one)
        assert not await repo.contains(one, two)
        assert await repo.read_file(two, "b.txt") == "b\n"
        assert await repo.read_file(one, "b.txt") is None
        assert {README, "a.txt", "b.txt"} <= set(await repo.list_files(two))

    async def test_two_changes_do_not_see_each_other(self, world: RepositoryWorld) -> None:
        """Each has its own head and files."""
        repo = world.repository
        await repo.open_worktree("c1", BRANCH, world.first)
        await repo.open_worktree("c2", "claudetm/r1/c2", world.first)
        world.work("c1", {"a.txt": "a\n"})
        world.leave("c1", {"left.txt": "x\n"})
        state = await repo.state("c2")
        assert state.head == world.first
        assert state.clean

    async def test_work_is_kept_once_and_kept_again_when_it_has_gone_on(self, world: RepositoryWorld) -> None:
        """Asked again, the same ref; for another commit the next one, and the first stays."""
        repo = world.repository
        await repo.open_worktree("c1", BRANCH, world.first)
        world.work("c1", {"a.txt": "a\n"})
        head = await repo.adopt("c1")
        kept = await repo.keep("c1", head)
        assert kept.commit == head
        assert kept.ref.startswith("refs/claudetm/")
        assert await repo.keep("c1", head) == kept
        world.work("c1", {"a.txt": "b\n"})
        more = await repo.keep("c1", await repo.adopt("c1"))
        assert more.ref != kept.ref

    async def test_a_branch_is_kept_forward_only(self, world: RepositoryWorld) -> None:
        """Made, found, moved on; what is not ahead of it is refused, naming where it stands."""
        repo = world.repository
        await repo.open_worktree("c1", BRANCH, world.first)
        world.work("c1", {"a.txt": "a\n"})
        one = await repo.adopt("c1")
        world.work("c1", {"a.txt": "b\n"})
        two = await repo.adopt("c1")
        for commit in (one, one, two):
            assert await repo.keep_branch("claudetm/task/t1", commit) == Pushed()
        await repo.open_worktree("c2", "claudetm/task/t1", world.first)
        world.work("c2", {"other.txt": "other\n"})
        refused = await repo.keep_branch("claudetm/task/t1", await repo.adopt("c2"))
        assert isinstance(refused, PushRefused)
        assert refused.at == two

    async def test_a_branch_that_is_kept_can_be_pushed_then(self, world: RepositoryWorld) -> None:
        """Keeping is no push: it takes nothing from whether the branch may be made where it is pushed to."""
        repo = world.repository
        await repo.open_worktree("c1", BRANCH, world.first)
        world.work("c1", {"a.txt": "a\n"})
        head = await repo.adopt("c1")
        assert await repo.keep_branch("claudetm/task/t2", head) == Pushed()
        assert await repo.push("claudetm/task/t2", head) == Pushed()
        assert await repo.branch_tip("claudetm/task/t2") == head

    async def test_nothing_to_lose_needs_no_snapshot(self, world: RepositoryWorld) -> None:
        """A fresh worktree gives None."""
        await world.repository.open_worktree("c1", BRANCH, world.first)
        assert await world.repository.snapshot("c1", "nothing") is None

    async def test_a_snapshot_keeps_every_uncommitted_file_and_changes_none(self, world: RepositoryWorld) -> None:
        """The commit lies on top of head."""
        repo = world.repository
        await repo.open_worktree("c1", BRANCH, world.first)
        head = world.work("c1", {"a.txt": "a\n"})
        world.leave("c1", {README: "changed\n", "new.txt": "new\n"})
        before = await repo.state("c1")
        kept = await repo.snapshot("c1", "a test")
        assert kept is not None
        assert await repo.contains(kept.commit, head)
        assert await repo.read_file(kept.commit, README) == "changed\n"
        assert await repo.read_file(kept.commit, "new.txt") == "new\n"
        assert await repo.state("c1") == before

    async def test_untracked_files_are_removed_and_named(self, world: RepositoryWorld) -> None:
        """Modified ones stay."""
        repo = world.repository
        await repo.open_worktree("c1", BRANCH, world.first)
        world.leave("c1", {README: "changed\n", "sub/new.txt": "new\n"})
        assert list(await repo.remove_untracked("c1")) == ["sub/new.txt"]
        state = await repo.state("c1")
        assert (state.modified, state.untracked) == ((README,), ())

    async def test_reset_gives_a_fresh_worktree(self, world: RepositoryWorld) -> None:
        """At the commit asked for, clean."""
        repo = world.repository
        path = await repo.open_worktree("c1", BRANCH, world.first)
        head = world.work("c1", {"a.txt": "a\n"})
        await repo.adopt("c1")
        world.leave("c1", {"new.txt": "new\n"})
        assert await repo.reset_worktree("c1", BRANCH, head) == path
        state = await repo.state("c1")
        assert (state.head, state.clean) == (head, True)

    async def test_a_push_is_forward_only_and_repeatable(self, world: RepositoryWorld) -> None:
        """Already there counts; back is refused and nothing moves."""
        repo = world.repository
        await repo.open_worktree("c1", BRANCH, world.first)
        head = world.work("c1", {"a.txt": "a\n"})
        await repo.adopt("c1")
        assert await repo.branch_tip(BRANCH) == ""
        assert await repo.last_push(BRANCH) == ""
        assert await repo.push(BRANCH, head) == Pushed()
        assert await repo.push(BRANCH, head) == Pushed()
        assert await repo.last_push(BRANCH) == head
        await repo.forget_push(BRANCH)
        assert await repo.last_push(BRANCH) == head  # it is there
        assert await repo.branch_tip(BRANCH) == head
        refused = await repo.push(BRANCH, world.first)
        assert isinstance(refused, PushRefused)
        assert refused.at == head == await repo.branch_tip(BRANCH)

    async def test_a_persons_commit_is_never_pushed_over(self, world: RepositoryWorld) -> None:
        """The refusal names where the branch stands, and that commit can be read and merged."""
        repo = world.repository
        await repo.open_worktree("c1", BRANCH, world.first)
        head = world.work("c1", {"a.txt": "a\n"})
        await repo.adopt("c1")
        await repo.push(BRANCH, head)
        theirs = world.push_by_person(BRANCH, {"p.txt": "p\n"})
        ours = world.work("c1", {"b.txt": "b\n"})
        await repo.adopt("c1")
        refused = await repo.push(BRANCH, ours)
        assert isinstance(refused, PushRefused)
        assert refused.at == theirs == await repo.branch_tip(BRANCH)
        merged = await repo.merge(ours, theirs, "Take it in")
        assert isinstance(merged, Merged)
        assert await repo.push(BRANCH, merged.commit) == Pushed()

    async def test_a_branch_that_a_person_deletes_is_not_pushed_anew(self, world: RepositoryWorld) -> None:
        """Neither as it was nor further on; once they have brought it back, it is pushed to again."""
        repo = world.repository
        await repo.open_worktree("c1", BRANCH, world.first)
        head = world.work("c1", {"a.txt": "a\n"})
        await repo.adopt("c1")
        await repo.push(BRANCH, head)
        world.delete_by_person(BRANCH)
        more = world.work("c1", {"b.txt": "b\n"})
        await repo.adopt("c1")
        for commit in (head, more):
            refused = await repo.push(BRANCH, commit)
            assert isinstance(refused, PushRefused)
            assert (refused.at, await repo.branch_tip(BRANCH)) == ("", "")
        world.bring_back_by_person(BRANCH, head)
        assert await repo.push(BRANCH, more) == Pushed()
        assert await repo.branch_tip(BRANCH) == more

    async def test_of_two_pushes_at_once_one_wins(self, world: RepositoryWorld) -> None:
        """And the other is told where the branch stands."""
        repo = world.repository
        await repo.open_worktree("c1", BRANCH, world.first)
        await repo.open_worktree("c2", BRANCH, world.first)
        one, two = world.work("c1", {"a.txt": "1\n"}), world.work("c2", {"a.txt": "2\n"})
        await repo.adopt("c1")
        await repo.adopt("c2")
        outcomes = await asyncio.gather(repo.push(BRANCH, one), repo.push(BRANCH, two))
        refused = [o for o in outcomes if isinstance(o, PushRefused)]
        assert len(refused) == 1
        assert refused[0].at == await repo.branch_tip(BRANCH)

    async def test_a_merge_takes_both_sides(self, world: RepositoryWorld) -> None:
        """Where neither contains the other a commit is made; else the further one is the answer."""
        repo = world.repository
        await repo.open_worktree("c1", BRANCH, world.first)
        ours = world.work("c1", {"a.txt": "a\n"})
        await repo.adopt("c1")
        world.push_by_person("main", {"p.txt": "p\n"})
        theirs = await repo.branch_tip("main")
        merged = await repo.merge(ours, theirs, "Merge main")
        assert isinstance(merged, Merged)
        assert await repo.read_file(merged.commit, "a.txt") == "a\n"
        assert await repo.read_file(merged.commit, "p.txt") == "p\n"
        assert await repo.contains(merged.commit, ours)
        assert await repo.contains(merged.commit, theirs)
        assert await repo.merge(merged.commit, theirs, "Again") == merged
        assert await repo.merge(world.first, ours, "Ahead") == Merged(ours)

    async def test_the_merge_base_is_the_newest_commit_that_both_sides_have(self, world: RepositoryWorld) -> None:
        """A merge moves it on; of two commits in a row it is the older one."""
        repo = world.repository
        await repo.open_worktree("c1", BRANCH, world.first)
        ours = world.work("c1", {"a.txt": "a\n"})
        await repo.adopt("c1")
        theirs = world.push_by_person("main", {"p.txt": "p\n"})
        assert await repo.branch_tip("main") == theirs
        assert await repo.merge_base(ours, theirs) == await repo.merge_base(theirs, ours) == world.first
        assert await repo.merge_base(ours, world.first) == world.first
        merged = await repo.merge(ours, theirs, "Merge main")
        assert isinstance(merged, Merged)
        assert await repo.merge_base(merged.commit, theirs) == theirs

    async def test_a_conflict_names_its_paths(self, world: RepositoryWorld) -> None:
        """And nothing is made."""
        repo = world.repository
        await repo.open_worktree("c1", BRANCH, world.first)
        ours = world.work("c1", {README: "ours\n", "ours.txt": "ours\n"})
        await repo.adopt("c1")
        world.push_by_person("main", {README: "theirs\n", "theirs.txt": "theirs\n"})
        theirs = await repo.branch_tip("main")
        clash = await repo.merge(ours, theirs, "Merge")
        assert isinstance(clash, Conflicted)
        assert clash.paths == (README,)
        assert {*await repo.changed_paths(clash.attempt, ours)} - {README} == {"theirs.txt"}
        assert {*await repo.changed_paths(clash.attempt, theirs)} - {README} == {"ours.txt"}

    async def test_landing_fast_forwards_once(self, world: RepositoryWorld) -> None:
        """The second time it is there already."""
        repo = world.repository
        await repo.open_worktree("c1", BRANCH, world.first)
        head = world.work("c1", {"a.txt": "a\n"})
        await repo.adopt("c1")
        assert await repo.land(head, "main") == Landed("fast_forwarded")
        assert await repo.branch_tip("main") == head
        assert await repo.land(head, "main") == Landed("already")

    async def test_a_target_that_went_its_own_way_is_left_alone(self, world: RepositoryWorld) -> None:
        """The command to merge it is named."""
        repo = world.repository
        await repo.open_worktree("c1", BRANCH, world.first)
        head = world.work("c1", {"a.txt": "a\n"})
        await repo.adopt("c1")
        theirs = world.push_by_person("main", {"p.txt": "p\n"})
        landed = await repo.land(head, "main")
        assert isinstance(landed, NotLanded)
        assert "git merge" in landed.command
        assert await repo.branch_tip("main") == theirs

    async def test_a_commit_is_brought_without_moving_anything(self, world: RepositoryWorld) -> None:
        """The agent can merge it; its head and files are as before."""
        repo = world.repository
        await repo.open_worktree("c1", BRANCH, world.first)
        world.work("c1", {"a.txt": "a\n"})
        world.leave("c1", {"left.txt": "left\n"})
        before = await repo.state("c1")
        world.push_by_person("main", {"p.txt": "p\n"})
        await repo.bring("c1", await repo.branch_tip("main"))
        assert await repo.state("c1") == before
