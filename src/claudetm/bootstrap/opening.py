"""Beginning a run and coming back to one: everything that can be refused is refused before anything is written."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from claudetm.adapters.agent import access as ways
from claudetm.adapters.commands import detect
from claudetm.adapters.forge.github.access import Token
from claudetm.adapters.forge.github.place import hosted_from_data, hosted_to_data
from claudetm.adapters.git.clean_room import remove_tree
from claudetm.adapters.git.user_refs import UserRefs
from claudetm.adapters.git.user_repository import UserRepository, inspect, locate, refuse_tracked
from claudetm.adapters.store.directory import NAME, StateDirectory, disk, run_folder
from claudetm.adapters.store.journal import Faults, FileJournal
from claudetm.adapters.store.lock import Lock, LockHeld, acquire, holder
from claudetm.bootstrap import github, modes
from claudetm.bootstrap.clock import SystemClock
from claudetm.bootstrap.configuration import configuration
from claudetm.bootstrap.newest import newest
from claudetm.bootstrap.texts import check_goal, check_text
from claudetm.config import KEYS, Resolved, policy
from claudetm.engine.commit import Writer
from claudetm.errors import ConfigError, JournalError, StoreError, Untested, UsageError
from claudetm.prompts.render import Prompts
from claudetm.redact import redact
from claudetm.workflow.events import RunStarted
from claudetm.workflow.policy import Policy, policy_from_data, policy_to_data
from claudetm.workflow.run import Material, Run, UnreadableRecord
from claudetm.workflow.stages import Mode

KILL_AT: Final = "CLAUDETM_KILL_AT"
"""`before:N` or `after:N`: the driver kills itself around the journal's N-th record. For rehearsing a crash."""
REHEARSAL_POLL: Final = 2.0  # seconds; nothing is far away in a rehearsal

Notice = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asked for at the start. `settings` are flags by dotted configuration key."""

    goal: str
    criteria: tuple[str, ...] = ()
    base: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    rehearsal: str = ""
    dry: bool = False  # plan, and no more
    adopts: str = ""  # a pull request on GitHub that was made elsewhere, by number or address
    issue: str = ""  # an issue on GitHub that says the goal, by number or address
    mode: Mode = Mode.GOAL
    title: str = ""
    material: tuple[Material, ...] = ()
    skill: str = ""  # of the project, for a session
    task: str = ""  # the slug that names the branch of a session's work, `claudetm/task/<slug>`
    commit: bool = False  # a session's work becomes commits on that branch; else a snapshot
    push: bool = False  # which is pushed


@dataclass(frozen=True, slots=True)
class Opened:
    """A run whose lock this process holds."""

    state: StateDirectory
    user: UserRefs
    lock: Lock
    journal: FileJournal
    run: Run
    access: Mapping[str, str] = field(default_factory=dict, repr=False)  # what the CLI needs to reach the model
    token: Token | None = field(default=None, repr=False)  # for a run on GitHub

    def close(self) -> None:
        """Give the lock back."""
        self.journal.close()
        self.lock.release()


def begin(wish: Wish, where: Path, notice: Notice, state: StateDirectory | None = None) -> Opened:
    """Begin a run in the repository that `where` lies in; `notice` is told what to know of it.

    `state` is where its record goes: by default, where that of the repository's own run is.

    Raises ClaudetmError, in one sentence; nothing has changed then, on the disk or the screen.
    """
    goal = check_goal(wish.goal) if wish.goal or not (wish.adopts or wish.issue) else ""
    _refuse_mixed(wish)
    criteria = tuple(check_text("criterion", c, "--criteria takes a statement that must hold") for c in wish.criteria)
    user = inspect(where, wish.base)
    state = state or StateDirectory(user.root / NAME)
    refuse_tracked(where, NAME, state.config.name)
    state.refuse_foreign()
    if state.root.is_dir():
        if (driver := holder(state.lock)) is not None:
            raise LockHeld(driver)
        _finished(state)
    elif os.path.lexists(state.root):
        raise StoreError(f"{state.root} is not a directory of its own; move it away.")
    Prompts(state.prompts).check()
    resolved = configuration(user.root, wish.settings)
    if (target := resolved["git.target_branch"]) and not wish.base and target != user.target:
        user = inspect(where, target)
    mode, told = wish.mode, list[str]()
    if mode is not Mode.GOAL:
        user = newest(resolved, user, told.append, rehearsed=bool(wish.rehearsal), pushes=wish.push)
    said = [*user.notes, *resolved.notes, *resolved.ignored, *told]
    place = None
    if mode is Mode.GOAL:
        place = github.forge_used(resolved, user, said.append, rehearsed=bool(wish.rehearsal))
    github.refuse_misnamed(place, wish.adopts, wish.issue)
    found = _policy(resolved, user, wish, said.append, hosted=place is not None)
    refuse_unfit(found, hosted=place is not None)
    access = {} if wish.rehearsal else _access(resolved, said.append)
    modes.refuse_skill(wish.skill, found, user)
    run = time.strftime("%m%d-%H%M-") + secrets.token_hex(2)
    keep = modes.keep_of(wish.task or run, resolved, user, commit=wish.commit, push=wish.push)
    merges = resolved["merge.auto"] and resolved.settings["merge.auto"].source == "flag"
    trusted = resolved["reviews.trusted"]
    wanted = github.Wanted(user.target, run, goal, wish.adopts, wish.issue, trusted, wish.dry, merges=merges)
    ground = github.explored(place, wanted, user, said.append)
    if ground is not None:
        said = [sentence.replace(user.base[:10], ground.base[:10]) for sentence in said]
        found = github.fitted(found, ground, resolved, said.append)
        if wish.dry:  # which shows, and never does, what its policy says
            found = replace(found, reviews_required=max(found.reviews_required, ground.facts.approvals))
    started = RunStarted(
        run=run,
        goal=ground.goal if ground else goal,
        target=ground.target if ground else user.target,
        base=ground.base if ground else user.base,
        settings=policy_to_data(found),
        criteria=criteria,
        forge="github" if ground else "local",
        rehearsal=_rehearsal(wish.rehearsal),
        remote=redact(user.remotes.get("origin", "")),
        author=user.author,
        dry=wish.dry,
        hosted=hosted_to_data(ground.hosted) if ground else {},
        adopts=ground.adopts if ground else 0,
        issue=ground.issue if ground else 0,
        mode=mode,
        title=" ".join(check_text("title", wish.title, "leave it out").split()) if wish.title else "",
        material=modes.material_of(wish.material),
        skill=wish.skill,
        keep=keep,
    )
    opened = _open(state, user.refs, started)
    for sentence in said:
        notice(sentence)
    return replace(opened, access=access, token=ground.token if ground else None)


def _refuse_mixed(wish: Wish) -> None:
    """Raise UsageError for what a run of another mode takes alone."""
    of_goals = {
        "criterion": wish.criteria,
        "issue to close": wish.issue,
        "pull request to finish": wish.adopts,
        "dry run": wish.dry,
    }
    of_sessions = {"skill": wish.skill, "commit to keep": wish.commit, "branch to push": wish.push}
    modes.refuse_mixed(wish.mode, of_goals=of_goals, of_sessions=of_sessions)


def _open(state: StateDirectory, user: UserRefs, started: RunStarted) -> Opened:
    undo = _Undo(state, user.git_dir, run_folder(user.root, started.run))
    try:
        state.create(user.git_dir)
        with disk(undo.folder):
            undo.folder.mkdir(parents=True, mode=0o700)
        lock = acquire(state.lock, started.run)
    except LockHeld:
        undo.remove_folder()
        raise
    except StoreError:
        undo()
        raise
    try:
        for folder in (state.root, undo.folder):
            _probe(folder)
        _make_way(state)
        journal = FileJournal(state.journal, lock, faults=fault_point())
        run = Run()
        asyncio.run(Writer(run, journal, SystemClock()).append(started))
        state.write_start(started.goal, started.criteria)
    except BaseException:
        undo()
        lock.release()
        raise
    return Opened(state, user, lock, journal, run)


class _Undo:
    """Removes what a start has made when it fails: a disk that is full or read-only is left as it was."""

    def __init__(self, state: StateDirectory, git_dir: Path, folder: Path) -> None:
        self.folder = folder  # the run's own
        own = (
            state.inbox,
            state.logs,
            state.lock,
            state.journal,
            state.root / "goal.txt",
            state.root / "criteria.txt",
        )
        self._ours = [path for path in own if not path.exists()]
        self._roots = [path for path in reversed(state.above) if not path.exists()]
        self._exclude = git_dir / "info" / "exclude"
        self._info_is_ours = not self._exclude.parent.exists()
        self._length = self._exclude.stat().st_size if self._exclude.exists() else -1

    def __call__(self) -> None:
        for path in self._ours:
            with suppress(OSError):
                path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)
        with suppress(OSError):
            for path in self._roots:
                path.rmdir()
        with suppress(OSError):
            if self._length < 0:
                self._exclude.unlink(missing_ok=True)
                if self._info_is_ours:
                    self._exclude.parent.rmdir()
            elif self._exclude.stat().st_size > self._length:
                os.truncate(self._exclude, self._length)
        self.remove_folder()

    def remove_folder(self) -> None:
        """Remove the run's own folder, and those above it that are empty then."""
        with suppress(OSError):
            for path in (self.folder, self.folder.parent, self.folder.parent.parent):
                path.rmdir()


def _probe(folder: Path) -> None:
    """Raise StoreError when a few pages cannot be written below the folder: better now than in the middle."""
    draft = folder / f".probe-{secrets.token_hex(6)}"
    with disk(draft):
        try:
            draft.write_bytes(bytes(_PROBE_BYTES))
        finally:
            draft.unlink(missing_ok=True)


_PROBE_BYTES: Final = 1 << 16


def reopen(where: Path, notice: Notice = lambda _sentence: None, state: StateDirectory | None = None) -> Opened:
    """Take the lock of the run in the repository that `where` lies in. Raises ClaudetmError, in one sentence."""
    root, common = locate(where)
    state = state or StateDirectory(root / NAME)
    refuse_tracked(where, NAME, state.config.name)
    state.refuse_foreign()
    if not state.journal.exists():
        raise UsageError('There is nothing to resume here: `claudetm start "goal"` begins a run')
    lock = acquire(state.lock)
    try:
        journal = FileJournal(state.journal, lock, faults=fault_point())
        run = _unfinished(folded(journal, state))
        trusted = {"trust_project_settings": run.policy.trust_project_settings or None}
        resolved = configuration(root, trusted)
        for sentence in resolved.notes:
            notice(sentence)
        access = {} if run.rehearsal else _access(resolved, notice)
        token = github.token_again(hosted_from_data(run.hosted)) if run.hosted else None
        lock.name(run.id)
    except BaseException:
        lock.release()
        raise
    return Opened(state, UserRefs(root, common, run.author), lock, journal, run, access, token)


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


def fault_point() -> Faults:
    """Return what is called around each append: nothing, or the kill that `CLAUDETM_KILL_AT` asks for."""
    wanted = os.environ.get(KILL_AT, "")

    def kill_at(point: str) -> None:
        if point == wanted or point.startswith(f"{wanted}:"):
            os.kill(os.getpid(), signal.SIGKILL)

    return kill_at if wanted else lambda _point: None


def _make_way(state: StateDirectory) -> None:
    """Archive a finished run; refuse to begin over one that is not. A dry run, ended or not, has done nothing."""
    if (old := _finished(state)) is not None:
        if old.dry:
            remove_tree(run_folder(state.repository, old.id))
        state.archive(old.id or "unknown", run=old)


def put_away(opened: Opened) -> None:
    """Move a dry run that has ended to history/: nothing of it is left to carry on."""
    remove_tree(run_folder(opened.user.root, opened.run.id))
    opened.state.archive(opened.run.id)


def _finished(state: StateDirectory) -> Run | None:
    """Return the finished run, or the dry one, that lies in the directory, or None. Raises UsageError for others."""
    if not state.journal.exists():
        return None
    old = Run()
    try:
        for record in FileJournal(state.journal).read():
            old.apply(record)
    except UnreadableRecord as error:
        raise JournalError(f"{state.journal} cannot be read: {error}") from error
    if old.seq and not old.finished and not old.dry:
        raise UsageError(
            f"The run {old.id} is not finished ({old.phase}): `claudetm resume` carries it on,"
            " `claudetm clean` puts it away"
        )
    return old


def _policy(resolved: Resolved, user: UserRepository, wish: Wish, notice: Notice, *, hosted: bool) -> Policy:
    """Return the policy with what the repository's own files say laid under what is configured."""
    if wish.mode is not Mode.GOAL:
        alone = modes.laid_out(policy(resolved), wish.mode)
        alone = _set_up(resolved, user, alone, notice) if wish.mode is Mode.SESSION else alone
        return replace(alone, poll_seconds=REHEARSAL_POLL) if wish.rehearsal else alone
    found = _set_up(resolved, user, _checked(policy(resolved), user, notice, gates=not hosted), notice)
    if not hosted:  # there the forge's own checks gate
        refuse_ungated(found)
    if not found.checks and not hosted:
        notice("checks: none; as checks.none is pass, pull requests are merged untested")
        found = replace(found, checks_grace=0.0)  # the local forge knows at once that there are none
    return replace(found, poll_seconds=REHEARSAL_POLL) if wish.rehearsal else found


def changed(name: str, standing: Run, resolved: Resolved, root: Path, notice: Notice) -> Policy:
    """Return the policy of a run that is not over once it goes by one more setting, as a start would have it.

    Checks and set-up that nothing configures any more are detected. Raises ClaudetmError for what a start refuses.
    """
    laid, key = policy(resolved), KEYS[name]
    if key.entry:
        others = {k: v for k, v in getattr(standing.policy, key.field).items() if k != key.entry}
        value: Any = others | ({key.entry: resolved[name]} if resolved[name] else {})
    else:
        value = getattr(laid, key.field)
    found = policy_from_data({key.field: value}, standing.policy)
    hosted = bool(standing.hosted)
    target = None if hosted else standing.target  # there it may have no branch here
    match name:
        case "checks.commands" if hosted or not found.checks:
            found = _checked(found, inspect(root, target), notice, gates=not hosted)
        case "worktree.setup":
            found = _set_up(resolved, inspect(root, target), found, notice)
        case "merge.auto" if standing.adopts and resolved.settings[name].source == "default":
            found = standing.policy  # nobody has asked for a stranger's code to be merged
        case "merge.method" | "reviews.self" if hosted and resolved.settings[name].source == "default":
            found = standing.policy  # as was found fitting at the start
        case _:
            pass
    if name in {"checks.commands", "checks.none"} and not hosted:
        refuse_ungated(found)
    refuse_unfit(found, hosted=hosted)
    return found


def refuse_ungated(found: Policy) -> None:
    """Raise Untested where nothing would be tested, and nobody said that this is meant."""
    if not found.checks and found.checks_none == "block":
        raise Untested(
            "No checks were found in this repository, and zero checks is not green: set checks.commands in "
            f"{NAME}/config.json, pass --check COMMAND, or pass --no-checks to merge untested work",
            "No checks were found in this repository, and zero checks is not green: `claudetm config set "
            "checks.commands COMMAND` says what tests it, then `claudetm resume`; a task with `mode: session` needs "
            "none",
        )


def _checked(found: Policy, user: UserRepository, notice: Notice, *, gates: bool = True) -> Policy:
    """Return the policy with checks: those configured, else detected. What cannot run here is named.

    Where they do not gate a merge they are what agents run, and only said to them.
    """
    if found.checks:
        for command in found.checks:
            if tool := detect.lacking(command):
                notice(f"checks: `{command}` may fail: {tool} is not installed here")
        if not gates:
            notice(f"checks: GitHub's own gate each merge; agents alone run {', '.join(found.checks)}")
        return found
    commands = detect.checks(_files(user), lambda path: _text(user, path))
    for command in commands:
        if (tool := detect.lacking(command)) and not gates:
            notice(f"checks: agents may be unable to run `{command}`: {tool} is not installed here")
        elif tool:
            raise Untested(
                f"This repository is checked by `{command}`, and {tool} is not installed here: install it, or say "
                "with --check COMMAND how else to check",
                f"This repository is checked by `{command}`, and {tool} is not installed here: install it, or say by "
                "`claudetm config set checks.commands COMMAND` how else to check; then `claudetm resume`",
            )
    if commands and gates:
        notice(f"checks: {', '.join(commands)} (detected)")
    return replace(found, checks=commands)


def _set_up(resolved: Resolved, user: UserRepository, found: Policy, notice: Notice) -> Policy:
    """Return the policy with what sets a fresh checkout up: as configured, else detected."""
    if found.setup or resolved.settings["worktree.setup"].source != "default":
        return found
    commands = detect.setup(_files(user), lambda path: _text(user, path))
    if commands:
        notice(f"set-up of each checkout: {', '.join(commands)} (detected)")
    return replace(found, setup=commands)


def refuse_unfit(found: Policy, *, hosted: bool = False) -> None:
    """Raise ClaudetmError for what this machine or the local forge could never do, or only find out at the end.

    `hosted` says that the forge is not the local one.
    """
    from claudetm.adapters.agent.cli import cli_on_path
    from claudetm.adapters.agent.containment import choose
    from claudetm.adapters.git.run_repository import inside

    for path in found.copy:
        inside(path)
    choose(found.sandbox)
    if found.cli == "path":
        cli_on_path(os.environ.get("PATH"))
    if found.merge_method == "rebase" and not hosted:
        raise ConfigError("The local forge cannot rebase: set merge.method to merge or squash")


def _files(user: UserRepository) -> frozenset[str]:
    return frozenset(user.refs.git.run("ls-tree", "-r", "-z", "--name-only", user.base).items)


def _text(user: UserRepository, path: str) -> str:
    return user.refs.git.text("show", f"{user.base}:{path}")


def _rehearsal(scenario: str) -> str:
    if not scenario:
        return ""
    from claudetm.testing.scripted_model.scenario import load

    path = Path(scenario)
    name = str(path.resolve()) if path.suffix in {".yaml", ".yml"} else scenario
    load(name)
    return name


def _access(resolved: Resolved, notice: Notice) -> Mapping[str, str]:
    """Return what the CLI needs to reach the model. Raises ConfigError when no session could ever log in."""
    chosen = ways.choose(resolved, os.environ)
    if chosen is None:
        raise ConfigError(
            "No Claude credentials were found: log in with `claude`, or set ANTHROPIC_API_KEY, "
            "CLAUDE_CODE_OAUTH_TOKEN or OPENROUTER_API_KEY (`claudetm demo` needs none)"
        )
    if sentence := ways.conflict(resolved, os.environ):
        notice(f"credentials: {sentence}")
    return chosen.variables
