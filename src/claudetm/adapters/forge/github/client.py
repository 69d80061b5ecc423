"""The transport to GitHub's API, on PyGithub's Requester: the only place that holds the token and knows PyGithub.

A read is repeated for some seconds, and is free where nothing changed; a write is sent once, whatever comes back.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final, NoReturn, TypeVar
from urllib.parse import urlencode, urlsplit

import requests
from github.Auth import Token
from github.Requester import (
    HTTPRequestsConnectionClass,
    HTTPSRequestsConnectionClass,
    Requester,
    RequestsResponse,
)
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential,
    wait_random,
)

from claudetm import __version__
from claudetm.adapters.forge.github.file import (
    HOPS,
    REDIRECTS,
    FileGone,
    FileUnsafe,
    NoFile,
    goal,
    last_bytes,
    origin,
    reason,
    whole_lines,
)
from claudetm.adapters.forge.github.limits import Limit, Limits, Quota, hour, is_limit
from claudetm.adapters.forge.github.place import git_host, is_loopback
from claudetm.adapters.forge.github.refusals import (
    GithubRefused,
    NotFound,
    TooMuch,
    Unanswered,
    Unauthorised,
    graphql_refusal,
    is_graphql_limit,
    refusal,
    words,
)
from claudetm.errors import ForgeBusy, ForgeError
from claudetm.redact import learn

__all__ = ["GithubClient", "GithubRefused", "Limit", "NotFound", "Quota", "Unanswered", "Unauthorised"]

_T = TypeVar("_T")

_AGENT: Final = f"claudetm/{__version__}"
_HEADERS: Final = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
_SECONDS: Final = 15.0  # GitHub ends a request after ten
_WRITE_SECONDS: Final = 30.0
_ATTEMPTS: Final = 10
_BACKOFF: Final = 15.0
_LONGEST_BACKOFF: Final = 300.0
_PAGE: Final = 100  # entries, the most that GitHub gives at a time
_REMEMBERED: Final = 500  # answers that can be confirmed instead of sent again
_LARGEST: Final = 1 << 20  # characters of one
_MOST_REMEMBERED: Final = 1 << 25  # of all of them
_PORTS: Final = {"https": 443, "http": 80}
_ACCEPTED, _FOUND, _NOT_MODIFIED, _TIMEOUT, _NOT_HAD = 202, 302, 304, 408, 504
_GONE: Final = "Something went wrong while executing your query"

_for_write: ContextVar[bool] = ContextVar("claudetm_github_for_write", default=False)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What came back: a status, headers with names in lower case, a body."""

    status: int
    headers: Mapping[str, str]
    text: str

    def json(self) -> Any:
        """Return the body's value, None for an empty one."""
        if not self.text:
            return None
        try:
            return json.loads(self.text)
        except ValueError as error:
            raise _NoAnswerError(f"its answer (status {self.status}) is not whole or not JSON") from error


class _NoAnswerError(Exception):
    """Nothing came back that decides anything; the text says what did. `slow`: it was asked, and failed over it."""

    def __init__(self, text: str, *, slow: bool = False) -> None:
        super().__init__(text)
        self.slow = slow


class _AsideError(Exception):
    """An answer that PyGithub would act upon by itself: it follows a 301 without its query and waits on a 202."""

    def __init__(self, answer: _Answer) -> None:
        super().__init__()
        self.answer = answer


class _Answering:
    """A connection of PyGithub whose answers reach us as they are."""

    session: requests.Session
    origin: str
    verb: str
    url: str
    input: Any
    headers: dict[str, str]
    timeout: Any

    def getresponse(self) -> RequestsResponse:
        response = self.session.request(
            self.verb,
            f"{self.origin}{self.url}",
            headers=self.headers,
            data=self.input,
            timeout=self.timeout,
            allow_redirects=False,
        )
        response.encoding = "utf-8"
        if response.status_code in REDIRECTS or response.status_code == _ACCEPTED:
            headers = {k.lower(): v for k, v in response.headers.items()}
            raise _AsideError(_Answer(response.status_code, headers, response.text))
        return RequestsResponse(response)


class _Https(_Answering, HTTPSRequestsConnectionClass):
    """To GitHub."""


class _Http(_Answering, HTTPRequestsConnectionClass):
    """To a double on this machine."""


class _Line:
    """A requester with its connection: PyGithub keeps a request's parts in them, so that each serves one thread."""

    def __init__(self, api: str, token: str) -> None:
        address = urlsplit(api)
        self.requester = Requester(
            auth=Token(token),
            base_url=api,
            timeout=int(_SECONDS),
            user_agent=_AGENT,
            per_page=100,
            verify=True,
            retry=None,
            pool_size=None,
        )
        self.connection = (_Https if address.scheme == "https" else _Http)(address.hostname or "")
        self.connection.origin = f"{address.scheme}://{address.netloc}"
        self.connection.session.trust_env = address.scheme == "https"  # no proxy to this machine

    def send(self, verb: str, url: str, headers: dict[str, str], body: Any, seconds: float) -> _Answer:
        self.connection.timeout = seconds
        try:
            return _Answer(*self.requester.requestJson(verb, url, None, headers, body, self.connection))
        except _AsideError as aside:
            return aside.answer


class GithubClient:
    """One token at one API. Every method blocks, and may be called from several threads.

    Reads raise ForgeBusy where no answer came or a limit holds, writes Unanswered where it is open what they did;
    both raise GithubRefused for an answer that says no.
    """

    def __init__(
        self,
        api: str,
        token: str,
        *,
        spacing: float = 1.0,
        patience: float = 20.0,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Take the API's address, and how many seconds lie between two writes and are spent on repeating a read."""
        self._api = api.rstrip("/")
        address = urlsplit(self._api)
        if address.scheme != "https" and not (address.scheme == "http" and is_loopback(address.hostname or "")):
            raise ForgeError(f"{self._api} is not an https address, and the token is sent to no other: correct it")
        learn(token)
        self._token = token
        self._host = git_host(self._api)
        if not re.fullmatch(r"[!-~]+", token):
            raise ForgeError(f"The token for {self._host} is empty or holds what no token does: set it anew")
        self._spacing, self._patience = spacing, patience
        self._clock, self._sleep = clock, sleep
        self._limits = Limits(clock)
        self._lines: deque[_Line] = deque()
        self._known: OrderedDict[str, tuple[str, _Answer]] = OrderedDict()
        self._weight = 0
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._wrote = float("-inf")
        self._failures = 0
        self._silent_until = float("-inf")
        self._scopes: frozenset[str] | None = None
        self._spoken = False
        self._login = ""
        self._told_at = 0.0

    def __repr__(self) -> str:
        return f"GithubClient({self._api!r})"

    # Reading

    def get(self, path: str, **params: Any) -> Any:
        """Return what a path (from the API's root, quoted) answers, None for an empty answer."""
        return self._fetch(self._url(path, params))[0]

    def pages(self, path: str, key: str = "", **params: Any) -> list[Any]:
        """Return a whole list, all pages of it; `key` names it where it comes inside of an object."""
        found: list[Any] = []
        url = self._url(path, {"per_page": _PAGE, **params})
        read = set()
        while url:
            read.add(url)
            data, answer = self._fetch(url)
            page = data.get(key) if key and isinstance(data, dict) else data
            if not isinstance(page, list):
                raise ForgeError(f"{self._host} answered GET {path} with something else than a list")
            found += page
            following = self._following(answer)
            if following and (following in read or not self._ours(following)):
                raise ForgeError(f"{self._host} names a next page of GET {path} that is not to be followed")
            if len(page) >= _PAGE and not following:
                self._forget(url)  # a page that comes after it changes nothing in it
            url = following
        return found

    def graphql(self, query: str, /, **variables: Any) -> tuple[Any, list[Any]]:
        """Return (data, errors): what could be read is kept where something else could not.

        Nothing but errors raises GithubRefused.
        """
        data, errors = self._reading("graphql", lambda seconds: self._ask(query, variables, seconds))
        if data is None:
            raise graphql_refusal(_named(query), self._host, errors)
        return data, errors

    def blob(self, path: str, most: int) -> bytes:
        """Return the last `most` bytes of a file that the API redirects to, such as a job's log.

        Where it is cut it begins with a whole line. The token does not go to where it lies; GithubRefused where it
        cannot be had from there, as nothing of the run depends on a file.
        """
        url = self._url(path, {})
        return self._reading("core", lambda seconds: self._download(url, most, seconds))

    @contextmanager
    def for_write(self) -> Iterator[None]:
        """Let the reads inside use what is kept for writes: the look-up that a write needs. Goes with to_thread."""
        before = _for_write.set(True)
        try:
            yield
        finally:
            _for_write.reset(before)

    # Writing

    def write(self, verb: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Send a write, once; return what it answers, None for an empty answer."""
        asked = f"{verb} {path}"

        def send() -> Any:
            answer = self._send(
                verb, self._url(path, {}), _WRITE_SECONDS, body=dict(body) if body is not None else None
            )
            self._judge(asked, answer, "core")
            return answer.json()

        return self._once(asked, "core", send)

    def mutate(self, query: str, /, **variables: Any) -> Any:
        """Send a GraphQL mutation, once; return its data."""
        asked = _named(query)

        def send() -> Any:
            data, errors = self._ask(query, variables, _WRITE_SECONDS)
            if errors:
                raise graphql_refusal(asked, self._host, errors)
            return data

        return self._once(asked, "graphql", send)

    # The token

    def quota(self) -> Quota:
        """Return what is left of the token's quota, as last seen."""
        return self._limits.quota()

    def scopes(self) -> frozenset[str] | None:
        """Return a classic token's scopes; None for other tokens, which have permissions nobody can list."""
        if not self._spoken:
            with suppress(GithubRefused):  # an Enterprise server without limits has no such page, and says the scopes
                self.get("/rate_limit")  # is free
        return self._scopes

    @property
    def moment(self) -> float:
        """GitHub's own time when it answered last, epoch seconds; ours where no answer has told any."""
        return self._told_at or self._clock()

    @property
    def login(self) -> str:
        """Whose token it is."""
        if not self._login:
            try:
                self._login = str(self.get("/user")["login"])
            except Unauthorised:
                raise
            except GithubRefused:  # an app's token has no user
                self._login = str(self.graphql("query Viewer { viewer { login } }")[0]["viewer"]["login"])
        return self._login

    def close(self) -> None:
        """Let go of idle connections; the next request makes a new one."""
        while self._lines:
            self._lines.pop().connection.close()

    # One request

    def _url(self, path: str, params: Mapping[str, Any]) -> str:
        told = {k: str(v).lower() if isinstance(v, bool) else v for k, v in sorted(params.items()) if v is not None}
        joint = "&" if "?" in path else "?"
        return f"{self._api}{path}{joint if told else ''}{urlencode(told, doseq=True)}"

    def _ours(self, url: str) -> bool:
        """Tell whether the token may go there: the same host, and below the API's own path."""
        try:
            there, here = urlsplit(url), urlsplit(self._api)
            same = [(a.scheme, a.hostname, a.port or _PORTS.get(a.scheme)) for a in (there, here)]
        except ValueError:  # a port that is none, say
            return False
        return same[0] == same[1] and there.path.startswith(f"{here.path}/")

    @staticmethod
    def _following(answer: _Answer) -> str:
        links = requests.utils.parse_header_links(answer.headers.get("link", ""))
        return next((str(link["url"]) for link in links if link.get("rel") == "next"), "")

    def _fetch(self, url: str) -> tuple[Any, _Answer]:
        return self._reading(_resource(url.removeprefix(self._api)), lambda seconds: self._fetch_once(url, seconds))

    def _fetch_once(self, url: str, seconds: float) -> tuple[Any, _Answer]:
        """Return a value and the answer it came with: the one remembered, where GitHub says it still holds."""
        with self._lock:
            tag, before = self._known.get(url, ("", None))
        answer = self._send("GET", url, seconds, {"If-None-Match": tag} if tag else {})
        if answer.status == _NOT_MODIFIED and before is not None:
            answer = before
        self._judge(f"GET {url.removeprefix(self._api)}", answer, _resource(url.removeprefix(self._api)))
        if answer.status == _ACCEPTED:
            raise _NoAnswerError("it is still working on the answer")
        value = answer.json()
        self._remember(url, answer)
        return value, answer

    def _forget(self, url: str) -> None:
        with self._lock:
            self._weight -= len(self._known.pop(url)[1].text) if url in self._known else 0

    def _remember(self, url: str, answer: _Answer) -> None:
        tag = answer.headers.get("etag", "")
        self._forget(url)
        with self._lock:
            if tag and len(answer.text) <= _LARGEST:
                self._known[url] = (tag, answer)
                self._weight += len(answer.text)
            while len(self._known) > _REMEMBERED or self._weight > _MOST_REMEMBERED:
                self._weight -= len(self._known.popitem(last=False)[1][1].text)

    def _ask(self, query: str, variables: Mapping[str, Any], seconds: float) -> tuple[Any, list[Any]]:
        """Send a GraphQL request; the primary limit comes as errors with status 200."""
        url = graphql_url(self._api)
        answer = self._send("POST", url, seconds, body={"query": query, "variables": variables})
        self._judge(_named(query), answer, "graphql")
        value = answer.json()
        if not isinstance(value, dict) or not {"data", "errors"} & set(value):
            raise _NoAnswerError("its answer is not GraphQL's")
        errors = value.get("errors") or []
        data = value.get("data")
        for error in (e for e in errors if isinstance(e, dict)):
            message = str(error.get("message") or "")
            if is_graphql_limit(error):
                raise self._limits.refused("graphql", answer.headers, message)
            if data is None and message.startswith(_GONE):
                raise _NoAnswerError("it failed over the query", slow=True)
        if data is None and not errors:
            raise _NoAnswerError("its answer is empty")
        return data, list(errors)

    def _judge(self, asked: str, answer: _Answer, resource: str) -> None:
        """Raise for everything but success."""
        if answer.status < 400:  # noqa: PLR2004 - below are no errors
            return
        body: Any = {}
        with suppress(_NoAnswerError):
            body = answer.json()
        message = words(body)
        if is_limit(answer.status, answer.headers, message):
            raise self._limits.refused(resource, answer.headers, message)
        page = "text/html" in answer.headers.get("content-type", "")
        if answer.status >= 500 or answer.status == _TIMEOUT or page:  # noqa: PLR2004 - a page is not the API's word
            slow = answer.status >= 500 or answer.status == _TIMEOUT  # noqa: PLR2004
            raise _NoAnswerError(f"it answered {answer.status}{' with a web page' if page else ''}", slow=slow)
        raise refusal(asked, self._host, answer.status, answer.headers, body)

    def _send(
        self,
        verb: str,
        url: str,
        seconds: float,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        follow: frozenset[int] = REDIRECTS,
    ) -> _Answer:
        """Send a request and return the answer, of where the repository moved to if it was renamed."""
        for _ in range(HOPS):
            answer = self._exchange(verb, url, {**_HEADERS, **(headers or {})}, body, seconds)
            if answer.status not in follow:
                return answer
            there = goal(url, answer.headers)
            if there == url or not self._ours(there):
                break
            query = urlsplit(url).query
            url = there if urlsplit(there).query or not query else f"{there}?{query}"
        raise ForgeError(
            f"{self._api} redirects to {origin(there)}, which the token is not sent to: correct github.api_url if "
            "the API is there now"
        )

    def _exchange(self, verb: str, url: str, headers: dict[str, str], body: Any, seconds: float) -> _Answer:
        try:
            line = self._lines.pop()
        except IndexError:
            line = _Line(self._api, self._token)
        try:
            answer = line.send(verb, url, headers, body, seconds)
        except (OSError, ValueError) as error:  # requests' errors are OSErrors; it also parses where a redirect leads
            line.connection.close()
            self._unheard(error)
        self._lines.append(line)
        self._limits.heard(answer.headers)
        self._spoken = True
        with suppress(ValueError):
            self._told_at = parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
        if (scopes := answer.headers.get("x-oauth-scopes")) is not None:
            self._scopes = frozenset(filter(None, (s.strip() for s in scopes.split(","))))
        return answer

    def _unheard(self, error: Exception) -> NoReturn:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise ForgeError(
                f"The certificate of {self._host} is not trusted here: set REQUESTS_CA_BUNDLE to its authority's file"
            ) from None
        slow = isinstance(error, requests.ReadTimeout)
        raise _NoAnswerError(reason(error), slow=slow) from None  # their texts name addresses that may be signed

    # Repeating reads, never writes

    def _reading(self, resource: str, ask: Callable[[float], _T]) -> _T:
        """Do a read, again until the patience is used up."""
        self._limits.check(resource, reserve=_for_write.get())
        began = self._clock()

        def attempt() -> _T:
            left = self._patience - (self._clock() - began)
            return ask(max(min(1.0, self._patience), min(_SECONDS, left)))

        def too_late(state: RetryCallState) -> bool:
            return self._clock() - began + state.upcoming_sleep > self._patience

        repeat = Retrying(
            retry=retry_if_exception_type(_NoAnswerError) | retry_if_exception(_may_come),
            wait=wait_exponential(multiplier=0.5, max=8.0) + wait_random(0, 1),
            stop=lambda state: too_late(state) or stop_after_attempt(_ATTEMPTS)(state),
            sleep=self._sleep,
            reraise=True,
        )
        try:
            value = repeat(attempt)
        except NoFile as error:
            raise GithubRefused(
                f"{self._host} has it at a place that cannot be read: {error}", _NOT_HAD, str(error)
            ) from None
        except _NoAnswerError as error:
            until = self._later()
            if error.slow:
                raise TooMuch(
                    f"{self._host} gives no answer ({error}): it is asked again at {hour(until)}", until
                ) from None
            raise ForgeBusy(
                f"{self._host} gives no answer ({error}): it is asked again at {hour(until)}", until
            ) from None
        with self._lock:
            self._failures = 0
        return value

    def _later(self) -> float:
        """Return when to ask again after another failure: later each time, up to five minutes."""
        with self._lock:
            if self._clock() >= self._silent_until:  # what fails at the same time counts once
                self._failures += 1
                self._silent_until = self._clock() + min(_BACKOFF * 2 ** (self._failures - 1), _LONGEST_BACKOFF)
            return self._silent_until

    def _once(self, asked: str, resource: str, send: Callable[[], _T]) -> _T:
        """Do a write: one at a time, the spacing after the one before, never again."""
        with self._writing:
            self._limits.check(resource, reserve=True)
            wait = self._wrote + self._spacing - self._clock()
            if 0 < wait <= self._spacing:
                self._sleep(wait)
            try:
                return send()
            except _NoAnswerError as error:
                until = self._later()
                raise Unanswered(
                    f"{self._host} did not say what became of {asked} ({error}): it is looked up at {hour(until)}",
                    until,
                ) from None
            finally:
                self._wrote = self._clock()

    # Files

    def _download(self, url: str, most: int, seconds: float) -> bytes:
        answer = self._send("GET", url, seconds, follow=REDIRECTS - {_FOUND})
        self._judge(f"GET {url.removeprefix(self._api)}", answer, "core")
        if answer.status != _FOUND:
            return whole_lines(answer.text.encode(), most)
        here = self._api.startswith("http:")
        try:
            return last_bytes(goal(url, answer.headers), most, _AGENT, seconds=seconds, unencrypted=here)
        except FileGone:
            raise NotFound(f"There is no file any more where {self._host} has it", 404, "") from None


def graphql_url(api: str) -> str:
    """Return GraphQL's address: beside /api/v3 on a server, below the root on github.com and ghe.com."""
    return f"{api.removesuffix('/v3')}/graphql"


def _may_come(error: BaseException) -> bool:
    """Tell whether a file may be had from the next address that is given for it."""
    return isinstance(error, NoFile) and not isinstance(error, FileUnsafe)


def _resource(path: str) -> str:
    return "search" if path.startswith("/search/") else "core"


def _named(query: str) -> str:
    """Return what a GraphQL request is called in a sentence: its operation's kind and name."""
    return f"the {' '.join(re.split(r'[({]', query, maxsplit=1)[0].split()) or 'query'} (GraphQL)"
