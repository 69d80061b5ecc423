"""Speaks with a Sego server: one request, one answer, bounded; the key goes to the address that was set alone.

What a caller can act on comes back as an outcome; what is so of the whole server is raised (see refusals.py).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlsplit

import httpx2

from claudetm import __version__
from claudetm.adapters.sources.sego import refusals
from claudetm.adapters.sources.sego.settings import SegoSettings, is_loopback
from claudetm.ports.clock import Clock
from claudetm.ports.source import SourceBusy
from claudetm.redact import learn

LARGEST_ANSWER: Final = 8 * 1024 * 1024  # bytes
_LARGEST_REASON: Final = 4096
_PAGES: Final = 200
_PER_PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class Answer:
    """What was asked for: JSON, None for an empty one."""

    body: Any


@dataclass(frozen=True, slots=True)
class Missing:
    """404 or 410: nothing is there, or not for this key."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """409 or 412: it is no longer as the request took it to be."""


Outcome = Answer | Missing | Conflict


class Client:
    """One server, one key. Every call may raise SourceBusy and SourceRefused."""

    def __init__(self, settings: SegoSettings, clock: Clock) -> None:
        """Open no connection yet."""
        learn(settings.key)
        self.settings = settings
        self.clock = clock
        self._failures = 0
        # A proxy of the environment would be handed what is meant for this machine alone.
        outside = not is_loopback(urlsplit(settings.address).hostname or "")
        self.http = httpx2.AsyncClient(
            headers={"Authorization": f"Bearer {settings.key}", "User-Agent": f"claudetm/{__version__}"},
            timeout=settings.answer_timeout,
            follow_redirects=False,
            trust_env=outside,
        )

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

    async def pages(self, path: str, field: str, **query: str) -> list[Any] | Missing:
        """Return the items of all pages of a list."""
        found: list[Any] = []
        cursor = ""
        for _ in range(_PAGES):
            asked = {**query, "limit": str(_PER_PAGE), **({"cursor": cursor} if cursor else {})}
            match await self.get(path, **asked):
                case Answer(body):
                    following = self._page(path, field, body, found)
                case Missing() | Conflict():
                    return Missing()
            if not isinstance(following, str) or following in {"", cursor}:
                break
            cursor = following
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
        if not response.is_success:
            await self.refuse(response, path)
        text = await self._read(response, path, LARGEST_ANSWER)
        try:
            answer = json.loads(text) if text.strip() else None
        except (ValueError, RecursionError):
            raise refusals.unreadable(path, "it is not JSON", self._later()) from None
        self._failures = 0
        return Answer(answer)

    async def refuse(self, response: httpx2.Response, path: str) -> None:
        """Raise what is to be said of an answer that is no success."""
        status, now = response.status_code, self.clock.now()
        wait = refusals.asked_to_wait(response.headers, now)
        if status in {401, 403}:
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


def _segment(value: str) -> str:
    """Return an id as one segment of a path: no `/` of it means anything there (`..` is no id, see shapes.py)."""
    return quote(value, safe="")


def _reason(said: bytes) -> str:
    """Return what an error's answer says: its `error.message`, else its beginning."""
    try:
        told = json.loads(said)
        return str(told["error"]["message"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return said.decode(errors="replace")[:100] or "without a word"
