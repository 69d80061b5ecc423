"""A run's changes as rows, cut to what fits: what moves stays, what is over or has to wait is summed up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from claudetm.redact import printable, redact
from claudetm.workflow.run import ChangeState, Run
from claudetm.workflow.stages import Stage


@dataclass(frozen=True, slots=True)
class Row:
    """One change as people see it."""

    id: str
    stage: str
    number: str  # of its pull request, as in "#7", or ""
    tasks: str  # done/total
    title: str
    mark: str  # "held", "after c1", or ""


def rows(run: Run, room: int) -> tuple[list[Row], str]:
    """Return the rows of at most `room` lines, in the plan's order, and what was left out, in words, or ""."""
    changes = list(run.changes.values())
    if len(changes) <= room:
        return [_row(run, c) for c in changes], ""
    chosen = _chosen(run, changes, max(room - 1, 0))
    hidden = Counter(stage_words(c) for c in changes if c.id not in chosen)
    counts = ", ".join(f"{n} {words}" for words, n in hidden.most_common())
    rest = f"… and {sum(hidden.values())} more: {counts}"
    return [_row(run, c) for c in changes if c.id in chosen], rest


def _chosen(run: Run, changes: Sequence[ChangeState], room: int) -> frozenset[str]:
    """Return what matters most: at work, held, under way, over last, next, then the others as they ended."""
    at_work = {s.change for s in run.open_sessions.values()}
    over = sorted((c for c in changes if c.settled), key=lambda c: -c.since)
    moving = sorted((c for c in changes if c.id in run.active), key=lambda c: (c.id not in at_work, c.hold is None))
    waiting = [c for c in changes if not c.settled and c.id not in run.active]
    soon = sorted(waiting, key=lambda c: (c.hold is None, c.id not in run.startable))
    in_order = chain(moving, over[:1], soon, over[1:])
    return frozenset(c.id for c, _ in zip(in_order, range(room), strict=False))


def _row(run: Run, change: ChangeState) -> Row:
    return Row(
        id=one_line(change.id),
        stage=stage_words(change),
        number=f"#{change.number}" if change.number else "",
        tasks=f"{sum(t.done for t in change.tasks.values())}/{len(change.plan.tasks)}",
        title=one_line(change.plan.title),
        mark=_mark(run, change),
    )


def stage_words(change: ChangeState) -> str:
    """Return a stage as people read it."""
    return str(change.stage).replace("_", " ")


def _mark(run: Run, change: ChangeState) -> str:
    if change.hold is not None:
        return "held"
    if change.stage is not Stage.QUEUED:
        return ""
    needs = [d for d in change.plan.depends_on if d in run.changes and not run.changes[d].settled]
    return f"after {', '.join(needs)}" if needs else ""


def one_line(text: str) -> str:
    """Return text from outside as one line that may be shown."""
    return " ".join(redact(printable(text)).split())


def span(seconds: float) -> str:
    """Return a length of time as a clock shows it: 0:42, 13:05, 2:13:05."""
    whole = max(0, int(seconds))
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def amount(tokens: int) -> str:
    """Return a number of tokens, short: 950, 12.3k, 4.2M."""
    thousand, million = 1_000, 1_000_000
    if tokens < thousand:
        return str(tokens)
    return f"{tokens / thousand:.1f}k" if tokens < million else f"{tokens / million:.1f}M"
