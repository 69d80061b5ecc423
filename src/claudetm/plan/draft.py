"""A plan as a person wrote it: read with the sentence that says what is wrong, and ids for what has none yet.

What a draft leaves out at the top stands as it was; what it leaves out of a change, a task or a criterion is empty.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Any, Final

from claudetm.plan.model import Change, Complexity, Criterion, Plan, Task

_TITLE_LENGTH: Final = 200
_TOP: Final = ("based_on", "summary", "assumptions", "changes", "criteria")
_CHANGE: Final = ("id", "title", "why", "depends_on", "paths", "tasks")
_TASK: Final = ("id", "title", "what", "files", "acceptance", "check", "complexity")
_CRITERION: Final = ("id", "text", "command")


class UnusableDraft(Exception):  # noqa: N818 - a verdict on what was written
    """The draft is no plan; the text is one sentence that says where and why."""


def read(data: object, current: Plan) -> tuple[Plan, int]:
    """Return the plan of JSON values and the seq it is based on. Raises UnusableDraft."""
    top = _mapping(data, "The plan", _TOP)
    based_on = top.get("based_on")
    if isinstance(based_on, bool) or not isinstance(based_on, int):
        raise UnusableDraft("The plan does not say what it is based on: keep the line based_on as you were shown it")
    plan = Plan(
        changes=_changes(top["changes"], current) if "changes" in top else current.changes,
        criteria=_criteria(top["criteria"], current) if "criteria" in top else current.criteria,
        summary=_text(top, "summary", "The plan") if "summary" in top else current.summary,
        assumptions=_texts(top, "assumptions", "The plan") if "assumptions" in top else current.assumptions,
    )
    return plan, based_on


def _changes(value: object, current: Plan) -> tuple[Change, ...]:
    rows = [_mapping(v, f"changes[{n}]", _CHANGE) for n, v in enumerate(_list(value, "changes"), start=1)]
    given = [_text(row, "id", f"changes[{n}]") for n, row in enumerate(rows, start=1)]
    ids = _filled(given, "c", [c.id for c in current.changes])
    return tuple(
        _change(row, i, f"changes[{n}]", current) for n, (row, i) in enumerate(zip(rows, ids, strict=True), start=1)
    )


def _change(row: Mapping[str, Any], i: str, where: str, current: Plan) -> Change:
    rows = [
        _mapping(v, f"{where}.tasks[{n}]", _TASK)
        for n, v in enumerate(_list(row.get("tasks"), f"{where}.tasks"), start=1)
    ]
    given = [_text(t, "id", f"{where}.tasks[{n}]") for n, t in enumerate(rows, start=1)]
    known = [t.id for c in current.changes for t in c.tasks]
    ids = _filled(given, f"{i}.t", known)
    return Change(
        id=i,
        title=_title(row, where),
        tasks=tuple(
            _task(t, tid, f"{where}.tasks[{n}]") for n, (t, tid) in enumerate(zip(rows, ids, strict=True), start=1)
        ),
        why=_text(row, "why", where),
        depends_on=_texts(row, "depends_on", where),
        paths=_texts(row, "paths", where),
    )


def _task(row: Mapping[str, Any], i: str, where: str) -> Task:
    wanted = _text(row, "complexity", where) or str(Complexity.CODING)
    if wanted not in set(Complexity):
        raise UnusableDraft(f"{where}.complexity is {wanted[:60]!r}: use one of {', '.join(Complexity)}")
    return Task(
        id=i,
        title=_title(row, where),
        what=_text(row, "what", where),
        files=_texts(row, "files", where),
        acceptance=_texts(row, "acceptance", where),
        check=_text(row, "check", where),
        complexity=Complexity(wanted),
    )


def _criteria(value: object, current: Plan) -> tuple[Criterion, ...]:
    rows = [_mapping(v, f"criteria[{n}]", _CRITERION) for n, v in enumerate(_list(value, "criteria"), start=1)]
    given = [_text(row, "id", f"criteria[{n}]") for n, row in enumerate(rows, start=1)]
    ids = _filled(given, "k", [k.id for k in current.criteria])
    return tuple(
        Criterion(i, _text(row, "text", f"criteria[{n}]"), _text(row, "command", f"criteria[{n}]"))
        for n, (row, i) in enumerate(zip(rows, ids, strict=True), start=1)
    )


def _filled(given: list[str], prefix: str, known: Collection[str]) -> list[str]:
    """Return the ids, with the next free number after the prefix for each that is empty.

    An id that is `known` is not given to something new: what has it may have begun.
    """
    taken = {*given, *known}
    ids = []
    for number, old in enumerate(given, start=1):
        new = old or next(i for n in range(number, number + len(taken) + 1) if (i := f"{prefix}{n}") not in taken)
        taken.add(new)
        ids.append(new)
    return ids


def _mapping(value: object, where: str, known: Collection[str]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise UnusableDraft(f"{where} must be a mapping with {', '.join(known)}")
    for key in value:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1, 0.5)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise UnusableDraft(f"{where} has no {str(key)[:60]!r}: {hint}")
    return value


def _list(value: object, where: str) -> list[object]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise UnusableDraft(f"{where} must be a list")
    return value


def _text(row: Mapping[str, Any], key: str, where: str) -> str:
    return _checked(row.get(key), f"{where}.{key}")


def _title(row: Mapping[str, Any], where: str) -> str:
    """Return the title on one line: a pull request is called by it."""
    title = " ".join(_text(row, "title", where).split())
    if len(title) > _TITLE_LENGTH:
        raise UnusableDraft(f"{where}.title is longer than {_TITLE_LENGTH} characters: say the rest in what or why")
    return title


def _texts(row: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    values = _list(row.get(key), f"{where}.{key}")
    return tuple(_checked(v, f"{where}.{key}[{n}]") for n, v in enumerate(values, start=1))


def _checked(value: object, where: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise UnusableDraft(f"{where} must be a text: put it in quotes")
    if "\0" in value:
        raise UnusableDraft(f"{where} holds a NUL character: leave it out")
    return value
