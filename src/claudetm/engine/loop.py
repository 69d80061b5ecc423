"""Drive a run: look, decide, do one thing, write it down; until it is verified, halted or cancelled.

Nothing is remembered here that the journal or the forge could not tell again: a driver may die at any line.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from claudetm.engine import inbox as commands
from claudetm.engine.commit import Writer
from claudetm.engine.schedule import Emit, Perform, next_step
from claudetm.errors import AgentError, ClaudetmError, ConfigError, ForgeBusy, ForgeError, RepositoryError
from claudetm.ports.store import Inbox
from claudetm.stages import CHANGE_HANDLERS, RUN_HANDLERS
from claudetm.stages.context import Context
from claudetm.workflow import events as e
from claudetm.workflow.legality import IllegalEvent
from claudetm.workflow.limits import FORGE, Wait
from claudetm.workflow.pull_request import PullRequest
from claudetm.workflow.run import Run
from claudetm.workflow.stages import Halt, Mode, Phase, Stage

INBOX_SECONDS: Final = 0.5  # how long a command may lie before it is noticed
_REFUSALS_ALLOWED: Final = 3
_READ_AGAIN: Final = (5.0, 15.0, 45.0, 135.0)  # seconds before each further try at a forge that cannot be read
_READ_FORGET: Final = 3600.0  # seconds after which a failure has nothing to do with the next


class Ending(StrEnum):
    """Why a driver ended."""

    VERIFIED = "verified"
    CANCELLED = "cancelled"
    PAUSED = "paused"
    BLOCKED = "blocked"
    PLANNED = "planned"  # a dry run's end


@dataclass(slots=True)
class Driver:
    """The one process that drives a run. `version` is journalled; `pid` too.

    `refit` returns new ports once a setting has changed that the old ones were made with, and None while they fit.
    One that `leaves` pauses the run where only people at the forge can take it further: another looks again later.
    """

    context: Context
    writer: Writer
    inbox: Inbox
    version: str
    pid: int = 0
    on_wait: Callable[[Wait], None] = lambda _wait: None
    refit: Callable[[], Context | None] = lambda: None
    inbox_seconds: float = INBOX_SECONDS
    leaves: bool = False

    async def drive(self) -> Ending:
        """Drive the run to where it can go no further; return why."""
        await self._begin()
        look = _Look(self.context, self.inbox_seconds)
        try:
            while True:
                await self._take_commands(look)
                if (ending := self._ending()) is not None:
                    return ending
                look = await self._fitting(look)
                if (base := await self._see(look)) is not None:
                    await self._step(look, base)
        finally:
            look.close()
            await self.context.forge.close()

    async def _begin(self) -> None:
        """Clean up after a driver that died: its processes, then the sessions it never saw end."""
        run, agent = self.context.run, self.context.agent
        await agent.sweep(run.id)
        if not run.finished:
            await self.writer.append(e.DriverStarted(self.version, self.pid))
        await self.writer.charge_lost(agent.charge)

    async def _fitting(self, look: _Look) -> _Look:
        """Return what to look with: the same, or a new one where the ports had to be made anew."""
        if (made := self.refit()) is None:
            return look
        look.close()
        await self.context.forge.close()
        self.context = made
        return _Look(made, self.inbox_seconds)

    def _ending(self) -> Ending | None:
        run = self.context.run
        if run.phase is Phase.VERIFIED:
            return Ending.VERIFIED
        if run.phase is Phase.CANCELLED:
            return Ending.PLANNED if run.dry_done else Ending.CANCELLED
        if run.halt is not None:
            return Ending.PAUSED if run.halt.kind is Halt.PAUSED else Ending.BLOCKED
        return None

    async def _see(self, look: _Look) -> str | None:
        """Read the forge; return its base ("" while that decides nothing), or None where it could not be read."""
        try:
            await look.refresh()
            return await look.base()
        except ForgeBusy as error:
            look.stale, busy = True, _until(error)
            self.on_wait(busy)
            await look.pause(busy, self.inbox)
            return None
        except (ForgeError, RepositoryError) as error:
            reason = f"the forge could not be read: {str(error).rstrip('.')}"
            if (wait := look.again(reason)) is None:
                await self.writer.append(e.RunBlocked(reason, "claudetm doctor, then claudetm resume"))
            else:
                self.on_wait(wait)
                await look.pause(wait, self.inbox)
            return None

    async def _step(self, look: _Look, base: str) -> None:
        run, now = self.context.run, self.context.clock.now()
        match next_step(run, look.pulls, look.waits_at(now), now, base):
            case Emit(event):
                await self._emit(event, look)
            case Perform(change):
                await self._perform(change, look)
            case Wait(person=True) as wait:
                await self.writer.append(_halt(run, wait))
            case Wait(until=None, asks=asks) as wait if self.leaves and asks == FORGE:
                await self.writer.append(e.RunPaused(wait.why, wait.next, wait.asks))
            case Wait() as wait:
                self.on_wait(wait)
                await look.rest(wait, self.inbox)

    async def _emit(self, event: e.Event, look: _Look) -> None:
        await self.writer.append(event)
        look.changed(e.change_of(event))

    async def _perform(self, change_id: str, look: _Look) -> None:
        """Run a handler to its end; commands are taken while it works: a stop reaches it, and its change's drop."""
        handler = self._handler(change_id)
        task = asyncio.ensure_future(handler)
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=self.inbox_seconds)
                if not task.done():
                    await self._take_commands(look, at_work=True)
                    if self._is_void(change_id):
                        self.context.stop.set()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        await self._conclude(change_id, task, look)
        if self.context.stop.is_set() and self._ending() is None:
            self.context.stop.clear()  # what it was for has ended: a dropped change, or a stop that was lifted
            look.changed(change_id)

    def _is_void(self, change_id: str) -> bool:
        """Whether work on a change is for nothing: it was dropped, or left the plan."""
        change = self.context.run.changes.get(change_id)
        return bool(change_id) and (change is None or change.settled)

    def _handler(self, change_id: str) -> Awaitable[e.Event | Wait]:
        context = replace(self.context, waiting=self.on_wait)
        if not change_id:
            return RUN_HANDLERS[context.run.phase](context)
        change = context.run.changes[change_id]
        return CHANGE_HANDLERS[change.stage](context, change)

    async def _conclude(self, change_id: str, task: asyncio.Future[e.Event | Wait], look: _Look) -> None:
        look.stale = True
        try:
            result = task.result()
            if isinstance(result, Wait):
                look.wait(change_id, result)
                return
            await self.writer.append(result)
        except IllegalEvent:
            # a command that was taken meanwhile (a plan edit, a drop, a cancel) has made the work void
            look.refusals += 1
            if look.refusals > _REFUSALS_ALLOWED:
                raise
        except ForgeBusy as error:
            look.wait(change_id, _until(error))
            return
        except (RepositoryError, ForgeError, AgentError, ConfigError) as error:
            await self.writer.append(_obstacle(change_id, error))
        else:
            look.refusals = 0
        look.changed(change_id)

    async def _take_commands(self, look: _Look, *, at_work: bool = False) -> None:
        applied = await commands.take(self.writer, self.inbox, at_work=at_work)
        if applied:
            look.waits.clear()
        if applied & commands.INTERRUPTING and self._ending() is not None:
            self.context.stop.set()


def _obstacle(change_id: str, error: ClaudetmError) -> e.ChangeBlocked | e.RunBlocked:
    """Return what a known error in a handler comes to: it holds the change, or the run where it is the run's."""
    if change_id and not isinstance(error, (AgentError, ConfigError)):
        return e.ChangeBlocked(change_id, str(error))
    return e.RunBlocked(str(error))


def _until(error: ForgeBusy) -> Wait:
    """Return the wait for a forge that cannot be asked now: no failure, however long it lasts."""
    return Wait(error.until, str(error).rstrip("."))


def _halt(run: Run, wait: Wait) -> e.RunPaused | e.RunBlocked:
    """Return how a run ends that only a person can carry on: blocked where something went wrong, else paused."""
    holds = [(c.id, c.hold) for c in run.held if c.hold is not None]
    closed = [c for c in run.active.values() if c.stage is Stage.ABANDONED]
    if holds:
        reason = "; ".join(f"{i}: {hold.reason}" for i, hold in holds)
        return e.RunBlocked(reason, holds[0][1].next if len(holds) == 1 else "claudetm status, then claudetm resume")
    if closed:
        numbers = ", ".join(f"#{c.number}" for c in closed)
        return e.RunBlocked(
            f"pull request {numbers} was closed unmerged",
            "reopen it, or claudetm resume to accept that; then the rest is verified",
        )
    return e.RunPaused(wait.why, wait.next, wait.asks)


class _Look:
    """What the loop sees at one moment, all of it re-readable: pull requests, waits, hints."""

    def __init__(self, context: Context, inbox_seconds: float) -> None:
        self._context = context
        self._inbox_seconds = inbox_seconds
        self.pulls: Mapping[int, PullRequest] = {}
        self.waits: dict[str, Wait] = {}
        self.stale = True
        self.refusals = 0
        self._hint: asyncio.Future[Any] | None = None
        self._failures = 0  # to read, in a row
        self._failed_at = (0, 0.0)  # the run's seq and the time at the last

    async def refresh(self) -> None:
        """Read every pull request of a change that is under way, if anything may have changed.

        Without a goal there is none, and the forge is left alone: the local one would make a base to merge into.
        """
        run = self._context.run
        if not self.stale or run.phase is not Phase.WORKING or run.mode is not Mode.GOAL:
            return
        numbers = [c.number for c in run.active.values() if c.number]
        self.pulls = await self._context.forge.read(numbers)
        self.stale = False

    async def base(self) -> str:
        """Return what the forge's branch has come to, once nothing more will be merged into it; else ""."""
        run = self._context.run
        if run.mode is not Mode.GOAL:
            return ""
        due = run.settled if run.phase is Phase.WORKING else run.phase is Phase.VERIFYING and run.reverify
        return await self._context.forge.base() if due else ""

    def again(self, reason: str) -> Wait | None:
        """Return the wait before the next try to read, None after the last one.

        What a check in the background died of is raised once, and a read that starts it anew succeeds: only what
        has happened since, or the time, ends a row.
        """
        seq, now = self._context.run.seq, self._context.clock.now()
        if seq != self._failed_at[0] or now > self._failed_at[1] + _READ_FORGET:
            self._failures = 0
        self._failures, self._failed_at, self.stale = self._failures + 1, (seq, now), True
        if self._failures > len(_READ_AGAIN):
            return None
        tries = f"try {self._failures + 1} of {len(_READ_AGAIN) + 1}"
        return Wait(now + _READ_AGAIN[self._failures - 1], f"{reason}; {tries} follows")

    async def pause(self, wait: Wait, inbox: Inbox) -> None:
        """Sleep until the wait is over or a command arrives, whatever the forge hints."""
        clock, until = self._context.clock, wait.until or 0.0
        while clock.now() < until and not inbox.pending():
            await clock.sleep(min(self._inbox_seconds, until - clock.now()))

    def changed(self, change_id: str) -> None:
        """Forget what a change waited for; a new stage may need a new look."""
        self.waits.pop(change_id, None)

    def wait(self, change_id: str, wait: Wait) -> None:
        """Leave a change (or the run, "") alone for a while."""
        if wait.until is None or wait.until > self._context.clock.now():
            self.waits[change_id] = wait

    def waits_at(self, now: float) -> Mapping[str, Wait]:
        """Return the waits that still hold."""
        over = [i for i, w in self.waits.items() if w.until is not None and w.until <= now]
        for i in over:
            del self.waits[i]
        return self.waits

    async def rest(self, wait: Wait, inbox: Inbox) -> None:
        """Sleep until the wait is over, the forge hints, or a command arrives; then look again."""
        clock, run = self._context.clock, self._context.run
        quiet = max(0.0, clock.now() - run.time)
        poll = clock.now() + run.policy.poll_seconds * self._context.forge.pace(quiet)
        until = min(wait.until, poll) if wait.until is not None else poll
        hint = self._listen()
        while clock.now() < until and not hint.done() and not inbox.pending():
            nap = asyncio.ensure_future(clock.sleep(min(self._inbox_seconds, until - clock.now())))
            await asyncio.wait({nap, hint}, return_when=asyncio.FIRST_COMPLETED)
            nap.cancel()
        if hint.done():
            hint.result()
            self._hint = None
        self.stale = True

    def _listen(self) -> asyncio.Future[Any]:
        if self._hint is None:
            self._hint = asyncio.ensure_future(self._hinted())
        return self._hint

    async def _hinted(self) -> None:
        """Return at the forge's hint; one that fails is none, and the next look comes at its time."""
        try:
            await self._context.forge.hint()
        except (ForgeError, RepositoryError):
            await self._context.clock.sleep(self._context.run.policy.poll_seconds)

    def close(self) -> None:
        """Stop listening."""
        if self._hint is not None:
            self._hint.cancel()
