"""What commands that drive a run share: the screen, the driver's loop, the exit code."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from claudetm.bootstrap.driving import Screen, drive
from claudetm.bootstrap.opening import Opened
from claudetm.cli.views import Lines, conclude
from claudetm.credentials import undumpable
from claudetm.errors import UsageError

LEVELS = ("quiet", "normal", "verbose")


def lines(level: str) -> Lines:
    """Return the screen of a level. Raises UsageError for a level that there is not."""
    if level not in LEVELS:
        raise UsageError(f"There is no log level {level}: use one of {', '.join(LEVELS)}")
    return Lines(level)


def drive_to_end(opened: Opened, screen: Lines, resume: Mapping[str, Any] | None = None) -> int:
    """Drive the run to where it can go no further; return the exit code."""
    undumpable()
    try:
        told = Screen(screen.event, screen.progress, screen.wait)
        return conclude(opened.run, asyncio.run(drive(opened, told, resume)))
    finally:
        opened.close()
