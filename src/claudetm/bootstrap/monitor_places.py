"""Where a monitor keeps things: four folders where it runs. Light to import, as commands that only look need it.

State is its owner's alone, nothing is made over what is of another kind, and git is told to pass all four by.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from claudetm.bootstrap.dotenv import Dotenv, read
from claudetm.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from claudetm.config import Resolved

FOLDERS: Final = ("tasks", "results", "logs", "state")
"""Each is the setting `monitor.<name>_dir`."""


@dataclass(frozen=True, slots=True)
class Places:
    """The folders of one monitor. `name` tells it from others that share the working directory, "" for the first."""

    here: Path  # the working directory
    tasks: Path
    results: Path
    logs: Path
    state: Path
    name: str = ""

    @property
    def journal(self) -> Path:
        """The queue's journal."""
        return self.state / "queue.jsonl"

    @property
    def lock(self) -> Path:
        """What the monitor holds while it runs."""
        return self.state / "monitor.lock"

    @property
    def inbox(self) -> Path:
        """Where commands wait for the monitor."""
        return self.state / "inbox"

    @property
    def queue_state(self) -> Path:
        """The queue as it stands, for people and for other programs."""
        return self.state / "queue_state.json"

    @property
    def about(self) -> Path:
        """What the monitor wrote down at its last start: version, settings, what it takes tasks from."""
        return self.state / "monitor.json"

    @property
    def log(self) -> Path:
        """The log, that rotates."""
        return self.logs / ("monitor.log" if not self.name else f"monitor-{self.name}.log")

    def create(self) -> None:
        """Make what is not there yet, but no results where there were some: without them each task would run anew.

        Raises UsageError for that, and where something else has the name, or it cannot be made.
        """
        if self.journal.exists() and not os.path.lexists(self.results):
            raise UsageError(
                f"{self.results} is not there, and without it which tasks have ended cannot be told: put it back, or "
                "make an empty folder to have every task run anew"
            )
        _make(self.tasks)
        _make(self.results)
        for private in (self.logs, *([self.state.parent] if self.name else []), self.state, self.inbox):
            _make(private, 0o700)
        _exclude(self)


def places(here: Path, resolved: Resolved, name: str = "") -> Places:
    """Return the folders that settings name; relative ones lie in `here`."""
    tasks, results, logs, state = (here / Path(resolved[f"monitor.{f}_dir"]).expanduser() for f in FOLDERS)
    return Places(here, tasks, results, logs, state / name if name else state, refuse_monitor_name(name))


def find_places(where: Path | None = None, name: str = "") -> Places:
    """Return the folders of the monitor that runs in a folder, by default as the environment and `.env` name it.

    Raises ConfigError and UsageError, in one sentence. Asks no git, unless a file that it may track names a folder.
    """
    here = working_directory(where).path
    return places(here, _resolved(here), name)


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where the monitor works, what said so (cli, env, file or default), and the `.env` that it goes by."""

    path: Path
    origin: str
    dotenv: Dotenv


def working_directory(given: Path | None = None) -> Workplace:
    """Return where the monitor works: as given, as SEGO_WORKING_DIR of the environment or of `.env` says, else here.

    Raises ConfigError, UsageError.
    """
    cwd = here_now()
    of_environment = os.environ.get("SEGO_WORKING_DIR", "").strip()
    if given or of_environment:
        here = _folder(cwd, given or of_environment)
        return Workplace(here, "cli" if given else "env", read(here))
    dotenv = read(cwd)
    if (said := dotenv.values.get("SEGO_WORKING_DIR", "")) and not is_tracked(dotenv):
        return Workplace(_folder(cwd, said), "file", dotenv)
    return Workplace(cwd, "default", dotenv)


def is_tracked(dotenv: Dotenv) -> bool:
    """Whether git tracks the file, so that whoever wrote it may be a stranger."""
    root = repository_around(dotenv.path.parent) if dotenv.values else None
    if root is None:
        return False
    from claudetm.adapters.git.user_repository import tracks

    return tracks(root, dotenv.path)


def _folder(cwd: Path, said: Path | str) -> Path:
    found = (cwd / Path(said).expanduser()).resolve()
    if not found.is_dir():
        raise UsageError(f"{found} is no folder that the monitor could work in; name one that is there")
    return found


def here_now() -> Path:
    """Return the working directory. Raises UsageError when it was removed."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise UsageError("The working directory is gone; go to one that is there") from None


def refuse_monitor_name(name: str) -> str:
    """Return a monitor's name, which names a folder. Raises ConfigError for what cannot."""
    plain = name.replace("-", "").replace("_", "")
    if name and not (plain.isascii() and plain.isalnum() and name[0].isalnum() and len(name) <= _LONGEST_NAME):
        raise ConfigError(f"--name must be letters, digits and dashes, at most {_LONGEST_NAME}.")
    if name in _TAKEN:
        raise ConfigError(f"--name cannot be {name}, which is in the state folder already; take another.")
    return name


_LONGEST_NAME: Final = 40
_TAKEN: Final = frozenset({"inbox"})


def repository_around(here: Path) -> Path | None:
    """Return the folder with `.git` around `here`; None outside of a repository. Asks no git."""
    return next((folder for folder in (here, *here.parents) if os.path.lexists(folder / ".git")), None)


def _resolved(here: Path) -> Resolved:
    """Return the settings. Where the repository's file names a folder, git is asked whose word that is."""
    from claudetm.adapters.store.directory import NAME
    from claudetm.config import resolve, user_file

    root = repository_around(here)
    project = root / NAME / "config.json" if root is not None else None
    found = resolve(None, os.environ, project, user_file(), tighten=False)
    if all(found.settings[f"monitor.{f}_dir"].source != str(project) for f in FOLDERS):
        return found
    from claudetm.bootstrap.configuration import configuration

    return configuration(root, look=True)


def _make(folder: Path, mode: int = 0o777) -> None:
    if not mode & 0o077 and folder.is_symlink():
        raise UsageError(f"{folder} is a link, so the monitor's state could lie anywhere: put a folder in its place")
    try:
        folder.mkdir(mode=mode, parents=True)
    except FileExistsError:
        if not folder.is_dir():
            raise UsageError(f"{folder} is no folder, and the monitor needs one there: move it away") from None
    except OSError as error:
        raise UsageError(f"{folder} cannot be made: {error.strerror}; mend that, then call the same again") from None


def _exclude(found: Places) -> None:
    """Name the folders to git as nothing of its own, where they lie in a worktree and it tracks nothing there."""
    root = repository_around(found.here)
    if root is None:
        return
    from claudetm.adapters.git.user_repository import locate, tracks_below
    from claudetm.adapters.store.directory import exclude

    common = locate(root)[1]
    for folder in (found.tasks, found.results, found.logs, found.state):
        if folder.is_relative_to(root) and folder != root and not tracks_below(root, folder):
            exclude(common, re.sub(r"([*?\[\\])", r"\\\1", f"/{folder.relative_to(root)}/"))
