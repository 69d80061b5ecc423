"""What people and programs do on GitHub, whichever way they ask: pull requests, reviews, threads, issues, refs.

Each move is whole: what GitHub does by itself in its wake is done too. What it refuses is a `RefusedError` that
has changed nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

from github_double import plumbing, rules
from github_double.state import (
    Comment,
    Event,
    Issue,
    PullRequest,
    Repository,
    Review,
    ReviewComment,
    Side,
    State,
    Thread,
)

CLOSING = re.compile(
    r"\b(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?):?\s+(?:(?P<repo>[\w.-]+/[\w.-]+))?#(?P<number>\d+)\b", re.IGNORECASE
)


class RefusedError(Exception):
    """GitHub says no. `kind` is GraphQL's error type; `errors` are REST's."""

    def __init__(
        self, status: int, message: str, errors: list[object] | None = None, kind: str = "UNPROCESSABLE"
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.errors = errors
        self.kind = kind


def invalid(resource: str, code: str, field: str = "", message: str = "") -> RefusedError:
    """Return the 422 of a field of a record."""
    told = {"resource": resource, "code": code, "field": field, "message": message}
    return RefusedError(422, "Validation Failed", [{key: value for key, value in told.items() if value}])


def listing(head: str, *sentences: str) -> RefusedError:
    """Return the 422 whose errors are plain sentences."""
    return RefusedError(422, head, list(sentences))


# Refs


def ref_moved(state: State, repository: Repository, ref: str, old: str, new: str, login: str) -> None:
    """Hear of a ref that stands elsewhere now ("" = nowhere): pull requests follow it, CI is told."""
    if not ref.startswith("refs/heads/"):
        return
    branch = ref.removeprefix("refs/heads/")
    if new:
        state.tell(Event("push", "created" if not old else "pushed", repository.full_name, ref, new, 0, login))
    for other in list(state.repositories.values()):
        for pull in [p for p in other.pulls.values() if p.state == "open"]:
            if pull.head_repository == repository.full_name and pull.head_ref == branch:
                _head_moved(state, other, pull, new, login)
            elif other is repository and pull.base_ref == branch:
                _base_moved(state, other, pull, new, login)


def move_branch(state: State, repository: Repository, branch: str, new: str, login: str) -> None:
    """Point a branch elsewhere ("" = delete it)."""
    ref = f"refs/heads/{branch}"
    was = repository.tip(branch)
    if new:
        plumbing.move(repository.git, ref, new, was)
    elif was:
        plumbing.remove(repository.git, ref)
    ref_moved(state, repository, ref, was, new, login)


def delete_branch(state: State, repository: Repository, branch: str, login: str) -> None:
    """Delete a branch; its open pull requests are closed."""
    if not repository.tip(branch):
        raise RefusedError(422, "Reference does not exist")
    if branch == repository.default_branch:
        raise RefusedError(422, "Cannot delete the default branch")
    if rules.protection(repository, branch) is not None:
        raise RefusedError(422, f"Cannot delete protected branch: {branch}")
    move_branch(state, repository, branch, "", login)


def _head_moved(state: State, repository: Repository, pull: PullRequest, new: str, login: str) -> None:
    if not new:
        close(state, repository, pull, login)
        return
    before = pull.head_sha
    read_head(state, repository, pull)
    pull.last_pusher = login
    pull.forced += not plumbing.contains(repository.git, new, before)
    pull.base_sha = repository.tip(pull.base_ref) or pull.base_sha
    pull.updated_at = state.now()
    for thread in pull.threads:
        _carry(repository, thread, before, new)
    if rules.demands(repository, pull.base_ref).dismiss_stale:
        for review in pull.reviews:
            review.state = "DISMISSED" if review.state == "APPROVED" else review.state
    if queue := repository.queues.get(pull.base_ref):
        queue.entries = [e for e in queue.entries if e.number != pull.number]
    state.tell(Event("pull_request", "synchronize", repository.full_name, "", new, pull.number, login))
    if plumbing.contains(repository.git, rules.base_tip(repository, pull), new):
        close(state, repository, pull, login)  # nothing is left to merge: GitHub closes it


def _base_moved(state: State, repository: Repository, pull: PullRequest, new: str, login: str) -> None:
    if not new:
        close(state, repository, pull, login)
    elif plumbing.contains(repository.git, new, pull.head_sha):
        mark_merged(state, repository, pull, login, new)  # somebody merged it with git


def read_head(state: State, repository: Repository, pull: PullRequest) -> None:
    """Bring the head's commits into the repository of the pull request, and read what they are."""
    head = state.repository(pull.head_repository)
    assert head is not None
    tip = head.tip(pull.head_ref)
    if head is not repository:
        plumbing.git(repository.git, "fetch", "-q", "--no-tags", str(head.git), tip)
    plumbing.move(repository.git, f"refs/pull/{pull.number}/head", tip)
    pull.head_sha = tip
    pull.commits = plumbing.between(repository.git, rules.base_tip(repository, pull), tip)


def _carry(repository: Repository, thread: Thread, before: str, after: str) -> None:
    """Let a thread follow its line through a push; it is outdated once the line was changed."""
    if thread.line is None or thread.side == "LEFT":
        return
    thread.line = plumbing.line_after(repository.git, before, after, thread.path, thread.line)
    thread.outdated = thread.line is None
    if thread.start_line is not None:
        now = plumbing.line_after(repository.git, before, after, thread.path, thread.start_line)
        thread.start_line = now if not thread.outdated else None
    thread.commit = after if thread.line is not None else thread.commit


# Pull requests


@dataclass(frozen=True)
class Proposal:
    """What a new pull request says; `head` is "branch" or "owner:branch"."""

    title: str
    head: str
    base: str
    body: str = ""
    draft: bool = False
    maintainer_can_modify: bool = True


def open_pull(state: State, repository: Repository, login: str, asked: Proposal) -> PullRequest:
    """Open a pull request."""
    base = asked.base
    owner, _, branch = asked.head.rpartition(":")
    source = head_repository(state, repository, owner or repository.owner)
    if not repository.tip(base):
        raise invalid("PullRequest", "invalid", "base")
    if source is None or not source.tip(branch):
        raise invalid("PullRequest", "invalid", "head")
    named = f"{source.owner}:{branch}"
    if _open_from(repository, source, branch, base):
        raise invalid("PullRequest", "custom", "", f"A pull request already exists for {named}.")
    tip = source.tip(branch)
    if source is not repository:
        plumbing.git(repository.git, "fetch", "-q", "--no-tags", str(source.git), tip)
    if plumbing.contains(repository.git, repository.tip(base), tip):
        shown = branch if source is repository else named
        raise invalid("PullRequest", "custom", "", f"No commits between {base} and {shown}")
    number, moment, known = state.number(repository), state.now(), state.new_id(long=True)
    pull = PullRequest(
        id=known,
        node_id=state.node("PR", known),
        number=number,
        login=login,
        title=asked.title,
        body=asked.body,
        head_owner=source.owner,
        head_repository=source.full_name,
        head_ref=branch,
        head_sha=tip,
        base_ref=base,
        base_sha=repository.tip(base),
        created_at=moment,
        updated_at=moment,
        draft=asked.draft,
        last_pusher=login,
        maintainer_can_modify=asked.maintainer_can_modify and source is not repository,
    )
    repository.pulls[number] = state.known(pull)
    read_head(state, repository, pull)
    state.tell(Event("pull_request", "opened", repository.full_name, "", tip, number, login))
    return pull


def head_repository(state: State, repository: Repository, owner: str) -> Repository | None:
    """Return the repository of that owner in the network of forks."""
    if owner.casefold() == repository.owner.casefold():
        return repository
    family = {repository.full_name, repository.parent} - {""}
    owned = (r for r in state.repositories.values() if r.owner.casefold() == owner.casefold())
    return next((r for r in owned if {r.full_name, r.parent} & family), None)


def _open_from(repository: Repository, source: Repository, branch: str, base: str) -> bool:
    return any(
        p.state == "open" and (p.head_repository, p.head_ref, p.base_ref) == (source.full_name, branch, base)
        for p in repository.pulls.values()
    )


def close(state: State, repository: Repository, pull: PullRequest, login: str) -> None:
    """Close it unmerged."""
    pull.state, pull.closed_at, pull.closed_by = "closed", state.now(), login
    pull.updated_at, pull.auto_merge = state.now(), None
    if queue := repository.queues.get(pull.base_ref):
        queue.entries = [e for e in queue.entries if e.number != pull.number]
    state.tell(Event("pull_request", "closed", repository.full_name, "", pull.head_sha, pull.number, login))


def reopen(state: State, repository: Repository, pull: PullRequest, login: str) -> None:
    """Open it again."""
    source = state.repository(pull.head_repository) if pull.head_repository else None
    tip = source.tip(pull.head_ref) if source else ""
    if pull.merged or source is None or not tip:
        gone = f"The {pull.head_ref} branch has been deleted."
        raise invalid("PullRequest", "invalid", "state", f"state cannot be changed. {gone}")
    if source is not repository:
        plumbing.git(repository.git, "fetch", "-q", "--no-tags", str(source.git), tip)
    if not plumbing.contains(repository.git, tip, pull.head_sha):
        gone = f"The {pull.head_ref} branch was force-pushed or recreated."
        raise invalid("PullRequest", "invalid", "state", f"state cannot be changed. {gone}")
    if _open_from(repository, source, pull.head_ref, pull.base_ref):
        named = f"{pull.head_owner}:{pull.head_ref}"
        said = f"state cannot be changed. There is already an open pull request from {named} to {pull.base_ref}."
        raise invalid("PullRequest", "invalid", "state", said)
    pull.state, pull.closed_at, pull.closed_by, pull.updated_at = "open", "", "", state.now()
    read_head(state, repository, pull)
    state.tell(Event("pull_request", "reopened", repository.full_name, "", tip, pull.number, login))


def retarget(state: State, repository: Repository, pull: PullRequest, base: str) -> None:
    """Let it be merged into another branch."""
    source = state.repository(pull.head_repository)
    if not repository.tip(base):
        raise invalid("PullRequest", "invalid", "base")
    if source and _open_from(repository, source, pull.head_ref, base):
        said = f"A pull request already exists for base branch '{base}' and head branch '{pull.head_ref}'"
        raise invalid("PullRequest", "invalid", "base", said)
    if plumbing.contains(repository.git, repository.tip(base), pull.head_sha):
        raise invalid(
            "PullRequest",
            "invalid",
            "base",
            f"There are no new commits between base branch '{base}' and head branch '{pull.head_ref}'",
        )
    pull.base_ref, pull.base_sha, pull.updated_at = base, repository.tip(base), state.now()
    pull.commits = plumbing.between(repository.git, pull.base_sha, pull.head_sha)


def ready(state: State, repository: Repository, pull: PullRequest, login: str) -> None:
    """Mark a draft as ready for review."""
    pull.draft, pull.updated_at = False, state.now()
    state.tell(Event("pull_request", "ready_for_review", repository.full_name, "", pull.head_sha, pull.number, login))


def update_branch(state: State, repository: Repository, pull: PullRequest, login: str, expected: str = "") -> str:
    """Merge the base into the head branch, as GitHub's button does; return the commit."""
    if expected and expected != pull.head_sha:
        raise RefusedError(422, "expected head sha didn\u2019t match current head ref.")
    source = state.repository(pull.head_repository) if pull.head_repository else None
    if pull.state != "open" or source is None:
        raise RefusedError(422, "Pull request is not open.")
    if not rules.updatable(state, pull, login):
        raise RefusedError(403, "Resource not accessible by personal access token", kind="FORBIDDEN")
    base = rules.base_tip(repository, pull)
    if not rules.behind(repository, pull):
        raise RefusedError(422, "There are no new commits on the base branch.")
    tree = plumbing.merged_tree(repository.git, pull.head_sha, base)
    if not tree:
        raise RefusedError(422, "merge conflict between base and head")
    message = f"Merge branch '{pull.base_ref}' into {pull.head_ref}"
    merge = plumbing.write_commit(repository.git, tree, [pull.head_sha, base], message, person(state, login))
    if source is not repository:
        plumbing.git(source.git, "fetch", "-q", "--no-tags", str(repository.git), merge)
    move_branch(state, source, pull.head_ref, merge, login)
    return merge


def person(state: State, login: str) -> plumbing.Person:
    """Return who git says the account is."""
    account = state.account(login)
    return plumbing.Person(account.name, account.email)


def mark_merged(state: State, repository: Repository, pull: PullRequest, login: str, commit: str) -> None:
    """Record the merge and do what follows from it: issues it closes are closed."""
    pull.merged, pull.merged_at, pull.merged_by, pull.merge_commit = True, state.now(), login, commit
    close(state, repository, pull, login)
    if pull.base_ref == repository.default_branch:
        words = [pull.body, plumbing.read_commit(repository.git, commit).message]
        words += [plumbing.read_commit(repository.git, c).message for c in pull.commits]
        for number in closing(repository, "\n".join(words)):
            close_issue(state, repository.issues[number], login, commit)


def closing(repository: Repository, text: str) -> list[int]:
    """Return the repository's issues that a text says it closes."""
    found = CLOSING.finditer(text)
    ours = (m for m in found if not m["repo"] or m["repo"].casefold() == repository.full_name.casefold())
    return list(dict.fromkeys(n for m in ours if (n := int(m["number"])) in repository.issues))


# Issues and conversation


def open_issue(state: State, repository: Repository, login: str, title: str, body: str = "") -> Issue:
    """Open an issue."""
    known, moment = state.new_id(long=True), state.now()
    number = state.number(repository)
    issue = Issue(known, state.node("I", known), number, login, title, body, moment, moment)
    repository.issues[number] = state.known(issue)
    return issue


def close_issue(state: State, issue: Issue, login: str, commit: str = "") -> None:
    """Close an issue; `commit` is what closed it."""
    if issue.state == "open":
        issue.state, issue.state_reason, issue.closed_by_commit = "closed", "completed", commit
        issue.closed_at, issue.closed_by, issue.updated_at = state.now(), login, state.now()


def comment(state: State, repository: Repository, number: int, login: str, body: str) -> Comment:
    """Say something in the conversation of an issue or a pull request."""
    subject = repository.pulls.get(number) or repository.issues[number]
    if not body.strip():
        raise invalid("IssueComment", "missing_field", "body")
    if subject.locked and not rules.at_least(repository, login, "write"):
        raise RefusedError(403, "Unable to create comment because issue is locked.", kind="FORBIDDEN")
    known, moment = state.new_id(long=True), state.now()
    made = Comment(known, state.node("IC", known), number, login, body, moment, moment)
    repository.comments.append(state.known(made))
    subject.updated_at = moment
    return made


# Reviews


def review(
    state: State,
    repository: Repository,
    pull: PullRequest,
    login: str,
    verdict: Literal["APPROVED", "CHANGES_REQUESTED", "COMMENTED", "PENDING"],
    body: str = "",
    commit: str = "",
) -> Review:
    """Submit a review."""
    if login == pull.login and verdict == "APPROVED":
        raise listing("Unprocessable Entity", "Review Can not approve your own pull request")
    if login == pull.login and verdict == "CHANGES_REQUESTED":
        raise listing("Unprocessable Entity", "Review Can not request changes on your own pull request")
    known, moment = state.new_id(long=True), state.now()
    at = "" if verdict == "PENDING" else moment
    made = Review(known, state.node("PRR", known), pull.number, login, verdict, body, at, commit or pull.head_sha)
    pull.reviews.append(state.known(made))
    pull.updated_at = moment
    pull.requested_reviewers = [r for r in pull.requested_reviewers if r != login]
    state.tell(Event("pull_request_review", "submitted", repository.full_name, "", made.commit, pull.number, login))
    return made


@dataclass(frozen=True)
class Place:
    """A line of a diff, as of a commit ("" = the head); without a line the whole file."""

    path: str
    line: int | None = None
    side: Side = "RIGHT"
    commit: str = ""
    start: int | None = None  # the first line, of several


def remark(
    state: State,
    repository: Repository,
    pull: PullRequest,
    login: str,
    body: str,
    place: Place,
    within: Review | None = None,
) -> Thread:
    """Start a thread, in a review of its own or `within` one."""
    commit, line = place.commit or pull.head_sha, place.line
    if place.start is not None:
        hunk_of(repository, pull, replace(place, commit=commit, line=place.start))
    hunk = hunk_of(repository, pull, replace(place, commit=commit))
    told = within or review(state, repository, pull, login, "COMMENTED", "", commit)
    known = state.new_id(long=True)
    subject: Literal["line", "file"] = "file" if line is None else "line"
    thread = Thread(
        state.node("PRRT", known),
        pull.number,
        place.path,
        line,
        line,
        place.side,
        commit,
        commit,
        subject,
        place.start,
    )
    if commit != pull.head_sha:
        _carry(repository, thread, commit, pull.head_sha)
    pull.threads.append(state.known(thread))
    _say(state, pull, thread, told, body, hunk)
    return thread


def hunk_of(repository: Repository, pull: PullRequest, place: Place) -> str:
    """Return what the place shows of the diff; refuse one that is not in it."""
    base = plumbing.merge_base(repository.git, rules.base_tip(repository, pull), place.commit)
    files = plumbing.changed_files(repository.git, base, place.commit)
    file = next((f for f in files if f.path == place.path), None)
    if file is None:
        raise _misplaced(("path", "is invalid"))
    if place.line is None:
        return ""
    if hunk := plumbing.hunk_at(file.patch, place.side, place.line):
        return hunk
    raise _misplaced(("line", "must be part of the diff"), ("diff_hunk", "can't be blank"))


def _misplaced(*wrong: tuple[str, str]) -> RefusedError:
    told: list[object] = [
        {
            "resource": "PullRequestReviewComment",
            "code": "custom",
            "field": f"pull_request_review_thread.{field}",
            "message": f"pull_request_review_thread.{field} {said}",
        }
        for field, said in wrong
    ]
    return RefusedError(422, "Validation Failed", told)


def _say(state: State, pull: PullRequest, thread: Thread, told: Review, body: str, hunk: str) -> ReviewComment:
    known, moment = state.new_id(long=True), state.now()
    made = ReviewComment(
        id=known,
        node_id=state.node("PRRC", known),
        number=pull.number,
        login=told.login,
        body=body,
        created_at=moment,
        updated_at=moment,
        review=told.id,
        original_commit=thread.original_commit,
        diff_hunk=hunk,
        in_reply_to=thread.comments[0].id if thread.comments else 0,
    )
    pull.updated_at = moment
    thread.comments.append(state.known(made))
    return made


def reply(state: State, repository: Repository, thread: Thread, login: str, body: str) -> ReviewComment:
    """Answer in a thread."""
    pull = repository.pulls[thread.number]
    if not body.strip():
        raise invalid("PullRequestReviewComment", "missing_field", "body")
    told = review(state, repository, pull, login, "COMMENTED", "", pull.head_sha)
    return _say(state, pull, thread, told, body, thread.comments[0].diff_hunk)


def resolve(state: State, repository: Repository, thread: Thread, login: str) -> None:
    """Resolve a thread, which its pull request's author and those with write permission may."""
    if not may_resolve(repository, thread, login):
        raise RefusedError(403, "Resource not accessible by personal access token", kind="FORBIDDEN")
    thread.resolved_by = thread.resolved_by or login
    event = Event("pull_request_review_thread", "resolved", repository.full_name, "", "", thread.number, login)
    state.tell(event)


def unresolve(state: State, repository: Repository, thread: Thread, login: str) -> None:
    """Open a thread again."""
    if not may_resolve(repository, thread, login):
        raise RefusedError(403, "Resource not accessible by personal access token", kind="FORBIDDEN")
    thread.resolved_by = ""
    event = Event("pull_request_review_thread", "unresolved", repository.full_name, "", "", thread.number, login)
    state.tell(event)


def may_resolve(repository: Repository, thread: Thread, login: str) -> bool:
    """Whether the account may resolve the thread."""
    return login == repository.pulls[thread.number].login or rules.at_least(repository, login, "write")
