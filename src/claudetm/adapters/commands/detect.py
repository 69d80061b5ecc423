"""What a repository's own files say about how it is checked and set up.

A Makefile that has a target for it speaks for the whole repository; else each language is checked by the first of
its tools that is installed here. Configured commands (`checks.commands`, `worktree.setup`) go before all of it.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache
from pathlib import PurePosixPath
from typing import Any, Final

Read = Callable[[str], str]
Installed = Callable[[str], bool]

_NPM_PLACEHOLDER: Final = "no test specified"
_TEST_FILE: Final = re.compile(r"(^|/)(test_[^/]*|[^/]*_test)\.py$")
_UNITTEST_FILE: Final = re.compile(r"(^|/)test[^/]*\.py$")
_TARGET: Final = r"^(?:[\w.-]+[ \t]+)*{0}(?:[ \t]+[\w.-]+)*[ \t]*::?(?!=)"
_REQUIREMENTS: Final = re.compile(r"requirements([-_.]?(dev|test|tests|testing))?\.txt")
_TEST_GROUPS: Final = ("test", "tests", "testing", "dev")
_VENV: Final = ".venv/bin/python"
_TOX: Final = "tox --skip-missing-interpreters true"
_NOX: Final = "nox --no-error-on-missing-interpreters"
"""Few machines have every interpreter a project supports, and with CI=1, as commands run here, nox would fail too."""
_NODE: Final = (
    ("pnpm-lock.yaml", "pnpm test", "pnpm install --frozen-lockfile"),
    ("yarn.lock", "yarn test", "yarn install --frozen-lockfile"),
    ("bun.lock", "bun run test", "bun install --frozen-lockfile"),
    ("bun.lockb", "bun run test", "bun install --frozen-lockfile"),
    ("package-lock.json", "npm test --silent", "npm ci --no-audit --no-fund"),
    ("npm-shrinkwrap.json", "npm test --silent", "npm ci --no-audit --no-fund"),
)
_PYTHON: Final = (
    ("uv.lock", "uv run --frozen", "uv sync --frozen"),
    ("poetry.lock", "poetry run", "POETRY_VIRTUALENVS_IN_PROJECT=true poetry install --no-interaction"),
    ("pdm.lock", "pdm run", "pdm sync --dev"),
    ("Pipfile.lock", "pipenv run", "PIPENV_VENV_IN_PROJECT=1 pipenv sync --dev"),
)
"""Lock file, what runs a tool under it, and what installs from it. The environment lies in the checkout: it goes
with it."""


def installed(tool: str) -> bool:
    """Return whether the shell finds a command here, or python3 a module ("python3 -m pytest").

    "python3 with pytest freezegun" asks for distributions.
    """
    program, _, wanted = tool.partition(" with ")
    if wanted:
        return _found(program) and _distributed(program, wanted)
    program, _, module = tool.partition(" -m ")
    return _found(program) and (not module or _importable(program, module))


@cache
def _found(program: str) -> bool:
    if shutil.which(program):
        return True
    # what the shell itself can do
    asked = ["/bin/sh", "-c", 'command -v -- "$1"', "sh", program]
    return subprocess.run(asked, capture_output=True, check=False, stdin=subprocess.DEVNULL).returncode == 0


@cache
def _importable(program: str, module: str) -> bool:
    """Whether commands of a run could import it: their home is private, so packages in the user's do not count."""
    return _agrees(program, f"import importlib.util as u, sys; sys.exit(u.find_spec({module!r}) is None)")


@cache
def _distributed(program: str, wanted: str) -> bool:
    return _agrees(program, f"import importlib.metadata as m; [m.distribution(n) for n in {wanted.split()!r}]")


def _agrees(program: str, code: str) -> bool:
    asked = [program, "-s", "-c", code]
    try:
        return subprocess.run(asked, capture_output=True, check=False, timeout=20, cwd="/").returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def tool(command: str) -> str:
    """Return what must be installed for a command line to begin, "" where that cannot be told."""
    try:
        words = shlex.split(command, comments=True)
    except ValueError:
        return ""
    while words and re.match(r"[A-Za-z_]\w*=", words[0]):
        words = words[1:]
    if not words or not re.fullmatch(r"[\w.+-]+", words[0]):
        return ""  # a path may come from the set-up, and the rest is the shell's
    if re.fullmatch(r"python[\d.]*", words[0]) and words[1:2] == ["-m"] and words[2:]:
        return f"{words[0]} -m {words[2].partition('.')[0]}"
    return words[0]


def lacking(command: str, has: Installed = installed) -> str:
    """Return the tool that a command begins with and that is not installed here, or ""."""
    wanted = tool(command)
    if not wanted or has(wanted):
        return ""
    program, _, module = wanted.partition(" -m ")
    return f"{module} for {program}" if module and has(program) else program


def checks(files: Collection[str], read: Read, has: Installed = installed) -> tuple[str, ...]:
    """Return the commands that check the repository; empty when nothing says how. `files` are paths from its root.

    A language none of whose tools is installed gives its first: `lacking` names what is missing then.
    """
    made = list(_make(files, read))
    if made and has("make"):
        return (made[0],)
    languages = [list(family(files, read, has)) for family in (_python, _node, _cargo, _go)]
    found = tuple(_first(commands, has) for commands in languages if commands)
    return found or tuple(made[:1])


def setup(files: Collection[str], read: Read, has: Installed = installed) -> tuple[str, ...]:
    """Return the commands that make a fresh checkout usable: from lock files, where their tool is installed."""
    found = [*_python_setup(files, read, has), *_node_setup(files, read)]
    return tuple(command for command in found if not lacking(command, has))


def _first(commands: list[str], has: Installed) -> str:
    return next((c for c in commands if not lacking(c, has)), commands[0])


def _make(files: Collection[str], read: Read) -> Iterator[str]:
    name = next((n for n in ("GNUmakefile", "makefile", "Makefile") if n in files), "")
    text = read(name) if name else ""
    for target in ("test", "check"):
        if re.search(_TARGET.format(target), text, re.MULTILINE):
            yield f"make {target}"


def _python(files: Collection[str], read: Read, has: Installed) -> Iterator[str]:
    """Yield what checks a Python project, the most telling first.

    A lock of uv goes before tox: it is what this checkout is set up from, and one interpreter is enough here.
    """
    project, settings = _toml(files, read), _ini(files, read)
    tests = [f for f in files if _TEST_FILE.search(f)]
    pytest = _uses_pytest(files, read, project, settings, tests)
    if "uv.lock" in files and pytest and has("uv"):
        yield from _pytest(files, read, has)
    if "tox.ini" in files or "tox" in _table(project, "tool") or "tox:tox" in settings:
        yield _TOX
    if "noxfile.py" in files:
        yield _NOX
    if pytest:
        yield from _pytest(files, read, has)
    elif any(_UNITTEST_FILE.search(f) for f in tests):
        yield _unittest(files, tests)


def _uses_pytest(
    files: Collection[str], read: Read, project: Mapping[str, Any], settings: Collection[str], tests: list[str]
) -> bool:
    if "pytest" in _table(project, "tool") or "tool:pytest" in settings or {"pytest.ini", ".pytest.ini"} & {*files}:
        return True
    return bool(tests) and (
        any(f.rsplit("/", 1)[-1] == "conftest.py" for f in files)
        or _names_pytest(files, read, project)
        or any(re.search(r"^\s*(import|from) pytest\b", read(f), re.MULTILINE) for f in sorted(tests)[:20])
    )


def _names_pytest(files: Collection[str], read: Read, project: Mapping[str, Any]) -> bool:
    """Whether what the project depends on holds pytest."""
    listed = (read(f) for f in files if _REQUIREMENTS.fullmatch(f))
    return bool(re.search(r"\bpytest\b", json.dumps(project, default=str))) or any(
        re.search(r"^pytest\b", text, re.MULTILINE) for text in listed
    )


def _pytest(files: Collection[str], read: Read, has: Installed) -> Iterator[str]:
    if runner := next((run for lock, run, _ in _PYTHON if lock in files), ""):
        yield f"{runner}{_uv_options(files, read)} pytest -q"
    # an installation of the project elsewhere must not be what is tested
    path = "PYTHONPATH=src " if any(re.fullmatch(r"src/[^/]+/__init__\.py|src/[^/]+\.py", f) for f in files) else ""
    yield f"{path}{_VENV if _own_venv(files, read, has) else 'python3'} -m pytest -q"


def _unittest(files: Collection[str], tests: list[str]) -> str:
    """Return a discovery that finds the tests: by itself it enters packages alone, and finding none may pass."""
    folders = {f.rpartition("/")[0] for f in tests if _UNITTEST_FILE.search(f)}
    top = PurePosixPath(os.path.commonpath(folders) if all(folders) else "")
    packages = [p for p in (top, *top.parents) if p.parts]
    if all(f"{p}/__init__.py" in files for p in packages):
        return "python3 -m unittest"
    return f"python3 -m unittest discover -s {shlex.quote(str(top))}"


def _python_setup(files: Collection[str], read: Read, has: Installed) -> Iterator[str]:
    locked = next((install for lock, _, install in _PYTHON if lock in files), "")
    if locked and not lacking(locked, has):
        yield locked + _uv_options(files, read)
    elif wanted := _own_venv(files, read, has):
        # a folder that git would call a leftover hides itself
        installs = (f"{_VENV} -m pip install --quiet --disable-pip-version-check {w}" for w in wanted)
        yield " && ".join(("python3 -m venv .venv && echo '*' > .venv/.gitignore", *installs))


def _own_venv(files: Collection[str], read: Read, has: Installed) -> tuple[str, ...]:
    """Return what pip installs, one call each, into an environment of each checkout; () where there is none.

    Requirements files go before what the project's own file names. Where python3 here has pytest, or all that is
    named, its environment is the one that is meant.
    """
    if listed := sorted(f for f in files if _REQUIREMENTS.fullmatch(f)):
        wanted = any(re.search(r"^pytest\b", read(f), re.MULTILINE) for f in listed)
        return (" ".join(f"-r {f}" for f in listed),) if wanted and not has("python3 -m pytest") else ()
    return _named_tests(files, read, has)


def _named_tests(files: Collection[str], read: Read, has: Installed) -> tuple[str, ...]:
    """Return what pip installs for an extra or a dependency group, by its usual names, that holds pytest."""
    project = _toml(files, read)
    own = "-e ." if "project" in project or "setup.py" in files else ""
    if own and not _leaves_no_trace(files, read, project):
        return ()
    extras, groups = _extras(project), _table(project, "dependency-groups")
    needed = _table(project, "project").get("dependencies")
    needed = needed if isinstance(needed, list) else []
    if own and (extra := _holding_pytest(extras)):
        return () if _all_there([*needed, *extras[extra]], has) else (f"-e '.[{extra}]'",)
    if (group := _holding_pytest(groups)) and not _all_there([*needed, *groups[group]], has):
        return ("'pip>=25.1'", f"{own} --group {group}".lstrip())  # older ones know no groups
    return ()


def _all_there(requirements: list[Any], has: Installed) -> bool:
    """Whether python3 here has what is listed; what a marker limits, or another group includes, does not count."""
    plain = [r for r in requirements if isinstance(r, str) and ";" not in r]
    names = [found[0] for r in plain if (found := re.match(r"[A-Za-z0-9][\w.-]*", r))]
    return has(f"python3 with {' '.join(names)}")


def _leaves_no_trace(files: Collection[str], read: Read, project: Mapping[str, Any]) -> bool:
    """Whether an installation writes nothing into the checkout that git would call a leftover: setuptools does."""
    backend = _table(project, "build-system").get("build-backend", "setuptools")
    return not str(backend).startswith("setuptools") or (
        ".gitignore" in files and bool(re.search(r"\.egg-info\b|\*\.egg", read(".gitignore")))
    )


def _extras(project: Mapping[str, Any]) -> Mapping[str, Any]:
    return _table(_table(project, "project"), "optional-dependencies")


def _holding_pytest(groups: Mapping[str, Any]) -> str:
    """Return the first of the usual names under which pytest is listed, or ""."""
    listed = {name: groups[name] for name in _TEST_GROUPS if isinstance(groups.get(name), list)}
    return next((n for n, wanted in listed.items() if any(re.match(r"pytest\b(?!-)", str(w)) for w in wanted)), "")


def _uv_options(files: Collection[str], read: Read) -> str:
    """Return what makes uv install pytest, too, where it is in no group that uv installs by itself."""
    if "uv.lock" not in files:
        return ""
    project = _toml(files, read)
    groups = _table(project, "dependency-groups")
    default = _table(_table(project, "tool"), "uv").get("default-groups", ["dev"])
    installed_anyway = groups if default == "all" else {n: groups[n] for n in default if n in groups}
    if re.search(r"\bpytest\b", json.dumps([*installed_anyway.values()])):
        return ""
    if group := _holding_pytest(groups):
        return f" --group {group}"
    return f" --extra {extra}" if (extra := _holding_pytest(_extras(project))) else ""


def _node(files: Collection[str], read: Read, _has: Installed) -> Iterator[str]:
    scripts = _table(_package(files, read), "scripts")
    test = scripts.get("test")
    if isinstance(test, str) and test.strip() and _NPM_PLACEHOLDER not in test:
        yield next((run for lock, run, _ in _NODE if lock in files), "npm test --silent")


def _node_setup(files: Collection[str], read: Read) -> Iterator[str]:
    if locked := next((install for lock, _, install in _NODE if lock in files), ""):
        yield locked
    elif {"dependencies", "devDependencies"} & {*_package(files, read)}:
        yield "npm install --no-package-lock --no-audit --no-fund"


def _cargo(files: Collection[str], _read: Read, _has: Installed) -> Iterator[str]:
    if "Cargo.toml" in files:
        yield "cargo test --locked" if "Cargo.lock" in files else "cargo test"


def _go(files: Collection[str], _read: Read, _has: Installed) -> Iterator[str]:
    if "go.mod" in files:
        yield "go test ./..."


def _table(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = data.get(name)
    return found if isinstance(found, dict) else {}


def _package(files: Collection[str], read: Read) -> Mapping[str, Any]:
    try:
        found = json.loads(read("package.json")) if "package.json" in files else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _toml(files: Collection[str], read: Read) -> Mapping[str, Any]:
    try:
        return tomllib.loads(read("pyproject.toml")) if "pyproject.toml" in files else {}
    except tomllib.TOMLDecodeError:
        return {}


def _ini(files: Collection[str], read: Read) -> Collection[str]:
    """Return the names of setup.cfg's sections."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(read("setup.cfg") if "setup.cfg" in files else "")
    except configparser.Error:
        return ()
    return parser.sections()
