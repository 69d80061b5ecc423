"""What a worker of the monitor does: begin the run that its order is for, or carry it on, and leave last words."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from claudetm.adapters.dispatch.handover import Ended, Ending, Handover, Order
from claudetm.adapters.dispatch.verdict import Standing, standing, told_to_end
from claudetm.adapters.store.lock import LockHeld, acquire
from claudetm.bootstrap.opening import Notice, Opened, Wish, begin, reopen
from claudetm.errors import ClaudetmError, ForgeBusy, LockLost, StoreError, Untested, UsageError
from claudetm.ports.source import Job, Mode, slug
from claudetm.prompts.fence import clear
from claudetm.redact import printable
from claudetm.workflow.run import Material, Run
from claudetm.workflow.stages import MONITOR
from claudetm.workflow.stages import Mode as RunMode

_LOOK: Final = 10.0  # seconds
_GRACE: Final = 120.0  # seconds until a worker is told again to end
_ISSUES: Final = "github"  # the source's name


def ordered(handover: Handover) -> Order:
    """Return the order. Raises UsageError where there is none."""
    if (order := handover.order()) is None:
        raise UsageError(
            f"There is nothing to work in {handover.state.root}: the monitor begins its workers by itself, see "
            "`claudetm monitor --help`"
        )
    return order


def opened(handover: Handover, order: Order, notice: Notice) -> tuple[Opened, Mapping[str, Any] | None]:
    """Return the run, with what a resume brings where something halts it. Raises ClaudetmError, in one sentence."""
    state, stands = handover.state, standing(handover, order.over)
    if stands.run is None:
        _make_way(handover)
        return begin(wish(order), state.repository, notice, state), None
    lifted = stands.run.halt is not None and (stands.run.halted_at <= order.lifted or told_to_end(stands.run))
    return reopen(state.repository, notice, state), _resumed(order, stands.run) if lifted else None


def _resumed(order: Order, run: Run) -> Mapping[str, Any]:
    """Return what a resume brings: where no person has asked for it, nothing is accepted, approved or unblocked."""
    return {"by": MONITOR} if order.looks or told_to_end(run) else {}


def _make_way(handover: Handover) -> None:
    """Put away a run that is not over, and that the order is not for any more: a start would not begin over it."""
    run = standing(handover).run
    if run is not None and not run.finished:
        with acquire(handover.state.lock):
            handover.state.archive(run.id, run=run)


def wish(order: Order) -> Wish:
    """Return what a start is given for a job."""
    job = order.job
    settings = dict(job.settings)
    commit = job.mode is Mode.SESSION and bool(settings.get("monitor.auto_commit", False))
    return Wish(
        goal="" if job.issue and job.mode is Mode.GOAL else _asked(job),
        settings=settings,
        rehearsal=order.rehearsal,
        issue=job.issue if job.mode is Mode.GOAL else "",
        mode=RunMode(job.mode),
        title=job.title,
        material=tuple(Material(m.title, m.text) for m in job.material),
        skill=job.skill,
        task=slug(job.id) if job.mode is Mode.SESSION else "",
        commit=commit,
        push=commit and bool(settings.get("monitor.auto_push", False)),
    )


def _asked(job: Job) -> str:
    """Return what is asked; of an issue's text what GitHub shows, as nobody has meant what it hides."""
    return clear(printable(job.text)).strip() if job.source == _ISSUES else job.text


@contextmanager
def last_words(handover: Handover) -> Iterator[None]:
    """Write down how the worker ends, whatever ends it; what the disk refuses is told by the exit code alone."""
    try:
        yield
    except BaseException as error:
        with suppress(ClaudetmError):
            handover.end(_words(error, _standing(handover)))
        raise
    handover.end(Ended(Ending.OVER, seq=_seq(_standing(handover))))


def _standing(handover: Handover) -> Standing:
    order = handover.order()
    return standing(handover, order.over if order else "")


def _seq(stands: Standing) -> int:
    return stands.run.seq if stands.run is not None else 0


def _words(error: BaseException, stands: Standing) -> Ended:
    said = " ".join(str(error).split()).rstrip(".")
    match error:
        case KeyboardInterrupt():
            return Ended(Ending.STOPPED, seq=_seq(stands))
        case ForgeBusy():
            return Ended(Ending.PASSING, said, _seq(stands), error.until)
        case LockHeld() | LockLost() | StoreError() | OSError():
            return Ended(Ending.PASSING, said, _seq(stands))
        case Untested():
            return Ended(Ending.REFUSED, error.of_task, _seq(stands))  # a resume is told as a retry
        case ClaudetmError():
            return Ended(Ending.REFUSED, said, _seq(stands))
        case _:
            return Ended(Ending.BUG, f"this is a bug: {type(error).__name__}: {said}", _seq(stands))


@contextmanager
def held_to(claim: Path, lease: float, end: Callable[[], None]) -> Iterator[None]:
    """Have this worker end where `claim` was not touched for `lease` seconds (0: never): no monitor keeps its task.

    Another may have taken the task over by then, on another machine. A machine that sleeps does not count.
    """
    over = threading.Event()

    def watch() -> None:
        seen, since = _touched(claim), time.monotonic()
        while not over.wait(min(_LOOK, lease / 4)):
            if (now := _touched(claim)) != seen:
                seen, since = now, time.monotonic()
            elif time.monotonic() - since >= lease:
                break
        while not over.is_set():
            end()
            over.wait(_GRACE)

    if lease:
        threading.Thread(target=watch, name="claim", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def end_unkept() -> None:
    """End this process as its monitor would."""
    sys.stderr.write("no monitor keeps this task's claim any more: its worker ends, to be carried on\n")
    sys.stderr.flush()
    os.kill(os.getpid(), signal.SIGTERM)


def _touched(claim: Path) -> int:
    with suppress(OSError):
        return claim.stat().st_mtime_ns
    return 0


def stop_at_sigterm() -> None:
    """Let SIGTERM end what is done before a run is driven, as Ctrl+C would; from then on the driver sees to it."""

    def stopped(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stopped)
