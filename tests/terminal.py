"""A person at a terminal: a home of their own, a repository, and the real `claudetm` as a process.

Every process gets private HOME, XDG and temporary folders and no credential, so that tests can run side by side.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from claudetm.adapters.store.directory import NAME, StateDirectory
from claudetm.adapters.store.journal import encode
from claudetm.cli.demo import make_repository
from world import World

CLAUDETM = Path(sys.executable).with_name("claudetm")
SCENARIOS = Path(__file__).parent / "e2e" / "scenarios" / "commands"
_PATIENCE = 45.0  # seconds for anything to come about, on a busy machine
_INHERITED = ("PATH", "LANG", "LC_ALL", "TERM")


@dataclass
class Terminal:
    """Where one person works. `here` is their working directory, `home` everything that is theirs alone."""

    here: Path
    home: Path
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        folders = {"HOME": "", "XDG_STATE_HOME": "state", "XDG_CONFIG_HOME": "config", "XDG_CACHE_HOME": "cache"}
        own = {name: str(self.home / path) for name, path in folders.items()}
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        inherited["PATH"] = f"{CLAUDETM.parent}:{inherited['PATH']}"
        return {**inherited, **own, "TMPDIR": str(self.home / "tmp"), **self.extra}

    @property
    def state(self) -> Path:
        return self.here / NAME

    def __call__(
        self, *arguments: str | bytes, said: bytes | None = None, wrap: Sequence[str] = (), **extra: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; `said` is its standard input, nothing by default."""
        ended = subprocess.run(
            [*wrap, CLAUDETM, *arguments],
            cwd=self.here,
            env={**self.environment, **extra},
            input=said if said is not None else b"",
            capture_output=True,
            check=False,
            timeout=_PATIENCE,
        )
        out, err = (text.decode(errors="replace") for text in (ended.stdout, ended.stderr))
        return subprocess.CompletedProcess(ended.args, ended.returncode, out, err)

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """Run a command in the background; its output goes on into files in the home."""
        out = (self.home / f"out-{time.monotonic_ns()}.txt").open("w", encoding="utf-8")
        with out:
            return subprocess.Popen(
                [CLAUDETM, *arguments],
                cwd=self.here,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )

    def output(self) -> str:
        """Return what background commands have printed so far."""
        return "".join(p.read_text(encoding="utf-8") for p in sorted(self.home.glob("out-*.txt")))

    def events(self) -> list[dict[str, Any]]:
        """Return the run's events so far; a line that is being written is left out."""
        journal = self.state / "journal.jsonl"
        if not journal.exists():
            return []
        lines = journal.read_text(encoding="utf-8").split("\n")[:-1]
        return [json.loads(line) for line in lines]

    def git(self, *arguments: str) -> str:
        """Run git in the repository; return its output."""
        command = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@localhost", *arguments]
        ended = subprocess.run(
            command, cwd=self.here, env=self.environment, capture_output=True, text=True, check=True
        )
        return ended.stdout


def terminal(folder: Path, *, repository: bool = True) -> Terminal:
    """Return a terminal in a fresh folder, by default in the demo's repository."""
    person = Terminal(folder / "greet", folder / "home")
    (person.home / "tmp").mkdir(parents=True)
    person.here.mkdir()
    if repository:
        make_repository(person.here)
    return person


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """Return the first truthy value of the condition; fail when there is none for a minute."""
    until = time.monotonic() + _PATIENCE
    while not (found := condition()):
        assert time.monotonic() < until, f"{what} did not come about"
        time.sleep(0.02)
    return found


def bytes_of(*folders: Path) -> Mapping[str, bytes | str]:
    """Return every file below the folders with its bytes, every link with its target, every folder."""
    found: dict[str, bytes | str] = {}
    for folder in folders:
        for path in [folder, *sorted(folder.rglob("*"))]:
            if path.is_symlink():
                found[str(path)] = str(path.readlink())
            elif path.is_file():
                found[str(path)] = path.read_bytes()
            else:
                found[str(path)] = "folder" if path.is_dir() else "absent or special"
    return found


def left_halfway(person: Terminal) -> None:
    """Leave what a driver leaves that died in the middle of its work, made in memory."""
    world = World()
    asyncio.run(world.drive())
    state = StateDirectory(person.state)
    state.create(person.here / ".git")
    state.journal.write_bytes(b"".join(encode(r) for r in list(world.records)[:12]))
    state.lock.touch()
