"""Beginning a run and coming back to one: everything that can be refused is refused before anything is written."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from claudetm.adapters.commands import detect
from claudetm.adapters.git.user_refs import UserRefs
from claudetm.adapters.git.user_repository import UserRepository, inspect, locate
from claudetm.adapters.store.directory import NAME, StateDirectory
from claudetm.adapters.store.journal import Faults, FileJournal
from claudetm.adapters.store.lock import Lock, acquire
from claudetm.bootstrap.clock import SystemClock
from claudetm.config import Resolved, policy, resolve, user_file
from claudetm.engine.commit import Writer
from claudetm.errors import ConfigError, JournalError, UsageError
from claudetm.workflow.events import RunStarted
from claudetm.workflow.policy import Policy, policy_to_data
from claudetm.workflow.run import Run, UnreadableRecord

GOAL_BYTES: Final = 65_536
KILL_AT: Final = "CLAUDETM_KILL_AT"
"""`before:N` or `after:N`: the driver kills itself around the journal's N-th record. For rehearsing a crash."""
REHEARSAL_POLL: Final = 2.0  # seconds; nothing is far away in a rehearsal

Notice = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asked for at the start. `settings` are flags by dotted configuration key."""

    goal: str
    criteria: tuple[str, ...] = ()
    base: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    rehearsal: str = ""


@dataclass(frozen=True, slots=True)
class Opened:
    """A run whose lock this process holds."""

    state: StateDirectory
    user: UserRefs
    lock: Lock
    journal: FileJournal
    run: Run

    def close(self) -> None:
        """Give the lock back."""
        self.journal.close()
        self.lock.release()


def begin(wish: Wish, where: Path, notice: Notice) -> Opened:
    """Begin a run in the repository that `where` lies in. Raises ClaudetmError, in one sentence."""
    goal = check_goal(wish.goal)
    user = inspect(where, wish.base or None)
    state = StateDirectory(user.root / NAME)
    state.refuse_foreign()
    resolved = _configuration(state, user, wish.settings)
    if (target := resolved["git.target_branch"]) and not wish.base and target != user.target:
        user = inspect(where, target)
    for sentence in (*user.notes, *resolved.ignored):
        notice(sentence)
    started = RunStarted(
        run=time.strftime("%m%d-%H%M-") + secrets.token_hex(2),
        goal=goal,
        target=user.target,
        base=user.base,
        settings=policy_to_data(_policy(resolved, user, wish, notice)),
        criteria=wish.criteria,
        forge=_forge(resolved["forge"], user, notice),
        rehearsal=_rehearsal(wish.rehearsal),
        author=user.author,
    )
    state.create(user.common_dir)
    return _open(state, user.refs, started)


def _open(state: StateDirectory, user: UserRefs, started: RunStarted) -> Opened:
    lock = acquire(state.lock, started.run)
    try:
        _make_way(state)
        journal = FileJournal(state.journal, lock, faults=fault_point())
        run = Run()
        asyncio.run(Writer(run, journal, SystemClock()).append(started))
        state.write_start(started.goal, started.criteria)
    except BaseException:
        lock.release()
        raise
    return Opened(state, user, lock, journal, run)


def reopen(where: Path) -> Opened:
    """Take the lock of the run in the repository that `where` lies in. Raises ClaudetmError, in one sentence."""
    root, common = locate(where)
    state = StateDirectory(root / NAME)
    state.refuse_foreign()
    if not state.journal.exists():
        raise UsageError('There is nothing to resume here: `claudetm start "goal"` begins a run')
    lock = acquire(state.lock)
    try:
        journal = FileJournal(state.journal, lock, faults=fault_point())
        run = _unfinished(folded(journal, state))
        lock.name(run.id)
    except BaseException:
        lock.release()
        raise
    return Opened(state, UserRefs(root, common, run.author), lock, journal, run)


def _unfinished(run: Run) -> Run:
    if run.finished:
        raise UsageError(f'The run is over ({run.phase}); `claudetm start "goal"` begins the next')
    return run


def folded(journal: FileJournal, state: StateDirectory) -> Run:
    """Return the run that a journal tells. Raises JournalError when this version cannot."""
    run = Run()
    try:
        for record in journal.read():
            run.apply(record)
    except UnreadableRecord as error:
        raise JournalError(f"{state.journal} cannot be read: {error}") from error
    if not run.seq:
        raise UsageError('There is nothing to resume here: `claudetm start "goal"` begins a run')
    return run


def check_goal(goal: str) -> str:
    """Return the goal without blanks around it. Raises UsageError for what cannot be one."""
    if "\0" in goal:
        raise UsageError("The goal holds a NUL character; leave it out")
    if len(goal.encode(errors="replace")) > GOAL_BYTES:
        raise UsageError(
            f"The goal is longer than {GOAL_BYTES // 1024} KiB; put the details into a file of the repository"
            " and name it in the goal"
        )
    if not goal.strip():
        raise UsageError('The goal is empty; say what shall be true at the end: claudetm start "…"')
    return goal.strip()


def fault_point() -> Faults:
    """Return what is called around each append: nothing, or the kill that `CLAUDETM_KILL_AT` asks for."""
    wanted = os.environ.get(KILL_AT, "")

    def kill_at(point: str) -> None:
        if point == wanted or point.startswith(f"{wanted}:"):
            os.kill(os.getpid(), signal.SIGKILL)

    return kill_at if wanted else lambda _point: None


def _make_way(state: StateDirectory) -> None:
    """Archive a finished run; refuse to begin over one that is not."""
    if not state.journal.exists():
        return
    old = Run()
    try:
        for record in FileJournal(state.journal).read():
            old.apply(record)
    except UnreadableRecord as error:
        raise JournalError(f"{state.journal} cannot be read: {error}") from error
    if old.seq and not old.finished:
        raise UsageError(
            f"The run {old.id} is not finished ({old.phase}): `claudetm resume` carries it on,"
            " `claudetm stop --cancel` gives it up"
        )
    state.archive(old.id or "unknown")


def _configuration(state: StateDirectory, user: UserRepository, flags: Mapping[str, Any]) -> Resolved:
    tracked = f"{NAME}/{state.config.name}" in _files(user)
    return resolve(flags, os.environ, state.config, user_file(), tracked=tracked)


def _policy(resolved: Resolved, user: UserRepository, wish: Wish, notice: Notice) -> Policy:
    """Return the policy with what the repository's own files say laid under what is configured."""
    found = policy(resolved)
    if not found.checks:
        found = replace(found, checks=detect.checks(_files(user), lambda path: _text(user, path)))
        if found.checks:
            notice(f"checks: {', '.join(found.checks)} (detected)")
    if not found.checks and found.checks_none == "block":
        raise ConfigError(
            "No checks were found in this repository, and zero checks is not green: set checks.commands in "
            f"{NAME}/config.json, pass --check COMMAND, or pass --no-checks to merge untested work"
        )
    if not found.setup and resolved.settings["worktree.setup"].source == "default":
        found = replace(found, setup=detect.setup(_files(user)))
    if not found.checks:
        found = replace(found, checks_grace=0.0)  # the local forge knows at once that there are none
    if wish.rehearsal:
        return replace(found, poll_seconds=REHEARSAL_POLL)
    _require_credentials()
    return found


def _files(user: UserRepository) -> frozenset[str]:
    return frozenset(user.refs.git.run("ls-tree", "-r", "-z", "--name-only", user.base).items)


def _text(user: UserRepository, path: str) -> str:
    return user.refs.git.text("show", f"{user.base}:{path}")


def _forge(wanted: str, user: UserRepository, notice: Notice) -> str:
    """Return the forge that is used, and say so where the user may expect another."""
    on_github = next((url for url in user.remotes.values() if "github.com" in url), "")
    match wanted:
        case "github":
            raise ConfigError("The GitHub forge is not in this version; use --forge local")
        case "auto" if on_github:
            notice("forge: local; the remote is on GitHub, which this version does not drive")
        case _:
            pass
    return "local"


def _rehearsal(scenario: str) -> str:
    if not scenario:
        return ""
    from claudetm.testing.scripted_model.scenario import load

    path = Path(scenario)
    name = str(path.resolve()) if path.suffix in {".yaml", ".yml"} else scenario
    load(name)
    return name


_CREDENTIALS: Final = (
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_VERTEX",
)


def _require_credentials() -> None:
    """Raise ConfigError when no session could ever log in."""
    folder = Path(os.environ.get("CLAUDE_CONFIG_DIR") or Path.home() / ".claude")
    login = folder / ".credentials.json"
    keychain = os.uname().sysname == "Darwin"  # where the login is, and cannot be seen
    if not keychain and not login.exists() and not any(os.environ.get(name) for name in _CREDENTIALS):
        raise ConfigError(
            "No Claude credentials were found: log in with `claude`, or set ANTHROPIC_API_KEY or"
            " CLAUDE_CODE_OAUTH_TOKEN (`claudetm demo` needs none)"
        )
