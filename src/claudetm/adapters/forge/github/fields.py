"""A pull request out of GraphQL's fields. Pure: which of them say that it changed, and what all of them come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from claudetm.adapters.forge.github.checks import Checks
from claudetm.adapters.forge.github.pull import Mergeable, Pull, PushedCommit
from claudetm.adapters.forge.github.reviews import Author, Hears, Talk, named, same, withheld
from claudetm.workflow.pull_request import PullRequestState

SOMEBODY: Final = "somebody"

_UNDECIDED: Final = frozenset({"UNKNOWN", "BEHIND", "DIRTY"})
"""What a push to the base makes of a pull request that did not change."""


def fingerprint(data: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what changes whenever something happens to the pull request itself. `data` is a `Light` fragment."""
    counts = (data["counts"] or {}).get("contexts") or {}
    talked = data["talked"]
    return (
        data["updatedAt"],
        data["state"],
        data["isDraft"],
        data["headRefOid"],
        data["baseRefName"],
        data["baseRef"] is None,
        data["reviewDecision"],
        data["isInMergeQueue"],
        bool(data["autoMergeRequest"]),
        (data["rollup"] or {}).get("state"),
        *(
            tuple(sorted((c["state"], c["count"]) for c in counts.get(kind) or () if c["count"]))
            for kind in ("checkRunCountsByState", "statusContextCountsByState")
        ),
        talked["totalCount"],
        tuple(t["isResolved"] for t in talked["nodes"]),
        data["remarked"]["totalCount"],
        (data["judged"] or {}).get("totalCount"),
    )


def decided(data: Mapping[str, Any]) -> str:
    """Return how GitHub judges it, "" while it does not or its base is what is wrong. Rules may change alone."""
    status = str(data["mergeStateStatus"])
    return "" if status in _UNDECIDED else status


def retold(pull: Pull, data: Mapping[str, Any]) -> Pull:
    """Return the pull request with what a push to its base changes: a `Light` fragment tells that itself."""
    return replace(pull, base=_tip(data), mergeable=Mergeable(data["mergeable"]), status=data["mergeStateStatus"])


def rebased(data: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Return a `Full` fragment with the same from a `Light` one."""
    base = {**data["baseRef"], **now["baseRef"]} if data["baseRef"] and now["baseRef"] else now["baseRef"]
    return {**data, "baseRef": base, "mergeable": now["mergeable"], "mergeStateStatus": now["mergeStateStatus"]}


class Listen:
    """Whose commits are taken: of those who are listened to, and of the run's own author."""

    def __init__(self, hears: Hears, author_email: str) -> None:
        self._hears = hears
        self._email = author_email

    def commit(self, data: Mapping[str, Any]) -> PushedCommit:
        """Return a commit of a pull request."""
        author = data["author"] or {}
        email = author.get("email") or ""
        login = (author.get("user") or {}).get("login") or _of_app(email)
        bot = login.endswith("[bot]")
        ours = bool(self._email) and same(email, self._email)
        listened = ours or (bool(login) and self._hears(Author(login, "Bot" if bot else "User")))
        return PushedCommit(data["oid"], login, email, bot, listened, data["parents"]["totalCount"] > 1)


def pull(data: Mapping[str, Any], repository: Mapping[str, Any], checks: Checks, talk: Talk, listen: Listen) -> Pull:
    """Return a pull request. `data` is a `Full` fragment with all its pages, `repository` what it stands in."""
    state = PullRequestState(data["state"].lower())
    asked = data["autoMergeRequest"]
    return Pull(
        id=data["id"],
        number=data["number"],
        url=data["url"],
        title=data["title"],
        body=data["body"],
        state=state,
        draft=data["isDraft"],
        branch=data["headRefName"],
        head=data["headRefOid"],
        target=data["baseRefName"],
        base=_tip(data),
        head_repository=(data["headRepository"] or {}).get("nameWithOwner", ""),
        branch_there=data["headRef"] is not None,
        writable=not data["isCrossRepository"] or data["maintainerCanModify"],
        merge_commit=(data["mergeCommit"] or {}).get("oid", ""),
        by=_ended_by(data, state),
        mergeable=Mergeable(data["mergeable"]),
        status=data["mergeStateStatus"],
        checks=checks.checks,
        goes_on=checks.goes_on,
        failed_jobs=checks.failed_jobs,
        runs=checks.runs,
        broken=checks.broken,
        links=checks.links,
        threads=talk.threads,
        replies=talk.replies,
        resolvable=talk.resolvable,
        shut=talk.shut,
        pending=talk.pending,
        quoted=talk.quoted,
        markers=talk.markers,
        approvals=len(talk.approved),
        approved=talk.approved,
        objections=talk.objections,
        withheld=withheld(data, talk),
        unheard=talk.unheard,
        ignored=talk.ignored,
        queue=data["isMergeQueueEnabled"],
        queued=data["isInMergeQueue"],
        auto_merge=_somebody(asked["enabledBy"]) if asked else "",
        may_auto_merge=repository["autoMergeAllowed"],
        deletes_branch=repository["deleteBranchOnMerge"],
        commits=tuple(listen.commit(n["commit"]) for n in data["commits"]["nodes"]),
    )


def _of_app(email: str) -> str:
    """Return the app whose own address this is, as in 49699333+dependabot[bot]@users.noreply.github.com."""
    local = email.partition("@")[0].rpartition("+")[2]
    return local if local.endswith("[bot]") else ""


def _tip(data: Mapping[str, Any]) -> str:
    return str(((data["baseRef"] or {}).get("target") or {}).get("oid", ""))


def _ended_by(data: Mapping[str, Any], state: PullRequestState) -> str:
    match state:
        case PullRequestState.MERGED:
            return _somebody(data["mergedBy"])
        case PullRequestState.CLOSED:
            events = (data["ended"] or {}).get("nodes") or []
            return _somebody(events[-1]["actor"] if events and events[-1] else None)
        case _:
            return ""


def _somebody(actor: Mapping[str, Any] | None) -> str:
    return named(actor)[0] if actor else SOMEBODY
