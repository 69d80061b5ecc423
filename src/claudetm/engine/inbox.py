"""What a user may ask of a run, as events. A command is applied once: its id stands in the journal.

The same words serve a live driver (between steps) and a command line that finds no driver and takes the lock itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from claudetm.engine.commit import Writer
from claudetm.plan.model import Plan, plan_from_data, problems
from claudetm.ports.dispatch import TOLD_TO_END
from claudetm.ports.store import Command, Inbox
from claudetm.workflow import events as e
from claudetm.workflow.legality import IllegalEvent, edge
from claudetm.workflow.outcomes import NEEDS_THE_USER
from claudetm.workflow.run import Run
from claudetm.workflow.stages import FINAL_STAGES, MONITOR, Halt, Phase, Stage

STOPPED: Final = "stopped by the user (claudetm stop)"
PAUSED: Final = "paused by the user"


def _resume(run: Run, arguments: Mapping[str, Any]) -> Sequence[e.Event]:
    """Lift what halts the run: raised limits first, then holds, then the halt itself; for a monitor, only that."""
    if arguments.get("by") == MONITOR:
        return [e.RunResumed(MONITOR)] if run.halt is not None else []
    raised = {k: v for k, v in arguments.items() if k in _RAISABLE}
    events: list[e.Event] = [e.LimitsRaised(raised)] if raised else []
    events += [e.ChangeUnblocked(c.id) for c in run.held if c.stage is not Stage.ABANDONED]
    if run.phase == Phase.PLANNED and run.policy.approve_plan and not run.dry and run.halted_at > run.proposed_at:
        events.append(e.PlanApproved("user"))  # it was shown: the run halted upon it
    if run.halt is not None and run.halt.asks == "push":
        events.append(e.SettingsChanged({"auto_push": True}))  # for the rest of the run
    needs_the_user = any(t.last_outcome in NEEDS_THE_USER for t in run.tallies.values())
    if run.halt is not None or needs_the_user:
        events.append(e.RunResumed())
    return events


def _halt(run: Run, arguments: Mapping[str, Any], reason: str) -> Sequence[e.Event]:
    """Pause; what halts the run already stays, with its reason, but where only a signal to its process does."""
    if run.halt is not None and run.halt.reason != TOLD_TO_END:
        raise IllegalEvent(f"The run is {run.halt.kind} already: {run.halt.reason.rstrip('.')}.")
    return [e.RunPaused(arguments.get("reason", reason))]


def _interrupt(run: Run, arguments: Mapping[str, Any]) -> Sequence[e.Event]:
    """Stop what is at work, also where a pause only waits for its end; what a resume is told stays.

    So does the pause where a signal stops it, which is nobody's word: a monitor would carry on what that one halts.
    """
    if run.halt is None or run.halt.kind is not Halt.PAUSED:
        return _halt(run, arguments, STOPPED)
    reason = arguments.get("reason", STOPPED)
    said = run.halt.reason if reason == TOLD_TO_END else reason
    return [e.RunPaused(said, run.halt.next, run.halt.asks)]


def edits(run: Run, plan: Plan, based_on: int) -> Sequence[e.Event]:
    """Return what an edited plan comes to: a change that has begun and is missing from it is dropped.

    Raises IllegalEvent; then nothing of the edit happens, no drop either.
    """
    there = {c.id for c in plan.changes}
    begun = [c for c in run.plan.changes if run.changes[c.id].stage is not Stage.QUEUED]
    missing = [c for c in begun if c.id not in there and run.changes[c.id].stage not in FINAL_STAGES]
    changes = list(plan.changes)
    for c in missing:  # a dropped change stays in the plan, in its place, to be looked at
        changes.insert(run.plan.changes.index(c), c)
    edited = e.PlanEdited(replace(plan, changes=tuple(changes)), based_on)
    edge(run, edited)
    if found := problems(plan):  # what depends on a change cannot outlive it unsaid
        raise IllegalEvent(" ".join(found))
    drops = [c.id for c in missing if not run.changes[c.id].accepted]
    # a drop is what a killed driver may repeat; the edit, which could not be applied twice, comes last
    return [*(e.ChangeDropped(i, "dropped by an edit of the plan") for i in drops), edited]


_RAISABLE: Final = frozenset(
    {
        "sessions",
        "cost_usd",
        "session_cost_usd",
        "turns",
        "session_seconds",
        "attempts",
        "fix_rounds",
        "model",
        "max_prs",
    }
)

_COMMANDS: Final[Mapping[str, Callable[[Run, Mapping[str, Any]], Sequence[e.Event]]]] = {
    "pause": lambda run, a: _halt(run, a, PAUSED),
    "stop": lambda run, a: _halt(run, a, STOPPED),
    "cancel": lambda _run, a: [e.RunCancelled(a.get("reason", ""))],
    "resume": _resume,
    "approve": lambda _run, _a: [e.PlanApproved("user")],
    "reject": lambda _run, a: [e.PlanRejected(a["reason"])],
    "edit_plan": lambda run, a: edits(run, plan_from_data(a["plan"]), a["based_on"]),
    "limits": lambda _run, a: [e.LimitsRaised(dict(a))],
    "settings": lambda _run, a: [e.SettingsChanged(dict(a))],
    "say": lambda _run, a: [e.MessageAdded(a["text"])],
    "drop": lambda _run, a: [e.ChangeDropped(a["change"], a.get("reason", "dropped by the user"))],
}

INTERRUPTING: Final = frozenset({"stop", "cancel"})
"""Commands that end a running session at once."""


async def apply(writer: Writer, command: Command, *, at_work: bool = False) -> str:
    """Journal what a command asks for; return "" or, when it was refused, why. Applied before: nothing happens.

    `at_work` says that something runs which a stop would end.
    """
    run = writer.run
    if command.id in run.commands:
        return run.refused.get(command.id, "")
    try:
        make = _interrupt if at_work and command.name == "stop" else _COMMANDS[command.name]
        events = make(run, command.arguments)
        for n, event in enumerate(events, start=1):
            # the last event alone carries the id: a command that was cut short is applied again, whole
            await writer.append(event, command.id if n == len(events) else "")
    except (IllegalEvent, KeyError, ValueError, TypeError, AttributeError) as error:
        reason = str(error) if isinstance(error, IllegalEvent) else f"The command is malformed: {error!r}."
        if not run.finished:
            await writer.append(e.CommandRefused(command.name, reason), command.id)
        return reason
    return ""


async def take(writer: Writer, inbox: Inbox, *, at_work: bool = False) -> frozenset[str]:
    """Apply everything that waits, in order; return the names of what was applied."""
    applied = set()
    for command in inbox.pending():
        if not await apply(writer, command, at_work=at_work):
            applied.add(command.name)
        inbox.done(command)
    return frozenset(applied)
