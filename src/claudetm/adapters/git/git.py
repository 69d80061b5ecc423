"""The one way this package runs git: an environment from scratch, no hook, no monitor, no gc, a time limit.

Nothing of the caller's environment but PATH reaches git, so no configuration but the named repository's own is read.
"""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import IO, Final

from claudetm.errors import RepositoryError

MINIMUM: Final = (2, 38)
"""merge-tree --write-tree came with git 2.38 (October 2022)."""

SECONDS: Final = 600.0
FEW_OBJECTS: Final = 100
"""Up to here objects arrive loose, as git's own fetch does it (fetch.unpackLimit); beyond, as a pack."""

ENVIRONMENT: Final[Mapping[str, str]] = {
    "GIT_ALLOW_PROTOCOL": "file",
    "GIT_ASKPASS": "/bin/false",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    "GIT_DEFAULT_REF_FORMAT": "files",
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "HOME": "/nonexistent",
    "LC_ALL": "C",
}

QUIET: Final = (
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "gc.auto=0",
    "-c",
    "maintenance.auto=false",
)
"""Hooks off (reference-transaction runs on every ref), nothing in the background."""

UNTRUSTED: Final = (
    "-c",
    "core.commitGraph=false",
    "-c",
    "core.multiPackIndex=false",
    "-c",
    "pack.useBitmaps=false",
)
"""Where foreign objects are read: only the objects themselves, none of the caches that could lie about them."""

_ID: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_AUTHOR: Final = re.compile(r"\s*(?P<name>[^<>]*?)\s*<(?P<mail>[^<>\n]*)>\s*")


class GitMissing(RepositoryError):  # noqa: N818 - a fact about this machine
    """There is no git to run."""

    def __init__(self) -> None:
        super().__init__(f"git is not on PATH: install git {MINIMUM[0]}.{MINIMUM[1]} or newer.")


class GitFailed(RepositoryError):  # noqa: N818 - a fact about one command
    """A git command failed; the sentence ends in git's own last word."""


@dataclass(frozen=True, slots=True)
class Done:
    """What one git command came to."""

    code: int
    out: bytes

    @property
    def text(self) -> str:
        """The output, undecodable bytes kept as surrogates, without the last line's end."""
        return os.fsdecode(self.out).removesuffix("\n")

    @property
    def items(self) -> list[str]:
        """The NUL-separated fields of the output."""
        return [os.fsdecode(f) for f in self.out.split(b"\0") if f]


@dataclass(frozen=True, slots=True)
class Git:
    """git in one repository: its directory, where one is needed a work tree, and additional variables."""

    git_dir: Path
    work_tree: Path | None = None
    variables: tuple[tuple[str, str], ...] = ()
    options: tuple[str, ...] = QUIET

    def having(self, **variables: str) -> Git:
        """Return the same with these environment variables besides."""
        return replace(self, variables=(*self.variables, *variables.items()))

    def reading(self, objects: Path) -> Git:
        """Return the same, reading objects from a foreign directory too and trusting none of its caches."""
        quoted = '"' + str(objects).replace("\\", "\\\\").replace('"', '\\"') + '"'
        return replace(self.having(GIT_ALTERNATE_OBJECT_DIRECTORIES=quoted), options=(*self.options, *UNTRUSTED))

    def command(self, *arguments: str) -> list[str]:
        """Return the command line."""
        tree = [f"--work-tree={self.work_tree}"] if self.work_tree else []
        return ["git", *self.options, f"--git-dir={self.git_dir}", *tree, *arguments]

    def environment(self) -> dict[str, str]:
        """Return the whole environment of a command."""
        return {"PATH": os.environ.get("PATH", os.defpath), **ENVIRONMENT, **dict(self.variables)}

    def run(self, *arguments: str, stdin: bytes = b"", accept: tuple[int, ...] = (0,)) -> Done:
        """Run one command to its end. Raises GitFailed for an exit code that is not accepted."""
        return run(self.command(*arguments), self.environment(), self.work_tree, stdin=stdin, accept=accept)

    def text(self, *arguments: str) -> str:
        """Return a command's output as text."""
        return self.run(*arguments).text

    def start(self, *arguments: str, stdin: IO[bytes] | int, errors: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start a command whose output is read while it runs."""
        return subprocess.Popen(
            self.command(*arguments),
            env=self.environment(),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=errors,
        )


def run(
    command: list[str],
    environment: Mapping[str, str],
    cwd: Path | None = None,
    *,
    stdin: bytes = b"",
    accept: tuple[int, ...] = (0,),
    inherits: tuple[int, ...] = (),
) -> Done:
    """Run one git command line. Raises GitFailed with git's last line of complaint, or that it took too long.

    It inherits the descriptors: a lock on one is held until it has ended, also when we are killed before.
    """
    name = next(a for a in command[1:] if not a.startswith("-") and "=" not in a)
    try:
        done = subprocess.run(
            command,
            env=environment,
            cwd=cwd,
            input=stdin,
            capture_output=True,
            timeout=SECONDS,
            check=False,
            pass_fds=inherits,
        )
    except subprocess.TimeoutExpired as e:
        raise GitFailed(f"git {name} did not end within {SECONDS:.0f} seconds.") from e
    except OSError as e:
        if e.filename == command[0]:
            raise GitMissing from e
        raise GitFailed(f"git cannot be run: {e.strerror or e}.") from e
    if done.returncode not in accept:
        raise GitFailed(f"git {name} failed: {last_line(done.stderr) or f'exit code {done.returncode}'}")
    return Done(done.returncode, done.stdout)


def last_line(complaint: bytes) -> str:
    """Return the telling line of git's complaint: the last error, with the names below it; else what was fatal."""
    lines = [line.rstrip() for line in complaint.decode(errors="replace").splitlines() if line.strip()]
    errors = [n for n, line in enumerate(lines) if line.startswith("error:")]
    loud = errors or [n for n, line in enumerate(lines) if line.startswith("fatal:")]
    if not loud:
        return lines[-1].strip() if lines else ""
    listed = itertools.takewhile(lambda line: line.startswith("\t"), lines[loud[-1] + 1 :])
    return " ".join((lines[loud[-1]], ", ".join(line.strip() for line in listed))).strip()


def transfer(source: Git, target: Git, want: str, have: Iterable[str]) -> None:
    """Bring a commit and all it needs into the target's own objects; `have` are commits that the target has whole.

    Every object is hashed again and every link is followed on arrival, so broken or missing ones raise GitFailed.
    """
    wanted = "".join(f"{line}\n" for line in (f"{want}^{{commit}}", *(f"^{h}" for h in have)))
    with tempfile.TemporaryFile() as errors, tempfile.TemporaryFile() as revisions:
        revisions.write(wanted.encode())
        revisions.seek(0)
        packing = source.start(
            "pack-objects", "--revs", "--stdout", "-q", "--delta-base-offset", stdin=revisions, errors=errors
        )
        timer = threading.Timer(SECONDS, packing.kill)
        timer.start()
        try:
            code = _receive(packing, target, errors)
        finally:
            timer.cancel()
        if packing.returncode or code:
            errors.seek(0)
            raise GitFailed(f"commit {want[:10]} cannot be taken over: {last_line(errors.read())}")


def _receive(packing: subprocess.Popen[bytes], target: Git, errors: IO[bytes]) -> int:
    """Feed a pack that is being written to the target; return the receiver's exit code."""
    assert packing.stdout is not None  # noqa: S101 - it was asked for
    with packing, packing.stdout as stream:
        header = b""
        while len(header) < _HEADER and (more := os.read(stream.fileno(), _HEADER - len(header))):
            header += more
        count = int.from_bytes(header[8:])
        if len(header) < _HEADER or not count:
            stream.read()  # to its end: a closed pipe would look like a failure
            return 0
        receive = ["unpack-objects", "-q"] if count <= FEW_OBJECTS else ["index-pack", "--stdin"]
        command = [*receive, "--strict", f"--pack_header=2,{count}"]
        receiving = target.start(*command, stdin=stream, errors=errors)
        receiving.communicate()
        return receiving.returncode


_HEADER: Final = 12


def is_commit_id(text: str) -> bool:
    """Whether the text is a full commit id."""
    return _ID.fullmatch(text) is not None


def commit_id(text: str) -> str:
    """Return the text if it is a full commit id. Raises RepositoryError: nothing else goes on a command line."""
    if not is_commit_id(text):
        raise RepositoryError(f"{text[:80]!r} is no commit id.")
    return text


def identity(author: str) -> dict[str, str]:
    """Return the variables that make `author` ("Name <address>") the author and committer."""
    found = _AUTHOR.fullmatch(author)
    name, mail = (found["name"], found["mail"]) if found else (author, "")
    name, mail = name or "claudetm", mail or "claudetm@localhost"
    return {
        "GIT_AUTHOR_NAME": name,
        "GIT_AUTHOR_EMAIL": mail,
        "GIT_COMMITTER_NAME": name,
        "GIT_COMMITTER_EMAIL": mail,
    }


@cache
def require_version() -> None:
    """Check once that git can do what is asked of it. Raises RepositoryError for an older one, or none."""
    text = run(["git", "version"], {"PATH": os.environ.get("PATH", os.defpath), **ENVIRONMENT}).text
    check_version(text)


def check_version(text: str) -> None:
    """Check the answer of `git version`. Raises RepositoryError for one before 2.38."""
    found = re.search(r"(\d+)\.(\d+)", text)
    if not found or (int(found[1]), int(found[2])) < MINIMUM:
        raise RepositoryError(f"{text.strip()} is too old: install git {MINIMUM[0]}.{MINIMUM[1]} or newer.")
