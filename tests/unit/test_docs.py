"""What the documentation says of the code is generated from it, and is up to date."""

from __future__ import annotations

from pathlib import Path

import pytest

from claudetm.workflow.transitions import diagram
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
