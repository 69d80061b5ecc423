"""`logs/monitor.log`: all that a monitor tells, with rotation, secrets masked, its owner's alone.

A disk that refuses it costs lines and never a task.
"""

from __future__ import annotations

import io
import logging
import os
import time
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final

from claudetm.errors import UsageError
from claudetm.redact import printable, redact

LARGEST: Final = 5 << 20  # bytes of one file
KEPT: Final = 5  # files besides the one that is written


class _Private(RotatingFileHandler):
    """Makes its files 0600, follows no link, and never says that it could not write."""

    def _open(self) -> io.TextIOWrapper:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        raw = os.fdopen(os.open(self.baseFilename, flags, 0o600), "ab")
        return io.TextIOWrapper(raw, encoding=self.encoding, errors=self.errors)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the standard library's name
        """Pass over a line that could not be written."""


class _Plain(logging.Formatter):
    """A line of time (UTC), level and text, from which nothing can break out."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%SZ")
        self.converter = time.gmtime

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return " ".join(redact(printable(super().format(record))).split("\n"))


def open_log(path: Path, largest: int = LARGEST, kept: int = KEPT) -> logging.Logger:
    """Return a logger that writes to the file. Raises UsageError where it cannot be opened at all."""
    try:
        handler = _Private(path, maxBytes=largest, backupCount=kept, encoding="utf-8", errors="replace", delay=False)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}; mend that, or move it away") from None
    handler.setFormatter(_Plain())
    logger = logging.Logger("claudetm.monitor")  # noqa: LOG001 - of no hierarchy: nobody else writes into it
    logger.addHandler(handler)
    return logger
