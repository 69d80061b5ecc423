"""A pull request a task: changes cut so that each holds one task, in a chain that keeps the tasks' order.

The cut is the same each time, so that a planner that was asked twice for one plan is given one plan.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from claudetm.plan.model import CHANGE_ID_LENGTH, Change, Task


def one_task_each(changes: Sequence[Change], taken: Collection[str] = ()) -> tuple[Change, ...]:
    """Return the changes with every one of n tasks as a chain of n; what depended on it depends on its last.

    A change of one task is left as it is. The others become `<id>-1`, `<id>-2`, …, passing over ids in `taken`.
    """
    used = {*taken, *(c.id for c in changes)}
    chains: list[list[Change]] = []
    last: dict[str, str] = {}
    for c in changes:
        chain = [c] if len(c.tasks) <= 1 else _chain(c, used)
        used |= {piece.id for piece in chain}
        last[c.id] = chain[-1].id
        chains.append(chain)
    return tuple(piece for chain in chains for piece in (_rebased(chain[0], last), *chain[1:]))


def _rebased(first: Change, last: Mapping[str, str]) -> Change:
    return replace(first, depends_on=tuple(last.get(d, d) for d in first.depends_on))


def _chain(c: Change, used: set[str]) -> list[Change]:
    chain: list[Change] = []
    for n, task in enumerate(c.tasks, start=1):
        new = _free(c.id, n, used | {piece.id for piece in chain})
        chain.append(
            Change(
                id=new,
                title=task.title,
                tasks=(replace(task, id=f"{new}.t1"),),
                why=_why(c, n, task),
                depends_on=(chain[-1].id,) if chain else c.depends_on,
                paths=task.files or c.paths,
            )
        )
    return chain


def _free(old: str, n: int, used: Collection[str]) -> str:
    """Return an id that is not taken and can still name a branch."""
    numbers = range(n, n + len(used) + 1)
    return next(
        new for k in numbers if (new := f"{old[: CHANGE_ID_LENGTH - len(f'-{k}')].rstrip('.-')}-{k}") not in used
    )


def _why(c: Change, n: int, task: Task) -> str:
    part = f"Part {n} of {len(c.tasks)} of: {c.title}." if task.title != c.title else ""
    return " ".join(text for text in (c.why, part) if text)
