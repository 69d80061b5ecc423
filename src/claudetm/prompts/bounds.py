"""How much of each thing a prompt may hold, in bytes of UTF-8. What is cut says so, and says where the whole is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

ROLE: Final = 6_000  # a system prompt without the project's instructions
PROJECT: Final = 16_000
GOAL: Final = 8_000
ASKED: Final = 65_536  # a task or a question that is worked whole: all that one may have
TOLD: Final = 40_000  # what was asked to be told
REPORT: Final = 16_000
MATERIAL: Final = 12_000  # all that came with a goal
CAME_WITH: Final = 32_000  # with a task or a question, whose substance it may be
ISSUE: Final = 8_000
TASK: Final = 4_000
LEARNINGS: Final = 4_000
CHECK_LOG: Final = 8_000
DIFF: Final = 8_000
CHECK_LOGS: Final = 3  # failed checks shown
SHOWN: Final = 40  # threads and criteria shown
ITEM: Final = 500  # characters of one item of a list
EXACT: Final = 1_000  # characters of one line of ours, which may be a command
THREADS: Final = 12_000
TREE: Final = 12_000
PLAN: Final = 12_000
LIST: Final = 3_000  # commits, paths, criteria, findings
NOTE: Final = 2_000  # how the last session ended, one side's intent


def shares(sizes: Sequence[int], most: int) -> list[int]:
    """Return how much of `most` each text gets: what a short one leaves is the long ones'."""
    given = [0] * len(sizes)
    for left, at in zip(range(len(sizes), 0, -1), sorted(range(len(sizes)), key=sizes.__getitem__), strict=True):
        given[at] = min(sizes[at], most // left)
        most -= given[at]
    return given


def head(text: str, most: int, whole: str) -> str:
    """Return the text, cut after `most` bytes; the mark names where the whole is."""
    data = text.encode()
    if len(data) <= most:
        return text
    kept = data[:most].decode(errors="ignore").rstrip()
    return f"{kept}\n{_mark(len(data) - len(kept.encode()), whole)}"


def ends(text: str, most: int, whole: str) -> str:
    """Return the text without its middle: a third from the start, the rest from the end, `most` bytes in all."""
    data = text.encode()
    if len(data) <= most:
        return text
    first = data[: most // 3].decode(errors="ignore").rstrip()
    last = data[-(most - most // 3) :].decode(errors="ignore").lstrip()
    return f"{first}\n{_mark(len(data) - len(first.encode()) - len(last.encode()), whole)}\n{last}"


def line(text: str, most: int = ITEM) -> str:
    """Return the text as one line of at most `most` characters."""
    one = " ".join(text.split())
    return one if len(one) <= most else f"{one[: most - 1]}…"


def lines(
    items: Sequence[str], most: int, whole: str, each: Callable[[str], str] = str, item_most: int = ITEM
) -> str:
    """Return as many items as fit in `most` bytes, a line each; the mark counts those left out.

    `each` is applied to an item before it is measured; an item has at most `item_most` characters.
    """
    kept: list[str] = []
    size = 0
    for item in items:
        text = line(each(item[: 4 * item_most]), item_most)
        size += len(text.encode()) + 1
        if size > most:
            break
        kept.append(text)
    if left := len(items) - len(kept):
        kept.append(f"[{left} of {len(items)} left out here; all: {whole}]")
    return "\n".join(kept)


def _mark(cut: int, whole: str) -> str:
    return f"[{cut} bytes cut here; the whole: {whole}]"
