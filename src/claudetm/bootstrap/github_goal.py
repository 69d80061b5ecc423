"""The goal of a run that is asked for by a number: of an issue to solve, or of a pull request to bring to merged.

Of an issue's remarks only those count whose authors are listened to: anybody can write there, and an agent reads it.
What we said there ourselves, a monitor's claim, asks for nothing.
What GitHub does not show to whoever hands it over is left out, too: nobody has meant that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from claudetm.adapters.forge.github.facts import Asks, pushed_to
from claudetm.adapters.forge.github.people import People
from claudetm.adapters.forge.github.place import Hosted, address
from claudetm.adapters.forge.github.refusals import NotFound
from claudetm.adapters.forge.github.reviews import Author, marked
from claudetm.bootstrap.texts import GOAL_BYTES
from claudetm.errors import UsageError
from claudetm.prompts.fence import clear
from claudetm.redact import printable

_OURS: Final = "claudetm/"  # what the branches of runs begin with


def _asked(client: Asks, path: str, what: str, number: int, place: Hosted) -> Any:
    try:
        return client.get(f"{_at(place)}/{path}/{number}")
    except NotFound:
        raise UsageError(
            f"There is no {what} #{number} in {place.repository}; give its number or its address"
        ) from None


def any_pull(client: Asks, place: Hosted, number: int) -> Mapping[str, Any]:
    """Return a pull request as REST tells it. Raises UsageError where there is none of that number."""
    try:
        return dict(client.get(f"{_at(place)}/pulls/{number}"))
    except NotFound:
        _asked(client, "issues", "pull request", number, place)  # what is no pull request may be an issue
        raise UsageError(f"#{number} is an issue: `claudetm start --from-issue {number}`") from None


def open_pull(client: Asks, place: Hosted, number: int) -> Mapping[str, Any]:
    """Return an open pull request whose branch can be pushed to. Raises UsageError for any other."""
    pull = any_pull(client, place, number)
    if pull["state"] != "open":
        over = "merged already; nothing is left to do" if pull.get("merged") else "closed; reopen it first"
        raise UsageError(f"Pull request #{number} of {place.repository} is {over}")
    head = pull["head"]
    whose = (head.get("repo") or {}).get("full_name", "")
    if not whose:
        raise UsageError(f"The branch of pull request #{number} is gone with its fork; open it anew from another")
    ours = {place.repository.casefold(), pushed_to(place).casefold()}
    if whose.casefold() not in ours and not pull.get("maintainer_can_modify"):
        raise UsageError(
            f"Pull request #{number} comes from {whose}, which does not let maintainers push to it; ask its author "
            "to allow edits by maintainers"
        )
    return pull


def head_of(pull: Mapping[str, Any], place: Hosted) -> Hosted:
    """Return where a pull request's own branch is pushed to; a fork is reached as the repository itself is."""
    head = pull["head"]["repo"]
    whose = str(head["full_name"])
    if whose.casefold() == pushed_to(place).casefold():
        return place
    if whose.casefold() == place.repository.casefold():
        return replace(place, push=place.url, head_owner=place.owner)
    found = address(place.push)
    over_ssh = found is not None and found.scheme == "ssh"
    return replace(place, push=str(head["ssh_url" if over_ssh else "clone_url"]), head_owner=whose.partition("/")[0])


@dataclass(frozen=True, slots=True)
class Told:
    """A goal, and how many bytes of what it was made of are left out for its length."""

    goal: str
    left_out: int = 0


def goal_of_pull(pull: Mapping[str, Any], stranger: str = "") -> Told:
    """Return the goal of bringing a pull request to merged, with what its author says of it, unless a stranger."""
    title = " ".join(printable(str(pull["title"])).split())
    said = "" if stranger else str(pull.get("body") or "")
    return _bounded(f"Bring pull request #{pull['number']} to merged: {title}", [said])


def stranger(client: Asks, place: Hosted, made: Mapping[str, Any], trusted: Sequence[str]) -> str:
    """Return who wrote an issue or a pull request, where that is somebody who is not listened to; else ""."""
    who = _author(made)
    return "" if People(client, place.repository, lambda: trusted).hears(who) else who.name or "somebody"


def open_issue(client: Asks, place: Hosted, number: int) -> Mapping[str, Any]:
    """Return an open issue. Raises UsageError for any other, and for a pull request."""
    issue = _asked(client, "issues", "issue", number, place)
    if "pull_request" in issue:
        raise UsageError(f"#{number} is a pull request: `claudetm fix-pr {number}` brings it to merged")
    if issue["state"] != "open":
        raise UsageError(f"Issue #{number} of {place.repository} is closed; reopen it, or say the goal yourself")
    return dict(issue)


def goal_of_issue(client: Asks, place: Hosted, number: int, goal: str, trusted: Sequence[str]) -> Told:
    """Return the goal that an open issue is, with what those who are listened to said below it."""
    issue = open_issue(client, place, number)
    title = " ".join(printable(str(issue["title"])).split())
    first = f"{title} (issue #{number})"
    people = People(client, place.repository, lambda: trusted)
    remarks = [(_author(r), r.get("body") or "") for r in client.pages(f"{_at(place)}/issues/{number}/comments")]
    said = [f"{who.name} added:\n{body}" for who, body in remarks if marked(body) is None and people.hears(who)]
    return _bounded(f"{goal}\n\n{first}" if goal else first, [str(issue.get("body") or ""), *said])


def at_work_on(client: Asks, place: Hosted, issue: int) -> str:
    """Return which of the newest open pull requests of other runs are for an issue, as a sentence; "" for none.

    Another run may have died over it, on another machine, or be at it: what it has begun there is not this one's.
    """
    words = re.compile(rf"\b(?:Closes|Part of) #{issue}\b")
    found = [
        f"#{pull['number']} ({pull['head']['ref']})"
        for pull in client.get(f"{_at(place)}/pulls", state="open", sort="created", direction="desc", per_page=100)
        if str(pull["head"]["ref"]).startswith(_OURS) and words.search(str(pull.get("body") or ""))
    ]
    if not found:
        return ""
    those, them = ("pull request", "it") if len(found) == 1 else ("pull requests", "them")
    return f"another run has opened {those} {', '.join(found)} for issue #{issue}: merge {them}, or close {them}"


def _author(remark: Mapping[str, Any]) -> Author:
    user = remark.get("user") or {}
    return Author(
        str(user.get("login", "")), str(user.get("type", "")), str(remark.get("author_association", "NONE"))
    )


def _at(place: Hosted) -> str:
    return f"/repos/{place.repository}"


def _bounded(first: str, parts: Sequence[str]) -> Told:
    """Return a goal of several paragraphs, without what is hidden in them, no longer than one may be."""
    shown = (clear(printable(p)).strip() for p in parts)
    whole = "\n\n".join([first, *filter(None, shown)])
    size = len(whole.encode())
    if size <= GOAL_BYTES:
        return Told(whole)
    cut = whole.encode()[: GOAL_BYTES - len("…".encode())].decode(errors="ignore")
    return Told(f"{cut}…", size - len(cut.encode()))
