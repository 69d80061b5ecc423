"""Real repositories for tests: a user's, with everything in it that a run must leave as it is; and runs beside it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

from claudetm.adapters.agent.containment import Containment
from claudetm.adapters.commands.runner import CommandRunner, RunnerSettings
from claudetm.adapters.forge.local import LocalForge
from claudetm.adapters.forge.local_checks import CheckSettings
from claudetm.adapters.forge.local_journal import ForgeJournal
from claudetm.adapters.git.run_repository import RunRepository, no_fault
from claudetm.adapters.git.user_repository import inspect
from claudetm.ports.commands import CommandRequest, CommandResult
from claudetm.ports.repository import Pushed
from claudetm.workflow.pull_request import CheckState, PullRequest

AUTHOR = "Ada <ada@example.org>"
RUN = "r1"
_ENVIRONMENT = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
}


def git(folder: Path, *arguments: str, accept: tuple[int, ...] = (0,)) -> str:
    """Run git as a person in that folder would; return what it prints."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")} | _ENVIRONMENT
    command = ["git", "-c", "protocol.file.allow=always", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in accept, done.stderr
    return done.stdout.strip()


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Write files below a folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def commit(folder: Path, files: Mapping[str, str], message: str = "Work") -> str:
    """Write and commit files; return the commit's id."""
    write(folder, files)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--allow-empty", "-m", message)
    return git(folder, "rev-parse", "HEAD")


def make_user(folder: Path, files: Mapping[str, str] | None = None) -> Path:
    """Make a repository with one commit on main."""
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "config", "user.name", "Ada")
    git(folder, "config", "user.email", "ada@example.org")
    commit(folder, files or {"README.md": "hello\n", "src/app.py": "x = 1\n"}, "Begin")
    return folder


def make_run(
    user: Path, state: Path, *, copy: tuple[str, ...] = (), faults: Callable[[str], None] = no_fault, run: str = RUN
) -> RunRepository:
    """Return a run's repository beside the user's, as a driver that starts or resumes would."""
    found = inspect(user, "main")
    base = state / "base"
    if not base.exists():
        state.mkdir(parents=True, exist_ok=True)
        base.write_text(found.base)
    return RunRepository(state / "run", found.refs, run, base.read_text(), copy, faults)


def fingerprint(user: Path) -> dict[str, str]:
    """Return a hash of every file of the user's, git's own included, but for objects and what is ours."""
    return {
        str(path.relative_to(user)): hashlib.sha256(path.read_bytes()).hexdigest() + oct(path.stat().st_mode)
        for path in sorted(user.rglob("*"))
        if path.is_file()
        and not path.is_relative_to(user / ".git" / "objects")
        and "claudetm" not in path.relative_to(user).parts
    }


class RealWorld:
    """A user's repository, standing on a branch of their own, and a run beside it."""

    def __init__(self, folder: Path) -> None:
        self.user = make_user(folder / "user")
        self.first = git(self.user, "rev-parse", "main")
        git(self.user, "switch", "-q", "-c", "elsewhere")
        self.state = folder / "state"
        self.repository = make_run(self.user, self.state)

    def work(self, change: str, files: Mapping[str, str]) -> str:
        return commit(self.state / "run" / "changes" / change, files)

    def leave(self, change: str, files: Mapping[str, str]) -> None:
        write(self.state / "run" / "changes" / change, files)

    def push_by_person(self, branch: str, files: Mapping[str, str], *, force: bool = False) -> str:
        """Commit in a checkout of their own, and push that."""
        clone = self.state / "person"
        if not clone.exists():
            git(self.state, "clone", "-q", str(self.user), str(clone))
        git(clone, "fetch", "-q", "origin")
        git(clone, "checkout", "-q", "--detach", f"origin/{branch}{'^' if force else ''}")
        made = commit(clone, files, "A person's commit")
        git(clone, "push", "-q", *(["--force"] if force else []), "origin", f"HEAD:refs/heads/{branch}")
        return made

    def delete_by_person(self, branch: str) -> None:
        git(self.user, "branch", "-q", "-D", branch)

    def bring_back_by_person(self, branch: str, commit: str) -> None:
        git(self.user, "branch", "-q", branch, commit)


class ShellCommands:
    """The real runner under the reaper alone, and a count of what was run."""

    def __init__(self, home: Path) -> None:
        # a name of its own: tests beside this one sweep away what is left of a run that is named like ours
        self._runner = CommandRunner(RunnerSettings(f"{RUN}-{uuid.uuid4()}", home, Containment("")))
        self.requests: list[CommandRequest] = []
        self.began = asyncio.Event()

    async def run(self, request: CommandRequest, stop: asyncio.Event | None = None) -> CommandResult:
        self.requests.append(request)
        self.began.set()
        return await self._runner.run(request, stop)


def once(point: str, act: Callable[[], object]) -> Callable[[str], None]:
    """Return a fault that does something the first time that a point of this beginning is passed."""
    left = [act]

    def fault(passed: str) -> None:
        if passed.startswith(point) and left:
            left.pop()()

    return fault


class LocalForgeWorld(RealWorld):
    """A local forge over a real repository."""

    run_id, target = RUN, "main"

    def __init__(
        self,
        folder: Path,
        checks: tuple[str, ...] = ("test ! -e red || { echo it is red; false; }",),
        setup: tuple[str, ...] = (),
    ) -> None:
        super().__init__(folder)
        self.commands = ShellCommands(folder / "home")
        self._drivers: list[LocalForge] = []
        self.settings = CheckSettings(checks, self.state / "logs", setup, timeout=20.0)
        self.forge = self.driver()

    def driver(self, faults: Callable[[str], None] = no_fault) -> LocalForge:
        """Return a forge as the next driver of the run would make it, with nothing kept in memory."""
        self.repository = make_run(self.user, self.state, faults=faults)
        self.journal = ForgeJournal(self.state / "forge" / "journal.jsonl")
        self.forge = LocalForge(self.repository, "main", self.journal, self.commands, self.settings, faults)
        self._drivers.append(self.forge)
        return self.forge

    async def close(self) -> None:
        """End the checks of every driver there was: one that "died" in a test has left its own running."""
        for forge in self._drivers:
            await forge.close()

    async def push(self, change: str, files: Mapping[str, str]) -> str:
        branch = f"claudetm/{RUN}/{change}"
        await self.repository.open_worktree(change, branch, await self.forge.base())
        self.work(change, files)
        head = await self.repository.adopt(change)
        assert await self.repository.push(branch, head) == Pushed()
        return head

    async def settled(self, number: int) -> PullRequest:
        while True:
            pull = (await self.forge.read([number]))[number]
            if all(c.state is not CheckState.PENDING for c in pull.checks):
                return pull
            await self.forge.hint()

    def remark(self, number: int, body: str) -> str:
        return self._person().comment(number, "ada", body)

    def close_by_person(self, number: int) -> None:
        self._person().close(number, "ada")

    def reopen_by_person(self, number: int) -> None:
        self._person().reopen(number, "ada")

    def _person(self) -> ForgeJournal:
        """Return the records as another process has them."""
        journal = ForgeJournal(self.journal.path)
        journal.refresh()
        return journal

    async def at_the_last_moment(self, act: Callable[[], object]) -> None:
        """Have a person act when the merge is written down, before the base is swapped: to the next driver."""
        await self.forge.close()
        self.driver(once("merge:written", act))

    async def merge_by_person(self, number: int) -> None:
        """Merge with git, in a clone of theirs, and push the base."""
        clone = self.state / "merger"
        git(self.state, "clone", "-q", str(self.user), str(clone))
        git(clone, "checkout", "-q", f"claudetm/{RUN}/base")
        git(clone, "merge", "-q", "--no-ff", "-m", "Take it", f"origin/{self.journal.pull(number).branch}")
        git(clone, "push", "-q", "origin", "HEAD")
