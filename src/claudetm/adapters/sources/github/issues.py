"""Issues, their comments and labels by REST. All blocks; a write is sent once, and looked up where nobody answers.

Raises what the client raises; what is not there any more is None, or nothing to do.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from claudetm.adapters.forge.github.client import GithubClient, GithubRefused, NotFound, Unauthorised
from claudetm.adapters.forge.github.once import Once
from claudetm.adapters.forge.github.reviews import same
from claudetm.adapters.sources.github.claims import Sign, sign_of

WORKING: Final = "claudetm: working"
DONE: Final = "claudetm: done"
FAILED: Final = "claudetm: failed"
LABELS: Final[Mapping[str, tuple[str, str]]] = {
    WORKING: ("fbca04", "claudetm works on it"),
    DONE: ("0e8a16", "claudetm has done it"),
    FAILED: ("d93f0b", "claudetm could not do it"),
}
"""What we put on issues: colours, and what for."""

_CLOSED: Final = """query Closed($owner: String!, $name: String!, $number: Int!) {
  repository(owner: $owner, name: $name) { issue(number: $number) {
    timelineItems(itemTypes: [CLOSED_EVENT], last: 1) {
      nodes { ... on ClosedEvent { actor { login } closer { __typename } } }
    }
  } }
}"""
_UNPROCESSABLE: Final = 422
Comment = Mapping[str, Any]


class Issues:
    """The issues of one repository."""

    def __init__(self, client: GithubClient, repository: str, once: Once) -> None:
        """Take who asks GitHub, the repository's full name, and what looks for writes that nobody answered."""
        self.client = client
        self._at = f"/repos/{repository}"
        self._once = once
        self._there: dict[str, bool] = {}  # labels of ours: whether they can be put on issues

    # reading

    def labelled(self, label: str) -> list[Mapping[str, Any]]:
        """Return the open issues and pull requests with a label, the oldest first. Free where nothing changed."""
        path = f"{self._at}/issues"
        return self.client.pages(path, state="open", labels=label, sort="created", direction="asc")

    def issue(self, number: int) -> Mapping[str, Any] | None:
        """Return an issue as it is now; None where it is gone, or was moved into another repository."""
        try:
            found = dict(self.client.get(f"{self._at}/issues/{number}"))
            return found if self._here(found) else None
        except NotFound:
            return None

    def _here(self, issue: Mapping[str, Any]) -> bool:
        """Whether an issue is of this repository, whatever that is called by now: GitHub leads to where it is."""
        home = str(issue["repository_url"]).casefold()
        return home.endswith(self._at.casefold()) or home == str(self.client.get(self._at)["url"]).casefold()

    def merged(self, number: int) -> bool:
        """Whether a closed issue was closed by a merge or by us, as far as GitHub tells; else a person has."""
        owner, name = self._at.split("/")[2:]
        try:
            data, _ = self.client.graphql(_CLOSED, owner=owner, name=name, number=number)
            (event,) = data["repository"]["issue"]["timelineItems"]["nodes"]
        except Unauthorised:
            raise
        except (GithubRefused, TypeError, ValueError):
            return True
        by, us = str((event["actor"] or {}).get("login") or ""), self.client.login.removesuffix("[bot]")
        return event["closer"] is not None or same(by, us)

    def comments(self, number: int) -> Sequence[Comment]:
        """Return what was said below an issue, the oldest first."""
        return self.client.pages(f"{self._at}/issues/{number}/comments")

    # the comment that is a claim

    def say(self, number: int, sign: Sign, body: str) -> Comment:
        """Write a comment that ends in a sign."""

        def look() -> Comment | None:
            return next((c for c in self.comments(number) if sign_of(str(c.get("body") or "")) == sign), None)

        return self._once.write(
            lambda: self.client.write("POST", f"{self._at}/issues/{number}/comments", {"body": body}), look
        )

    def edit(self, comment: int, sign: Sign, body: str) -> Comment | None:
        """Write a comment anew; None where it is gone."""
        path = f"{self._at}/issues/comments/{comment}"

        def look() -> Comment | None:
            found: Comment = self.client.get(path)
            return found if sign_of(str(found.get("body") or "")) == sign else None

        try:
            told: Comment = self._once.write(lambda: self.client.write("PATCH", path, {"body": body}), look)
        except NotFound:
            return None
        return told

    def delete(self, comment: int) -> None:
        """Delete a comment, unless it is gone."""
        path = f"{self._at}/issues/comments/{comment}"
        self._removed(path, lambda: self._absent(path))

    def _absent(self, path: str) -> bool | None:
        try:
            self.client.get(path)
        except NotFound:
            return True
        return None

    def _removed(self, path: str, look: Callable[[], bool | None]) -> None:
        def send() -> bool:
            self.client.write("DELETE", path)
            return True

        try:
            self._once.write(send, look)
        except NotFound:
            return

    # labels

    def mark(self, number: int, held: Collection[str], label: str) -> None:
        """Let one label of ours stand on an issue; `held` are those on it."""
        if label not in held:
            self.put_on(number, label)
        for other in sorted({*LABELS} & {*held} - {label}):
            self.take_off(number, other)

    def take_off(self, number: int, label: str) -> None:
        """Take a label off an issue, unless it is off."""
        path = f"{self._at}/issues/{number}/labels"
        self._removed(
            f"{path}/{quote(label, safe='')}",
            lambda: None if any(same(held["name"], label) for held in self.client.pages(path)) else True,
        )

    def put_on(self, number: int, label: str) -> None:
        """Put a label of ours on an issue, made where it is missing. Without leave to, the comment alone tells."""
        if not self._known(label):
            return
        try:
            self.add(number, label)
        except NotFound:
            return
        except Unauthorised:
            raise
        except GithubRefused as refused:
            self._unlabelled(label, refused)

    def add(self, number: int, label: str) -> None:
        """Put a label on an issue."""
        path = f"{self._at}/issues/{number}/labels"

        def send() -> bool:
            self.client.write("POST", path, {"labels": [label]})
            return True

        self._once.write(send, lambda: any(same(held["name"], label) for held in self.client.pages(path)) or None)

    def _known(self, label: str) -> bool:
        """Make sure that a label is there, once; return whether it is."""
        if label not in self._there:
            try:
                self._there[label] = self._made(label)
            except Unauthorised:
                raise
            except GithubRefused as refused:
                self._unlabelled(label, refused)
        return self._there[label]

    def _made(self, label: str) -> bool:
        path = f"{self._at}/labels/{quote(label, safe='')}"

        def look() -> bool | None:
            return None if self._absent(path) else True

        def send() -> bool:
            colour, what = LABELS[label]
            self.client.write("POST", f"{self._at}/labels", {"name": label, "color": colour, "description": what})
            return True

        try:
            return look() or self._once.write(send, look)
        except GithubRefused as refused:
            if refused.status == _UNPROCESSABLE and "already_exists" in refused.codes:
                return True
            raise

    def _unlabelled(self, label: str, refused: GithubRefused) -> None:
        self._there[label] = False
        _log.warning("issues are not labelled %s, the comment alone tells: %s", label, refused)


_log: Final = logging.getLogger(__name__)
