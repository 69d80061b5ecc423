"""Pull requests and issues as GraphQL tells them: their conversation, reviews, threads, commits and merge queue."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from github_double import moves, plumbing, rules
from github_double import state as records
from github_double.graphql_objects import Commit, Ref, Repository, Request, User
from github_double.graphql_pages import Connection


class Said:
    """What somebody wrote: author, body, moments."""

    def __init__(self, request: Request, repository: records.Repository, record: Any, url: str) -> None:
        self.request = request
        self.repository = request.view(repository)
        self.record = record
        self.id = record.node_id
        self.database_id = record.id
        self.full_database_id = str(record.id)
        self.body = self.body_text = record.body
        self.url = url
        self.resource_path = url.removeprefix(request.state.url)
        self.viewer_did_author = record.login.casefold() == request.viewer.login.casefold()
        self.is_minimized = False
        self.minimized_reason = None
        self.editor = None
        self.created_via_email = False

    @property
    def author(self) -> Any:
        return self.request.actor(self.record.login)

    @property
    def author_association(self) -> str:
        repository = self.repository.record
        if self.record.login == records.GHOST:
            return "NONE"
        return rules.association(repository, self.record.login, organization=self.repository.is_in_organization)

    @property
    def viewer_can_update(self) -> bool:
        return self.viewer_did_author or self.request.at_least(self.repository.record, "write")

    @property
    def created_at(self) -> str:
        return str(self.record.created_at)

    @property
    def updated_at(self) -> str:
        return str(self.record.updated_at)

    @property
    def published_at(self) -> str:
        return self.created_at

    @property
    def last_edited_at(self) -> str | None:
        return None if self.updated_at == self.created_at else self.updated_at

    @property
    def includes_created_edit(self) -> bool:
        return self.last_edited_at is not None


class Numbered(Said):
    """What an issue and a pull request have in common."""

    def __init__(self, request: Request, repository: records.Repository, record: Any, url: str) -> None:
        super().__init__(request, repository, record, url)
        self.number = record.number
        self.title = record.title
        self.locked = record.locked
        self.closed = record.state == "closed"
        self.closed_at = record.closed_at or None

    def comments(self, order_by: dict[str, str] | None = None) -> list[IssueComment]:
        found = self.repository.record.comments_on(self.number)
        if order_by and order_by["direction"] == "DESC":
            found = found[::-1]
        return [IssueComment(self, one) for one in found]

    def labels(self, **_order: Any) -> list[Label]:
        return [Label(name) for name in self.record.labels]

    def assignees(self) -> list[Any]:
        return []

    @property
    def viewer_can_close(self) -> bool:
        return self.viewer_did_author or self.request.at_least(self.repository.record, "triage")

    @property
    def viewer_can_reopen(self) -> bool:
        return self.viewer_can_close


class Label:
    """A label, by its name."""

    def __init__(self, name: str) -> None:
        self.id = f"LA_{name}"
        self.name = name


class Issue(Numbered):
    """An issue."""

    def __init__(self, request: Request, repository: records.Repository, record: records.Issue) -> None:
        url = f"{request.state.url}/{repository.full_name}/issues/{record.number}"
        super().__init__(request, repository, record, url)
        self.record: records.Issue = record
        self.state = record.state.upper()
        self.state_reason = record.state_reason.upper() or None

    def timeline_items(self, item_types: Sequence[str] | None = None, **_since: Any) -> list[Any]:
        closed = [ClosedEvent(self, self.record.closed_by, self.record.closed_at)] if self.closed else []
        return [one for one in closed if item_types is None or one.kind in item_types]

    def closed_by_pull_requests_references(
        self, *, include_closed_prs: bool = False, **_order: Any
    ) -> list[PullRequest]:
        pulls = (self.repository.pull(one) for one in self.repository.record.pulls.values())
        closing = [pull for pull in pulls if self.number in {one.number for one in pull.closing_issues_references()}]
        return [pull for pull in closing if include_closed_prs or pull.state != "CLOSED"]


class IssueComment(Said):
    """A remark in the conversation of an issue or a pull request."""

    def __init__(self, subject: Numbered, record: records.Comment) -> None:
        url = f"{subject.url}#issuecomment-{record.id}"
        super().__init__(subject.request, subject.repository.record, record, url)
        self.subject = subject

    @property
    def pull_request(self) -> PullRequest | None:
        return self.subject if isinstance(self.subject, PullRequest) else None

    @property
    def issue(self) -> Any:
        return self.subject


class PullRequest(Numbered):
    """A pull request."""

    def __init__(self, request: Request, repository: records.Repository, record: records.PullRequest) -> None:
        url = f"{request.state.url}/{repository.full_name}/pull/{record.number}"
        super().__init__(request, repository, record, url)
        self.record: records.PullRequest = record
        self.permalink = url
        self.state = record.status
        self.is_draft = record.draft
        self.merged = record.merged
        self.merged_at = record.merged_at or None
        self.head_ref_name = record.head_ref
        self.head_ref_oid = record.head_sha
        self.base_ref_name = record.base_ref
        self.base_ref_oid = record.base_sha
        self.base_repository = self.repository
        self.is_cross_repository = record.head_repository != repository.full_name
        self.maintainer_can_modify = record.maintainer_can_modify
        self.may_write = request.at_least(repository, "write")

    @property
    def head_repository(self) -> Repository | None:
        return self.request.repository(self.record.head_repository) if self.record.head_repository else None

    @property
    def head_repository_owner(self) -> Any:
        return self.request.actor(self.record.head_owner)

    @property
    def head_ref(self) -> Ref | None:
        head = self.head_repository
        return head.branch(self.record.head_ref) if head else None

    @property
    def base_ref(self) -> Ref | None:
        found: Ref | None = self.repository.branch(self.record.base_ref)
        return found

    @property
    def merged_by(self) -> Any:
        return self.request.actor(self.record.merged_by)

    @property
    def merge_commit(self) -> Commit | None:
        return Commit(self.repository, self.record.merge_commit) if self.record.merge_commit else None

    @cached_property
    def mergeable(self) -> str:
        """Asked once for a request, so that it and `merge_state_status` speak of the same moment."""
        return rules.mergeable(self.repository.record, self.record)

    @cached_property
    def merge_state_status(self) -> str:
        if self.mergeable == "UNKNOWN":
            return "UNKNOWN"
        return rules.merge_state(self.repository.record, self.record)

    @property
    def review_decision(self) -> str | None:
        return rules.review_decision(self.repository.record, self.record)

    @property
    def status_check_rollup(self) -> Any:
        return Commit(self.repository, self.record.head_sha).status_check_rollup

    def commits(self) -> list[PullRequestCommit]:
        return [PullRequestCommit(self, one) for one in self.record.commits]

    def files(self) -> list[PullRequestChangedFile]:
        folder = self.repository.record.git
        base = plumbing.merge_base(folder, self.record.base_sha, self.record.head_sha)
        return [PullRequestChangedFile(one) for one in plumbing.changed_files(folder, base, self.record.head_sha)]

    def closing_issues_references(self, *, user_linked_only: bool = False, **_order: Any) -> list[Issue]:
        repository = self.repository.record
        if user_linked_only or self.record.base_ref != repository.default_branch:
            return []
        numbers = moves.closing(repository, self.record.body)
        return [Issue(self.request, repository, repository.issues[number]) for number in numbers]

    # Reviews

    def _shown(self) -> list[PullRequestReview]:
        mine = self.request.viewer.login
        shown = [one for one in self.record.reviews if one.state != "PENDING" or one.login == mine]
        return [PullRequestReview(self, one) for one in shown]

    def reviews(self, states: Sequence[str] | None = None, author: str | None = None) -> list[PullRequestReview]:
        return [
            one
            for one in self._shown()
            if (states is None or one.state in states) and author in {None, one.record.login}
        ]

    def latest_reviews(self) -> list[PullRequestReview]:
        return list({one.record.login: one for one in self._shown() if one.state != "PENDING"}.values())

    def latest_opinionated_reviews(self, *, writers_only: bool = False) -> list[PullRequestReview]:
        return [
            PullRequestReview(self, one)
            for one in rules.opinions(self.record)
            if not writers_only or rules.at_least(self.repository.record, one.login, "write")
        ]

    def review_threads(self) -> list[PullRequestReviewThread]:
        made = (PullRequestReviewThread(self, one) for one in self.record.threads)
        return [one for one in made if one.comments()]

    @cached_property
    def others_pending(self) -> frozenset[int]:
        """Reviews that somebody else has not submitted yet: what they say is nobody's to read."""
        mine = self.request.viewer.login
        return frozenset(one.id for one in self.record.reviews if one.state == "PENDING" and one.login != mine)

    def review_requests(self) -> list[ReviewRequest]:
        return [ReviewRequest(self, login) for login in self.record.requested_reviewers]

    # Merging

    @property
    def auto_merge_request(self) -> AutoMergeRequest | None:
        return AutoMergeRequest(self, self.record.auto_merge) if self.record.auto_merge else None

    @property
    def is_merge_queue_enabled(self) -> bool:
        return rules.queued(self.repository.record, self.record.base_ref)

    @property
    def merge_queue(self) -> MergeQueue | None:
        queue = self.repository.record.queues.get(self.record.base_ref)
        return MergeQueue(self.repository, queue) if queue else None

    @property
    def merge_queue_entry(self) -> MergeQueueEntry | None:
        entries = self.merge_queue.entries() if self.merge_queue else []
        return next((one for one in entries if one.record.number == self.number), None)

    @property
    def is_in_merge_queue(self) -> bool:
        return self.merge_queue_entry is not None

    @property
    def viewer_can_update_branch(self) -> bool:
        if self.state != "OPEN" or not rules.updatable(self.request.state, self.record, self.request.viewer.login):
            return False
        repository = self.repository.record
        return rules.behind(repository, self.record) and rules.merges(repository, self.record)

    @property
    def viewer_can_enable_auto_merge(self) -> bool:
        if self.state != "OPEN" or self.record.auto_merge is not None or not self.may_write:
            return False
        return self.repository.record.allow_auto_merge and self.merge_state_status in {"BLOCKED", "BEHIND", "UNKNOWN"}

    @property
    def viewer_can_disable_auto_merge(self) -> bool:
        return self.record.auto_merge is not None and (self.may_write or self.viewer_did_author)

    @property
    def viewer_can_merge_as_admin(self) -> bool:
        own = rules.protection(self.repository.record, self.record.base_ref)
        return self.repository.viewer_can_administer and own is not None and not own.enforce_admins

    @property
    def viewer_can_delete_head_ref(self) -> bool:
        return self.state != "OPEN" and self.head_ref is not None and self.may_write

    def timeline_items(self, item_types: Sequence[str] | None = None, **_since: Any) -> list[Any]:
        events: list[Any] = []
        if self.merged:
            events.append(MergedEvent(self))
        if self.closed:
            events.append(ClosedEvent(self, self.record.closed_by or self.record.merged_by, self.record.closed_at))
        return [one for one in events if item_types is None or one.kind in item_types]


class PullRequestCommit:
    """A commit of a pull request."""

    def __init__(self, pull: PullRequest, oid: str) -> None:
        self.id = f"PURC_{pull.id}_{oid}"
        self.pull_request = pull
        self.commit = Commit(pull.repository, oid)
        self.url = f"{pull.url}/commits/{oid}"
        self.resource_path = f"{pull.resource_path}/commits/{oid}"


class PullRequestChangedFile:
    """A file that a pull request changes."""

    def __init__(self, record: plumbing.ChangedFile) -> None:
        self.id = self.path = record.path
        self.additions = record.additions
        self.deletions = record.deletions
        kinds = {"added": "ADDED", "removed": "DELETED", "renamed": "RENAMED", "copied": "COPIED"}
        self.change_type = kinds.get(record.status, "MODIFIED")


class PullRequestReview(Said):
    """A review: a verdict, or a body with remarks."""

    def __init__(self, pull: PullRequest, record: records.Review) -> None:
        super().__init__(pull.request, pull.repository.record, record, f"{pull.url}#pullrequestreview-{record.id}")
        self.record: records.Review = record
        self.pull_request = pull
        self.state = record.state
        self.submitted_at = record.submitted_at or None

    @property
    def created_at(self) -> str:
        return self.record.submitted_at or self.pull_request.created_at

    @property
    def updated_at(self) -> str:
        return self.created_at

    @property
    def published_at(self) -> str | None:  # type: ignore[override]
        return self.submitted_at

    @property
    def commit(self) -> Commit | None:
        return Commit(self.repository, self.record.commit) if self.record.commit else None

    @property
    def author_can_push_to_repository(self) -> bool:
        return rules.at_least(self.repository.record, self.record.login, "write")

    def comments(self) -> list[PullRequestReviewComment]:
        threads = self.pull_request.review_threads()
        return [one for thread in threads for one in thread.comments() if one.record.review == self.record.id]


class PullRequestReviewThread:
    """A conversation at a line of the diff, or at a file."""

    start_diff_side = None
    original_start_line = None

    def __init__(self, pull: PullRequest, record: records.Thread) -> None:
        self.pull_request = pull
        self.repository = pull.repository
        self.record = record
        self.id = record.node_id
        self.path = record.path
        self.line = record.line
        self.original_line = record.original_line
        self.start_line = record.start_line
        self.diff_side = record.side
        self.is_outdated = record.outdated
        self.is_resolved = self.is_collapsed = record.resolved
        self.subject_type = record.subject.upper()
        concerned = pull.may_write or pull.viewer_did_author
        self.viewer_can_resolve = concerned and not record.resolved
        self.viewer_can_unresolve = concerned and record.resolved
        self.viewer_can_reply = not pull.locked or pull.may_write

    @property
    def resolved_by(self) -> User | None:
        found = self.pull_request.request.actor(self.record.resolved_by)
        return found if isinstance(found, User) else None

    def comments(self, skip: int = 0) -> list[PullRequestReviewComment]:
        hidden = self.pull_request.others_pending
        shown = [one for one in self.record.comments if one.review not in hidden]
        return [PullRequestReviewComment(self, one) for one in shown[skip:]]


class PullRequestReviewComment(Said):
    """A remark of a thread."""

    original_start_line = None

    def __init__(self, thread: PullRequestReviewThread, record: records.ReviewComment) -> None:
        pull = thread.pull_request
        super().__init__(pull.request, pull.repository.record, record, f"{pull.url}#discussion_r{record.id}")
        self.record: records.ReviewComment = record
        self.thread = thread
        self.pull_request = pull
        self.path = thread.path
        self.line = thread.line
        self.original_line = thread.original_line
        self.start_line = thread.start_line
        self.outdated = thread.is_outdated
        self.subject_type = thread.subject_type
        self.diff_hunk = record.diff_hunk
        self.drafted_at = record.created_at

    @cached_property
    def pull_request_review(self) -> PullRequestReview | None:
        found = next((one for one in self.pull_request.record.reviews if one.id == self.record.review), None)
        return PullRequestReview(self.pull_request, found) if found else None

    @property
    def state(self) -> str:
        review = self.pull_request_review
        return "PENDING" if review is not None and review.state == "PENDING" else "SUBMITTED"

    @property
    def commit(self) -> Commit:
        return Commit(self.repository, self.thread.record.commit)

    @property
    def original_commit(self) -> Commit:
        return Commit(self.repository, self.record.original_commit)

    @property
    def reply_to(self) -> PullRequestReviewComment | None:
        first = self.thread.record.comments[0]
        return PullRequestReviewComment(self.thread, first) if self.record.in_reply_to == first.id else None


class ReviewRequest:
    """Somebody's review is asked for."""

    as_code_owner = False

    def __init__(self, pull: PullRequest, login: str) -> None:
        self.id = f"RR_{pull.id}_{login}"
        self.pull_request = pull
        self.requested_reviewer = pull.request.actor(login)


class AutoMergeRequest:
    """A request to merge once all is met."""

    def __init__(self, pull: PullRequest, record: records.AutoMerge) -> None:
        self.pull_request = pull
        self.enabled_at = record.enabled_at
        self.enabled_by = pull.request.actor(record.login)
        self.merge_method = record.method.upper()
        self.commit_headline = record.title or None
        self.commit_body = record.message or None


class MergeQueue:
    """The queue of a branch."""

    def __init__(self, repository: Repository, record: records.MergeQueue) -> None:
        self.id = record.node_id
        self.repository = repository
        self.record = record
        self.url = f"{repository.url}/queue/{record.branch}"
        self.resource_path = f"{repository.resource_path}/queue/{record.branch}"

    def entries(self) -> list[MergeQueueEntry]:
        return [MergeQueueEntry(self, one, place) for place, one in enumerate(self.record.entries, 1)]


class MergeQueueEntry:
    """A pull request in the queue; the first has position 1."""

    jump = False
    solo = False

    def __init__(self, queue: MergeQueue, record: records.QueueEntry, position: int) -> None:
        self.merge_queue = queue
        self.record = record
        self.id = record.node_id
        self.position = position
        self.state = record.state
        self.enqueued_at = record.enqueued_at
        self.enqueuer = queue.repository.request.actor(record.login)
        self.estimated_time_to_merge = None

    @property
    def pull_request(self) -> PullRequest:
        found: PullRequest = self.merge_queue.repository.pull_request(self.record.number)
        return found

    @property
    def head_commit(self) -> Commit | None:
        return Commit(self.merge_queue.repository, self.record.group) if self.record.group else None


class ClosedEvent:
    """Somebody closed it."""

    kind = "CLOSED_EVENT"

    def __init__(self, subject: Numbered, login: str, moment: str) -> None:
        self.id = f"CE_{subject.id}"
        self.actor = subject.request.actor(login)
        self.closable = subject
        self.created_at = moment
        self.url = f"{subject.url}#event-{subject.database_id}"
        self.resource_path = f"{subject.resource_path}#event-{subject.database_id}"
        self.state_reason = subject.state_reason if isinstance(subject, Issue) else None
        self._subject = subject

    @property
    def closer(self) -> Any:
        record = self._subject.record
        commit = record.closed_by_commit if isinstance(record, records.Issue) else ""
        return Commit(self._subject.repository, commit) if commit else None


class MergedEvent:
    """Somebody merged it."""

    kind = "MERGED_EVENT"

    def __init__(self, pull: PullRequest) -> None:
        self.id = f"ME_{pull.id}"
        self.pull_request = pull
        self.actor = pull.merged_by
        self.commit = pull.merge_commit
        self.created_at = pull.merged_at
        self.merge_ref_name = pull.base_ref_name
        self.merge_ref = pull.base_ref
        self.url = f"{pull.url}#event-{pull.database_id}"
        self.resource_path = f"{pull.resource_path}#event-{pull.database_id}"


class PullRequestTimelineItemsConnection(Connection):
    """A timeline, with the numbers that only it has."""

    @property
    def filtered_count(self) -> int:
        return self.total_count

    @property
    def page_count(self) -> int:
        return len(self.nodes)

    @property
    def updated_at(self) -> str | None:
        return self.items[-1].created_at if self.items else None
