"""Changes lines of `.env`: those of the names that are given, and no other byte.

What was written is read again as the monitor reads it before it replaces the file, so it says what it should or
nothing has changed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from claudetm.adapters.store.directory import write_atomically
from claudetm.bootstrap.dotenv import ENTRY, FILE, entries, parse, read
from claudetm.bootstrap.monitor_places import repository_around
from claudetm.errors import UsageError

_BOM: Final = b"\xef\xbb\xbf"
_PLAIN: Final = re.compile(r"[A-Za-z0-9_./:@%+,~-]*")


def write(folder: Path, values: Mapping[str, str]) -> bool:
    """Let the folder's `.env` say these values, 0600, in one step; return whether that changed anything.

    Git is told to pass the file by. Raises UsageError where git tracks it, ConfigError where it cannot be read.
    """
    path = folder / FILE
    refuse_tracked(folder)
    found = read(folder)
    target = path.resolve()  # a link stays one
    old = target.read_bytes() if target.exists() else b""
    new = edited(old, values)
    said = parse(new.decode("utf-8-sig", "replace"))
    if lost := [name for name, value in values.items() if said.get(name, "") != value]:
        raise UsageError(f"{path} says {lost[0]} in a way that cannot be changed safely; set it there by hand")
    _pass_by(folder)
    if new == old and target.exists() and not found.open_to_others:
        return False
    write_atomically(target, new)
    return True


def refuse_tracked(folder: Path) -> None:
    """Raise UsageError where git tracks the folder's `.env`: a key in it would be committed."""
    from claudetm.adapters.git.user_repository import tracks

    root = repository_around(folder)
    if root is not None and tracks(root.resolve(), folder.resolve() / FILE):
        raise UsageError(
            f"git tracks {folder / FILE}, so a key in it would be committed: `git rm --cached {FILE}`, then call the "
            "same again"
        )


def _pass_by(folder: Path) -> None:
    from claudetm.adapters.git.user_repository import ignores, locate
    from claudetm.adapters.store.directory import exclude

    if (root := repository_around(folder)) is None or ignores(root, folder / FILE):
        return
    below = (folder / FILE).resolve().parent if not (folder / FILE).is_symlink() else folder.resolve()
    inside = (below / FILE).relative_to(root.resolve()).as_posix()
    exclude(locate(root)[1], "/" + re.sub(r"([\\*?\[\]])", r"\\\1", inside))


def edited(content: bytes, values: Mapping[str, str]) -> bytes:
    """Return the file with each name's lines saying its value: in place where there are some, else at the end."""
    head, body = (_BOM, content[len(_BOM) :]) if content.startswith(_BOM) else (b"", content)
    end = b"\r\n" if b"\r\n" in body else b"\n"
    left, lines = dict(values), [head]
    for name, line in entries(body):
        lines.append(_changed(name, line, values) if name in values else line)
        left.pop(name, None)
    text = b"".join(lines)
    for name, value in left.items():
        begun = text == head or text.endswith((b"\n", b"\r"))
        # a file that ends without a line's end goes on doing so
        text += _said(name, value) + end if begun else end + _said(name, value)
    return text


def _changed(name: str, line: bytes, values: Mapping[str, str]) -> bytes:
    """Return a line of ours as it should be; as it is where it says that already, whatever its spelling."""
    if parse(line.decode("utf-8", "replace")).get(name, "") == values[name]:
        return line
    lead = m["lead"] if (m := ENTRY.match(line)) else b""
    return lead + _said(name, values[name]) + line[len(line.rstrip(b"\r\n")) :]


def _said(name: str, value: str) -> bytes:
    """Return a line that every reader of such files reads the same. Raises UsageError for what no line can hold."""
    if not value.isprintable() or value != value.strip():
        raise UsageError(f"{name} cannot be written to {FILE}: it holds a line break or blanks around it")
    if _PLAIN.fullmatch(value):
        quoted = value
    elif "'" not in value:
        quoted = f"'{value}'"
    else:
        quoted = '"' + re.sub(r'([\\"$`])', r"\\\1", value) + '"'
    return f"{name}={quoted}".encode(errors="surrogateescape")


def environment_of(folder: Path) -> Mapping[str, str]:
    """Return what the folder's `.env` says now, no names but ours. Raises ConfigError."""
    return read(folder).values if os.path.lexists(folder / FILE) else {}
