"""Whether an event may happen now: the tables decide, and for some events the run itself.

Asked once, before a record is written; the fold never asks again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from claudetm.plan.model import Change, Plan, problems
from claudetm.workflow import events as e
from claudetm.workflow.limits import below_use, pull_requests, too_many
from claudetm.workflow.policy import unusable
from claudetm.workflow.run import ChangeState, Run
from claudetm.workflow.stages import FINAL_STAGES, Mode, Phase, Stage
from claudetm.workflow.transitions import CHANGE, RUN


class IllegalEvent(Exception):  # noqa: N818 - a refusal, in the words of the state machine
    """The event is not legal where the run stands. Nothing has changed."""


def edge(run: Run, event: e.Event) -> tuple[str, str]:
    """Return the step that the event takes. Raises IllegalEvent, in one sentence, when it may not happen now."""
    if isinstance(event, e.RunStarted):
        if run.seq:
            raise IllegalEvent("The run has started already.")
        return "", str(Phase.PLANNING)
    if not run.seq:
        raise IllegalEvent("The run has not started.")
    change_id = e.change_of(event)
    if change_id and change_id not in run.changes:
        raise IllegalEvent(f"There is no change {change_id}.")
    at: Phase | Stage = run.changes[change_id].stage if change_id else run.phase
    row = (CHANGE if change_id else RUN)[at].get(type(event))
    if row is None:
        whose = f"change {change_id}" if change_id else "the run"
        raise IllegalEvent(f"{type(event).__name__} is not possible while {whose} is {at}.")
    if reason := _dry_refusal(run, event) or _mode_refusal(run, event) or _refusal(run, event):
        raise IllegalEvent(reason)
    return str(at), str(row.to)


_ALWAYS: Final = (e.SnapshotTaken, e.ChangeUnblocked, e.SessionEnded)
"""What may happen to a change whatever the run's phase: work is kept, holds are lifted, sessions are charged."""


def _dry_refusal(run: Run, event: e.Event) -> str:
    """Return why an event is wrong for a dry run, or only right for one, or ""."""
    match event:
        case e.PlanApproved() if run.dry:
            return "A dry run only plans: start the goal without --dry-run to have it worked."
        case e.RunCancelled(planned=True) if not run.dry:
            return "Only a dry run ends with its plan."
        case _:
            return ""


_ONLY: Final[Mapping[type[e.Event], Mode]] = {
    e.PlanDrafted: Mode.GOAL,
    e.PlanRefused: Mode.GOAL,
    e.PlanRejected: Mode.GOAL,
    e.PlanEdited: Mode.GOAL,
    e.PlanExtended: Mode.GOAL,
    e.NothingToDo: Mode.GOAL,
    e.TaskSkipped: Mode.GOAL,
    e.ChangeReady: Mode.GOAL,
    e.ChangeEmpty: Mode.GOAL,
    e.PullRequestAdopted: Mode.GOAL,
    e.WorkDone: Mode.SESSION,
    e.QuestionAnswered: Mode.QUESTION,
}
"""Events of one mode alone, of all that its stages do not tell apart."""


def _mode_refusal(run: Run, event: e.Event) -> str:
    """Return why an event is none of the run's mode, or ""."""
    only = _ONLY.get(type(event), run.mode)
    if only is not run.mode or (isinstance(event, e.PlanProposed) and run.mode is Mode.QUESTION):
        return f"{type(event).__name__} is not possible in a run of mode {run.mode}."
    return ""


def _refusal(run: Run, event: e.Event) -> str:
    """Return why an event that the tables allow is wrong for this run, or ""."""
    if e.change_of(event) and run.phase is not Phase.WORKING and not isinstance(event, _ALWAYS):
        return f"Changes stand still while the run is {run.phase}."
    match event:
        case e.LimitsRaised(values):
            return unusable(values) or below_use(run, values)
        case e.SettingsChanged(values):
            return unusable(values)
        case e.VerificationStarted():
            return _verification_refusal(run)
        case e.PlanDrafted() | e.PlanProposed():
            return " ".join(problems(event.plan))
        case e.NothingToDo() if event.plan.changes:
            return "There is something to do: the plan has changes."
        case e.PlanExtended() if not event.changes:
            return "The extension has no changes."
        case e.PlanEdited():
            return _edit_refusal(run, event)
        case e.PlanExtended():
            old = run.plan
            return " ".join(problems(Plan((*old.changes, *event.changes), old.criteria)))
        case e.ChangeStarted() if event.change not in run.startable:
            return f"Change {event.change} waits for another."
        case e.TaskStarted():
            return _task_refusal(run, event.change, event.task, begun=False)
        case e.TaskFinished() | e.TaskSkipped():
            return _task_refusal(run, event.change, event.task, begun=True)
        case e.ChangeReady() | e.ChangeEmpty() | e.WorkDone() if (task := run.changes[event.change].task) is not None:
            return f"Task {task.id} is not done."
        case e.SessionEnded() if event.id not in run.open_sessions:
            return f"Session {event.id} is not open."
        case e.SessionStarted() if event.id in run.open_sessions:
            return f"Session {event.id} is open already."
        case _:
            return ""


def _verification_refusal(run: Run) -> str:
    if run.phase is Phase.VERIFYING and not run.reverify:
        return f"{run.verify_commit[:10]} is being verified already."
    return "" if run.settled else "Not every change is settled."


def _task_refusal(run: Run, change_id: str, task_id: str, *, begun: bool) -> str:
    task = run.changes[change_id].task
    if task is None or task.id != task_id:
        return f"Task {task_id} is not the next task of change {change_id}."
    if begun and task_id not in run.changes[change_id].tasks:
        return f"Task {task_id} has not started."
    return ""


def _edit_refusal(run: Run, event: e.PlanEdited) -> str:
    if event.based_on != run.plan_seq:
        return f"The plan has changed since (it is at {run.plan_seq} now, the edit is based on {event.based_on})."
    if found := problems(event.plan):
        return " ".join(found)
    if run.phase is not Phase.PLANNED and not set(event.plan.criteria) >= set(run.plan.criteria):
        return "Once work has begun, criteria can be added, but none changed or removed."
    new = {c.id: c for c in event.plan.changes}
    begun = [c for c in run.changes.values() if c.stage is not Stage.QUEUED]
    return next(filter(None, (_begun_refusal(c, new.get(c.id)) for c in begun)), "") or _too_many_edited(run, event)


def _begun_refusal(old: ChangeState, new: Change | None) -> str:
    """Return why a change that has begun cannot become `new`, or ""."""
    if old.stage is not Stage.WORKING:
        if new == old.plan:
            return ""
        if old.stage in FINAL_STAGES:
            return f"Change {old.id} is {old.stage}: it stays as it is."
        return f"Change {old.id} is {old.stage}: it can only be dropped."
    if new is None:
        return f"Change {old.id} has begun: it can only be dropped."
    begun = [t for t in old.plan.tasks if t.id in old.tasks]
    if [t for t in new.tasks if t.id in old.tasks] != begun or list(new.tasks[: len(begun)]) != begun:
        return f"A task of change {old.id} that has started cannot be changed or moved."
    return ""


def _too_many_edited(run: Run, event: e.PlanEdited) -> str:
    """Return why an edit goes against the limits of pull requests; what stood before it did is let stand."""
    if run.policy.pr_per_task:
        old = {c.id: c for c in run.plan.changes}
        for c in event.plan.changes:
            if len(c.tasks) > 1 and c != old.get(c.id):
                return f"Each task is a pull request of its own (pr_per_task), so change {c.id} can have only one."
    if pull_requests(run, event.plan) > pull_requests(run, run.plan):
        return too_many(run, event.plan)
    return ""
