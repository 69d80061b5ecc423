"""What a pull request says of itself: why, what, how it was tested, what it is part of.

Where the repository has a template for pull requests, its headings are kept and filled, its check boxes are left to
people. What agents wrote names nobody and closes nothing by accident: a forge acts on `@name` and on `fixes #7`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from claudetm.workflow.run import ChangeState, Run

LONGEST: Final = 60_000  # characters; GitHub refuses a description beyond 65,536
_GOAL: Final = 600  # characters of the goal that each pull request tells


def description(run: Run, change: ChangeState, template: str = "") -> str:
    """Return the description of a change's pull request, in Markdown."""
    parts = _parts(run, change)
    told = _filled(template, parts) if template.strip() else _own(parts)
    return told if len(told) <= LONGEST else f"{told[:LONGEST].rstrip()}\n\n…"


TEMPLATES: Final = ("pull_request_template.md", "pull_request_template.txt", "pull_request_template")
_FOLDERS: Final = (".github/", "", "docs/")


def template_among(files: Sequence[str]) -> str:
    """Return the path of the repository's template for pull requests, or "".

    Where GitHub looks for it: https://docs.github.com/communities/using-templates-to-encourage-useful-issues-and-pull-requests
    """
    known = {f.lower(): f for f in files}
    wanted = [f"{folder}{name}" for folder in _FOLDERS for name in TEMPLATES]
    return next((known[w] for w in wanted if w in known), "")


def linked(run: Run, change: ChangeState) -> str:
    """Return how the change says which issue it is for, or "". Only the last one that is merged closes it."""
    if not run.issue:
        return ""
    last = all(c.settled for c in run.changes.values() if c.id != change.id)
    return f"Closes #{run.issue}" if last else f"Part of #{run.issue}"


_CODE: Final = re.compile(r"(```.*?(?:```|\Z)|`[^`\n]*`)", re.DOTALL)
_CLOSING: Final = re.compile(
    r"\b((?:close[sd]?|fix(?:e[sd])?|resolve[sd]?)\s*:?\s+)([\w./-]*#\d+|https?://\S+/issues/\d+)", re.IGNORECASE
)
_MENTION: Final = re.compile(r"(?<![\w`/.])@[A-Za-z0-9](?:[\w./-]*\w)?")


def harmless(text: str) -> str:
    """Return a text that closes no issue and calls nobody: what would is shown as code."""
    parts = _CODE.split(text)
    for n in range(0, len(parts), 2):  # the others are code already
        parts[n] = _MENTION.sub(r"`\g<0>`", _CLOSING.sub(r"\1`\2`", parts[n]))
    return "".join(parts)


def closing(text: str) -> str:
    """Return the words of a commit's message by which merging it closes an issue, or ""."""
    found = _CLOSING.search(text)
    return found[0] if found else ""


def _parts(run: Run, change: ChangeState) -> Mapping[str, str]:
    """Return what there is to say, by what it is about."""
    plan = change.plan
    checks = [f"- `{task.check}`" for task in plan.tasks if task.check]
    goal = "" if run.issue else _cut(run.goal)
    criteria = [f"- {harmless(criterion.text)}" for criterion in run.plan.criteria]
    return {
        "why": harmless(plan.why or _cut(run.goal)),
        "what": "\n".join(_done(change)),
        "tests": "\n".join(checks),
        "goal": "\n\n".join(filter(None, (linked(run, change), harmless(goal), "\n".join(criteria)))),
    }


def _done(change: ChangeState) -> list[str]:
    """Return a line for each task: what it was, and what its session says it did."""
    lines = []
    for task in change.plan.tasks:
        state = change.tasks.get(task.id)
        note = "already true" if state and state.skipped else (state.summary if state else "")
        lines.append(harmless(f"- {task.title}" + (f": {note}" if note else "")))
    return lines


def _cut(text: str) -> str:
    return text if len(text) <= _GOAL else f"{text[:_GOAL].rstrip()} …"


_HEADINGS: Final = {"what": "What", "tests": "How it was tested", "goal": "Part of"}


def _own(parts: Mapping[str, str]) -> str:
    told = [parts["why"], *(f"## {title}\n\n{parts[p]}" for p, title in _HEADINGS.items() if parts[p])]
    return "\n\n".join(filter(None, told))


# --- a template of the repository's -----------------------------------------------------------------------------

_HEADING: Final = re.compile(r"^#{1,6}\s+(?P<title>.+?)\s*#*$")
_COMMENT: Final = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_ABOUT: Final[Mapping[str, re.Pattern[str]]] = {
    "tests": re.compile(r"test|verif|\bqa\b|valid", re.IGNORECASE),
    "why": re.compile(r"why|motivat|context|background|problem|rationale|reason", re.IGNORECASE),
    "goal": re.compile(r"issue|ticket|related|links?\b|fixes|closes|goal|criteri", re.IGNORECASE),
    "what": re.compile(r"what|descri|summary|change|overview|propos|detail|implement", re.IGNORECASE),
}
"""What a heading is about; the first that fits, once each. A check list's own heading is nobody's."""
_LEFT_TO_PEOPLE: Final = re.compile(r"check\s?list|screenshot|reviewer|breaking|type of", re.IGNORECASE)


def _filled(template: str, parts: Mapping[str, str]) -> str:
    """Return the template with each part under the heading that asks for it.

    What none asks for follows what was done, under a heading of its own; with no place for that either, it is first.
    """
    sections = _sections(_COMMENT.sub("", template))
    homes = _homes([title for title, _ in sections])
    homeless = {p: "" if p in homes.values() else parts[p] for p in ("why", "what", "tests", "goal")}
    first = homeless | {"tests": "", "goal": ""} if "what" in homes.values() else homeless
    after = {**homeless, "why": "", "what": ""} if first is not homeless else {}
    told = []
    for n, (title, text) in enumerate(sections):
        mine = homes.get(n, "")
        said = [first["why"] if mine == "what" else "", parts.get(mine, "")]
        own = _own(after) if after and mine == "what" else ""
        told.append("\n\n".join(filter(None, (title, *said, text, own))))
    before = _own(first) if first is homeless else ""
    return "\n\n".join(filter(None, (before, *told)))


def _sections(template: str) -> list[tuple[str, str]]:
    """Return the headings with the text below each; what stands above the first has heading ""."""
    sections: list[tuple[str, list[str]]] = [("", [])]
    fenced = False
    for line in template.splitlines():
        fenced ^= line.lstrip().startswith(("```", "~~~"))
        if not fenced and _HEADING.match(line):
            sections.append((line.rstrip(), []))
        else:
            sections[-1][1].append(line.rstrip())
    return [(title, re.sub(r"\n{3,}", "\n\n", "\n".join(text)).strip()) for title, text in sections]


def _homes(titles: Sequence[str]) -> Mapping[int, str]:
    """Return which part each heading asks for, by the heading's place."""
    homes: dict[int, str] = {}
    for n, title in enumerate(titles):
        if not title or _LEFT_TO_PEOPLE.search(title):
            continue
        found = next((p for p in _ABOUT if p not in homes.values() and _ABOUT[p].search(title)), "")
        if found:
            homes[n] = found
    return homes
