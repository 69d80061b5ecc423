"""The live view's panel: a pure function of the run, the clock, what goes on now, and the terminal's size."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.text import Text

from claudetm.cli.board import Row, amount, one_line, rows, span
from claudetm.cli.words import doing
from claudetm.workflow.limits import Wait
from claudetm.workflow.outcomes import Usage
from claudetm.workflow.run import ChangeState, OpenSession, Run
from claudetm.workflow.stages import Phase, Stage

if TYPE_CHECKING:
    from claudetm.ports.agent import Progress  # `status` looks without what drives

_LEAST_ROWS: Final = 3  # of changes, however low the terminal is
_SESSIONS: Final = 2  # shown at once
_HELD: Final = 2  # reasons shown at once
_STAGE_COLUMNS: Final = 24
_WAIT_ROWS: Final = 4  # of why nothing happens
_BESIDE: Final = 2  # lines that stay free: the cursor's, and one for what has just happened

_NOW: Final[Mapping[Stage, str]] = {
    Stage.WORKING: "preparing the worktree",
    Stage.PUBLISHING: "opening the pull request",
    Stage.PR_CREATED: "the checks begin",
    Stage.WAITING_CI: "the checks are running",
    Stage.CI_FAILED: "looking at the checks that failed",
    Stage.REVIEWING: "preparing the review",
    Stage.WAITING_REVIEWS: "looking for reviews",
    Stage.ADDRESSING_REVIEWS: "answering remarks",
    Stage.UPDATING_BRANCH: "merging the base in",
    Stage.READY_TO_MERGE: "merging",
    Stage.AUDITING: "preparing the audit",
    Stage.KEEPING: "keeping the work",
}
_STYLES: Final[Mapping[str, str]] = {
    "merged": "green",
    "kept": "green",
    "skipped": "dim",
    "abandoned": "red",
    "ci failed": "yellow",
    "queued": "dim",
}


@dataclass(frozen=True, slots=True)
class Activity:
    """What goes on that the journal does not tell."""

    progress: Mapping[str, Progress] = field(default_factory=dict)  # by session
    wait: Wait | None = None
    change: str = ""  # that the last event was about
    stopping: str = ""  # why, once the driver was asked to stop
    over: bool = False  # the driver has ended


def panel(run: Run, now: float, activity: Activity, width: int, height: int) -> RenderableType:
    """Return the panel: at most `width` columns and `height` - 2 lines. `now` is in epoch seconds."""
    top: list[RenderableType] = [
        Rule(Text(f"claudetm {run.id}", style="dim"), style="dim", align="left"),
        cut(one_line(run.goal), style="bold"),
        *_summary(run, now, activity, width),
    ]
    below = [] if activity.over else _below(run, now, activity, width)
    held = held_lines(run)
    # a third of the terminal stays for what has happened
    most = max(height * 2 // 3, len(top) + len(below) + len(held) + _LEAST_ROWS)
    room = min(most, height - _BESIDE) - len(top) - len(below) - len(held)
    shown, rest = rows(run, max(room, 0))
    now_at = {activity.change, *(s.change for s in run.open_sessions.values())}
    middle = change_lines(run, shown, () if activity.over else now_at)
    middle += [cut(f"  {rest}", style="dim")] if rest and room > 0 else []
    return Group(*[*top, *middle, *held, *below][: max(height - _BESIDE, 1)])


def cut(text: str, style: str = "") -> Text:
    """Return a line that is cut where the terminal ends."""
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _summary(run: Run, now: float, activity: Activity, width: int) -> list[Text]:
    """Return where the run stands and what it has used: in one line where that fits."""
    used = sum((p.usage for i, p in activity.progress.items() if i in run.open_sessions), run.used)
    budget = f" of ${run.policy.cost_usd:.2f}" if run.policy.cost_usd is not None else ""
    sessions = f"{run.sessions} of {run.policy.sessions}" if run.policy.sessions is not None else f"{run.sessions}"
    standing = [str(run.halt.kind) if run.halt else str(run.phase), *_done(run)]
    spent = [
        span(now - run.started),
        f"{sessions} session{'' if sessions == '1' else 's'}",
        f"${used.cost_usd:.2f}{budget}",
        f"{amount(_tokens(used))} tokens",
    ]
    joined = " · ".join([*standing, *spent])
    lines = [joined] if len(joined) < width else [" · ".join(standing), " · ".join(spent)]
    return [_phase_bold(cut(lines[0]), standing[0]), *map(cut, lines[1:])]


def _phase_bold(line: Text, phase: str) -> Text:
    line.stylize("bold cyan", 0, len(phase))
    return line


def _done(run: Run) -> list[str]:
    if not run.changes:
        return []
    settled = sum(c.settled for c in run.changes.values())
    done = sum(t.done for c in run.changes.values() for t in c.tasks.values())
    total = sum(len(c.plan.tasks) for c in run.changes.values())
    parts = [f"{settled}/{len(run.changes)} changes", f"{done}/{total} tasks"]
    if run.phase in {Phase.VERIFYING, Phase.VERIFIED} and run.plan.criteria:
        parts.append(f"criteria: {judged(run)}")
    return parts


def judged(run: Run) -> str:
    """Return how many criteria hold, and how many were not judged: what held before the work is no judgement."""
    total = len(run.plan.criteria)
    held = sum(r.verdict == "holds" for r in run.receipts.values())
    left = sum(k.id not in run.receipts for k in run.plan.criteria)
    if left == total:
        return f"{total}, none judged{'' if run.finished else ' yet'}"
    return f"{held} of {total} hold" + (f", {left} not judged{'' if run.finished else ' yet'}" if left else "")


def _tokens(used: Usage) -> int:
    return used.input_tokens + used.output_tokens + used.cache_read_tokens + used.cache_write_tokens


def change_lines(run: Run, shown: list[Row], pointed: Collection[str]) -> list[Text]:
    """Return a line a change, `pointed` at where it moves; the title gives way where the terminal is narrow."""
    moving = [r.id in pointed and r.id in run.active and run.changes[r.id].hold is None for r in shown]
    stages = [_stage(row, moving=moves) for row, moves in zip(shown, moving, strict=True)]
    widest = max((s.cell_len for s in stages), default=0)
    number, tasks, name = (max((len(t) for t in texts), default=0) for texts in _texts(shown))
    lines = []
    for row, stage, moves in zip(shown, stages, moving, strict=True):
        stage.pad_right(widest - stage.cell_len)
        rest = f" {row.number:>{number}} {row.tasks:>{tasks}} " if number else f" {row.tasks:>{tasks}} "
        line = Text.assemble(("▸", "cyan") if moves else " ", f" {row.id:<{name}} ", stage, rest, row.title)
        line.no_wrap, line.overflow = True, "ellipsis"
        lines.append(line)
    return lines


def _texts(shown: list[Row]) -> tuple[list[str], list[str], list[str]]:
    return [r.number for r in shown], [r.tasks for r in shown], [r.id for r in shown]


def _stage(row: Row, *, moving: bool) -> Text:
    stage = Text(row.stage, style="cyan" if moving else _STYLES.get(row.stage, ""))
    if row.mark == "held":
        stage.append(", held", "bold red")
    elif row.mark:
        stage.append(f" {row.mark}", "dim")
    stage.truncate(_STAGE_COLUMNS, overflow="ellipsis")
    return stage


def held_lines(run: Run) -> list[Text]:
    """Return why changes are held, the first of them."""
    return [cut(f"held: {c.id}: {one_line(c.hold.reason)}", "red") for c in run.held[:_HELD] if c.hold is not None]


def _below(run: Run, now: float, activity: Activity, width: int) -> list[Text]:
    """Return what happens now: sessions with what their agents do, or the step, or why nothing does."""
    if activity.stopping:
        return [cut(activity.stopping, style="bold yellow")]
    sessions = list(run.open_sessions.values())[:_SESSIONS]
    if sessions:
        return [line for s in sessions for line in _session(run, s, now, activity)]
    if activity.wait is not None:
        return _rows(waiting(activity.wait, now), width, "yellow")
    ours = activity.progress.get("")
    step = one_line(ours.text) if ours is not None else _step(run, run.changes.get(activity.change))
    return [cut(f"now: {step}")] if step else []


def _rows(text: str, width: int, style: str) -> list[Text]:
    """Return a text broken by words into a few rows, the last of them cut."""
    rows = textwrap.wrap(text, max(width - 1, 1), break_on_hyphens=False, max_lines=_WAIT_ROWS, placeholder=" …")
    return [cut(row, style) for row in rows]


def _session(run: Run, session: OpenSession, now: float, activity: Activity) -> list[Text]:
    progress = activity.progress.get(session.id)
    text = one_line(doing(run.id, progress.text)) if progress else "the session begins"
    return [cut(f"now: {at_work(run, session, now)}"), cut(f"     {text}", style="dim")]


def at_work(run: Run, session: OpenSession, now: float) -> str:
    """Return who works on what, and since when."""
    title = _task_title(run, session)
    what = f"{session.subject}: {title}" if title else session.subject
    return f"{session.role} on {one_line(what)} ({span(now - session.started)})"


def _task_title(run: Run, session: OpenSession) -> str:
    change = run.changes.get(session.change)
    if change is None:
        return ""
    return next((t.title for t in change.plan.tasks if t.id == session.subject), change.plan.title)


def waiting(wait: Wait, now: float) -> str:
    """Return why nothing happens, and until when where that is known."""
    if wait.until is None or wait.until <= now:
        return f"waiting: {one_line(wait.why)}"
    until = time.strftime("%H:%M:%S", time.localtime(wait.until))
    return f"waiting: {one_line(wait.why)} ({span(wait.until - now)} left, until {until})"


def _step(run: Run, change: ChangeState | None) -> str:
    """Return what is done between sessions, as far as the stage tells."""
    match run.phase:
        case Phase.PLANNING:
            return "running the criteria before any work" if run.draft is not None else "preparing the plan"
        case Phase.VERIFYING:
            return "running the criteria"
        case Phase.WORKING if change is not None and change.stage in _NOW:
            return f"{change.id}: {_NOW[change.stage]}"
        case _:
            return ""
