"""Jobs worked by processes, one each: they outlive the monitor, and are found again by the lock that they hold.

A worker's lock is taken before it is begun and inherited by it, so there are never two. That one was begun is written
down before, so that a death which no monitor saw is told to the next.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from claudetm.adapters.dispatch.handover import Begun, Handover, Order, note_of
from claudetm.adapters.dispatch.place import state_of
from claudetm.adapters.dispatch.verdict import (
    LOOK_MOST,
    Standing,
    look_at,
    parting,
    settled,
    standing,
    told_to_end,
    waits,
)
from claudetm.adapters.store.directory import EARLIER_LOG, disk, run_folder
from claudetm.adapters.store.lock import Lock, LockHeld, acquire, alive, holder, identity
from claudetm.credentials import handed_on
from claudetm.errors import ClaudetmError, StoreError
from claudetm.ports.dispatch import AwaitsPerson, Died, Failed, Stopped, TryAgain, WorkOutcome
from claudetm.ports.source import Job, Note
from claudetm.redact import printable, redact
from claudetm.workflow.stages import Phase

WORKER: Final = (sys.executable, "-Pm", "claudetm", "monitor", "work")
"""Nothing is imported from the folder that it is begun in, which is somebody's repository."""
GRACE: Final = 120.0  # seconds that a worker has, once it was told to end, to keep what its session did
_LOOK: Final = 0.2  # seconds
_LAST: Final = 10.0  # seconds between the last word to a worker and its end
_EVIDENCE: Final = 2000  # characters
_OWN: Final = ("SEGO_", "AUTO_", "CLAUDETM_MONITOR_", "WATCHDOG_", "LISTEN_")
_OWN_NAMES: Final = frozenset({"USE_CLI_MODE", "STREAM_PROGRESS", "CONVERSATION_ONLY", "NOTIFY_SOCKET"})
"""Variables that are the monitor's alone: its settings, and what systemd tells it."""
_KNOWN_ERROR: Final = 1  # the exit code


_children: list[subprocess.Popen[bytes]] = []
"""This process's own, to be waited for at their end, whoever asks for them still."""


def _reap() -> None:
    _children[:] = [child for child in _children if child.poll() is None]


class ProcessDispatch:
    """Implements ports/dispatch.Dispatch.

    `repository` says where a job is worked and raises ClaudetmError, one sentence; `environment` is the monitor's.
    `command` begins a worker: the path of the job's state directory and `--lock DESCRIPTOR` are added to it.
    `rehearsal` names the scenario that all jobs play, if any; `shared` are the settings that all of them are given.
    `grace` and `look` are seconds.
    """

    def __init__(  # noqa: PLR0913 - two say where, the rest has defaults
        self,
        repository: Callable[[Job], Path],
        environment: Mapping[str, str],
        *,
        command: Sequence[str] = WORKER,
        rehearsal: str = "",
        shared: Mapping[str, Any] = MappingProxyType({}),
        grace: float = GRACE,
        look: float = _LOOK,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._repository = repository
        self._environment = environment
        self._command = tuple(command)
        self._rehearsal = rehearsal
        self._shared = shared
        self._grace = grace
        self._look = look
        self._now = now
        self._seen: dict[str, tuple[tuple[int, int], AwaitsPerson | None, float | None]] = {}

    async def work(self, job: Job, told: Callable[[Note], None], stop: asyncio.Event) -> WorkOutcome:
        """Work a job to where it can go no further."""
        try:
            handover = Handover(state_of(self._repository(job), job.id))
            return await self._work(job, handover, told, stop)
        except StoreError as error:
            return TryAgain(str(error).rstrip("."))
        except ClaudetmError as error:
            return Failed(str(error).rstrip("."))

    async def _work(
        self, job: Job, handover: Handover, told: Callable[[Note], None], stop: asyncio.Event
    ) -> WorkOutcome:
        _reap()
        child: subprocess.Popen[bytes] | None = None
        began = await asyncio.to_thread(self._begin, job, handover, stop)
        match began:
            case subprocess.Popen():
                child = began
            case None:
                pass  # another has begun it: wait for that one
            case outcome:
                return outcome
        watch = _Watch(handover, child, told, self._grace)
        while not watch.over():
            if stop.is_set():
                watch.tell_to_end()
            await asyncio.sleep(self._look)
        _reap()
        return await asyncio.to_thread(self._end, job, handover, watch)

    # --- beginning -----------------------------------------------------------------------------------------------

    def _begin(
        self, job: Job, handover: Handover, stop: asyncio.Event
    ) -> subprocess.Popen[bytes] | WorkOutcome | None:
        """Begin a worker, or return what the one before came to; None where one lives."""
        from claudetm.adapters.git.user_repository import locate

        if handover.lock.exists() and holder(handover.lock) is not None:
            return None
        _, common = locate(handover.state.repository)
        handover.state.create(common)
        try:
            lock = acquire(handover.lock)
        except LockHeld:
            return None
        try:
            lock.unname()
            order = self._order(job, handover)
            stands = standing(handover, order.over)
            if found := self._stood(order, stands, handover):
                return found
            if stop.is_set():
                return Stopped()
            handover.clear()
            handover.give(replace(order, begun=Begun(stands.reached, identity(os.getpid())[0])))
            return self._spawn(handover, lock)
        finally:
            lock.hand_over()

    def _order(self, job: Job, handover: Handover) -> Order:
        """Return what is ordered now: as before, unless the result of that was reported.

        A run that failed and that a person has brought to its end since is told as it ended.
        """
        last = handover.order()
        stands = standing(handover, last.over if last else "")
        if last is not None and not last.forgotten and _same(last.job, job):
            return replace(last, job=job, rehearsal=self._rehearsal)
        run = stands.run
        if run is None:
            return Order(job, over=last.over if last else "", rehearsal=self._rehearsal)
        other = not job.issue and run.goal.strip() != job.text.strip()
        if run.phase is Phase.CANCELLED or other or run.mode != job.mode:
            return Order(job, over=run.id, rehearsal=self._rehearsal)
        return Order(job, lifted=run.seq, rehearsal=self._rehearsal)

    def _stood(self, order: Order, stands: Standing, handover: Handover) -> WorkOutcome | None:
        """Return what is to be told before any worker is begun: how it ended, or that one has died."""
        ended = handover.ended()
        if (found := settled(order, stands, ended, handover, self._shared)) is not None:
            if isinstance(found, TryAgain):
                handover.give(_after(order, found, stands))
            return found
        carried_on = told_to_end(stands.run) or (ended is not None and parting(ended) is not None)
        if order.begun is None or carried_on:
            return None
        handover.give(replace(order, begun=None))
        said = f"{ended.error}; " if ended else "it ended while no monitor ran; "
        died = _death(order.begun, stands, f"{said}{_last_lines(handover)}")
        return replace(died, seen=ended is not None)  # it has said itself that it was a bug

    def _spawn(self, handover: Handover, lock: Lock) -> subprocess.Popen[bytes]:
        kept = {k: v for k, v in self._environment.items() if not k.startswith(_OWN) and k not in _OWN_NAMES}
        command = [*self._command, str(handover.state.root), "--lock", str(lock.descriptor)]
        with disk(handover.log):
            if handover.log.exists():
                handover.log.replace(handover.log.with_name(EARLIER_LOG))
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            output = os.open(handover.log, flags, 0o600)
        try:
            with handed_on(kept) as (environment, pipe), disk(Path(command[0]), "run"):
                child = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd=handover.state.repository,
                    env=environment,
                    pass_fds=(pipe, lock.descriptor),
                    start_new_session=True,
                )
            _children.append(child)
            return child
        finally:
            os.close(output)

    # --- the end -------------------------------------------------------------------------------------------------

    def _end(self, job: Job, handover: Handover, watch: _Watch) -> WorkOutcome:
        """Return what a worker came to that has ended."""
        order = handover.order() or Order(job)
        stands, ended = standing(handover, order.over), handover.ended()
        found = settled(order, stands, ended, handover, self._shared)
        if order.begun is not None:
            with suppress(LockHeld), acquire(handover.lock):  # held again: another monitor has begun the next
                handover.give(_after(order, found, stands))
        if found is not None:
            return found
        if ended is not None and (words := parting(ended)) is not None:
            return words
        if watch.told or told_to_end(stands.run):
            return Stopped()
        evidence = f"{_how(watch.code, ended.error if ended else '')}; {_last_lines(handover)}"
        if watch.code == _KNOWN_ERROR:
            return TryAgain(evidence)
        return _death(order.begun, stands, evidence)

    async def kept(self, job: Job) -> None:
        """Touch what a worker with a lease looks at."""
        if job.lease:
            with suppress(ClaudetmError, OSError):  # a worker that cannot be told ends, and is begun again
                Handover(state_of(self._repository(job), job.id)).claim.touch()

    # --- between -------------------------------------------------------------------------------------------------

    async def awaits(self, job: Job) -> AwaitsPerson | None:
        """Return what a person is waited for; while that person drives the run, it is that."""
        try:
            handover = Handover(state_of(self._repository(job), job.id))
            return await asyncio.to_thread(self._awaits, job, handover)
        except ClaudetmError:
            return None  # `work` says what is wrong

    def _awaits(self, job: Job, handover: Handover) -> AwaitsPerson | None:
        state = handover.state
        with disk(state.journal, "read"):
            if not state.journal.exists():
                return None
            at = state.journal.stat()
        if (driver := holder(state.lock)) is not None and holder(handover.lock) is None:
            return AwaitsPerson(f"its run is driven by {driver}")
        looked = at.st_size, at.st_mtime_ns
        order = handover.order()
        if job.id not in self._seen or self._seen[job.id][0] != looked:
            run = standing(handover, order.over if order else "").run
            self._seen[job.id] = looked, waits(job, run), look_at(run)
        if order is not None and self._looks(handover, order, self._seen[job.id][2]):
            return None
        if order is not None and order.lifted and self._seen[job.id][1] is not None:
            run = standing(handover, order.over).run
            return self._seen[job.id][1] if run is not None and run.halted_at > order.lifted else None
        return self._seen[job.id][1]

    def _looks(self, handover: Handover, order: Order, at: float | None) -> bool:
        """Let the next worker look at the forge, where that is due."""
        if at is None or at - LOOK_MOST < self._now() < at:  # else it is due, or the clock went back
            return False
        with suppress(LockHeld), acquire(handover.lock):
            if (run := standing(handover, order.over).run) is not None and look_at(run) == at:
                handover.give(replace(order, lifted=run.seq, looks=True))
                return True
        return False

    async def retry(self, job: Job) -> None:
        """Lift what holds it, for the next worker; a run that was cancelled is begun anew. Raises ClaudetmError."""
        await asyncio.to_thread(self._retry, job, Handover(state_of(self._repository(job), job.id)))

    def _retry(self, job: Job, handover: Handover) -> None:
        if not handover.state.root.is_dir():
            return
        with suppress(LockHeld), acquire(handover.lock):  # a worker that lives is not held by anything
            order = handover.order() or Order(job)
            run = standing(handover, order.over).run
            handover.clear()
            if run is not None and run.phase is Phase.CANCELLED:
                handover.give(replace(order, over=run.id, forgotten=True))
            elif run is not None and not run.finished:
                handover.give(replace(order, job=job, lifted=run.seq, looks=False, forgotten=False, begun=None))

    async def forget(self, job: Job) -> None:
        """Remove the repository of a run that is over; one that is not keeps it, as it may be carried on."""
        self._seen.pop(job.id, None)
        with suppress(ClaudetmError):
            handover = Handover(state_of(self._repository(job), job.id))
            await asyncio.to_thread(self._forget, handover)

    def _forget(self, handover: Handover) -> None:
        from claudetm.adapters.git.removal import remove
        from claudetm.adapters.git.user_refs import UserRefs
        from claudetm.adapters.git.user_repository import locate

        if not handover.state.root.is_dir():
            return
        with suppress(LockHeld), acquire(handover.lock), acquire(handover.state.lock):
            order = handover.order()
            stands = standing(handover)
            run = stands.run
            if order is not None:
                over = run.id if run is not None and run.finished else order.over
                handover.give(replace(order, over=over, forgotten=True, begun=None))
            handover.clear()
            if run is not None and run.finished:
                user = UserRefs(*locate(handover.state.repository), run.author)
                remove(run, run_folder(user.root, run.id), user, "the monitor's task has ended")


def _after(order: Order, found: WorkOutcome | None, stands: Standing) -> Order:
    """Return the order once a worker's end is told: what turned its run away, the next worker tries again."""
    told = replace(order, begun=None)
    if isinstance(found, TryAgain) and stands.run is not None:
        return replace(told, lifted=stands.run.seq, looks=True)
    return told


class _Watch:
    """Looks at one worker: whether it lives, what it tells; ends it where that is wanted."""

    def __init__(
        self,
        handover: Handover,
        child: subprocess.Popen[bytes] | None,
        tell: Callable[[Note], None],
        grace: float,
    ) -> None:
        self.code: int | None = None  # as subprocess has it; None where it is no child of ours
        self.told = 0  # how often it was told to end
        self._handover = handover
        self._child = child
        self._tell = tell
        self._steps = (0.0, grace, grace + _LAST)
        self._first = 0.0
        self._tail = _Tail(handover.progress)
        if child is None:
            for note in self._tail.new()[-1:]:
                tell(note)

    def over(self) -> bool:
        """Tell what is new; return whether the worker has ended."""
        gone = self._gone()
        for note in self._tail.new():
            self._tell(note)
        if gone:
            self._tail.close()
        return gone

    def _gone(self) -> bool:
        if self._child is None:
            return holder(self._handover.lock) is None
        self.code = self._child.poll()
        return self.code is not None

    def tell_to_end(self) -> None:
        """Tell it to end as `claudetm stop` does, then again, then no more."""
        now = time.monotonic()
        self._first = self._first or now
        if self.told >= len(self._steps) or now < self._first + self._steps[self.told]:
            return
        number = signal.SIGKILL if self.told == len(self._steps) - 1 else signal.SIGTERM
        if self._child is not None:
            self._child.send_signal(number)
        else:
            named = holder(self._handover.lock)
            if named is None or not alive(named):
                return  # it has not said yet who it is, or has ended
            with suppress(ProcessLookupError):
                os.kill(named.pid, number)
        self.told += 1


class _Tail:
    """Reads the notes that a worker appends; a file that was begun anew is read from its beginning."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1
        self._rest = b""

    def new(self) -> list[Note]:
        """Return the notes that have come since the last call."""
        found: list[Note] = []
        with suppress(OSError):
            if self._file < 0:
                self._file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            while chunk := os.read(self._file, 1 << 16):
                *lines, self._rest = (self._rest + chunk).split(b"\n")
                found += [note for line in lines if (note := note_of(line)) is not None]
            if not os.fstat(self._file).st_nlink:
                self.close()
        return found

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
        self._file, self._rest = -1, b""

    def __del__(self) -> None:
        self.close()


def _same(one: Job, other: Job) -> bool:
    """Whether two orders of a job ask for the same: it may have been given back, and changed since."""
    return one.mode == other.mode and (bool(one.issue) or one.text == other.text)


def _death(begun: Begun | None, stands: Standing, evidence: str) -> Died:
    """Return a death; one that the machine died with is no fault of the job."""
    rebooted = begun is not None and begun.boot != identity(os.getpid())[0]
    further = begun is not None and stands.reached > begun.reached
    return Died(evidence[:_EVIDENCE], rebooted or further)


def _how(code: int | None, said: str) -> str:
    if said:
        return said
    if code is None:
        return "it ended without a word"
    if code < 0:
        return f"killed by signal {-code} ({signal.Signals(-code).name})"
    return f"ended with exit code {code} and without a word"


def _last_lines(handover: Handover) -> str:
    """Return the last lines that a worker has printed, or else of its run's log."""
    with suppress(OSError):
        for path in (handover.log, *sorted(handover.state.logs.glob("run-*.txt"))[-1:]):
            if path.exists() and path.stat().st_size:
                with path.open("rb") as log:
                    log.seek(max(0, path.stat().st_size - _EVIDENCE))
                    lines = log.read().decode(errors="replace").splitlines()[-5:]
                if text := " | ".join(filter(None, (redact(printable(line)).strip() for line in lines))):
                    return f"last in {path.name}: {text}"
    return "it has printed nothing"
