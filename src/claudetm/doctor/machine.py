"""Checks of the machine: they mean the same in every folder."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from claudetm.doctor.finding import Finding, State, fail, ok, warn
from claudetm.doctor.place import Place
from claudetm.errors import ConfigError, RepositoryError

_PYTHON: Final = (3, 11)
_GIB: Final = 1 << 30
_LITTLE: Final = _GIB  # bytes: below, a warning
_TOO_LITTLE: Final = 100 << 20  # bytes: below, a failure
_SCRIPT: Final = 4096  # bytes in which a script names what it starts
_SECONDS: Final = 10.0  # for a program to say its version


def python(_place: Place) -> Iterator[Finding]:
    """Say which Python runs, and whether it is new enough."""
    found = f"{platform.python_version()} ({sys.executable})"
    if sys.version_info[:2] < _PYTHON:
        yield fail("python", found, f"install Python {_PYTHON[0]}.{_PYTHON[1]} or newer, and claudetm with it")
    else:
        yield ok("python", found)


def program(_place: Place) -> Iterator[Finding]:
    """Say which claudetm runs, and whether the same one is meant by its name."""
    from claudetm import __version__

    running = Path(sys.argv[0]).absolute()
    found = shutil.which("claudetm")
    ours = {os.path.realpath(running), os.path.realpath(Path(sys.executable).with_name("claudetm"))}
    if found is None:
        yield warn("claudetm", f"{__version__}; it is not on PATH", f'export PATH="{running.parent}:$PATH"')
    elif os.path.realpath(found) not in ours:
        remedy = f"uninstall the other, or put {running.parent} before it on PATH"
        whose = ", claude-task-master's" if _of_task_master(Path(found)) else ""
        yield warn("claudetm", f"{__version__} runs from {running}, but `claudetm` on PATH is {found}{whose}", remedy)
    else:
        yield ok("claudetm", f"{__version__} ({found})")


def _of_task_master(script: Path) -> bool:
    """Whether a command is that of claude-task-master, which has the same name."""
    with suppress(OSError), script.open("rb") as file:
        return b"claude_task_master" in file.read(_SCRIPT)
    return False


def git(_place: Place) -> Iterator[Finding]:
    """Say which git runs, and whether it is new enough."""
    from claudetm.adapters.git.git import MINIMUM, require_version

    try:
        require_version()
    except RepositoryError as error:
        newest = f"install git {MINIMUM[0]}.{MINIMUM[1]} or newer, and have it first on PATH"
        yield fail("git", str(error).partition(": install")[0], newest)
        return
    yield ok("git", f"{_answer(['git', '--version'])} ({shutil.which('git')})")


def _answer(command: list[str]) -> str:
    """Return the first line that a program says, in a home of its own. Raises OSError, SubprocessError."""
    with tempfile.TemporaryDirectory(prefix="claudetm-doctor-") as home:
        environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": home, "DISABLE_AUTOUPDATER": "1"}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=True
        )
    return next(iter(done.stdout.splitlines()), "")


def cli(place: Place) -> Iterator[Finding]:
    """Say which agent SDK and which CLI sessions run on, and whether it runs."""
    from importlib.metadata import version

    from claudetm.adapters.agent.cli import cli_on_path, find_cli

    yield ok("agent SDK", f"claude-agent-sdk {version('claude-agent-sdk')}")
    asked = place.readable and place.settings["agent.cli"] == "path"
    path = (cli_on_path if asked else find_cli)(os.environ.get("PATH"))
    try:
        told = _answer([str(path), "--version"])
    except (OSError, subprocess.SubprocessError) as error:
        yield fail("agent CLI", f"{path} does not run: {error}", "install claude-agent-sdk anew")
        return
    yield ok("agent CLI", f"{told} ({'the one in the SDK' if path.parent.name == '_bundled' else path})")


def sandbox(place: Place) -> Iterator[Finding]:
    """Say whether agents can be kept from what is yours, and what it means where they cannot."""
    from claudetm.adapters.agent.containment import Sandbox, bubblewrap

    wanted = Sandbox.AUTO
    with suppress(ConfigError):  # that is another check's to say
        wanted = Sandbox(place.settings["sandbox"])
    unseen = "without it an agent is you: it can read and write what you can"
    if wanted is Sandbox.OFF:
        yield warn("sandbox", f"off, as configured; {unseen}", "claudetm config set sandbox auto")
    elif path := bubblewrap():
        yield ok("sandbox", f"bubblewrap works ({path}); your home folder and /tmp are out of an agent's sight")
    else:
        there = (
            f"bubblewrap does not work here{_refusal()}" if shutil.which("bwrap") else "bubblewrap is not installed"
        )
        remedy = "install bubblewrap (Linux) and allow unprivileged user namespaces"
        state = State.FAILURE if wanted is Sandbox.ON else State.WARNING
        yield Finding("sandbox", state, f"{there}; {unseen}", remedy)


def _refusal() -> str:
    """Return what bubblewrap itself says of why it does not work, as a part of a sentence."""
    probe = ["bwrap", "--ro-bind", "/", "/", "--unshare-pid", "true"]
    done = subprocess.run(probe, capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=False)
    said = " ".join(done.stderr.split()).removeprefix("bwrap: ").rstrip(".")
    return f" ({said})" if said else ""


def disk(place: Place) -> Iterator[Finding]:
    """Say how much room there is where a run writes."""
    if place.root is not None:
        yield _room("repository disk", place.root)
    yield _room("runs' disk", place.runs)


def _room(name: str, folder: Path) -> Finding:
    there = next(f for f in (folder, *folder.parents) if f.exists())
    if not there.is_dir() or not os.access(there, os.R_OK | os.W_OK | os.X_OK):
        return fail(name, f"{there} cannot be written", f"make {there} a folder that you may write")
    free = shutil.disk_usage(there).free
    found = f"{free / _GIB:.1f} GiB free for {folder}" if free >= _LITTLE else f"{free >> 20} MiB free for {folder}"
    if free < _TOO_LITTLE:
        return fail(name, found, "make room: a run keeps a clone, a worktree a change, and transcripts")
    if free < _LITTLE:
        return warn(name, found, "make room before a long run")
    return ok(name, found)
