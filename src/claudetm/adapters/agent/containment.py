"""How what we start is kept from outliving us: a reaper, bubblewrap below it where that works, a sweep in any case.

Under bubblewrap the home folder, /tmp and the sockets of the user's session are out of sight, and only named folders
can be written. The reaper only ends processes: without bubblewrap the agent is the user, and can read and write what
the user can. On macOS there is neither, and a process group stands in (see reaper.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import functools
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from claudetm.adapters.agent.environment import MARKER, SESSION_MARKER, TOOL_FOLDERS, account_home
from claudetm.adapters.agent.scratch import scratch
from claudetm.errors import AgentError

_REAPER: Final = Path(__file__).with_name("reaper.py")
_DEEP: Final = 3  # folders below the home folder: a tool's own place
_GRACE: Final = 1.0  # seconds between SIGTERM and SIGKILL
_SETTLING, _SETTLE_SECONDS = 1000, 0.001  # a fork and its exec are some milliseconds apart
_KEPT: Final = ("CLAUDE_CODE_ENTRYPOINT", "CLAUDE_AGENT_SDK_VERSION", "CLAUDE_CODE_SDK_READS_SESSION_STATE", "PWD")
"""What the SDK sets beside its options: let through to the CLI, and nothing else of our environment."""


class Sandbox(StrEnum):
    """The user's setting: `auto` takes bubblewrap where it works, `on` demands it, `off` goes without."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class View:
    """What a program sees of the disk under bubblewrap; without it, this is only a statement of intent.

    Everything outside the home folder and /tmp can be read. `readable` and `writable` bring back what lies below
    them; a writable folder must exist. `guarded` is what stays read-only within a writable folder.
    """

    cwd: Path
    readable: Sequence[Path] = ()
    writable: Sequence[Path] = ()
    guarded: Sequence[Path] = ()


@dataclass(frozen=True, slots=True)
class Containment:
    """One of the two constructions. `bwrap` is the path of bubblewrap, "" for the reaper alone."""

    bwrap: str = ""

    @contextlib.contextmanager
    def launcher(self, program: Sequence[str], environment: Mapping[str, str], view: View) -> Iterator[Path]:
        """Yield an executable file that starts the program, contained, with exactly this environment.

        Arguments given to the file are appended to the program's. It must be started by this process, from a thread
        that lives as long as the program (PR_SET_PDEATHSIG follows threads). The file is gone afterwards.
        """
        with scratch(environment.get(MARKER, "")) as folder:
            spec, script = Path(folder, "spec.json"), Path(folder, "launch")
            argv = [*self._mounts(view, environment), *program] if self.bwrap else list(program)
            argv[0] = shutil.which(argv[0], path=environment.get("PATH")) or argv[0]
            data = {"argv": argv, "environment": dict(environment), "driver": os.getpid()}
            spec.touch(0o600)
            spec.write_text(json.dumps(data))
            script.touch(0o700)
            script.write_text(_script(spec, environment))
            settle(script)
            yield script

    def _mounts(self, view: View, environment: Mapping[str, str]) -> list[str]:
        words = [self.bwrap, "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
        words += ["--unshare-pid", "--unshare-ipc", "--die-with-parent"]
        hidden = _hidden()
        for folder in hidden:
            words += ["--tmpfs", str(folder)]
        for socket in ("/run/docker.sock", "/run/podman/podman.sock", "/run/containerd/containerd.sock"):
            if Path(socket).exists():
                words += ["--ro-bind", "/dev/null", socket]
        for path in sorted({p.resolve() for p in (*_toolchain(environment), view.cwd, *view.readable)}):
            if any(path.is_relative_to(folder) for folder in hidden):
                words += ["--ro-bind-try", str(path), str(path)]
        for path in sorted({p.resolve() for p in view.writable}):
            words += ["--bind", str(path), str(path)]
        for path in (p for p in view.guarded if p.exists()):
            words += ["--ro-bind", str(path), str(path)]
        return [*words, "--chdir", str(view.cwd.resolve()), "--"]


def settle(script: Path) -> None:
    """Wait until nobody has the file open for writing, as it could not be executed (ETXTBSY).

    Another thread that starts a process hands the descriptor we wrote by to its child, until that has begun its own
    program. The kernel grants a read lease only where there is no writer (fcntl(2), F_SETLEASE).
    """
    if not sys.platform.startswith("linux"):
        return
    descriptor = os.open(script, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for _ in range(_SETTLING):
            try:
                fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            except BlockingIOError:
                time.sleep(_SETTLE_SECONDS)
            except OSError:
                return  # a file system without leases
            else:
                fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
                return
    finally:
        os.close(descriptor)


def choose(sandbox: Sandbox | str = Sandbox.AUTO) -> Containment:
    """Return the containment for the setting. Raises AgentError when bubblewrap is demanded and does not work."""
    match Sandbox(sandbox):
        case Sandbox.OFF:
            return Containment()
        case Sandbox.AUTO:
            return Containment(bubblewrap())
        case Sandbox.ON:
            if found := bubblewrap():
                return Containment(found)
            raise AgentError(
                "The sandbox is on, and bubblewrap (bwrap) does not work here: install it and allow unprivileged "
                "user namespaces, or set sandbox to auto."
            )


@functools.cache
def bubblewrap() -> str:
    """Return the path of bubblewrap when it works here (2 ms, asked once), else ""."""
    path = shutil.which("bwrap")
    if path is None:
        return ""
    probe = [
        path,
        "--ro-bind",
        "/",
        "/",
        "--dev",
        "/dev",
        "--proc",
        "/proc",
        "--unshare-pid",
        "--unshare-ipc",
        "true",
    ]
    done = subprocess.run(probe, capture_output=True, check=False, timeout=10)
    return path if done.returncode == 0 else ""


async def sweep(run: str = "", *, session: str = "", folders: Sequence[Path] = ()) -> int:
    """End what carries the marker of the run or session, or stands in one of the folders; return how many there were.

    Never this process or one above it; nor one with a terminal, which is a person's shell that stands in the folder.
    Linux only: elsewhere it finds nothing.
    """
    gone: set[int] = set()
    deadline = asyncio.get_running_loop().time() + _GRACE
    while left := _marked(run, session, folders):
        late = asyncio.get_running_loop().time() > deadline
        for pid in left if late else left - gone:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
        gone |= left
        await asyncio.sleep(0.01)
    return len(gone)


def _marked(run: str, session: str, folders: Sequence[Path]) -> set[int]:
    wanted = [f"{name}={value}".encode() for name, value in ((MARKER, run), (SESSION_MARKER, session)) if value]
    roots = [str(f.resolve()) for f in folders]
    spared = set(_ancestors(os.getpid()))
    return {
        pid
        for pid in (int(p.name) for p in Path("/proc").glob("[0-9]*"))
        if pid not in spared
        and (_carries(pid, wanted) or _stands_in(pid, roots))
        and _state(pid) not in ("Z", "X", "")
    }


def _carries(pid: int, wanted: Iterable[bytes]) -> bool:
    try:
        environment = Path("/proc", str(pid), "environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return any(w in environment for w in wanted)


def _stands_in(pid: int, roots: Sequence[str]) -> bool:
    if not roots:
        return False
    try:
        cwd = str(Path("/proc", str(pid), "cwd").readlink()).removesuffix(" (deleted)")
        terminal = _stat(pid)[4]
    except OSError:
        return False
    return terminal == "0" and any(cwd == r or cwd.startswith(r + "/") for r in roots)


def _ancestors(pid: int) -> Iterator[int]:
    while pid > 0:
        yield pid
        try:
            pid = int(_stat(pid)[1])
        except OSError:
            return


def _state(pid: int) -> str:
    try:
        return _stat(pid)[0]
    except OSError:
        return ""


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat after the name: state, parent, group, session, terminal and so on."""
    text = Path("/proc", str(pid), "stat").read_text(errors="replace")
    return text[text.rindex(")") + 2 :].split()


def _script(spec: Path, environment: Mapping[str, str]) -> str:
    """Clear the environment before anything of ours runs, so that no process of the agent's can read it from us."""
    kept = " ".join(f'{name}="${name}"' for name in _KEPT)
    marks = " ".join(f"{k}={shlex.quote(environment[k])}" for k in (MARKER, SESSION_MARKER) if k in environment)
    words = shlex.join([sys.executable, "-I", "-S", str(_REAPER), str(spec)])
    return f'#!/bin/sh\nexec /usr/bin/env -i {kept} {marks} {words} "$@"\n'


def _hidden() -> list[Path]:
    """Return the folders that a contained program must not see: where secrets and the user's sockets lie."""
    homes = {account_home(), Path(os.environ.get("HOME") or "/")}
    found = {p.resolve() for p in (*homes, Path("/tmp"), Path("/run/user")) if p.is_dir()}  # noqa: S108 - hidden, not used
    return sorted(found - {Path("/")})


def _toolchain(environment: Mapping[str, str]) -> list[Path]:
    """Return what programs need to run at all: our interpreter, and the tools on PATH with what is beside them."""
    found = [Path(sys.prefix), Path(sys.base_prefix)]
    hidden = _hidden()
    found += [Path(environment[name]) for name in TOOL_FOLDERS if name in environment]
    for entry in environment.get("PATH", "").split(os.pathsep):
        path = Path(entry)
        if not entry or not path.is_absolute():
            continue
        found.append(path)
        # a private tool (~/.nvm/versions/v20/bin) works only with its neighbours; ~/.local and ~/.cargo hold keys
        if path.name == "bin" and any(len(path.relative_to(h).parts) >= _DEEP for h in hidden if h in path.parents):
            found.append(path.parent)
    return found
