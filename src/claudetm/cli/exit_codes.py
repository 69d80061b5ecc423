"""What an exit code means. The table in docs/commands.md is made from this one; a test brings about each row."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final


class ExitCode(IntEnum):
    """How a command ended, for whoever called it."""

    SUCCESS = 0
    FAILED = 1
    STOPPED = 2  # always means that `claudetm resume` goes on, so wrong usage is no 2 here
    BUG = 3
    PASSING = 4  # a service manager may begin it again, where FAILED waits for a person


WHEN: Final[Mapping[str, ExitCode]] = {
    "the run is verified": ExitCode.SUCCESS,
    "what was asked for is shown or done, in any phase of the run": ExitCode.SUCCESS,
    "`claudetm monitor` was stopped; with `--once`, it has worked what was there, failed tasks too": ExitCode.SUCCESS,
    "a source of `claudetm monitor` lets nobody in, or with `--once` could not be asked": ExitCode.FAILED,
    "`claudetm monitor` was ended by its disk, or lost its lock: it may be begun again": ExitCode.PASSING,
    "the run is blocked": ExitCode.FAILED,
    "the run was cancelled": ExitCode.FAILED,
    "a known error, in one sentence": ExitCode.FAILED,
    "there is nothing to show": ExitCode.FAILED,
    "wrong usage": ExitCode.FAILED,
    "`claudetm doctor` found a failure": ExitCode.FAILED,
    "`claudetm fix-pr --merge-only` found something against the merge": ExitCode.FAILED,
    "Ctrl+C or SIGTERM during a run": ExitCode.STOPPED,
    "`claudetm pause`, `claudetm stop`": ExitCode.STOPPED,
    "a limit of sessions or of cost is reached": ExitCode.STOPPED,
    "`--pause-on-pr`: a pull request was opened": ExitCode.STOPPED,
    "`--approve-plan`: the plan waits for you": ExitCode.STOPPED,
    "`--no-auto-merge`: a pull request waits for you": ExitCode.STOPPED,
    "a bug: the details are in the file that is named": ExitCode.BUG,
}
"""Every way in which a command ends, with its code."""
