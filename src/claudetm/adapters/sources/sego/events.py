"""The stream of a project's events. It only wakes: what has come is read by REST, so a lost event costs time alone.

It is opened again after every break, with a pause that grows, until the server says that there is none (204, 404) or
refuses the key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from random import SystemRandom
from typing import Final

import httpx2

from claudetm.adapters.sources.sego.client import FORBIDDEN, Client
from claudetm.adapters.sources.sego.refusals import asked_to_wait, clean
from claudetm.ports.source import SourceBusy

WAKING: Final = frozenset({"client-request", "conversation", "task", "project"})
LARGEST_EVENT: Final = 65_536  # bytes
NO_STREAM: Final = frozenset({204, 400, 404, 405, 406, 410, 422, 501})
"""Statuses of a server that offers no stream; 204 is the standard's way to say so."""
UNKNOWN_KEY: Final = 401
_NONE: Final = "Sego offers no stream of events here: tasks are found by polling alone"
_ID: Final = re.compile(r"[ -~]{1,512}")  # what a header can hold, and servers take
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0
_SPREAD: Final = SystemRandom().random
_LIVED: Final = 30.0  # a stream that held so long was a good one


class Stream:
    """One project's stream. `wake` is called for each event that says something came, and after each opening."""

    def __init__(
        self,
        client: Client,
        wake: Callable[[], None],
        notice: Callable[[str], None],
        spread: Callable[[], float] = _SPREAD,
    ) -> None:
        """Open nothing yet. `spread` gives 0 to 1: clients that lost one server do not come back as one."""
        self._client = client
        self._wake = wake
        self._notice = notice
        self._spread = spread
        self._last = ""  # Last-Event-ID
        self._pause = _FIRST_PAUSE
        self._wait: float | None = None
        self._said: set[str] = set()

    async def run(self) -> None:
        """Read until the server wants no stream. Raises SourceRefused where it refuses the key, or redirects."""
        clock = self._client.clock
        failures = 0
        while True:
            began = clock.now()
            good = await self._once()
            if good is None:
                return
            failures = 0 if good or clock.now() - began > _LIVED else failures + 1
            pause = min(self._pause * 2 ** min(failures, 10), _LONGEST_PAUSE)
            asked, self._wait = self._wait, None
            await clock.sleep(max(asked or 0.0, pause * (0.5 + self._spread() / 2)))

    async def _once(self) -> bool | None:
        """Read one stream to its end; return whether it brought an event, None where there is to be none."""
        settings = self._client.settings
        path = self._client.path("events", project=settings.project)
        timeout = httpx2.Timeout(settings.answer_timeout, read=settings.silence)
        headers = {"Last-Event-ID": self._last} if self._last else {}
        try:
            async with self._client.http.sse(
                self._client.url(path), headers=headers, timeout=timeout, max_event_size=LARGEST_EVENT
            ) as source:
                if source.response.status_code in NO_STREAM:
                    self._once_said(_NONE)
                    return None
                if not source.response.is_success:
                    return await self._refused(source.response, path)
                return await self._read(source)
        except httpx2.SSEError as error:
            self._broken(error)
        except httpx2.HTTPError:
            pass  # dropped, silent for too long, or out of reach: the sweep says so where it is of the server
        return False

    async def _refused(self, response: httpx2.Response, path: str) -> bool | None:
        """Return None where the stream alone is forbidden, else False. Raises SourceRefused for the key."""
        self._wait = asked_to_wait(response.headers, self._client.clock.now())
        try:
            if response.status_code == FORBIDDEN:
                await self._client.get(self._client.path("tasks"), limit="1")  # raises where everything is
                self._once_said(_NONE)
                return None
            if response.status_code == UNKNOWN_KEY or response.is_redirect:
                await self._client.refuse(response, path)
        except SourceBusy:
            return False
        self._last = ""  # whatever it was, it may be that
        return False

    async def _read(self, source: httpx2.EventSource) -> bool:
        brought = False
        if "text/event-stream" in source.response.headers.get("content-type", ""):
            self._wake()  # what came while no stream was there
        async for event in source:
            if event.id:
                self._last = event.id if _ID.fullmatch(event.id) else ""
            if event.retry is not None:
                self._pause = min(max(event.retry / 1000, 0.1), _LONGEST_PAUSE)
            brought = brought or bool(event.data)
            if event.data and self._readable(event):
                self._wake()
        return brought

    def _readable(self, event: httpx2.ServerSentEvent) -> bool:
        if event.event not in WAKING:
            return False
        try:
            fits = isinstance(json.loads(event.data), dict)
        except (ValueError, RecursionError):
            fits = False
        if not fits:
            self._once_said("An event of Sego's stream is no JSON object and is left out")
        return fits

    def _broken(self, error: httpx2.SSEError) -> None:
        """Go on behind an event that is too large, or before a stream that is none."""
        if "exceeded" in str(error):
            self._last = ""  # from there it would come again
            self._once_said(f"An event of Sego's stream is larger than {LARGEST_EVENT} bytes and is left out")
            self._wake()
        else:
            self._once_said(f"Sego's stream of events is none ({clean(str(error))}): it is tried again, and polled")

    def _once_said(self, sentence: str) -> None:
        if sentence not in self._said:
            self._said.add(sentence)
            self._notice(sentence)
