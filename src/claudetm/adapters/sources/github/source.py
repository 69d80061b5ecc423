"""The source on GitHub: a label makes an issue a task; one comment of ours is its claim, its progress and its result.

Each call looks before it writes, so it may be made again after a kill. What a person takes back there, by the label
or by closing the issue, is given up; a claim that somebody deletes is written anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from claudetm.adapters.forge.github.client import GithubClient, GithubRefused
from claudetm.adapters.forge.github.once import WAITS, Once
from claudetm.adapters.forge.github.people import People
from claudetm.adapters.forge.github.reviews import same
from claudetm.adapters.sources.github.asking import Asking
from claudetm.adapters.sources.github.claims import BEAT, ENDED, Claim, Sign, State
from claudetm.adapters.sources.github.holding import Beat, Holding
from claudetm.adapters.sources.github.issues import DONE, FAILED, WORKING, Issues
from claudetm.adapters.sources.github.listing import Listing
from claudetm.adapters.sources.github.settings import GithubIssuesSettings
from claudetm.adapters.sources.github.tasks import NAME, Attempt, Tasks, attempt, labels
from claudetm.adapters.sources.github.wording import Harmless, Wording, state_of
from claudetm.ports.clock import Clock
from claudetm.ports.source import Claimed, ClaimOutcome, Gone, Job, Mode, Note, Offer, Result, Taken, slug

SHOWN: Final = 60.0
"""Seconds between two edits within one stage."""


class GithubIssues:
    """Implements ports/source.Source for one repository."""

    def __init__(
        self,
        client: GithubClient,
        repository: str,
        settings: GithubIssuesSettings,
        clock: Clock,
        *,
        harmless: Harmless,
        waits: Sequence[float] = WAITS,
    ) -> None:
        """Take who asks GitHub, the repository's full name, and what makes others' words harmless in ours."""
        self._client = client
        self._settings = settings
        self._clock = clock
        self._me = slug(settings.monitor_id)
        self._asking = Asking(client)
        self._issues = Issues(client, repository, Once(waits))
        people = People(client, repository, lambda: settings.trusted, clock.now)
        self._tasks = Tasks(people, settings.label, settings.mode, settings.skill)
        self._wording = Wording(settings.label, harmless)
        self._holding = Holding(self._issues, self._wording, self._asking, clock, self._me, self._claims_count)
        self._locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._listing = Listing(self._issues, self._tasks, self._holding, settings.label, self._me)
        self._renewed: set[str] = set()  # attempts whose claim somebody has deleted once

    def _claims_count(self, comment: Mapping[str, Any]) -> bool:
        login = str((comment.get("user") or {}).get("login") or "")
        return any(same(login, other) for other in self._settings.accounts) or self._tasks.hears(comment)

    @property
    def name(self) -> str:
        """Return `github`."""
        return NAME

    # listing

    async def list(self) -> Sequence[Offer]:
        """Return the open issues with the label, the oldest first; one request where nothing changed."""
        return await self._asking.read(self._listing.offers)

    # claims

    async def claim(self, job: str) -> ClaimOutcome:
        """Claim an issue by a comment, and learn five seconds later whose came first."""
        if (named := attempt(job)) is None:
            return Gone("no issue has that name")
        async with self._locks[named.number]:
            try:
                return await self._claim(named)
            except GithubRefused as refused:
                self._listing.shun(named.number, str(refused))
                return Gone(str(refused))

    async def _claim(self, named: Attempt) -> ClaimOutcome:
        issue = await self._asking.do(self._issues.issue, named.number)
        if issue is None:
            return Gone("the issue is not there any more")
        claims = await self._holding.look(named.number)
        if claims.turn != named.turn:
            return Gone(f"that attempt has ended; the label {self._settings.label}, put on it anew, makes another")
        if why := await self._unfit(issue, named, claims.of(self._me)):
            return Gone(why)
        taken = await self._holding.take(named, claims)
        if isinstance(taken, Taken):
            return taken
        await self._asking.do(self._issues.mark, named.number, labels(issue), WORKING)
        return await self._asking.do(self._claimed, issue, named)

    async def _taken_back(self, issue: Mapping[str, Any], mode: Mode, *, linked: bool) -> str:
        """Return how a person has taken an issue back, or "". The merge of its last pull request closes it, too."""
        if not (over := self._tasks.over(issue)):
            return ""
        if mode is Mode.GOAL and linked and issue["state"] != "open" and issue.get("state_reason") == "completed":
            merged = await self._asking.do(self._issues.merged, int(issue["number"]))
            over = "" if merged else over
        return f"a person has taken it back: {over}" if over else ""

    async def _unfit(self, issue: Mapping[str, Any], named: Attempt, mine: Sequence[Claim]) -> str:
        """Return why an issue is not to be worked, or "". What a person took back while we were down is given up."""
        linked = any(c.sign.linked for c in mine)
        if mine and (why := await self._taken_back(issue, self._tasks.mode(issue), linked=linked)):
            await self._give(named, labels(issue), why)
            return why
        if mine:
            return ""
        return self._tasks.over(issue) or await self._asking.do(self._tasks.why_not, issue)

    def _claimed(self, issue: Mapping[str, Any], named: Attempt) -> Claimed:
        comments = self._issues.comments(named.number)
        deaths = len(self._holding.of(comments).dead(self._me))
        return Claimed(self._tasks.job(issue, comments, named), deaths)

    async def keep(self, job: Job) -> bool:
        """Show a sign of life every five minutes; False where another has the issue, or a person took it back."""
        if (named := attempt(job.id)) is None:
            return False
        async with self._locks[named.number]:
            try:
                return await self._keep(named, job)
            except GithubRefused as refused:
                _log.warning("issue %s is let go: %s", named.number, refused)
                return False

    async def _keep(self, named: Attempt, job: Job) -> bool:
        held = await self._holding.found(named)
        if held is None:
            return False
        if not held.due(self._clock.now(), BEAT) and named.number not in self._listing.missing:
            return True
        issue = await self._asking.do(self._issues.issue, named.number)
        if issue is None:
            self._holding.held.pop(named.id, None)
            return False
        if why := await self._taken_back(issue, job.mode, linked=held.sign.linked or bool(held.link)):
            await self._give(named, labels(issue), why)
            return False
        beat = await self._holding.beat(named, held, look=True) if held.comment else Beat.VANISHED
        return beat is Beat.KEPT or (beat is Beat.VANISHED and await self._renew(named, issue))

    async def _renew(self, named: Attempt, issue: Mapping[str, Any]) -> bool:
        """Claim an issue again whose claim somebody deleted, once, unless another was faster."""
        if named.id in self._renewed:
            self._renewed.discard(named.id)
            await self._give(named, labels(issue), _UNWANTED)
            self._listing.shun(named.number, _UNWANTED)
            return False
        self._renewed.add(named.id)
        claims = await self._holding.look(named.number)
        return claims.turn == named.turn and not isinstance(await self._holding.take(named, claims), Taken)

    # progress

    async def progress(self, job: Job, note: Note) -> None:
        """Edit the claim: at once where the stage is another, else once a minute."""
        if (named := attempt(job.id)) is None:
            return
        async with self._locks[named.number]:
            held = self._holding.held.get(named.id)
            if held is None:
                return  # not ours any more: `keep` tells, and writes anew what was deleted
            held.note, held.link = note, note.link or held.link
            if note.stage != held.stage or held.due(self._clock.now(), SHOWN):
                with self._passed_over(named):
                    await self._holding.beat(named, held)

    # the end

    async def finish(self, job: Job, result: Result) -> None:
        """Write the result where the claim stood. The label goes first, so that nobody takes the issue again."""
        if (named := attempt(job.id)) is None:
            return
        async with self._locks[named.number]:
            with self._passed_over(named):
                issue = await self._asking.do(self._issues.issue, named.number)
                if issue is not None:
                    await self._finish(named, labels(issue), result)
                else:
                    _log.warning("issue %s is gone, so its result is not told there", named.number)
            self._holding.held.pop(named.id, None)

    async def _finish(self, named: Attempt, held: frozenset[str], result: Result) -> None:
        claims = await self._holding.look(named.number)
        of_turn = [c for c in claims.claims if c.sign.turn == named.turn]
        mine = [c for c in of_turn if c.of(self._me) and c.sign.state is not State.GIVEN]
        if not any(c.sign.state in ENDED for c in of_turn):
            if claims.others(self._me) and not any(c.alive(claims.now) for c in mine):
                _log.warning("issue %s is another monitor's by now, so its result is not told there", named.number)
                return
            if self._settings.label.casefold() in held:
                await self._asking.do(self._issues.take_off, named.number, self._settings.label)
            linked = any(c.sign.linked for c in mine)
            sign = Sign(self._me, named.turn, state_of(result), int(claims.now), linked)
            comment = mine[-1].id if mine else 0
            await self._holding.write(named.number, comment, sign, self._wording.ended(sign, result))
            await self._holding.clear(claims, comment)
        elif WORKING not in held or claims.alive:  # all is told, or a later attempt is under way
            return
        label = DONE if state_of(result) is State.DONE else FAILED
        await self._asking.do(self._issues.mark, named.number, held, label)

    async def give_back(self, job: Job, why: str) -> None:
        """Say that nobody has the issue any more; its label stays, so anybody may take it."""
        if (named := attempt(job.id)) is None:
            return
        async with self._locks[named.number]:
            with self._passed_over(named):
                issue = await self._asking.do(self._issues.issue, named.number)
                if issue is not None:
                    await self._give(named, labels(issue), why)

    async def reopen(self, job: str) -> None:
        """Let an attempt that has ended be one that was given back, and put the label on its issue again."""
        if (named := attempt(job)) is None:
            return
        async with self._locks[named.number]:
            with self._passed_over(named):
                issue = await self._asking.do(self._issues.issue, named.number)
                if issue is None or issue["state"] != "open":
                    return
                await self._holding.reopen(named)
                if self._settings.label.casefold() not in labels(issue):
                    await self._asking.do(self._issues.add, named.number, self._settings.label)
                for label in sorted({DONE, FAILED} & labels(issue)):
                    await self._asking.do(self._issues.take_off, named.number, label)

    @contextmanager
    def _passed_over(self, named: Attempt) -> Iterator[None]:
        """Go on where GitHub refuses something of one issue: its conversation is locked, say."""
        try:
            yield
        except GithubRefused as refused:
            _log.warning("issue %s is told nothing more: %s", named.number, refused)

    async def _give(self, named: Attempt, held: frozenset[str], why: str) -> None:
        if await self._holding.give(named, why) and WORKING in held:
            await self._asking.do(self._issues.take_off, named.number, WORKING)

    # waiting

    async def hint(self) -> None:
        """Never return: a sweep costs nothing where nothing changed, so it is often."""
        await asyncio.Event().wait()

    async def close(self) -> None:
        """Let go of connections."""
        await asyncio.to_thread(self._client.close)


_UNWANTED: Final = "a person has taken it back: its claim was deleted twice"
_log: Final = logging.getLogger(__name__)
