"""What a session was paid for is not lost because the forge is busy: it is waited for, within the handler."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from claudetm.errors import ForgeBusy
from claudetm.stages.context import Context
from claudetm.workflow.limits import Wait
from claudetm.workflow.outcomes import Outcome

T = TypeVar("T")

_SHORTEST: Final = 5.0  # seconds before the next try, whenever the forge says to ask again
_LONGEST: Final = 600.0  # seconds for which all other changes wait for one that the forge is busy over
_HEEDING: Final = 1.0  # seconds within which a pause or a stop is noticed


async def patiently(ctx: Context, call: Callable[[], Awaitable[T]]) -> T:
    """Return what a call gives that follows a session, made again for as long as the forge is busy.

    Raises ForgeBusy once the run halts or ends, or the change was dropped, and where the forge has been busy over
    this one pull request alone for long: the others go on. The call must look before it writes.
    """
    alone_since: float | None = None
    while True:
        try:
            return await call()
        except ForgeBusy as busy:
            now = ctx.clock.now()
            alone_since = (now if alone_since is None else alone_since) if busy.alone else None
            if alone_since is not None and now - alone_since >= _LONGEST:
                raise
            until = max(busy.until, now + _SHORTEST)
            if not _over(ctx):
                ctx.waiting(Wait(until, str(busy).rstrip(".")))
            while not _over(ctx) and ctx.clock.now() < until:
                await ctx.clock.sleep(min(_HEEDING, until - ctx.clock.now()))
            if _over(ctx):
                raise


def _over(ctx: Context) -> bool:
    return ctx.stop.is_set() or ctx.run.halt is not None or ctx.run.finished


def said(ctx: Context, subject: str, outcome: str) -> str:
    """Return what the last session on a subject told, where it answered with this outcome; else "".

    Its answer has come to nothing yet: a subject is forgotten as soon as something came of it.
    """
    last = ctx.run.tally(subject)
    return last.last_detail if last.last_outcome is Outcome.ANSWERED and _begins(last.last_detail, outcome) else ""


def _begins(detail: str, outcome: str) -> bool:
    return detail == outcome or detail.startswith(f"{outcome}; ")
