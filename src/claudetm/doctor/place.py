"""What is examined, each part of it read once and only when a check asks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from claudetm.adapters.store.directory import NAME, StateDirectory
from claudetm.doctor.finding import Finding
from claudetm.errors import ClaudetmError, RepositoryError

if TYPE_CHECKING:
    from claudetm.adapters.forge.github.place import Hosted
    from claudetm.adapters.git.user_repository import UserRepository
    from claudetm.bootstrap.monitor_settings import MonitorSettings
    from claudetm.config import Resolved


@dataclass(frozen=True)
class Place:
    """What is examined: the folder that the command was called in; `mend` is what `--repair` asks for.

    `task` is a state directory that is looked at in place of the repository's own, that of a monitor's task.
    """

    where: Path
    mend: bool = False
    task: Path | None = None

    @cached_property
    def root(self) -> Path | None:
        """The folder that holds `.git` or the state directory, found without git's help."""
        above = (self.where, *self.where.parents)
        return next((f for f in above if os.path.lexists(f / ".git") or os.path.lexists(f / NAME)), None)

    @property
    def outside(self) -> bool:
        """Whether there is no repository to examine. A bare one is one, and refused as such."""
        return self.root is None and not (self.where / "objects").is_dir()

    @cached_property
    def state(self) -> StateDirectory | None:
        """The state directory, where there is one."""
        if self.task is not None:
            return StateDirectory(self.task)
        if self.root is None or not os.path.lexists(self.root / NAME):
            return None
        return StateDirectory(self.root / NAME)

    @cached_property
    def user(self) -> UserRepository:
        """The repository as a start would read it. Raises RepositoryError."""
        from claudetm.adapters.git.user_repository import inspect

        return inspect(self.where)

    @cached_property
    def files(self) -> frozenset[str]:
        """The paths at the commit that a run would begin at; none where it cannot begin."""
        with suppress(RepositoryError):
            listed = self.user.refs.git.run("ls-tree", "-r", "-z", "--name-only", self.user.base)
            return frozenset(listed.items)
        return frozenset()

    @cached_property
    def settings(self) -> Resolved:
        """The configuration as a start would resolve it. Raises ConfigError."""
        from claudetm.bootstrap.configuration import configuration
        from claudetm.config import resolve, user_file

        if self.root is not None and os.path.lexists(self.root / NAME / "config.json"):
            return configuration(self.root, look=True)
        return resolve({}, os.environ, None, user_file(), tighten=False)

    @property
    def readable(self) -> bool:
        """Whether there are a repository and settings to go by; what is amiss with them has a check of its own."""
        try:
            _ = self.user, self.settings
        except ClaudetmError:
            return False
        return True

    @cached_property
    def hosted(self) -> Hosted | None:
        """Where on GitHub pull requests would live, None for the local forge. Raises ClaudetmError."""
        return self.forge[0]

    @cached_property
    def forge(self) -> tuple[Hosted | None, str]:
        """The same, and what a start says of it. Raises ClaudetmError."""
        from claudetm.bootstrap.github import forge_used

        said: list[str] = []
        found = forge_used(self.settings, self.user, said.append)
        return found, "".join(said).removeprefix("forge: ")

    @cached_property
    def monitor(self) -> MonitorSettings | None:
        """The settings of a monitor here; None where nobody has set one up. Raises ClaudetmError."""
        from claudetm.bootstrap.monitor_settings import monitor_settings

        found = monitor_settings(where=self.where, look=True)
        said = any(where != "default" for name, where in found.origins.items() if name.startswith("monitor.s"))
        return found if said or found.places.state.is_dir() else None

    @cached_property
    def runs(self) -> Path:
        """Where the runs of this repository have their own repositories; the folder of all runs outside of one."""
        from claudetm.adapters.store.directory import run_folder

        mine = run_folder(self.root or self.where, "any").parent
        return mine if self.root else mine.parent


Check = Callable[[Place], Iterator[Finding]]
