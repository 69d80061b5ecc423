"""`claudetm monitor work`: the worker of one task. The monitor begins it, so it is not in `--help`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from claudetm.adapters.dispatch.handover import Handover
    from claudetm.adapters.store.lock import Lock
    from claudetm.cli.exit_codes import ExitCode


def command(
    folder: Path = typer.Argument(help="The state directory of the task's run, with the order in job.json."),
    lock: int = typer.Option(-1, "--lock", help="The descriptor of worker.lock, held by whoever begins this."),
) -> None:
    """Work one task of the monitor to where it can go no further."""
    from claudetm.adapters.dispatch.handover import Handover
    from claudetm.adapters.store.directory import StateDirectory
    from claudetm.errors import UsageError

    handover = Handover(StateDirectory(folder.absolute()))
    if not handover.state.task:
        raise UsageError(f"{folder} is no task's state directory; `claudetm monitor` begins its workers by itself")
    with _held(handover, lock):
        raise typer.Exit(_work(handover))


def _held(handover: Handover, descriptor: int) -> Lock:
    """Return the lock that says that this is the worker. Raises LockHeld, LockLost."""
    from claudetm.adapters.store.lock import acquire, inherited

    name = handover.state.task
    return acquire(handover.lock, name) if descriptor < 0 else inherited(handover.lock, descriptor, name)


def _work(handover: Handover) -> ExitCode:
    from claudetm.bootstrap.worker import end_unkept, held_to, last_words, opened, ordered, stop_at_sigterm
    from claudetm.cli.driving import Audience, drive_to_end
    from claudetm.cli.monitor.telling import Telling
    from claudetm.cli.views import Quiet, Several

    stop_at_sigterm()
    with last_words(handover):
        order = ordered(handover)
        told = Audience(Several((Quiet(), Telling(handover.progress))))
        with held_to(handover.claim, order.job.lease, end_unkept):
            run, resume = opened(handover, order, told.notice)
            return drive_to_end(run, told, resume, leaves=True)
