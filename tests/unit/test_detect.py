from __future__ import annotations

import pytest

from claudetm.adapters.commands.detect import checks

TEST_FILE = "import unittest\n"


@pytest.mark.parametrize(
    ("files", "command"),
    [
        ({"Makefile": "test: build\n\tpytest\n", "pyproject.toml": ""}, "make test"),
        ({"Makefile": "check:\n\ttrue\n"}, "make check"),
        ({"Makefile": "test := 1\n", "go.mod": ""}, "go test ./..."),
        ({"tox.ini": "", "tests/test_a.py": ""}, "tox"),
        ({"noxfile.py": ""}, "nox"),
        ({"pyproject.toml": "[tool.pytest.ini_options]\n", "tests/test_a.py": TEST_FILE}, "python3 -m pytest -q"),
        ({"setup.cfg": "[tool:pytest]\n", "test_a.py": TEST_FILE}, "python3 -m pytest -q"),
        ({"tests/conftest.py": "", "tests/test_a.py": TEST_FILE}, "python3 -m pytest -q"),
        ({"tests/test_a.py": "import pytest\n"}, "python3 -m pytest -q"),
        ({"tests/test_a.py": TEST_FILE}, "python3 -m unittest"),
        ({"package.json": '{"scripts": {"test": "vitest run"}}'}, "npm test --silent"),
        ({"Cargo.toml": ""}, "cargo test"),
    ],
)
def test_the_repositorys_own_files_say_how_it_is_checked(files: dict[str, str], command: str) -> None:
    assert checks(files, files.__getitem__) == (command,)


@pytest.mark.parametrize(
    "files",
    [
        {"README.md": ""},
        {"package.json": '{"scripts": {"test": "echo \\"Error: no test specified\\" && exit 1"}}'},
        {"package.json": "not json"},
        {"pyproject.toml": "not toml ["},
        {"Makefile": "build:\n\ttrue\n"},
    ],
)
def test_nothing_is_guessed(files: dict[str, str]) -> None:
    assert checks(files, files.__getitem__) == ()
