"""What a monitor of a Sego server is told: address, key, project, paths, times. Nothing here loads a library.

The key is shown nowhere: not in a representation, not in an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from claudetm.errors import ConfigError
from claudetm.ports.source import Mode

ADDRESS: Final = "https://sego.pm"
_AUTHORITY: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:%\\]+)(:\d+)?")
THRESHOLD: Final = 0.85
"""The AI confidence from which tasks are taken that Sego recommends."""


@dataclass(frozen=True, slots=True)
class Paths:
    """Where each thing is at the server, below its address. What stands in braces is filled in."""

    key: str = "/api/mcp/me"
    projects: str = "/api/mcp/projects"
    project: str = "/api/mcp/projects/{project}"
    auto_task: str = "/api/mcp/projects/{project}/auto-task"
    events: str = "/api/mcp/projects/{project}/events"
    tasks: str = "/api/mcp/tasks"
    task: str = "/api/mcp/tasks/{task}"
    comments: str = "/api/mcp/tasks/{task}/comments"
    progress: str = "/api/mcp/tasks/{task}/progress"
    requests: str = "/api/mcp/projects/{project}/client-requests"
    request: str = "/api/mcp/client-requests/{request}"
    analysis: str = "/api/mcp/client-requests/{request}/analysis"
    conversations: str = "/api/mcp/projects/{project}/conversations"
    conversation: str = "/api/mcp/conversations/{conversation}"
    messages: str = "/api/mcp/conversations/{conversation}/messages"


def paths_of(changed: Mapping[str, str]) -> Paths:
    """Return the paths with some of them changed. Raises ConfigError for a name or a path that cannot be one."""
    usual = {f.name: str(f.default) for f in fields(Paths)}
    for name, path in changed.items():
        if name not in usual:
            raise ConfigError(f"Sego has no path {name!r}; there are {', '.join(usual)}")
        needed = re.findall(r"\{\w*\}", usual[name])
        plain, there = re.sub(r"\{\w*\}", "", path), re.findall(r"\{\w*\}", path)
        if not re.fullmatch(r"/(?!/)[^\s?#{}]*", plain) or sorted(there) != needed:
            raise ConfigError(f"The path {name} of Sego is {path!r}; write it like {usual[name]}")
    return Paths(**changed)


@dataclass(frozen=True, slots=True)
class SegoSettings:
    """How one monitor speaks with one server. Times are seconds.

    `monitor` names this monitor at the server and stays the same over its restarts.
    """

    key: str = field(repr=False)
    address: str = ADDRESS
    project: str = ""  # "": every project that the key sees, without requests and conversations
    monitor: str = "claudetm"
    mode: Mode = Mode.SESSION
    skill: str = ""
    stream: bool = True  # server-sent events; without them the sweep finds everything
    stream_progress: bool = True
    conversation_only: bool = False
    paths: Paths = field(default_factory=Paths)
    taken: Path | None = None  # a file that tells over restarts what was moved; None: this process alone knows
    answer_timeout: float = 20.0  # for one answer
    silence: float = 45.0  # without a byte, a stream is held to be dead; the server sends one every 15 s
    pause: float = 5.0  # after the first answer that failed; doubled with each
    longest_pause: float = 300.0
    progress_every: float = 5.0

    def __post_init__(self) -> None:
        """Hold what is given to what can be meant. Raises ConfigError."""
        check_key(self.key)
        object.__setattr__(self, "address", check_address(self.address))
        if self.project in {".", ".."} or not self.project.isprintable():
            raise ConfigError("The Sego project's id holds a sign that no id has; copy it again")


def check_key(key: str) -> None:
    """Raise ConfigError for what cannot be a key. It is never repeated."""
    if not re.fullmatch(r"[!-~]+", key):
        raise ConfigError(
            "The Sego API key is empty, or holds a blank, a line break or a sign that no key has; copy it again"
        )


def check_address(address: str) -> str:
    """Return a server's address without a slash at its end. Raises ConfigError."""
    said = re.sub(r"//.*@", "//…@", address, flags=re.DOTALL)
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        host, parts = "", urlsplit("")
    authority = parts.netloc.rpartition("@")[2]
    if parts.scheme not in {"http", "https"} or not _AUTHORITY.fullmatch(authority) or re.search(r"\s", address):
        raise ConfigError(f"{said!r} is no address of a Sego server; write it like {ADDRESS}")
    if parts.username is not None or re.search(r"[?#]", address):
        raise ConfigError(f"{said!r} holds more than the address of a Sego server; write it like {ADDRESS}")
    if parts.scheme == "http" and not is_loopback(host):
        raise ConfigError(
            f"{said} would carry the API key over the network unencrypted: use https; plain http only reaches this"
            " machine (localhost)"
        )
    return address.rstrip("/")


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine, by its name alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
