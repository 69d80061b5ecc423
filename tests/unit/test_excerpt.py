"""A log is cut to what matters: both ends, what tells of errors, and the test runner's own summary."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from claudetm.prompts.excerpt import excerpt

NOISE = [f"collected module number {n} and loaded it without a word" for n in range(4_000)]


def log(*parts: list[str]) -> str:
    return "\n".join(line for part in parts for line in part)


def test_a_short_log_is_told_whole() -> None:
    assert excerpt("one\ntwo\n", 100, "a.log") == "one\ntwo\n"


def test_both_ends_and_the_error_in_the_middle_are_told() -> None:
    text = log(
        ["$ make test"], NOISE, ["def add(a, b):", "E   assert 3 == 4", "where it was"], NOISE, ["make: *** 2"]
    )
    cut = excerpt(text, 4_000, "/logs/a.log")
    assert len(cut.encode()) <= 4_000
    assert cut.startswith("$ make test\n")
    assert "def add(a, b):\nE   assert 3 == 4\nwhere it was\n" in cut
    assert cut.endswith("\nmake: *** 2")
    assert cut.count("the whole: /logs/a.log") == 1


def test_pytests_summary_is_told_though_much_was_printed_after_it() -> None:
    failed = [f"FAILED tests/test_{n}.py::test_it - AssertionError" for n in range(5)]
    text = log(NOISE, ["=== short test summary info ==="], failed, NOISE)
    cut = excerpt(text, 4_000, "a.log")
    assert all(line in cut for line in ["=== short test summary info ===", *failed])


def test_the_first_of_many_errors_is_told() -> None:
    many = [f"src/f{n}.c:1: error: unknown type" for n in range(2_000)]
    cut = excerpt(log(NOISE, many, NOISE), 4_000, "a.log")
    assert "src/f0.c:1: error: unknown type" in cut


@given(st.lists(st.text(max_size=900), max_size=60), st.integers(300, 3_000))
def test_no_log_gets_longer_than_its_bound(lines: list[str], most: int) -> None:
    text = "\n".join(lines)
    cut = excerpt(text, most, "/some/where.log")
    mark = len(b"\n[000000 bytes cut here; the whole: /some/where.log]\n")
    assert len(cut.encode()) <= max(most + mark, 0)
