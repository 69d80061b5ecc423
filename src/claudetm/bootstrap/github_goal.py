"""The goal of a run that is asked for by a number: of an issue to solve, or of a pull request to bring to merged.

Of an issue's remarks only those count whose authors are listened to: anybody can write there, and an agent reads it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from claudetm.adapters.forge.github_facts import Asks
from claudetm.adapters.forge.github_place import Hosted
from claudetm.adapters.forge.github_refusals import GithubRefused, NotFound
from claudetm.bootstrap.texts import GOAL_BYTES
from claudetm.errors import UsageError
from claudetm.redact import printable


def _asked(client: Asks, path: str, what: str, number: int, place: Hosted) -> Any:
    try:
        return client.get(f"/repos/{place.repository}/{path}/{number}")
    except NotFound:
        raise UsageError(
            f"There is no {what} #{number} in {place.repository}; give its number or its address"
        ) from None


def open_pull(client: Asks, place: Hosted, number: int) -> Mapping[str, Any]:
    """Return an open pull request whose branch can be pushed to. Raises UsageError for any other."""
    pull = _asked(client, "pulls", "pull request", number, place)
    if pull["state"] != "open":
        over = "merged already; nothing is left to do" if pull.get("merged") else "closed; reopen it first"
        raise UsageError(f"Pull request #{number} of {place.repository} is {over}")
    head = pull["head"]
    whose = (head.get("repo") or {}).get("full_name", "")
    if not whose:
        raise UsageError(f"The branch of pull request #{number} is gone with its fork; open it anew from another")
    ours = {place.repository.casefold(), f"{place.head_owner}/{place.name}".casefold()}
    if whose.casefold() not in ours and not pull.get("maintainer_can_modify"):
        raise UsageError(
            f"Pull request #{number} comes from {whose}, which does not let maintainers push to it; ask its author "
            "to allow edits by maintainers"
        )
    return dict(pull)


def goal_of_pull(pull: Mapping[str, Any]) -> str:
    """Return the goal of bringing a pull request to merged, with what its author says of it."""
    title = " ".join(printable(str(pull["title"])).split())
    return _bounded(f"Bring pull request #{pull['number']} to merged: {title}", [str(pull.get("body") or "")])


def goal_of_issue(client: Asks, place: Hosted, number: int, goal: str, trusted: Sequence[str]) -> str:
    """Return the goal that an open issue is, with what those who are listened to said below it."""
    issue = _asked(client, "issues", "issue", number, place)
    if "pull_request" in issue:
        raise UsageError(f"#{number} is a pull request: `claudetm fix-pr {number}` brings it to merged")
    if issue["state"] != "open":
        raise UsageError(f"Issue #{number} of {place.repository} is closed; reopen it, or say the goal yourself")
    title = " ".join(printable(str(issue["title"])).split())
    first = f"{title} (issue #{number})"
    heard = _Listening(client, place, {name.casefold() for name in trusted})
    remarks = client.pages(f"/repos/{place.repository}/issues/{number}/comments")
    said = [f"{r['user']['login']} added:\n{r.get('body') or ''}" for r in remarks if heard(r)]
    return _bounded(f"{goal}\n\n{first}" if goal else first, [str(issue.get("body") or ""), *said])


class _Listening:
    """Says whether a remark's author is listened to: may write to the repository, or is in `reviews.trusted`."""

    def __init__(self, client: Asks, place: Hosted, trusted: set[str]) -> None:
        self._client = client
        self._place = place
        self._trusted = trusted
        self._known: dict[str, bool] = {}

    def __call__(self, remark: Mapping[str, Any]) -> bool:
        user = remark.get("user") or {}
        login = str(user.get("login", ""))
        if {login.casefold(), login.removesuffix("[bot]").casefold()} & self._trusted:
            return True
        if not login or user.get("type") != "User":
            return False
        if login not in self._known:
            self._known[login] = self._may_write(login, str(remark.get("author_association", "")))
        return self._known[login]

    def _may_write(self, login: str, association: str) -> bool:
        try:
            found = self._client.get(f"/repos/{self._place.repository}/collaborators/{login}/permission")
        except GithubRefused:  # a token may not ask that
            return association in {"OWNER", "MEMBER", "COLLABORATOR"}
        return found.get("permission") in {"write", "maintain", "admin"}


def _bounded(first: str, parts: Sequence[str]) -> str:
    """Return a goal of several paragraphs, no longer than one may be."""
    whole = "\n\n".join([first, *(printable(p).strip() for p in parts if p.strip())])
    cut = whole.encode()[: GOAL_BYTES - len("…".encode())].decode(errors="ignore")
    return whole if len(whole.encode()) <= GOAL_BYTES else f"{cut}…"
