"""Which service manager this machine has, and where the variables of a service stand. Asks nothing of either."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from claudetm.adapters.service.described import NAME
from claudetm.bootstrap.monitor_places import refuse_monitor_name

if TYPE_CHECKING:
    from claudetm.adapters.service.described import Manager

_OF_THE_MACHINE: Final = Path("/etc/claudetm")


def manager_of(name: str = "", *, system: bool = False) -> Manager:
    """Return the manager of the service of that name, which need not run. Raises ConfigError for a bad name."""
    from claudetm.adapters.service.launchd import Launchd
    from claudetm.adapters.service.systemd import Systemd

    unit = f"{NAME}-{name}" if refuse_monitor_name(name) else NAME
    return Launchd(unit, system) if sys.platform == "darwin" else Systemd(unit, system)


def variables_file(service: str, *, system: bool = False) -> Path:
    """Return where the variables of a service stand."""
    from claudetm.config import user_file

    return (_OF_THE_MACHINE if system else user_file().parent) / f"{service}.env"
