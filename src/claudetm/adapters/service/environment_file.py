r"""The file that hands a service its variables: a line each, read the same by systemd and by a POSIX shell.

A value stands in double quotes, where both know a backslash before `"`, `\`, `$` and a backtick and nothing else.
It holds secrets, so it is its owner's alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from claudetm.adapters.store.directory import disk
from claudetm.errors import UsageError

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SET: Final = re.compile(r'^([A-Za-z_][A-Za-z0-9_]*)="((?:[^"\\]|\\.)*)"$', re.MULTILINE | re.DOTALL)
_ESCAPED: Final = re.compile(r'(["\\$`])')
_HEAD: Final = "# Written by `claudetm monitor service install`, removed by `… uninstall`. It holds secrets.\n"


def text(variables: Mapping[str, str]) -> str:
    """Return the file's text. Raises UsageError for what cannot be a variable."""
    return _HEAD + "".join(f"{_name(n)}={_quoted(n, v)}\n" for n, v in variables.items())


def _name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name[:80]!r} cannot name a variable; use letters, digits and underscores")
    return name


def _quoted(name: str, value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UsageError(f"The variable {name} is not UTF-8, so no service can be given it; set it anew") from None
    return '"' + _ESCAPED.sub(r"\\\1", value) + '"'


def read(path: Path) -> dict[str, str]:
    """Return the variables that a file of ours sets, none where there is no file. Raises StoreError."""
    with disk(path, "read"):
        try:
            found = path.read_bytes().decode(errors="replace")
        except FileNotFoundError:
            return {}
    return {m[1]: re.sub(r"\\(.)", r"\1", m[2], flags=re.DOTALL) for m in _SET.finditer(found)}
