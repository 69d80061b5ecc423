"""What `.env` says to the monitor: nine names, and nothing else of it. None of it reaches any environment.

The file is read as shells and their like read theirs: quotes, `export`, comments, a byte order mark, CRLF.
"""

from __future__ import annotations

import codecs
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from claudetm.errors import ConfigError

FILE: Final = ".env"
KEY: Final = "SEGO_API_KEY"
NAMES: Final = (
    KEY,
    "SEGO_API_URL",
    "SEGO_PROJECT_ID",
    "SEGO_WORKING_DIR",
    "USE_CLI_MODE",
    "STREAM_PROGRESS",
    "CONVERSATION_ONLY",
    "AUTO_COMMIT",
    "AUTO_PUSH",
)
"""What is read of it, and as bare variables of the environment by `claudetm monitor` alone."""

_LARGEST: Final = 64 << 10  # bytes
_LINE: Final = re.compile(r"\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*)")
_NAMED: Final = re.compile(r"\s*(?:export\s+)?([A-Za-z_]\w*)\b\s*\S")
_QUOTED: Final = re.compile(r"""'([^']*)'|"((?:[^"\\]|\\.)*)\"""")


@dataclass(frozen=True, slots=True)
class Dotenv:
    """The file's values by name, blank ones left out; `open_to_others` says that its mode lets others read it."""

    path: Path
    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    open_to_others: bool = False


def read(folder: Path) -> Dotenv:
    """Return what the folder's `.env` says. Raises ConfigError for one that cannot be read."""
    path = folder / FILE
    try:
        content, mode = _content(path)
    except FileNotFoundError:
        return Dotenv(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ConfigError(f"{path} is written in UTF-16; save it in UTF-8.")
    text = content.decode("utf-8-sig", "replace")
    _refuse_unclear(path, text)
    return Dotenv(path, parse(text), bool(mode & 0o077))


ENTRY: Final = re.compile(rb"(?P<lead>\s*(?:export\s+)?)(?P<name>[A-Za-z_]\w*)\s*=[ \t]*")
_WHOLE: Final = re.compile(rb"""'[^']*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)


def entries(body: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield each line with the name that it sets, or ""; a quoted value may go over several."""
    at = 0
    while at < len(body):
        end = _line_end(body, at)
        found = ENTRY.match(body, at, end)
        if found and (quoted := _WHOLE.match(body, found.end())) and quoted.end() > end:
            end = _line_end(body, quoted.end())
        yield found["name"].decode() if found else "", body[at:end]
        at = end


def _line_end(body: bytes, at: int) -> int:
    """Return where the line around `at` ends, its own end included."""
    ended = re.compile(rb"\r\n|\r|\n").search(body, at)
    return ended.end() if ended else len(body)


def parse(text: str) -> dict[str, str]:
    """Return the values of our names; the last of several counts."""
    lines = (line.decode(errors="surrogateescape") for _, line in entries(text.encode(errors="surrogateescape")))
    found = (_LINE.fullmatch(line.rstrip("\r\n")) for line in lines)
    values = {f[1]: _value(f[2]) for f in found if f and f[1] in NAMES}
    return {name: value for name, value in values.items() if value}


def _refuse_unclear(path: Path, text: str) -> None:
    """Refuse a line that names one of ours and cannot be meant: were it passed over, a key would just be missing."""
    for number, line in enumerate(text.splitlines(), 1):
        name = found[1] if (found := _NAMED.match(line)) else ""
        if name not in NAMES:
            continue
        if (said := _LINE.fullmatch(line)) is None:
            raise ConfigError(f"{path}:{number}: {name} has no = behind it; write {name}=value.")
        if said[2].startswith(("'", '"')) and not _QUOTED.match(said[2]):
            raise ConfigError(f"{path}:{number}: {name} begins with a quote that does not end; close it.")


def _value(text: str) -> str:
    """Return a value without its quotes, or without the comment behind it."""
    if quoted := _QUOTED.match(text):
        inner = quoted[1] if quoted[1] is not None else re.sub(r"\\(.)", r"\1", quoted[2])
        return inner.strip()
    return re.sub(r"(^|\s+)#.*", "", text).strip()


def _content(path: Path) -> tuple[bytes, int]:
    """Return a regular file's bytes and mode: a pipe would be waited for, and a device never ends."""
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as handle:
        mode = os.fstat(handle.fileno()).st_mode
        if not stat.S_ISREG(mode):
            raise ConfigError(f"{path} is not a regular file; move it away.")
        content = handle.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise ConfigError(f"{path} is larger than {_LARGEST >> 10} KiB; move it away.")
    return content, mode
