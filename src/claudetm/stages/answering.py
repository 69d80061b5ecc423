"""A run of mode question: one session reads the repository and answers. Nothing is planned, changed or run."""

from __future__ import annotations

from claudetm.ports.agent import Role
from claudetm.prompts.answers import AnalystAnswer
from claudetm.prompts.briefs import AnalystBrief
from claudetm.stages.brief import common
from claudetm.stages.context import Context
from claudetm.stages.session import Seat, converse
from claudetm.workflow.events import QuestionAnswered, RunBlocked
from claudetm.workflow.limits import Blocked, Wait
from claudetm.workflow.outcomes import Outcome


async def answer(ctx: Context) -> QuestionAnswered | RunBlocked | Wait:
    """Let the analyst role answer, in a throw-away checkout of where the run began."""
    run, subject = ctx.run, "question"
    if run.tally(subject).last_outcome is Outcome.TIME_LIMIT:  # the time is that of the question, not of a try
        return RunBlocked("no answer came within the time for it", "claudetm logs, then claudetm resume")
    async with ctx.repository.checkout(run.base) as tree:
        brief = AnalystBrief(**common(ctx, subject, str(tree)), title=run.title, commit=run.base)
        result = await converse(ctx, Seat(Role.ANALYST, subject, tree, resumable=False), brief)
    match result:
        case Wait():
            return result
        case Blocked(reason, next_step):
            return RunBlocked(reason, next_step)
        case _:
            assert isinstance(result.answer, AnalystAnswer)  # noqa: S101 - the brief decides the answer's form
            return QuestionAnswered(result.answer.answer, tuple(result.answer.evidence))
