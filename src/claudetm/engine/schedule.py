"""What a run does next, and which of its changes may step. Pure: the run, what was read, and the time decide.

What has happened is recorded first; then what nears merging; then agent work in plan order; a queued change begins
only when nothing that has begun can step, so that work in progress stays small.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, assert_never

from claudetm.workflow import events as e
from claudetm.workflow.limits import FORGE, Blocked, Go, Wait, may_start
from claudetm.workflow.observe import Act, observe
from claudetm.workflow.pull_request import PullRequest
from claudetm.workflow.run import ChangeState, Run
from claudetm.workflow.stages import Mode, Phase, Stage


@dataclass(frozen=True, slots=True)
class Emit:
    """It has happened: record it."""

    event: e.Event


@dataclass(frozen=True, slots=True)
class Perform:
    """Run the handler of a change's stage, or, with change "", of the run's phase."""

    change: str = ""


Step = Emit | Perform | Wait

_NEAREST_FIRST: Final = (
    Stage.KEEPING,
    Stage.READY_TO_MERGE,
    Stage.PUBLISHING,
    Stage.UPDATING_BRANCH,
    Stage.AUDITING,
    Stage.REVIEWING,
    Stage.ADDRESSING_REVIEWS,
    Stage.CI_FAILED,
    Stage.WORKING,
)


def next_step(
    run: Run, pulls: Mapping[int, PullRequest], waits: Mapping[str, Wait], now: float, base: str = ""
) -> Step:
    """Return the one next thing.

    `waits` holds what handlers asked to wait for, by change id ("" for the run); `base` is the forge's base, read
    once every change is settled, and when a block in verifying was lifted.
    """
    match run.phase:
        case Phase.PLANNED | Phase.VERIFYING if run.dry:
            return Emit(e.RunCancelled("a dry run: planned, and no more", planned=True))
        case Phase.VERIFYING if run.reverify and base not in ("", run.verify_commit):
            return Emit(e.VerificationStarted(base))
        case Phase.PLANNING | Phase.VERIFYING:
            return waits.get("") or Perform()
        case Phase.PLANNED if run.policy.approve_plan:
            return Wait(
                None, "the plan awaits your approval", person=True, next="claudetm plan, then claudetm resume"
            )
        case Phase.PLANNED:
            return Emit(e.PlanApproved())
        case Phase.WORKING:
            return _work(run, pulls, waits, now, base)
        case Phase.VERIFIED | Phase.CANCELLED:
            return Wait(None, "the run is over")
        case _:
            assert_never(run.phase)


def _work(run: Run, pulls: Mapping[int, PullRequest], waits: Mapping[str, Wait], now: float, base: str) -> Step:
    if run.stranded:
        change = next(iter(run.stranded.values()))
        given_up = [d for d in change.plan.depends_on if run.changes[d].stage is Stage.ABANDONED]
        return Emit(e.ChangeDropped(change.id, f"depends on {', '.join(given_up)}, which was abandoned"))
    acts: list[ChangeState] = []
    found: list[Wait] = []
    for change in run.active.values():
        if change.stage is Stage.PR_CREATED and run.policy.pause_on_pr and run.halted_at < change.opened_at:
            return Emit(e.RunPaused(f"pull request #{change.number} was opened (pause_on_pr)"))
        if change.stage is Stage.PUBLISHING and not run.policy.auto_push:
            why = f"{change.branch} is ready to be pushed, and git.auto_push is false"
            return Emit(e.RunPaused(why, "claudetm resume (allows pushes for the rest of the run)", "push"))
        match observe(change, pulls.get(change.number), run.policy, now):
            case e.Event() as event:
                return Emit(event)
            case Act() if _waits_for_the_base(run, change, pulls):
                pass  # what mends it is active, and its step or wait is found
            case Act():
                if change.id in waits:
                    found.append(waits[change.id])
                else:
                    acts.append(change)
            case Wait() as wait:
                found.append(wait)
    if acts:
        return Perform(min(acts, key=lambda c: _NEAREST_FIRST.index(c.stage)).id)
    # one that could not begin waits for a person, as any other that is held
    held = {i: Wait(None, c.hold.reason, person=True) for i, c in run.startable.items() if c.hold is not None}
    kept = {**waits, **held}
    found += [kept[i] for i in run.startable if i in kept]
    if free := [i for i in run.startable if i not in kept]:
        first = min(free, key=run.position)
        # what could not be worked on would only grow old
        match may_start(run, run.changes[first].plan.tasks[0].id, now):
            case Wait() as wait:
                found.append(wait)
            case Go() | Blocked():
                return Perform(first)
    if run.settled and run.mode is Mode.SESSION and run.kept is None:
        return Emit(e.RunCancelled("the work was dropped"))
    if run.settled:
        return Emit(e.VerificationStarted(base or run.tip))
    return _soonest(found)


def _waits_for_the_base(run: Run, change: ChangeState, pulls: Mapping[int, PullRequest]) -> bool:
    """Whether another change mends what is red here: one fixer is paid for one failure."""
    pull = pulls.get(change.number)
    stands = change.stage is Stage.CI_FAILED and pull is not None and pull.base == change.base_red
    return stands and run.mended_for(change)


def _soonest(waits: list[Wait]) -> Wait:
    """Return the wait that ends first; only when every one needs a person is that the answer."""
    timed = [w for w in waits if w.until is not None]
    if timed:
        return min(timed, key=lambda w: w.until or 0.0)
    patient = [w for w in waits if not w.person]
    if patient:
        return next((w for w in patient if w.asks != FORGE), patient[0])
    why = "; ".join(dict.fromkeys(w.why for w in waits)) or "nothing can go on"
    steps = dict.fromkeys(w.next for w in waits)
    step = next(iter(steps)) if len(steps) == 1 else "claudetm resume"
    return Wait(None, why, person=True, next=step, asks=FORGE if any(w.asks == FORGE for w in waits) else "")
