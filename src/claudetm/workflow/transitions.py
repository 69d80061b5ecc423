"""All legal events, in two tables: where the run or a change stands x what happened -> where it stands then.

An event that is not in the tables is refused and changes nothing. A row also says who may bring the event about:
it is observed (read off the forge), acted (a handler's work), commanded (by the user), a limit's, or noted (by
whoever does the thing). The diagram in docs/architecture.md is made from these tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from claudetm.workflow import events as e
from claudetm.workflow.stages import FINAL_PHASES, FINAL_STAGES, PULL_REQUEST_STAGES, Phase, Stage


class Origin(StrEnum):
    """Who brings an event about."""

    OBSERVED = "observed"
    ACTED = "acted"
    COMMANDED = "commanded"
    LIMIT = "limit"
    NOTED = "noted"


@dataclass(frozen=True, slots=True)
class Row:
    """Where an event leads, and who may bring it about."""

    to: Phase | Stage
    origins: frozenset[Origin]


def _observed(to: Phase | Stage) -> Row:
    return Row(to, frozenset({Origin.OBSERVED}))


def _acted(to: Phase | Stage) -> Row:
    return Row(to, frozenset({Origin.ACTED}))


def _commanded(to: Phase | Stage) -> Row:
    return Row(to, frozenset({Origin.COMMANDED}))


def _noted(to: Phase | Stage) -> Row:
    return Row(to, frozenset({Origin.NOTED}))


def _any(to: Phase | Stage, *origins: Origin) -> Row:
    return Row(to, frozenset(origins))


Table = Mapping[Phase | Stage, Mapping[type[e.Event], Row]]

_RUN: Final[dict[Phase, dict[type[e.Event], Row]]] = {
    Phase.PLANNING: {
        e.PlanDrafted: _noted(Phase.PLANNING),
        e.PlanProposed: _acted(Phase.PLANNED),
        e.NothingToDo: _acted(Phase.VERIFYING),
        e.PlanRefused: _acted(Phase.PLANNING),
        e.QuestionAnswered: _acted(Phase.VERIFIED),
    },
    Phase.PLANNED: {
        e.PlanApproved: _any(Phase.WORKING, Origin.OBSERVED, Origin.COMMANDED),
        e.PlanRejected: _commanded(Phase.PLANNING),
        e.PlanEdited: _commanded(Phase.PLANNED),
    },
    Phase.WORKING: {
        e.PlanEdited: _commanded(Phase.WORKING),
        e.VerificationStarted: _observed(Phase.VERIFYING),
    },
    Phase.VERIFYING: {
        # anew, where a person has moved the base to mend what had blocked it
        e.VerificationStarted: _observed(Phase.VERIFYING),
        e.CriterionChecked: _noted(Phase.VERIFYING),
        e.CriteriaFailed: _acted(Phase.VERIFYING),
        e.PlanExtended: _acted(Phase.WORKING),
        e.GoalVerified: _acted(Phase.VERIFIED),
    },
    Phase.VERIFIED: {},
    # a cancel interrupts what runs; what that has used is charged all the same
    Phase.CANCELLED: {e.SessionEnded: _noted(Phase.CANCELLED)},
}

_CHANGE: Final[dict[Stage, dict[type[e.Event], Row]]] = {
    Stage.QUEUED: {
        e.ChangeStarted: _acted(Stage.WORKING),
        e.PullRequestAdopted: _acted(Stage.WAITING_CI),
    },
    Stage.WORKING: {
        e.TaskStarted: _acted(Stage.WORKING),
        e.TaskFinished: _acted(Stage.WORKING),
        e.TaskSkipped: _acted(Stage.WORKING),
        e.ChangeReady: _acted(Stage.PUBLISHING),
        e.ChangeEmpty: _acted(Stage.SKIPPED),
        e.WorkDone: _acted(Stage.AUDITING),
    },
    Stage.AUDITING: {
        e.AuditPassed: _acted(Stage.KEEPING),
        e.AuditSkipped: _acted(Stage.KEEPING),
        e.AuditFailed: _acted(Stage.WORKING),
    },
    Stage.KEEPING: {
        e.ChangeKept: _acted(Stage.KEPT),
    },
    Stage.PUBLISHING: {
        e.PullRequestOpened: _acted(Stage.PR_CREATED),
    },
    Stage.PR_CREATED: {
        e.ChecksAwaited: _observed(Stage.WAITING_CI),
        e.HeadMoved: _observed(Stage.WAITING_CI),
    },
    Stage.WAITING_CI: {
        e.ChecksPassed: _observed(Stage.REVIEWING),
        e.ChecksFailed: _observed(Stage.CI_FAILED),
        e.ConflictFound: _observed(Stage.UPDATING_BRANCH),
        e.HeadMoved: _observed(Stage.WAITING_CI),
    },
    Stage.CI_FAILED: {
        e.FixPushed: _acted(Stage.WAITING_CI),
        e.ChecksRerun: _acted(Stage.WAITING_CI),
        e.BaseFoundRed: _noted(Stage.CI_FAILED),
        # what fails there as it does here may be mended by now
        e.BaseMoved: _acted(Stage.UPDATING_BRANCH),
        e.ChecksPassed: _observed(Stage.REVIEWING),
        e.ConflictFound: _observed(Stage.UPDATING_BRANCH),
        e.HeadMoved: _observed(Stage.UPDATING_BRANCH),
    },
    Stage.REVIEWING: {
        e.SelfReviewed: _acted(Stage.WAITING_REVIEWS),
        e.ChecksFailed: _observed(Stage.CI_FAILED),
        e.ChecksAwaited: _observed(Stage.WAITING_CI),
        e.ConflictFound: _observed(Stage.UPDATING_BRANCH),
        e.HeadMoved: _observed(Stage.WAITING_CI),
    },
    Stage.WAITING_REVIEWS: {
        e.ReviewsReceived: _observed(Stage.ADDRESSING_REVIEWS),
        e.ReviewsSettled: _observed(Stage.READY_TO_MERGE),
        e.ChecksFailed: _observed(Stage.CI_FAILED),
        e.ChecksAwaited: _observed(Stage.WAITING_CI),
        e.ConflictFound: _observed(Stage.UPDATING_BRANCH),
        e.HeadMoved: _observed(Stage.WAITING_CI),
    },
    Stage.ADDRESSING_REVIEWS: {
        e.ReviewsAnswered: _acted(Stage.WAITING_CI),
        e.HeadMoved: _observed(Stage.UPDATING_BRANCH),
    },
    Stage.UPDATING_BRANCH: {
        e.BranchUpdated: _acted(Stage.WAITING_CI),
        e.HeadMoved: _observed(Stage.UPDATING_BRANCH),
    },
    Stage.READY_TO_MERGE: {
        e.MergeQueued: _acted(Stage.READY_TO_MERGE),
        # ours when the handler merges, a person's when it is read off the forge
        e.PullRequestMerged: _any(Stage.MERGED, Origin.ACTED, Origin.OBSERVED),
        e.BaseMoved: _any(Stage.UPDATING_BRANCH, Origin.ACTED, Origin.OBSERVED),
        e.ConflictFound: _any(Stage.UPDATING_BRANCH, Origin.ACTED, Origin.OBSERVED),
        e.ReviewsReceived: _observed(Stage.ADDRESSING_REVIEWS),
        e.ReviewsAwaited: _observed(Stage.WAITING_REVIEWS),
        e.ChecksFailed: _observed(Stage.CI_FAILED),
        e.ChecksAwaited: _observed(Stage.WAITING_CI),
        e.HeadMoved: _observed(Stage.WAITING_CI),
    },
    Stage.ABANDONED: {
        e.PullRequestReopened: _observed(Stage.WAITING_CI),
    },
    Stage.MERGED: {},
    Stage.SKIPPED: {},
    Stage.KEPT: {},
}


def _run_table() -> dict[Phase | Stage, Mapping[type[e.Event], Row]]:
    table: dict[Phase | Stage, Mapping[type[e.Event], Row]] = {}
    for phase, rows in _RUN.items():
        anywhere: dict[type[e.Event], Row] = {}
        if phase not in FINAL_PHASES:
            anywhere = {
                e.RunPaused: _any(phase, Origin.COMMANDED, Origin.LIMIT, Origin.OBSERVED),
                e.RunBlocked: _any(phase, Origin.ACTED, Origin.LIMIT, Origin.OBSERVED),
                e.RunResumed: _commanded(phase),
                e.LimitsRaised: _commanded(phase),
                e.SettingsChanged: _commanded(phase),
                e.MessageAdded: _commanded(phase),
                e.CommandRefused: _commanded(phase),
                e.DriverStarted: _noted(phase),
                e.SessionStarted: _noted(phase),
                e.SessionEnded: _noted(phase),
                # commanded by the user; a dry run ends by itself
                e.RunCancelled: _any(Phase.CANCELLED, Origin.COMMANDED, Origin.OBSERVED),
            }
        table[phase] = {**anywhere, **rows}
    return table


def _change_table() -> dict[Phase | Stage, Mapping[type[e.Event], Row]]:
    table: dict[Phase | Stage, Mapping[type[e.Event], Row]] = {}
    for stage, rows in _CHANGE.items():
        anywhere: dict[type[e.Event], Row] = {}
        if stage not in FINAL_STAGES:
            anywhere = {
                e.ChangeBlocked: _any(stage, Origin.ACTED, Origin.LIMIT, Origin.OBSERVED),
                e.ChangeUnblocked: _commanded(stage),
                e.SessionStarted: _noted(stage),
                e.SessionEnded: _noted(stage),
                e.SnapshotTaken: _noted(stage),
                e.ChangeDropped: _any(Stage.ABANDONED, Origin.COMMANDED, Origin.OBSERVED),
            }
        if stage in PULL_REQUEST_STAGES:
            anywhere[e.PullRequestMerged] = _observed(Stage.MERGED)
            anywhere[e.PullRequestClosed] = _observed(Stage.ABANDONED)
        table[stage] = {**anywhere, **rows}
    return table


RUN: Final[Table] = _run_table()
"""phase x event -> phase. RunStarted, which makes the run, stands before it."""

CHANGE: Final[Table] = _change_table()
"""stage x event -> stage."""


def acted(position: Phase | Stage) -> frozenset[type[e.Event]]:
    """Return the events that the handler of a phase or stage may bring about."""
    table = RUN if isinstance(position, Phase) else CHANGE
    return frozenset(event for event, row in table[position].items() if Origin.ACTED in row.origins)


def diagram() -> str:
    """Return both tables as Mermaid state diagrams, self-loops and what is legal everywhere left out."""
    return "\n\n".join(
        _mermaid(title, table, start)
        for title, table, start in (("Run", _RUN, Phase.PLANNING), ("Change", _CHANGE, Stage.QUEUED))
    )


def _mermaid(title: str, table: Mapping[Phase, object] | Mapping[Stage, object], start: Phase | Stage) -> str:
    full = RUN if isinstance(start, Phase) else CHANGE
    lines = ["```mermaid", "---", f"title: {title}", "---", "stateDiagram-v2", f"    [*] --> {start}"]
    for position in table:
        steps: dict[str, list[str]] = {}
        for event, row in full[position].items():
            if row.to != position and event not in (e.ChangeDropped, e.RunCancelled):
                steps.setdefault(str(row.to), []).append(event.__name__)
        lines += [f"    {position} --> {to}: {', '.join(names)}" for to, names in steps.items()]
    finals = FINAL_PHASES if isinstance(start, Phase) else FINAL_STAGES
    lines += [f"    {final} --> [*]" for final in sorted(finals)]
    return "\n".join([*lines, "```"])
