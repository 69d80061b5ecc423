"""What the doctor says of GitHub, on answers as GitHub gives them: which token, what it may do, what is demanded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from claudetm.adapters.forge.github.access import Token
from claudetm.adapters.forge.github.limits import Limit, Quota
from claudetm.adapters.forge.github.place import Hosted
from claudetm.adapters.forge.github.refusals import Unauthorised
from claudetm.config import resolve
from claudetm.doctor.finding import Finding
from claudetm.doctor.github import examined
from claudetm.errors import ForgeBusy, RepositoryError
from github_answers import FORK, PLACE, TOKEN, GitHub


@dataclass
class Asked(GitHub):
    """A GitHub that also tells what is left of the hour."""

    left: int = 4999

    def quota(self) -> Quota:
        return Quota({"graphql": Limit(self.left, 5000, 0.0)})


def pushes() -> None:
    """Push: it goes through."""


def found(
    github: Asked,
    place: Hosted = PLACE,
    push: Callable[[], None] = pushes,
    token: Token = TOKEN,
    **settings: Any,
) -> Mapping[str, Finding]:
    """Return the findings by name; what is amiss has its remedy, and no value of a token is in any."""
    flags = {name.replace("__", "."): value for name, value in settings.items()}
    findings = list(examined(github, token, place, "main", resolve(flags), push))
    assert all(bool(f.remedy) == (f.state != "ok") for f in findings), findings
    assert not any(token.value in f.found + f.remedy for f in findings)
    assert len({f.name for f in findings}) == len(findings)
    return {f.name: f for f in findings}


def amiss(findings: Mapping[str, Finding]) -> dict[str, str]:
    return {name: str(f.state) for name, f in findings.items() if f.state != "ok"}


def test_where_nothing_is_amiss_each_thing_is_named() -> None:
    rules = {
        "requiredStatusCheckContexts": ["test"],
        "requiredApprovingReviewCount": 1,
        "requiresLinearHistory": True,
    }
    findings = found(
        Asked(rule={**rules, "requiresConversationResolution": True}, repository={"mergeQueue": {"id": "q"}})
    )
    assert amiss(findings) == {}
    assert {name: f.found for name, f in findings.items()} == {
        "GitHub token": "GH_TOKEN, of ada, with repo, workflow",
        "GitHub access": "acme/widgets (write)",
        "GitHub merging": "squash (allowed: squash, rebase)",
        "GitHub reviews": "1 approval of people on GitHub required",
        "GitHub rules": "main: conversations must be resolved, linear history, a merge queue",
        "GitHub checks": "test (required)",
        "GitHub quota": "4999 of 5000 (graphql) left",
    }


def test_a_token_that_is_refused_is_named_with_the_ways_out() -> None:
    class Refusing(Asked):
        def graphql(self, _query: str, /, **_variables: Any) -> tuple[Any, list[Any]]:
            raise Unauthorised("no", 401, "Bad credentials")

    findings = found(Refusing())
    assert amiss(findings) == {"GitHub token": "failure"}
    token = findings["GitHub token"]
    assert (token.found, token.remedy) == (
        "GH_TOKEN, which github.com refuses",
        "set GH_TOKEN to a valid one, or remove it and `gh auth login`",
    )


@pytest.mark.parametrize(
    ("github", "name", "says", "remedy"),
    [
        (Asked(repository=None), "GitHub access", "acme/widgets is not at github.com", "give it access, set another"),
        (Asked({"isArchived": True}), "GitHub access", "is archived", "open it again, or pass --forge local"),
        (Asked({"ref": None}), "GitHub access", "has no branch main", "push it, or name another with --base"),
        (Asked(head={"viewerPermission": "READ"}), "GitHub access", "may not push to acme/widgets", "ask for write"),
        (
            Asked(classic=frozenset({"gist", "workflow"})),
            "GitHub access",
            "lacks the scope repo",
            "`gh auth refresh --",
        ),
        (
            Asked(rule={"requiresSignatures": True}),
            "GitHub access",
            "requires signed commits on main",
            "exempt it in",
        ),
        (
            Asked(files={}, rollup=""),
            "GitHub checks",
            "No checks were found for main",
            "add a workflow, or let checks.none",
        ),
    ],
)
def test_what_a_start_refuses_is_a_failure_with_its_remedy(github: Asked, name: str, says: str, remedy: str) -> None:
    findings = found(github)
    assert amiss(findings) == {name: "failure"}
    assert says in findings[name].found
    assert findings[name].remedy.startswith(remedy)


def test_a_push_that_is_refused_when_tried_is_a_failure() -> None:
    def refused() -> None:
        raise RepositoryError("github.com refused access to it: no. Ask: them. Use a token with contents: write.")

    findings = found(Asked(classic=None), push=refused)
    assert amiss(findings) == {"GitHub access": "failure"}
    access = findings["GitHub access"]
    assert access.found == "github.com refused access to it: no. Ask: them"
    assert access.remedy == "Use a token with contents: write"
    assert findings["GitHub token"].found == "GH_TOKEN, of ada; what it may do is seen by trying"


def test_a_method_that_is_configured_and_not_allowed_is_a_failure() -> None:
    findings = found(Asked({"rebaseMergeAllowed": False}), merge__method="rebase")
    assert amiss(findings) == {"GitHub merging": "failure"}
    assert "does not allow merge.method rebase on main" in findings["GitHub merging"].found
    assert findings["GitHub merging"].remedy == "set it to merge or squash"


@pytest.mark.parametrize(
    ("github", "place", "name", "says"),
    [
        (Asked(classic=frozenset({"repo"})), PLACE, "GitHub token", "without the scope workflow"),
        (Asked({"viewerPermission": "READ"}, head={}), FORK, "GitHub merging", "ada may not merge into acme/widgets"),
        (Asked(head={"parent": {"nameWithOwner": "up/widgets"}}), PLACE, "GitHub fork", "is a fork of up/widgets"),
        (
            Asked(rules={"claudetm/doctor/c1": [{"type": "creation"}]}),
            PLACE,
            "GitHub rules",
            "restricts making branches called claudetm/…",
        ),
        (Asked(left=100), PLACE, "GitHub quota", "100 of 5000 (graphql) left"),
    ],
)
def test_what_a_run_can_live_with_is_a_warning(github: Asked, place: Hosted, name: str, says: str) -> None:
    findings = found(github, place)
    assert amiss(findings) == {name: "warning"}
    assert says in findings[name].found


def test_untested_merges_that_are_configured_are_a_warning() -> None:
    assert amiss(found(Asked(files={}, rollup=""), checks__none="pass")) == {"GitHub checks": "warning"}


@pytest.mark.parametrize(
    ("github", "settings", "says"),
    [
        (Asked(), {}, "none required; it merges once green"),
        (Asked(), {"merge__auto": False}, "none required"),
        (Asked(), {"reviews__wait": "30m"}, "none required; people on GitHub have 30 minutes for one"),
        (Asked(), {"reviews__required": 2}, "2 approvals of people on GitHub required"),
        (Asked({"viewerPermission": "READ"}, head={}), {}, "none required"),
        (Asked(rule={"requiresCodeOwnerReviews": True}), {}, "1 approval of people on GitHub required"),
        (
            Asked(rules={"main": [{"type": "pull_request", "parameters": {"require_code_owner_review": True}}]}),
            {},
            "1 approval of people on GitHub required",
        ),
    ],
)
def test_whom_a_pull_request_waits_for_is_said(github: Asked, settings: Mapping[str, Any], says: str) -> None:
    assert found(github, FORK, **settings)["GitHub reviews"].found == says


def test_a_fork_is_named_with_both_rights() -> None:
    access = found(Asked(head={"viewerPermission": "ADMIN"}), FORK)["GitHub access"].found
    assert access == "acme/widgets (write), pushes to ada/gadgets (admin)"


def test_a_workflows_own_token_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    own = Token("ghs_of-a-workflow", "GITHUB_TOKEN")

    class Workflow(Asked):
        def graphql(self, query: str, /, **variables: Any) -> tuple[Any, list[Any]]:
            data, errors = super().graphql(query, **variables)
            return {**data, "viewer": {"login": "github-actions[bot]"}}, errors

    findings = found(Workflow(classic=None), token=own)
    assert "pull requests start no workflow" in findings["GitHub token"].found
    assert findings["GitHub token"].state == "warning"
    required = Workflow(classic=None, rule={"requiredStatusCheckContexts": ["test"]})
    assert amiss(found(required, token=own)) == {"GitHub token": "warning", "GitHub checks": "failure"}


def test_a_github_that_does_not_answer_is_left_to_whoever_asks() -> None:
    class Silent(Asked):
        def graphql(self, _query: str, /, **_variables: Any) -> tuple[Any, list[Any]]:
            raise ForgeBusy("github.com gives no answer", 9.0)

    with pytest.raises(ForgeBusy):
        found(Silent())


def test_an_enterprise_server_has_its_own_way_to_log_in() -> None:
    class Refusing(Asked):
        def graphql(self, _query: str, /, **_variables: Any) -> tuple[Any, list[Any]]:
            raise Unauthorised("no", 401, "Bad credentials")

    place = replace(PLACE, api="https://git.example.com/api/v3")
    remedy = found(Refusing(), place)["GitHub token"].remedy
    assert remedy == "set GH_TOKEN to a valid one, or remove it and `gh auth login --hostname git.example.com`"
