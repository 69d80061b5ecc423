"""What commands that drive a run share: the screen, the driver's loop, the exit code."""

from __future__ import annotations

import asyncio
import gc
import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from typing import Any

from claudetm.adapters.store.directory import run_folder
from claudetm.bootstrap.driving import Screen, drive
from claudetm.bootstrap.opening import Opened, put_away
from claudetm.cli.exit_codes import ExitCode
from claudetm.cli.runlog import RunLog
from claudetm.cli.views import CODES, Lines, Quiet, Several, View
from claudetm.credentials import undumpable
from claudetm.engine.loop import Ending
from claudetm.errors import ClaudetmError, StoreError, UsageError

LEVELS = ("quiet", "normal", "verbose")
FORMATS = ("text", "json")


class Audience(Several):
    """The view that was asked for, and the run's log, which is written whatever the screen shows."""

    def __init__(self, view: View) -> None:
        self._log = RunLog()
        super().__init__((view, self._log))

    def open(self, opened: Opened) -> None:
        """Begin, now that it is known which run is driven."""
        self._log.open(opened.state.logs)
        self.begin(opened.run)


def audience(level: str, log_format: str = "text", *, as_json: bool = False) -> Audience:
    """Return whoever is told. Raises UsageError for a level or a format that there is not."""
    if level not in LEVELS:
        raise UsageError(f"There is no log level {level}: use one of {', '.join(LEVELS)}")
    if log_format not in FORMATS:
        raise UsageError(f"There is no log format {log_format}: use one of {', '.join(FORMATS)}")
    return Audience(_view(level, as_json=as_json or log_format == "json"))


def _view(level: str, *, as_json: bool) -> View:
    if as_json:
        from claudetm.cli.json_view import JsonLines

        return JsonLines(level)
    if level == "quiet":
        return Quiet()
    if painted_on():
        from claudetm.cli.live import LiveView

        return LiveView(level, sys.stdout)
    if sys.stdout is not None and sys.stdout.isatty():
        return Lines(level, columns=shutil.get_terminal_size().columns)
    return Lines(level)


def painted_on() -> bool:
    """Return whether standard output is a terminal that can be painted on, and somebody sits at it."""
    out = sys.stdout
    if out is None or not out.isatty() or os.environ.get("CI"):
        return False
    utf8 = (out.encoding or "").lower().replace("-", "") == "utf8"
    return utf8 and os.environ.get("TERM", "dumb") not in {"", "dumb", "unknown"}


def drive_to_end(
    opened: Opened, told: Audience, resume: Mapping[str, Any] | None = None, *, leaves: bool = False
) -> ExitCode:
    """Drive the run to where it can go no further; return the exit code. The rest is as `drive` has it."""
    undumpable()
    gc.enable()
    told.open(opened)
    try:
        screen = Screen(told.event, told.progress, told.wait, told.stopping)
        ending = asyncio.run(drive(opened, screen, resume, leaves=leaves))
        told.end(opened.run, ending)
        if ending is Ending.PLANNED:
            told.close()
            put_away(opened)
        return CODES[ending]
    except KeyboardInterrupt:
        told.broke_off("interrupted", ExitCode.STOPPED)
        raise
    except (ClaudetmError, OSError) as error:
        told.broke_off("failed", ExitCode.FAILED)
        if opened.state.journal.exists():
            raise
        raise _bereft(opened) from error
    finally:
        told.close()
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
