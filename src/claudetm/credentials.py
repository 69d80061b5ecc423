"""Keeps forge and server credentials out of this process's environment, where the user's agent could read them.

Children inherit nothing either: the values cross one exec through a pipe and live in this module alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

SECRET_NAMES: Final = (
    "GH_TOKEN",
    "GITHUB_TOKEN",
    "GH_ENTERPRISE_TOKEN",
    "GITHUB_ENTERPRISE_TOKEN",
    "SEGO_API_KEY",
    "CLAUDETM_MONITOR_SEGO_API_KEY",
    "CLAUDETM_PASSWORD",
    "CLAUDETM_PASSWORD_HASH",
    "CLAUDETM_WEBHOOK_SECRET",
)
FORGE_NAMES: Final = SECRET_NAMES[:4]
"""Those that a worker of the monitor needs: it pushes and opens pull requests, and asks no source."""
_PIPE: Final = "CLAUDETM_CREDENTIALS_FD"
_held: dict[str, str] = {}


def withdraw() -> None:
    """Take the credentials out of the environment; executes the same command line again when there are any.

    `/proc/PID/environ` shows what a process was started with, so removing them from `os.environ` is not enough.
    """
    if pipe := os.environ.pop(_PIPE, ""):
        import json  # here, as most commands need none of it

        with suppress(OSError, ValueError), os.fdopen(int(pipe)) as stream:  # a stranger's value is no credential
            _held.update(json.load(stream))
        return
    found = {name: value for name in SECRET_NAMES if (value := os.environ.get(name))}
    if not found:
        return
    reader = _filled(found)
    environment = {k: v for k, v in os.environ.items() if k not in SECRET_NAMES}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**environment, _PIPE: str(reader)})  # noqa: S606 - the point


def _filled(found: Mapping[str, str]) -> int:
    """Return a pipe's end, for a child to inherit, that the credentials can be read from."""
    import json

    reader, writer = os.pipe()
    os.write(writer, json.dumps(found).encode())
    os.close(writer)
    os.set_inheritable(reader, True)  # noqa: FBT003 - the standard library's form
    return reader


@contextmanager
def handed_on(environment: Mapping[str, str]) -> Iterator[tuple[dict[str, str], int]]:
    """Yield what a claudetm that works for this one is started with: its environment, and a descriptor to inherit.

    It can read the forge's tokens there, and no other credential; its environment holds none.
    """
    reader = _filled({name: value for name in FORGE_NAMES if (value := _held.get(name))})
    try:
        yield {**{k: v for k, v in environment.items() if k not in SECRET_NAMES}, _PIPE: str(reader)}, reader
    finally:
        os.close(reader)


def undumpable() -> None:
    """Make this process's memory unreadable to others of the same user (Linux; no effect for root)."""
    if sys.platform != "linux":
        return
    import ctypes

    pr_set_dumpable = 4
    ctypes.CDLL(None, use_errno=True).prctl(pr_set_dumpable, 0, 0, 0, 0)


def credential(name: str) -> str:
    """Return a credential that was withdrawn, or ""."""
    return _held.get(name, "")
