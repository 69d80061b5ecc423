"""queued and working: a change gets its worktree, then each task a session, until there is something to publish.

A task is done when the session says so and the repository shows it: new commits that change something, on top of
where the task began, and no modified tracked file. Anything less finishes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, assert_never

from claudetm.errors import RepositoryError
from claudetm.plan.model import Task
from claudetm.ports.agent import Role
from claudetm.ports.repository import Commit
from claudetm.prompts.answers import Answer, VerifierAnswer, WorkerAnswer
from claudetm.prompts.briefs import ConfirmBrief, DoneTask, WorkerBrief
from claudetm.stages.brief import common
from claudetm.stages.context import Context
from claudetm.stages.description import closing
from claudetm.stages.pushing import Stands, push
from claudetm.stages.session import Seat, converse
from claudetm.stages.single import work_whole
from claudetm.stages.worktree import furnish, prepare, set_up, tidy
from claudetm.workflow.events import (
    ChangeBlocked,
    ChangeEmpty,
    ChangeReady,
    ChangeStarted,
    PullRequestAdopted,
    TaskFinished,
    TaskSkipped,
    TaskStarted,
    WorkDone,
)
from claudetm.workflow.limits import Blocked, Wait
from claudetm.workflow.run import ADOPTED, ChangeState
from claudetm.workflow.stages import Mode


async def start(ctx: Context, change: ChangeState) -> ChangeStarted | PullRequestAdopted | ChangeBlocked | Wait:
    """Give the change a branch and a worktree at the forge's base; one that was made elsewhere has its own."""
    if ctx.run.adopts and change.id == ADOPTED:
        pull = await ctx.pull(ctx.run.adopts)
        return PullRequestAdopted(change.id, pull.number, pull.branch, pull.head, pull.tested_base, pull.url)
    branch = ctx.run.keep.branch or f"claudetm/{ctx.run.id}/{change.id}"
    base = await ctx.forge.base() if ctx.run.mode is Mode.GOAL else ctx.run.base
    path = await ctx.repository.open_worktree(change.id, branch, base)
    if failure := await set_up(ctx, path, change.id):
        return Wait(None, "stopped") if ctx.stop.is_set() else ChangeBlocked(change.id, failure)
    return ChangeStarted(change.id, branch, (await ctx.repository.state(change.id)).head)


async def work(
    ctx: Context, change: ChangeState
) -> TaskStarted | TaskFinished | TaskSkipped | ChangeReady | ChangeEmpty | WorkDone | ChangeBlocked | Wait:
    """Take the change one step on: begin its next task, hold that task's session, or conclude the change."""
    if ctx.run.mode is Mode.SESSION:
        return await work_whole(ctx, change)
    task = change.task
    if task is None:
        return await _conclude(ctx, change)
    if task.id not in change.tasks:
        return TaskStarted(change.id, task.id, await _share(ctx, change))
    result = await _session(ctx, change, task)
    match result:
        case Wait():
            return result
        case Blocked(reason, next_step):
            return ChangeBlocked(change.id, reason, next_step)
        case WorkerAnswer():
            return await _judge(ctx, change, task, result)
        case _:
            assert_never(result)


async def _share(ctx: Context, change: ChangeState) -> str:
    """Push the finished tasks, where that needs no permission; return the head, with what a person has pushed.

    What keeps them back, publishing will say.
    """
    if ctx.run.policy.auto_push and change.head != change.base:
        with suppress(RepositoryError):
            pushed = await push(ctx, change, change.head)
            return pushed.head if isinstance(pushed, Stands) else change.head
    return change.head


async def _session(ctx: Context, change: ChangeState, task: Task) -> WorkerAnswer | Wait | Blocked:
    path = await prepare(ctx, change)
    begun = change.tasks[task.id].from_commit

    async def objection(answer: Mapping[str, Any]) -> str:
        match answer.get("outcome"):
            case "done":
                return await unfinished_business(ctx, change, begun)
            case "already_true":
                return await worked_on(ctx, change, begun)
            case _:
                return ""

    async def proof(answer: Answer) -> str:
        assert isinstance(answer, WorkerAnswer)  # noqa: S101 - the role decides the answer's form
        match answer.outcome:
            case "done":
                return await unproven(ctx, change, begun)
            case "already_true":
                return await worked_on(ctx, change, begun)
            case "unfinished" | "blocked":
                return ""
            case _:
                assert_never(answer.outcome)

    seat = Seat(Role.WORKER, task.id, path, change.id, task.complexity, objection, proof)
    result = await converse(ctx, seat, await _brief(ctx, change, task, str(path)))
    if isinstance(result, (Wait, Blocked)):
        return result
    assert isinstance(result.answer, WorkerAnswer)  # noqa: S101 - the brief decides the answer's form
    return result.answer


async def unfinished_business(ctx: Context, change: ChangeState, begun: str) -> str:
    """Return what contradicts a session that says it is done, as a sentence for it; "" when nothing does."""
    state = await ctx.repository.state(change.id)
    if state.untracked and not state.modified and not state.refused:
        return f"There are untracked files: {', '.join(state.untracked[:10])}. Commit, ignore or remove them."
    return await unproven(ctx, change, begun) or await misnamed(ctx, change, begun)


async def misnamed(ctx: Context, change: ChangeState, begun: str) -> str:
    """Return which message of a commit since `begun` would close an issue when it is merged; "" for none.

    It is asked for, not insisted on: the work is done. What came with the base was merged before.
    """
    if not ctx.run.hosted:
        return ""
    bases = [base for base in dict.fromkeys((change.base, change.failed_with)) if base]
    for commit in await ctx.repository.commits(begun, await ctx.repository.adopt(change.id)):
        words = closing(f"{commit.subject}\n{commit.body}")
        if words and not any([await ctx.repository.contains(base, commit.id) for base in bases]):
            return (
                f'The message of {commit.id[:10]} says "{words}", which closes that issue when this is merged:'
                " reword it so that it does not (git commit --amend, where it is the last)."
            )
    return ""


async def unproven(ctx: Context, change: ChangeState, begun: str) -> str:
    """Return why the worktree does not bear out that work was done since `begun`; "" when it does.

    Untracked leftovers are kept under a ref and removed: they are no reason.
    """
    state = await tidy(ctx, change)
    if state.refused:
        return f"The repository cannot be taken as it is: {state.refused.rstrip('.')}."
    if state.modified:
        return f"There are uncommitted changes: {', '.join(state.modified[:10])}. Commit or revert them."
    head = await ctx.repository.adopt(change.id)
    return await nothing_shown(ctx, begun, head)


async def worked_on(ctx: Context, change: ChangeState, begun: str) -> str:
    """Return what shows that the task was not true before, but worked on; "" when nothing does."""
    state = await ctx.repository.state(change.id)
    if not state.clean:
        return f"There are uncommitted changes: {', '.join((*state.modified, *state.untracked)[:10])}."
    if await ctx.repository.changed_paths(begun, await ctx.repository.adopt(change.id)):
        return "There are commits since the task began, maybe of a session before you: say `done` when they do it."
    return ""


async def nothing_shown(ctx: Context, begun: str, head: str) -> str:
    """Return why the commits from `begun` to `head` show no work, or ""."""
    if head == begun:
        return "There is no commit since the task began."
    if not await ctx.repository.contains(head, begun):
        return f"History was rewritten: {begun[:10]}, where the task began, is gone from the branch."
    if not await ctx.repository.changed_paths(begun, head):
        return "The commits change nothing."
    return ""


async def _judge(
    ctx: Context, change: ChangeState, task: Task, answer: WorkerAnswer
) -> TaskFinished | TaskSkipped | ChangeBlocked | Wait:
    now = ctx.clock.now()
    match answer.outcome:
        case "done":
            head = await ctx.repository.adopt(change.id)
            return TaskFinished(change.id, task.id, head, answer.summary)
        case "unfinished":
            return Wait(now, f"{task.id} is unfinished: {answer.summary}")
        case "already_true":
            return await _confirm(ctx, change, task, answer)
        case "blocked":
            needs = answer.blocker.needs if answer.blocker else answer.summary
            return ChangeBlocked(change.id, f"{task.id}: {needs}", 'claudetm say "…", then claudetm resume')
        case _:
            assert_never(answer.outcome)


async def _confirm(
    ctx: Context, change: ChangeState, task: Task, answer: WorkerAnswer
) -> TaskSkipped | ChangeBlocked | Wait:
    """Let a fresh mind look whether the task really is true already; it must cite what it saw."""
    head = await ctx.repository.adopt(change.id)
    async with ctx.repository.checkout(head) as tree:
        subject = f"{task.id}:confirm"
        if failure := await furnish(ctx, tree, f"{task.id}-confirm"):
            return Wait(None, "stopped") if ctx.stop.is_set() else ChangeBlocked(change.id, failure)
        shown = tuple(f"{v.path}:{v.line} {v.command}".strip() for v in answer.evidence)
        brief = ConfirmBrief(
            **common(ctx, subject, str(tree)), change=change.plan, task=task, commit=head, evidence=shown
        )
        seat = Seat(Role.VERIFIER, subject, tree, change.id, resumable=False)
        result = await converse(ctx, seat, brief)
    match result:
        case Wait():
            return result
        case Blocked(reason, next_step):
            return ChangeBlocked(change.id, reason, next_step)
        case _:
            verdicts = result.answer.results if isinstance(result.answer, VerifierAnswer) else []
            found = next((v for v in verdicts if v.criterion_id == task.id), None)
            if found is not None and found.verdict == "holds":
                return TaskSkipped(change.id, task.id, tuple(found.evidence))
            return Wait(ctx.clock.now(), f"{task.id} is said to be true already, which a second look did not confirm")


async def _brief(ctx: Context, change: ChangeState, task: Task, cwd: str) -> WorkerBrief:
    state = await ctx.repository.state(change.id)
    begun = change.tasks[task.id].from_commit
    tally = ctx.run.tally(task.id)
    return WorkerBrief(
        **common(ctx, task.id, cwd),
        change=change.plan,
        task=task,
        done=tuple(
            DoneTask(t, s.summary, s.skipped) for t in change.plan.tasks if (s := change.tasks.get(t.id)) and s.done
        ),
        from_commit=begun,
        head=state.head,
        commits=await _commits(ctx, change, begun),
        modified=state.modified,
        untracked=state.untracked,
        attempt=tally.attempts + 1,
        previous=tally.last_detail,
    )


async def _commits(ctx: Context, change: ChangeState, begun: str) -> tuple[Commit, ...]:
    """Return what was committed since `begun`; nothing where it cannot be taken over."""
    try:
        return tuple(await ctx.repository.commits(begun, await ctx.repository.adopt(change.id)))
    except RepositoryError:
        return ()


async def _conclude(ctx: Context, change: ChangeState) -> ChangeReady | ChangeEmpty:
    """Every task is done: publish what there is, or skip a change that changes nothing."""
    if await ctx.repository.changed_paths(change.base, change.head):
        return ChangeReady(change.id, change.head)
    return ChangeEmpty(change.id, "every task is done and nothing differs from the base")
