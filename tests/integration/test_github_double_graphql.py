"""The tests' GitHub answers GraphQL as GitHub does: what clients of it are held to is held here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from graphql import OperationDefinitionNode, parse

from claudetm.adapters.forge.github import merge as github_merge
from claudetm.adapters.forge.github import notes as github_notes
from claudetm.adapters.forge.github import query as github_query
from github_double import graphql, moves
from github_double.graphql_cost import cost
from github_double.state import Annotation, Protection, Token, Workflow, WorkflowRun
from integration.github_hub import Hub

GONE = "Could not resolve to a node with the global id of 'PR_gone'."


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    made = Hub(tmp_path)
    yield made
    assert made.state.violations == []


def wronged(hub: Hub) -> list[str]:
    """Return what was done against GitHub's rules, which this test means to do."""
    found, hub.state.violations = hub.state.violations, []
    return found


def price(query: str, **variables: Any) -> tuple[int, int]:
    """Return the points and the nodes of a query."""
    document = parse(query)
    (operation,) = (part for part in document.definitions if isinstance(part, OperationDefinitionNode))
    found = cost(graphql.schema(), document, operation, variables)
    return found.points, found.nodes


# Pages

LISTS = {
    "comments": "fullDatabaseId",
    "reviews": "fullDatabaseId",
    "latestReviews": "fullDatabaseId",
    "latestOpinionatedReviews": "fullDatabaseId",
    "reviewThreads": "id",
    "commits": "commit { oid }",
    "files": "path",
    "labels": "name",
    "reviewRequests": "requestedReviewer { ... on User { login } }",
    "closingIssuesReferences": "number",
}


def busy(hub: Hub) -> None:
    """Give pull request 1 five of everything that is listed."""
    people = [f"p{n}" for n in range(5)]
    issues = [moves.open_issue(hub.state, hub.widgets, "eve", "Broken").number for _ in people]
    pull = hub.pull("work", " ".join(f"Closes #{number}." for number in issues))
    files = {"a.txt": "a\n", "work.txt": "one\ntwo\nthree\n"}
    for place, login in enumerate(people):
        files[f"{login}.txt"] = "x\n"
        if place < 4:
            hub.commit("work", files, f"More {place}")
        hub.say(pull, login, login)
        hub.review(pull, "APPROVED", login)
        hub.check(pull.head_sha, login)
    for _ in people:
        hub.remark(pull)
    for n in range(4):
        moves.reply(hub.state, hub.widgets, pull.threads[0], "octo", f"answer {n}")
    pull.labels = people[:]
    pull.requested_reviewers = people[:]
    for login in people:
        hub.check(pull.head_sha, f"check {login}")


def pages(hub: Hub, field: str, selected: str, number: int, *, backwards: bool = False) -> list[str]:
    """Read a list of a pull request two at a time; return the items as they come, in the list's order."""
    found: list[str] = []
    bounds, cursor = ("last", "before") if backwards else ("first", "after"), None
    while True:
        place = f"{bounds[0]}: 2" + (f', {bounds[1]}: "{cursor}"' if cursor else "")
        whole = hub.of_pull(
            f"{field}({place}) {{ totalCount nodes {{ {selected} }} edges {{ cursor node {{ {selected} }} }}"
            " pageInfo { hasNextPage hasPreviousPage startCursor endCursor } }",
            number,
        )[field]
        assert [one["node"] for one in whole["edges"]] == whole["nodes"]
        info, page = whole["pageInfo"], [json.dumps(one) for one in whole["nodes"]]
        assert whole["edges"][0]["cursor"] == info["startCursor"]
        assert whole["edges"][-1]["cursor"] == info["endCursor"]
        found = page + found if backwards else found + page
        if not info["hasPreviousPage" if backwards else "hasNextPage"]:
            assert len(found) == whole["totalCount"]
            return found
        cursor = info["startCursor" if backwards else "endCursor"]


def test_every_list_of_a_pull_request_is_read_whole_in_pages_from_either_end(hub: Hub) -> None:
    busy(hub)
    number = max(hub.widgets.pulls)
    for field, selected in LISTS.items():
        forwards = pages(hub, field, selected, number)
        assert len(forwards) >= 5, field
        assert len(set(forwards)) == len(forwards), field
        assert pages(hub, field, selected, number, backwards=True) == forwards


def test_lists_within_lists_have_pages_of_their_own(hub: Hub) -> None:
    busy(hub)
    number = max(hub.widgets.pulls)
    whole = hub.of_pull(
        "reviewThreads(first: 1) { nodes { id"
        " comments(first: 2) { totalCount nodes { body } pageInfo { endCursor } } } }",
        number,
    )
    (thread,) = whole["reviewThreads"]["nodes"]
    assert [one["body"] for one in thread["comments"]["nodes"]] == ["why?", "answer 0"]
    rest = hub.ask(
        "query Rest($id: ID!, $after: String) { node(id: $id) { ... on PullRequestReviewThread {"
        " comments(first: 100, after: $after) { nodes { body } pageInfo { hasNextPage } } } } }",
        id=thread["id"],
        after=thread["comments"]["pageInfo"]["endCursor"],
    )["data"]["node"]["comments"]
    assert [one["body"] for one in rest["nodes"]] == ["answer 1", "answer 2", "answer 3"]
    assert rest["pageInfo"] == {"hasNextPage": False}


def test_pages_of_checks_and_of_a_branch_and_its_history_are_bounded_too(hub: Hub) -> None:
    pull = hub.pull()
    for n in range(3):
        hub.check(pull.head_sha, f"c{n}")
    selected = "contexts(first: 2AFTER) { totalCount nodes { ... on CheckRun { name } } pageInfo { endCursor } }"
    first = hub.of_pull(f"statusCheckRollup {{ {selected.replace('AFTER', '')} }}")["statusCheckRollup"]["contexts"]
    assert [one["name"] for one in first["nodes"]] == ["c0", "c1"]
    assert first["totalCount"] == 3
    after = ', after: "' + first["pageInfo"]["endCursor"] + '"'
    second = hub.of_pull(f"statusCheckRollup {{ {selected.replace('AFTER', after)} }}")["statusCheckRollup"]
    assert [one["name"] for one in second["contexts"]["nodes"]] == ["c2"]
    answer = hub.of_repository(
        'ref(qualifiedName: "refs/heads/work") { name target { ... on Commit { history(first: 1) { totalCount'
        ' nodes { messageHeadline } } } } } refs(refPrefix: "refs/heads/", first: 1) { totalCount nodes { name } }'
        ' object(expression: "main") { oid ... on Commit { message } }'
    )
    repository = answer["data"]["repository"]
    assert repository["ref"]["target"]["history"] == {
        "totalCount": 2,
        "nodes": [{"messageHeadline": "Write work"}],
    }
    assert repository["refs"] == {"totalCount": 2, "nodes": [{"name": "main"}]}
    assert repository["object"] == {"oid": hub.base, "message": "Work"}


def test_a_page_stays_where_it_was_when_more_is_said_meanwhile(hub: Hub) -> None:
    pull = hub.pull()
    first, second = hub.say(pull, "one"), hub.say(pull, "two")
    got = hub.of_pull("comments(last: 1) { nodes { body } pageInfo { startCursor } }")["comments"]
    hub.say(pull, "three")
    before = got["pageInfo"]["startCursor"]
    older = hub.of_pull(f'comments(last: 1, before: "{before}") {{ nodes {{ fullDatabaseId }} }}')["comments"]
    assert older["nodes"] == [{"fullDatabaseId": str(first.id)}]
    assert got["nodes"] == [{"body": second.body}]


@pytest.mark.parametrize(
    ("selected", "kind", "message"),
    [
        (
            "comments { nodes { id } }",
            "MISSING_PAGINATION_BOUNDARIES",
            "You must provide a `first` or `last` value to properly paginate the `comments` connection.",
        ),
        (
            "comments { ...Ends }",
            "MISSING_PAGINATION_BOUNDARIES",
            "You must provide a `first` or `last` value to properly paginate the `comments` connection.",
        ),
        (
            "comments(first: 101) { nodes { id } }",
            "EXCESSIVE_PAGINATION",
            "Requesting 101 records on the `comments` connection exceeds the `first` limit of 100 records.",
        ),
        (
            "comments(last: 500) { totalCount }",
            "EXCESSIVE_PAGINATION",
            "Requesting 500 records on the `comments` connection exceeds the `last` limit of 100 records.",
        ),
        (
            "comments(first: -1) { totalCount }",
            "UNPROCESSABLE",
            "`first` on the `comments` connection cannot be less than zero.",
        ),
        (
            "comments(first: 1, last: 1) { totalCount }",
            "UNPROCESSABLE",
            "Passing both `first` and `last` to paginate the `comments` connection is not supported.",
        ),
        (
            'comments(first: 1, after: "Mw==") { nodes { id } }',
            "INVALID_CURSOR_ARGUMENTS",
            "`Mw==` does not appear to be a valid cursor.",
        ),
    ],
)
def test_a_list_that_is_asked_for_wrongly_is_refused(hub: Hub, selected: str, kind: str, message: str) -> None:
    hub.pull()
    ends = "fragment Ends on IssueCommentConnection { pageInfo { endCursor } }" if "Ends" in selected else ""
    whole = 'repository(owner: "acme", name: "widgets") { pullRequest(number: 1) { ' + selected + " } }"
    answer = hub.ask(f"{{ {whole} }} {ends}")
    (error,) = answer["errors"]
    assert (error["type"], error["message"]) == (kind, message)
    assert error["path"] == ["repository", "pullRequest", "comments"]
    assert answer["data"] == {"repository": {"pullRequest": None}}


def test_a_list_is_counted_without_bounds(hub: Hub) -> None:
    hub.say(hub.pull(), "hello")
    assert hub.of_pull("comments { totalCount } reviews { totalCount }") == {
        "comments": {"totalCount": 1},
        "reviews": {"totalCount": 0},
    }


def test_a_cursor_is_good_for_the_list_that_it_came_from_only(hub: Hub) -> None:
    for branch in ("one", "two"):
        hub.review(hub.pull(branch), "COMMENTED", body="hello")
    cursor = hub.of_pull("reviews(first: 1) { pageInfo { endCursor } }")["reviews"]["pageInfo"]["endCursor"]
    for number, field in ((1, "latestReviews"), (1, "comments"), (2, "reviews")):
        answer = hub.of_repository(
            f'pullRequest(number: {number}) {{ {field}(first: 1, after: "{cursor}") {{ totalCount }} }}'
        )
        assert answer["errors"][0]["type"] == "INVALID_CURSOR_ARGUMENTS"


# Prices


def test_the_documented_example_costs_what_is_documented() -> None:
    query = """query {
      viewer { repositories(first: 50) { edges { node {
        pullRequests(first: 20) { edges { node { comments(first: 10) { edges { node { body } } } } } }
        issues(first: 20) { edges { node { comments(first: 10) { edges { node { body } } } } } }
      } } } }
    }"""
    assert price(query) == (21, 50 + 50 * 20 * 2 + 50 * 20 * 10 * 2)
    labels = """query($many: Int!, $less: Int = 50) { viewer { repositories(first: $many) { nodes {
      issues(first: $less) { nodes { labels(first: 60) { nodes { name } } } } } } } }"""
    assert price(labels, many=100) == (51, 305_100)


def test_points_are_rounded_to_the_nearest_and_one_is_the_least() -> None:
    query = """query($many: Int!) { viewer { repositories(first: $many) { nodes {
      issues(last: 1) { totalCount } pullRequests(first: 1) { totalCount } } } } }"""
    assert [price(query, many=many)[0] for many in (1, 70, 80, 100)] == [1, 1, 2, 2]


def test_fragments_aliases_lists_of_nodes_and_conditions_are_priced() -> None:
    assert price("{ viewer { login } }") == (1, 0)
    two = "query($ids: [ID!]!, $all: Boolean!) { nodes(ids: $ids) { ...F } } fragment F on PullRequest {"
    two += " a: comments(first: 2) { nodes { id } } b: comments(last: 3) @include(if: $all) { nodes { id } }"
    two += " ... on PullRequest @skip(if: $all) { reviews(first: 100) { nodes { id } } } }"
    assert price(two, ids=["x"] * 100, all=True) == (2, 100 + 100 * 2 + 100 * 3)
    assert price(two, ids=["x"] * 100, all=False) == (2, 100 + 100 * 2 + 100 * 100)


def test_a_poll_of_fifty_pull_requests_costs_what_the_client_counts_on() -> None:
    whole = list(range(1, 51))
    variables = {"owner": "acme", "name": "widgets"}
    assert price(github_query.light(whole), **variables)[0] == 2
    assert price(github_query.full(whole[: github_query.BATCH]), **variables)[0] <= 50


def test_the_price_is_taken_from_the_hour_and_told(hub: Hub) -> None:
    hub.pull()
    told = hub.ask("{ rateLimit { cost limit remaining used nodeCount resetAt } }")["data"]["rateLimit"]
    assert told == {
        "cost": 1,
        "limit": 5000,
        "remaining": 4999,
        "used": 1,
        "nodeCount": 0,
        "resetAt": "2027-01-15T09:00:00Z",
    }
    hub.of_pull("reviewThreads(first: 100) { nodes { comments(first: 100) { nodes { id } } } }")
    hub.do("addComment", subjectId=hub.widgets.pulls[1].node_id, body="hello")
    assert hub.state.quota("octo", "graphql").used == 3
    assert hub.state.quota("ada", "graphql").used == 0


def test_over_the_limit_nothing_is_answered_until_the_hour_is_over(hub: Hub) -> None:
    hub.state.quota("octo", "graphql").used = 5000
    answer = hub.ask("{ viewer { login } }")
    known = hub.state.account("octo").id
    said = f"API rate limit exceeded for user ID {known}."
    assert answer == {"errors": [{"type": "RATE_LIMITED", "message": said}]}
    assert hub.ask("{ viewer { login } }", "ada")["data"] == {"viewer": {"login": "ada"}}
    hub.time += 3600
    assert hub.ask("{ viewer { login } }") == {"data": {"viewer": {"login": "octo"}}}


def test_more_nodes_than_anybody_may_have_are_refused_unasked(hub: Hub) -> None:
    inner = "reviewThreads(first: 100) { nodes { comments(first: 100) { nodes { id } } } }"
    answer = hub.of_repository(f"pullRequests(first: 100) {{ nodes {{ {inner} }} }}")
    (error,) = answer["errors"]
    assert error["type"] == "MAX_NODE_LIMIT_EXCEEDED"
    assert "1,010,100 possible nodes" in error["message"]
    assert hub.state.quota("octo", "graphql").used == 0


# What there is not, and what may not be seen


def test_what_there_is_not_is_null_beside_what_there_is(hub: Hub) -> None:
    hub.pull()
    answer = hub.of_repository("one: pullRequest(number: 1) { number } two: pullRequest(number: 99) { number }")
    assert answer["data"] == {"repository": {"one": {"number": 1}, "two": None}}
    (error,) = answer["errors"]
    assert error["message"] == "Could not resolve to a PullRequest with the number of 99."
    assert (error["type"], error["path"]) == ("NOT_FOUND", ["repository", "two"])
    assert error["locations"]


def test_a_repository_that_the_token_may_not_see_is_not_there(hub: Hub) -> None:
    hub.widgets.visibility = "private"
    pull = hub.pull()
    answer = hub.ask('{ repository(owner: "acme", name: "widgets") { id } }', "eve")
    assert answer["data"] == {"repository": None}
    assert answer["errors"][0]["message"] == "Could not resolve to a Repository with the name 'acme/widgets'."
    lost = hub.ask("query($id: ID!) { node(id: $id) { id } }", "eve", id=pull.node_id)
    assert lost["errors"][0]["type"] == "NOT_FOUND"
    assert hub.refusal("addComment", "eve", subjectId=pull.node_id, body="hello")[0] == "NOT_FOUND"


def test_nodes_are_found_by_their_ids_and_the_missing_ones_are_null(hub: Hub) -> None:
    pull = hub.pull()
    thread, said = hub.remark(pull), hub.say(pull, "hello")
    judged, issue = hub.review(pull, "APPROVED"), moves.open_issue(hub.state, hub.widgets, "eve", "Broken")
    check, status = hub.check(pull.head_sha, "test"), hub.status(pull.head_sha, "ci")
    check.annotations.append(Annotation("The runner has received a shutdown signal."))
    of = [pull, thread, thread.comments[0], said, judged, issue, check, status, hub.widgets, hub.state.account("ada")]
    ids = [one.node_id for one in of]
    answer = hub.ask(
        "query($ids: [ID!]!) { nodes(ids: $ids) { __typename id ... on CheckRun { annotations(first: 20) {"
        " nodes { title message } } } } }",
        ids=[*ids, "PR_gone"],
    )
    kinds = [one and one["__typename"] for one in answer["data"]["nodes"]]
    assert kinds == [
        "PullRequest",
        "PullRequestReviewThread",
        "PullRequestReviewComment",
        "IssueComment",
        "PullRequestReview",
        "Issue",
        "CheckRun",
        "StatusContext",
        "Repository",
        "User",
        None,
    ]
    assert [one["id"] for one in answer["data"]["nodes"][:-1]] == ids
    lost = {"title": None, "message": "The runner has received a shutdown signal."}
    assert answer["data"]["nodes"][6]["annotations"] == {"nodes": [lost]}
    (error,) = answer["errors"]
    assert (error["message"], error["path"]) == (GONE, ["nodes", 10])


def test_a_token_without_checks_gets_the_rest_and_a_refusal_where_the_rollup_would_be(hub: Hub) -> None:
    hub.check(hub.pull().head_sha, "test")
    fine = Token("fine", "octo", "fine-grained", permissions={"pull_requests": "write", "statuses": "read"})
    hub.state.tokens["fine"] = fine
    selected = "pullRequest(number: 1) { number a: statusCheckRollup { state } }"
    answer = hub.of_repository(selected, "fine")
    assert answer["data"]["repository"] == {"pullRequest": {"number": 1, "a": None}}
    (error,) = answer["errors"]
    assert error["message"] == "Resource not accessible by personal access token"
    assert (error["type"], error["path"]) == ("FORBIDDEN", ["repository", "pullRequest", "a"])
    assert error["extensions"] == {"saml_failure": False}
    fine.permissions["checks"] = "read"
    assert hub.of_pull("statusCheckRollup { state }", token="fine") == {"statusCheckRollup": {"state": "SUCCESS"}}


def test_without_a_token_or_a_query_there_is_no_answer(hub: Hub) -> None:
    assert graphql.execute(hub.state, None, {"query": "{ viewer { login } }"})[0] == 401
    answer = graphql.execute(hub.state, hub.state.tokens["octo"], {})
    assert answer == (
        200,
        {"errors": [{"message": "A query attribute must be specified and must be a string."}]},
    )


# What no client may do


def test_a_field_that_github_does_not_have_is_an_error_and_a_violation(hub: Hub) -> None:
    answer = hub.ask("{ viewer { login shoeSize } }")
    assert "data" not in answer
    assert answer["errors"][0]["message"].startswith("Cannot query field 'shoeSize' on type 'User'")
    assert "shoeSize" in wronged(hub)[0]


def test_a_variable_that_does_not_fit_is_an_error_and_a_violation(hub: Hub) -> None:
    query = "query Ask($id: ID!) { node(id: $id) { id } }"
    assert hub.ask(query, id=None)["errors"]
    assert len(wronged(hub)) == 1
    hub.ask(query, id="PR_gone", number=1)
    assert wronged(hub) == ["GraphQL Ask: variable $number is not declared"]
    hub.ask("query {")
    hub.ask("query A { viewer { login } } query B { viewer { login } }")
    assert len(wronged(hub)) == 2


def test_what_the_double_does_not_tell_fails_the_test_that_asks_for_it(hub: Hub) -> None:
    answer = hub.ask("query Ask { viewer { bio } }")
    assert answer["data"]["viewer"] == {"bio": None}
    assert wronged(hub) == ["GraphQL Ask: the double does not tell User.bio"]
    hub.do("deleteIssue", issueId="I_1")
    assert wronged(hub) == ["GraphQL M: the double does not do Mutation.deleteIssue"]


def test_state_and_contexts_of_one_rollup_are_not_asked_for_together(hub: Hub) -> None:
    hub.check(hub.pull().head_sha, "test")
    hub.of_pull("statusCheckRollup { state } checks: statusCheckRollup { contexts(first: 1) { totalCount } }")
    assert wronged(hub) == []
    hub.of_pull("statusCheckRollup { state contexts { totalCount } }")
    (told,) = wronged(hub)
    assert "alias it twice" in told
    merged = "pullRequest(number: 1) { statusCheckRollup { state } ...C }"
    hub.ask(
        f'{{ repository(owner: "acme", name: "widgets") {{ {merged} }} }}'
        " fragment C on PullRequest { statusCheckRollup { contexts { totalCount } } }"
    )
    assert len(wronged(hub)) == 1


def test_every_query_of_the_client_is_valid_and_answered(hub: Hub) -> None:
    pull = hub.pull()
    thread, check = hub.remark(pull), hub.check(pull.head_sha, "test", "failure")
    for number in range(3):
        hub.say(pull, f"{number}")
        hub.review(pull, "COMMENTED", body=f"{number}")
        moves.reply(hub.state, hub.widgets, thread, "octo", f"{number}")
        hub.remark(pull)
        hub.check(pull.head_sha, f"{number}")
    texts = [github_query.light([1]), github_query.full([1]), *(github_query.more(1, p) for p in github_query.PARTS)]
    texts += [github_query.more_checks(1), github_query.COMMIT_CHECKS]
    texts += [github_query.MORE_REMARKS, github_query.FAILED_RUNS]
    cursors = {
        field: hub.of_pull(f"{field}(first: 1) {{ pageInfo {{ endCursor }} }}")[field]["pageInfo"]["endCursor"]
        for field in github_query.PARTS
    }
    checks = hub.of_pull("statusCheckRollup { contexts(first: 1) { pageInfo { endCursor } } }")["statusCheckRollup"]
    within = hub.of_pull("reviewThreads(first: 1) { nodes { comments(first: 1) { pageInfo { endCursor } } } }")
    after = {
        **{github_query.more(1, part): cursor for part, cursor in cursors.items()},
        github_query.more_checks(1): checks["contexts"]["pageInfo"]["endCursor"],
        github_query.MORE_REMARKS: within["reviewThreads"]["nodes"][0]["comments"]["pageInfo"]["endCursor"],
    }
    given: dict[str, Any] = {"owner": "acme", "name": "widgets", "id": thread.node_id}
    given |= {"commit": pull.head_sha, "ids": [check.node_id]}
    for text in texts:
        variables = given | {"after": after.get(text)}
        answer = hub.ask(text, **{name: value for name, value in variables.items() if f"${name}:" in text})
        assert "errors" not in answer, (text, answer["errors"])
        assert answer["data"]


@pytest.mark.parametrize("module", [github_merge, github_notes])
def test_every_mutation_of_the_client_is_one_that_github_has(module: Any) -> None:
    texts = [text for text in vars(module).values() if isinstance(text, str) and text.startswith("mutation ")]
    assert texts
    for text in texts:
        _, wrong = graphql._parsed(text)
        assert not wrong


# Types


def test_who_wrote_is_told_by_account_type_and_those_whose_account_is_gone_are_null(hub: Hub) -> None:
    pull = hub.pull()
    hub.state.account("imported", "Mannequin")
    for login in ("ada", "helper[bot]", "imported", "ghost"):
        hub.say(pull, "hello", hub.state.account(login).login)
    got = hub.of_pull("comments(first: 9) { nodes { authorAssociation author { __typename login } } }")["comments"]
    assert [one["author"] for one in got["nodes"]] == [
        {"__typename": "User", "login": "ada"},
        {"__typename": "Bot", "login": "helper"},
        {"__typename": "Mannequin", "login": "imported"},
        None,
    ]
    assert [one["authorAssociation"] for one in got["nodes"]] == ["MEMBER", "NONE", "NONE", "NONE"]


def test_a_repository_tells_its_rules_of_merging_and_what_the_viewer_may(hub: Hub) -> None:
    hub.widgets.allow_rebase = False
    hub.widgets.allow_auto_merge = True
    selected = """nameWithOwner isFork parent { id } owner { __typename login } viewerPermission
      squashMergeAllowed mergeCommitAllowed rebaseMergeAllowed autoMergeAllowed deleteBranchOnMerge
      defaultBranchRef { name prefix target { oid } }"""
    assert hub.of_repository(selected, "octo")["data"]["repository"] == {
        "nameWithOwner": "acme/widgets",
        "isFork": False,
        "parent": None,
        "owner": {"__typename": "Organization", "login": "acme"},
        "viewerPermission": "WRITE",
        "squashMergeAllowed": True,
        "mergeCommitAllowed": True,
        "rebaseMergeAllowed": False,
        "autoMergeAllowed": True,
        "deleteBranchOnMerge": False,
        "defaultBranchRef": {"name": "main", "prefix": "refs/heads/", "target": {"oid": hub.base}},
    }
    for login, level in {"eve": "READ", "root": "ADMIN"}.items():
        assert hub.of_repository("viewerPermission", login)["data"]["repository"] == {"viewerPermission": level}


def test_pull_requests_are_found_by_branch_state_and_order(hub: Hub) -> None:
    closed = hub.pull("one")
    moves.close(hub.state, hub.widgets, closed, "octo")
    hub.time += 60
    hub.pull("one")
    hub.pull("two")

    def numbers(narrowed: str) -> list[int]:
        answer = hub.of_repository(f"pullRequests(first: 10{narrowed}) {{ nodes {{ number }} }}")
        return [one["number"] for one in answer["data"]["repository"]["pullRequests"]["nodes"]]

    assert numbers("") == [1, 2, 3]
    assert numbers(', headRefName: "one"') == [1, 2]
    assert numbers(', headRefName: "one", states: [OPEN]') == [2]
    assert numbers(", states: [CLOSED, MERGED]") == [1]
    assert numbers(", orderBy: {field: CREATED_AT, direction: DESC}") == [3, 2, 1]


def test_checks_of_both_kinds_stand_in_one_list_with_what_is_required_of_them(hub: Hub) -> None:
    pull = hub.pull()
    hub.widgets.protections["main"] = Protection(contexts=("test", "ci"))
    hub.check(pull.head_sha, "test", "failure")
    again = hub.check(pull.head_sha, "lint", status="in_progress")
    hub.status(pull.head_sha, "ci", "pending")
    hub.status(pull.head_sha, "ci", "success")
    flow = Workflow(71, "W_71", "checks", {"lint": "true"})
    hub.widgets.workflows["checks"] = flow
    run = WorkflowRun(72, "WR_72", "checks", "push", pull.head_sha, "work", again.suite, "octo", "", "", 3)
    hub.widgets.runs.append(run)
    got = hub.of_pull("""state: statusCheckRollup { state } statusCheckRollup { contexts(first: 10) {
      totalCount checkRunCount statusContextCount
      checkRunCountsByState { state count } statusContextCountsByState { state count }
      nodes { __typename
        ... on CheckRun { databaseId name status conclusion isRequired(pullRequestNumber: 1)
          checkSuite { app { slug } workflowRun { databaseId runNumber workflow { name } } } }
        ... on StatusContext { context state isRequired(pullRequestNumber: 1) description targetUrl
          creator { login } } } } }""")
    assert got["state"] == {"state": "FAILURE"}
    contexts = got["statusCheckRollup"]["contexts"]
    assert contexts["checkRunCountsByState"] == [
        {"state": "FAILURE", "count": 1},
        {"state": "IN_PROGRESS", "count": 1},
    ]
    assert contexts["statusContextCountsByState"] == [{"state": "SUCCESS", "count": 1}]
    assert (contexts["totalCount"], contexts["checkRunCount"], contexts["statusContextCount"]) == (3, 2, 1)
    test, lint, ci = contexts["nodes"]
    assert (test["conclusion"], test["isRequired"], test["checkSuite"]["workflowRun"]) == ("FAILURE", True, None)
    assert test["databaseId"] > 2**31
    assert (lint["status"], lint["conclusion"], lint["isRequired"]) == ("IN_PROGRESS", None, False)
    assert lint["checkSuite"] == {
        "app": {"slug": "github-actions"},
        "workflowRun": {"databaseId": 72, "runNumber": 3, "workflow": {"name": "checks"}},
    }
    assert ci == {
        "__typename": "StatusContext",
        "context": "ci",
        "state": "SUCCESS",
        "isRequired": True,
        "description": "told",
        "targetUrl": "http://ci.test/1",
        "creator": {"login": "ada"},
    }


def test_a_commit_without_checks_has_no_rollup(hub: Hub) -> None:
    hub.pull()
    assert hub.of_pull("statusCheckRollup { state }") == {"statusCheckRollup": None}


def test_a_check_is_required_of_a_pull_request_and_of_nothing_else(hub: Hub) -> None:
    hub.check(hub.pull().head_sha, "test")
    asked = "... on CheckRun { isRequired }"
    answer = hub.of_repository(
        f"pullRequest(number: 1) {{ statusCheckRollup {{ contexts(first: 1) {{ nodes {{ {asked} }} }} }} }}"
    )
    assert answer["errors"][0]["message"] == "A pull request ID or pull request number is required."


def test_the_rules_of_a_branch_are_told_to_all_and_the_protection_itself_to_administrators(hub: Hub) -> None:
    hub.pull()
    hub.widgets.protections["main"] = Protection(contexts=("test",), approvals=2, conversation_resolution=True)
    selected = """baseRef { branchProtectionRule { requiredApprovingReviewCount requiresStrictStatusChecks }
      refUpdateRule { requiredStatusCheckContexts requiredApprovingReviewCount requiresConversationResolution
        requiresSignatures requiresLinearHistory requiresCodeOwnerReviews viewerCanPush } } reviewDecision"""
    got = hub.of_pull(selected)
    assert got["reviewDecision"] == "REVIEW_REQUIRED"
    assert got["baseRef"] == {
        "branchProtectionRule": None,
        "refUpdateRule": {
            "requiredStatusCheckContexts": ["test"],
            "requiredApprovingReviewCount": 2,
            "requiresConversationResolution": True,
            "requiresSignatures": False,
            "requiresLinearHistory": False,
            "requiresCodeOwnerReviews": False,
            "viewerCanPush": True,
        },
    }
    rule = hub.of_pull(selected, token="root")["baseRef"]["branchProtectionRule"]
    assert rule == {"requiredApprovingReviewCount": 2, "requiresStrictStatusChecks": False}


def test_whether_it_merges_is_unknown_to_those_who_ask_first(hub: Hub) -> None:
    hub.widgets.slow_mergeable = 2
    hub.pull()
    told = [hub.of_pull("mergeable mergeStateStatus again: mergeable") for _ in range(3)]
    unknown = {"mergeable": "UNKNOWN", "mergeStateStatus": "UNKNOWN", "again": "UNKNOWN"}
    known = {"mergeable": "MERGEABLE", "mergeStateStatus": "CLEAN", "again": "MERGEABLE"}
    assert told == [unknown, unknown, known]


def test_the_whole_of_a_pull_request_is_told_in_one_request(hub: Hub) -> None:
    pull = hub.pull(body="Because.")
    hub.remark(pull, "why?")
    hub.review(pull, "CHANGES_REQUESTED", body="Not yet.")
    hub.review(pull, "COMMENTED", body="Look again.")
    hub.state.account("octo").email = "octo@example.com"
    hub.commit("work", {"a.txt": "a\n", "work.txt": "changed\n"}, "Answer")
    got = hub.of_pull("""state isDraft locked headRefName headRefOid baseRefName isCrossRepository
      headRepository { nameWithOwner } headRepositoryOwner { login } maintainerCanModify
      author { login __typename } mergedBy { login } headRef { name } viewerCanUpdateBranch
      latestReviews(first: 5) { nodes { state body author { login } } }
      latestOpinionatedReviews(first: 5) { nodes { state body } }
      reviewThreads(first: 5) { nodes { isResolved isOutdated path line originalLine viewerCanResolve viewerCanReply
        comments(first: 1) { nodes { body diffHunk url fullDatabaseId } } } }
      commits(last: 1) { totalCount nodes { commit { oid parents { totalCount } author { email user { login } }
        committer { email user { login } } } } }
      closingIssuesReferences(first: 1) { totalCount }""")
    assert got["headRefOid"] == hub.widgets.tip("work")
    assert (got["state"], got["isCrossRepository"], got["mergedBy"]) == ("OPEN", False, None)
    assert got["author"] == {"login": "octo", "__typename": "User"}
    assert got["latestReviews"]["nodes"] == [
        {"state": "COMMENTED", "body": "Look again.", "author": {"login": "ada"}}
    ]
    assert got["latestOpinionatedReviews"]["nodes"] == [{"state": "CHANGES_REQUESTED", "body": "Not yet."}]
    (thread,) = got["reviewThreads"]["nodes"]
    assert (thread["isOutdated"], thread["line"], thread["originalLine"]) == (True, None, 1)
    (said,) = thread["comments"]["nodes"]
    assert said["diffHunk"] == "@@ -0,0 +1,3 @@\n+one"
    assert said["url"].endswith(f"/acme/widgets/pull/1#discussion_r{said['fullDatabaseId']}")
    commits = got["commits"]
    assert commits["totalCount"] == 2
    assert commits["nodes"][0]["commit"]["parents"] == {"totalCount": 1}
    assert commits["nodes"][0]["commit"]["author"] == {"email": "octo@example.com", "user": {"login": "octo"}}


def test_who_closed_it_and_who_merged_it_is_told(hub: Hub) -> None:
    moves.close(hub.state, hub.widgets, hub.pull("one"), "ada")
    selected = """state merged closed mergedBy { login } mergeCommit { oid }
      timelineItems(itemTypes: [CLOSED_EVENT], last: 1) { totalCount nodes { __typename
        ... on ClosedEvent { actor { login __typename } } } }"""
    shut = hub.of_pull(selected)
    assert (shut["state"], shut["merged"], shut["mergedBy"]) == ("CLOSED", False, None)
    assert shut["timelineItems"]["nodes"] == [
        {"__typename": "ClosedEvent", "actor": {"login": "ada", "__typename": "User"}}
    ]
    pull = hub.pull("two")
    hub.do("mergePullRequest", pullRequestId=pull.node_id, mergeMethod="SQUASH", expectedHeadOid=pull.head_sha)
    done = hub.of_pull(selected, 2)
    assert (done["state"], done["merged"], done["mergedBy"]) == ("MERGED", True, {"login": "octo"})
    assert done["mergeCommit"] == {"oid": hub.widgets.tip("main")}


def test_several_pull_requests_are_read_at_once_under_names_of_ones_own(hub: Hub) -> None:
    for branch in ("one", "two", "three"):
        hub.pull(branch)
    aliases = " ".join(f"p{n}: pullRequest(number: {n}) {{ ...Light }}" for n in (1, 2, 3))
    answer = hub.ask(
        f'query Poll {{ repository(owner: "acme", name: "widgets") {{ {aliases} }} }}'
        " fragment Light on PullRequest { number headRefName mergeStateStatus }"
    )
    got = answer["data"]["repository"]
    assert [got[f"p{n}"]["headRefName"] for n in (1, 2, 3)] == ["one", "two", "three"]
    assert {one["mergeStateStatus"] for one in got.values()} == {"CLEAN"}


def test_what_a_request_is_for_can_be_told_from_outside() -> None:
    two = "mutation Answer { addComment(input: {}) { clientMutationId } } query Look { viewer { id } }"
    assert graphql.operation_name({"query": two, "operationName": "Answer"}) == "Answer"
    assert graphql.root_fields({"query": two, "operationName": "Answer"}) == ("addComment",)
    assert graphql.is_write({"query": two, "operationName": "Answer"})
    assert not graphql.is_write({"query": two, "operationName": "Look"})
    assert graphql.operation_name({"query": "{ viewer { login } }"}) == ""
    assert graphql.operation_name({"query": "{"}) == ""
