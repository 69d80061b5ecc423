"""Real repositories for tests: a user's, with everything in it that a run must leave as it is; and runs beside it."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from claudetm.adapters.git.run_repository import RunRepository, no_fault
from claudetm.adapters.git.user_repository import inspect

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
