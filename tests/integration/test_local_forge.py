"""The local forge beyond the suite that every forge passes: kills inside a merge, checks, people at work in git."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from claudetm.adapters.forge.local_checks import CheckSettings
from claudetm.adapters.forge.local_journal import ForgeJournal
from claudetm.errors import ForgeError, JournalError
from claudetm.ports.forge import BaseChanged, MergeDone, MergeRefused, NewPullRequest, Note, Opposed
from claudetm.ports.repository import Pushed, PushRefused
from claudetm.testing.forge_conformance import opened, read
from claudetm.workflow.pull_request import CheckState, PullRequestState
from integration.repositories import RUN, LocalForgeWorld, git

pytestmark = pytest.mark.anyio

BASE = "claudetm/r1/base"
STEPS = ("merge:built", "merge:written", "merge:swapped")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[LocalForgeWorld]:
    made = LocalForgeWorld(tmp_path)
    yield made
    await made.close()


class Killed(BaseException):
    """The driver died here."""


def merges(user: Path) -> list[str]:
    """Return the merge commits on the base, newest first."""
    return git(user, "log", "--merges", "--format=%s", BASE).splitlines()


@pytest.mark.parametrize("method", ["merge", "squash"])
@pytest.mark.parametrize("step", STEPS)
async def test_a_merge_that_was_cut_short_is_finished_once(step: str, method: str, world: LocalForgeWorld) -> None:
    pull = await world.settled((await opened(world, {"a.txt": "a\n"})).number)

    def die(point: str) -> None:
        if point == step:
            raise Killed(point)

    await world.forge.close()
    with pytest.raises(Killed):
        await world.driver(die).merge(pull.number, pull.head, pull.base, method)
    written = git(world.user, "for-each-ref", "--format=%(objectname)", f"refs/claudetm/{RUN}/c1/merge")
    git(world.user, "config", "user.name", "Somebody Else")  # a merge built again would not be the same commit
    forge = world.driver()
    seen = await read(world, pull.number)
    assert seen.state is (PullRequestState.MERGED if step == "merge:swapped" else PullRequestState.OPEN)
    done = await forge.merge(pull.number, pull.head, pull.base, method)
    assert isinstance(done, MergeDone)
    assert written in ("", done.commit)
    assert git(world.user, "rev-parse", BASE) == done.commit
    assert len(git(world.user, "rev-list", "--first-parent", f"{pull.base}..{BASE}").split()) == 1
    after = await read(world, pull.number)
    assert (after.state, after.merge_commit, after.by) == (PullRequestState.MERGED, done.commit, "claudetm")


CHILD = """
import asyncio, os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from claudetm.adapters.forge.local import LocalForge
from claudetm.adapters.forge.local_checks import CheckSettings
from claudetm.adapters.forge.local_journal import ForgeJournal
from integration.repositories import ShellCommands, make_run

_, _, user, state, step, number, head, base = sys.argv

def die(point):
    if point == step:
        os.kill(os.getpid(), signal.SIGKILL)

async def main():
    journal = ForgeJournal(Path(state) / "forge" / "journal.jsonl")
    repository = make_run(Path(user), Path(state), faults=die)
    settings = CheckSettings((), Path(state) / "logs")
    forge = LocalForge(repository, "main", journal, ShellCommands(Path(state) / "home"), settings, die)
    await forge.merge(int(number), head, base, "merge")

asyncio.run(main())
"""


@pytest.mark.crash
@pytest.mark.parametrize("step", STEPS)
def test_a_driver_killed_inside_a_merge_leaves_one_merge(step: str, tmp_path: Path) -> None:
    world = LocalForgeWorld(tmp_path)

    async def first() -> tuple[str, str, str]:
        pull = await world.settled((await opened(world, {"a.txt": "a\n"})).number)
        return str(pull.number), pull.head, pull.base

    async def second(number: int, head: str, base: str) -> str:
        done = await world.driver().merge(number, head, base, "merge")
        assert isinstance(done, MergeDone)
        return done.commit

    number, head, base = asyncio.run(first())
    tests = str(Path(__file__).parents[1])
    command = [sys.executable, "-c", CHILD, tests, str(world.user), str(world.state), step, number, head, base]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    commit = asyncio.run(second(int(number), head, base))
    assert git(world.user, "rev-parse", BASE) == commit
    assert merges(world.user) == ["Merge c1: Do c1"]
    assert git(world.user, "rev-parse", f"{BASE}^1", f"{BASE}^2").split() == [base, head]


async def test_a_merge_written_for_an_older_base_is_built_again(world: LocalForgeWorld) -> None:
    pull = await world.settled((await opened(world, {"a.txt": "a\n"})).number)

    def die(point: str) -> None:
        if point == "merge:written":
            raise Killed(point)

    with pytest.raises(Killed):
        await world.driver(die).merge(pull.number, pull.head, pull.base, "merge")
    world.push_by_person("main", {"p.txt": "p\n"})
    forge = world.driver()
    moved = await forge.merge(pull.number, pull.head, pull.base, "merge")
    assert isinstance(moved, BaseChanged)
    done = await forge.merge(pull.number, pull.head, moved.base, "merge")
    assert isinstance(done, MergeDone)
    assert git(world.user, "rev-parse", f"{BASE}^1", f"{BASE}^2").split() == [moved.base, pull.head]
    assert git(world.user, "show", f"{BASE}:p.txt") == "p"


async def test_of_two_merges_at_once_the_second_finds_the_base_moved(world: LocalForgeWorld) -> None:
    one = await world.settled((await opened(world, {"a.txt": "a\n"}, "c1")).number)
    two = await world.settled((await opened(world, {"b.txt": "b\n"}, "c2")).number)
    outcomes = await asyncio.gather(*(world.forge.merge(p.number, p.head, p.base, "merge") for p in (one, two)))
    assert sorted(type(o).__name__ for o in outcomes) == ["BaseChanged", "MergeDone"]
    assert len(merges(world.user)) == 1


async def test_squash_makes_one_commit(world: LocalForgeWorld) -> None:
    pull = await world.settled((await opened(world, {"a.txt": "a\n"})).number)
    done = await world.forge.merge(pull.number, pull.head, pull.base, "squash")
    assert isinstance(done, MergeDone)
    assert git(world.user, "log", "-1", "--format=%P|%s|%b", BASE) == f"{pull.base}|Do c1|Why."
    assert isinstance(await world.forge.merge(pull.number, pull.head, pull.base, "rebase"), MergeRefused)


async def test_checks_run_on_the_merged_result(world: LocalForgeWorld) -> None:
    world.settings = CheckSettings(("test -e a.txt && test -e p.txt",), world.state / "logs")
    forge = world.driver()
    await world.push("c1", {"a.txt": "a\n"})
    world.push_by_person("main", {"p.txt": "p\n"})
    pull = await forge.open(NewPullRequest("c1", "claudetm/r1/c1", await _tip(world, "c1"), "Do c1", ""))
    settled = await world.settled(pull.number)
    assert [c.state for c in settled.checks] == [CheckState.PASSED]
    await forge.close()


async def _tip(world: LocalForgeWorld, change: str) -> str:
    return await world.repository.branch_tip(f"claudetm/{RUN}/{change}")


async def test_checks_report_pending_then_their_result_and_run_once(world: LocalForgeWorld) -> None:
    pull = await opened(world, {"a.txt": "a\n"})
    assert [c.state for c in pull.checks] == [CheckState.PENDING]
    assert not (await read(world, pull.number)).behind
    await world.settled(pull.number)
    await world.driver().close()
    again = await read(world, pull.number)
    assert [c.state for c in again.checks] == [CheckState.PASSED]
    assert len(world.commands.requests) == 1


async def test_two_reads_at_once_start_the_checks_once(tmp_path: Path) -> None:
    world = LocalForgeWorld(tmp_path, ("test -e quick || sleep 60",))
    pull = await opened(world, {"a.txt": "a\n"})
    await asyncio.wait_for(world.commands.began.wait(), 10)
    await world.push("c1", {"quick": "q\n"})
    await asyncio.gather(*(read(world, pull.number) for _ in range(3)))
    await asyncio.wait_for(world.settled(pull.number), 20)
    assert len(world.commands.requests) == 2
    await world.forge.close()


async def test_other_check_commands_are_due_at_once(world: LocalForgeWorld) -> None:
    pull = await world.settled((await opened(world, {"a.txt": "a\n"})).number)
    world.settings = CheckSettings(("false", "true"), world.state / "logs")
    world.driver()
    states = {c.name: c.state for c in (await world.settled(pull.number)).checks}
    assert states == {"false": CheckState.FAILED, "true": CheckState.PASSED}


async def test_a_failed_set_up_is_a_failed_check(tmp_path: Path) -> None:
    world = LocalForgeWorld(tmp_path, ("true",), ("echo no such tool; exit 3",))
    pull = await world.settled((await opened(world, {"a.txt": "a\n"})).number)
    assert [(c.name, c.state) for c in pull.checks] == [("setup", CheckState.FAILED)]
    assert pull.checks[0].summary == "exit code 3: no such tool"
    assert (await world.forge.check_log(pull.number, "setup")).text == "no such tool\n"
    assert len(world.commands.requests) == 1


async def test_no_commands_means_no_checks(tmp_path: Path) -> None:
    world = LocalForgeWorld(tmp_path, ())
    assert (await opened(world, {"a.txt": "a\n"})).checks == ()


async def test_a_moved_head_ends_the_checks_of_the_old_one(tmp_path: Path) -> None:
    world = LocalForgeWorld(tmp_path, ("test -e quick || sleep 60",))
    pull = await opened(world, {"a.txt": "a\n"})
    await asyncio.wait_for(world.commands.began.wait(), 10)
    await world.push("c1", {"quick": "q\n"})
    settled = await asyncio.wait_for(world.settled(pull.number), 20)
    assert [c.state for c in settled.checks] == [CheckState.PASSED]
    assert settled.head != pull.head


async def test_checks_cut_short_by_a_stop_are_due_again(tmp_path: Path) -> None:
    world = LocalForgeWorld(tmp_path, ("test -e $GO || sleep 60".replace("$GO", str(tmp_path / "go")),))
    pull = await opened(world, {"a.txt": "a\n"})
    await asyncio.wait_for(world.commands.began.wait(), 10)
    await asyncio.wait_for(world.forge.close(), 10)
    assert list((world.state / "run" / "checkouts").iterdir()) == []
    (tmp_path / "go").touch()
    world.driver()
    assert [c.state for c in (await world.settled(pull.number)).checks] == [CheckState.PASSED]


async def test_a_check_that_takes_too_long_fails(tmp_path: Path) -> None:
    world = LocalForgeWorld(tmp_path)
    world.settings = CheckSettings(("sleep 60",), world.state / "logs", timeout=0.1)
    world.driver()
    pull = await world.settled((await opened(world, {"a.txt": "a\n"})).number)
    assert pull.checks[0].state is CheckState.FAILED
    assert "time limit" in pull.checks[0].summary


async def test_failed_checks_run_once_more_on_demand(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    world = LocalForgeWorld(
        tmp_path, (f"test -e {flag} || {{ touch {flag}; printf '\\033[31mred\\033[0m'; false; }}",)
    )
    pull = await world.settled((await opened(world, {"a.txt": "a\n"})).number)
    assert pull.checks[0].state is CheckState.FAILED
    assert (await world.forge.check_log(pull.number, pull.checks[0].name)).text == "red"
    assert await world.forge.rerun_checks(pull.number, pull.head)
    assert (await world.settled(pull.number)).checks[0].state is CheckState.PASSED
    assert not await world.forge.rerun_checks(pull.number, pull.base)


async def test_a_hint_comes_when_a_person_writes(world: LocalForgeWorld) -> None:
    number = (await world.settled((await opened(world, {"a.txt": "a\n"})).number)).number
    await read(world, number)
    hint = asyncio.create_task(world.forge.hint())
    await asyncio.sleep(0)
    assert not hint.done()
    world.remark(number, "Look here")
    await asyncio.wait_for(hint, 10)


async def test_people_approve_and_object_and_their_last_word_counts(world: LocalForgeWorld) -> None:
    number = (await opened(world, {"a.txt": "a\n"})).number
    person = ForgeJournal(world.journal.path)
    person.approve(number, "ada")
    person.object_(number, "bob")
    seen = await read(world, number)
    assert (seen.approvals, seen.objections) == (1, ("bob",))
    person.approve(number, "bob")
    seen = await read(world, number)
    assert (seen.approvals, seen.objections) == (2, ())


async def test_a_remark_that_asks_for_nothing_waits_for_no_answer(world: LocalForgeWorld) -> None:
    number = (await opened(world, {"a.txt": "a\n"})).number
    thread = await world.forge.note(number, Note("m", "A detail.", blocking=False))
    assert (await read(world, number)).unanswered == ()
    world._person().comment(number, "ada", "Indeed?", thread=thread)
    assert [t.id for t in (await read(world, number)).unanswered] == [thread]


async def test_a_deleted_branch_is_a_closed_pull_request(world: LocalForgeWorld) -> None:
    pull = await world.settled((await opened(world, {"a.txt": "a\n"})).number)
    git(world.user, "branch", "-q", "-D", pull.branch)
    seen = await read(world, pull.number)
    assert (seen.state, seen.by, seen.head) == (PullRequestState.CLOSED, "a person", pull.head)


async def test_the_next_driver_does_not_undo_the_deletion_of_a_branch(world: LocalForgeWorld) -> None:
    pull = await world.settled((await opened(world, {"a.txt": "a\n"})).number)
    more = world.work("c1", {"b.txt": "b\n"})
    world.delete_by_person(pull.branch)
    world.driver()
    await world.repository.adopt("c1")
    refused = await world.repository.push(pull.branch, more)
    assert isinstance(refused, PushRefused)
    assert (await read(world, pull.number)).state is PullRequestState.CLOSED
    command = refused.reason.split("`")[1]
    git(world.user, *command.split()[1:])
    assert (await read(world, pull.number)).state is PullRequestState.OPEN
    assert await world.repository.push(pull.branch, more) == Pushed()
    assert (await read(world, pull.number)).head == more


@pytest.mark.parametrize("step", ["push:before", "push:after"])
async def test_a_first_push_that_was_cut_short_is_made_again(step: str, world: LocalForgeWorld) -> None:
    branch = f"claudetm/{RUN}/c1"

    def die(point: str) -> None:
        if point == f"{step}:{branch}":
            raise Killed(point)

    await world.forge.close()
    world.driver(die)
    with pytest.raises(Killed):
        await world.push("c1", {"a.txt": "a\n"})
    world.driver()
    head = await world.repository.adopt("c1")
    assert await world.repository.push(branch, head) == Pushed()
    assert git(world.user, "rev-parse", branch) == head


async def test_a_person_fast_forwards_the_base_and_deletes_the_branch(world: LocalForgeWorld) -> None:
    pull = await world.settled((await opened(world, {"a.txt": "a\n"})).number)
    git(world.user, "branch", "-q", "-f", BASE, pull.branch)
    git(world.user, "branch", "-q", "-D", pull.branch)
    seen = await read(world, pull.number)
    assert (seen.state, seen.by, seen.merge_commit) == (PullRequestState.MERGED, "a person", pull.head)


async def test_a_branch_without_commits_of_its_own_is_not_merged(world: LocalForgeWorld) -> None:
    base = await world.forge.base()
    await world.repository.push("claudetm/r1/c1", base)
    pull = await world.forge.open(NewPullRequest("c1", "claudetm/r1/c1", base, "Nothing yet", ""))
    assert pull.state is PullRequestState.OPEN


async def test_a_branch_that_was_reset_to_the_base_is_not_merged(world: LocalForgeWorld) -> None:
    pull = await world.settled((await opened(world, {"a.txt": "a\n"})).number)
    world.push_by_person("main", {"p.txt": "p\n"})
    base = await world.forge.base()
    git(world.user, "branch", "-q", "-f", pull.branch, base)
    seen = await read(world, pull.number)
    assert (seen.state, seen.head, seen.forward) == (PullRequestState.OPEN, base, False)


async def test_the_users_target_is_taken_into_the_base(world: LocalForgeWorld) -> None:
    first = await world.forge.base()
    theirs = world.push_by_person("main", {"p.txt": "p\n"})
    assert await world.forge.base() == theirs
    pull = await world.settled((await opened(world, {"a.txt": "a\n"})).number)
    done = await world.forge.merge(pull.number, pull.head, pull.base, "merge")
    world.push_by_person("main", {"q.txt": "q\n"})
    base = await world.forge.base()
    assert isinstance(done, MergeDone)
    assert await world.repository.contains(base, done.commit)
    assert git(world.user, "show", f"{BASE}:q.txt") == "q"
    assert first == world.first


async def test_a_target_that_conflicts_leaves_the_base_alone(world: LocalForgeWorld) -> None:
    pull = await world.settled((await opened(world, {"README.md": "ours\n"})).number)
    done = await world.forge.merge(pull.number, pull.head, pull.base, "merge")
    assert isinstance(done, MergeDone)
    world.push_by_person("main", {"README.md": "theirs\n"})
    assert await world.forge.base() == done.commit


async def test_a_deleted_base_comes_back_with_what_was_merged(world: LocalForgeWorld) -> None:
    pull = await world.settled((await opened(world, {"a.txt": "a\n"})).number)
    done = await world.forge.merge(pull.number, pull.head, pull.base, "merge")
    assert isinstance(done, MergeDone)
    git(world.user, "branch", "-q", "-D", BASE)
    assert (await read(world, pull.number)).state is PullRequestState.MERGED
    assert git(world.user, "rev-parse", BASE) == done.commit


async def test_a_deleted_base_comes_back_without_what_was_written_and_not_merged(world: LocalForgeWorld) -> None:
    first = await world.settled((await opened(world, {"a.txt": "a\n"})).number)
    done = await world.forge.merge(first.number, first.head, first.base, "merge")
    assert isinstance(done, MergeDone)
    second = await world.settled((await opened(world, {"b.txt": "b\n"}, "c2")).number)
    await world.at_the_last_moment(lambda: world.close_by_person(second.number))
    assert await world.forge.merge(second.number, second.head, second.base, "merge") == Opposed()
    world.delete_by_person(BASE)
    world.driver()
    assert await world.forge.base() == done.commit
    assert (await read(world, second.number)).state is PullRequestState.CLOSED


async def test_what_a_killed_driver_has_merged_is_in_the_base_that_comes_back(world: LocalForgeWorld) -> None:
    pull = await world.settled((await opened(world, {"a.txt": "a\n"})).number)

    def die(point: str) -> None:
        if point == "merge:swapped":
            raise Killed(point)

    await world.forge.close()
    with pytest.raises(Killed):
        await world.driver(die).merge(pull.number, pull.head, pull.base, "merge")
    merged = git(world.user, "rev-parse", BASE)
    world.driver()
    assert (await read(world, pull.number)).merge_commit == merged
    world.delete_by_person(BASE)
    world.driver()
    assert await world.forge.base() == merged


async def test_a_merge_that_was_not_recorded_is_by_the_next_driver_that_sees_it(world: LocalForgeWorld) -> None:
    pull = await world.settled((await opened(world, {"a.txt": "a\n"})).number)
    done = await world.forge.merge(pull.number, pull.head, pull.base, "merge")
    assert isinstance(done, MergeDone)
    await world.forge.close()
    lines = world.journal.path.read_text().splitlines(keepends=True)
    world.journal.path.write_text("".join(line for line in lines if '"kind": "merged"' not in line))
    assert await world.driver().base() == done.commit
    git(world.user, "branch", "-q", "-D", BASE)
    assert await world.driver().base() == done.commit


async def test_a_base_that_somebody_has_checked_out_is_not_merged_into(world: LocalForgeWorld) -> None:
    pull = await world.settled((await opened(world, {"a.txt": "a\n"})).number)
    git(world.user, "switch", "-q", BASE)
    refused = await world.forge.merge(pull.number, pull.head, pull.base, "merge")
    assert isinstance(refused, MergeRefused)
    assert str(world.user) in refused.reason
    assert git(world.user, "status", "--porcelain") == ""
    git(world.user, "switch", "-q", "elsewhere")
    assert isinstance(await world.forge.merge(pull.number, pull.head, pull.base, "merge"), MergeDone)


async def test_a_torn_last_line_is_passed_over_and_cut_off(world: LocalForgeWorld) -> None:
    number = (await opened(world, {"a.txt": "a\n"})).number
    await world.forge.close()
    with world.journal.path.open("ab") as file:
        file.write(b'{"kind": "clo')
    world.driver()
    assert (await read(world, number)).state is PullRequestState.OPEN
    world.remark(number, "After the crash")
    assert len((await read(world, number)).threads) == 1
    assert b'"clo{' not in world.journal.path.read_bytes()


async def test_a_damaged_line_is_named(world: LocalForgeWorld) -> None:
    number = (await opened(world, {"a.txt": "a\n"})).number
    await world.forge.close()
    text = world.journal.path.read_text()
    world.journal.path.write_text("{damaged\n" + text)
    world.driver()
    with pytest.raises(JournalError, match="line 1"):
        await read(world, number)


async def test_what_is_not_there_is_said(world: LocalForgeWorld) -> None:
    with pytest.raises(ForgeError, match="no pull request #7"):
        await world.forge.read([7])
    with pytest.raises(ForgeError, match="not there"):
        await world.forge.open(NewPullRequest("c1", "claudetm/r1/c1", world.first, "Do", ""))


async def test_an_opening_that_was_cut_short_opens_one(world: LocalForgeWorld) -> None:
    head = await world.push("c1", {"a.txt": "a\n"})
    new = NewPullRequest("c1", "claudetm/r1/c1", head, "Do c1", "")
    for step in ("open:before", "open:after"):

        def die(point: str, step: str = step) -> None:
            if point == step:
                raise Killed(point)

        with pytest.raises(Killed):
            await world.driver(die).open(new)
    pull = await world.driver().open(new)
    assert pull.number == 1
    assert len(world.journal.pulls) == 1


async def test_a_pull_request_into_a_repository_without_the_target_is_read(tmp_path: Path) -> None:
    world = LocalForgeWorld(tmp_path)
    pull = await world.settled((await opened(world, {"a.txt": "a\n"})).number)
    git(world.user, "branch", "-q", "-D", "main")
    assert isinstance(await world.forge.merge(pull.number, pull.head, pull.base, "merge"), MergeDone)
