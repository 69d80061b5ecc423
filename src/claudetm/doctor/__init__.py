"""What a run needs of the machine, the account and the repository, as checks that each say what they found.

Looking changes nothing. Mending takes the run's lock first, so it never works beside a living driver.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from claudetm.doctor import account, github, machine, monitor, orphans, repository, state
from claudetm.doctor.finding import Finding, State, fail, refused
from claudetm.doctor.place import Check, Place
from claudetm.errors import ClaudetmError
from claudetm.redact import printable, redact

__all__ = ["CHECKS", "Finding", "State", "examine"]


def examine(where: Path, *, mend: bool = False, task: Path | None = None) -> Iterator[Finding]:
    """Yield what each check finds, as it is found. What a check runs into is its failure, never an exception.

    `task` is the state directory of a monitor's task that is examined in place of the user's own.
    """
    place = Place(where, mend, task)
    for name, check in CHECKS.items():
        try:
            for finding in check(place):
                yield replace(finding, found=redact(printable(finding.found)))
        except ClaudetmError as error:
            yield refused(name, error)
        except (OSError, subprocess.SubprocessError) as error:
            yield fail(name, str(error), "mend that, then call the same again")


CHECKS: Final[Mapping[str, Check]] = {
    "python": machine.python,
    "claudetm": machine.program,
    "git": machine.git,
    "agent CLI": machine.cli,
    "sandbox": machine.sandbox,
    "credentials": account.credentials,
    "disk": machine.disk,
    "repository": repository.repository,
    "configuration": repository.configuration,
    "prompts": repository.prompts,
    "checks": repository.checks,
    "forge": github.forge,
    "GitHub": github.github,
    "monitor": monitor.monitor,
    "monitor folders": monitor.folders,
    "monitor issues": monitor.issues,
    "Sego PM": monitor.sego,
    "monitor service": monitor.service,
    "state": state.state,
    "journal": state.journal,
    "forge journal": state.forge_journal,
    "orphan agents": orphans.orphans,
}
"""Every check by the name that its failure goes by, in the order in which they run."""
