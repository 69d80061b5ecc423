"""What a run needs of the machine, the account and the repository, as checks that each say what they found.

Looking changes nothing. Mending takes the run's lock first, so it never works beside a living driver.
"""

from __future__ import annotations

import asyncio
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from claudetm.adapters.store.directory import NAME, StateDirectory
from claudetm.adapters.store.lock import acquire, holder
from claudetm.errors import ClaudetmError, ConfigError, JournalError, RepositoryError, StoreError, UsageError
from claudetm.redact import printable, redact

if TYPE_CHECKING:
    import psutil

    from claudetm.adapters.git.user_repository import UserRepository
    from claudetm.config import Resolved

_PYTHON: Final = (3, 11)
_GIB: Final = 1 << 30
_LITTLE: Final = _GIB  # bytes: below, a warning
_TOO_LITTLE: Final = 100 << 20  # bytes: below, a failure
_SECONDS: Final = 10.0  # for a program to say its version
_PARTS: Final = re.compile(r"(?P<thing>.+)[:;] (?P<remedy>[^:;]+?)\.?", re.DOTALL)


class State(StrEnum):
    """How a check came out; only a failure keeps a run from working."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found. `remedy` is what helps, "" only where nothing is amiss."""

    name: str
    state: State
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class Place:
    """What is examined: the folder that the command was called in; `mend` is what `--repair` asks for."""

    where: Path
    mend: bool = False

    @cached_property
    def root(self) -> Path | None:
        """The folder that holds `.git` or the state directory, found without git's help."""
        above = (self.where, *self.where.parents)
        return next((f for f in above if os.path.lexists(f / ".git") or os.path.lexists(f / NAME)), None)

    @cached_property
    def state(self) -> StateDirectory | None:
        """The state directory, where there is one."""
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
        from claudetm.config import resolve, user_file

        project = self.root / NAME / "config.json" if self.root else None
        tracked = f"{NAME}/config.json" in self.files
        return resolve({}, os.environ, project, user_file(), tracked=tracked)

    @cached_property
    def runs(self) -> Path:
        """Where the runs of this repository have their own repositories; the folder of all runs outside of one."""
        from claudetm.bootstrap.opening import run_folder

        mine = run_folder(self.root or self.where, "any").parent
        return mine if self.root else mine.parent


Check = Callable[[Place], Iterator[Finding]]


def examine(where: Path, *, mend: bool = False) -> Iterator[Finding]:
    """Yield what each check finds, as it is found. What a check runs into is its failure, never an exception."""
    place = Place(where, mend)
    for name, check in CHECKS.items():
        try:
            for finding in check(place):
                yield replace(finding, found=redact(printable(finding.found)))
        except ClaudetmError as error:
            yield _refused(name, error)
        except (OSError, subprocess.SubprocessError) as error:
            yield _fail(name, str(error), "mend that, then call the same again")


def _ok(name: str, found: str) -> Finding:
    return Finding(name, State.OK, found)


def _warn(name: str, found: str, remedy: str) -> Finding:
    return Finding(name, State.WARNING, found, remedy)


def _fail(name: str, found: str, remedy: str) -> Finding:
    return Finding(name, State.FAILURE, found, remedy)


def _refused(name: str, error: ClaudetmError) -> Finding:
    """Return a failure from an error's sentence: its last part is the remedy."""
    parts = _PARTS.fullmatch(str(error))
    if parts is None:
        return _fail(name, str(error), "mend that, then call the same again")
    return _fail(name, parts["thing"], parts["remedy"])


# --- the machine -----------------------------------------------------------------------------------------------


def _python(_place: Place) -> Iterator[Finding]:
    found = f"{platform.python_version()} ({sys.executable})"
    if sys.version_info[:2] < _PYTHON:
        yield _fail("python", found, f"install Python {_PYTHON[0]}.{_PYTHON[1]} or newer, and claudetm with it")
    else:
        yield _ok("python", found)


def _program(_place: Place) -> Iterator[Finding]:
    from claudetm import __version__

    running = Path(sys.argv[0]).absolute()
    found = shutil.which("claudetm")
    ours = {os.path.realpath(running), os.path.realpath(Path(sys.executable).with_name("claudetm"))}
    if found is None:
        yield _warn("claudetm", f"{__version__}; it is not on PATH", f'export PATH="{running.parent}:$PATH"')
    elif os.path.realpath(found) not in ours:
        remedy = f"uninstall the other, or put {running.parent} before it on PATH"
        yield _warn("claudetm", f"{__version__} runs from {running}, but `claudetm` on PATH is {found}", remedy)
    else:
        yield _ok("claudetm", f"{__version__} ({found})")


def _git(_place: Place) -> Iterator[Finding]:
    from claudetm.adapters.git.git import MINIMUM, require_version

    try:
        require_version()
    except RepositoryError as error:
        newest = f"install git {MINIMUM[0]}.{MINIMUM[1]} or newer, and have it first on PATH"
        yield _fail("git", str(error).partition(": install")[0], newest)
        return
    yield _ok("git", f"{_answer(['git', '--version'])} ({shutil.which('git')})")


def _answer(command: list[str]) -> str:
    """Return the first line that a program says, in a home of its own. Raises OSError, SubprocessError."""
    with tempfile.TemporaryDirectory(prefix="claudetm-doctor-") as home:
        environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": home, "DISABLE_AUTOUPDATER": "1"}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=True
        )
    return next(iter(done.stdout.splitlines()), "")


def _cli(_place: Place) -> Iterator[Finding]:
    import claude_agent_sdk

    from claudetm.adapters.agent.claude_sdk import find_cli

    yield _ok("agent SDK", f"claude-agent-sdk {claude_agent_sdk.__version__}")
    path = find_cli(os.environ.get("PATH"))
    try:
        version = _answer([str(path), "--version"])
    except (OSError, subprocess.SubprocessError) as error:
        yield _fail("agent CLI", f"{path} does not run: {error}", "install claude-agent-sdk anew")
        return
    yield _ok("agent CLI", f"{version} ({path})")


def _sandbox(place: Place) -> Iterator[Finding]:
    from claudetm.adapters.agent.containment import Sandbox, bubblewrap

    wanted = Sandbox.AUTO
    with suppress(ConfigError):  # that is another check's to say
        wanted = Sandbox(place.settings["sandbox"])
    unseen = "without it an agent is you: it can read and write what you can"
    if wanted is Sandbox.OFF:
        yield _warn("sandbox", f"off, as configured; {unseen}", "claudetm config set sandbox auto")
    elif path := bubblewrap():
        yield _ok("sandbox", f"bubblewrap works ({path}); your home folder and /tmp are out of an agent's sight")
    else:
        there = "bubblewrap does not work here" if shutil.which("bwrap") else "bubblewrap is not installed"
        remedy = "install bubblewrap (Linux) and allow unprivileged user namespaces"
        state = State.FAILURE if wanted is Sandbox.ON else State.WARNING
        yield Finding("sandbox", state, f"{there}; {unseen}", remedy)


def _disk(place: Place) -> Iterator[Finding]:
    if place.root is not None:
        yield _room("repository disk", place.root)
    yield _room("runs' disk", place.runs)


def _room(name: str, folder: Path) -> Finding:
    there = next(f for f in (folder, *folder.parents) if f.exists())
    if not there.is_dir() or not os.access(there, os.R_OK | os.W_OK | os.X_OK):
        return _fail(name, f"{there} cannot be written", f"make {there} a folder that you may write")
    free = shutil.disk_usage(there).free
    found = f"{free / _GIB:.1f} GiB free for {folder}" if free >= _LITTLE else f"{free >> 20} MiB free for {folder}"
    if free < _TOO_LITTLE:
        return _fail(name, found, "make room: a run keeps a clone, a worktree a change, and transcripts")
    if free < _LITTLE:
        return _warn(name, found, "make room before a long run")
    return _ok(name, found)


# --- the account -----------------------------------------------------------------------------------------------

_VARIABLES: Final = ("ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN")
"""In the order in which the CLI takes them."""
_CLOUDS: Final = ("CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX")


def _credentials(_place: Place) -> Iterator[Finding]:
    """Say by name which credential a session goes by; values are never looked at."""
    login = Path(os.environ.get("CLAUDE_CONFIG_DIR") or Path.home() / ".claude") / ".credentials.json"
    found = [name for name in _VARIABLES if os.environ.get(name)]
    described = [_described(name) for name in found] + ([f"the login in {login}"] if login.exists() else [])
    if len(described) > 1:
        names = " and ".join(described[1:])
        yield _warn(
            "credentials", f"{described[0]} is used, although there is {names}", f"unset {found[0]}, or the others"
        )
    elif not found and login.exists() and not os.access(login, os.R_OK):
        yield _fail("credentials", f"{login} cannot be read", f"chmod u+r {login}, or log in again with `claude`")
    elif described:
        yield _ok("credentials", described[0])
    elif sys.platform == "darwin":
        yield _ok("credentials", "a login in the keychain, if there is one; `claude` shows it")
    elif clouds := [name for name in _CLOUDS if os.environ.get(name)]:
        yield _warn(
            "credentials", f"{clouds[0]} alone, which sessions are not given", "log in with `claude`, or set a key"
        )
    else:
        yield _fail(
            "credentials", "none", "log in with `claude`, or set ANTHROPIC_API_KEY or CLAUDE_CODE_OAUTH_TOKEN"
        )


def _described(name: str) -> str:
    with_url = name == "ANTHROPIC_AUTH_TOKEN" and os.environ.get("ANTHROPIC_BASE_URL")
    return f"{name} with ANTHROPIC_BASE_URL" if with_url else name


# --- the repository --------------------------------------------------------------------------------------------


def _repository(place: Place) -> Iterator[Finding]:
    from claudetm.adapters.git.user_repository import NO_IDENTITY

    if _owned_by_another(place):
        trust = f"chown it, or git config --global --add safe.directory {place.root}"
        yield _fail("repository", f"{place.root} is another user's, so git refuses to work in it", trust)
        return
    user = place.user
    notes = "".join(f"; {note}" for note in user.notes if NO_IDENTITY not in note)
    yield _ok("repository", f"{user.root}, {user.target} at {user.base[:10]}{notes}")
    remotes = ", ".join(f"{name} {url}" for name, url in user.remotes.items())
    yield _ok("remote", remotes or "none, and none is needed: pull requests live in the repository")
    if user.author == NO_IDENTITY:
        who = 'git config user.name "…", git config user.email "…"'
        yield _warn("git identity", f"none: commits would be made as {NO_IDENTITY}", who)
    else:
        yield _ok("git identity", user.author)


def _owned_by_another(place: Place) -> bool:
    """Whether git itself turns away (safe.directory); GitPython reads on, and mistakes it for an empty repository."""
    if place.root is None or shutil.which("git") is None:
        return False
    command = ["git", "-C", str(place.root), "rev-parse", "--git-dir"]
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(command, env=environment, capture_output=True, timeout=_SECONDS, check=False)
    return b"dubious ownership" in done.stderr


def _configuration(place: Place) -> Iterator[Finding]:
    try:
        resolved = place.settings
    except ConfigError as error:
        yield _fail(
            "configuration", str(error).rstrip("."), "correct it there; `claudetm config path` names the files"
        )
        return
    given = [f"{name} ({s.source})" for name, s in resolved.settings.items() if s.source != "default"]
    for ignored in resolved.ignored:
        yield _warn("configuration", ignored, "pass --trust-project-settings if you trust who wrote it")
    yield _ok("configuration", ", ".join(given) or "defaults throughout")


def _prompts(place: Place) -> Iterator[Finding]:
    from claudetm.prompts.render import Prompts

    own = place.state.prompts if place.state is not None else None
    try:
        Prompts(own).check()
    except ClaudetmError as error:
        yield _fail("prompts", str(error).rstrip("."), f"correct or delete it in {own}")
        return
    count = len(list(own.iterdir())) if own is not None and own.is_dir() else 0
    yield _ok("prompts", f"{count} of your own in {own}" if count else "the packaged ones")


def _checks(place: Place) -> Iterator[Finding]:
    from claudetm.adapters.commands import detect

    try:
        commands = place.settings["checks.commands"]
        if commands:
            yield _ok("checks", f"{', '.join(commands)} (configured)")
            return
        user = place.user
    except (ConfigError, RepositoryError) as error:
        about = "configuration" if isinstance(error, ConfigError) else "repository"
        yield _warn("checks", f"not looked for: see {about}", f"mend the {about} first")
        return
    commands = detect.checks(place.files, lambda path: user.refs.git.text("show", f"{user.base}:{path}"))
    remedy = 'claudetm config set checks.commands "make test", say, or start with --check or --no-checks'
    if commands:
        yield _ok("checks", f"{', '.join(commands)} (detected)")
    elif place.settings["checks.none"] == "pass":
        yield _warn("checks", "none, and as configured, what is untested is merged", remedy)
    else:
        yield _fail("checks", "none were found, and zero checks is not green", remedy)


# --- the state directory ---------------------------------------------------------------------------------------


def _state(place: Place) -> Iterator[Finding]:
    state = place.state
    if state is None:
        yield _ok("state", "no run was begun here")
        return
    if state.root.is_symlink() or not state.root.is_dir():
        raise StoreError(f"{state.root} is not a directory of its own; move it away.")
    state.refuse_foreign()
    _refuse_tracked(place)
    mode = state.root.stat().st_mode & 0o777
    if not os.access(state.root, os.R_OK | os.W_OK | os.X_OK):
        yield _fail("state", f"{state.root} cannot be written", f"chmod u+rwx {state.root}, as its owner")
    elif mode & 0o077:
        yield _warn("state", f"{state.root} is open to others (mode {mode:04o})", f"chmod 700 {state.root}")
    else:
        yield _ok("state", f"{state.root} (mode {mode:04o})")
    yield _driver(state)


def _refuse_tracked(place: Place) -> None:
    """Raise RepositoryError for what came with the repository; without a usable git, nothing can be said of it."""
    from claudetm.adapters.git.git import require_version
    from claudetm.adapters.git.user_repository import refuse_tracked

    try:
        require_version()
    except RepositoryError:
        return
    if not _owned_by_another(place):
        refuse_tracked(place.where, NAME, "config.json")


def _driver(state: StateDirectory) -> Finding:
    if (driver := holder(state.lock)) is not None:
        return _ok("driver", f"{driver} drives the run {driver.run}".rstrip())
    if state.lock.exists() and state.lock.stat().st_size:
        return _ok("driver", "none; the last one died, and its lock died with it: nothing is in the way")
    return _ok("driver", "none")


def _journal(place: Place) -> Iterator[Finding]:
    state = place.state
    if state is None or not state.journal.is_file() or state.foreign:
        return
    from claudetm.adapters.store.journal import Damaged, good_length

    try:
        told = _told(state)
    except Damaged as error:
        if place.mend:
            yield _mended(state)
        else:
            yield _refused("journal", error)
        return
    except JournalError as error:
        yield _fail("journal", str(error).rstrip("."), "upgrade claudetm, or put it away with `claudetm clean`")
        return
    torn = state.journal.stat().st_size - good_length(state.journal)
    if torn <= 0 or holder(state.lock) is not None:  # a driver's last line may be on its way
        yield _ok("journal", told)
    elif place.mend:
        yield _mended(state)
    else:
        found = f"{told}; behind them {torn} bytes of one that was being written when the driver died"
        yield _warn("journal", found, "nothing needs to be done: `claudetm resume` drops them, as does --repair")


def _told(state: StateDirectory) -> str:
    """Return in words what the journal holds. Raises JournalError."""
    from claudetm.adapters.store.journal import FileJournal
    from claudetm.bootstrap.opening import folded

    try:
        run = folded(FileJournal(state.journal), state)
    except UsageError:
        return "no events"
    return f"{run.seq} events of the run {run.id} ({run.phase})"


def _mended(state: StateDirectory) -> Finding:
    """Cut the journal at its last good line. Raises LockHeld while a driver lives."""
    from claudetm.adapters.store.journal import repair

    with acquire(state.lock) as lock:
        copy = repair(state.journal, lock)
        found = f"repaired: {_told(state)}; as it was, it is kept in {copy}"
    return _ok("journal", found)


# --- what was left running -------------------------------------------------------------------------------------


def _orphans(place: Place) -> Iterator[Finding]:
    """Find the processes of this repository's runs whose driver is dead; only those are ever ended."""
    if place.root is None:
        return
    left = _left(place)
    if left and place.mend:
        ended = sorted(pid for pids in left.values() for pid in pids)
        _end(place, left)
        left = _left(place)
        if not left:
            yield _ok("orphan agents", f"ended: {_listed(ended)}")
            return
    if left:
        pids = sorted(pid for found in left.values() for pid in found)
        found = f"{_listed(pids)} of {', '.join(left)} outlived their driver"
        yield _fail("orphan agents", found, f"claudetm doctor --repair, or kill {' '.join(map(str, pids))}")
    else:
        yield _ok("orphan agents", "none")


def _listed(pids: list[int]) -> str:
    return f"process{'es' if len(pids) > 1 else ''} {', '.join(map(str, pids))}"


def _left(place: Place) -> dict[str, list[int]]:
    """Return the processes of each of this repository's runs that nobody drives."""
    import psutil

    from claudetm.adapters.agent.environment import MARKER

    ours = _runs(place)
    spared = {os.getpid(), *(p.pid for p in psutil.Process().parents())}
    found: dict[str, list[int]] = {}
    driven = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            run = process.environ().get(MARKER, "")
            if run not in ours or process.pid in spared or process.status() == psutil.STATUS_ZOMBIE:
                continue
            if any(_drives(above) for above in process.parents()):
                driven.add(run)
            found.setdefault(run, []).append(process.pid)
    return {run: pids for run, pids in found.items() if run not in driven}


def _runs(place: Place) -> set[str]:
    """Return the ids of this repository's runs, as far as their folders tell, that have no driver."""
    state = place.state
    known = {p.name for p in place.runs.iterdir()} if place.runs.is_dir() else set()
    if state is None or not state.root.is_dir():
        return known
    if state.history.is_dir():
        known |= {p.name for p in state.history.iterdir()}
    driver = holder(state.lock)
    if driver is not None and not driver.run:
        return set()  # somebody drives, and does not say what
    return known - ({driver.run} if driver else set())


def _drives(process: psutil.Process) -> bool:
    """Whether a process is a claudetm: what hangs below one is no orphan, whatever became of its state directory."""
    import psutil

    with suppress(psutil.Error, OSError):
        words = process.cmdline()[:3]
        return any(Path(w).name == "claudetm" for w in words) and process.pid != os.getpid()
    return False


def _end(place: Place, left: Mapping[str, list[int]]) -> None:
    """End what is left of the runs, holding the lock where it is free, so that no driver begins meanwhile."""
    from contextlib import nullcontext

    from claudetm.adapters.agent.containment import sweep

    state = place.state
    alone = state is not None and state.root.is_dir() and holder(state.lock) is None
    with acquire(state.lock) if state is not None and alone else nullcontext():
        for run in left:
            asyncio.run(sweep(run))


CHECKS: Final[Mapping[str, Check]] = {
    "python": _python,
    "claudetm": _program,
    "git": _git,
    "agent CLI": _cli,
    "sandbox": _sandbox,
    "credentials": _credentials,
    "disk": _disk,
    "repository": _repository,
    "configuration": _configuration,
    "prompts": _prompts,
    "checks": _checks,
    "state": _state,
    "journal": _journal,
    "orphan agents": _orphans,
}
"""Every check by the name that its failure goes by, in the order in which they run."""
