"""What a repository's own files say about how it is checked and set up. The first tool that claims it wins.

Configured commands (`checks.commands`, `worktree.setup`) always go before what is found here.
"""

from __future__ import annotations

import configparser
import json
import re
import shutil
import tomllib
from collections.abc import Callable, Collection
from typing import Final

Read = Callable[[str], str]

_NPM_PLACEHOLDER: Final = "no test specified"
_SETUP: Final = (
    ("uv.lock", "uv", "uv sync --frozen"),
    ("poetry.lock", "poetry", "poetry install --no-interaction"),
    ("package-lock.json", "npm", "npm ci --no-audit --no-fund"),
    ("pnpm-lock.yaml", "pnpm", "pnpm install --frozen-lockfile"),
    ("yarn.lock", "yarn", "yarn install --frozen-lockfile"),
)


def checks(files: Collection[str], read: Read) -> tuple[str, ...]:
    """Return the commands that check the repository; empty when nothing says how. `files` are paths from its root."""
    for found in (_make, _tox, _nox, _python, _node, _cargo, _go):
        if command := found(files, read):
            return (command,)
    return ()


def setup(files: Collection[str]) -> tuple[str, ...]:
    """Return the commands that make a fresh checkout usable: from lock files, where their tool is installed."""
    return tuple(command for lock, tool, command in _SETUP if lock in files and shutil.which(tool))


def _make(files: Collection[str], read: Read) -> str:
    for name in ("GNUmakefile", "makefile", "Makefile"):
        if name in files:
            text = read(name)
            for target in ("test", "check"):
                if re.search(rf"^{target}\s*:(?!=)", text, re.MULTILINE):
                    return f"make {target}"
    return ""


def _tox(files: Collection[str], _read: Read) -> str:
    return "tox" if "tox.ini" in files else ""


def _nox(files: Collection[str], _read: Read) -> str:
    return "nox" if "noxfile.py" in files else ""


def _python(files: Collection[str], read: Read) -> str:
    tests = [f for f in files if re.search(r"(^|/)test_[^/]*\.py$|_test\.py$", f)]
    if not tests:
        return ""
    if _mentions_pytest(files, read) or any("import pytest" in read(f) for f in tests[:20]):
        return "python3 -m pytest -q"
    return "python3 -m unittest"


def _mentions_pytest(files: Collection[str], read: Read) -> bool:
    if "pytest.ini" in files or any(f.rsplit("/", 1)[-1] == "conftest.py" for f in files):
        return True
    if "pyproject.toml" in files:
        try:
            return "pytest" in tomllib.loads(read("pyproject.toml")).get("tool", {})
        except tomllib.TOMLDecodeError:
            return False
    if "setup.cfg" in files:
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        try:
            parser.read_string(read("setup.cfg"))
        except configparser.Error:
            return False
        return parser.has_section("tool:pytest")
    return False


def _node(files: Collection[str], read: Read) -> str:
    if "package.json" not in files:
        return ""
    try:
        script = json.loads(read("package.json")).get("scripts", {}).get("test", "")
    except (ValueError, AttributeError):
        return ""
    return "npm test --silent" if script and _NPM_PLACEHOLDER not in script else ""


def _cargo(files: Collection[str], _read: Read) -> str:
    return "cargo test" if "Cargo.toml" in files else ""


def _go(files: Collection[str], _read: Read) -> str:
    return "go test ./..." if "go.mod" in files else ""
