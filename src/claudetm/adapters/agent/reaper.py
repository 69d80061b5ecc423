"""Starts one program so that nothing it starts outlives it, or whoever asked for it. Run as a script of its own.

    python -I -S reaper.py SPEC [ARGUMENT …]

SPEC is a JSON file, removed once read: `argv` (the program, which may be bubblewrap; the arguments follow it),
`environment` (whole: of ours only what the wrapper let through is kept) and `driver` (the asking process). We adopt
every orphan below us (PR_SET_CHILD_SUBREAPER), end when our parent does (PR_SET_PDEATHSIG, which follows the parent's
thread), and when the program ends, kill what is left and wait until it is gone. macOS has neither: there the program
leads a process group, its parent is looked at five times a second, and what changes its group escapes. Imports the
standard library alone, with no site-packages.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

_SET_PDEATHSIG, _SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
_LINUX = sys.platform == "linux"


def main() -> NoReturn:
    """Start what the specification names; leave with its exit code, or 128 and its signal."""
    file = Path(sys.argv[1])
    spec = json.loads(file.read_bytes())
    file.unlink()  # it may hold the model's credential
    argv = [*spec["argv"], *sys.argv[2:]]
    with contextlib.suppress(PermissionError):  # a leader already
        os.setsid()  # Ctrl+C at the terminal is the driver's to handle, and no terminal is the agent's to type into
    sys.exit(_supervise(argv, {**os.environ, **spec["environment"]}, spec["driver"]))


def _supervise(argv: list[str], environment: dict[str, str], driver: int) -> int:
    if _LINUX:
        _prctl(_SET_CHILD_SUBREAPER, 1)
        _prctl(_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != driver:  # it died before we asked to be told
        return 128 + signal.SIGTERM
    ending = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
    signal.pthread_sigmask(signal.SIG_BLOCK, ending)
    child = os.fork()
    if child == 0:
        _become(argv, environment)
    for number in ending:
        signal.signal(number, lambda got, _frame: _end(child, 128 + got))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ending)
    os.close(0)  # only the program holds the pipes: their end is its end
    os.close(1)
    code = _wait(child, driver)
    _kill_all(child)
    return code


def _become(argv: list[str], environment: dict[str, str]) -> NoReturn:
    try:
        if _LINUX:
            _prctl(_SET_PDEATHSIG, signal.SIGKILL)
        else:
            os.setpgid(0, 0)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        os.execve(argv[0], argv, environment)  # noqa: S606 - the point of this program
    except OSError as error:
        os.write(2, f"{argv[0]}: {error.strerror}\n".encode())
        os._exit(127)


def _wait(child: int, driver: int) -> int:
    """Wait for the child, burying orphans on the way; return its exit code."""
    while True:
        pid, status = os.waitpid(-1, 0 if _LINUX else os.WNOHANG)
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
        if pid == 0:
            if os.getppid() != driver:
                _end(child, 128 + signal.SIGTERM)
            time.sleep(0.2)


def _end(child: int, code: int) -> NoReturn:
    _kill_all(child)
    os._exit(code)


def _kill_all(child: int) -> None:
    """Kill everything below us until nothing is left. Orphans come to us, so the loop ends with the last."""
    with contextlib.suppress(ChildProcessError):
        while True:
            _kill_round(child)
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
            time.sleep(0.001)


def _kill_round(child: int) -> None:
    if not _LINUX:
        _kill(-child)
        return
    below = {os.getpid()}
    parents = {int(p.name): _parent(p) for p in Path("/proc").glob("[0-9]*")}
    while found := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= found
    for pid in below - {os.getpid()}:
        _kill(pid)


def _parent(process: Path) -> int:
    try:
        stat = (process / "stat").read_bytes()
    except OSError:
        return 0
    return int(stat[stat.rindex(b")") + 2 :].split()[1])


def _kill(pid: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    import ctypes

    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    main()
