"""The monitor: what sources offer is queued, claimed, worked and reported, until somebody stops it.

Nothing is remembered here that the journal, a source or a worker could not tell again: it may be killed at any line.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any, Final

from claudetm.errors import ClaudetmError, LockLost, StoreError
from claudetm.intake import commands, ending, view
from claudetm.intake import events as e
from claudetm.intake.asking import UNASKABLE, Asking
from claudetm.intake.attending import Attendant, Place
from claudetm.intake.policy import MonitorPolicy
from claudetm.intake.queue import Entry
from claudetm.intake.reporting import Reporting
from claudetm.intake.tending import Tending
from claudetm.intake.writer import QueueWriter
from claudetm.ports.clock import Clock
from claudetm.ports.dispatch import Dispatch
from claudetm.ports.results import Results
from claudetm.ports.source import Lane, Note, Source, Status
from claudetm.ports.store import Inbox, Journal, Views

TICK_SECONDS: Final = 1.0  # how long a command may lie, or a due job wait, before it is noticed
_FIRST_SECONDS: Final = 5.0  # for every source to list what there is before the first claim
_CLOSE_SECONDS: Final = 5.0
_VIEW_EACH: Final = 500  # jobs that wait, for each second that a note alone is shown later
_VIEW_SECONDS: Final = 1.05  # a little more than the files allow, which would keep what comes too early


class Ending(StrEnum):
    """Why a monitor ended."""

    DONE = "done"  # `once`: all that was due
    TROUBLED = "troubled"  # `once`, and a source could not be asked
    STOPPED = "stopped"
    REFUSED = "refused"  # a source lets nobody in


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended; `sentence` is what a person should know, or ""."""

    ending: Ending
    sentence: str = ""

    @property
    def code(self) -> int:
        """The exit code."""
        return 1 if self.ending in (Ending.REFUSED, Ending.TROUBLED) else 0


@dataclass(frozen=True, slots=True)
class MonitorPorts:
    """What a monitor works with. The journal is the queue's own, and held by nobody else."""

    sources: Sequence[Source]
    dispatch: Dispatch
    journal: Journal
    results: Results
    inbox: Inbox
    views: Views
    clock: Clock


class Monitor:
    """`run` it once; `stop` it from a signal's handler: first gracefully, then at once.

    `say` gets sentences for the log. `alive` is called as often as the loop comes round, and not while a source's
    call does not end: a watchdog may hang on it.
    """

    def __init__(
        self,
        ports: MonitorPorts,
        policy: MonitorPolicy,
        say: Callable[[str], None] = lambda _sentence: None,
        alive: Callable[[], None] = lambda: None,
        tick: float = TICK_SECONDS,
    ) -> None:
        """Read the journal. Raises JournalError, StoreError."""
        self.ports = ports
        self.policy = policy
        self.writer = QueueWriter(ports.journal, ports.clock, self._changed)
        self._say = say
        self._alive = alive
        self._tick = tick
        self._wake = asyncio.Event()
        self._shown = False
        self._show_at = 0.0
        self._told: object = None  # what the view says besides the queue
        self._stops = 0
        self._cut = float("inf")  # when workers are told to stop, by the loop's time
        self._give_up_at = float("inf")  # when they are no longer waited for
        self._places: dict[str, Place] = {}
        self._reporting: set[str] = set()  # names of sources
        self._tasks: set[asyncio.Task[None]] = set()
        self._error: BaseException | None = None
        self._fresh_until = 0.0
        self._looked = asyncio.Event()  # set: look now at what waits for a person
        self._askings = {s.name: Asking(s, ports.clock, policy, say) for s in ports.sources}
        self._attendant = Attendant(
            self.writer, ports.dispatch, ports.results, ports.clock, policy, say, lambda: bool(self._stops)
        )
        self._results = Reporting(self._attendant)
        self._hands = commands.Hands(self.writer, ports.dispatch, ports.results, self._askings, say)
        self._tendings = [
            Tending(a, self._attendant, self._hands, self._places, self._wake.set) for a in self._askings.values()
        ]

    # --- from outside --------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Begin nothing new, and end when what runs has ended or its grace is over; called again: stop it now."""
        now = asyncio.get_running_loop().time()
        self._stops += 1
        if self._stops == 1:
            self._cut = now + self.policy.grace
        else:
            self._cut = now
        self._wake.set()

    async def run(self) -> Ended:
        """Work until stopped. Raises LockLost, StoreError, JournalError, and what is a bug."""
        try:
            await self._start()
            while (ended := await self._round()) is None:
                await self._rest()
            return ended
        finally:
            await self._close()

    # --- the loop ------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        self._name_strays()
        for tending in self._tendings:
            for forever in (tending.sweeps, tending.hints, tending.keeps):
                self._spawn(forever())
        self._spawn(self._looks())
        self._fresh_until = asyncio.get_running_loop().time() + _FIRST_SECONDS

    def _name_strays(self) -> None:
        strays = [entry for entry in self.writer.queue.jobs.values() if entry.source not in self._askings]
        for name in sorted({entry.source for entry in strays}):
            count = sum(entry.source == name for entry in strays)
            self._say(f"{count} of the queue's tasks came from {name}, which is not watched now: they wait for it.")

    async def _round(self) -> Ended | None:
        """Do all that can be done now; return how it ended, once it has."""
        if self._error is not None:
            raise self._error
        if not any(a.stuck for a in self._askings.values()):
            self._alive()
        for command in self.ports.inbox.pending():
            await commands.take(self._hands, command)
            self.ports.inbox.done(command)
            self._looked.set()
        self._heed_refusals()
        self._stop_workers()
        for entry in self.writer.queue.held:
            await self._give_up(entry)
        self._fill()
        self._report()
        self._show()
        return self._over()

    async def _rest(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._tick):
                await self._wake.wait()
        self._wake.clear()

    def _changed(self) -> None:
        self._shown = False
        self._wake.set()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._error = self._error or error
        self._wake.set()

    # --- jobs ----------------------------------------------------------------------------------------------

    def _fill(self) -> None:
        """Let jobs begin or go on where a lane has a place."""
        if self._stops:
            return
        for lane in Lane:
            free = self.policy.lanes.get(lane, 1) - sum(p.entry.lane is lane for p in self._places.values())
            if free > 0:
                for entry in list(islice(self._due(lane), free)):
                    self._begin(entry)

    def _due(self, lane: Lane) -> Iterator[Entry]:
        """Yield what may be worked now: first what is ours, in the order of its claims, then what waits."""
        now = self.ports.clock.now()
        for entry in self.writer.queue.held:
            if entry.lane is lane and not entry.waiting and entry.due(now) and self._free(entry):
                yield entry
        if not self._fresh() or self._attendant.shut:
            return
        ready = {name for name, asking in self._askings.items() if asking.ready}
        for entry in self.writer.queue.line(lane, ready):
            if self._free(entry) and entry.id not in self._askings[entry.source].passed:
                yield entry

    def _fresh(self) -> bool:
        """Whether every source has told what it has, or had the time to."""
        late = asyncio.get_running_loop().time() >= self._fresh_until
        return late or all(a.swept for a in self._askings.values())

    def _free(self, entry: Entry) -> bool:
        asking = self._askings.get(entry.source)
        return asking is not None and asking.ready and entry.id not in self._places

    def _begin(self, entry: Entry) -> None:
        place = Place(entry)
        self._places[entry.id] = place
        self._spawn(self._see_through(place))

    async def _see_through(self, place: Place) -> None:
        try:
            await self._attendant.attend(place, self._askings[place.entry.source])
        finally:
            del self._places[place.entry.id]

    async def _looks(self) -> None:
        """See at each poll whether what waits for a person can go on. Never returns."""
        while True:
            for entry in self.writer.queue.held:
                if entry.waiting and entry.id not in self._places:
                    await self._look(entry)
            with suppress(TimeoutError):
                async with asyncio.timeout(self.policy.poll):
                    await self._looked.wait()
            self._looked.clear()

    async def _look(self, entry: Entry) -> None:
        job = ending.job_of(entry)
        try:
            found = await self.ports.dispatch.awaits(job)
        except ClaudetmError as error:
            self._say(f"Whether {entry.id} can go on cannot be told: {error}")
            return
        if entry.ours is None or not entry.waiting:
            return
        if found is None:
            await self.writer.append(e.JobResumed(entry.id))
        elif (found.why, found.next) != (entry.why, entry.next):
            await self.writer.append(e.JobWaiting(entry.id, found.why, found.next))

    async def _give_up(self, entry: Entry) -> None:
        retrying = entry.status is Status.RETRYING and entry.id not in self._places
        if retrying and (why := ending.hopeless(entry, self.policy)):
            await self._attendant.give_up(entry, why)

    # --- reports -------------------------------------------------------------------------------------------

    def _report(self) -> None:
        for name in self._to_report() - self._reporting:
            self._reporting.add(name)
            self._spawn(self._report_to(self._askings[name]))

    def _to_report(self) -> set[str]:
        """Return the sources that can be told of something that has ended."""
        found = {c.source for c in self.writer.queue.concluded if self._results.due(c)}
        return {name for name in found if (asking := self._askings.get(name)) is not None and asking.ready}

    async def _report_to(self, asking: Asking) -> None:
        try:
            await self._results.report_to(asking)
        finally:
            self._reporting.discard(asking.name)

    # --- the end -------------------------------------------------------------------------------------------

    def _heed_refusals(self) -> None:
        if not self._stops and any(a.refused for a in self._askings.values()):
            self.stop()

    def _stop_workers(self) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._cut:
            return
        for place in self._places.values():
            place.stop.set()
        self._give_up_at = min(self._give_up_at, now + self.policy.stopping)

    def _over(self) -> Ended | None:
        """Return how it ended, or None while there is something to do."""
        if self._stops and asyncio.get_running_loop().time() >= self._give_up_at:
            return self._stopped()  # the workers live on, and are found again
        if self._places or self._reporting:
            return None
        if self._stops:
            return self._stopped()
        return self._done() if self.policy.once else None

    def _stopped(self) -> Ended:
        refused = " ".join(a.refused for a in self._askings.values() if a.refused)
        return Ended(Ending.REFUSED, refused) if refused else Ended(Ending.STOPPED)

    def _done(self) -> Ended | None:
        if not all(a.swept for a in self._askings.values()):
            return None  # a slow source may have something still
        if any(True for lane in Lane for _ in self._due(lane)):
            return None
        if self._to_report():
            return None
        trouble = " ".join(a.trouble for a in self._askings.values() if a.trouble)
        return Ended(Ending.TROUBLED, trouble) if trouble else Ended(Ending.DONE, self._left())

    def _left(self) -> str:
        """Return the sentence about what is ours and could not go on now, or ""."""
        held = self.writer.queue.held
        waiting = sum(entry.waiting for entry in held)
        idle = self.writer.queue.size if self._attendant.shut else 0
        left = {"tried again at a next start": len(held) - waiting, "waiting for you": waiting, "not begun": idle}
        said = ", ".join(f"{count} {'is' if count == 1 else 'are'} {what}" for what, count in left.items() if count)
        return f"all that could be done now is done; of the rest {said}: claudetm monitor status" if said else ""

    async def _close(self) -> None:
        """Leave: what is under way here is dropped as a kill would drop it, workers live on."""
        for task in (left := list(self._tasks)):
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=_CLOSE_SECONDS)
        for asking in self._askings.values():
            with suppress(*UNASKABLE, TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await asking.source.close()
        self._show(alive=False)

    # --- for people ----------------------------------------------------------------------------------------

    def _show(self, *, alive: bool = True) -> None:
        """Write the view where something has changed, at most once a second.

        It holds all that waits: the more does, the more seldom it is written for what is told of a job alone.
        """
        now = self.ports.clock.now()
        notes: dict[str, Note] = {p.entry.id: p.note for p in self._places.values() if p.note is not None}
        troubles = {a.name: a.refused or a.trouble for a in self._askings.values()}
        passed = {a.name: a.passed for a in self._askings.values()}
        told = (notes, troubles, {name: dict(jobs) for name, jobs in passed.items()})
        wait = self.writer.queue.size / _VIEW_EACH if self._shown else 0.0
        early = self._show_at - _VIEW_SECONDS <= now < self._show_at + wait  # the clock may be set back
        if alive and (early or (self._shown and told == self._told)):
            return
        state = view.queue_state(self.writer.queue, notes, troubles, now, passed=passed, alive=alive)
        with suppress(StoreError, LockLost):  # a view that cannot be written costs the view
            self.ports.views.write(view.NAME, view.text(state))
        self._shown, self._show_at, self._told = True, now + _VIEW_SECONDS, told
