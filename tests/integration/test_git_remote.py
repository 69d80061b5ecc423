"""Git over the network, by real smart HTTP: what is pushed, found, refused, lost, and never told."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from claudetm.adapters.git import remote_answers
from claudetm.adapters.git.clean_room import open_clean_room
from claudetm.adapters.git.git import GitFailed
from claudetm.adapters.git.remote import Remote, address
from claudetm.adapters.git.run_repository import RunRepository
from claudetm.adapters.git.user_repository import inspect
from claudetm.errors import ForgeBusy, RepositoryError
from claudetm.ports.repository import Merged, Pushed, PushRefused
from github_double.git_http import Fault, GitRequest, Lost, RefUpdate
from integration.git_server import TOKEN, GitServer, serving
from integration.remote_world import NOW, RemoteWorld
from integration.repositories import commit, git, make_user, once, write

pytestmark = pytest.mark.anyio

BRANCH = "claudetm/r1/c1"
REF = f"refs/heads/{BRANCH}"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    with serving(tmp_path_factory.mktemp("hosted")) as host:
        yield host


@pytest.fixture
def world(tmp_path: Path, server: GitServer) -> RemoteWorld:
    return RemoteWorld(tmp_path, server, tmp_path.name)


async def worked(world: RemoteWorld, **files: str) -> str:
    """Return a commit of the change's agent, in the clean room."""
    await world.repository.open_worktree("c1", BRANCH, world.first)
    head = world.work("c1", files or {"a.txt": "a\n"})
    assert await world.repository.adopt("c1") == head
    return head


def on(service: str, fault: Fault) -> Callable[[GitRequest], Fault]:
    return lambda request: fault if request.service == service else None


class Killed(BaseException):
    """The driver dies here."""


def die() -> None:
    raise Killed


# what is pushed


async def test_work_arrives_on_the_host_and_nothing_in_the_users_repository(world: RemoteWorld) -> None:
    head = await worked(world)
    before = git(world.user, "for-each-ref")
    assert await world.repository.push(BRANCH, head) == Pushed()
    assert world.there(BRANCH) == head == await world.driver().last_push(BRANCH)
    assert world.server.updates == [RefUpdate(REF, "", head)]
    assert git(world.user, "for-each-ref") == before


async def test_what_stands_there_already_is_not_pushed_again(world: RemoteWorld) -> None:
    head = await worked(world)
    await world.repository.push(BRANCH, head)
    world.server.requests.clear()
    assert await world.driver().push(BRANCH, head) == Pushed()
    assert {r.write for r in world.server.requests} == {False}


@pytest.mark.parametrize("branch", ["main", "feature", "claudetm"])
async def test_only_our_branches_are_pushed_to_and_deleted_never_the_target(world: RemoteWorld, branch: str) -> None:
    head = await worked(world)
    with pytest.raises(RepositoryError, match="is not ours to write"):
        await world.repository.push(branch, head)
    with pytest.raises(RepositoryError, match="is not ours to write"):
        await world.repository.delete_branch(branch, world.first)
    assert world.server.requests == []


@pytest.mark.parametrize(
    "branch", ["claudetm/a:refs/heads/main", "+claudetm/x", "claudetm/../x", "-d", "claudetm/a b"]
)
async def test_a_name_that_is_more_than_a_name_reaches_no_git(world: RemoteWorld, branch: str) -> None:
    head = await worked(world)
    with pytest.raises(RepositoryError, match=r"cannot be a branch|is not ours to write"):
        await world.repository.push(branch, head)
    assert world.server.updates == []


async def test_a_branch_that_was_adopted_is_pushed_to_and_deleted_like_ours(world: RemoteWorld) -> None:
    git(world.hosted, "branch", "feature", "main")
    theirs = world.push_by_person("feature", {"f.txt": "f\n"})
    assert await world.repository.branch_tip("feature") == theirs
    await world.repository.open_worktree("c1", "feature", theirs)
    more = world.work("c1", {"g.txt": "g\n"})
    await world.repository.adopt("c1")
    world.repository.adopt_branch("feature")
    assert await world.repository.push("feature", more) == Pushed()
    assert world.there("feature") == more
    assert await world.repository.delete_branch("feature", more)
    assert world.there("feature") == ""


async def test_a_forks_branch_is_pushed_to_the_fork_and_the_target_is_read_upstream(world: RemoteWorld) -> None:
    fork = world.server.create("octo", world.hosted.stem, world.hosted)
    world.driver(push_url=world.server.address("octo", world.hosted.stem))
    theirs = world.push_by_person("main", {"p.txt": "p\n"})
    head = await worked(world)
    assert await world.repository.push(BRANCH, head) == Pushed()
    assert (git(fork, "rev-parse", REF), world.there(BRANCH)) == (head, "")
    assert await world.repository.branch_tip(BRANCH) == head
    assert await world.repository.fetch(BRANCH) == ""
    assert await world.repository.branch_tip("main") == theirs == await world.repository.fetch("main")


async def test_an_adopted_pull_requests_fork_is_pushed_to_from_then_on(world: RemoteWorld) -> None:
    fork = world.server.create("bob", world.hosted.stem, world.hosted)
    head = await worked(world)
    world.repository.adopt_branch("fix")
    world.repository.push_to(world.server.address("bob", world.hosted.stem))
    assert await world.repository.push("fix", head) == Pushed()
    assert (git(fork, "rev-parse", "refs/heads/fix"), world.there("fix")) == (head, "")


async def test_a_private_file_is_not_pushed(world: RemoteWorld) -> None:
    write(world.user, {".env": "SECRET=1\n"})
    world.driver(copy=(".env",))
    path = await world.repository.open_worktree("c1", BRANCH, world.first)
    git(path, "add", "-f", ".env")
    head = commit(path, {"a.txt": "a\n"})
    with pytest.raises(RepositoryError, match=r"\.env was committed"):
        await world.repository.adopt("c1")
    with pytest.raises(RepositoryError, match=r"\.env was committed"):
        await world.repository.push(BRANCH, head)
    assert world.server.updates == []


# what people do there


async def test_a_deleted_branch_is_a_veto_for_the_next_driver_too(world: RemoteWorld) -> None:
    head = await worked(world)
    await world.repository.push(BRANCH, head)
    world.delete_by_person(BRANCH)
    refused = await world.driver().push(BRANCH, head)
    assert isinstance(refused, PushRefused)
    assert (refused.at, "somebody deleted it" in refused.reason) == ("", True)
    assert world.there(BRANCH) == ""


async def test_a_push_in_the_last_moment_is_found_and_stays(world: RemoteWorld) -> None:
    head = await worked(world)
    await world.repository.push(BRANCH, head)
    theirs: list[str] = []
    world.driver(faults=once("push:before", lambda: theirs.append(world.push_by_person(BRANCH, {"p.txt": "p\n"}))))
    more = await worked(world, **{"b.txt": "b\n"})
    refused = await world.repository.push(BRANCH, more)
    assert refused == PushRefused(theirs[0], f"{BRANCH} moved meanwhile")
    assert await world.repository.branch_tip(BRANCH) == theirs[0] == world.there(BRANCH)
    merged = await world.repository.merge(more, theirs[0], "Take it in")
    assert isinstance(merged, Merged)
    assert await world.repository.push(BRANCH, merged.commit) == Pushed()


async def test_a_branch_made_by_somebody_else_at_the_same_moment_is_not_overrun(world: RemoteWorld) -> None:
    world.driver(faults=once("push:before", lambda: world.bring_back_by_person(BRANCH, world.first)))
    head = await worked(world)
    other = git(world.hosted, "commit-tree", f"{world.first}^{{tree}}", "-m", "Unrelated")
    world.driver(faults=once("push:before", lambda: world.bring_back_by_person(BRANCH, other)))
    assert await world.repository.push(BRANCH, head) == PushRefused(other, f"{BRANCH} moved meanwhile")
    assert world.there(BRANCH) == other


async def test_a_forced_push_is_seen_as_it_stands_now(world: RemoteWorld) -> None:
    head = await worked(world)
    await world.repository.push(BRANCH, head)
    assert await world.repository.branch_tip(BRANCH) == head
    forced = world.push_by_person(BRANCH, {"p.txt": "p\n"}, force=True)
    assert await world.repository.branch_tip(BRANCH) == forced
    refused = await world.repository.push(BRANCH, head)
    assert refused == PushRefused(forced, f"{BRANCH} has commits that are not ours")


async def test_a_branch_is_deleted_where_it_stands_and_nowhere_else(world: RemoteWorld) -> None:
    head = await worked(world)
    await world.repository.push(BRANCH, head)
    theirs = world.push_by_person(BRANCH, {"p.txt": "p\n"})
    assert not await world.repository.delete_branch(BRANCH, head)
    assert world.there(BRANCH) == theirs
    world.driver(faults=once("delete:before", lambda: world.push_by_person(BRANCH, {"q.txt": "q\n"})))
    assert not await world.repository.delete_branch(BRANCH, theirs)
    last = world.there(BRANCH)
    assert last not in {"", theirs}
    assert await world.repository.delete_branch(BRANCH, last)
    assert world.there(BRANCH) == ""
    assert await world.repository.delete_branch(BRANCH, last)


# what is read there


async def test_a_tip_costs_one_round_and_a_known_one_no_objects(world: RemoteWorld) -> None:
    theirs = world.push_by_person("main", {"p.txt": "p\n"})
    assert await world.repository.contains(world.first, world.first)
    assert await world.repository.fetch("main") == theirs
    known = [r.service for r in world.server.requests if r.token]
    assert known == ["refs", "fetch", "fetch"]  # what there is, and its objects
    assert await world.repository.read_file(theirs, "p.txt") == "p\n"
    world.server.requests.clear()
    assert await world.repository.fetch("main") == theirs
    assert [r.service for r in world.server.requests if r.token] == ["refs", "fetch"]
    assert await world.repository.fetch("no-such-branch") == ""


async def test_tips_of_branches_that_no_repository_could_hold_together_are_read(world: RemoteWorld) -> None:
    git(world.hosted, "branch", "topic", "main")
    assert await world.repository.fetch("topic") == world.first
    git(world.hosted, "branch", "-D", "topic")
    git(world.hosted, "branch", "topic/one", "main")
    assert await world.repository.fetch("topic/one") == world.first
    assert await world.repository.fetch("topic") == ""


async def test_many_tips_are_read_at_once(world: RemoteWorld) -> None:
    theirs = world.push_by_person("main", {"p.txt": "p\n"})
    assert await asyncio.gather(*(world.repository.fetch("main") for _ in range(4))) == [theirs] * 4


async def test_a_pull_request_of_a_stranger_is_read_by_its_number(world: RemoteWorld) -> None:
    stranger = git(world.hosted, "commit-tree", f"{world.first}^{{tree}}", "-p", world.first, "-m", "Theirs")
    git(world.hosted, "update-ref", "refs/pull/7/head", stranger)
    assert await world.repository.fetch_pull(7) == stranger
    assert [c.subject for c in await world.repository.commits(world.first, stranger)] == ["Theirs"]
    assert await world.repository.fetch_pull(8) == ""


async def test_a_strangers_broken_objects_do_not_come_in(world: RemoteWorld) -> None:
    blob = git(world.hosted, "rev-parse", f"{world.first}:README.md")
    entry = b"100644 .git\0" + bytes.fromhex(blob)
    (world.folder / "tree").write_bytes(entry)
    tree = git(world.hosted, "hash-object", "-t", "tree", "-w", "--literally", str(world.folder / "tree"))
    bad = git(world.hosted, "commit-tree", tree, "-p", world.first, "-m", "Bad")
    git(world.hosted, "update-ref", "refs/pull/7/head", bad)
    with pytest.raises(GitFailed, match="git fetch failed"):
        await world.repository.fetch_pull(7)
    assert not world.repository.room.has(bad)


async def test_a_commit_that_only_the_host_has_is_worked_on(world: RemoteWorld) -> None:
    theirs = world.push_by_person("main", {"p.txt": "p\n"})
    later = world.push_by_person("main", {"q.txt": "q\n"})
    path = await world.repository.open_worktree("c1", BRANCH, theirs)
    assert (path / "p.txt").exists()
    assert not (path / "q.txt").exists()
    async with world.repository.checkout(later) as folder:
        assert (folder / "q.txt").exists()
    with pytest.raises(RepositoryError, match=r"^Commit 0{10} is neither in .* nor on its remote\.$"):
        await world.repository.open_worktree("c2", "claudetm/r1/c2", "0" * 40)


async def test_a_commit_that_only_the_fork_has_is_brought_in(world: RemoteWorld) -> None:
    fork = world.server.create("octo", world.hosted.stem, world.hosted)
    world.driver(push_url=world.server.address("octo", world.hosted.stem))
    theirs = git(fork, "commit-tree", f"{world.first}^{{tree}}", "-p", world.first, "-m", "Theirs")
    git(fork, "update-ref", "refs/heads/fix", theirs)
    async with world.repository.checkout(theirs) as folder:
        assert git(folder, "rev-parse", "HEAD") == theirs


# a user's clone that is behind


async def test_a_run_begins_at_a_base_that_the_clone_has_not_fetched(world: RemoteWorld) -> None:
    world.push_by_person("main", {"p.txt": "p\n"})
    base = world.push_by_person("main", {"q.txt": "q\n"})
    before = git(world.user, "for-each-ref")
    world.driver(base=base)
    path = await world.repository.open_worktree("c1", BRANCH, base)
    assert (path / "q.txt").exists()
    world.work("c1", {"a.txt": "a\n"})
    head = await world.repository.adopt("c1")
    assert await world.repository.push(BRANCH, head) == Pushed()
    assert git(world.user, "for-each-ref") == before


@pytest.mark.parametrize("remote", [True, False])
async def test_a_snapshot_reaches_a_clone_that_lacks_the_base_whole(world: RemoteWorld, remote: bool) -> None:
    base = world.push_by_person("main", {"p.txt": "p\n"})
    world.driver(base=base)
    await world.repository.open_worktree("c1", BRANCH, base)
    world.leave("c1", {"left.txt": "left\n"})
    if not remote:  # as `claudetm clean` opens it
        refs = inspect(world.user, "main").refs
        world.repository = RunRepository(world.folder / "run", refs, "r1", base)
    kept = await world.repository.snapshot("c1", "a test")
    assert kept is not None
    assert git(world.user, "rev-parse", kept.ref) == kept.commit
    assert git(world.user, "show", f"{kept.ref}:left.txt", f"{kept.ref}:p.txt") == "left\np"
    git(world.user, "fsck", "--connectivity-only", "--no-dangling")
    assert await world.repository.snapshot("c1", "again") == kept


async def test_a_base_whose_objects_lie_about_in_pieces_is_no_ground_to_build_on(world: RemoteWorld) -> None:
    """As a fetch of the user's that was killed leaves them: the commit without its files."""
    base = world.push_by_person("main", {"p.txt": "p\n"})
    (world.folder / "piece").write_text(git(world.hosted, "cat-file", "commit", base) + "\n")
    assert git(world.user, "hash-object", "-t", "commit", "-w", str(world.folder / "piece")) == base
    world.driver(base=base)
    path = await world.repository.open_worktree("c1", BRANCH, base)
    assert (path / "p.txt").exists()
    world.leave("c1", {"left.txt": "left\n"})
    kept = await world.repository.snapshot("c1", "a test")
    assert kept is not None
    assert git(world.user, "show", f"{kept.ref}:left.txt", f"{kept.ref}:p.txt") == "left\np"
    git(world.user, "fsck", "--connectivity-only", "--no-dangling")


async def test_commits_that_only_the_host_has_are_compared_read_and_merged(world: RemoteWorld) -> None:
    """Whoever names one need not have fetched it: each of these is by a driver that has seen none of them."""
    theirs = world.push_by_person("main", {"p.txt": "p\n"})
    head = await worked(world)
    assert await world.repository.contains(theirs, world.first)
    later = world.push_by_person("main", {"q.txt": "q\n"})
    assert await world.repository.merge_base(head, later) == world.first
    latest = world.push_by_person("main", {"r.txt": "r\n"})
    assert isinstance(await world.repository.merge(head, latest, "Take it in"), Merged)
    last = world.push_by_person("main", {"s.txt": "s\n"})
    assert [c.id for c in await world.repository.commits(latest, last)] == [last]
    with pytest.raises(RepositoryError, match="neither in"):
        await world.repository.contains("2" * 40, world.first)
    with pytest.raises(RepositoryError, match="no commit id"):
        await world.repository.contains("main", world.first)


async def test_what_the_host_has_needs_no_snapshot(world: RemoteWorld) -> None:
    theirs = world.push_by_person("main", {"p.txt": "p\n"})
    assert await world.repository.fetch("main") == theirs
    await world.repository.open_worktree("c1", BRANCH, theirs)
    assert await world.repository.snapshot("c1", "nothing of ours") is None


async def test_a_shallow_clone_pushes_and_reads(tmp_path: Path, server: GitServer) -> None:
    world = RemoteWorld(tmp_path, server, tmp_path.name)
    world.push_by_person("main", {"p.txt": "p\n"})
    world.first = world.push_by_person("main", {"q.txt": "q\n"})
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{world.hosted}", "shallow")
    world.user = tmp_path / "shallow"
    world.driver()
    head = await worked(world)
    assert await world.repository.push(BRANCH, head) == Pushed()
    theirs = world.push_by_person("main", {"r.txt": "r\n"})
    assert await world.repository.fetch("main") == theirs
    assert await world.repository.contains(theirs, world.first)
    git(world.hosted, "fsck", "--connectivity-only", "--no-dangling")


async def test_a_base_that_neither_has_is_refused_and_nothing_is_left(world: RemoteWorld) -> None:
    room = world.folder / "run" / "clean-room.git"
    world.driver(base="1" * 40)
    with pytest.raises(RepositoryError, match=r"^Commit 1{10} is neither in .* nor on its remote\.$"):
        await world.repository.open_worktree("c1", BRANCH, world.first)
    assert not room.exists()


# answers that do not arrive


async def test_a_push_whose_answer_was_lost_is_found_and_not_repeated(world: RemoteWorld) -> None:
    head = await worked(world)
    world.server.app.fault = on("push", Lost.AFTER)
    assert await world.repository.push(BRANCH, head) == Pushed()
    assert [r.service for r in world.server.requests].count("push") == 1
    assert world.server.updates == [RefUpdate(REF, "", head)]
    assert await world.driver().last_push(BRANCH) == head


async def test_a_deletion_whose_answer_was_lost_is_found(world: RemoteWorld) -> None:
    head = await worked(world)
    await world.repository.push(BRANCH, head)
    world.server.app.fault = on("push", Lost.AFTER)
    assert await world.repository.delete_branch(BRANCH, head)
    assert world.server.updates[1:] == [RefUpdate(REF, head, "")]


@pytest.mark.parametrize("fault", [502, 503, 429, Lost.BEFORE])
async def test_a_push_that_was_not_answered_waits_and_is_made_later(world: RemoteWorld, fault: Fault) -> None:
    head = await worked(world)
    world.server.app.fault = on("push", fault)
    with pytest.raises(ForgeBusy, match="cannot be reached by git") as busy:
        await world.repository.push(BRANCH, head)
    assert busy.value.until == NOW + 60
    assert world.there(BRANCH) == ""
    world.server.app.fault = on("none", None)
    assert await world.repository.push(BRANCH, head) == Pushed()


@pytest.mark.parametrize("service", ["refs", "fetch"])
@pytest.mark.parametrize("fault", [500, 504, Lost.AFTER])
async def test_a_look_that_was_not_answered_waits(world: RemoteWorld, service: str, fault: Fault) -> None:
    world.push_by_person("main", {"p.txt": "p\n"})
    assert await world.repository.contains(world.first, world.first)
    world.server.app.fault = on(service, fault)
    with pytest.raises(ForgeBusy, match="cannot be reached by git"):
        await world.repository.fetch("main")


async def test_a_connection_that_stands_still_waits(world: RemoteWorld) -> None:
    world.server.app.fault = on("refs", Lost.BEFORE)
    with pytest.raises(ForgeBusy, match="cannot be reached by git"):
        await world.repository.fetch("main")


async def test_a_host_that_is_down_waits(world: RemoteWorld) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    world.driver(url=f"http://127.0.0.1:{port}/acme/widgets.git")
    with pytest.raises(ForgeBusy, match="cannot be reached by git"):
        await world.repository.branch_tip("main")


@pytest.mark.parametrize("point", ["push:before", "push:after"])
async def test_a_driver_that_dies_in_a_push_leaves_one_effect(world: RemoteWorld, point: str) -> None:
    head = await worked(world)
    world.driver(faults=once(point, die))
    with pytest.raises(Killed):
        await world.repository.push(BRANCH, head)
    assert await world.driver().push(BRANCH, head) == Pushed()
    assert world.server.updates == [RefUpdate(REF, "", head)]
    assert await world.repository.last_push(BRANCH) == head


async def test_a_git_that_is_killed_is_asked_again_later(world: RemoteWorld) -> None:
    assert await world.repository.contains(world.first, world.first)

    def kill(_request: GitRequest) -> Fault:
        for child in psutil.Process().children():
            child.kill()
        return None

    world.server.app.fault = kill
    with pytest.raises(ForgeBusy, match="git was killed while it asked"):
        await world.repository.fetch("main")
    world.server.app.fault = on("none", None)
    assert await world.repository.fetch("main") == world.first


async def test_a_lock_that_a_killed_fetch_left_stops_no_later_one(world: RemoteWorld) -> None:
    assert await world.repository.fetch("main") == world.first
    (seen,) = (world.folder / "run" / "clean-room.git" / "refs" / "claudetm" / "seen").iterdir()
    seen.with_suffix(".lock").touch()
    theirs = world.push_by_person("main", {"p.txt": "p\n"})
    assert await world.driver().fetch("main") == theirs


# who is let in


@pytest.mark.parametrize(
    ("token", "sentence"),
    [
        ("wrong", "refused the token for .*: Invalid username or token.* `gh auth login --hostname 127"),
        ("", "refused the token for .* `gh auth login --hostname 127"),
        ("ghp_elsewhere", "is not there for this account: Repository not found"),
    ],
)
async def test_a_token_that_is_not_let_in_is_a_sentence(world: RemoteWorld, token: str, sentence: str) -> None:
    head = await worked(world)
    world.token = token
    with pytest.raises(RepositoryError, match=sentence) as refused:
        await world.repository.push(BRANCH, head)
    assert not token or token not in str(refused.value)


async def test_a_token_that_may_only_read_is_a_sentence(world: RemoteWorld) -> None:
    head = await worked(world)
    world.token = "ghp_reader"
    with pytest.raises(RepositoryError, match=r"refused access to .*: Permission to acme/.* denied to octo"):
        await world.repository.push(BRANCH, head)
    assert await world.repository.branch_tip("main") == world.first


@pytest.mark.parametrize("token", ["a\nquit=1", "a\0b"])
async def test_a_token_that_would_say_more_to_git_is_refused(world: RemoteWorld, token: str) -> None:
    world.token = token
    with pytest.raises(RepositoryError, match="holds a control character"):
        await world.repository.fetch("main")
    assert world.server.requests == []


async def test_a_token_that_changes_is_asked_for_each_time(world: RemoteWorld) -> None:
    world.token = "wrong"
    with pytest.raises(RepositoryError):
        await world.repository.fetch("main")
    world.token = TOKEN
    assert await world.repository.fetch("main") == world.first


async def test_the_token_is_in_no_command_line_and_no_environment(world: RemoteWorld) -> None:
    world.token = TOKEN
    head = await worked(world)
    shown: set[str] = set()
    names: set[str] = set()

    def look(request: GitRequest) -> Fault:
        for child in psutil.Process().children(recursive=True):
            shown.update((*child.cmdline(), *child.environ().values()))
            names.add(child.name())
        assert request.token in {"", TOKEN}
        return None

    world.server.app.fault = look
    assert await world.repository.push(BRANCH, head) == Pushed()
    assert {"git", "git-remote-http"} & names
    assert [text for text in shown if TOKEN in text or "Authorization" in text] == []
    assert any("/dev/fd/" in text for text in shown)
    room = world.folder / "run" / "clean-room.git"
    assert [p for p in room.rglob("*") if p.is_file() and TOKEN.encode() in p.read_bytes()] == []


async def test_a_token_is_not_told_to_the_host_that_a_redirect_leads_to(world: RemoteWorld) -> None:
    heard: list[str] = []

    async def elsewhere(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        heard.append(head)
        challenge = (
            "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        writer.write(challenge.encode())
        writer.close()

    async def here(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).decode().split(" ")[1]
        moved = f"HTTP/1.1 302 Found\r\nLocation: http://localhost:{other}{path}\r\n"
        writer.write(f"{moved}Content-Length: 0\r\nConnection: close\r\n\r\n".encode())
        writer.close()

    async with await asyncio.start_server(elsewhere, "127.0.0.1") as stranger:
        other = stranger.sockets[0].getsockname()[1]
        async with await asyncio.start_server(here, "127.0.0.1") as host:
            port = host.sockets[0].getsockname()[1]
            world.driver(url=f"http://127.0.0.1:{port}/acme/widgets.git")
            with pytest.raises(RepositoryError, match="refused the token"):
                await world.repository.fetch("main")
    assert heard
    assert not any("authorization" in head.lower() for head in heard)


# what a host refuses by its rules

WORKFLOW = (
    "refusing to allow a Personal Access Token to create or update workflow `.github/workflows/ci.yml` without "
    "`workflow` scope"
)
RULES = """\
error: GH013: Repository rule violations found for refs/heads/claudetm/r1/c1.
Review all repository rules at https://github.com/acme/widgets/rules?ref=refs%2Fheads%2Fx

- Cannot create ref due to creations being restricted.

"""
PROTECTED = """\
error: GH006: Protected branch update failed for refs/heads/claudetm/r1/c1.
error: Changes must be made through a pull request.
"""
SECRET = """\
error: GH013: Repository rule violations found for refs/heads/claudetm/r1/c1.

- GITHUB PUSH PROTECTION
  —————————————————————————————————————————
    Resolve the following violations before pushing again

    - Push cannot contain secrets

      —— GitHub Personal Access Token ——————————————————————
       locations:
         - commit: 8728dbe67
           path: README.md:4
"""
LARGE = """\
error: Trace: 0123456789abcdef
error: See https://gh.io/lfs for more information.
error: File big.bin is 120.00 MB; this exceeds GitHub's file size limit of 100.00 MB
error: GH001: Large files detected. You may want to try Git Large File Storage - https://git-lfs.github.com.
"""
PRIVATE = "error: GH007: Your push would publish a private email address.\n"
OWN = "Commits here name a ticket, as in ABC-123.\n"


@pytest.mark.parametrize(
    ("words", "said", "remedy"),
    [
        (
            RULES.replace("remote: ", "").replace("remote:", ""),
            "creations being restricted",
            "rules of the repository",
        ),
        (PROTECTED, "GH006: Protected branch update failed", "see the rules of the repository"),
        (SECRET, "path: README.md:4", "take the secret out of every commit"),
        (LARGE, "File big.bin is 120.00 MB", "leave the file out of every commit"),
        (PRIVATE, "would publish a private email address", "no-reply address"),
        (OWN, "Commits here name a ticket, as in ABC-123.", ""),
        ("\x1b[31mred\x1b[0m \x07words\n", "it: red words (pre-receive hook declined)", ""),
    ],
)
async def test_a_rule_of_the_host_is_told_in_its_own_words(
    world: RemoteWorld, words: str, said: str, remedy: str
) -> None:
    head = await worked(world)
    world.hook(words)
    refused = await world.repository.push(BRANCH, head)
    assert isinstance(refused, PushRefused)
    assert refused.at == ""
    assert said in refused.reason
    assert remedy in refused.reason
    assert refused.reason.isprintable()
    assert (world.there(BRANCH), await world.repository.last_push(BRANCH)) == ("", "")


@pytest.mark.parametrize("kind", ["OAuth App", "Personal Access Token"])
def test_a_workflow_without_its_scope_names_the_way_out(kind: str) -> None:
    why = WORKFLOW.replace("Personal Access Token", kind).replace("a OAuth", "an OAuth")
    report = f"To https://github.com/acme/widgets.git\n!\tabc:{REF}\t[remote rejected] ({why})\nDone\n"
    reason, passing = remote_answers.rejection(report, "error: failed to push some refs to 'https://github.com/…'\n")
    assert (why in reason, "`gh auth refresh -s workflow`" in reason, passing) == (True, True, False)


async def test_a_deletion_that_the_rules_forbid_is_no_error(world: RemoteWorld) -> None:
    head = await worked(world)
    await world.repository.push(BRANCH, head)
    world.hook("error: GH013: Repository rule violations found\n- Cannot delete this branch\n")
    assert not await world.repository.delete_branch(BRANCH, head)
    assert world.there(BRANCH) == head


async def test_trouble_of_the_hosts_own_waits(world: RemoteWorld) -> None:
    head = await worked(world)
    (world.hosted / "refs" / "heads" / "claudetm" / "r1").mkdir(parents=True)
    lock = world.hosted / "refs" / "heads" / "claudetm" / "r1" / "c1.lock"
    lock.touch()
    with pytest.raises(ForgeBusy, match="did not take a push"):
        await world.repository.push(BRANCH, head)
    lock.unlink()
    assert await world.repository.push(BRANCH, head) == Pushed()


# what git says when the network fails; each as git 2.39 or ssh prints it

AT = "fatal: unable to access 'https://github.com/a/b.git/': "
HUNG_UP = "fatal: the remote end hung up unexpectedly"
NO_READ = "fatal: Could not read from remote repository."
OUT_OF_REACH = [
    f"{AT}Could not resolve host: github.com",
    f"{AT}Failed to connect to github.com port 443: No route to host",
    f"{AT}Failed to connect to github.com port 443 after 130 ms: Couldn't connect to server",
    f"{AT}GnuTLS recv error (-110): The TLS connection was non-properly terminated.",
    f"{AT}OpenSSL SSL_read: SSL_ERROR_SYSCALL, errno 104",
    f"{AT}Recv failure: Connection reset by peer",
    f"{AT}Received HTTP code 503 from proxy after CONNECT",
    f"{AT}Operation too slow. Less than 1 bytes/sec transferred the last 60 seconds",
    f"error: RPC failed; HTTP 502 curl 22 The requested URL returned error: 502\n{HUNG_UP}",
    "error: RPC failed; curl 56 GnuTLS recv error (-9)\nfatal: early EOF\nfatal: fetch-pack: invalid output",
    f"remote: You have exceeded a secondary rate limit.\n{AT}The requested URL returned error: 403",
    "error: git-remote-https died of signal 9",
    f"ssh: Could not resolve hostname github.com: Temporary failure in name resolution\n{NO_READ}",
    f"ssh: connect to host github.com port 22: Connection timed out\n{NO_READ}\n\nPlease make sure",
    f"kex_exchange_identification: Connection closed by remote host\n{NO_READ}",
    f"Connection closed by 140.82.121.4 port 22\n{NO_READ}",
]


@pytest.mark.parametrize("complaint", OUT_OF_REACH)
def test_a_network_that_fails_waits_a_minute(complaint: str) -> None:
    found = remote_answers.failure("fetch", "github.com", "https://github.com/a/b.git", complaint, NOW)
    assert isinstance(found, ForgeBusy)
    assert found.until == NOW + 60


@pytest.mark.parametrize(
    ("complaint", "sentence"),
    [
        (f"git@github.com: Permission denied (publickey).\n{NO_READ}", "ssh key"),
        (f"ERROR: Repository not found.\n{NO_READ}", "not there for this account: Repository not found"),
        (f"ERROR: Permission to a/b.git denied to octo.\n{NO_READ}", "access to .*: Permission to a/b.git denied"),
        (f"Host key verification failed.\n{NO_READ}", "ssh does not know"),
        (f"{AT}server certificate verification failed. CAfile: none", "certificate of github.com is not trusted"),
        (f"{AT}SSL certificate problem: self signed certificate", "certificate of github.com is not trusted"),
        (
            f"remote: This repository was archived so it is read-only.\n{AT}The requested URL returned error: 403",
            "refused access to .*: This repository was archived so it is read-only",
        ),
        (
            f"remote: The `acme' organization has enforced SAML SSO.\n{AT}The requested URL returned error: 403",
            "enforced SAML SSO",
        ),
        (
            f"error: RPC failed; HTTP 403 curl 22 The requested URL returned error: 403\n{HUNG_UP}",
            "refused access to",
        ),
        (f"remote: You are not allowed.\n{AT}The requested URL returned error: 403", "You are not allowed"),
        ("remote: error: 502 timed out\nfatal: something new", r"failed: fatal: something new \(502 timed"),
    ],
)
def test_what_a_person_must_mend_is_no_reason_to_wait(complaint: str, sentence: str) -> None:
    found = remote_answers.failure("fetch", "github.com", "https://github.com/a/b.git", complaint, NOW)
    assert isinstance(found, RepositoryError)
    with pytest.raises(RepositoryError, match=sentence):
        raise found


# addresses


@pytest.mark.parametrize(
    ("url", "protocol", "host", "plain"),
    [
        ("https://github.com/a/b.git", "https", "github.com", ""),
        ("https://octo:ghp_x@github.com/a/b.git", "https", "github.com", "https://github.com/a/b.git"),
        ("https://GitHub.com:443/A/b.git", "https", "github.com", "https://github.com/A/b.git"),
        ("http://127.0.0.1:8080/a/b.git", "http", "127.0.0.1:8080", ""),
        ("http://[::1]:8080/a/b.git", "http", "[::1]:8080", ""),
        ("ssh://git@ssh.github.com:443/a/b.git", "ssh", "ssh.github.com:443", ""),
        ("git@github.com:a/b.git", "ssh", "github.com", ""),
        ("work:a/b.git", "ssh", "work", ""),
    ],
)
def test_addresses_are_read(url: str, protocol: str, host: str, plain: str) -> None:
    found = address(url)
    assert (found.protocol, found.host, found.url) == (protocol, host, plain or url)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://github.com/a/b.git", "would send the token in the clear"),
        ("http://127.0.0.1.example.org/a/b.git", "would send the token in the clear"),
        ("http://localhost@example.org/a/b.git", "would send the token in the clear"),
        ("file:///srv/a.git", "use an https or ssh address"),
        ("/srv/a.git", "use an https or ssh address"),
        ("ext::sh -c id", "use an https or ssh address"),
        ("git://github.com/a/b.git", "use an https or ssh address"),
        ("ssh://-oProxyCommand=id/a", "use an https or ssh address"),
        ("-oProxyCommand=id:a", "use an https or ssh address"),
        ("--upload-pack=id", "use an https or ssh address"),
        ("", "use an https or ssh address"),
    ],
)
def test_an_address_that_cannot_be_trusted_is_refused(url: str, sentence: str) -> None:
    with pytest.raises(RepositoryError, match=sentence):
        address(url)


@pytest.mark.parametrize(
    "url", ["https://github.com.example.org/o/b", "https://github.com:8443/o/b", "http://[::1]/b"]
)
def test_a_token_is_not_taken_to_another_host_for_a_push(url: str) -> None:
    def token() -> str:
        raise AssertionError("nobody is to be told")

    with pytest.raises(RepositoryError, match="whose token it would get"):
        Remote("https://github.com/a/b", url, token, {})
    remote = Remote("https://github.com/a/b", "git@github.com:o/b", token, {})
    remote.push_to("https://github.com/bob/b")
    with pytest.raises(RepositoryError, match="whose token it would get"):
        remote.push_to(url)


def test_a_password_in_a_refused_address_is_not_shown() -> None:
    with pytest.raises(RepositoryError) as refused:
        address("http://octo:hunter22@github.com/a/b.git")
    assert "hunter22" not in str(refused.value)


# the user's own configuration


async def test_nothing_that_the_user_or_the_agent_configured_runs_or_redirects(world: RemoteWorld) -> None:
    fired = world.folder / "fired"
    hooks = world.folder / "hooks"
    write(
        hooks,
        {n: f"#!/bin/sh\necho {n} >> {fired}\n" for n in ("pre-push", "reference-transaction", "post-checkout")},
    )
    for hook in hooks.iterdir():
        hook.chmod(0o755)
    trap = world.server.create("trap", world.hosted.stem, world.hosted)
    settings = {
        "credential.helper": f"!echo helper >> {fired}; echo username=x; echo password=y",
        "core.hooksPath": str(hooks),
        "core.fsmonitor": f"{hooks}/pre-push",
        "core.sshCommand": f"{hooks}/pre-push",
        f"url.{world.server.url}/trap/.insteadOf": f"{world.server.url}/acme/",
        f"url.{world.server.url}/trap/.pushInsteadOf": f"{world.server.url}/acme/",
        "http.extraHeader": "X-Trap: 1",
    }
    home = world.folder / "home"
    home.mkdir()
    head = await worked(world)
    agents = world.folder / "run" / "changes" / "c1"
    for key, value in settings.items():
        git(home, "config", "--file", str(home / ".gitconfig"), key, value)
        git(world.user, "config", key, value)
        git(agents, "config", key, value)
    world.environment = {**os.environ, "HOME": str(home)}
    world.driver()
    fired.unlink(missing_ok=True)
    assert await world.repository.push(BRANCH, head) == Pushed()
    assert await world.repository.fetch("main") == world.first
    assert (world.there(BRANCH), git(trap, "for-each-ref", REF)) == (head, "")
    assert not fired.exists()


def variables(world: RemoteWorld, url: str, **environment: str) -> dict[str, str]:
    remote = Remote(url, url, lambda: TOKEN, environment)
    room = open_clean_room(world.folder / "room.git", world.user / ".git", world.first, "Ada <a@b>", ())
    return dict(room.git.having(**remote._variables(remote.main)).environment())


def test_the_users_way_through_a_proxy_is_taken_but_not_to_this_machine(world: RemoteWorld) -> None:
    home = world.folder / "home"
    write(home, {".gitconfig": "[include]\n\tpath = corp\n[http]\n\textraHeader = X: y\n\tsslVerify = false\n"})
    write(home, {"corp": '[http "https://ghe.corp"]\n\tproxy = http://u:p@proxy:3128\n\tsslCAInfo = /corp.pem\n'})
    given = {
        "HOME": str(home),
        "https_proxy": "http://p:1",
        "NO_PROXY": "x",
        "SSL_CERT_FILE": "/c",
        "GH_TOKEN": TOKEN,
    }
    corp = variables(world, "https://ghe.corp/a/b.git", **given)
    ways = {corp[f"GIT_CONFIG_KEY_{n}"]: corp[f"GIT_CONFIG_VALUE_{n}"] for n in range(int(corp["GIT_CONFIG_COUNT"]))}
    assert ways == {"http.proxy": "http://u:p@proxy:3128", "http.sslcainfo": "/corp.pem"}
    assert {n: corp.get(n) for n in given} == given | {"HOME": "/nonexistent", "GH_TOKEN": None}
    assert corp["GIT_ALLOW_PROTOCOL"] == "https"
    here = variables(world, "http://127.0.0.1:1/a/b.git", **given)
    assert not {"https_proxy", "NO_PROXY", "GIT_CONFIG_COUNT", "GH_TOKEN"} & here.keys()


@pytest.mark.parametrize(
    ("given", "configured", "expected"),
    [
        ({}, "", "ssh -oBatchMode=yes"),
        ({}, "ssh -i work", "ssh -i work"),
        ({"GIT_SSH_COMMAND": "ssh -v"}, "ssh -i work", "ssh -v"),
        ({"GIT_SSH": "plink"}, "", None),
    ],
)
def test_the_users_ssh_is_taken_as_git_would(
    world: RemoteWorld, given: dict[str, str], configured: str, expected: str | None
) -> None:
    home = world.folder / "home"
    write(home, {".gitconfig": f"[core]\n\tsshCommand = {configured}\n" if configured else ""})
    found = variables(world, "git@github.com:a/b.git", HOME=str(home), SSH_AUTH_SOCK="/agent", **given)
    assert (found["HOME"], found["SSH_AUTH_SOCK"], found["GIT_ALLOW_PROTOCOL"]) == (str(home), "/agent", "ssh")
    command = found.get("GIT_SSH_COMMAND")
    assert command == expected if expected is None or "Batch" not in expected else str(command).startswith(expected)


async def test_branches_are_pushed_and_read_by_ssh_without_a_token(world: RemoteWorld) -> None:
    """The ssh is a stand-in that runs the command here; it has no terminal to ask at."""
    ssh = world.folder / "ssh"
    sessions = world.folder / "sessions"
    look = f"{sys.executable} -c 'import os; print(os.getsid(0))' >> {sessions}"
    ssh.write_text(f'#!/bin/sh\n{look}\nfor last; do :; done\nexec sh -c "$last"\n')
    ssh.chmod(0o755)
    world.environment = {"GIT_SSH_COMMAND": str(ssh), "GIT_SSH_VARIANT": "ssh"}
    world.token = "never asked\n for"
    world.driver(url=f"git@github.com:{world.hosted}")
    head = await worked(world)
    assert await world.repository.push(BRANCH, head) == Pushed()
    assert world.there(BRANCH) == head
    assert str(os.getsid(0)) not in sessions.read_text().split()
    ssh.write_text("#!/bin/sh\necho 'git@github.com: Permission denied (publickey).' >&2\nexit 255\n")
    with pytest.raises(RepositoryError, match="refused the ssh key"):
        await world.repository.fetch("main")


def test_where_a_remote_is_pushed_to_is_read_as_git_resolves_it(tmp_path: Path) -> None:
    user = make_user(tmp_path / "user")
    git(user, "remote", "add", "origin", "https://github.com/octo/widgets.git")
    git(user, "remote", "add", "upstream", "gh:acme/widgets.git")
    git(user, "remote", "set-url", "--push", "upstream", "no-pushing")
    git(user, "config", "url.https://github.com/.insteadOf", "gh:")
    git(user, "config", "url.git@github.com:.pushInsteadOf", "https://github.com/")
    git(user, "config", "remote.half.fetch", "+refs/heads/*:refs/remotes/half/*")
    found = inspect(user)
    assert found.remotes["upstream"] == "https://github.com/acme/widgets.git"
    assert found.push_urls["origin"] == "git@github.com:octo/widgets.git"
    assert found.push_urls["upstream"] == "no-pushing"
