"""The double's git is git's own: real clients clone, push and delete there, and each fault is one that they meet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from github_double.git_http import GitRequest, Lost, RefUpdate
from integration.git_server import TOKEN, GitServer, serving
from integration.repositories import commit, git, make_user


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    with serving(tmp_path_factory.mktemp("hosted")) as host:
        yield host


@pytest.fixture
def clone(server: GitServer, tmp_path: Path) -> Path:
    """A clone of a repository that is named like the test's folder, its remote with the token."""
    server.app.fault = lambda _: None
    user = make_user(tmp_path / "user")
    server.create("acme", tmp_path.name, user)
    address = server.address("acme", tmp_path.name).replace("//", f"//x-access-token:{TOKEN}@")
    git(tmp_path, "clone", "-q", address, "clone")
    server.updates.clear()
    return tmp_path / "clone"


def refused(clone: Path, *arguments: str) -> str:
    git(clone, *arguments, accept=(1, 128))
    return git(clone, "ls-remote", "origin", "refs/heads/*")


def test_what_is_pushed_stands_there_and_is_told_once(server: GitServer, clone: Path) -> None:
    first = git(clone, "rev-parse", "HEAD")
    head = commit(clone, {"big.txt": "x\n" * 600_000 + "end"})
    git(clone, "-c", "core.compression=0", "push", "-q", "origin", "HEAD:refs/heads/topic", "HEAD:refs/heads/main")
    git(clone, "push", "-q", "origin", "HEAD:refs/heads/topic")
    assert sorted(server.updates, key=lambda u: u.ref) == [
        RefUpdate("refs/heads/main", first, head),
        RefUpdate("refs/heads/topic", "", head),
    ]
    git(clone, "push", "-q", "origin", ":refs/heads/topic")
    assert server.updates[2:] == [RefUpdate("refs/heads/topic", head, "")]
    assert git(clone, "ls-remote", "origin").split("\t")[0] == head


def test_a_pull_requests_ref_is_not_pushed_to(server: GitServer, clone: Path) -> None:
    commit(clone, {"a.txt": "a\n"})
    git(clone, "push", "-q", "origin", "HEAD:refs/pull/1/head", accept=(1,))
    assert server.updates == []


@pytest.mark.parametrize(("token", "may_read"), [("ghp_reader", True), ("ghp_elsewhere", False), ("wrong", False)])
def test_the_token_says_who_may_what(token: str, may_read: bool, server: GitServer, clone: Path) -> None:
    commit(clone, {"a.txt": "a\n"})
    git(clone, "remote", "set-url", "origin", git(clone, "remote", "get-url", "origin").replace(TOKEN, token))
    git(clone, "ls-remote", "-q", "origin", accept=(0,) if may_read else (128,))
    git(clone, "push", "-q", "origin", "HEAD:refs/heads/topic", accept=(128,))
    assert server.updates == []


def test_an_answer_is_lost_after_the_push_took_effect(server: GitServer, clone: Path) -> None:
    commit(clone, {"a.txt": "a\n"})

    def lose(request: GitRequest) -> Lost | None:
        return Lost.AFTER if request.service == "push" else None

    server.app.fault = lose
    listed = refused(clone, "push", "-q", "origin", "HEAD:refs/heads/topic")
    assert "refs/heads/topic" in listed
    assert [u.ref for u in server.updates] == ["refs/heads/topic"]


@pytest.mark.parametrize("fault", [Lost.BEFORE, 502])
def test_nothing_is_done_where_the_fault_comes_first(fault: Lost | int, server: GitServer, clone: Path) -> None:
    commit(clone, {"a.txt": "a\n"})
    server.app.fault = lambda request: fault if request.service == "push" else None
    slow = ("-c", "http.lowSpeedLimit=1", "-c", "http.lowSpeedTime=1")
    assert "topic" not in refused(clone, *slow, "push", "-q", "origin", "HEAD:refs/heads/topic")
    assert server.updates == []
