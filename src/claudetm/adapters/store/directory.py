"""The state directory: where its files are, how they are written in one step, and how a finished run leaves it.

Only the journal is read back to drive a run; views are written for people, the inbox carries their answers.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from claudetm.errors import StoreError

if TYPE_CHECKING:
    from claudetm.ports.store import Command
    from claudetm.workflow.limits import Wait
    from claudetm.workflow.records import Record
    from claudetm.workflow.run import Run

NAME: Final = ".claude-task-master"
TASKS: Final = "tasks"
"""The folder of the state directories that the monitor's tasks have, one each."""
ORDER: Final = "job.json"
WORKER_LOCK: Final = "worker.lock"
PROGRESS: Final = "progress.jsonl"
OUTCOME: Final = "outcome.json"
WORKER_LOG: Final = "worker.txt"
EARLIER_LOG: Final = "worker.1.txt"
CLAIM: Final = "claim"
"""What passes between the monitor and the worker of a task, in that task's directory."""
KEPT: Final = frozenset(
    {
        "lock",
        "history",
        "config.json",
        "prompts",
        TASKS,
        ORDER,
        WORKER_LOCK,
        PROGRESS,
        OUTCOME,
        WORKER_LOG,
        EARLIER_LOG,
        CLAIM,
    }
)
"""What stays when a run is archived: not the run's, but the repository's, or the task's."""
_READ: Final = ("run-", "session-")
"""How the names of the logs begin that people read: the run's, and the transcripts."""
RECEIPTS: Final = "receipts.md"
WAITING: Final = "waiting.json"
"""What the driver waits for at this moment, for people: it tells of a driver that lives, and goes with it."""
VIEWS: Final = ("state.json", "plan.md", "progress.md", "context.md", RECEIPTS, WAITING)
"""What a run's driver alone writes, to be read by people."""
VIEW_SECONDS: Final = 1.0
_OVER_SECONDS: Final = 120.0  # after which a wait that has ended tells nothing: the driver is at work
_VIEW_SHARE: Final = 20.0  # rendering takes at most one part in so many of the driver's time
_ID: Final = r"[A-Za-z0-9_-]{1,80}"
_DRAFT: Final = r"\..+\.[0-9a-f]{12}\.tmp"


@contextmanager
def disk(path: Path, what: str = "written") -> Iterator[None]:
    """Turn what the disk refuses into a StoreError that names the file and the reason."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{error.filename or path} cannot be {what}: {error.strerror}.") from error


def write_atomically(path: Path, text: str | bytes) -> None:
    """Replace a file in one step, 0600: whoever reads it sees the old text or the new. Raises StoreError."""
    draft = path.with_name(f".{path.name}.{os.urandom(6).hex()}.tmp")
    with disk(path):
        try:
            with os.fdopen(
                os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb"
            ) as handle:
                handle.write(text if isinstance(text, bytes) else text.encode(errors="replace"))
                handle.flush()
                # the kernel stamps files by its tick; commands of one sender must stay in order
                stamp = time.time_ns()
                os.utime(handle.fileno(), ns=(stamp, stamp))
                os.fsync(handle.fileno())
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise


def run_folder(root: Path, run: str) -> Path:
    """Return where a run's own repository lies, outside the user's. `root` is the user's worktree."""
    import hashlib

    import platformdirs

    name = f"{root.name}-{hashlib.sha256(str(root).encode(errors='surrogateescape')).hexdigest()[:8]}"
    return platformdirs.user_state_path("claudetm") / name / run


@dataclass(frozen=True, slots=True)
class StateDirectory:
    """The paths of one state directory. `root` is the directory itself, `.claude-task-master` beside `.git`.

    The run of a monitor's task has one of its own, `.claude-task-master/tasks/<name>`; settings and prompts are those
    of the repository there, too.
    """

    root: Path

    @property
    def shared(self) -> Path:
        """The repository's own directory: this one, or the one that this one lies in."""
        return next((p for p in (self.root, *self.root.parents) if p.name == NAME), self.root)

    @property
    def repository(self) -> Path:
        """The user's worktree that the directory lies in."""
        return self.shared.parent

    @property
    def task(self) -> str:
        """The name of the monitor's task whose run this is, as `claudetm --task` takes it; "" for the user's own."""
        return self.root.name if self.root.parent == self.shared / TASKS else ""

    def of_task(self, name: str) -> StateDirectory:
        """Return the state directory of a monitor's task of that name, or slug."""
        from claudetm.ports.source import slug

        return StateDirectory(self.shared / TASKS / slug(name))

    def tasks(self) -> list[StateDirectory]:
        """Return the state directories of the monitor's tasks that have been worked in this repository, by name."""
        with disk(self.shared, "read"):
            folder = self.shared / TASKS
            return [StateDirectory(p) for p in sorted(folder.iterdir()) if _is_own(p)] if _is_own(folder) else []

    @property
    def journal(self) -> Path:
        """The record of the run."""
        return self.root / "journal.jsonl"

    @property
    def lock(self) -> Path:
        """Held by the driver."""
        return self.root / "lock"

    @property
    def inbox(self) -> Path:
        """Commands to the driver."""
        return self.root / "inbox"

    @property
    def logs(self) -> Path:
        """Transcripts and output."""
        return self.root / "logs"

    @property
    def history(self) -> Path:
        """Runs that are over."""
        return self.root / "history"

    @property
    def config(self) -> Path:
        """The repository's configuration."""
        return self.shared / "config.json"

    @property
    def prompts(self) -> Path:
        """The user's own prompt templates."""
        return self.shared / "prompts"

    @property
    def foreign(self) -> bool:
        """Whether another program left its state here: views, and no journal they were made from."""
        return (self.root / "state.json").exists() and not self.journal.exists()

    def refuse_foreign(self) -> None:
        """Raise StoreError when the directory is another program's."""
        if self.foreign:
            raise StoreError(
                f"{self.root} holds the state of another program (claude-task-master: state.json without a journal); "
                "claudetm clean moves it to history/."
            )

    def create(self, git_common_directory: Path | None = None) -> None:
        """Make the directory, for its owner alone, and hide it from git. Idempotent. Raises StoreError.

        `git_common_directory` is what `git rev-parse --git-common-dir` says: a linked worktree's exclude file is the
        main repository's.
        """
        for path in self.above:
            if os.path.lexists(path) and not _is_own(path):
                raise StoreError(f"{path} is not a directory of its own; move it away.")
        with disk(self.root):
            for path in (*self.above, self.inbox, self.logs):
                path.mkdir(mode=0o700, exist_ok=True)
            for path in self.above:
                path.chmod(0o700)
        if git_common_directory is not None:
            exclude(git_common_directory, f"/{self.shared.name}/")

    @property
    def above(self) -> tuple[Path, ...]:
        """The directories from the repository's own to this one, both included."""
        return tuple(p for p in (*reversed(self.root.parents), self.root) if p.is_relative_to(self.shared))

    def write_start(self, goal: str, criteria: Sequence[str] = ()) -> None:
        """Write down what the user asked for, as files for people."""
        write_atomically(self.root / "goal.txt", goal.rstrip("\n") + "\n")
        if criteria:
            write_atomically(self.root / "criteria.txt", "".join(f"{text}\n" for text in criteria))

    def write_config(self, settings: dict[str, Any]) -> None:
        """Replace the repository's configuration; it may hold secrets, so it is its owner's alone.

        A link stays one: what it leads to is replaced.
        """
        write_atomically(self.config.resolve(), json.dumps(settings, indent=2, ensure_ascii=False) + "\n")

    def archive(self, name: str, kept: frozenset[str] = KEPT, run: Run | None = None) -> Path:
        """Move a run into `history/<name>/`, the journal last; return that directory. The caller holds the lock.

        With `run`, its receipts go along as the journal has them, whatever its driver was able to write.

        While the journal stands, the run has not left: killed half-way, the same call finishes the move. Another
        program's state is known by its state.json, so that goes last but for the journal.
        """
        target, state = self.history / name, self.root / "state.json"
        if run is not None and (text := render(run).get(RECEIPTS)):
            write_atomically(self.root / RECEIPTS, text)
        with disk(self.root):
            target.mkdir(mode=0o700, parents=True, exist_ok=True)
            entries = [e for e in self.root.iterdir() if e.name not in kept and e not in {self.journal, state}]
            for entry in [*sorted(entries), *([state] if state.exists() else [])]:
                if re.fullmatch(_DRAFT, entry.name) or entry.name == WAITING:
                    entry.unlink()  # of a writer that was killed
                else:
                    _move(entry, target / entry.name)
            _sync(target)
            if self.journal.exists():
                self.journal.replace(target / self.journal.name)
            _sync(target)
            _sync(self.root)
        return target

    def keep_logs(self, name: str) -> None:
        """Let `history/<name>/` have the run's logs, and leave those that people read in `logs/` as well.

        What is left is named by time or session, so that no later run writes over it. Idempotent.
        """
        target = self.history / name / self.logs.name
        with disk(self.logs):
            if not self.logs.is_dir():
                return
            target.mkdir(mode=0o700, parents=True, exist_ok=True)
            for entry in self.logs.iterdir():
                if not entry.name.startswith(_READ):
                    _move(entry, target / entry.name)
                elif not os.path.lexists(target / entry.name):
                    _link(entry, target / entry.name)


def _is_own(path: Path) -> bool:
    """Whether a directory is there, and no link to one."""
    return path.is_dir() and not path.is_symlink()


def _link(source: Path, target: Path) -> None:
    """Give a file a second name; a copy where the disk knows no such thing."""
    try:
        target.hardlink_to(source)
    except OSError:
        import shutil

        shutil.copy2(source, target)


def exclude(common: Path, pattern: str) -> None:
    """Write a pattern into git's own exclude file, once, leaving every other byte of it alone. Raises StoreError."""
    path, line = common / "info" / "exclude", pattern.encode()
    with disk(path):
        path.parent.mkdir(exist_ok=True)
        found = path.read_bytes() if path.exists() else b""
        if line in found.splitlines():
            return
        with path.open("ab") as handle:
            handle.write((b"" if not found or found.endswith(b"\n") else b"\n") + line + b"\n")


def _move(source: Path, target: Path) -> None:
    """Move a file or a tree; into a directory that is there already, entry by entry."""
    if source.is_dir() and not source.is_symlink() and target.is_dir():
        for entry in source.iterdir():
            _move(entry, target / entry.name)
        source.rmdir()
    else:
        source.replace(target)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class FileViews:
    """Implements ports/store.Views: each view is replaced at most once a second, and the newest text gets there."""

    def __init__(self, root: Path, now: Callable[[], float] = time.monotonic, seconds: float = VIEW_SECONDS) -> None:
        self._root = root
        self._now = now
        self._seconds = seconds
        self._written: dict[str, float] = {}
        self._waiting: dict[str, str] = {}

    def sweep(self, names: Sequence[str]) -> None:
        """Remove the drafts of these views: whoever alone writes them, and was killed, has left them."""
        for name in names:
            for draft in self._root.glob(f".{name}.*.tmp"):
                with suppress(OSError):
                    draft.unlink()

    def write(self, name: str, text: str, *, force: bool = False) -> None:
        """Replace the view now, or keep the text for the next write or `flush`. Raises StoreError."""
        self._waiting[name] = text
        now = self._now()
        if force or now - self._written.get(name, float("-inf")) >= self._seconds:
            self._written[name] = now
            write_atomically(self._root / name, self._waiting.pop(name))

    def flush(self) -> None:
        """Write what waits."""
        for name in list(self._waiting):
            self.write(name, self._waiting[name], force=True)

    def remove(self, name: str) -> None:
        """Take a view away, if it is there. Raises StoreError."""
        self._waiting.pop(name, None)
        path = self._root / name
        with disk(path, "removed"):
            path.unlink(missing_ok=True)


class WaitView:
    """Keeps `waiting.json`: why the driver does nothing at this moment. Written when that changes, removed else.

    What the disk refuses costs the view, and never the run.
    """

    def __init__(self, views: FileViews) -> None:
        """Take away what a driver has left that was killed."""
        self._views = views
        self._shown: Wait | None = None
        with suppress(StoreError):
            views.remove(WAITING)

    def show(self, wait: Wait) -> None:
        """Let people see what is waited for."""
        from claudetm.redact import printable, redact

        if wait == self._shown:
            return
        told = {"why": redact(printable(wait.why)), "until": wait.until, "driver": os.getpid()}
        self._shown = wait
        with suppress(StoreError):
            self._views.write(WAITING, json.dumps(told, ensure_ascii=False) + "\n", force=True)

    def over(self) -> None:
        """Take note that the driver works on, or ends."""
        if self._shown is not None:
            self._shown = None
            with suppress(StoreError):
                self._views.remove(WAITING)


def present_wait(state: StateDirectory, driver: int, now: float) -> Wait | None:
    """Return what the living driver (a process id; 0: none) waits for; None where it works, or does not say.

    `now` is in epoch seconds. A view is never trusted further than to be shown: what cannot be read tells nothing.
    """
    from claudetm.workflow.limits import Wait

    try:
        told = json.loads((state.root / WAITING).read_bytes()) if driver else {}
        if told.get("driver") != driver or not driver:
            return None
        until = None if told["until"] is None else float(told["until"])
        why = str(told["why"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return None if until is not None and now > until + _OVER_SECONDS else Wait(until, why)


class RunViews:
    """Keeps the views of one run near its state: call it with each record, and `flush` before waits and at the end.

    Rendering is linear in the plan and events are many, so it happens at most once a second, and less often where it
    is slow: an event's cost does not grow with the plan.
    """

    def __init__(self, views: FileViews, now: Callable[[], float] = time.monotonic) -> None:
        self._views = views
        self._now = now
        self._run: Run | None = None
        self._next = float("-inf")

    def __call__(self, run: Run, _record: Record) -> None:
        """Take note that the run has changed."""
        self._run = run
        if self._now() >= self._next:
            self.flush()

    def flush(self) -> None:
        """Write every view as the run stands, if it has changed since. Raises StoreError."""
        run, self._run = self._run, None
        if run is None:
            return
        began = self._now()
        for name, text in render(run).items():
            self._views.write(name, text, force=True)
        done = self._now()
        self._next = done + max(VIEW_SECONDS, _VIEW_SHARE * (done - began))


def render(run: Run) -> dict[str, str]:
    """Return every view of a run by its file's name."""
    from claudetm.workflow.markdown import (
        context_markdown,
        plan_markdown,
        progress_markdown,
        receipts_markdown,
        state_data,
    )

    return {
        "state.json": json.dumps(state_data(run), ensure_ascii=False) + "\n",
        "plan.md": plan_markdown(run),
        "progress.md": progress_markdown(run),
        "context.md": context_markdown(run),
        **({RECEIPTS: receipts_markdown(run)} if run.receipts else {}),
    }


class FileInbox:
    """Implements ports/store.Inbox: one file a command, taken by age. What cannot be read goes to `refused/`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def send(self, command: Command) -> Path:
        """Leave a command for the driver, in one step; return its file. Raises StoreError.

        Sent again under the same id, it takes the place of the first.
        """
        if not re.fullmatch(_ID, command.id):
            raise ValueError(f"{command.id!r} cannot name a file")
        target = self.path / f"{command.id}.json"
        content = {"id": command.id, "name": command.name, "arguments": dict(command.arguments)}
        with disk(self.path):
            self.path.mkdir(mode=0o700, exist_ok=True)
            write_atomically(target, json.dumps(content) + "\n")
            _sync(self.path)
        return target

    def pending(self) -> Sequence[Command]:
        """Return the commands that wait, oldest first. Raises StoreError when the directory cannot be read."""
        commands = []
        for path in self._files():
            try:
                commands.append(_command(path))
            except FileNotFoundError:
                continue  # its sender took it back
            except (OSError, ValueError, KeyError, TypeError) as error:
                self._refuse(path, error)
        return commands

    def _files(self) -> list[Path]:
        with disk(self.path, "read"):
            try:
                entries = list(os.scandir(self.path))
            except FileNotFoundError:
                return []
        aged = []
        for entry in entries:
            if entry.name.endswith(".json") and not entry.name.startswith("."):
                try:
                    aged.append((entry.stat(follow_symlinks=False).st_mtime_ns, entry.name))
                except FileNotFoundError:
                    continue
        return [self.path / name for _, name in sorted(aged)]

    def _refuse(self, path: Path, error: Exception) -> None:
        refused = self.path / "refused"
        with disk(path):
            refused.mkdir(mode=0o700, exist_ok=True)
            target = refused / path.name
            if target.exists():
                target = refused / f"{path.stem}.{time.time_ns()}.json"
            write_atomically(target.with_suffix(".reason.txt"), f"{type(error).__name__}: {error}\n")
            path.replace(target)

    def done(self, command: Command) -> None:
        """Forget a command that was applied or refused. Raises StoreError when its file cannot be removed."""
        path = self.path / f"{command.id}.json"
        with disk(path):
            path.unlink(missing_ok=True)


def _command(path: Path) -> Command:
    from claudetm.ports.store import Command

    data = json.loads(path.read_bytes())
    if data["id"] != path.stem:
        raise ValueError(f"the command inside is {data['id']!r}")
    if not isinstance(data["name"], str) or not isinstance(data["arguments"], dict):
        raise TypeError("a command has a name and an object of arguments")
    return Command(data["id"], data["name"], data["arguments"])
