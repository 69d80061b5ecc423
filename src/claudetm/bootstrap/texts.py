"""What the user may say: text that can be journalled, shown and handed on. Anything else is refused in a sentence."""

from __future__ import annotations

from typing import Final

from claudetm.errors import UsageError

GOAL_BYTES: Final = 65_536


def check_goal(goal: str) -> str:
    """Return the goal without blanks around it. Raises UsageError for what cannot be one."""
    if len(goal.encode(errors="replace")) > GOAL_BYTES:
        raise UsageError(
            f"The goal is longer than {GOAL_BYTES // 1024} KiB; put the details into a file of the repository"
            " and name it in the goal"
        )
    return check_text("goal", goal, 'say what shall be true at the end: claudetm start "…"')


def check_text(what: str, text: str, remedy: str) -> str:
    """Return a text without blanks around it. Raises UsageError when it is empty, holds NUL or is no UTF-8."""
    if "\0" in text:
        raise UsageError(f"The {what} holds a NUL character; leave it out")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"The {what} is not UTF-8 text; write it in UTF-8") from None
    if not text.strip():
        raise UsageError(f"The {what} is empty; {remedy}")
    return text.strip()
