"""What the open issues with the label offer: which can be taken now, and why not the others. All of it blocks.

What GitHub refused of one issue is neither trouble with the source nor tried at each look: the issue is passed over
until something changes on it, an hour at most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from claudetm.adapters.forge.github.client import GithubRefused, Unauthorised
from claudetm.adapters.forge.github.people import HOUR
from claudetm.adapters.sources.github.claims import Claim, Standing, moment
from claudetm.adapters.sources.github.holding import Holding, who
from claudetm.adapters.sources.github.issues import Issues
from claudetm.adapters.sources.github.tasks import Attempt, Tasks, attempt, priority, shown_title
from claudetm.ports.source import Offer

SETTLED: Final = 60.0
"""Seconds after an end for which GitHub may list the label that was taken off."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """The claims on an issue as they were read, and of which state of it that was."""

    of: tuple[str, int]
    claims: tuple[Claim, ...]


class Listing:
    """What one monitor sees of a repository's issues. `missing` are those it holds that the last look lacks."""

    def __init__(self, issues: Issues, tasks: Tasks, holding: Holding, label: str, monitor: str) -> None:
        """Take the label that makes an issue a task, and the monitor's id."""
        self._issues = issues
        self._tasks = tasks
        self._holding = holding
        self._label = label
        self._me = monitor
        self._seen: dict[int, _Seen] = {}
        self._shunned: dict[int, tuple[float, str]] = {}  # since when, by GitHub's clock, and why
        self.missing: set[int] = set()

    def offers(self) -> Sequence[Offer]:
        """Return the open issues with the label, the oldest first; one request where nothing changed."""
        found = self._issues.labelled(self._label)
        numbers = {int(issue["number"]) for issue in found}
        held = {named.number for id_ in [*self._holding.held] if (named := attempt(id_))}
        self.missing = held - numbers
        self._seen = {n: seen for n, seen in self._seen.items() if n in numbers}
        self._shunned = {n: shunned for n, shunned in self._shunned.items() if n in numbers}
        return [offer for issue in found if (offer := self._offer(issue)) is not None]

    def shun(self, number: int, why: str) -> None:
        """Pass an issue over, until something changes on it."""
        self._shunned[number] = (self._issues.client.moment, why)

    def _offer(self, issue: Mapping[str, Any]) -> Offer | None:
        """Return what an issue offers; None where it has just ended, and its label may be an old one."""
        number = int(issue["number"])
        why = self._tasks.why_not(issue) or self._passed_over(issue)
        claims = Standing((), 0.0)
        if not why:
            try:
                claims = self._claims_on(issue)
            except Unauthorised:
                raise
            except GithubRefused as refused:  # it is gone since it was listed, say
                why = str(refused)
        if claims.now - claims.ended < SETTLED:
            return None
        if not why and (others := claims.others(self._me)):
            why = f"{who(others[0])} works on it"
        named = Attempt(number, claims.turn)
        created = moment(str(issue["created_at"]))
        return Offer(named.id, shown_title(issue), created, priority(issue), why_not=why)

    def _passed_over(self, issue: Mapping[str, Any]) -> str:
        since, why = self._shunned.get(int(issue["number"]), (float("-inf"), ""))
        same = moment(str(issue["updated_at"])) <= since and self._issues.client.moment - since < HOUR
        return why if same else ""

    def _claims_on(self, issue: Mapping[str, Any]) -> Standing:
        """Return the claims on a listed issue; read only where it changed, or where one that was seen has run out."""
        number, of = int(issue["number"]), (str(issue["updated_at"]), int(issue["comments"]))
        if not of[1]:
            return Standing((), self._issues.client.moment)
        seen = self._seen.get(number)
        if seen is None or seen.of != of or Standing(seen.claims, self._issues.client.moment).dead(self._me):
            seen = self._seen[number] = _Seen(of, self._holding.standing(number).claims)
        return Standing(seen.claims, self._issues.client.moment)
