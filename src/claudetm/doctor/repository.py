"""Checks of the repository as a start would find it: its commits, settings, prompts and checks."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from claudetm.doctor.finding import Finding, fail, ok, refused, warn
from claudetm.doctor.place import Place
from claudetm.errors import ClaudetmError, ConfigError, RepositoryError

_LOCKS: Final = ("index.lock", "HEAD.lock", "config.lock", "packed-refs.lock", "shallow.lock")
_STALE: Final = 600  # seconds: no git command of a person takes so long
_SECONDS: Final = 10.0  # for git to say whether it works here


def repository(place: Place) -> Iterator[Finding]:
    """Say what a start would begin from, where it would push, and as whom it would commit."""
    from claudetm.adapters.git.user_repository import NO_IDENTITY

    if place.outside:
        only = "none here, so only the machine and the account were examined"
        yield warn("repository", only, "call this in a git repository to have it examined as well")
        return
    if owned_by_another(place):
        trust = f"chown it, or git config --global --add safe.directory {place.root}"
        yield fail("repository", f"{place.root} is another user's, so git refuses to work in it", trust)
        return
    user = place.user
    notes = "".join(f"; {note}" for note in user.notes if NO_IDENTITY not in note)
    yield ok("repository", f"{user.root}, {user.target} at {user.base[:10]}{notes}")
    remotes = ", ".join(f"{name} {url}" for name, url in user.remotes.items())
    yield ok("remote", remotes or "none, and none is needed: pull requests live in the repository")
    if user.author == NO_IDENTITY:
        who = 'git config user.name "…", git config user.email "…"'
        yield warn("git identity", f"none: commits would be made as {NO_IDENTITY}", who)
    else:
        yield ok("git identity", user.author)
    yield from _not_in_worktrees(place)
    yield from _locks(user.common_dir)


def _not_in_worktrees(place: Place) -> Iterator[Finding]:
    """Name what git does not bring into a fresh worktree by itself."""
    setup = " ".join(place.settings["worktree.setup"])
    if ".gitmodules" in place.files and "submodule" not in setup:
        yield warn(
            "submodules",
            "a fresh worktree has none of them",
            'claudetm config set worktree.setup "git submodule update --init", say',
        )
    if _uses_lfs(place) and "lfs" not in setup:
        yield warn(
            "Git LFS",
            "a fresh worktree has pointers in the place of its files",
            'claudetm config set worktree.setup "git lfs pull", say',
        )


def _uses_lfs(place: Place) -> bool:
    git, base = place.user.refs.git, place.user.base
    return any("filter=lfs" in git.text("show", f"{base}:{f}") for f in place.files if f.endswith(".gitattributes"))


def _locks(git_dir: Path) -> Iterator[Finding]:
    """Name the lock files that a git which died has left: every later one that writes there fails."""
    old = time.time() - _STALE
    left = [p for name in _LOCKS if (p := git_dir / name).exists() and p.stat().st_mtime < old]
    if left:
        found = f"{', '.join(p.name for p in left)} in {git_dir}, older than {_STALE // 60} minutes"
        yield warn("git locks", found, f"if no git is at work here, rm {' '.join(map(str, left))}")


def owned_by_another(place: Place) -> bool:
    """Whether git itself turns away (safe.directory); GitPython reads on, and mistakes it for an empty repository."""
    if place.root is None or shutil.which("git") is None:
        return False
    command = ["git", "-C", str(place.root), "rev-parse", "--git-dir"]
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(command, env=environment, capture_output=True, timeout=_SECONDS, check=False)
    return b"dubious ownership" in done.stderr


def configuration(place: Place) -> Iterator[Finding]:
    """Say which settings are given, and by what."""
    try:
        resolved = place.settings
    except ConfigError as error:
        yield refused("configuration", error)
        return
    given = [f"{name} ({s.source})" for name, s in resolved.settings.items() if s.source != "default"]
    for note in resolved.notes:
        yield warn("configuration", note, "see to that file; `claudetm config show` says what counts")
    for ignored in resolved.ignored:
        yield warn("configuration", ignored, "pass --trust-project-settings if you trust who wrote it")
    yield ok("configuration", ", ".join(given) or "defaults throughout")


def prompts(place: Place) -> Iterator[Finding]:
    """Say whether prompts of your own are used, and whether they can be."""
    from claudetm.prompts.render import Prompts

    own = place.state.prompts if place.state is not None else None
    try:
        Prompts(own).check()
    except ClaudetmError as error:
        yield fail("prompts", str(error).rstrip("."), f"correct or delete it in {own}")
        return
    count = len(list(own.iterdir())) if own is not None and own.is_dir() else 0
    yield ok("prompts", f"{count} of your own in {own}" if count else "the packaged ones")


def checks(place: Place) -> Iterator[Finding]:
    """Say which checks would gate a change."""
    from claudetm.adapters.commands import detect

    if place.outside:
        return
    try:
        commands = place.settings["checks.commands"]
        user, hosted = place.user, place.hosted is not None
        if commands:
            yield ok("checks", f"{', '.join(commands)} (configured{', for agents to run' if hosted else ''})")
            return
    except (ConfigError, RepositoryError) as error:
        about = "configuration" if isinstance(error, ConfigError) else "repository"
        about = "forge" if place.readable else about
        yield warn("checks", f"not looked for: see {about}", f"mend the {about} first")
        return
    commands = detect.checks(place.files, lambda path: user.refs.git.text("show", f"{user.base}:{path}"))
    remedy = 'claudetm config set checks.commands "make test", say, or start with --check or --no-checks'
    missing = [tool for tool in map(detect.lacking, commands) if tool]
    if hosted:  # there the forge's own checks gate: these are what agents run
        without = f", without {', '.join(missing)}" if missing else ""
        found = f"{', '.join(commands) or 'none'} (detected, for agents to run{without})"
        yield warn("checks", found, "install it here") if missing else ok("checks", found)
    elif missing:
        yield fail("checks", f"{', '.join(commands)} (detected), without {', '.join(missing)}", "install it here")
    elif commands:
        yield ok("checks", f"{', '.join(commands)} (detected)")
    elif place.settings["checks.none"] == "pass":
        yield warn("checks", "none, and as configured, what is untested is merged", remedy)
    else:
        yield fail("checks", "none were found, and zero checks is not green", remedy)
