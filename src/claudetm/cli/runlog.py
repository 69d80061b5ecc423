"""The run's readable log, `logs/run-<time>.txt`: a file a driver, all that was told, at the level verbose, UTC times.

Nothing reads it to drive a run, so a disk that refuses it costs lines and never the run.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from claudetm.cli.exit_codes import ExitCode
from claudetm.cli.views import Lines, next_step, outcome
from claudetm.engine.loop import Ending
from claudetm.workflow.run import Run

_WIDEST: Final = 4000  # characters


class RunLog(Lines):
    """Keeps what it is told before `open`, so that what a start has to say stands in the file too."""

    def __init__(self) -> None:
        super().__init__("verbose", self._put, _utc, _WIDEST)
        self._early: list[str] = []
        self._file = -1

    def open(self, logs: Path) -> None:
        """Write from now on into a file of this driver's own below `logs`. Mode 0600."""
        path = logs / time.strftime("run-%Y%m%dT%H%M%SZ.txt", time.gmtime())
        with suppress(OSError):
            logs.mkdir(parents=True, exist_ok=True, mode=0o700)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
            self._file = os.open(path, flags, 0o600)
        early, self._early = self._early, []
        for line in early:
            self._put(line)

    def end(self, run: Run, ending: Ending) -> None:
        """Write how it ended."""
        self._tell("", outcome(run, ending))
        if step := next_step(run, ending):
            self._tell("", f"next: {step}")

    def broke_off(self, ending: str, code: ExitCode) -> None:
        """Write that the driver was interrupted, or failed."""
        self._tell("", f"{ending} (exit {code})")

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1

    def _put(self, line: str) -> None:
        if self._file < 0:
            self._early.append(line)
            return
        with suppress(OSError):
            os.write(self._file, f"{line}\n".encode(errors="replace"))


def _utc() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
