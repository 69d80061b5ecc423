"""The list of mutations keeps up with the sources; `make mutate` tries them."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

from mutations.github import MUTATIONS
from mutations.run import ROOT, SOURCES, Mutation


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.name)
def test_a_mutation_applies_once_and_is_a_program(mutation: Mutation) -> None:
    ast.parse(mutation.applied(SOURCES))


def test_the_tests_that_are_named_are_there() -> None:
    named = {test for mutation in MUTATIONS for test in mutation.tests}
    missing = [t for t in sorted(named) if f"def {t.rpartition('::')[2]}(" not in _where(t)]
    assert missing == []


def test_there_are_enough_of_them_and_each_is_another() -> None:
    assert len(MUTATIONS) >= 20
    assert [name for name, times in Counter(m.name for m in MUTATIONS).items() if times > 1] == []
    places = Counter((m.file, m.old, m.new) for m in MUTATIONS)
    assert [place for place, times in places.items() if times > 1] == []


def _where(test: str) -> str:
    """Return the text that a test's function stands in."""
    path, *inside = test.split("::")
    conformance = Path(SOURCES, "testing", "forge_conformance.py")
    return (conformance if inside[0] == "TestForge" else ROOT / "tests" / path).read_text(encoding="utf-8")
