"""Speaks with a Sego server: one request, one answer, bounded; the key goes to the address that was set alone.

What a caller can act on comes back as an outcome; what is so of the whole server is raised (see refusals.py).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, Final, TypeVar
from urllib.parse import quote

import httpx2

from claudetm.adapters.sources.sego import refusals
from claudetm.adapters.sources.sego.connection import connected
from claudetm.adapters.sources.sego.settings import SegoSettings
from claudetm.ports.clock import Clock
from claudetm.ports.source import SourceBusy, SourceRefused
from claudetm.redact import learn

LARGEST_ANSWER: Final = 8 * 1024 * 1024  # bytes
_LARGEST_REASON: Final = 4096
_PAGES: Final = 200
_PER_PAGE: Final = 100
_LARGEST_LIST: Final = 64 * 1024 * 1024  # bytes
FORBIDDEN: Final = 403
_LONGEST_NUMBER: Final = 20  # digits


@dataclass(frozen=True, slots=True)
class Answer:
    """What was asked for: JSON, None for an empty one; `size` is its bytes."""

    body: Any
    size: int = 0


@dataclass(frozen=True, slots=True)
class Missing:
    """404 or 410: nothing is there, or not for this key."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """409 or 412: it is no longer as the request took it to be."""


@dataclass(frozen=True, slots=True)
class Declined:
    """Another 4xx: the key is good, and the server does not want this one thing. `why` is one clause."""

    status: int
    why: str


F = TypeVar("F")
Outcome = Answer | Missing | Conflict | Declined


class Client:
    """One server, one key. Every call may raise SourceBusy and SourceRefused."""

    def __init__(self, settings: SegoSettings, clock: Clock) -> None:
        """Open no connection yet."""
        learn(settings.key)
        self.settings = settings
        self.clock = clock
        self._failures = 0
        self.http = connected(settings)

    async def close(self) -> None:
        """Close the connections."""
        await self.http.aclose()

    def path(self, name: str, **ids: str) -> str:
        """Return the path of that name with ids filled in, which cannot leave their place in it."""
        template: str = getattr(self.settings.paths, name)
        return template.format(**{k: _segment(v) for k, v in ids.items()})

    def url(self, path: str) -> str:
        """Return the whole address of a path."""
        return self.settings.address + path

    async def get(self, path: str, **query: str) -> Outcome:
        """Read something."""
        return await self._ask("GET", path, query=query)

    async def post(self, path: str, body: Mapping[str, Any], key: str = "") -> Outcome:
        """Make something. Made again with the same `key`, a server that knows the header makes nothing more."""
        return await self._ask("POST", path, body=body, headers={"Idempotency-Key": key} if key else {})

    async def patch(self, path: str, body: Mapping[str, Any]) -> Outcome:
        """Change something."""
        return await self._ask("PATCH", path, body=body)

    async def pages(self, path: str, field: str, **query: str) -> list[Any] | Missing | Declined:
        """Return the items of all pages of a list."""
        found: list[Any] = []
        cursors, size = [""], 0
        while len(cursors) <= _PAGES and size < _LARGEST_LIST:
            asked = {**query, "limit": str(_PER_PAGE), **({"cursor": cursors[-1]} if cursors[-1] else {})}
            match await self.get(path, **asked):
                case Answer(body, bytes_):
                    size += bytes_
                    following = self._page(path, field, body, found)
                case Declined() as declined:
                    return declined
                case Missing() | Conflict():
                    return Missing()
            if not isinstance(following, str) or following in cursors:
                break
            cursors.append(following)
        return found

    def whole(self, path: str, found: F | Missing | Conflict | Declined) -> F:
        """Return what was found where no server is without it. Raises SourceRefused."""
        match found:
            case Missing() | Conflict():
                raise refusals.nothing_there(path)
            case Declined() as declined:
                raise refused(path, declined)
            case _:
                return found

    def _page(self, path: str, field: str, body: Any, found: list[Any]) -> Any:
        """Add a page's items to what was found; return what the server says of the next page."""
        items = body.get(field) if isinstance(body, dict) else None
        if not isinstance(items, list):
            raise refusals.unreadable(path, f"there is no list {field}", self._later())
        found += items
        return body.get("nextCursor")

    def failure(self, error: httpx2.HTTPError | TimeoutError) -> SourceBusy:
        """Return the sentence for a connection that failed."""
        cause = str(error.__cause__ or error) or type(error).__name__
        why = "no answer in time" if isinstance(error, httpx2.TimeoutException | TimeoutError) else cause
        return refusals.unreachable(self.settings.address, why, self._later())

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Outcome:
        try:
            async with (
                asyncio.timeout(3 * self.settings.answer_timeout),  # of the whole; httpx's is of each read
                self.http.stream(
                    method, self.url(path), params=query or None, json=body, headers=headers
                ) as response,
            ):
                return await self._understood(response, path)
        except (httpx2.HTTPError, TimeoutError) as error:
            raise self.failure(error) from None

    async def _understood(self, response: httpx2.Response, path: str) -> Outcome:
        if response.status_code in {404, 410}:
            return Missing()
        if response.status_code in {409, 412}:
            return Conflict()
        if response.is_success:
            return await self._answer(response, path)
        if (response.is_client_error and response.status_code not in {401, 429}) or response.is_redirect:
            return await self._declined(response, path)
        await self.refuse(response, path)
        raise AssertionError(response.status_code)

    async def _answer(self, response: httpx2.Response, path: str) -> Answer:
        text = await self._read(response, path, LARGEST_ANSWER)
        try:
            answer = json.loads(text, parse_int=_integer) if text.strip() else None
        except (ValueError, RecursionError):
            raise refusals.unreadable(path, "it is not JSON", self._later()) from None
        self._failures = 0
        return Answer(answer, len(text))

    async def _declined(self, response: httpx2.Response, path: str) -> Declined:
        """Return what is so of one thing. Raises SourceRefused where it is so of everything."""
        status = response.status_code
        why = _reason(await self._read(response, path, _LARGEST_REASON, cut=True))
        if response.is_redirect:
            why = "it points elsewhere, where the API key is not sent"
        if status == FORBIDDEN or response.is_redirect:
            await self._alone(response, path)
        self._failures = 0
        return Declined(status, refusals.clean(why))

    async def _alone(self, response: httpx2.Response, path: str) -> None:
        """Raise SourceRefused where the list of tasks is answered so as well: then it is not one thing's matter."""
        if path == self.path("tasks"):
            await self.refuse(response, path)
        await self.get(self.path("tasks"), limit="1")

    async def refuse(self, response: httpx2.Response, path: str) -> None:
        """Raise what is to be said of an answer that is no success."""
        status, now = response.status_code, self.clock.now()
        wait = refusals.asked_to_wait(response.headers, now)
        if status in {401, FORBIDDEN}:
            raise refusals.key_refused()
        if status == 429:  # noqa: PLR2004 - too many requests
            raise refusals.too_many(now + wait if wait else self._later())
        if response.is_redirect:
            raise refusals.elsewhere(self.settings.address, response.headers.get("location", ""))
        if response.is_client_error:
            said = await self._read(response, path, _LARGEST_REASON, cut=True)
            raise refusals.not_understood(status, path, _reason(said))
        raise refusals.broken(status, path, now + wait if wait else self._later())

    async def _read(self, response: httpx2.Response, path: str, most: int, *, cut: bool = False) -> bytes:
        found = bytearray()
        async for chunk in response.aiter_bytes():
            found += chunk
            if len(found) > most:
                if cut:
                    break
                raise refusals.unreadable(path, f"it is longer than {most} bytes", self._later())
        return bytes(found[:most])

    def _later(self) -> float:
        """Return when to ask again: each failure in a row doubles the pause."""
        settings = self.settings
        pause = min(settings.pause * 2.0 ** min(self._failures, 20), settings.longest_pause)
        self._failures += 1
        return self.clock.now() + pause


def refused(path: str, declined: Declined) -> SourceRefused:
    """Return what is said of what is declined where no server is without it."""
    if declined.status == FORBIDDEN:
        return refusals.forbidden(path, declined.why)
    return refusals.not_understood(declined.status, path, declined.why)


def _segment(value: str) -> str:
    """Return an id as one segment of a path: no `/` of it means anything there (`..` is no id, see shapes.py)."""
    return quote(value, safe="")


def _integer(digits: str) -> float:
    """Return a number; one that no field has is infinite, so that it spoils its own item and not the whole list."""
    return int(digits) if len(digits) <= _LONGEST_NUMBER else inf


def _reason(said: bytes) -> str:
    """Return what an error's answer says: its `error.message`, else its beginning."""
    try:
        told = json.loads(said)
        return str(told["error"]["message"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return said.decode(errors="replace")[:100] or "without a word"
