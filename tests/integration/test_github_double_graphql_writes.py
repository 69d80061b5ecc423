"""What is written to the tests' GitHub by GraphQL: its effect, and what GitHub refuses in which words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from github_double import moves
from github_double.state import MergeQueue, Protection, Token
from integration.github_hub import Hub

GONE = "Could not resolve to a node with the global id of 'PR_gone'."


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    made = Hub(tmp_path)
    yield made
    assert made.state.violations == []


def given_id(pull: Any) -> dict[str, str]:
    """Return the input that names a pull request and nothing else."""
    return {"pullRequestId": pull.node_id}


# Reviews


def test_a_thread_is_answered_and_resolved_and_opened_again(hub: Hub) -> None:
    thread = hub.remark(hub.pull())
    reply = "comment { fullDatabaseId body replyTo { body } author { login } state }"
    answer = hub.do(
        "addPullRequestReviewThreadReply", reply, pullRequestReviewThreadId=thread.node_id, body="Because."
    )
    said = answer["data"]["addPullRequestReviewThreadReply"]["comment"]
    assert said == {
        "fullDatabaseId": str(thread.comments[-1].id),
        "body": "Because.",
        "replyTo": {"body": "why?"},
        "author": {"login": "octo"},
        "state": "SUBMITTED",
    }
    shown = "thread { isResolved resolvedBy { login } viewerCanResolve viewerCanUnresolve }"
    done = hub.do("resolveReviewThread", shown, threadId=thread.node_id)["data"]["resolveReviewThread"]["thread"]
    assert done == {
        "isResolved": True,
        "resolvedBy": {"login": "octo"},
        "viewerCanResolve": False,
        "viewerCanUnresolve": True,
    }
    undone = hub.do("unresolveReviewThread", shown, threadId=thread.node_id)["data"]["unresolveReviewThread"]
    assert undone["thread"]["isResolved"] is False


def test_a_thread_is_resolved_by_those_who_may_with_a_token_that_may(hub: Hub) -> None:
    thread = hub.remark(hub.pull())
    hub.state.tokens["fine"] = Token("fine", "octo", "fine-grained", permissions={"pull_requests": "write"})
    forbidden = ("FORBIDDEN", "Resource not accessible by personal access token")
    assert hub.refusal("resolveReviewThread", "fine", threadId=thread.node_id) == forbidden
    assert hub.refusal("unresolveReviewThread", "fine", threadId=thread.node_id) == forbidden
    assert hub.refusal("resolveReviewThread", "eve", threadId=thread.node_id) == forbidden
    got = hub.of_pull("reviewThreads(first: 1) { nodes { isResolved viewerCanResolve } }", token="eve")
    assert got["reviewThreads"]["nodes"] == [{"isResolved": False, "viewerCanResolve": False}]
    hub.state.tokens["fine"].permissions["contents"] = "write"
    assert "errors" not in hub.do("resolveReviewThread", token="fine", threadId=thread.node_id)


def test_what_is_no_thread_cannot_be_resolved(hub: Hub) -> None:
    assert hub.refusal("resolveReviewThread", threadId="PR_gone") == ("NOT_FOUND", GONE)
    pull = hub.pull().node_id
    said = f"Could not resolve to PullRequestReviewThread node with the global id of '{pull}'."
    assert hub.refusal("resolveReviewThread", threadId=pull) == ("NOT_FOUND", said)


def test_a_thread_of_a_review_that_was_begun_is_its_authors_alone_until_it_is_submitted(hub: Hub) -> None:
    pull = hub.pull()
    given = {"pullRequestId": pull.node_id, "path": "work.txt", "line": 2, "body": "hm"}
    answer = hub.do("addPullRequestReviewThread", "thread { line path }", "ada", **given)
    assert answer["data"]["addPullRequestReviewThread"]["thread"] == {"line": 2, "path": "work.txt"}
    both = "reviewThreads { totalCount } reviews { totalCount }"
    latest = "latestReviews { totalCount }"
    one, none = {"totalCount": 1}, {"totalCount": 0}
    assert hub.of_pull(both) == {"reviewThreads": none, "reviews": none}
    assert hub.of_pull(both, token="ada") == {"reviewThreads": one, "reviews": one}
    assert hub.of_pull(latest, token="ada") == {"latestReviews": none}
    hub.do("submitPullRequestReview", token="ada", pullRequestId=pull.node_id, event="COMMENT", body="All in all.")
    assert hub.of_pull(both) == {"reviewThreads": one, "reviews": one}


def test_a_review_is_submitted_with_its_threads(hub: Hub) -> None:
    pull = hub.pull()
    threads = [{"path": "work.txt", "line": 1, "body": "this"}, {"path": "work.txt", "line": 3, "body": "that"}]
    answer = hub.do(
        "addPullRequestReview",
        "pullRequestReview { state body comments(first: 5) { nodes { body } } }",
        "ada",
        pullRequestId=pull.node_id,
        event="REQUEST_CHANGES",
        body="Two things.",
        threads=threads,
    )
    assert answer["data"]["addPullRequestReview"]["pullRequestReview"] == {
        "state": "CHANGES_REQUESTED",
        "body": "Two things.",
        "comments": {"nodes": [{"body": "this"}, {"body": "that"}]},
    }


def test_a_review_that_cannot_be_is_refused(hub: Hub) -> None:
    pull = hub.pull()
    own = hub.refusal("addPullRequestReview", pullRequestId=pull.node_id, event="APPROVE")
    assert own == ("UNPROCESSABLE", "Review Can not approve your own pull request")
    empty = hub.refusal("addPullRequestReview", "ada", pullRequestId=pull.node_id, event="COMMENT")
    assert empty == ("UNPROCESSABLE", "Body can't be blank")
    given = {"pullRequestId": pull.node_id, "body": "hm", "path": "work.txt", "line": 99}
    kind, said = hub.refusal("addPullRequestReviewThread", "ada", **given)
    assert kind == "UNPROCESSABLE"
    assert "line must be part of the diff" in said


# The conversation


def test_a_remark_is_made_and_found(hub: Hub) -> None:
    pull = hub.pull()
    issue = moves.open_issue(hub.state, hub.widgets, "eve", "Broken")
    for subject in (pull, issue):
        answer = hub.do(
            "addComment", "commentEdge { node { body } } subject { id }", subjectId=subject.node_id, body="x"
        )
        assert answer["data"]["addComment"] == {
            "commentEdge": {"node": {"body": "x"}},
            "subject": {"id": subject.node_id},
        }
    assert hub.of_pull("comments(last: 1) { nodes { body } }") == {"comments": {"nodes": [{"body": "x"}]}}


def test_a_remark_is_refused_by_a_lock_and_by_a_tokens_scopes(hub: Hub) -> None:
    pull = hub.pull()
    hub.state.tokens["poor"] = Token("poor", "octo", scopes=frozenset({"gist"}))
    kind, said = hub.refusal("addComment", "poor", subjectId=pull.node_id, body="x")
    assert kind == "INSUFFICIENT_SCOPES"
    assert "['public_repo']" in said
    assert "['gist']" in said
    pull.locked = True
    assert hub.refusal("addComment", "eve", subjectId=pull.node_id, body="x")[0] == "FORBIDDEN"
    assert "errors" not in hub.do("addComment", token="ada", subjectId=pull.node_id, body="x")


def test_pull_requests_are_closed_and_opened_again_and_issues_closed(hub: Hub) -> None:
    pull = hub.pull()
    issue = moves.open_issue(hub.state, hub.widgets, "ada", "Broken")
    state = "pullRequest { state }"
    shut = hub.do("closePullRequest", state, pullRequestId=pull.node_id)["data"]["closePullRequest"]
    assert shut == {"pullRequest": {"state": "CLOSED"}}
    again = hub.do("reopenPullRequest", state, pullRequestId=pull.node_id)["data"]["reopenPullRequest"]
    assert again == {"pullRequest": {"state": "OPEN"}}
    done = hub.do("closeIssue", "issue { state stateReason }", issueId=issue.node_id, stateReason="NOT_PLANNED")
    assert done["data"]["closeIssue"] == {"issue": {"state": "CLOSED", "stateReason": "NOT_PLANNED"}}
    said = "eve does not have the correct permissions to execute `ClosePullRequest`"
    assert hub.refusal("closePullRequest", "eve", pullRequestId=pull.node_id) == ("FORBIDDEN", said)


def test_a_merged_pull_request_is_neither_closed_nor_opened(hub: Hub) -> None:
    pull = hub.pull()
    hub.do("mergePullRequest", pullRequestId=pull.node_id)
    for mutation, word in (("closePullRequest", "close"), ("reopenPullRequest", "open")):
        said = f"Could not {word} the pull request."
        assert hub.refusal(mutation, pullRequestId=pull.node_id) == ("UNPROCESSABLE", said)


# Merging


def test_a_merge_is_of_the_commit_that_was_meant(hub: Hub) -> None:
    pull = hub.pull()
    stale = hub.refusal("mergePullRequest", pullRequestId=pull.node_id, expectedHeadOid=hub.base)
    assert stale == ("UNPROCESSABLE", "Head branch was modified. Review and try the merge again.")
    assert hub.widgets.tip("main") == hub.base
    given = {"pullRequestId": pull.node_id, "mergeMethod": "SQUASH", "expectedHeadOid": pull.head_sha}
    shown = "pullRequest { state mergeCommit { message parents { totalCount } } } actor { login } clientMutationId"
    answer = hub.do(
        "mergePullRequest", shown, commitHeadline="Title", commitBody="Body", clientMutationId="c1", **given
    )
    assert answer["data"]["mergePullRequest"] == {
        "pullRequest": {"state": "MERGED", "mergeCommit": {"message": "Title\n\nBody", "parents": {"totalCount": 1}}},
        "actor": {"login": "octo"},
        "clientMutationId": "c1",
    }
    assert hub.refusal("mergePullRequest", **given)[0] == "UNPROCESSABLE"


def test_a_merge_is_refused_by_rules_rights_and_methods(hub: Hub) -> None:
    pull = hub.pull()
    assert hub.refusal("mergePullRequest", "eve", pullRequestId=pull.node_id)[0] == "FORBIDDEN"
    hub.widgets.allow_merge = False
    said = "Merge commits are not allowed on this repository."
    assert hub.refusal("mergePullRequest", pullRequestId=pull.node_id) == ("UNPROCESSABLE", said)
    hub.widgets.protections["main"] = Protection(contexts=("test",))
    lacking = hub.refusal("mergePullRequest", pullRequestId=pull.node_id, mergeMethod="SQUASH")
    assert lacking == ("UNPROCESSABLE", 'Required status check "test" is expected.')


def test_auto_merge_is_asked_for_where_something_is_waited_for(hub: Hub) -> None:
    pull = hub.pull()
    given = {"pullRequestId": pull.node_id, "mergeMethod": "SQUASH"}
    off = hub.refusal("enablePullRequestAutoMerge", **given)
    assert off == ("UNPROCESSABLE", "Auto merge is not allowed for this repository")
    hub.widgets.allow_auto_merge = True
    clean = hub.refusal("enablePullRequestAutoMerge", **given)
    assert clean == ("UNPROCESSABLE", "Pull request Pull request is in clean status")
    hub.widgets.protections["main"] = Protection(contexts=("test",))
    assert hub.of_pull("viewerCanEnableAutoMerge") == {"viewerCanEnableAutoMerge": True}
    moved = hub.refusal("enablePullRequestAutoMerge", expectedHeadOid=hub.base, **given)
    assert moved == ("UNPROCESSABLE", "Head branch was modified. Review and try the merge again.")
    assert hub.refusal("enablePullRequestAutoMerge", "eve", **given)[0] == "FORBIDDEN"
    shown = "pullRequest { autoMergeRequest { enabledAt enabledBy { login } mergeMethod } }"
    asked = hub.do("enablePullRequestAutoMerge", shown, expectedHeadOid=pull.head_sha, **given)
    assert asked["data"]["enablePullRequestAutoMerge"]["pullRequest"] == {
        "autoMergeRequest": {
            "enabledAt": "2027-01-15T08:00:00Z",
            "enabledBy": {"login": "octo"},
            "mergeMethod": "SQUASH",
        }
    }
    gone = hub.do("disablePullRequestAutoMerge", "pullRequest { autoMergeRequest { mergeMethod } }", **given_id(pull))
    assert gone["data"]["disablePullRequestAutoMerge"] == {"pullRequest": {"autoMergeRequest": None}}
    again = hub.refusal("disablePullRequestAutoMerge", **given_id(pull))
    assert again == ("UNPROCESSABLE", "Can't disable auto-merge for this pull request.")


def test_a_pull_request_goes_into_the_queue_once_and_out_of_it(hub: Hub) -> None:
    pull = hub.pull()
    hub.check(pull.head_sha, "test")
    off = hub.refusal("enqueuePullRequest", **given_id(pull))
    assert off[0] == "UNPROCESSABLE"
    hub.widgets.protections["main"] = Protection(contexts=("test",))
    hub.widgets.queues["main"] = hub.state.known(MergeQueue("MQ_1", "main"))
    stale = hub.refusal("enqueuePullRequest", expectedHeadOid=hub.base, **given_id(pull))
    assert stale == ("UNPROCESSABLE", "Head branch was modified. Review and try the merge again.")
    shown = "mergeQueueEntry { position state enqueuer { login } pullRequest { number } }"
    answer = hub.do("enqueuePullRequest", shown, expectedHeadOid=pull.head_sha, **given_id(pull))
    assert answer["data"]["enqueuePullRequest"]["mergeQueueEntry"] == {
        "position": 1,
        "state": "AWAITING_CHECKS",
        "enqueuer": {"login": "octo"},
        "pullRequest": {"number": 1},
    }
    queued = "isMergeQueueEnabled isInMergeQueue mergeQueueEntry { position }"
    assert hub.of_pull(queued) == {
        "isMergeQueueEnabled": True,
        "isInMergeQueue": True,
        "mergeQueueEntry": {"position": 1},
    }
    twice = hub.refusal("enqueuePullRequest", **given_id(pull))
    assert twice == ("UNPROCESSABLE", "Pull request Pull request is already in the queue")
    out = hub.do("dequeuePullRequest", "mergeQueueEntry { position }", id=pull.node_id)
    assert out["data"]["dequeuePullRequest"] == {"mergeQueueEntry": {"position": 1}}
    assert hub.of_pull(queued)["isInMergeQueue"] is False
    assert hub.refusal("dequeuePullRequest", id=pull.node_id)[0] == "UNPROCESSABLE"


def test_a_branch_is_brought_up_to_its_base(hub: Hub) -> None:
    pull = hub.pull()
    assert hub.of_pull("viewerCanUpdateBranch") == {"viewerCanUpdateBranch": False}
    none = hub.refusal("updatePullRequestBranch", **given_id(pull))
    assert none == ("UNPROCESSABLE", "There are no new commits on the base branch.")
    base = hub.commit("main", {"a.txt": "a\n", "b.txt": "b\n"})
    assert hub.of_pull("viewerCanUpdateBranch") == {"viewerCanUpdateBranch": True}
    stale = hub.refusal("updatePullRequestBranch", expectedHeadOid=base, **given_id(pull))
    assert stale[0] == "UNPROCESSABLE"
    shown = "pullRequest { headRefOid commits(last: 1) { nodes { commit { parents(first: 2) { nodes { oid } } } } } }"
    was = pull.head_sha
    answer = hub.do("updatePullRequestBranch", shown, expectedHeadOid=was, **given_id(pull))
    told = answer["data"]["updatePullRequestBranch"]["pullRequest"]
    assert told["headRefOid"] == hub.widgets.tip("work")
    (newest,) = told["commits"]["nodes"]
    assert newest["commit"]["parents"]["nodes"] == [{"oid": was}, {"oid": base}]
