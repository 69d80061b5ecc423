"""What is to run as a service, and the one way in which systemctl, launchctl and loginctl are called."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from claudetm.errors import ServiceError, UsageError

NAME: Final = "claudetm-monitor"
MARGIN_SECONDS: Final = 150
"""What a stop may take beyond the monitor's grace, in which its workers keep what they did. It is killed then.

A test holds it above what the monitor waits for them.
"""
_SECONDS: Final = 30.0  # for a manager's command that waits for nothing
OURS: Final = "claudetm monitor service"
"""Stands in whatever is written for a service; a file without it is somebody else's."""


@dataclass(frozen=True, slots=True)
class Service:
    """One monitor as a service. `user` is whose it is where the whole machine's manager runs it, else ""."""

    name: str
    program: tuple[str, ...]  # what is executed, by absolute path
    folder: Path  # where it works
    variables: Path  # the file that its variables stand in
    grace: float  # seconds that its tasks have to come to a stop
    user: str = ""

    @property
    def stop_seconds(self) -> int:
        """How long the manager waits for its end."""
        return round(self.grace) + MARGIN_SECONDS


@dataclass(frozen=True, slots=True)
class Standing:
    """How a service stands, in its manager's words. `pid` is 0 where nothing runs."""

    installed: bool
    state: str = ""  # active, failed, …; "" where the manager knows nothing
    detail: str = ""
    pid: int = 0
    restarts: int = 0
    enabled: bool = False
    status: str = ""  # what the monitor itself says that it does
    facts: Mapping[str, str] = field(default_factory=dict)


class Manager(Protocol):
    """A service manager. Every method but `text` may raise ServiceError."""

    @property
    def kind(self) -> str:
        """Return `systemd` or `launchd`."""
        ...

    @property
    def file(self) -> Path:
        """Return where the service is described."""
        ...

    def text(self, service: Service) -> str:
        """Return the description to be written. Raises UsageError for a path that it cannot name."""
        ...

    def refuse_absent(self) -> None:
        """Raise ServiceError where the manager does not run here."""
        ...

    def described(self) -> Path | None:
        """Return the file by which the manager knows a service of that name, wherever it lies; None for none."""
        ...

    def works_in(self) -> Path | None:
        """Return the folder that the description which is there names; None without one."""
        ...

    def taken_up(self) -> None:
        """Let the manager read the description that was written, and begin it with the session or the machine."""
        ...

    def start(self) -> None:
        """Start the service; nothing where it runs."""
        ...

    def stop(self) -> None:
        """Stop it and wait until it has ended; nothing where it does not run."""
        ...

    def restart(self) -> None:
        """Stop it where it runs, and start it."""
        ...

    def forgotten(self) -> None:
        """Stop it and let the manager no longer begin it; before its description is removed."""
        ...

    def removed(self) -> None:
        """Let the manager see that the description has gone."""
        ...

    def standing(self) -> Standing:
        """Return how it stands."""
        ...

    def logs(self, lines: int, *, follow: bool) -> list[str]:
        """Return the command that prints what the service has said."""
        ...


@dataclass(frozen=True, slots=True)
class Said:
    """What a manager's command answered."""

    code: int
    out: str
    complaint: str  # its last line on standard error, or ""


def ask(*command: str, seconds: float = _SECONDS) -> Said:
    """Run a manager's command to its end, in the C locale. Raises ServiceError where there is none to answer."""
    environment = {**os.environ, "LC_ALL": "C", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""}
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except OSError as error:
        raise ServiceError(f"{command[0]} cannot be run here ({error.strerror}); {elsewise()}") from error
    except subprocess.TimeoutExpired:
        raise ServiceError(f"{command[0]} gave no answer in {seconds:.0f} seconds; call the same again") from None
    complaints = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return Said(done.returncode, done.stdout, complaints[-1] if complaints else "")


def told(*command: str, seconds: float = _SECONDS) -> Said:
    """Run a manager's command that has to succeed. Raises ServiceError with its complaint."""
    said = ask(*command, seconds=seconds)
    if said.code:
        why = said.complaint or f"exit code {said.code}"
        called = " ".join(command)
        raise ServiceError(f"`{called}` failed: {why.rstrip('.')}; `claudetm monitor service logs` may say more")
    return said


def elsewise() -> str:
    """Return how else the monitor is kept running, as the end of a sentence."""
    return (
        "run `claudetm monitor` in a terminal, in a container, or under pm2 or supervisor, as docs/monitor.md shows"
    )


def refuse_unspeakable(path: Path | str) -> None:
    """Raise UsageError for a path that no description can hold: one line has to, and be read back as it is."""
    text = str(path)
    try:
        text.encode()
        plain = text.isprintable() and text == text.strip() and not text.endswith("\\")
    except UnicodeEncodeError:
        plain = False
    if not plain:
        raise UsageError(f"No service can be told to work in {text!r}; rename that folder")
