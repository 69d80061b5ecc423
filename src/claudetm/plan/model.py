"""A plan: changes in order, each a pull request's worth of tasks, and the criteria that must hold at the end.

Plans are immutable values. `problems` says what makes one unusable; nothing else judges a plan's form.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

CHANGE_ID_LENGTH: Final = 32
_LONGER: Final = 64  # of ids that no branch is named after

_PLAIN: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?")


class Complexity(StrEnum):
    """How hard a task is; picks the model and the effort of its session."""

    QUICK = "quick"
    GENERAL = "general"
    CODING = "coding"
    DEBUGGING = "debugging"


@dataclass(frozen=True, slots=True)
class Task:
    """One step of a change, done in one agent session."""

    id: str
    title: str
    what: str = ""
    files: tuple[str, ...] = ()
    acceptance: tuple[str, ...] = ()
    check: str = ""
    complexity: Complexity = Complexity.CODING


@dataclass(frozen=True, slots=True)
class Change:
    """One pull request's worth of tasks."""

    id: str
    title: str
    tasks: tuple[Task, ...]
    why: str = ""
    depends_on: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Criterion:
    """A statement that must hold at the end, with a command that shows it where one can."""

    id: str
    text: str
    command: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """Changes in order, and the criteria of the goal."""

    changes: tuple[Change, ...] = ()
    criteria: tuple[Criterion, ...] = ()
    summary: str = ""
    assumptions: tuple[str, ...] = field(default=())


def names_a_branch(change_id: str) -> bool:
    """Whether the id can be a part of a branch's and a folder's name."""
    return _is_plain(change_id, CHANGE_ID_LENGTH) and not change_id.endswith(".lock")


def _is_plain(text: str, longest: int) -> bool:
    return len(text) <= longest and ".." not in text and bool(_PLAIN.fullmatch(text))


def problems(plan: Plan) -> tuple[str, ...]:
    """Return what makes the plan unusable, a sentence each; empty for a usable plan."""
    found: list[str] = []
    if not plan.changes:
        found.append("The plan has no changes.")
    ids = [c.id for c in plan.changes]
    tasks = [t.id for c in plan.changes for t in c.tasks]
    criteria = [k.id for k in plan.criteria]
    found += [f"The id {i} is used twice." for group in (ids, tasks, criteria) for i in _repeated(group)]
    others = [*tasks, *criteria]
    unusable = [i for i in ids if not names_a_branch(i)] + [i for i in others if not _is_plain(i, _LONGER)]
    found += [f"{i[:_LONGER]!r} cannot be an id: use a-z, 0-9, dots and dashes, as in c1." for i in unusable]
    found += [f"Change {c.id} has no tasks." for c in plan.changes if not c.tasks]
    found += [f"Change {c.id} has no title." for c in plan.changes if not c.title.strip()]
    found += [f"Task {t.id} has no title." for c in plan.changes for t in c.tasks if not t.title.strip()]
    found += [f"Criterion {k.id} has no text." for k in plan.criteria if not k.text.strip()]
    known = set(ids)
    found += [
        f"Change {c.id} depends on {d}, which is not in the plan."
        for c in plan.changes
        for d in c.depends_on
        if d not in known
    ]
    if not found and (cycle := _cycle(plan.changes)):
        found.append(f"The changes {', '.join(cycle)} depend on each other in a circle.")
    return tuple(found)


def _repeated(ids: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    again: dict[str, None] = {}
    for i in ids:
        if i in seen:
            again[i] = None
        seen.add(i)
    return list(again)


def _cycle(changes: tuple[Change, ...]) -> list[str]:
    """Return the ids that no order can place (Kahn's algorithm), in plan order."""
    waits = {c.id: set(c.depends_on) for c in changes}
    dependents: dict[str, list[str]] = {}
    for c in changes:
        for d in c.depends_on:
            dependents.setdefault(d, []).append(c.id)
    free = [i for i, w in waits.items() if not w]
    while free:
        done = free.pop()
        del waits[done]
        for i in dependents.get(done, ()):
            if i in waits:
                waits[i].discard(done)
                if not waits[i]:
                    free.append(i)
    return list(waits)


def plan_to_data(plan: Plan) -> dict[str, Any]:
    """Return the plan as JSON values; `plan_from_data` is its inverse."""
    return {
        "summary": plan.summary,
        "assumptions": list(plan.assumptions),
        "changes": [
            {
                "id": c.id,
                "title": c.title,
                "why": c.why,
                "depends_on": list(c.depends_on),
                "paths": list(c.paths),
                "tasks": [
                    {
                        "id": t.id,
                        "title": t.title,
                        "what": t.what,
                        "files": list(t.files),
                        "acceptance": list(t.acceptance),
                        "check": t.check,
                        "complexity": str(t.complexity),
                    }
                    for t in c.tasks
                ],
            }
            for c in plan.changes
        ],
        "criteria": [{"id": k.id, "text": k.text, "command": k.command} for k in plan.criteria],
    }


def plan_from_data(data: Mapping[str, Any]) -> Plan:
    """Return the plan of JSON values; keys that are absent take their defaults, unknown ones are passed over."""
    return Plan(
        summary=str(data.get("summary", "")),
        assumptions=tuple(data.get("assumptions", ())),
        changes=tuple(_change_from_data(c) for c in data.get("changes", ())),
        criteria=tuple(Criterion(k["id"], k["text"], k.get("command") or "") for k in data.get("criteria", ())),
    )


def _change_from_data(data: Mapping[str, Any]) -> Change:
    return Change(
        id=data["id"],
        title=data["title"],
        why=data.get("why", ""),
        depends_on=tuple(data.get("depends_on", ())),
        paths=tuple(data.get("paths", ())),
        tasks=tuple(
            Task(
                id=t["id"],
                title=t["title"],
                what=t.get("what", ""),
                files=tuple(t.get("files", ())),
                acceptance=tuple(t.get("acceptance", ())),
                check=t.get("check") or "",
                complexity=Complexity(t.get("complexity", Complexity.CODING)),
            )
            for t in data["tasks"]
        ),
    )
