"""Asking GitHub from the loop: in a thread, and what it does not grant comes back as the source's own two errors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from claudetm.adapters.forge.github.client import GithubClient
from claudetm.errors import ForgeBusy, ForgeError
from claudetm.ports.source import SourceBusy, SourceRefused

P = ParamSpec("P")
T = TypeVar("T")


class Asking:
    """Does blocking work. Raises SourceBusy and SourceRefused."""

    def __init__(self, client: GithubClient) -> None:
        """Take what is asked."""
        self._client = client

    async def read(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do what only reads: a part of the quota is left to writes."""
        try:
            return await asyncio.to_thread(work, *args, **kwargs)
        except ForgeBusy as busy:
            raise SourceBusy(str(busy), busy.until) from busy
        except ForgeError as refused:
            raise SourceRefused(str(refused)) from refused

    async def do(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do what writes, or is looked up for a write."""

        def run() -> T:
            with self._client.for_write():
                return work(*args, **kwargs)

        return await self.read(run)
