"""Standard output that may go away: whoever read along has gone, or never was there."""

from __future__ import annotations

import os
import sys
from typing import TextIO


def say(line: str) -> None:
    """Print a line at once. What cannot be told costs no run: once nobody can read it, it goes nowhere."""
    if sys.stdout is None:
        return
    try:
        print(line, flush=True)
    except OSError:
        unread(sys.stdout)


def unread(out: TextIO) -> None:
    """Let what is written to a file from now on go nowhere, as nobody reads it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
