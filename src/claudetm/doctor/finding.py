"""What a check says: how it came out, what it found, and what helps where something is amiss."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from claudetm.adapters.git.git import GitFailed
from claudetm.errors import ClaudetmError, ConfigError

_APART: Final = re.compile(r"(?P<thing>.+)\. (?P<remedy>(?:Use|Run|Correct|Name|Give) .+?)\.?", re.DOTALL)
_PARTS: Final = re.compile(r"(?P<thing>.+)[:;] (?P<remedy>[^:;]+?)\.?", re.DOTALL)


class State(StrEnum):
    """How a check came out; only a failure keeps a run from working."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found. `remedy` is what helps, "" only where nothing is amiss."""

    name: str
    state: State
    found: str
    remedy: str = ""


def ok(name: str, found: str) -> Finding:
    """Return a finding of what is as it should be."""
    return Finding(name, State.OK, found)


def warn(name: str, found: str, remedy: str) -> Finding:
    """Return a finding that does not keep a run from working."""
    return Finding(name, State.WARNING, found, remedy)


def fail(name: str, found: str, remedy: str) -> Finding:
    """Return a finding that keeps a run from working, with what helps."""
    return Finding(name, State.FAILURE, found, remedy)


def refused(name: str, error: ClaudetmError) -> Finding:
    """Return a failure from an error's sentence: its last sentence is the remedy, else its last part."""
    if isinstance(error, ConfigError):
        return fail(name, str(error).rstrip("."), "correct it there; `claudetm config path` names the files")
    text = str(error)
    parts = None if isinstance(error, GitFailed) else _APART.fullmatch(text) or _PARTS.fullmatch(text)
    if parts is None:  # git's own words are no remedy
        return fail(name, str(error).rstrip("."), "mend that, then call the same again")
    return fail(name, parts["thing"], parts["remedy"])
