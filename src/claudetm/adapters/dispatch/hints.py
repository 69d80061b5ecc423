"""Commands as a person types them for the run of a monitor's task: without `--task` they mean the user's own."""

from __future__ import annotations

import re
import shlex
from typing import Final

TASKED: Final = (
    "resume",
    "pause",
    "stop",
    "status",
    "plan",
    "progress",
    "context",
    "logs",
    "pr",
    "comments",
    "review",
    "explain",
    "say",
    "undo",
    "clean",
    "doctor",
)
"""The commands that look at a run, and with `--task` at that of a task."""

_COMMAND: Final = re.compile(rf"\bclaudetm (?=(?:{'|'.join(TASKED)})\b)")


def for_task(text: str, task: str) -> str:
    """Return a text with the commands that it names aimed at a task's run."""
    return _COMMAND.sub(lambda _: f"claudetm --task {shlex.quote(task)} ", text)
