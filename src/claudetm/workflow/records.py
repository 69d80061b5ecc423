"""A line of a journal, without the vocabulary of events: all that reading a run takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

SCHEMA: Final = 1
"""The form of the events. Raise it when a reader of the old form could misread the new one."""


@dataclass(frozen=True, slots=True)
class Record:
    """One line of a journal. `edge` is the step that was legal when it was written."""

    seq: int
    time: float  # epoch seconds
    type: str
    edge: tuple[str, str]
    data: Mapping[str, Any]
    command: str = ""  # id of the inbox command that caused it
    schema: int = SCHEMA
