"""`fix-pr --merge-only`: a pull request is read whole and merged as it is, or every reason against that is named.

No run, no session, no clean room: nothing is written on this machine, and nothing is waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_never

from claudetm.adapters.forge.github.place import parse_pull
from claudetm.adapters.git.user_repository import inspect
from claudetm.bootstrap import github
from claudetm.bootstrap.configuration import configuration
from claudetm.bootstrap.github_goal import any_pull
from claudetm.config import Resolved, policy
from claudetm.errors import UsageError
from claudetm.ports.forge import (
    BaseChanged,
    HeadChanged,
    MergeConflict,
    MergeDone,
    MergeOutcome,
    MergeQueuedUp,
    MergeRefused,
    NotYet,
    Opposed,
)
from claudetm.workflow.policy import Policy
from claudetm.workflow.pull_request import CheckState, PullRequestState, both_sides

if TYPE_CHECKING:
    from claudetm.adapters.forge.github.facts import Facts
    from claudetm.adapters.forge.github.once import Once
    from claudetm.adapters.forge.github.pull import Pull


@dataclass(frozen=True, slots=True)
class Merged:
    """What came of it. `commit` is "" where it is not merged; `before` says that somebody else had merged it."""

    number: int
    title: str
    url: str
    head: str
    commit: str = ""
    before: bool = False
    by: str = ""  # who merged it, where that was before
    waits: str = ""  # what GitHub merges it by, once it may
    branch: str = ""  # that is left once it was merged
    reasons: tuple[str, ...] = ()
    closed: bool = False  # unmerged: nothing goes on before it is opened again


def merge_only(said: str, where: Path, settings: Mapping[str, Any]) -> Merged:
    """Merge a pull request, named by its number or its address, by its exact head. Raises ClaudetmError."""
    from claudetm.adapters.forge.github.facts import facts
    from claudetm.adapters.forge.github.merge import GithubMerging, Wish
    from claudetm.adapters.forge.github.once import Once
    from claudetm.adapters.forge.github.reading import Reading

    user = inspect(where, None)
    resolved = configuration(user.root, settings, look=True)
    place = github.forge_used(resolved, user, lambda _sentence: None)
    if place is None:
        raise UsageError(
            "Pull requests of the local forge are merged by the run that made them; call this in a clone from GitHub"
        )
    token = github.token_of(place)
    client, number = github.client_of(place, token), parse_pull(said, place)
    found, email = policy(resolved), user.author.rpartition("<")[2].rstrip(">")
    target = str(any_pull(client, place, number)["base"]["ref"])
    reading, once = Reading(client, place, target, lambda: found.trusted, email), Once()
    pull = _settled(lambda: reading.pull(number), once)
    told = Merged(number, pull.title, pull.url, pull.head)
    if pull.state is PullRequestState.MERGED:
        return replace(told, commit=pull.merge_commit, before=True, by=pull.by)
    known = facts(client, place, target, pull.branch)
    if reasons := tuple(against(pull, found, known)):
        return replace(told, reasons=reasons, closed=pull.state is PullRequestState.CLOSED)
    merging = GithubMerging(client, place, reading, once, lambda _number, _head: None, lambda _point: None)
    with client.for_write():
        outcome = merging.merge(Wish(number, pull.head, pull.base, _method(resolved, found, known), target))
    return _ended(told, outcome, pull)


def _settled(look: Callable[[], Pull], once: Once) -> Pull:
    """Return the pull request, read again for a few seconds while GitHub works out whether it can be merged."""
    pull = look()

    def known() -> Pull | None:
        nonlocal pull
        open_ = pull.state is PullRequestState.OPEN
        if open_ and "UNKNOWN" in (pull.mergeable, pull.status):
            pull = look()
            return None
        return pull

    return once.found(known) or pull


def _method(resolved: Resolved, found: Policy, known: Facts) -> str:
    """Return how it is merged: as is set, else by the first way that is allowed."""
    chosen = resolved.settings["merge.method"].source != "default"
    return found.merge_method if chosen or found.merge_method in known.methods else (*known.methods, "merge")[0]


def against(pull: Pull, policy: Policy, known: Facts) -> Iterator[str]:
    """Yield every reason for which a pull request is not to be merged as it is, as clauses."""
    if pull.state is PullRequestState.CLOSED:
        yield f"{pull.by or 'a person'} closed it"
        return
    before = [*_of_the_branch(pull), *_of_the_checks(pull, policy), *_of_people(pull, policy)]
    yield from before
    if not known.may_merge:
        yield f"{known.login} may not merge into {known.repository}"
    elif pull.status == "BLOCKED" and not before and not pull.queue:
        yield f"GitHub holds it back: something that the rules of {pull.target} ask for is missing"


def _of_the_branch(pull: Pull) -> Iterator[str]:
    if not pull.branch_there:
        yield f"its branch {pull.branch} is gone"
    if pull.mergeable == "CONFLICTING" or pull.status == "DIRTY":
        yield f"it conflicts with {pull.target}"
    elif "UNKNOWN" in (pull.mergeable, pull.status):
        yield "GitHub has not worked out yet whether it can be merged"
    elif pull.status == "BEHIND":
        yield f"{pull.target} has moved since it was tested"


def _of_the_checks(pull: Pull, policy: Policy) -> Iterator[str]:
    if pull.unread:
        yield pull.unread
    gates = [c for c in pull.checks if c.required] or list(pull.checks)
    for check in gates:
        match check.state:
            case CheckState.FAILED:
                yield f"the check {check.name} failed" + (f": {check.summary}" if check.summary else "")
            case CheckState.PENDING:
                yield f"the check {check.name} has not reported yet"
            case CheckState.PASSED:
                pass
            case _:
                assert_never(check.state)
    if not gates and not pull.unread and policy.checks_none == "block":
        yield "no check has reported, and zero checks is not green (--no-checks merges untested work)"


def _of_people(pull: Pull, policy: Policy) -> Iterator[str]:
    yield from (f"{name} asked for changes" for name in pull.objections)
    yield from (f"a conversation is open: {both_sides(t)}" for t in pull.threads if t.stands)
    if pull.approvals < policy.reviews_required:
        yield f"it has {pull.approvals} of {policy.reviews_required} approvals"
    if pull.withheld:
        yield pull.withheld


def _ended(told: Merged, outcome: MergeOutcome, pull: Pull) -> Merged:
    """Return what came of the merge."""
    match outcome:
        case MergeDone(commit):
            return replace(told, commit=commit, branch="" if pull.deletes_branch else pull.branch)
        case MergeQueuedUp():
            return replace(told, waits="the merge queue" if pull.queue or pull.queued else "auto-merge")
        case HeadChanged(head):
            why = f"{head[:10]} was pushed while it was looked at"
        case BaseChanged():
            why = f"{pull.target} has moved since it was tested"
        case MergeConflict():
            why = f"it conflicts with {pull.target}"
        case Opposed():
            why = "somebody came between while it was looked at"
        case NotYet(reason):
            why = reason
        case MergeRefused(reason):
            why = reason
        case _:
            assert_never(outcome)
    return replace(told, reasons=(why,))
