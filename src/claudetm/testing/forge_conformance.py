"""What every `Forge` must do, as tests over a world that a fixture builds around one.

Subclass in a test module, give it a fixture `world`, and mark the module with `pytest.mark.anyio`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from claudetm.ports.forge import (
    BaseChanged,
    Forge,
    HeadChanged,
    MergeConflict,
    MergeDone,
    NewPullRequest,
    Note,
    Opposed,
)
from claudetm.ports.repository import Repository
from claudetm.workflow.pull_request import CheckState, PullRequest, PullRequestState

BRANCH = "claudetm/r1/c1"
README = "README.md"
RED = {"red": "a file of this name turns the checks red\n"}


class ForgeWorld(Protocol):
    """A forge over a repository whose target holds README.md, and what people do around it."""

    @property
    def run_id(self) -> str:
        """The run's id: its branches are claudetm/<run>/<change>."""
        ...

    @property
    def target(self) -> str:
        """The branch that is merged into."""
        ...

    @property
    def forge(self) -> Forge:
        """The one under test."""
        ...

    @property
    def repository(self) -> Repository:
        """The run's repository."""
        ...

    async def push(self, change: str, files: Mapping[str, str]) -> str:
        """Commit files in a change's worktree (made at the forge's base) and push them; return the head."""
        ...

    async def settled(self, number: int) -> PullRequest:
        """Read the pull request until no check is pending, and the forge knows how it stands to its base."""
        ...

    def push_by_person(self, branch: str, files: Mapping[str, str], *, force: bool = False) -> str:
        """Commit on a branch, in place of its tip when forced; return the commit."""
        ...

    def delete_by_person(self, branch: str) -> None:
        """Delete a branch."""
        ...

    def remark(self, number: int, body: str) -> str:
        """Begin a conversation as a person; return its id."""
        ...

    def close_by_person(self, number: int) -> None:
        """Close it unmerged."""
        ...

    def reopen_by_person(self, number: int) -> None:
        """Open it again."""
        ...

    async def merge_by_person(self, number: int) -> None:
        """Merge it as it is."""
        ...

    async def at_the_last_moment(self, act: Callable[[], object]) -> None:
        """Have a person do something in the middle of the next merge, after all that it looks at first."""
        ...


def branch(world: ForgeWorld, change: str = "c1") -> str:
    """Return a change's branch."""
    return f"claudetm/{world.run_id}/{change}"


async def opened(world: ForgeWorld, files: Mapping[str, str], change: str = "c1") -> PullRequest:
    """Push files and open a pull request for them."""
    head = await world.push(change, files)
    return await world.forge.open(NewPullRequest(change, branch(world, change), head, f"Do {change}", "Why."))


async def read(world: ForgeWorld, number: int) -> PullRequest:
    """Read one pull request."""
    return (await world.forge.read([number]))[number]


class ForgeConformance:
    """The suite."""

    async def test_a_branch_has_one_open_pull_request(self, world: ForgeWorld) -> None:
        """Opened again, it is found."""
        assert await world.forge.find(branch(world)) is None
        pull = await opened(world, {"a.txt": "a\n"})
        again = await world.forge.open(NewPullRequest("c1", branch(world), pull.head, "Another title", ""))
        found = await world.forge.find(branch(world))
        assert found is not None
        assert (pull.number, pull.state, pull.branch) == (again.number, PullRequestState.OPEN, branch(world))
        assert (found.number, found.head) == (pull.number, pull.head)

    async def test_green_checks_pass(self, world: ForgeWorld) -> None:
        """With the base they ran with."""
        pull = await world.settled((await opened(world, {"a.txt": "a\n"})).number)
        assert {c.state for c in pull.checks} == {CheckState.PASSED}
        assert pull.tested_base == pull.base == await world.forge.base()
        assert (pull.conflicting, pull.behind, pull.forward) == (False, False, True)

    async def test_a_red_check_has_a_log(self, world: ForgeWorld) -> None:
        """And goes green on a head that fixes it."""
        pull = await world.settled((await opened(world, RED)).number)
        failed = [c for c in pull.checks if c.state is CheckState.FAILED]
        assert failed
        assert (await world.forge.check_log(pull.number, failed[0].name)).text

    async def test_a_base_that_moved_is_behind(self, world: ForgeWorld) -> None:
        """And merging what was tested with the old one is refused."""
        pull = await world.settled((await opened(world, {"a.txt": "a\n"})).number)
        world.push_by_person(world.target, {"p.txt": "p\n"})
        base = await world.forge.base()
        moved = await world.settled(pull.number)
        assert (moved.behind, moved.base, moved.tested_base) == (True, base, pull.base)
        assert await world.forge.merge(pull.number, pull.head, pull.base, "merge") == BaseChanged(base)
        assert (await read(world, pull.number)).state is PullRequestState.OPEN

    async def test_a_merge_happens_once(self, world: ForgeWorld) -> None:
        """Asked again, the same commit is the answer."""
        pull = await world.settled((await opened(world, {"a.txt": "a\n"})).number)
        done = await world.forge.merge(pull.number, pull.head, pull.base, "merge")
        assert isinstance(done, MergeDone)
        assert await world.forge.merge(pull.number, pull.head, pull.base, "merge") == done
        merged = await read(world, pull.number)
        assert (merged.state, merged.merge_commit) == (PullRequestState.MERGED, done.commit)
        assert await world.forge.base() == done.commit
        assert await world.repository.contains(done.commit, pull.head)

    async def test_a_head_that_moved_is_not_merged(self, world: ForgeWorld) -> None:
        """Only what was tested is."""
        pull = await world.settled((await opened(world, {"a.txt": "a\n"})).number)
        head = await world.push("c1", {"b.txt": "b\n"})
        assert await world.forge.merge(pull.number, pull.head, pull.base, "merge") == HeadChanged(head)

    async def test_a_conflict_is_seen_and_not_merged(self, world: ForgeWorld) -> None:
        """The base took the other side."""
        pull = await world.settled((await opened(world, {README: "ours\n"})).number)
        world.push_by_person(world.target, {README: "theirs\n"})
        base = await world.forge.base()
        assert (await world.settled(pull.number)).conflicting
        assert await world.forge.merge(pull.number, pull.head, base, "merge") == MergeConflict()

    async def test_a_person_closes_and_reopens(self, world: ForgeWorld) -> None:
        """A closed one is not merged."""
        pull = await world.settled((await opened(world, {"a.txt": "a\n"})).number)
        world.close_by_person(pull.number)
        closed = await read(world, pull.number)
        assert closed.state is PullRequestState.CLOSED
        assert closed.by
        assert await world.forge.merge(pull.number, pull.head, pull.base, "merge") == Opposed()
        world.reopen_by_person(pull.number)
        assert (await read(world, pull.number)).state is PullRequestState.OPEN

    async def test_a_person_who_deletes_the_branch_has_closed_it(self, world: ForgeWorld) -> None:
        """It is not merged, and its head is still told."""
        pull = await world.settled((await opened(world, {"a.txt": "a\n"})).number)
        world.delete_by_person(pull.branch)
        assert await world.forge.merge(pull.number, pull.head, pull.base, "merge") == Opposed()
        closed = await read(world, pull.number)
        assert (closed.state, closed.head) == (PullRequestState.CLOSED, pull.head)
        assert closed.by

    async def test_who_closes_at_the_last_moment_is_heard(self, world: ForgeWorld) -> None:
        """The base stays, and the next look finds it closed; opened again, it is merged."""
        pull = await world.settled((await opened(world, {"a.txt": "a\n"})).number)
        await world.at_the_last_moment(lambda: world.close_by_person(pull.number))
        assert await world.forge.merge(pull.number, pull.head, pull.base, "merge") == Opposed()
        assert await world.forge.base() == pull.base
        assert (await read(world, pull.number)).state is PullRequestState.CLOSED
        world.reopen_by_person(pull.number)
        await world.settled(pull.number)  # checks may run once more
        assert isinstance(await world.forge.merge(pull.number, pull.head, pull.base, "merge"), MergeDone)

    async def test_who_pushes_at_the_last_moment_is_not_merged_without(self, world: ForgeWorld) -> None:
        """The next look finds the new head. Where the forge itself refuses the old one, it may name the new one."""
        pull = await world.settled((await opened(world, {"a.txt": "a\n"})).number)
        await world.at_the_last_moment(lambda: world.push_by_person(branch(world), {"p.txt": "p\n"}))
        outcome = await world.forge.merge(pull.number, pull.head, pull.base, "merge")
        after = await read(world, pull.number)
        assert outcome in (Opposed(), HeadChanged(after.head))
        assert (after.state, after.base) == (PullRequestState.OPEN, pull.base)
        assert after.head != pull.head

    async def test_after_a_closed_one_a_new_one_is_opened(self, world: ForgeWorld) -> None:
        """The branch's newest is found."""
        pull = await opened(world, {"a.txt": "a\n"})
        world.close_by_person(pull.number)
        again = await world.forge.open(NewPullRequest("c1", branch(world), pull.head, "Once more", ""))
        found = await world.forge.find(branch(world))
        assert found is not None
        assert again.number == found.number != pull.number

    async def test_a_person_merges_early(self, world: ForgeWorld) -> None:
        """It counts as merged, by them, and a merge of ours finds it."""
        pull = await world.settled((await opened(world, {"a.txt": "a\n"})).number)
        await world.merge_by_person(pull.number)
        merged = await read(world, pull.number)
        assert merged.state is PullRequestState.MERGED
        assert merged.by != "claudetm"
        assert await world.repository.contains(await world.forge.base(), merged.merge_commit)
        again = await world.forge.merge(pull.number, pull.head, pull.base, "merge")
        assert again == MergeDone(merged.merge_commit)

    async def test_a_persons_push_is_told_from_a_forced_one(self, world: ForgeWorld) -> None:
        """Forward or not, the head is what it is."""
        pull = await opened(world, {"a.txt": "a\n"})
        theirs = world.push_by_person(branch(world), {"p.txt": "p\n"})
        seen = await read(world, pull.number)
        assert (seen.head, seen.forward) == (theirs, True)
        other = await opened(world, {"a.txt": "a\n"}, "c2")
        forced = world.push_by_person(branch(world, "c2"), {"f.txt": "f\n"}, force=True)
        seen = await read(world, other.number)
        assert (seen.head, seen.forward) == (forced, False)

    async def test_a_remark_is_written_once(self, world: ForgeWorld) -> None:
        """Its marker is its key."""
        number = (await opened(world, {"a.txt": "a\n"})).number
        note = Note("m1", "This is wrong.", path="a.txt", line=1)
        thread = await world.forge.note(number, note)
        assert await world.forge.note(number, note) == thread
        threads = (await read(world, number)).threads
        assert [(t.id, t.path, len(t.comments), t.unanswered) for t in threads] == [(thread, "a.txt", 1, True)]
        assert threads[0].comments[0].ours

    async def test_a_remark_that_asks_for_nothing_waits_for_no_answer(self, world: ForgeWorld) -> None:
        """A minor finding is there to be read."""
        number = (await opened(world, {"a.txt": "a\n"})).number
        await world.forge.note(number, Note("m1", "A thought.", path="a.txt", line=1, blocking=False))
        assert not (await read(world, number)).unanswered

    async def test_a_reply_answers_a_person(self, world: ForgeWorld) -> None:
        """And can close the conversation."""
        number = (await opened(world, {"a.txt": "a\n"})).number
        thread = world.remark(number, "Why?")
        asked = await read(world, number)
        assert [t.id for t in asked.unanswered] == [thread]
        assert not asked.threads[0].comments[0].ours
        await world.forge.note(number, Note("m1", "Because.", thread=thread))
        answered = await read(world, number)
        assert answered.unanswered == ()
        assert not answered.threads[0].resolved
        await world.forge.note(number, Note("m2", "Done.", thread=thread, resolve=True))
        assert (await read(world, number)).threads[0].resolved

    async def test_what_a_person_says_is_not_merged_over(self, world: ForgeWorld) -> None:
        """However late they say it, and whoever replies, until the conversation is closed."""
        pull = await world.settled((await opened(world, {"a.txt": "a\n"})).number)
        thread = world.remark(pull.number, "Wait!")
        assert await world.forge.merge(pull.number, pull.head, pull.base, "merge") == Opposed()
        await world.forge.note(pull.number, Note("m1", "Why?", thread=thread, seen=1))
        assert await world.forge.merge(pull.number, pull.head, pull.base, "merge") == Opposed()
        await world.forge.note(pull.number, Note("m2", "Done.", thread=thread, resolve=True, seen=2))
        assert isinstance(await world.forge.merge(pull.number, pull.head, pull.base, "merge"), MergeDone)

    async def test_a_conversation_can_be_opened_again(self, world: ForgeWorld) -> None:
        """And waits for an answer then."""
        number = (await opened(world, {"a.txt": "a\n"})).number
        thread = await world.forge.note(number, Note("m1", "This is wrong.", path="a.txt", line=1))
        await world.forge.note(number, Note("m2", "Done.", thread=thread, resolve=True, seen=1))
        await world.forge.note(number, Note("m3", "It is not.", thread=thread, reopen=True))
        again = await read(world, number)
        assert [t.id for t in again.unanswered] == [thread]
        assert not again.threads[0].resolved
