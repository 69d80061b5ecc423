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


_SETTING: Final = {
    "--max-cost": "limits.cost_usd",
    "--max-sessions": "limits.sessions",
    "--max-prs": "plan.max_prs",
    "--model": "model",
}
_RESUME: Final = re.compile(rf"\bclaudetm resume\b((?: (?:{'|'.join(_SETTING)}) \w+)*)")
_CONFIG: Final = re.compile(r"\bclaudetm config set (\S+) (\S+), then claudetm resume\b")


def for_failed(text: str, task: str) -> str:
    """Return a text whose commands are those for a task that has failed: a resume alone brings no new result."""
    retry = f"claudetm monitor retry {shlex.quote(task)}"

    def resumed(found: re.Match[str]) -> str:
        words = found[1].split()
        options = zip(words[::2], words[1::2], strict=True)
        return " ".join([retry, *(f"--set {_SETTING[option]}={value}" for option, value in options)])

    text = _CONFIG.sub(lambda found: f"{retry} --set {found[1]}={found[2]}", text)
    return for_task(_RESUME.sub(resumed, text), task)


def after_failure(step: str, task: str) -> str:
    """Return what helps a task that has failed, given what would help a run: it always ends in a new result."""
    retry = f"claudetm monitor retry {shlex.quote(task)}"
    told = for_failed(step, task)
    if told == retry:
        return f"claudetm --task {shlex.quote(task)} logs, then {retry}"
    return told if retry in told else ", then ".join(filter(None, (told, retry)))
