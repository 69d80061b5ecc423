"""An answer taken or refused: its schema for the session, its value for us, and the plan it may hold.

The schema is stricter than what is read: it requires also what has a default, lists above all, so that a session
which leaves something out does so on purpose.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache
from typing import Any

from pydantic import ValidationError

from claudetm.plan.model import Change, Complexity, Criterion, Plan, Task, names_a_branch
from claudetm.ports.agent import Role
from claudetm.prompts.briefs import Brief, SessionBrief
from claudetm.prompts.forms import (
    ANSWERS,
    AnalystAnswer,
    Answer,
    AuditorAnswer,
    FixerAnswer,
    PlannedChange,
    PlannerAnswer,
    ResponderAnswer,
    ReviewerAnswer,
    SessionAnswer,
    UpdaterAnswer,
    VerifierAnswer,
    WorkerAnswer,
)
from claudetm.prompts.lint import findings

__all__ = [
    "ANSWERS",
    "AnalystAnswer",
    "Answer",
    "AuditorAnswer",
    "FixerAnswer",
    "InvalidAnswer",
    "PlannerAnswer",
    "ResponderAnswer",
    "ReviewerAnswer",
    "SessionAnswer",
    "UpdaterAnswer",
    "VerifierAnswer",
    "WorkerAnswer",
    "findings",
    "parse",
    "plan_of",
    "schema",
]

_OPTIONAL = frozenset({"blocker", "check", "command", "line", "missing"})
"""What a session may leave out wherever it has a default."""


class InvalidAnswer(ValueError):  # noqa: N818 - a verdict on the answer, not on the program
    """The answer breaks a rule of its form; the text is one sentence that tells the session what to correct."""


def parse(asked: Role | Brief, data: Mapping[str, Any]) -> Answer:
    """Return the answer that was asked for, from JSON values. Raises InvalidAnswer for what breaks its form."""
    try:
        return _form(asked).model_validate(dict(data))
    except ValidationError as error:
        raise InvalidAnswer(_sentence(error)) from None


def _sentence(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_input=False, include_context=False)
    where = ".".join(str(part) for part in found[0]["loc"])
    what = found[0]["msg"].removeprefix("Value error, ").rstrip(".")
    more = f" ({len(found) - 1} more like it)" if len(found) > 1 else ""
    return f"{f'{where}: ' if where else ''}{what}{more}."


def _form(asked: Role | Brief) -> type[Answer]:
    if isinstance(asked, SessionBrief):
        return SessionAnswer
    return ANSWERS[asked.role if isinstance(asked, Brief) else asked]


def schema(asked: Role | Brief) -> Mapping[str, Any]:
    """Return the JSON schema (draft 7) of the answer, `outcome` first, without what a model has no use for."""
    return _schema(_form(asked))


@cache
def _schema(form: type[Answer]) -> Mapping[str, Any]:
    plain: dict[str, Any] = _plain(form.model_json_schema())
    plain["properties"] = _outcome_first(plain["properties"])
    plain["required"] = [name for name in plain["properties"] if name in plain["required"]]
    return plain


def _outcome_first(properties: dict[str, Any]) -> dict[str, Any]:
    return dict(sorted(properties.items(), key=lambda item: item[0] != "outcome"))


def _plain(node: Any) -> Any:
    """Return the schema without titles, defaults and our own docstrings, and with more of it required."""
    if isinstance(node, list):
        return [_plain(n) for n in node]
    if not isinstance(node, dict):
        return node
    dropped = {"title", "default", "description"} if "properties" in node else {"title", "default"}
    kept = {k: v for k, v in node.items() if k not in dropped}
    named = {k: {n: _plain(v) for n, v in kept.pop(k).items()} for k in ("properties", "$defs") if k in kept}
    plain = {k: _plain(v) for k, v in kept.items()} | named
    if "properties" in named:
        wanted = node.get("required", [])
        plain["required"] = [n for n in named["properties"] if n in wanted or n not in _OPTIONAL]
    return plain


def plan_of(answer: PlannerAnswer, taken: Collection[str] = ()) -> Plan:
    """Return the answer's plan. A change keeps its id where that can name a branch and is not in `taken`.

    Other ids become c1, c2, …, also where something depends on them; tasks are c1.t1, …; criteria are k1, ….
    """
    ids = _change_ids([c.id for c in answer.changes], taken)
    return Plan(
        changes=tuple(_change(c, ids) for c in answer.changes),
        criteria=tuple(Criterion(f"k{n}", k.text, k.command) for n, k in enumerate(answer.criteria, 1)),
        summary=answer.summary,
        assumptions=tuple(answer.assumptions),
    )


def _change_ids(given: list[str], taken: Collection[str]) -> dict[str, str]:
    """Return the id that each given one becomes."""
    used = {i for i in given if names_a_branch(i)} | set(taken)
    ids: dict[str, str] = {}
    for number, old in enumerate(given, 1):
        if old in ids:
            continue
        if names_a_branch(old) and old not in taken:
            ids[old] = old
            continue
        ids[old] = next(new for n in range(number, number + len(used) + 1) if (new := f"c{n}") not in used)
        used.add(ids[old])
    return ids


def _change(planned: PlannedChange, ids: Mapping[str, str]) -> Change:
    new = ids[planned.id]
    return Change(
        id=new,
        title=planned.title,
        why=planned.why,
        depends_on=tuple(dict.fromkeys(ids.get(d, d) for d in planned.depends_on)),
        paths=tuple(planned.paths),
        tasks=tuple(
            Task(
                id=f"{new}.t{n}",
                title=t.title,
                what=t.what,
                files=tuple(t.files),
                acceptance=tuple(t.acceptance),
                check=t.check,
                complexity=Complexity(t.complexity),
            )
            for n, t in enumerate(planned.tasks, 1)
        ),
    )
