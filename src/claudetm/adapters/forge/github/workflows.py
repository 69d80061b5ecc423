"""Which workflow files of a repository would check a pull request of ours, by what they say they run on."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

FOLDER: Final = ".github/workflows"
_OF_PULLS: Final = ("pull_request", "pull_request_target", "merge_group")


def checks_pulls(text: str, branch: str, target: str) -> bool:
    """Whether a workflow runs for a pull request of `branch` into `target`. One that cannot be read may."""
    import yaml

    try:
        said = yaml.safe_load(text)
    except yaml.YAMLError:
        return True
    triggers = _triggers(said)
    by_pull = any(_taken(triggers[name], target) for name in _OF_PULLS if name in triggers)
    return by_pull or ("push" in triggers and _taken(triggers["push"], branch))


def _triggers(said: Any) -> Mapping[str, Any]:
    """Return what a workflow runs on, by name. YAML 1.1 reads the key `on` as true."""
    on = (said.get("on", said.get(True)) if isinstance(said, dict) else None) or {}
    if isinstance(on, str):
        return {on: None}
    return on if isinstance(on, dict) else dict.fromkeys(map(str, on)) if isinstance(on, list) else {}


def _taken(trigger: Any, branch: str) -> bool:
    """Whether a trigger's filters let a branch through."""
    filters = trigger if isinstance(trigger, dict) else {}
    if ignored := filters.get("branches-ignore"):
        return not _named(ignored, branch)
    if wanted := filters.get("branches"):
        return _named(wanted, branch)
    return not ({"tags", "tags-ignore"} & filters.keys())  # a push filtered by tags alone is of no branch


def _named(patterns: str | Sequence[str], branch: str) -> bool:
    """Whether filter patterns name a branch; the last that fits decides, and `!` takes back."""
    named = False
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        wanted = not str(pattern).startswith("!")
        if re.fullmatch(_expression(str(pattern).removeprefix("!")), branch):
            named = wanted
    return named


def _expression(pattern: str) -> str:
    """Return a filter pattern (GitHub's cheat sheet: `*`, `**`, `?`, `+`, `[]`) as a regular expression."""
    parts = re.split(r"(\*\*|\*|\[[\w-]+\]|[?+])", pattern)
    special = {"**": ".*", "*": "[^/]*"}
    found = "".join(special.get(p, p if i % 2 else re.escape(p)) for i, p in enumerate(parts))
    try:
        re.compile(found)
    except re.error:  # a quantifier of nothing
        return re.escape(pattern)
    return found
