"""How a pull request gets into its base: at once, by itself once it may, or through the merge queue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from github_double import plumbing, rules
from github_double.moves import RefusedError, mark_merged, move_branch, person, ref_moved
from github_double.state import AutoMerge, Event, MergeQueue, PullRequest, QueueEntry, Repository, State

Method = Literal["merge", "squash", "rebase"]
NOT_MERGEABLE = "Pull Request is not mergeable"
_NAMES = {"merge": "Merge commits", "squash": "Squash merges", "rebase": "Rebase merges"}


@dataclass(frozen=True)
class Wording:
    """What the merge's commit is to say; "" = what GitHub says."""

    title: str = ""
    message: str = ""


def merge(
    state: State,
    repository: Repository,
    pull: PullRequest,
    login: str,
    method: Method = "merge",
    sha: str = "",
    words: Wording = Wording(),
) -> str:
    """Merge it now, by an account; return the commit, or refuse in GitHub's words."""
    while state.last_moment:
        state.last_moment.pop(0)()
    if pull.state != "open":
        raise RefusedError(405, NOT_MERGEABLE)
    if sha and sha != pull.head_sha:
        raise RefusedError(409, "Head branch was modified. Review and try the merge again.")
    if pull.draft:
        raise RefusedError(405, "Pull Request is still a draft")
    _refuse_method(repository, pull, method)
    if not rules.merges(repository, pull):
        raise RefusedError(405, NOT_MERGEABLE)
    if rules.queued(repository, pull.base_ref):
        raise RefusedError(
            405, "Repository rule violations found\n\nChanges must be made through the merge queue\n\n"
        )
    if refused := rules.refusal(repository, pull, login):
        raise RefusedError(405, refused)
    base = repository.tip(pull.base_ref)
    commit = _written(state, repository, pull, login, method, words)
    return _landed(state, repository, pull, login, commit, base)


def _refuse_method(repository: Repository, pull: PullRequest, method: Method) -> None:
    asked = rules.demands(repository, pull.base_ref)
    if method not in rules.methods(repository, pull.base_ref):
        raise RefusedError(405, f"{_NAMES[method]} are not allowed on this repository.")
    if method == "merge" and asked.linear_history:
        raise RefusedError(405, "Merge commits are not allowed on this repository.")


def _written(
    state: State,
    repository: Repository,
    pull: PullRequest,
    login: str,
    method: Method,
    words: Wording = Wording(),
) -> str:
    """Write the commit that the base will stand at."""
    by, base, title, message = person(state, login), repository.tip(pull.base_ref), words.title, words.message
    told = {"GIT_COMMITTER_NAME": "GitHub", "GIT_COMMITTER_EMAIL": "noreply@github.com"}
    if method == "rebase":
        if not (tip := plumbing.replay(repository.git, pull.commits, base)):
            raise RefusedError(405, "This branch can't be rebased")
        return tip
    tree = plumbing.merged_tree(repository.git, base, pull.head_sha)
    if not tree:
        raise RefusedError(405, NOT_MERGEABLE)
    if method == "merge":
        head = f"Merge pull request #{pull.number} from {pull.head_owner}/{pull.head_ref}"
        whole = f"{title or head}\n\n{message or pull.title}"
        return plumbing.write_commit(repository.git, tree, [base, pull.head_sha], whole, by, **told)
    messages = [plumbing.read_commit(repository.git, c).message for c in pull.commits]
    one = len(messages) == 1
    subject = title or f"{messages[0].splitlines()[0] if one else pull.title} (#{pull.number})"
    text = message or ("\n".join(messages[0].splitlines()[2:]) if one else "\n\n".join(f"* {m}" for m in messages))
    whole = f"{subject}\n\n{text}".rstrip()
    return plumbing.write_commit(repository.git, tree, [base], whole, person(state, pull.login), **told)


def _landed(state: State, repository: Repository, pull: PullRequest, login: str, commit: str, base: str) -> str:
    ref = f"refs/heads/{pull.base_ref}"
    try:
        plumbing.move(repository.git, ref, commit, base)
    except plumbing.GitFailedError as error:  # somebody pushed just now
        raise RefusedError(405, "Base branch was modified. Review and try the merge again.") from error
    mark_merged(state, repository, pull, login, commit)
    ref_moved(state, repository, ref, base, commit, login)
    if repository.delete_branch_on_merge and pull.head_repository == repository.full_name:
        for other in repository.pulls.values():
            if other.state == "open" and other.base_ref == pull.head_ref:
                other.base_ref = pull.base_ref
        if repository.tip(pull.head_ref) == pull.head_sha:
            move_branch(state, repository, pull.head_ref, "", login)
    return commit


# By itself


def enable_auto_merge(
    state: State,
    repository: Repository,
    pull: PullRequest,
    login: str,
    method: Method = "merge",
    words: Wording = Wording(),
) -> AutoMerge:
    """Ask for the merge once all that is required is met."""
    if not repository.allow_auto_merge:
        raise RefusedError(422, "Auto merge is not allowed for this repository")
    if pull.state != "open":
        raise RefusedError(422, "Pull request is closed")
    _refuse_method(repository, pull, method)
    known = rules.merge_state(repository, pull)
    if known in {"CLEAN", "UNSTABLE"} and not rules.queued(repository, pull.base_ref):
        raise RefusedError(422, f"Pull request Pull request is in {known.lower()} status")
    pull.auto_merge = AutoMerge(login, state.now(), method, words.title, words.message)
    pull.updated_at = state.now()
    return pull.auto_merge


def disable_auto_merge(state: State, pull: PullRequest) -> None:
    """Take the request back."""
    if pull.auto_merge is None:
        raise RefusedError(422, "Can't disable auto-merge for this pull request.")
    pull.auto_merge, pull.updated_at = None, state.now()


# The queue


def enqueue(state: State, repository: Repository, pull: PullRequest, login: str, expected: str = "") -> QueueEntry:
    """Put it into the merge queue of its base."""
    queue = repository.queues.get(pull.base_ref)
    if queue is None:
        raise RefusedError(422, "Merge queue is not enabled for this branch")
    if expected and expected != pull.head_sha:
        raise RefusedError(422, "Head branch was modified. Review and try the merge again.")
    if any(e.number == pull.number for e in queue.entries):
        raise RefusedError(422, "Pull request Pull request is already in the queue")
    if pull.state != "open" or pull.draft or not rules.merges(repository, pull):
        raise RefusedError(422, NOT_MERGEABLE)
    if refused := rules.refusal(repository, pull, login):
        raise RefusedError(422, f"Pull request {refused}")
    known = state.new_id(long=True)
    entry = QueueEntry(state.node("MQE", known), pull.number, login, state.now(), pull.head_sha)
    queue.entries.append(state.known(entry))
    pull.updated_at = state.now()
    tick(state, repository)
    return entry


def dequeue(state: State, repository: Repository, pull: PullRequest) -> QueueEntry:
    """Take it out of the queue."""
    queue = repository.queues.get(pull.base_ref)
    entry = next((e for e in queue.entries if e.number == pull.number), None) if queue else None
    if queue is None or entry is None:
        raise RefusedError(422, "Pull request is not in the merge queue")
    queue.entries.remove(entry)
    pull.updated_at = state.now()
    tick(state, repository)
    return entry


def tick(state: State, repository: Repository) -> None:
    """Do what GitHub does by itself once something is known: merge what waits for it, move the queues on."""
    for pull in list(repository.pulls.values()):
        if pull.state == "open" and pull.auto_merge is not None:
            _by_itself(state, repository, pull, pull.auto_merge)
    for queue in repository.queues.values():
        _queue_moves(state, repository, queue)


def _by_itself(state: State, repository: Repository, pull: PullRequest, asked: AutoMerge) -> None:
    lacking = rules.lacks(repository, pull, rules.demands(repository, pull.base_ref))
    if pull.draft or lacking or not rules.merges(repository, pull):
        return
    if queue := repository.queues.get(pull.base_ref):
        if not any(e.number == pull.number for e in queue.entries):
            pull.auto_merge = None
            enqueue(state, repository, pull, asked.login)
        return
    base = repository.tip(pull.base_ref)
    commit = _written(state, repository, pull, asked.login, asked.method, Wording(asked.title, asked.message))
    _landed(state, repository, pull, asked.login, commit, base)


def _queue_moves(state: State, repository: Repository, queue: MergeQueue) -> None:
    """Test the first of the queue on top of the base; merge it when that is green, put it out when it is red."""
    asked = rules.demands(repository, queue.branch)
    while queue.entries:
        entry = queue.entries[0]
        pull = repository.pulls[entry.number]
        base = repository.tip(queue.branch)
        if not entry.group or entry.base != base:
            _build_group(state, repository, queue, entry, pull, base)
            if not entry.group:
                continue
        known = rules.verdicts(repository, entry.group)
        verdicts = [known.get(c, "pending") for c in asked.contexts]
        if "failing" in verdicts:
            queue.entries.remove(entry)
            pull.updated_at = state.now()
        elif "pending" in verdicts:
            return
        else:
            group, login = entry.group, entry.login
            queue.entries.remove(entry)
            _landed(state, repository, pull, login, group, base)


def _build_group(
    state: State, repository: Repository, queue: MergeQueue, entry: QueueEntry, pull: PullRequest, base: str
) -> None:
    entry.group, entry.base = "", base
    try:
        entry.group = _written(state, repository, pull, entry.login, queue.method)
    except RefusedError:
        queue.entries.remove(entry)
        return
    ref = f"refs/heads/gh-readonly-queue/{queue.branch}/pr-{pull.number}-{base}"
    plumbing.move(repository.git, ref, entry.group)
    entry.state = "AWAITING_CHECKS"
    event = Event("merge_group", "checks_requested", repository.full_name, ref, entry.group, pull.number, entry.login)
    state.tell(event)
