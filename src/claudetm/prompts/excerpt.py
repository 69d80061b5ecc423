"""What matters of a check's log, in few bytes: how it begins, the lines that tell of errors, the summary, the end."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from claudetm.prompts import bounds

_ERROR: Final = re.compile(
    r"\b(error|errors|failed|failure|fatal|panic|panicked|exception|traceback|assert)\b|(Error|Exception)\b"
    r"|^E\s|^(FAIL|ERROR|not ok)\b|^\s*[✕✗\u00d7]\s",
    re.IGNORECASE,
)
_SUMMARY: Final = re.compile(r"=+ short test summary info =+|^failures:$|Summary of all failing tests")
_BEFORE: Final = 2  # lines told before one with an error
_AFTER: Final = 6
_LONGEST: Final = 400  # characters of a line
_MARK: Final = 40  # bytes


def excerpt(text: str, most: int, whole: str) -> str:
    """Return the lines of a log that matter most, in their order, in `most` bytes; the mark names where the whole is.

    Each part has its share, and what the one before it left over.
    """
    if len(text.encode()) <= most:
        return text
    lines = [line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…" for line in text.splitlines()]
    parts = ((35, reversed(range(len(lines)))), (20, _summary(lines)), (30, _errors(lines)), (15, range(len(lines))))
    kept: set[int] = set()
    room = -len(whole.encode()) - _MARK
    for share, numbers in parts:
        room = _keep(lines, kept, numbers, room + most * share // 100)
    return bounds.ends("\n".join(_told(lines, kept, whole)), most, whole)


def _keep(lines: Sequence[str], kept: set[int], numbers: Iterable[int], room: int) -> int:
    """Keep lines, in the order given, until one has no room; return the room that is left."""
    for n in numbers:
        if n not in kept:
            alone = n - 1 not in kept and n + 1 not in kept
            cost = len(lines[n].encode()) + 1 + (_MARK if alone else 0)
            if cost > room:
                break
            kept.add(n)
            room -= cost
    return room


def _summary(lines: Sequence[str]) -> Iterable[int]:
    """Return the lines from a test runner's own summary on."""
    begin = next((n for n in reversed(range(len(lines))) if _SUMMARY.search(lines[n])), len(lines))
    return range(begin, len(lines))


def _errors(lines: Sequence[str]) -> Iterator[int]:
    """Yield the lines with errors and those around them, from the first on: it is often the cause of the others."""
    for n, line in enumerate(lines):
        if _ERROR.search(line):
            yield from range(max(0, n - _BEFORE), min(len(lines), n + _AFTER + 1))


def _told(lines: Sequence[str], kept: set[int], whole: str) -> Iterator[str]:
    """Yield what is kept, with a mark in each gap; the first names where the whole is."""
    told, place = -1, f"; the whole: {whole}" if whole else ""
    for n in (*sorted(kept), len(lines)):
        if gap := n - told - 1:
            yield f"[{gap} lines left out{place}]"
            place = ""
        if n < len(lines):
            yield lines[n]
        told = n
