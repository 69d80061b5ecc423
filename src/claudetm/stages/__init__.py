"""One handler a stage: it looks before it acts, so after a crash it is simply run again.

A handler's return annotation is its row's acted events (and ChangeBlocked or RunBlocked), or Wait; a test holds
the two equal.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from claudetm.stages.auditing import audit
from claudetm.stages.checks import fix
from claudetm.stages.context import Context
from claudetm.stages.keeping import keep_work
from claudetm.stages.merging import merge
from claudetm.stages.planning import plan
from claudetm.stages.publishing import publish
from claudetm.stages.reviews import respond, review
from claudetm.stages.updating import update
from claudetm.stages.verifying import verify
from claudetm.stages.working import start, work
from claudetm.workflow.events import Event
from claudetm.workflow.limits import Wait
from claudetm.workflow.run import ChangeState
from claudetm.workflow.stages import Phase, Stage

RUN_HANDLERS: Final[Mapping[Phase, Callable[[Context], Awaitable[Event | Wait]]]] = {
    Phase.PLANNING: plan,
    Phase.VERIFYING: verify,
}

CHANGE_HANDLERS: Final[Mapping[Stage, Callable[[Context, ChangeState], Awaitable[Event | Wait]]]] = {
    Stage.QUEUED: start,
    Stage.WORKING: work,
    Stage.PUBLISHING: publish,
    Stage.CI_FAILED: fix,
    Stage.REVIEWING: review,
    Stage.ADDRESSING_REVIEWS: respond,
    Stage.UPDATING_BRANCH: update,
    Stage.READY_TO_MERGE: merge,
    Stage.AUDITING: audit,
    Stage.KEEPING: keep_work,
}
