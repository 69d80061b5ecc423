"""What the documentation says of the code is generated from it, and is up to date."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from typer.exceptions import TyperException

from claudetm.cli.app import COMMANDS
from claudetm.config import KEYS
from claudetm.workflow.transitions import diagram
from commands_reference import NOTES, SETTINGS, commands, parse
from configuration_reference import ABOUT, GROUPS, settings
from generate_docs import DOCS, PARTS, generated

PAGES = sorted(DOCS.rglob("*.md"))
ARCHITECTURE = (DOCS / "architecture.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_generated_parts_are_up_to_date(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text == generated(text), "run `make docs`"


def test_the_diagram_in_the_docs_is_the_tables() -> None:
    assert f"\n{diagram()}\n" in ARCHITECTURE


@pytest.mark.parametrize("part", PARTS)
def test_an_outdated_part_is_written_anew(part: str) -> None:
    page = f"before\n<!-- generated: {part} -->\nold\n<!-- end -->\nafter\n"
    assert generated(page) == f"before\n<!-- generated: {part} -->\n\n{PARTS[part]()}\n\n<!-- end -->\nafter\n"


def test_a_part_that_nobody_generates_is_an_error() -> None:
    with pytest.raises(KeyError):
        generated("<!-- generated: nothing -->\n<!-- end -->\n")


def test_text_without_markers_stays_as_it_is() -> None:
    assert generated("# A page\n") == "# A page\n"


def shown(line: str) -> list[str]:
    """Return the words after `claudetm`."""
    words = shlex.split(line)
    return words[words.index("claudetm") + 1 :]


@pytest.mark.parametrize("path", NOTES)
def test_each_example_is_a_command_line_of_its_command(path: str) -> None:
    parse(shown(NOTES[path].example))
    assert f"claudetm {path}".strip() in NOTES[path].example


def test_an_example_that_is_no_command_line_would_be_found() -> None:
    for line in ("claudetm fix-pr", "claudetm status --no-such", "claudetm undo a b", "claudetm logs -n none"):
        with pytest.raises(TyperException):
            parse(shown(line))


def test_every_command_is_described_and_none_that_is_gone() -> None:
    assert set(NOTES) == {path for path, _ in commands()}
    assert [path for path, _ in commands() if path and " " not in path] == list(COMMANDS)


def test_the_settings_that_options_stand_for_are_there() -> None:
    assert set(SETTINGS.values()) <= set(KEYS)
    start = dict(commands())["start"]
    assert set(SETTINGS) <= {p.name for p in start.params}


def test_every_setting_is_described_in_one_table_and_none_that_is_gone() -> None:
    assert set(ABOUT) == set(KEYS)
    assert len(GROUPS) == settings().count("### ")
    rows = [line.split("`")[1] for line in settings().splitlines() if line.startswith("| `")]
    assert sorted(rows) == sorted(KEYS)


def test_a_setting_tells_its_variable_default_form_and_whose_it_is() -> None:
    row = next(line for line in settings().splitlines() if "`sandbox`" in line)
    assert all(text in row for text in ("CLAUDETM_SANDBOX", '`"auto"`', "one of auto, on, off", "*Yours alone.*"))
    row = next(line for line in settings().splitlines() if "`limits.cost_usd`" in line)
    assert all(text in row for text in ("US dollars above 0; or none", "*Never looser.*"))


def test_every_option_and_argument_says_what_it_does() -> None:
    silent = [f"{path} {p.name}" for path, command in commands() for p in command.params if not p.help]
    assert silent == []
    assert all(command.help for _, command in commands())
