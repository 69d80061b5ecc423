"""Reading pull requests from GitHub: all of a run's with one request, and in full only those that have changed.

What could not be read is never taken for absent: it is asked for elsewhere, told apart, or the reading fails.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, TypeVar

from claudetm.adapters.forge.github import query
from claudetm.adapters.forge.github.checks import (
    Checks,
    Reported,
    annotations_by_rest,
    by_rest,
    contexts_by_rules,
    from_context,
    judged,
    missing,
    said_of_itself,
)
from claudetm.adapters.forge.github.fields import Listen, decided, fingerprint, pull, rebased, retold
from claudetm.adapters.forge.github.people import People
from claudetm.adapters.forge.github.place import Hosted
from claudetm.adapters.forge.github.pull import Pull
from claudetm.adapters.forge.github.refusals import GithubRefused, NotFound, TooMuch, Unauthorised
from claudetm.adapters.forge.github.reviews import same, talk
from claudetm.errors import ForgeBusy, ForgeError
from claudetm.workflow.pull_request import CheckState, PullRequestState

OLDEST: Final = 600.0
"""Seconds after which a pull request is read in full though nothing says that it changed, and rules are read anew."""

UNSHOWN: Final = 300.0
"""Seconds for which a number that REST has told may be unknown to GraphQL."""

_SOON: Final = 10.0
_AGAIN: Final = 30.0  # seconds until an answer with a hole in it is asked for again
_SMALL: Final = 3600.0  # seconds for which questions stay as small as GitHub could answer
_YOUNG: Final = 300.0  # seconds for which a head's checks may begin
_BY_REST: Final = 5  # pull requests whose checks are asked for by REST at one look, beside those of new heads
_MOST_IDS: Final = 100
_ROLLUP: Final = frozenset({"rollup", "counts", "checks"})
_NEEDED: Final = frozenset({"reviewThreads", "reviews", "comments", "commits", "talked", "remarked", "judged"})
_SHUT: Final = frozenset({"FORBIDDEN", "INSUFFICIENT_SCOPES"})
_BROKE_OFF: Final = "RESOURCE_LIMITS_EXCEEDED"
_ACCOUNTS: Final = frozenset({"author", "user", "resolvedBy"})
"""An account that is not to be seen is nobody's; who is nobody is not listened to."""

_Ids = tuple[int, ...]
_T = TypeVar("_T")


class Unshown(ForgeBusy):
    """A pull request is there, as was heard elsewhere, and looks do not show it yet."""

    alone = True


class Partial(ForgeBusy):
    """GitHub told only a part of one pull request; of the others nothing is wrong."""

    alone = True


class Client(Protocol):
    """The reading half of `GithubClient`."""

    def get(self, path: str, **params: Any) -> Any:
        """Return what a path holds."""
        ...

    def pages(self, path: str, key: str = "", **params: Any) -> list[Any]:
        """Return a whole list."""
        ...

    def graphql(self, text: str, /, **variables: Any) -> tuple[Any, list[Any]]:
        """Return the data, and what went wrong with parts of it."""
        ...

    @property
    def login(self) -> str:
        """Whose token it is."""
        ...


@dataclass(frozen=True, slots=True)
class _Told:
    """A pull request's fields with all pages, what stands around it, and whether its checks had to come by REST."""

    data: Mapping[str, Any]
    repository: Mapping[str, Any]
    refused: bool


@dataclass(frozen=True, slots=True)
class _Held:
    """What was read last, when, and how the pull request looked then."""

    told: _Told
    pull: Pull
    at: float
    mark: tuple[Any, ...]
    decided: str  # how GitHub judged it last, "" where it has not


@dataclass(frozen=True, slots=True)
class _ByRest:
    """What REST told of the checks of a head: since when the head is known, and when it was asked."""

    head: str
    since: float
    at: float
    reported: Sequence[Reported]
    unread: str


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a question told: the repository, whose checks were refused, and whose answer has a hole."""

    repository: dict[str, Any]
    refused: set[int]
    holes: dict[int, ForgeBusy]


class _Portion:
    """How many pull requests one question is about: fewer for a while, where GitHub came to no answer."""

    def __init__(self, most: int, clock: Callable[[], float]) -> None:
        self._most = most
        self._clock = clock
        self._small = most, float("-inf")

    @property
    def most(self) -> int:
        size, until = self._small
        return size if self._clock() < until else self._most

    def of(
        self, numbers: Sequence[int], ask: Callable[[Sequence[int]], _Answer]
    ) -> Iterator[tuple[Sequence[int], _Answer]]:
        """Ask about all of them, a portion at a time.

        One that cannot even be asked about alone, as others can, is a hole. Raises TooMuch where that is so of all.
        """
        left, size, answered = list(numbers), self.most, 0
        alone: dict[int, ForgeBusy] = {}
        while left:
            some = left[:size]
            try:
                answer = ask(some)
            except TooMuch as error:
                if len(some) > 1:
                    size = len(some) // 2
                elif answered or (not alone and len(left) > 1):
                    alone[left.pop(0)] = error
                else:
                    raise
                continue
            if size < self.most:  # not before: where GitHub is down, no question is small enough
                self._small = size, self._clock() + _SMALL
            left, answered = left[len(some) :], answered + 1
            yield some, answer
        if alone:
            yield [*alone], _Answer({}, set(), alone)


class Reading:
    """The pull requests of one repository, as they were read last. Every method blocks; threads take turns."""

    def __init__(
        self,
        client: Client,
        hosted: Hosted,
        target: str,
        trusted: Callable[[], Sequence[str]],
        author_email: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take where to ask, the run's target branch, whom `reviews.trusted` names now, and the run's own address."""
        self._client = client
        self._hosted = hosted
        self._target = target
        self._clock = clock
        self._people = People(client, hosted.repository, trusted, clock)
        self._listen = Listen(self._people.hears, author_email)
        self._held: dict[int, _Held] = {}
        self._rules: dict[str, tuple[float, tuple[str, ...]]] = {}
        self._expected: dict[int, float] = {}  # number -> when it was heard of elsewhere
        self._in_full = _Portion(query.BATCH, clock)
        self._lightly = _Portion(query.MANY, clock)
        self._lacking: dict[int, ForgeBusy] = {}  # what could not be read at this look
        self._rest: dict[int, _ByRest] = {}
        self._asked_now: set[int] = set()  # of whom REST was asked at this look
        self._said: dict[int, str] = {}  # what failed check runs say of themselves; it does not change
        self._lock = threading.RLock()

    # pull requests

    def pulls(self, numbers: Sequence[int]) -> dict[int, Pull]:
        """Return pull requests as they are: one request where nothing changed, one more for what did.

        One of which GitHub tells only a part is left out; where that is so of all, ForgeBusy is raised. ForgeError
        for a number that is none.
        """
        wanted = list(dict.fromkeys(numbers))
        with self._lock:
            self._lacking.clear()
            self._asked_now.clear()
            due = [n for n in wanted if n not in self._held]
            known = [n for n in wanted if n in self._held]
            due += self._changed(known)
            due += self._aged([n for n in known if n not in due], len(due))
            try:
                self._read(due)
            except TooMuch as error:
                if {*known} <= {*due}:
                    raise
                self._lacking |= dict.fromkeys(due, error)  # of the others GitHub has just told
            for number in self._restless(wanted, {*due}):
                held = self._held[number]
                self._held[number] = replace(held, pull=self._made(held.told, anew=True))
            found = {n: self._held[n].pull for n in wanted if n not in self._lacking}
            for hole in self._lacking.values():
                if not found:
                    raise hole
                _log.warning("%s", hole)
            return found

    def pull(self, number: int, fresh: bool = True) -> Pull:
        """Return one pull request: read in full now, or, where that need not be, as `pulls` does."""
        with self._lock:
            if not fresh:
                return self.pulls([number])[number]
            self._lacking.clear()
            self._read([number], anew=True)
            if number in self._lacking:
                raise self._lacking[number]
            return self._held[number].pull

    def expect(self, number: int) -> None:
        """Know that there is one of this number: where a look does not find it, it is not shown yet."""
        with self._lock:
            self._expected[number] = self._clock()

    def forget(self, number: int) -> None:
        """Read it in full at the next look, whatever tells that nothing has changed."""
        with self._lock:
            self._held.pop(number, None)
            self._rest.pop(number, None)

    def find(self, branch: str) -> list[int]:
        """Return the numbers of a branch's pull requests in any state, the newest first."""
        label = f"{self._hosted.head_owner or self._hosted.owner}:{branch}"
        found = self._client.pages(
            f"/repos/{self._hosted.repository}/pulls", head=label, state="all", sort="created", direction="desc"
        )
        # a `head` that GitHub does not understand lists every pull request
        mine = [p["number"] for p in found if same(p["head"]["label"] or "", label)]
        return sorted(mine, reverse=True)

    # what has changed

    def _changed(self, known: Sequence[int]) -> list[int]:
        """Return those that must be read in full; of the others what their base decides is taken over."""
        due: list[int] = []
        for some, answer in self._lightly.of(known, lambda numbers: self._asked(query.light(numbers), numbers)):
            self._lacking |= answer.holes
            told = {n: answer.repository[query.alias(n)] for n in some if n not in answer.holes}
            due += [n for n, now in told.items() if self._moved(n, now, n in answer.refused)]
        return due

    def _moved(self, number: int, now: Mapping[str, Any], refused: bool) -> bool:
        """Whether it changed; where it did not, what its base decides is taken over."""
        held, status = self._held[number], decided(now)
        moved = fingerprint(now) != held.mark or (held.decided and status and held.decided != status)
        if moved or held.pull.goes_on or refused != held.told.refused:
            return True
        told, status = replace(held.told, data=rebased(held.told.data, now)), status or held.decided
        self._held[number] = replace(held, told=told, pull=retold(held.pull, now), decided=status)
        return False

    def _aged(self, still: Sequence[int], due: int) -> list[int]:
        """Return those that were read too long ago, the oldest first: as many as cost no further request."""
        most = self._in_full.most
        room = most - due % most if due % most or not due else 0
        old = [n for n in still if self._clock() - self._held[n].at >= OLDEST and n not in self._lacking]
        return sorted(old, key=lambda n: self._held[n].at)[:room]

    def _restless(self, numbers: Iterable[int], changed: Collection[int]) -> list[int]:
        """Return those whose checks are to be asked for by REST again: nothing else tells that they changed.

        What changed otherwise, is pending, or may only begin, at each look; the rest as often as all is read anew.
        """
        now = self._clock()

        def waits(number: int, known: _ByRest) -> bool:
            pending = any(c.state is CheckState.PENDING for c in self._held[number].pull.checks)
            return number in changed or pending or now - known.since < _YOUNG or now - known.at >= OLDEST

        known = {n: self._rest[n] for n in {*numbers} - {*self._lacking} - self._asked_now if n in self._rest}
        for number in {*changed} & {*known}:
            self._rest[number] = known[number] = replace(known[number], at=float("-inf"))
        asked = [n for n, k in known.items() if self._held[n].told.refused and waits(n, k)]
        return sorted(asked, key=lambda n: known[n].at)[:_BY_REST]

    # reading in full

    def _read(self, numbers: Sequence[int], *, anew: bool = False) -> None:
        at = self._clock()
        for some, answer in self._in_full.of(numbers, lambda portion: self._asked(query.full(portion), portion)):
            self._lacking |= answer.holes
            told = {}
            for number in (n for n in some if n not in answer.holes):
                data = answer.repository[query.alias(number)]
                mark = fingerprint(data)
                try:
                    refused = number in answer.refused or not self._complete(number, data)
                except (Partial, TooMuch) as hole:
                    self._lacking[number] = hole
                else:
                    told[number] = _Told(data, answer.repository, refused), mark
            self._inquire([r for t, _ in told.values() for r in self._reported(t)])
            for number, (one, mark) in told.items():
                self._held[number] = _Held(one, self._made(one, anew=anew), at, mark, decided(one.data))

    def _complete(self, number: int, data: dict[str, Any]) -> bool:
        """Read all further pages of a pull request's lists; False where the checks' are refused."""

        def page(part: str) -> Callable[[str], Any]:
            def ask(after: str) -> Any:
                return self._page(query.more(number, part), number, after)[0][part]

            return ask

        for part in query.PARTS:
            _follow(data[part], page(part))
        for thread in data["reviewThreads"]["nodes"]:
            _follow(thread["comments"], self._more_remarks(number, thread["id"]))
        checks = data["checks"]
        while checks and checks["contexts"]["pageInfo"]["hasNextPage"]:
            after = checks["contexts"]["pageInfo"]["endCursor"]
            more, refused = self._page(query.more_checks(number), number, after)
            if refused or not more["checks"]:
                return False
            _add(checks["contexts"], more["checks"]["contexts"])
        return True

    def _page(self, text: str, number: int, after: str) -> tuple[Any, bool]:
        answer = self._asked(text, [number], after=after)
        if number in answer.holes:
            raise answer.holes[number]
        return answer.repository[query.alias(number)], number in answer.refused

    def _more_remarks(self, number: int, thread: str) -> Callable[[str], Any]:
        def ask(after: str) -> Any:
            data, errors = self._client.graphql(query.MORE_REMARKS, id=thread, after=after)
            if not data.get("node") or any(_path(e)[-1:] not in [[a] for a in _ACCOUNTS] for e in errors):
                raise self._hole(number, errors)
            return data["node"]["comments"]

        return ask

    def _made(self, told: _Told, *, anew: bool = False) -> Pull:
        """Return the pull request that fields come to; of one whose checks are refused, REST is asked for them.

        Once for each head, unless `anew`.
        """
        data, required = told.data, self._required(told.data)
        reported, unread = self._reported(told), ""
        if told.refused and data["state"] == "OPEN":
            known = self._by_rest(data["number"], data["headRefOid"], anew=anew)
            reported, unread = list(known.reported), known.unread
        checks = judged(reported, missing(required, data["mergeStateStatus"], unread), self._said)
        said = talk(data, self._client.login, self._people.hears)
        made = pull(data, told.repository, checks, said, self._listen)
        return replace(made, unread=unread)

    # checks

    def _by_rest(self, number: int, head: str, *, anew: bool) -> _ByRest:
        known, now = self._rest.get(number), self._clock()
        if known is None or known.head != head or anew:
            since = known.since if known and known.head == head else now
            reported, unread = by_rest(self._client, self._hosted.repository, head)
            self._inquire(reported)
            known = self._rest[number] = _ByRest(head, since, now, reported, unread)
            self._asked_now.add(number)
        return known

    @staticmethod
    def _reported(told: _Told) -> list[Reported]:
        if told.refused or not told.data["checks"]:
            return []
        return [from_context(node) for node in told.data["checks"]["contexts"]["nodes"]]

    def _required(self, data: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the checks that rules of the base require; what protection does not tell, rulesets may."""
        if PullRequestState(data["state"].lower()) is not PullRequestState.OPEN:
            return ()
        rule = (data["baseRef"] or {}).get("refUpdateRule") or {}
        listed = [c for c in rule.get("requiredStatusCheckContexts") or () if c]
        return tuple(dict.fromkeys([*listed, *self._by_rules(data["baseRefName"])]))

    def _by_rules(self, branch: str) -> tuple[str, ...]:
        asked, contexts = self._rules.get(branch, (float("-inf"), ()))
        if self._clock() - asked >= OLDEST:
            contexts = contexts_by_rules(self._client, self._hosted.repository, branch)
            self._rules[branch] = self._clock(), contexts
        return contexts

    def _inquire(self, reported: Iterable[Reported]) -> None:
        """Learn what failed check runs say of themselves, where only that tells whether their runner was lost."""
        obscure = {r.id: r for r in reported if r.obscure and r.id not in self._said}
        nodes = {r.node: r.id for r in obscure.values() if r.node}
        for ids in _batched(list(nodes), _MOST_IDS):
            for node in self._failed_runs(ids):
                self._said[nodes[node["id"]]] = said_of_itself(node)
        for run in obscure.values():
            if not run.node:
                self._said[run.id] = annotations_by_rest(self._client, self._hosted.repository, run.id)

    def _failed_runs(self, ids: Sequence[str]) -> list[Any]:
        try:
            data, _ = self._client.graphql(query.FAILED_RUNS, ids=list(ids))
        except Unauthorised:
            raise
        except GithubRefused:
            return []
        return [node for node in data["nodes"] if node]

    def base_checks(self, commit: str, names: Collection[str] = ()) -> dict[str, tuple[CheckState, _Ids]] | None:
        """Return how the checks of a commit by itself came out, with the check runs' ids of the red ones.

        None while one is pending, of those that are named if any are; empty where nothing reports there.
        """
        with self._lock:
            reported = self._of_commit(commit)
            found: Checks = judged(reported, (), self._said)
        states = {c.name: c.state for c in found.checks if not names or c.name in names}
        if CheckState.PENDING in states.values():
            return None
        return {name: (state, found.failed_jobs.get(name, ())) for name, state in states.items()}

    def _of_commit(self, commit: str) -> list[Reported]:
        nodes: list[Any] = []
        after = None
        while True:
            data, errors = self._client.graphql(query.COMMIT_CHECKS, **self._where, commit=commit, after=after)
            if errors:
                return by_rest(self._client, self._hosted.repository, commit)[0]
            rollup = ((data["repository"] or {}).get("object") or {}).get("checks")
            if not rollup:
                return []
            nodes += rollup["contexts"]["nodes"]
            after = rollup["contexts"]["pageInfo"]["endCursor"]
            if not rollup["contexts"]["pageInfo"]["hasNextPage"]:
                return [from_context(node) for node in nodes]

    # asking

    @property
    def _where(self) -> dict[str, str]:
        return {"owner": self._hosted.owner, "name": self._hosted.name}

    def _asked(self, text: str, numbers: Sequence[int], **more: str) -> _Answer:
        """Return what a query told of the repository, whose checks it was refused, and whose answer has a hole.

        Raises TooMuch where GitHub broke off over several.
        """
        data, errors = self._client.graphql(text, **self._where, **more)
        repository = data.get("repository")
        if not repository:
            raise ForgeError(
                f"{self._hosted.repository} is not there, or not for this token: look at the remote's address and "
                "at what the token may read, then claudetm resume"
            )
        named = {query.alias(n): n for n in numbers}
        refused, holes = set[int](), dict[int, ForgeBusy]()
        if len(numbers) > 1 and any(map(_broke_off, errors)):
            raise TooMuch(str(self._hole(numbers[0], errors)), self._clock() + _AGAIN)
        for error in errors:
            path = _path(error)
            number = named.get(path[1]) if len(path) > 1 else None
            if number is not None and len(path) > 2 and path[2] in _ROLLUP:  # noqa: PLR2004 - repository, pull, field
                refused.add(number)
            elif number is None or len(path) == 2 or (path[2] in _NEEDED and path[-1] not in _ACCOUNTS):  # noqa: PLR2004
                why = self._unreadable(number or numbers[0], error, errors)
                if (number is None and len(numbers) > 1) or not isinstance(why, ForgeBusy):
                    raise why
                holes.setdefault(number or numbers[0], why)
        for name, number in named.items():
            if repository.get(name) is None:
                holes.setdefault(number, self._hole(number, errors))
        return _Answer(repository, refused, holes)

    def _unreadable(self, number: int, error: Any, errors: Sequence[Any]) -> ForgeError:
        """Return the error for a hole: waiting mends none that GitHub made on purpose."""
        kind, why = (error.get("type"), error.get("message")) if isinstance(error, Mapping) else ("", "")
        if kind == "NOT_FOUND" and self._clock() - self._expected.get(number, float("-inf")) < UNSHOWN:
            return Unshown(f"GitHub does not show pull request #{number} yet.", self._clock() + _SOON)
        if kind == "NOT_FOUND":
            return NotFound(f"There is no pull request #{number} in {self._hosted.repository}.", 404, str(why or ""))
        if kind in _SHUT:
            return ForgeError(
                f"The token may not read all of pull request #{number} ({why}): let it read contents, issues and "
                "pull requests, then claudetm resume"
            )
        return self._hole(number, errors)

    def _hole(self, number: int, errors: Sequence[Any]) -> Partial:
        words = [str(e.get("message") or "") for e in errors if isinstance(e, Mapping)]
        why = next(filter(None, words), "it does not say why")
        return Partial(
            f"GitHub told only a part of pull request #{number} ({why}); it is asked again", self._clock() + _AGAIN
        )


def _broke_off(error: Any) -> bool:
    """Whether one of GraphQL's errors says that it all was too much for one answer."""
    if not isinstance(error, Mapping):
        return False
    return error.get("type") == _BROKE_OFF or "timeout" in str(error.get("message") or "").lower()


def _path(error: Any) -> list[Any]:
    return list(error.get("path") or ()) if isinstance(error, Mapping) else []


def _follow(page: dict[str, Any], ask: Callable[[str], Any]) -> None:
    """Read all further pages of a list into its first."""
    while page["pageInfo"]["hasNextPage"]:
        _add(page, ask(page["pageInfo"]["endCursor"]))


def _add(page: dict[str, Any], more: Mapping[str, Any]) -> None:
    page["nodes"] += more["nodes"]
    page["pageInfo"] = more["pageInfo"]


def _batched(items: Sequence[_T], most: int) -> Iterator[Sequence[_T]]:
    for start in range(0, len(items), most):
        yield items[start : start + most]


_log: Final = logging.getLogger(__name__)
