"""What tests let go wrong: answers that get lost, servers that fail, limits, readers that are behind.

A fault names what it befalls: "PUT /repos/*/pulls/*/merge" (path within the API, `*` for anything),
"graphql resolveReviewThread" (an operation's name or one of its fields), "git push" (or fetch, refs).
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from fnmatch import fnmatchcase

from github_double.state import State

FOREVER = 1_000_000
_HTML = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


class Lost(Enum):
    """When a connection breaks."""

    BEFORE = "nothing is done"
    AFTER = "it is done, and the answer never arrives"


@dataclass(frozen=True)
class Instead:
    """Another answer in the place of the right one; nothing is done."""

    status: int
    body: str
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Truncated:
    """The answer ends in its middle."""


Effect = Lost | Instead | Truncated


@dataclass
class _Rule:
    what: str
    effect: Effect
    times: int


@dataclass
class _Behind:
    """Reads that are answered from before the first write since the rule was made."""

    what: str
    reads: int
    seen: State | None = None


class Faults:
    """All that is to go wrong, in the order in which it was asked for."""

    def __init__(self) -> None:
        self._rules: list[_Rule] = []
        self._behind: list[_Behind] = []

    def lose_answer(self, what: str, times: int = 1) -> None:
        """Let the connection break after the effect."""
        self._rules.append(_Rule(what, Lost.AFTER, times))

    def lose_request(self, what: str, times: int = 1) -> None:
        """Let the connection break before the effect."""
        self._rules.append(_Rule(what, Lost.BEFORE, times))

    def fail(self, what: str, status: int = 502, times: int = 1) -> None:
        """Answer with a proxy's page, without any effect."""
        self._rules.append(_Rule(what, Instead(status, _HTML, {"content-type": "text/html"}), times))

    def refuse(
        self,
        what: str,
        status: int,
        message: str,
        times: int = 1,
        errors: Sequence[Mapping[str, str]] = (),
        **headers: str,
    ) -> None:
        """Answer with an error in JSON, without any effect; headers' underscores are hyphens."""
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        said = {"message": message, "documentation_url": "https://docs.github.com/rest"}
        body = json.dumps(said | ({"errors": [*errors]} if errors else {}))
        self._rules.append(_Rule(what, Instead(status, body, {"content-type": "application/json"} | told), times))

    def throttle(self, what: str, *, retry_after: int | None = None, status: int = 403, times: int = 1) -> None:
        """Meet the secondary limit, which may say for how long."""
        told = {} if retry_after is None else {"retry_after": str(retry_after)}
        message = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
        self.refuse(what, status, message, times, (), **told)

    def truncate(self, what: str, times: int = 1) -> None:
        """Let the answer end in its middle."""
        self._rules.append(_Rule(what, Truncated(), times))

    def stale(self, what: str, reads: int = 1) -> None:
        """Answer so many reads after the next write as if that had not happened."""
        self._behind.append(_Behind(what, reads))

    def clear(self) -> None:
        """Let all be well again."""
        self._rules.clear()
        self._behind.clear()

    # For the double

    def befalls(self, names: Sequence[str]) -> Effect | None:
        """Return what befalls a request of these names, and count it."""
        for rule in self._rules:
            if rule.times and any(fnmatchcase(name, rule.what) for name in names):
                rule.times -= 1
                return rule.effect
        return None

    def writing(self, state: State) -> None:
        """Hear that something is about to change: readers who are to be behind stay where they are."""
        waiting = [b for b in self._behind if b.seen is None and b.reads]
        if waiting:
            seen = copy.deepcopy(state)
            for behind in waiting:
                behind.seen = seen

    def reading(self, names: Sequence[str], state: State) -> State:
        """Return what a read of these names sees."""
        for behind in self._behind:
            if behind.seen and behind.reads and any(fnmatchcase(name, behind.what) for name in names):
                behind.reads -= 1
                return behind.seen
        return state
