"""A worker of the monitor for tests: it does what the file `plays` in its state directory says, one play a worker.

It keeps what a real one does: the lock that it inherits, a journal, notes, last words.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

from claudetm.adapters.dispatch.handover import Ended, Ending, Handover, Notes
from claudetm.adapters.dispatch.verdict import standing
from claudetm.adapters.store.directory import KEPT, StateDirectory
from claudetm.adapters.store.journal import FileJournal
from claudetm.adapters.store.lock import acquire, inherited
from claudetm.bootstrap.clock import SystemClock
from claudetm.engine.commit import Writer
from claudetm.plan.model import Change, Plan, Task
from claudetm.ports.dispatch import TOLD_TO_END
from claudetm.ports.source import Note
from claudetm.workflow import events as e
from claudetm.workflow.outcomes import Outcome
from claudetm.workflow.run import Run

PAUSES = {
    "awaits": e.RunPaused("the plan awaits your approval", "claudetm plan, then claudetm resume"),
    "by_hand": e.RunPaused("#7 is ready; merging is left to you", "merge it there", "forge"),
    "limit": e.RunPaused("the budget of $1.00 is spent", "claudetm resume --max-cost AMOUNT"),
}


class Stopped(Exception):  # noqa: N818 - a signal
    """SIGTERM."""


def stopped(_number: int, _frame: object) -> None:
    raise Stopped


def play(move: str, handover: Handover, note: Notes) -> None:
    state, order = handover.state, handover.order()
    assert order is not None
    stands = standing(handover, order.over)
    if stands.run is None and state.journal.exists():
        state.archive("old", KEPT | {"plays", "begun"})
    with acquire(state.lock) as lock:
        run = stands.run or Run()
        writer = Writer(run, FileJournal(state.journal, lock), SystemClock())

        def say(*events: e.Event) -> None:
            for event in events:
                asyncio.run(writer.append(event))

        if not run.seq:
            say(e.RunStarted(f"r{time.time_ns()}", order.job.text, "main", "0" * 40, {}))
        if run.halt is not None:
            say(e.RunResumed())
        note.tell(Note("working", "it is at work", 0.5))
        match move:
            case "hangs":
                try:
                    Path(state.root, "hangs").write_text(str(os.getpid()))
                    while not Path(state.root, "go").exists():
                        time.sleep(0.02)
                    say(e.NothingToDo(Plan()), e.GoalVerified("0" * 40, "nothing to land"))
                except Stopped:
                    say(e.RunPaused(TOLD_TO_END))
            case "further":
                say(e.PlanDrafted(Plan((Change("c1", "A change", (Task("c1.t1", "A step"),)),))))
                os.kill(os.getpid(), signal.SIGKILL)
            case "done":
                say(e.NothingToDo(Plan()), e.GoalVerified("0" * 40, "nothing to land"))
            case "failed":
                say(e.RunBlocked("the checks stay red", "claudetm logs, then claudetm resume"))
            case "no_login":
                say(e.SessionStarted("s1", "planner", "plan"))
                say(e.SessionEnded("s1", "plan", Outcome.UNAUTHENTICATED))
                say(e.RunBlocked("Claude refused the credentials", "claude login, then claudetm resume"))
            case "awaits" | "by_hand" | "limit":
                say(PAUSES[move])
            case "cancelled":
                say(e.RunCancelled("not wanted any more"))
            case "dies":
                print("about to die", flush=True)
                os.kill(os.getpid(), signal.SIGKILL)
            case other:
                raise AssertionError(other)
    handover.end(Ended(Ending.OVER, seq=run.seq))


def main() -> None:
    signal.signal(signal.SIGTERM, stopped)
    handover = Handover(StateDirectory(Path(sys.argv[1])))
    with inherited(handover.lock, int(sys.argv[3]), "fake"):
        plays = handover.state.root / "plays"
        move, *rest = plays.read_text().split() or ["done"]
        plays.write_text(" ".join(rest))
        with (handover.state.root / "begun").open("a") as begun:
            begun.write(f"{move}\n")
        match move:
            case "busy":
                handover.end(Ended(Ending.PASSING, "GitHub is busy", until=time.time() + 60))
            case "refused":
                handover.end(Ended(Ending.REFUSED, "No checks were found; `claudetm resume` helps"))
            case "bug":
                handover.end(Ended(Ending.BUG, "this is a bug: ValueError: 3"))
                sys.exit(3)
            case "mute":
                print("claudetm: the disk is full", flush=True)
                sys.exit(1)
            case _:
                play(move, handover, Notes(handover.progress))


if __name__ == "__main__":
    main()
