"""Which pull request is a branch's own, and what comes of opening one: over a list as GitHub could answer it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from claudetm.adapters.forge.github.client import GithubClient, GithubRefused, Unanswered
from claudetm.adapters.forge.github.once import Once
from claudetm.adapters.forge.github.opening import GithubOpening
from claudetm.errors import ForgeBusy, ForgeError
from claudetm.ports.forge import NewPullRequest
from github_values import HEAD, HOSTED

NEW = NewPullRequest("c1", "claudetm/r1/c1", HEAD, "Do it", "Why.")


class Listing(GithubClient):
    """A GitHub of one list, one item to a page, that does not understand `head`; the answer to a write is lost."""

    def __init__(self, *there: Mapping[str, Any], happens: bool = False, refusal: ForgeError | None = None) -> None:
        super().__init__(HOSTED.api, "a-token")
        self.there = list(there)
        self.happens = happens
        self.refusal = refusal

    def get(self, path: str, **params: Any) -> Any:
        if path == "/repos/acme/widgets":
            return {"full_name": "acme/widgets"}
        return self.pages(path, **params)[:1]

    def pages(self, path: str, key: str = "", **params: Any) -> list[Any]:  # noqa: ARG002 - as the client has it
        assert path == "/repos/acme/widgets/pulls"
        if self.refusal:
            raise self.refusal
        return [p for p in self.there if params["state"] in {"all", p["state"]}]

    def write(self, verb: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        assert body is not None
        if self.happens:
            self.there.append(listed(7, f"acme:{body['head']}"))
        raise Unanswered(f"{verb} {path}", 1.0)


def listed(
    number: int, label: str = "acme:claudetm/r1/c1", state: str = "open", base: str = "main"
) -> dict[str, Any]:
    return {"number": number, "state": state, "head": {"label": label}, "base": {"ref": base}, "html_url": "x"}


def opening(client: Listing) -> GithubOpening:
    return GithubOpening(client, HOSTED, "main", Once(()))


def test_a_list_of_every_pull_request_is_not_taken_for_the_branchs() -> None:
    others = [listed(8, "acme:claudetm/r1/c2"), listed(9, "eve:claudetm/r1/c1")]
    assert opening(Listing(*others, listed(3, "Acme:claudetm/r1/c1"))).newest(NEW.branch) == 3
    assert opening(Listing(*others)).newest(NEW.branch) == 0


def test_a_branchs_pull_request_is_found_on_whatever_page_it_stands() -> None:
    assert opening(Listing(listed(8, "acme:other"), listed(3))).newest(NEW.branch) == 3


def test_a_branchs_pull_request_is_found_after_it_was_closed() -> None:
    assert opening(Listing(listed(3, state="closed"))).newest(NEW.branch) == 3


@pytest.mark.parametrize("refusal", [ForgeBusy("502", 1.0), GithubRefused("403", 403, "Resource not accessible")])
def test_no_answer_about_a_branch_is_not_that_it_has_no_pull_request(refusal: ForgeError) -> None:
    with pytest.raises(type(refusal)):
        opening(Listing(refusal=refusal)).newest(NEW.branch)


def test_a_lost_opening_is_not_taken_for_the_one_that_was_closed_before() -> None:
    closed = listed(3, state="closed")
    with pytest.raises(Unanswered):
        opening(Listing(closed)).open(NEW, 3)
    assert opening(Listing(closed, happens=True)).open(NEW, 3) == 7
