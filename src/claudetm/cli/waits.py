"""What a run waits for, as far as its journal and its driver tell: for `status`, which asks no forge."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from claudetm.workflow.limits import Wait, may_start
from claudetm.workflow.run import ChangeState, Run
from claudetm.workflow.stages import Stage

if TYPE_CHECKING:
    from claudetm.adapters.store.directory import StateDirectory


def waits(run: Run, now: float, present: Wait | None = None) -> list[Wait]:
    """Return why nothing can happen, each reason once; `now` is in epoch seconds.

    `present` is what the living driver says itself: it knows better than the stage of the one change there is.
    """
    if run.finished or run.halt is not None:
        return []
    found = [*_of_sessions(run, now), *_of_stages(run, now)]
    if present is not None:
        others = found if len(run.active) > 1 else _of_sessions(run, now)
        found = [present, *(w for w in others if not w.why.endswith(present.why))]
    return list({w.why: w for w in found}.values())


def unpushed(state: StateDirectory, run: Run, change: ChangeState) -> str:
    """Return where the finished work of a change is seen that waits for the permission to be pushed, or "".

    It is the run's own repository that is asked: what stands in an agent's own git is obeyed by nobody.
    """
    if change.stage is not Stage.PUBLISHING or run.policy.auto_push or change.number:
        return ""
    import shlex

    from claudetm.adapters.store.directory import run_folder

    room = run_folder(state.repository, run.id) / "clean-room.git"
    if not room.is_dir():
        return ""
    return f"{change.id}'s work: git -C {shlex.quote(str(room))} diff {change.base[:12]} {change.head[:12]}"


def _of_sessions(run: Run, now: float) -> Iterator[Wait]:
    """Yield why no session may start: a usage limit, or a service that is overloaded."""
    for subject in run.tallies:
        match may_start(run, subject, now):
            case Wait(until=until, person=False) as wait if until is not None:
                yield wait
            case _:
                pass


def _of_stages(run: Run, now: float) -> Iterator[Wait]:
    for change in run.active.values():
        if change.hold is None and (wait := _of_stage(run, change, now)) is not None:
            yield wait


def _of_stage(run: Run, change: ChangeState, now: float) -> Wait | None:
    match change.stage:
        case Stage.WAITING_CI:
            return Wait(None, f"{change.id}: the checks are running")
        case Stage.WAITING_REVIEWS:
            until = change.since + run.policy.review_wait
            return Wait(until if until > now else None, f"{change.id}: reviews")
        case _:
            return None
