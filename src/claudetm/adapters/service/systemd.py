"""A systemd unit for the monitor: its text, and what systemctl and journalctl are asked.

Who may stand where in a unit differs by line: ExecStart= is split and unquoted, and knows `%` and `$`;
WorkingDirectory= is the rest of its line, with `%`; EnvironmentFile= also has `*`, `?` and `[` (systemd.syntax(7)).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from claudetm.adapters.service.described import (
    OURS,
    Said,
    Service,
    Standing,
    ask,
    elsewise,
    refuse_unspeakable,
    told,
)
from claudetm.errors import ServiceError

SYSTEM_UNITS: Final = Path("/etc/systemd/system")
WATCHDOG_SECONDS: Final = 180
_LONGEST: Final = 3600.0  # seconds; the unit's own limits are shorter
_PROPERTIES: Final = (
    "LoadState",
    "FragmentPath",
    "ActiveState",
    "SubState",
    "Result",
    "MainPID",
    "ExecMainStatus",
    "NRestarts",
    "StatusText",
    "UnitFileState",
    "ActiveEnterTimestamp",
)

# KillMode=process: a stop tells the monitor alone, which ends its workers before it ends itself. Where it dies
# instead (a bug, the watchdog, memory) they go on, and the next one finds them: with `mixed` or `control-group` they
# would die with it, a session's cost with each, and a task that did no harm would be set aside after the third.
# `stop` below tells those that a dead monitor has left.
# Exit code 1 is for a person, as a key that is refused: beginning again would change nothing. All else may pass.
# OOMPolicy=continue: a test that runs out of memory ends that test, not the monitor.
# Exit code 2 is a stop that can be carried on: no failure.
_UNIT: Final = """\
# Written by `{ours} install`; `{ours} uninstall` removes it.
[Unit]
Description=claudetm monitor in {described}
{after}StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
{user}WorkingDirectory={folder}
EnvironmentFile={variables}
ExecStart={program}
Restart=on-failure
RestartSec=30
RestartPreventExitStatus=1
SuccessExitStatus=2
TimeoutStartSec=180
TimeoutStopSec={stop}
WatchdogSec={watchdog}
KillMode=process
OOMPolicy=continue

[Install]
WantedBy={target}
"""


@dataclass(frozen=True, slots=True)
class Systemd:
    """One unit of the user's own manager, or of the machine's."""

    name: str
    system: bool = False
    kind: str = "systemd"

    @property
    def file(self) -> Path:
        """Where the unit is written."""
        home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
        return (SYSTEM_UNITS if self.system else home / "systemd" / "user") / f"{self.name}.service"

    def text(self, service: Service) -> str:
        """Return the unit. Raises UsageError for a path that it cannot name."""
        for path in (service.folder, service.variables, service.program[0]):
            refuse_unspeakable(path)
        return _UNIT.format(
            ours=f"claudetm {OURS.removeprefix('claudetm ')}",
            described=_percent(str(service.folder)),
            after="Wants=network-online.target\nAfter=network-online.target\n" if self.system else "",
            user=f"User={service.user}\n" if self.system else "",
            folder=_percent(str(service.folder)),
            variables=_percent(re.sub(r"([\\*?\[\]])", r"\\\1", str(service.variables))),
            program=_line(service.program),
            stop=service.stop_seconds,
            watchdog=WATCHDOG_SECONDS,
            target="multi-user.target" if self.system else "default.target",
        )

    def refuse_absent(self) -> None:
        """Raise ServiceError where no systemd answers."""
        said = ask(*self._systemctl("show", "--property=Version"))
        if said.code:
            whose = "systemd" if self.system else "systemd of your own"
            why = f" ({said.complaint.rstrip('.')})" if said.complaint else ""
            raise ServiceError(f"No {whose} answers here{why}: {elsewise()}")

    def described(self) -> Path | None:
        """Return the unit's file as systemd knows it."""
        found = self._facts().get("FragmentPath", "")
        return Path(found) if found else None

    def works_in(self) -> Path | None:
        """Return the folder that the unit names."""
        text = self.file.read_text(errors="replace") if self.file.exists() else ""
        found = re.search(r"^WorkingDirectory=(.+)$", text, re.MULTILINE)
        return Path(found[1].replace("%%", "%")) if found else None

    def taken_up(self) -> None:
        """Let systemd read the unit, and begin it with the session or the machine."""
        told(*self._systemctl("daemon-reload"))
        told(*self._systemctl("enable", self._unit))

    def start(self) -> None:
        """Start it; systemd answers once the monitor has said that it is ready."""
        self._begin("start")

    def restart(self) -> None:
        """Stop it where it runs, and start it."""
        self._begin("restart")

    def _begin(self, verb: str) -> None:
        ask(*self._systemctl("reset-failed", self._unit))  # what was tried too often may be tried again
        told(*self._systemctl(verb, self._unit), seconds=_LONGEST)

    def stop(self) -> None:
        """Stop it; systemd answers once it has ended. Workers that a dead monitor left are told to end, too."""
        told(*self._systemctl("stop", self._unit), seconds=_LONGEST)
        self._end_what_is_left()

    def forgotten(self) -> None:
        """Stop it, and begin it no more."""
        told(*self._systemctl("disable", "--now", self._unit), seconds=_LONGEST)
        self._end_what_is_left()

    def _end_what_is_left(self) -> None:
        ask(*self._systemctl("kill", "--signal=SIGTERM", self._unit))  # where nothing is left, it complains

    def removed(self) -> None:
        """Let systemd see that the unit has gone."""
        told(*self._systemctl("daemon-reload"))
        ask(*self._systemctl("reset-failed", self._unit))

    def standing(self) -> Standing:
        """Return how the unit stands."""
        facts = self._facts()
        return Standing(
            installed=facts.get("LoadState") == "loaded",
            state=facts.get("ActiveState", ""),
            detail=", ".join(filter(None, (facts.get("SubState"), _amiss(facts)))),
            pid=_number(facts.get("MainPID")),
            restarts=_number(facts.get("NRestarts")),
            enabled=facts.get("UnitFileState") == "enabled",
            status=facts.get("StatusText", ""),
            facts=facts,
        )

    def logs(self, lines: int, *, follow: bool) -> list[str]:
        """Return the command that reads the journal."""
        own = [] if self.system else ["--user"]
        return ["journalctl", *own, "--unit", self._unit, "--lines", str(lines), "--no-pager", *["--follow"] * follow]

    @property
    def _unit(self) -> str:
        return f"{self.name}.service"

    def _systemctl(self, *arguments: str) -> list[str]:
        return ["systemctl", *([] if self.system else ["--user"]), "--no-ask-password", *arguments]

    def _facts(self) -> dict[str, str]:
        said: Said = told(*self._systemctl("show", self._unit, f"--property={','.join(_PROPERTIES)}"))
        return dict(line.split("=", 1) for line in said.out.splitlines() if "=" in line)


def _amiss(facts: dict[str, str]) -> str:
    """Return why it is not as it should be, or ""."""
    result, code = facts.get("Result", ""), facts.get("ExecMainStatus", "")
    if result in {"", "success"}:
        return ""
    return f"{result} {code}" if result == "exit-code" else result


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0


def _percent(text: str) -> str:
    return text.replace("%", "%%")


def _line(program: tuple[str, ...]) -> str:
    """Return a command line. systemd executes nothing with a quote or a backslash in its path, so a shell does."""
    if re.search(r"""['"\\]""", program[0]):
        program = ("/bin/sh", "-c", 'exec "$0" "$@"', *program)
    return " ".join([_quoted(program[0]), *(_argument(word) for word in program[1:])])


def _quoted(word: str) -> str:
    """Quote what is executed: in it alone a `$` is itself."""
    return '"' + _percent(word.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def _argument(word: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9_./:=@,+-]+", word):
        return word
    refuse_unspeakable(word.strip() or "a blank argument")
    return _quoted(word).replace("$", "$$")


def lingers(user: str) -> bool | None:
    """Whether services of the user go on after their last logout; None where nobody can say."""
    try:
        said = ask("loginctl", "show-user", user, "--property=Linger")
    except ServiceError:
        return None
    if said.code:  # who is not logged in is not known, but may linger
        return Path("/var/lib/systemd/linger", user).exists() or None
    return said.out.strip() == "Linger=yes"


def linger(user: str) -> None:
    """Let services of the user go on after their last logout. Raises ServiceError."""
    told("loginctl", "enable-linger", user)
