"""Reads an agent's clone. No git runs here and none of its configuration is looked at: HEAD is followed by hand.

What an agent could have bent so that git would be led astray (links, alternates, another common folder) is refused.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Final

from claudetm.errors import RepositoryError

MOST_BYTES: Final = 64 * 1024 * 1024
_ID: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_DEPTH: Final = 5


def head_of(worktree: Path, alternates: str) -> str:
    """Return the commit id that the clone's HEAD names. `alternates` is what we wrote there.

    Raises RepositoryError, naming what is wrong, for a clone that cannot be trusted or read.
    """
    inner = worktree / ".git"
    if reason := _distrust(inner, alternates):
        raise RepositoryError(f"{worktree} cannot be trusted: {reason}.")
    text = _read(inner / "HEAD")
    for _ in range(_DEPTH):
        if not text.startswith("ref:"):
            break
        text = _follow(inner, text.removeprefix("ref:").strip())
    if not _ID.fullmatch(text.strip()):
        raise RepositoryError(f"{worktree} has no commit at HEAD.")
    return text.strip()


def _distrust(inner: Path, alternates: str) -> str:
    """Return why the clone's git directory is not the one we made, or ""."""
    for folder in (inner, inner / "objects", inner / "objects" / "info", inner / "objects" / "pack", inner / "refs"):
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            return f"{_short(inner, folder)} is not a folder of its own"
    if not (inner / "objects").is_dir():
        return f"{_short(inner, inner / 'objects')} is gone"
    if os.path.lexists(inner / "commondir"):
        return "its git directory points at another one"
    file = inner / "objects" / "info" / "alternates"
    if (_read(file) if os.path.lexists(file) else "") != alternates:
        return "its objects are borrowed from elsewhere (objects/info/alternates)"
    return ""


def _short(inner: Path, path: Path) -> str:
    return str(path.relative_to(inner.parent))


def _follow(inner: Path, name: str) -> str:
    """Return what a ref holds, loose or packed; "" when there is none."""
    parts = name.split("/")
    if parts[0] != "refs" or any(p in {"", ".", ".."} for p in parts):
        raise RepositoryError(f"{inner.parent} cannot be trusted: HEAD names {name[:80]!r}.")
    if os.path.lexists(inner / name) and not (inner / name).is_dir():
        return _read(inner / name)
    packed = _read(inner / "packed-refs") if os.path.lexists(inner / "packed-refs") else ""
    rows = (line.partition(" ") for line in packed.splitlines())
    return next((commit for commit, _, ref in rows if ref == name), "")


def _read(path: Path) -> str:
    """Return a plain file's text. A link, a pipe or a device raises RepositoryError instead of being opened."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as e:
        raise RepositoryError(f"{path} cannot be read: {e.strerror}.") from e
    with os.fdopen(file, "rb") as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise RepositoryError(f"{path} is not a plain file.")
        return os.fsdecode(stream.read(MOST_BYTES))


def unlock(worktree: Path) -> None:
    """Remove the locks that a git which was killed left in an agent's clone; none of its sessions runs any more.

    Links are not followed: the agent could have made one to a folder that is not its own.
    """
    inner = worktree / ".git"
    heads = inner / "refs" / "heads"
    if any(folder.is_symlink() or not folder.is_dir() for folder in (inner, inner / "refs", heads)):
        return
    found = [Path(folder, name) for folder, _, files in os.walk(heads) for name in files]
    for file in (*found, *inner.iterdir()):
        if file.suffix == ".lock" and not file.is_dir():
            file.unlink(missing_ok=True)
