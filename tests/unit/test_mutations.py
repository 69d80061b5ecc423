"""The list of mutations keeps up with the sources; `make mutate` tries them."""

from __future__ import annotations

import ast
from collections import Counter

import pytest

from mutations import github, monitor
from mutations.run import ROOT, SOURCES, Mutation

MUTATIONS = (*github.MUTATIONS, *monitor.MUTATIONS)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.name)
def test_a_mutation_applies_once_and_is_a_program(mutation: Mutation) -> None:
    ast.parse(mutation.applied(SOURCES))


def test_the_tests_that_are_named_are_there() -> None:
    named = {test for mutation in MUTATIONS for test in mutation.tests}
    missing = [t for t in sorted(named) if f"def {t.rpartition('::')[2]}(" not in _where(t)]
    assert missing == []


def test_there_are_enough_of_them_and_each_is_another() -> None:
    assert min(len(github.MUTATIONS), len(monitor.MUTATIONS)) >= 20
    assert [name for name, times in Counter(m.name for m in MUTATIONS).items() if times > 1] == []
    places = Counter((m.file, m.old, m.new) for m in MUTATIONS)
    assert [place for place, times in places.items() if times > 1] == []


def _where(test: str) -> str:
    """Return the text that a test's function stands in."""
    path, *inside = test.split("::")
    suites = {f"Test{what}": SOURCES / "testing" / f"{what.lower()}_conformance.py" for what in ("Forge", "Source")}
    return suites.get(inside[0], ROOT / "tests" / path).read_text(encoding="utf-8")
