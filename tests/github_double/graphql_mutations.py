"""GraphQL's writes: who may, by account and by token, and which move of the double each is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from github_double import merging, moves, rules
from github_double import state as records
from github_double.graphql_objects import Request
from github_double.graphql_pages import edge, refused

Payload = Mapping[str, Any]
_VERDICTS: dict[str | None, Literal["APPROVED", "CHANGES_REQUESTED", "COMMENTED", "PENDING"]] = {
    None: "PENDING",
    "APPROVE": "APPROVED",
    "COMMENT": "COMMENTED",
    "REQUEST_CHANGES": "CHANGES_REQUESTED",
}


class Mutation:
    """A method a mutation, of its name in snake case; its input's fields are its arguments."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._state = request.state
        self._login = request.viewer.login

    # Reviews

    def resolve_review_thread(self, thread_id: str) -> Payload:
        thread, repository = self._found("PullRequestReviewThread", records.Thread, thread_id)
        self._granted(repository, "resolveReviewThread", "contents", "pull_requests")
        moves.resolve(self._state, repository, thread, self._login)
        return {"thread": self._view(thread)}

    def unresolve_review_thread(self, thread_id: str) -> Payload:
        thread, repository = self._found("PullRequestReviewThread", records.Thread, thread_id)
        self._granted(repository, "unresolveReviewThread", "contents", "pull_requests")
        moves.unresolve(self._state, repository, thread, self._login)
        return {"thread": self._view(thread)}

    def add_pull_request_review(
        self,
        pull_request_id: str,
        event: str | None = None,
        body: str | None = None,
        commit_oid: str | None = None,
        comments: Sequence[Mapping[str, Any]] | None = None,
        threads: Sequence[Mapping[str, Any]] | None = None,
    ) -> Payload:
        """Submit a review, or without an event begin one, which nobody else sees."""
        pull, repository = self._pull(pull_request_id)
        self._granted(repository, "addPullRequestReview", "pull_requests")
        if event == "DISMISS":
            raise refused("UNPROCESSABLE", "Can not dismiss a pull request review that was not submitted")
        if comments:
            raise refused("UNPROCESSABLE", "The double takes `threads`, which replace `comments`.")
        if event in {"COMMENT", "REQUEST_CHANGES"} and not (body or threads):
            raise refused("UNPROCESSABLE", "Body can't be blank")
        made = moves.review(
            self._state, repository, pull, self._login, _VERDICTS[event], body or "", commit_oid or ""
        )
        for one in threads or ():
            self._remark(repository, pull, made, one["path"], one["body"], one.get("line"), one.get("side"))
        view = self._view(pull)
        review = next(one for one in view.reviews() if one.record is made)
        return {"pull_request_review": review, "review_edge": edge("reviews", view.reviews(), review)}

    def submit_pull_request_review(
        self,
        event: str,
        pull_request_review_id: str | None = None,
        pull_request_id: str | None = None,
        body: str | None = None,
    ) -> Payload:
        """Publish a review that was begun."""
        if pull_request_review_id is not None:
            review, repository = self._found("PullRequestReview", records.Review, pull_request_review_id)
        else:
            pull, repository = self._pull(pull_request_id or "")
            review = self._pending(repository, pull)
        self._granted(repository, "submitPullRequestReview", "pull_requests")
        if review.state != "PENDING":
            raise refused("UNPROCESSABLE", "Can only submit a pending review")
        review.state, review.submitted_at = _VERDICTS[event], self._state.now()
        review.body = review.body if body is None else body
        return {"pull_request_review": self._view(review)}

    def add_pull_request_review_thread(
        self,
        path: str,
        body: str,
        pull_request_id: str | None = None,
        pull_request_review_id: str | None = None,
        line: int | None = None,
        side: str | None = None,
        **_placed: Any,
    ) -> Payload:
        """Start a thread in a review that was begun, or begin one: it shows once that is submitted."""
        if pull_request_review_id is not None:
            review, repository = self._found("PullRequestReview", records.Review, pull_request_review_id)
            pull = repository.pulls[review.number]
        else:
            pull, repository = self._pull(pull_request_id or "")
            review = self._pending(repository, pull)
        self._granted(repository, "addPullRequestReviewThread", "pull_requests")
        thread = self._remark(repository, pull, review, path, body, line, side)
        return {"thread": self._view(thread)}

    def add_pull_request_review_thread_reply(
        self, pull_request_review_thread_id: str, body: str, pull_request_review_id: str | None = None
    ) -> Payload:
        """Answer a thread."""
        thread, repository = self._found("PullRequestReviewThread", records.Thread, pull_request_review_thread_id)
        self._granted(repository, "addPullRequestReviewThreadReply", "pull_requests")
        pull = repository.pulls[thread.number]
        if pull.locked and not self._request.at_least(repository, "write"):
            raise refused("UNPROCESSABLE", "Pull request is locked")
        made = moves.reply(self._state, repository, thread, self._login, body)
        if pull_request_review_id is not None:
            review, _ = self._found("PullRequestReview", records.Review, pull_request_review_id)
            pull.reviews[:] = [one for one in pull.reviews if one.id != made.review]
            made.review = review.id
        view = self._view(thread)
        return {"comment": next(one for one in view.comments() if one.record is made)}

    def _pending(self, repository: records.Repository, pull: records.PullRequest) -> records.Review:
        mine = (one for one in pull.reviews if one.state == "PENDING" and one.login == self._login)
        return next(mine, None) or moves.review(self._state, repository, pull, self._login, "PENDING")

    def _remark(
        self,
        repository: records.Repository,
        pull: records.PullRequest,
        review: records.Review,
        path: str,
        body: str,
        line: int | None,
        side: str | None,
    ) -> records.Thread:
        place = moves.Place(path, line, "LEFT" if side == "LEFT" else "RIGHT", review.commit)
        return moves.remark(self._state, repository, pull, self._login, body, place, review)

    # Merging

    def merge_pull_request(
        self,
        pull_request_id: str,
        merge_method: str = "MERGE",
        expected_head_oid: str | None = None,
        commit_headline: str | None = None,
        commit_body: str | None = None,
        **_author: Any,
    ) -> Payload:
        pull, repository = self._mergeable(pull_request_id, "mergePullRequest")
        merging.merge(
            self._state,
            repository,
            pull,
            self._login,
            _method(merge_method),
            expected_head_oid or "",
            merging.Wording(commit_headline or "", commit_body or ""),
        )
        return {"pull_request": self._view(pull), "actor": self._request.actor(self._login)}

    def enable_pull_request_auto_merge(
        self,
        pull_request_id: str,
        merge_method: str = "MERGE",
        expected_head_oid: str | None = None,
        commit_headline: str | None = None,
        commit_body: str | None = None,
        **_author: Any,
    ) -> Payload:
        pull, repository = self._mergeable(pull_request_id, "enablePullRequestAutoMerge")
        if expected_head_oid not in {None, pull.head_sha}:
            raise refused("UNPROCESSABLE", "Head branch was modified. Review and try the merge again.")
        merging.enable_auto_merge(
            self._state,
            repository,
            pull,
            self._login,
            _method(merge_method),
            merging.Wording(commit_headline or "", commit_body or ""),
        )
        return {"pull_request": self._view(pull), "actor": self._request.actor(self._login)}

    def disable_pull_request_auto_merge(self, pull_request_id: str) -> Payload:
        pull, _ = self._mergeable(pull_request_id, "disablePullRequestAutoMerge")
        merging.disable_auto_merge(self._state, pull)
        return {"pull_request": self._view(pull), "actor": self._request.actor(self._login)}

    def enqueue_pull_request(
        self, pull_request_id: str, expected_head_oid: str | None = None, *, jump: bool = False
    ) -> Payload:
        pull, repository = self._mergeable(pull_request_id, "enqueuePullRequest")
        if jump and not self._request.at_least(repository, "admin"):
            raise refused("FORBIDDEN", f"{self._login} may not jump the queue")
        merging.enqueue(self._state, repository, pull, self._login, expected_head_oid or "")
        return {"merge_queue_entry": self._view(pull).merge_queue_entry}

    def dequeue_pull_request(self, id: str) -> Payload:  # noqa: A002 - the input's field is named so
        pull, repository = self._mergeable(id, "dequeuePullRequest")
        entry = self._view(pull).merge_queue_entry
        merging.dequeue(self._state, repository, pull)
        return {"merge_queue_entry": entry}

    def update_pull_request_branch(
        self, pull_request_id: str, expected_head_oid: str | None = None, update_method: str = "MERGE"
    ) -> Payload:
        pull, repository = self._pull(pull_request_id)
        self._granted(repository, "updatePullRequestBranch", "contents", "pull_requests")
        if update_method != "MERGE":
            raise refused("UNPROCESSABLE", "The double merges the base into a branch, and never rebases it.")
        moves.update_branch(self._state, repository, pull, self._login, expected_head_oid or "")
        return {"pull_request": self._view(pull)}

    # Conversation and state

    def close_pull_request(self, pull_request_id: str) -> Payload:
        pull, repository = self._pull(pull_request_id)
        self._concerned(repository, pull, "closePullRequest", "pull_requests")
        if pull.merged:
            raise refused("UNPROCESSABLE", "Could not close the pull request.")
        if pull.state == "open":
            moves.close(self._state, repository, pull, self._login)
        return {"pull_request": self._view(pull)}

    def reopen_pull_request(self, pull_request_id: str) -> Payload:
        pull, repository = self._pull(pull_request_id)
        self._concerned(repository, pull, "reopenPullRequest", "pull_requests")
        if pull.merged:
            raise refused("UNPROCESSABLE", "Could not open the pull request.")
        if pull.state != "open":
            moves.reopen(self._state, repository, pull, self._login)
        return {"pull_request": self._view(pull)}

    def add_comment(self, subject_id: str, body: str) -> Payload:
        subject = self._state.nodes.get(subject_id)
        if not isinstance(subject, records.Issue | records.PullRequest):
            raise _unknown(subject_id)
        repository = self._repository_of(subject, subject_id)
        what = "issues" if isinstance(subject, records.Issue) else "pull_requests"
        if not rules.granted(self._request.token, repository, "issues", "write"):
            self._granted(repository, "addComment", what)
        made = moves.comment(self._state, repository, subject.number, self._login, body)
        view = self._view(subject)
        (one,) = (comment for comment in view.comments() if comment.record is made)
        return {"comment_edge": edge("comments", view.comments(), one), "subject": view}

    def close_issue(self, issue_id: str, state_reason: str = "COMPLETED", **_duplicate: Any) -> Payload:
        issue, repository = self._found("Issue", records.Issue, issue_id)
        self._concerned(repository, issue, "closeIssue", "issues")
        moves.close_issue(self._state, issue, self._login)
        issue.state_reason = state_reason.lower()
        return {"issue": self._view(issue)}

    # Who may

    def _mergeable(self, node_id: str, name: str) -> tuple[records.PullRequest, records.Repository]:
        """Return the pull request, where both the token and its owner may have it merged."""
        pull, repository = self._pull(node_id)
        self._granted(repository, name, "contents", "pull_requests")
        if not self._request.at_least(repository, "write"):
            raise self._incapable(name)
        return pull, repository

    def _concerned(self, repository: records.Repository, record: Any, name: str, what: str) -> None:
        """Refuse those who neither wrote it nor look after the repository."""
        self._granted(repository, name, what)
        if record.login != self._login and not self._request.at_least(repository, "triage"):
            raise self._incapable(name)

    def _incapable(self, name: str) -> moves.RefusedError:
        title = name[0].upper() + name[1:]
        return refused("FORBIDDEN", f"{self._login} does not have the correct permissions to execute `{title}`")

    def _granted(self, repository: records.Repository, name: str, *permissions: str) -> None:
        """Refuse where the token itself lacks one of the permissions, whatever its owner may do."""
        token = self._request.token
        if all(rules.granted(token, repository, one, "write") for one in permissions):
            return
        if token.kind != "classic":
            raise self._request.forbidden()
        has = ", ".join(f"'{scope}'" for scope in sorted(token.scopes))
        raise refused(
            "INSUFFICIENT_SCOPES",
            "Your token has not been granted the required scopes to execute this query. The"
            f" '{name}' field requires one of the following scopes: ['public_repo'], but your token has only been"
            f" granted the: [{has}] scopes. Please modify your token's scopes at:"
            " https://github.com/settings/tokens.",
        )

    # Looking up

    def _pull(self, node_id: str) -> tuple[records.PullRequest, records.Repository]:
        return self._found("PullRequest", records.PullRequest, node_id)

    def _found(self, name: str, kind: type[Any], node_id: str) -> tuple[Any, records.Repository]:
        record = self._state.nodes.get(node_id)
        if record is None:
            raise _unknown(node_id)
        if not isinstance(record, kind):
            raise refused("NOT_FOUND", f"Could not resolve to {name} node with the global id of '{node_id}'.")
        return record, self._repository_of(record, node_id)

    def _repository_of(self, record: Any, node_id: str) -> records.Repository:
        repository = self._state.repository_of(record)
        if not rules.sees(self._request.token, repository):
            raise _unknown(node_id)
        return repository

    def _view(self, record: Any) -> Any:
        self._request.moved()
        return self._request.view(record)


def _unknown(node_id: str) -> moves.RefusedError:
    return refused("NOT_FOUND", f"Could not resolve to a node with the global id of '{node_id}'.")


def _method(name: str) -> merging.Method:
    found: dict[str, merging.Method] = {"MERGE": "merge", "SQUASH": "squash", "REBASE": "rebase"}
    return found[name]
