from __future__ import annotations

from collections.abc import Callable

import pytest

from claudetm.adapters.commands.detect import checks, installed, lacking, setup, tool

TEST_FILE = "import unittest\n"
PYTEST = {"pyproject.toml": "[tool.pytest.ini_options]\n", "tests/test_a.py": ""}
NODE = {"package.json": '{"scripts": {"test": "vitest run"}, "devDependencies": {"vitest": "1"}}'}
TOX = "tox --skip-missing-interpreters true"
REQUIRED = {"requirements.txt": "flask\n", "requirements-dev.txt": "pytest==8\n", "tests/test_a.py": ""}


def everything(_tool: str) -> bool:
    return True


def without(*tools: str) -> Callable[[str], bool]:
    return lambda wanted: wanted not in tools


@pytest.mark.parametrize(
    ("files", "command"),
    [
        ({"Makefile": "test: build\n\tpytest\n", "pyproject.toml": ""}, "make test"),
        ({"Makefile": "lint test:\n\ttrue\n"}, "make test"),
        ({"Makefile": "check:\n\ttrue\n"}, "make check"),
        ({"Makefile": "check: lint test\n\ntest::\n\ttrue\n"}, "make test"),
        ({"GNUmakefile": "test:\n", "Makefile": "check:\n"}, "make test"),
        ({"Makefile": "test := 1\n", "go.mod": ""}, "go test ./..."),
        ({"tox.ini": "", "tests/test_a.py": ""}, TOX),
        ({"pyproject.toml": "[tool.tox]\nenv_list = []\n"}, TOX),
        ({"setup.cfg": "[tox:tox]\n"}, TOX),
        ({"noxfile.py": ""}, "nox --no-error-on-missing-interpreters"),
        (PYTEST, "python3 -m pytest -q"),
        ({**PYTEST, "uv.lock": ""}, "uv run --frozen pytest -q"),
        ({**PYTEST, "poetry.lock": ""}, "poetry run pytest -q"),
        ({**PYTEST, "src/app/__init__.py": ""}, "PYTHONPATH=src python3 -m pytest -q"),
        ({"pytest.ini": "", "test_a.py": ""}, "python3 -m pytest -q"),
        ({"setup.cfg": "[tool:pytest]\n", "test_a.py": TEST_FILE}, "python3 -m pytest -q"),
        ({"tests/conftest.py": "", "tests/test_a.py": TEST_FILE}, "python3 -m pytest -q"),
        ({"tests/test_a.py": "import pytest\n"}, "python3 -m pytest -q"),
        ({"tests/a_test.py": "from pytest import mark\n"}, "python3 -m pytest -q"),
        (REQUIRED, "python3 -m pytest -q"),
        (
            {"pyproject.toml": '[dependency-groups]\ndev = ["pytest>=8"]\n', "tests/test_a.py": TEST_FILE},
            "python3 -m pytest -q",
        ),
        ({"test_a.py": TEST_FILE}, "python3 -m unittest"),
        ({"tests/__init__.py": "", "tests/test_a.py": TEST_FILE}, "python3 -m unittest"),
        ({"tests/test_a.py": TEST_FILE}, "python3 -m unittest discover -s tests"),
        (
            {"a/__init__.py": "", "a/b/__init__.py": "", "a/b/test_a.py": "", "a/test_b.py": ""},
            "python3 -m unittest",
        ),
        (NODE, "npm test --silent"),
        ({**NODE, "pnpm-lock.yaml": ""}, "pnpm test"),
        ({**NODE, "yarn.lock": ""}, "yarn test"),
        ({"Cargo.toml": ""}, "cargo test"),
        ({"Cargo.toml": "", "Cargo.lock": ""}, "cargo test --locked"),
    ],
)
def test_the_repositorys_own_files_say_how_it_is_checked(files: dict[str, str], command: str) -> None:
    assert checks(files, files.__getitem__, everything) == (command,)


@pytest.mark.parametrize(
    "files",
    [
        {"README.md": ""},
        {"package.json": '{"scripts": {"test": "echo \\"Error: no test specified\\" && exit 1"}}'},
        {"package.json": '{"scripts": {"test": ""}}'},
        {"package.json": "not json"},
        {"package.json": '["a list"]'},
        {"pyproject.toml": "not toml ["},
        {"setup.cfg": "no section\n"},
        {"Makefile": "build:\n\ttrue\n"},
        {"Makefile": "contest:\n\ttrue\n"},
    ],
)
def test_nothing_is_guessed(files: dict[str, str]) -> None:
    assert checks(files, files.__getitem__, everything) == ()


def test_each_language_is_checked_once() -> None:
    files = {**PYTEST, **NODE, "tox.ini": "", "noxfile.py": "", "go.mod": ""}
    assert checks(files, files.__getitem__, everything) == (TOX, "npm test --silent", "go test ./...")


def test_a_tool_that_is_not_installed_gives_way_to_the_next_of_its_language() -> None:
    files = {**PYTEST, "tox.ini": "", "Makefile": "test:\n\ttox\n"}
    assert checks(files, files.__getitem__, without("make")) == (TOX,)
    assert checks(files, files.__getitem__, without("make", "tox")) == ("python3 -m pytest -q",)
    locked = {**PYTEST, "uv.lock": ""}
    assert checks(locked, locked.__getitem__, without("uv")) == ("python3 -m pytest -q",)
    # never is another language's check taken for it
    assert checks({**files, **NODE}, {**files, **NODE}.__getitem__, without("make", "npm")) == (
        TOX,
        "npm test --silent",
    )


def test_what_is_not_installed_is_named() -> None:
    assert lacking("npm test --silent", without("npm")) == "npm"
    assert lacking("CI=1 tox -e py", without("tox")) == "tox"
    assert lacking("PYTHONPATH=src python3 -m pytest -q", without("python3 -m pytest")) == "pytest for python3"
    assert lacking("python3 -m pytest", without("python3 -m pytest", "python3")) == "python3"
    assert lacking("make test", everything) == ""


@pytest.mark.parametrize(
    "command", [".venv/bin/pytest", "./run tests", "(cd a && make)", "! grep x y", "unclosed 'quote", "", "# nothing"]
)
def test_where_it_cannot_be_told_nothing_is_said_to_be_missing(command: str) -> None:
    assert tool(command) == ""


def test_this_machine_is_asked() -> None:
    assert installed("sh")
    assert installed("export")  # the shell's own
    assert installed("python3 -m json")
    assert not installed("no-such-tool-anywhere")
    assert not installed("python3 -m no_such_module_anywhere")
    assert not installed("python3 with no-such-distribution-anywhere")
    assert not installed("no-such-tool-anywhere with pytest")


@pytest.mark.parametrize(
    ("files", "commands"),
    [
        ({"README.md": ""}, ()),
        ({"uv.lock": "", "pyproject.toml": ""}, ("uv sync --frozen",)),
        ({"poetry.lock": ""}, ("POETRY_VIRTUALENVS_IN_PROJECT=true poetry install --no-interaction",)),
        ({**NODE, "package-lock.json": ""}, ("npm ci --no-audit --no-fund",)),
        ({**NODE, "pnpm-lock.yaml": "", "package-lock.json": ""}, ("pnpm install --frozen-lockfile",)),
        ({**NODE, "yarn.lock": ""}, ("yarn install --frozen-lockfile",)),
        (NODE, ("npm install --no-package-lock --no-audit --no-fund",)),
        ({**NODE, "yarn.lock": "", "uv.lock": ""}, ("uv sync --frozen", "yarn install --frozen-lockfile")),
        (REQUIRED, ()),  # the python3 of this machine has pytest: its environment is the one that is meant
    ],
)
def test_lock_files_say_how_a_checkout_is_set_up(files: dict[str, str], commands: tuple[str, ...]) -> None:
    assert setup(files, files.__getitem__, everything) == commands


def test_what_is_not_installed_sets_nothing_up() -> None:
    files = {"uv.lock": "", "package-lock.json": "", **NODE}
    assert setup(files, files.__getitem__, without("uv")) == ("npm ci --no-audit --no-fund",)


def test_requirements_become_an_environment_of_the_checkout_where_python_has_no_pytest() -> None:
    bare = without("python3 -m pytest")
    (command,) = setup(REQUIRED, REQUIRED.__getitem__, bare)
    assert command.startswith("python3 -m venv .venv")
    assert command.endswith("-r requirements-dev.txt -r requirements.txt")
    assert checks(REQUIRED, REQUIRED.__getitem__, bare) == (".venv/bin/python -m pytest -q",)


EXTRA = """
[build-system]
build-backend = "hatchling.build"
[project]
name = "app"
optional-dependencies.docs = ["sphinx"]
optional-dependencies.tests = ["freezegun", "pytest>=9", "pytest-cov"]
"""
GROUP = """
[project]
name = "app"
[dependency-groups]
docs = ["pytest"]
dev = ["ruff", "pytest>=8", {include-group = "docs"}]
"""


def bare(tool: str) -> bool:
    """Have a python3 with pytest, and with nothing else that tests may need."""
    return not tool.startswith("python3 with ")


INSTALL = ".venv/bin/python -m pip install --quiet --disable-pip-version-check"


@pytest.mark.parametrize(
    ("files", "installs"),
    [
        ({"pyproject.toml": EXTRA}, f"{INSTALL} -e '.[tests]'"),
        (
            {"pyproject.toml": GROUP, ".gitignore": "*.egg-info/\n"},
            f"{INSTALL} 'pip>=25.1' && {INSTALL} -e . --group dev",
        ),
        (
            {"pyproject.toml": '[dependency-groups]\ntest = ["pytest"]\n'},
            f"{INSTALL} 'pip>=25.1' && {INSTALL} --group test",
        ),
    ],
)
def test_an_extra_or_a_group_for_tests_becomes_an_environment_of_the_checkout(
    files: dict[str, str], installs: str
) -> None:
    files = {**files, "tests/test_a.py": ""}
    made = "python3 -m venv .venv && echo '*' > .venv/.gitignore"
    assert setup(files, files.__getitem__, bare) == (f"{made} && {installs}",)
    assert checks(files, files.__getitem__, bare) == (".venv/bin/python -m pytest -q",)
    assert setup(files, files.__getitem__, everything) == ()


def test_a_lock_whose_tool_is_not_installed_leaves_it_to_the_extra() -> None:
    files = {"pyproject.toml": EXTRA, "uv.lock": "", "tests/test_a.py": ""}
    (command,) = setup(files, files.__getitem__, lambda tool: bare(tool) and tool != "uv")
    assert command.endswith("-e '.[tests]'")
    assert checks(files, files.__getitem__, lambda tool: bare(tool) and tool != "uv")[0].startswith(".venv/")
    assert setup(files, files.__getitem__, bare) == ("uv sync --frozen --extra tests",)
    assert checks(files, files.__getitem__, bare) == ("uv run --frozen --extra tests pytest -q",)


def test_all_that_the_project_and_its_tests_name_is_asked_for_at_once() -> None:
    project = EXTRA.replace(
        'name = "app"', 'name = "app"\ndependencies = ["rich>=13", "tomli; python_version<\'3.11\'"]'
    )
    asked: list[str] = []
    files = {"pyproject.toml": project, "tests/test_a.py": ""}

    def has(tool: str) -> bool:
        asked.append(tool)
        return True

    assert setup(files, files.__getitem__, has) == ()
    assert asked == ["python3 with rich freezegun pytest pytest-cov"]


@pytest.mark.parametrize(
    "files",
    [
        {"pyproject.toml": GROUP},  # setuptools would leave app.egg-info in the checkout
        {"pyproject.toml": EXTRA.replace('"pytest>=9", ', "")},  # pytest-cov is not pytest
        {"pyproject.toml": EXTRA.replace("tests =", "bench =")},
        {"pyproject.toml": EXTRA, "requirements.txt": "flask\n"},
        {"pyproject.toml": '[project]\noptional-dependencies.tests = "pytest"\n'},
    ],
)
def test_what_does_not_say_for_sure_what_the_tests_need_sets_nothing_up(files: dict[str, str]) -> None:
    files = {**files, "tests/test_a.py": "import pytest"}
    assert setup(files, files.__getitem__, bare) == ()
    assert checks(files, files.__getitem__, bare) == ("python3 -m pytest -q",)


def test_a_lock_of_uv_goes_before_tox_where_uv_is_installed() -> None:
    files = {**PYTEST, "uv.lock": "", "tox.ini": "", "noxfile.py": ""}
    assert checks(files, files.__getitem__, everything) == ("uv run --frozen pytest -q",)
    assert checks(files, files.__getitem__, without("uv")) == (TOX,)
    unsaid = {"uv.lock": "", "tox.ini": "", "test_a.py": TEST_FILE}  # not pytest's: what tox does is known to tox
    assert checks(unsaid, unsaid.__getitem__, everything) == (TOX,)


@pytest.mark.parametrize(
    ("project", "options"),
    [
        ('[dependency-groups]\ndev = ["pytest"]\ntests = ["pytest"]', ""),
        ('[dependency-groups]\ntests = ["pytest"]', " --group tests"),
        ('[tool.uv]\ndefault-groups = ["tests"]\n[dependency-groups]\ntests = ["pytest"]', ""),
        ('[tool.uv]\ndefault-groups = "all"\n[dependency-groups]\ntests = ["pytest"]', ""),
        (EXTRA, " --extra tests"),
    ],
)
def test_uv_is_asked_for_the_group_that_holds_pytest(project: str, options: str) -> None:
    files = {"pyproject.toml": project, "uv.lock": "", "tests/test_a.py": "import pytest"}
    assert checks(files, files.__getitem__, everything) == (f"uv run --frozen{options} pytest -q",)
    assert setup(files, files.__getitem__, everything) == (f"uv sync --frozen{options}",)
