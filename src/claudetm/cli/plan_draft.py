"""The plan as a file for a person's editor: YAML, with comments that say what may be changed; and back again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import yaml

from claudetm.plan.draft import UnusableDraft, read
from claudetm.plan.model import Plan, plan_to_data
from claudetm.redact import printable
from claudetm.workflow.run import ChangeState, Run
from claudetm.workflow.stages import FINAL_STAGES, Phase, Stage

PROBLEM: Final = "# NOT TAKEN: "
_WIDTH: Final = 80
_HEAD: Final = """\
# The plan of run {run}. Save and close to hand it in; close it unchanged to
# leave all as it is. Changes, tasks and criteria can be added, changed, moved
# and removed; new ones need no id. What has begun says so, and stays as it is;
# a change that has begun and is removed here is dropped.
{criteria}"""
_CRITERIA_STAND: Final = "# Work has begun: criteria can be added, but none changed or removed.\n"


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as such."""


def _represent(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    plain = text.replace("\n", "").isprintable()
    style = '"' if not plain else "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent)


class _Loader(yaml.SafeLoader):
    """Reads YAML in which no key stands twice: the second would silently win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[object] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise UnusableDraft(f"Line {key.start_mark.line + 1}: the key {key.value} stands twice")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def render(run: Run) -> str:
    """Return the plan as YAML, with what can be done about each part of it."""
    data = plan_to_data(run.plan)
    stands = _CRITERIA_STAND if run.phase is not Phase.PLANNED else ""
    parts = [
        _HEAD.format(run=run.id, criteria=stands),
        _dump({"based_on": run.plan_seq, "summary": data["summary"], "assumptions": data["assumptions"]}),
        "\nchanges:\n",
        *(_change(c, run.changes[c["id"]]) for c in data["changes"]),
        "\n",
        _dump({"criteria": [_short(k, "id", "text") for k in data["criteria"]]}),
    ]
    return "".join(parts)


def _change(data: Mapping[str, Any], state: ChangeState) -> str:
    head = _short({k: v for k, v in data.items() if k != "tasks"}, "id", "title", "depends_on")
    lines = [*_about(state), *_item(head)]
    fixed = state.stage not in {Stage.QUEUED, Stage.WORKING}
    lines.append("  tasks:")
    for task in data["tasks"]:
        begun = state.tasks.get(task["id"])
        if begun is not None and not fixed:
            lines.append(f"    # {'done' if begun.done else 'begun'}: stays as it is, in this place")
        lines += _indented(4, _item(_short(task, "id", "title", "complexity")))
    return "\n".join(["", *_indented(2, lines), ""])


def _indented(spaces: int, lines: list[str]) -> list[str]:
    return [" " * spaces + line if line.strip() else "" for line in lines]


def _about(state: ChangeState) -> Iterator[str]:
    number = f", pull request #{state.number}" if state.number else ""
    if state.stage is Stage.QUEUED:
        return
    if state.stage is Stage.WORKING:
        yield "# begun: remove it to drop it; tasks that have not begun can be changed"
    elif state.stage in FINAL_STAGES:
        yield f"# {state.stage}{number}: stays as it is"
    else:
        yield f"# {state.stage}{number}: stays as it is; remove it to drop it"


def _short(data: Mapping[str, Any], *always: str) -> dict[str, Any]:
    """Return the values without those that are empty anyway."""
    return {k: v for k, v in data.items() if v or k in always}


def _item(data: Mapping[str, Any]) -> list[str]:
    return _dump([dict(data)]).removesuffix("\n").split("\n")


def _dump(data: Any) -> str:
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH)


def parse(text: str, current: Plan) -> tuple[Plan, int]:
    """Return the plan of a YAML or JSON text, and the seq it is based on. Raises UnusableDraft."""
    try:
        data = json.loads(text)
    except ValueError:
        data = _yaml(text)
    except RecursionError:
        raise UnusableDraft("The plan is nested too deeply") from None
    if data is None:
        raise UnusableDraft("The plan is empty; hand in what `claudetm plan --json` prints, with your changes")
    return read(data, current)


def _yaml(text: str) -> object:
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"Line {mark.line + 1}: " if mark is not None else "The plan is no YAML: "
        problem = getattr(error, "problem", None) or error
        raise UnusableDraft(f"{where}{' '.join(str(problem).split())}") from None
    except (RecursionError, ValueError, TypeError) as error:
        raise UnusableDraft(f"The plan is no YAML: {error}") from None


def with_problem(text: str, problem: str) -> str:
    """Return the draft with the problem as its first line, in place of an earlier one."""
    rest = "".join(line for line in text.splitlines(keepends=True) if not line.startswith(PROBLEM))
    return f"{PROBLEM}{' '.join(printable(problem).split())}\n{rest}"
