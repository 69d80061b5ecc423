"""What is wrong with a plan besides its form: tasks nobody can finish, files that are not there, slices cut sideways.

Pure. Each finding is a sentence that the planner can act on; they go back to it once.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import PurePosixPath
from typing import Final

from claudetm.plan.model import Change, Criterion, Plan, Task, problems

CHANGES_MOST: Final = 8
TASKS_MOST: Final = 6
FILES_MOST: Final = 10
ACCEPTANCE_MOST: Final = 8
_LONGEST: Final = 1_000  # characters that are looked at, of a path or a text
_WORDS_LEAST: Final = 4  # of a criterion that names nothing concrete

_VERIFY = re.compile(
    r"(verify|validate|confirm|review|inspect|investigate|check|test|double-check|make sure|ensure|(re-?)?run)\b",
    re.IGNORECASE,
)
_ALL_GREEN = re.compile(
    r"(verify|confirm|check|make sure|ensure) (that )?(all |the |everything )*(tests?|checks?|build|suite|ci)?\b.*"
    r"\b(pass(es)?|works?|green|succeeds?)\b"
    r"|(re-?)?run (the |all )*(whole |full |complete )?(tests?|test suite|checks)\b",
    re.IGNORECASE,
)
_MANUAL = re.compile(r"\bmanually\b|\bby hand\b|\bmanual (test|check|verification|qa|step|review)", re.IGNORECASE)
_CREATES = re.compile(r"\b(creat|new\b|add|introduc|scaffold|set up|generat|mov|renam|extract|split)", re.IGNORECASE)
_TEST_PATH = re.compile(r"(^|/)(tests?|specs?|__tests__|e2e)/|(^|/)test_[^/]*$|(_test|\.test|\.spec|Test|Spec)\.\w+$")
_TESTS_TITLE = re.compile(
    r"(add|write|create|extend)?\s*(the |more |missing )?(unit |integration |e2e )*tests?\b", re.IGNORECASE
)
_VERBS = r"(add|create|implement|build|define|write|update|set up|make)"
_LAYERS = (
    r"(models?|schemas?|migrations?|types|interfaces|repositor(y|ies)|services?|controllers?|routes?|endpoints"
    r"|handlers|views?|templates|ui|api|front-?end|back-?end|database|persistence|domain)"
)
_LAYER_TITLE = re.compile(
    rf"{_VERBS}?\s*(the |all |new )*{_LAYERS}(( and |, | & ){_LAYERS})*( layer)?\.?", re.IGNORECASE
)
_LAYER_WORD = re.compile(rf"\b({_LAYERS}|data|business|logic|presentation|access) layer\b", re.IGNORECASE)
_CONCRETE = re.compile(r"[`\"'/\d(]|--|\w\.\w|\w_\w|[a-z][A-Z]")
_VAGUE = re.compile(
    r"\b(clean|good|better|best practices?|high.quality|quality|maintainable|readable|robust|works? (well|fine"
    r"|correctly|properly|as expected)|works?$|properly|correctly|production.ready|user.friendly|intuitive"
    r"|well.tested|complete|done|improved|fast|performant|secure)\b",
    re.IGNORECASE,
)


def findings(
    plan: Plan, known_paths: Collection[str], extends: Plan | None = None, changes_most: int = CHANGES_MOST
) -> tuple[str, ...]:
    """Return what must be corrected before the plan is worked, a sentence each.

    `known_paths` are the files of the base commit; none at all switches the look at paths off. With `extends` the
    plan is more changes for that one: its criteria stand, and its changes may be depended on.
    """
    whole = Plan((*extends.changes, *plan.changes), extends.criteria) if extends else plan
    return (
        *problems(whole),
        *_size(plan, changes_most),
        *(f for c in plan.changes for t in c.tasks for f in _task(c, t)),
        *_paths(plan, frozenset(known_paths)),
        *_slices(plan),
        *(() if extends else _criteria(plan)),
    )


def _size(plan: Plan, changes_most: int) -> Iterator[str]:
    if (n := len(plan.changes)) > changes_most:
        yield f"The plan has {n} changes; merge or drop some, at most {changes_most} are worked in one run."
    for c in plan.changes:
        if (n := len(c.tasks)) > TASKS_MOST:
            yield f"Change {c.id} has {n} tasks; at most {TASKS_MOST} fit one pull request, so split the change."
        if (n := len({f for t in c.tasks for f in t.files})) > FILES_MOST and len(c.tasks) > 1:
            yield f"Change {c.id} touches {n} files; split it at about {FILES_MOST}, so that it can be reviewed."


def _task(change: Change, task: Task) -> Iterator[str]:
    whose = f"Task {task.id} ({task.title})"
    if len(task.files) > FILES_MOST or len(task.acceptance) > ACCEPTANCE_MOST:
        yield f"{whose} wants everything in one session; split it into steps that each stand alone."
    if _ALL_GREEN.match(task.title[:_LONGEST]) or (_VERIFY.match(task.title) and not task.files):
        yield f"{whose} only verifies; make it the acceptance or the check of the task that does the work."
    if any(_MANUAL.search(text[:_LONGEST]) for text in (task.title, *task.acceptance)):
        yield f"{whose} needs a person's hands; name a command that shows it, or leave it out."
    if not task.acceptance and not task.check:
        yield f"{whose} of change {change.id} has neither acceptance nor check, so nobody can tell when it is done."


def _paths(plan: Plan, known: frozenset[str]) -> Iterator[str]:
    folders = {str(parent) for path in known for parent in PurePosixPath(path).parents}
    created = " ".join(f"{t.title} {t.what}" for c in plan.changes for t in c.tasks if _creates(t))
    for c in plan.changes:
        for t in c.tasks:
            for file in t.files:
                path = PurePosixPath(file)
                if len(file) > _LONGEST or path.is_absolute() or {"..", ".git", "~"} & set(path.parts):
                    yield f"Task {t.id} names {file[:_LONGEST]}, which is not a path inside the repository."
                elif known and not _plausible(path, known, folders, created):
                    yield (
                        f"Task {t.id} names {file}, but neither it nor its folder exists; correct it, or say in the"
                        " task that the folder is new."
                    )


def _creates(task: Task) -> bool:
    return bool(_CREATES.search(f"{task.title} {task.what}"))


def _plausible(path: PurePosixPath, known: frozenset[str], folders: set[str], created: str) -> bool:
    """Whether the path is there, would stand in a folder that is, or a creating task speaks of it."""
    here = str(path) in known or str(path) in folders or str(path.parent) in folders
    new = [str(p) for p in (path, *path.parents) if str(p) not in folders]
    return here or any(re.search(rf"(?<![\w/]){re.escape(p)}(?!\w)", created) for p in new)


def _slices(plan: Plan) -> Iterator[str]:
    worked = False  # an earlier change does something besides tests
    for c in plan.changes:
        files = [f for t in c.tasks for f in t.files]
        only_tests = all(_TEST_PATH.search(f) for f in files) if files else bool(_TESTS_TITLE.match(c.title))
        if only_tests and worked:
            yield f"Change {c.id} ({c.title}) brings the tests last; each change carries its own tests."
        worked = worked or not only_tests
        if len(plan.changes) > 1 and (
            _LAYER_TITLE.fullmatch(c.title.strip()[:_LONGEST]) or _LAYER_WORD.search(c.title)
        ):
            yield f"Change {c.id} ({c.title}) is a layer; cut the plan by behaviour instead."


def _criteria(plan: Plan) -> Iterator[str]:
    if not plan.criteria:
        yield "The plan has no criterion, so nothing would show that the goal is met."
    for k in plan.criteria:
        if _unobservable(k):
            yield f"Criterion {k.id} ({k.text}) names nothing that can be observed; say which state."


def _unobservable(criterion: Criterion) -> bool:
    if criterion.command.strip():
        return False
    text = criterion.text.strip()
    return not _CONCRETE.search(text) and (len(text.split()) < _WORDS_LEAST or bool(_VAGUE.search(text)))
