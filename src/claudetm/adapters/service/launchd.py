"""A launchd agent for the monitor (a daemon with `--system`): its property list, and what launchctl is asked.

launchd reads no file of variables, and a property list is readable by others' tools: a shell reads the file, then
becomes the monitor.
"""

from __future__ import annotations

import os
import plistlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from claudetm.adapters.service.described import (
    OURS,
    Service,
    Standing,
    ask,
    elsewise,
    refuse_unspeakable,
    told,
)
from claudetm.errors import ServiceError

DAEMONS: Final = Path("/Library/LaunchDaemons")
LOG: Final = Path("logs", "service.log")
"""Below where the monitor works: what it prints."""
_READ_THEN_BECOME: Final = 'set -a; . "$0"; set +a; exec "$@"'
_LOOK_SECONDS: Final = 0.5
_LONGEST: Final = 600.0  # seconds that a stop is waited for


@dataclass(frozen=True, slots=True)
class Launchd:
    """One agent of the user's session, or one daemon of the machine."""

    name: str
    system: bool = False
    kind: str = "launchd"
    pause: Callable[[float], None] = time.sleep

    @property
    def file(self) -> Path:
        """Where the property list is written."""
        folder = DAEMONS if self.system else Path.home() / "Library" / "LaunchAgents"
        return folder / f"{self.name}.plist"

    def text(self, service: Service) -> str:
        """Return the property list. Raises UsageError for a path that it cannot name."""
        for text in (str(service.folder), str(service.variables), *service.program):
            refuse_unspeakable(text)
        log = str(service.folder / LOG)
        listed: dict[str, Any] = {
            "Label": self.name,
            "ProgramArguments": ["/bin/sh", "-c", _READ_THEN_BECOME, str(service.variables), *service.program],
            "WorkingDirectory": str(service.folder),
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "ThrottleInterval": 300,  # seconds from start to start: a key that is refused is begun again as well
            "ExitTimeOut": service.stop_seconds,
            "ProcessType": "Standard",
            "StandardOutPath": log,
            "StandardErrorPath": log,
            **({"UserName": service.user} if self.system else {}),
        }
        head, body = plistlib.dumps(listed, sort_keys=False).decode().split("\n", 1)
        return f"{head}\n<!-- Written by `{OURS} install`; `{OURS} uninstall` removes it. -->\n{body}"

    def refuse_absent(self) -> None:
        """Raise ServiceError where launchd does not let this session in."""
        said = ask("launchctl", "print", self._domain)
        if said.code:
            why = said.complaint.rstrip(".") or f"exit code {said.code}"
            raise ServiceError(f"launchd does not answer for {self._domain} ({why}): {elsewise()}")

    def described(self) -> Path | None:
        """Return the property list by which launchd knows the label."""
        found = re.search(r"^\s*path = (.+)$", self._printed(), re.MULTILINE)
        return Path(found[1]) if found else None

    def works_in(self) -> Path | None:
        """Return the folder that the property list names."""
        found = self._listed().get("WorkingDirectory")
        return Path(found) if found else None

    def taken_up(self) -> None:
        """Let launchd begin it with the session: the file alone says so, unless it was disabled before."""
        told("launchctl", "enable", self._target)

    def start(self) -> None:
        """Start it; nothing where it runs."""
        if not self._printed():
            told("launchctl", "bootstrap", self._domain, str(self.file))
        elif not self.standing().pid:
            told("launchctl", "kickstart", self._target)

    def stop(self) -> None:
        """Stop it: it is taken out, as launchd would begin again what was only ended."""
        if not self._printed():
            return
        told("launchctl", "bootout", self._target)
        for _ in range(round(_LONGEST / _LOOK_SECONDS)):
            if not self._printed():
                return
            self.pause(_LOOK_SECONDS)
        raise ServiceError(f"{self.name} has not ended yet; `claudetm monitor service status` says when it has")

    def restart(self) -> None:
        """Stop it where it runs, and start what the file says now."""
        self.stop()
        told("launchctl", "bootstrap", self._domain, str(self.file))

    def forgotten(self) -> None:
        """Stop it; without its file launchd no longer begins it."""
        self.stop()

    def removed(self) -> None:
        """Nothing: launchd looks at the folder when a session begins."""

    def standing(self) -> Standing:
        """Return how it stands."""
        printed = self._printed()
        facts = dict(re.findall(r"^\t(state|pid|last exit code|runs) = (.+)$", printed, re.MULTILINE))
        code = facts.get("last exit code", "")
        return Standing(
            installed=self.file.exists(),
            state=facts.get("state", "not loaded"),
            detail=f"last exit code {code}" if code.isdecimal() and int(code) else "",
            pid=int(facts.get("pid", "0")),
            restarts=max(0, int(facts.get("runs", "0")) - 1),
            enabled=self.file.exists(),
            facts=facts,
        )

    def logs(self, lines: int, *, follow: bool) -> list[str]:
        """Return the command that reads what it printed."""
        return ["tail", "-n", str(lines), *["-F"] * follow, str(self._listed().get("StandardErrorPath", LOG))]

    def _listed(self) -> dict[str, Any]:
        return dict(plistlib.loads(self.file.read_bytes())) if self.file.exists() else {}

    @property
    def _domain(self) -> str:
        return "system" if self.system else f"gui/{os.getuid()}"

    @property
    def _target(self) -> str:
        return f"{self._domain}/{self.name}"

    def _printed(self) -> str:
        said = ask("launchctl", "print", self._target)
        return "" if said.code else said.out
