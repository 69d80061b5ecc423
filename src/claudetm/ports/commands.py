"""Running other people's commands: checks, set-up, criteria. Without credentials, contained, bounded."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class CommandRequest:
    """One command line for `sh -c`, in `cwd`. `log` receives the whole output; the result carries its tail."""

    command: str
    cwd: Path
    timeout: float = 1800.0  # seconds
    log: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)  # besides the allow-list
    writable: Sequence[Path] = ()  # besides cwd, where the sandbox is on


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How it ended. `exit_code` is None when it was ended by us: timed out, or stopped."""

    exit_code: int | None
    output: str  # both streams as they came, the last 64 KiB, undecodable bytes replaced
    sha256: str  # of the whole output
    seconds: float
    timed_out: bool = False
    stopped: bool = False
    log: Path | None = None

    @property
    def ok(self) -> bool:
        """Whether it ran to its end and exited 0."""
        return self.exit_code == 0

    @property
    def how(self) -> str:
        """How it ended, in a few words."""
        if self.exit_code is None:
            return f"ended after {self.seconds:.0f} seconds: the time limit" if self.timed_out else "stopped"
        number = -self.exit_code if self.exit_code < 0 else self.exit_code - 128  # as the shell tells of a signal
        if number in signal.valid_signals():
            return f"killed by {signal.Signals(number).name} (exit code {self.exit_code})"
        if self.exit_code in {126, 127}:
            return f"could not be started (exit code {self.exit_code})"
        return f"exit code {self.exit_code}"


class Commands(Protocol):
    """The runner."""

    async def run(self, request: CommandRequest, stop: asyncio.Event | None = None) -> CommandResult:
        """Run the command to its end, its time limit, or `stop`; nothing it started outlives the call."""
        ...
