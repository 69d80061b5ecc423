"""Asking GitHub from the loop: in a thread, and what it does not grant comes back as the source's own two errors.

`SourceRefused` ends the monitor, so it is for the token alone; what is refused of one issue stays a refusal of that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

from claudetm.adapters.forge.github.client import GithubClient, GithubRefused, Unauthorised
from claudetm.errors import ForgeBusy, ForgeError
from claudetm.ports.source import SourceBusy, SourceRefused

P = ParamSpec("P")
T = TypeVar("T")

_OF_THE_TOKEN: Final = ("not accessible by", "SAML", "single sign-on")


class Asking:
    """Does blocking work. Raises SourceBusy and SourceRefused."""

    def __init__(self, client: GithubClient) -> None:
        """Take what is asked."""
        self._client = client

    async def read(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do what reads the repository's issues: a part of the quota is left to writes."""
        try:
            return await asyncio.to_thread(work, *args, **kwargs)
        except ForgeBusy as busy:
            raise SourceBusy(str(busy), busy.until) from busy
        except ForgeError as refused:
            raise SourceRefused(str(refused)) from refused

    async def do(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do what writes on one issue, or looks for it. Raises GithubRefused, too, for what is that issue's alone."""

        def run() -> T:
            with self._client.for_write():
                return work(*args, **kwargs)

        try:
            return await asyncio.to_thread(run)
        except ForgeBusy as busy:
            raise SourceBusy(str(busy), busy.until) from busy
        except GithubRefused as refused:
            if isinstance(refused, Unauthorised) or any(word in str(refused) for word in _OF_THE_TOKEN):
                raise SourceRefused(str(refused)) from refused
            raise
        except ForgeError as refused:
            raise SourceRefused(str(refused)) from refused
