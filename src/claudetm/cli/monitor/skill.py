"""Gives Claude Code the skill that ships with the package. A file of it that somebody changed is asked about."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Final

from claudetm.errors import UsageError

if TYPE_CHECKING:
    from claudetm.bootstrap.monitor_settings import MonitorSettings
    from claudetm.cli.monitor.init import Prepared, Talk

NAME: Final = "setup-task-monitor"


def text() -> str:
    """Return the skill as it ships."""
    return files("claudetm").joinpath("skills", NAME, "SKILL.md").read_text(encoding="utf-8")


def prepare(settings: MonitorSettings, whose: str, prepared: Prepared, talk: Talk, *, yes: bool) -> None:
    """Prepare to write the skill for the user or the project. Raises UsageError, as for one that was changed."""
    from claudetm.adapters.store.directory import disk
    from claudetm.cli.monitor.setup import ask_yes

    file = _place(settings, whose) / "skills" / NAME / "SKILL.md"
    there = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else None
    if there == text():
        return
    if there is not None and not (talk.asks and ask_yes(f"{file} was changed. Replace it?", default=False)):
        if yes or not talk.asks:
            raise UsageError(f"{file} was changed and is left alone; remove it, then call the same again")
        return

    def write() -> str:
        with disk(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text(), encoding="utf-8")
        return str(file)

    prepared.steps.append(write)


def _place(settings: MonitorSettings, whose: str) -> Path:
    match whose:
        case "user":
            return Path.home() / ".claude"
        case "project":
            return (settings.root or settings.places.here) / ".claude"
        case _:
            raise UsageError(f"There is no place {whose} for a skill: use user or project")
