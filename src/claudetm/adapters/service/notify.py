"""What the service manager is told, by the datagrams of sd_notify(3). Without NOTIFY_SOCKET nothing is.

Telling never fails and never waits: a manager that does not listen costs the monitor nothing.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

_SOCKET: Final = "NOTIFY_SOCKET"
_MICROSECONDS: Final = "WATCHDOG_USEC"
_WATCHED: Final = "WATCHDOG_PID"
_MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Notifier:
    """Speaks to one address: a path, or `@name` for an abstract socket; "" is nobody.

    `seconds` is how often `alive` has to be called at the latest, half of what the manager waits; None: never.
    """

    address: str = ""
    seconds: float | None = None

    def ready(self, status: str = "") -> None:
        """Say that the monitor has begun to take tasks."""
        self._tell("READY=1", status)

    def alive(self) -> None:
        """Say that it gets on. Called by what makes progress, never by a timer of its own."""
        if self.seconds is not None:
            self._tell("WATCHDOG=1")

    def status(self, text: str) -> None:
        """Say in one line what it does."""
        self._tell("", text)

    def stopping(self, status: str = "") -> None:
        """Say that it ends by itself from here on."""
        self._tell("STOPPING=1", status)

    def _tell(self, word: str, status: str = "") -> None:
        line = f"STATUS={' '.join(status.split())}" if status else ""
        words = "\n".join(filter(None, (word, line)))
        if not self.address or not words:
            return
        address = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.settimeout(0.0)
            out.sendto(words.encode(errors="replace"), address)


def notifier(environment: MutableMapping[str, str]) -> Notifier:
    """Return who to tell, and take it out of the environment: a child that spoke there would speak for us."""
    address = environment.pop(_SOCKET, "")
    microseconds, watched = environment.pop(_MICROSECONDS, ""), environment.pop(_WATCHED, "")
    if address[:1] not in {"/", "@"}:
        return Notifier()
    mine = watched in {"", str(os.getpid())}
    period = int(microseconds) / _MILLION if microseconds.isdecimal() and mine else 0.0
    return Notifier(address, period / 2 if period else None)
