"""What commands that drive a run share: the screen, the driver's loop, the exit code."""

from __future__ import annotations

import asyncio
import gc
import shlex
from collections.abc import Mapping
from typing import Any

from claudetm.bootstrap.driving import Screen, drive
from claudetm.bootstrap.opening import Opened, run_folder
from claudetm.cli.views import Lines, conclude
from claudetm.credentials import undumpable
from claudetm.errors import ClaudetmError, StoreError, UsageError

LEVELS = ("quiet", "normal", "verbose")


def lines(level: str) -> Lines:
    """Return the screen of a level. Raises UsageError for a level that there is not."""
    if level not in LEVELS:
        raise UsageError(f"There is no log level {level}: use one of {', '.join(LEVELS)}")
    return Lines(level)


def drive_to_end(opened: Opened, screen: Lines, resume: Mapping[str, Any] | None = None) -> int:
    """Drive the run to where it can go no further; return the exit code."""
    undumpable()
    gc.enable()
    try:
        told = Screen(screen.event, screen.progress, screen.wait)
        return conclude(opened.run, asyncio.run(drive(opened, told, resume)))
    except (ClaudetmError, OSError) as error:
        if opened.state.journal.exists():
            raise
        raise _bereft(opened) from error
    finally:
        opened.close()


def _bereft(opened: Opened) -> StoreError:
    """Keep the journal of a run whose state directory was deleted; return what is told."""
    root, journal = opened.state.root, opened.state.journal
    kept = run_folder(opened.user.root, opened.run.id) / journal.name
    if not opened.journal.rescue(kept):
        return StoreError(f'{root} was deleted under the running driver; `claudetm start "goal"` begins anew')
    back = f"mkdir -p {shlex.quote(str(root))} && cp {shlex.quote(str(kept))} {shlex.quote(str(journal))}"
    return StoreError(
        f"{root} was deleted under the running driver; put it back with `{back}`, then `claudetm resume`"
    )
