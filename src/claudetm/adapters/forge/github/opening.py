"""How pull requests are found and opened on GitHub: by their head branch, one open one each. All of it blocks."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from claudetm.adapters.forge.github.client import GithubClient, GithubRefused, Unauthorised
from claudetm.adapters.forge.github.facts import pushed_to
from claudetm.adapters.forge.github.once import Once
from claudetm.adapters.forge.github.place import Hosted
from claudetm.adapters.forge.github.reviews import same
from claudetm.errors import ForgeBusy, ForgeError
from claudetm.ports.forge import NewPullRequest

_UNSEEN: Final = 60.0  # seconds for which a push may not be seen
_SOON: Final = 10.0
_UNSEEN_FIELDS: Final = {("head", "invalid"), ("head_sha", "missing_field"), ("base_sha", "missing_field")}
_TITLE: Final = 256  # characters that GitHub takes
_BODY: Final = 65_536


class GithubOpening:
    """The pull requests of one repository into one branch."""

    def __init__(self, client: GithubClient, hosted: Hosted, target: str, once: Once) -> None:
        """Take what asks GitHub, where, and the branch that is merged into."""
        self._client = client
        self._hosted = hosted
        self._at = f"/repos/{hosted.repository}"
        self._target = target
        self._once = once
        self._unseen_since: dict[str, float] = {}

    @property
    def upstream(self) -> str:
        """What the repository of the pull requests is called by now."""
        return self._called(self._hosted.repository)

    @property
    def source(self) -> str:
        """What the repository that is pushed to is called by now."""
        return self._called(pushed_to(self._hosted))

    def _called(self, name: str) -> str:
        """Return a repository's name as it is since it was renamed or given to somebody else."""
        try:
            return str(self._client.get(f"/repos/{name}")["full_name"])
        except Unauthorised:
            raise
        except GithubRefused:
            return name

    def newest(self, branch: str) -> int:
        """Return the number of a branch's newest pull request into the target, or 0."""
        number = self._newest(branch, self._hosted.head_owner)
        if not number and not same(owner := self.source.partition("/")[0], self._hosted.head_owner):
            number = self._newest(branch, owner)
        return number

    def _newest(self, branch: str, owner: str) -> int:
        head = f"{owner}:{branch}"
        found = self._client.pages(f"{self._at}/pulls", head=head, state="all", sort="created", direction="desc")
        # a `head` that GitHub does not understand lists every pull request
        found = [p for p in found if str(p["head"]["label"]).casefold() == head.casefold()]
        ours = [p for p in found if p["base"]["ref"] == self._target]
        elsewhere = next((p for p in found if p["state"] == "open" and p not in ours), None)
        if elsewhere and not any(p["state"] == "open" for p in ours):
            raise ForgeError(
                f"{elsewhere['html_url']} merges {branch} into {elsewhere['base']['ref']}, not into {self._target}:"
                " close it, or change its base branch, then claudetm resume"
            )
        return max((int(p["number"]) for p in ours), default=0)

    def open(self, new: NewPullRequest, before: int) -> int:
        """Send it, and return its number; `before` is the newest that is not open any more."""
        head = f"{self.source.partition('/')[0]}:{new.branch}" if self._hosted.forked else new.branch
        about = {"title": new.title[:_TITLE], "body": new.body[:_BODY]}
        asked: dict[str, Any] = {**about, "head": head, "base": self._target}
        if self._hosted.forked:
            asked["maintainer_can_modify"] = True

        def look() -> int | None:
            number = self.newest(new.branch)
            return number if number > before else None

        def send() -> int:
            return int(self._client.write("POST", f"{self._at}/pulls", {**asked, "draft": False})["number"])

        try:
            return self._once.write(send, look)
        except GithubRefused as refused:
            if not (_exists(refused) or _unseen(refused)):
                raise
            found = self._once.found(look)
            if found is not None:
                return found
            if not _unseen(refused):
                raise
            return self._open_later(new, send, look)

    def _open_later(self, new: NewPullRequest, send: Callable[[], int], look: Callable[[], int | None]) -> int:
        """Send once more what was refused as the push was not seen yet; that was an answer, so nothing is there."""
        since = self._unseen_since.setdefault(new.branch, self._once.clock())
        try:
            number = self._once.write(send, look)
        except GithubRefused as refused:
            if not _unseen(refused):
                raise
            if self._once.clock() - since < _UNSEEN:
                raise ForgeBusy(
                    f"GitHub does not see the push of {new.branch} yet.", time.time() + _SOON
                ) from refused
            del self._unseen_since[new.branch]
            if _empty(refused):
                raise ForgeError(
                    f"GitHub sees no commit in {new.branch} that {self._target} lacks: look at both in"
                    f" {self._hosted.push}, then claudetm resume"
                ) from refused
            raise ForgeError(
                f"GitHub does not see {new.branch} in {self._hosted.push}, where it was pushed: check that this is"
                f" {self._hosted.repository} or a fork of it, then claudetm resume"
            ) from refused
        del self._unseen_since[new.branch]
        return number


def _exists(refused: GithubRefused) -> bool:
    return "already exists" in str(refused)


def _unseen(refused: GithubRefused) -> bool:
    """Whether it was refused as GitHub does not see the branch, or not what was pushed, which it may not yet."""
    errors = [(e.get("field"), e.get("code")) for e in refused.errors if isinstance(e, Mapping)]
    return _empty(refused) or not {*errors}.isdisjoint(_UNSEEN_FIELDS)


def _empty(refused: GithubRefused) -> bool:
    return "No commits between" in str(refused)
