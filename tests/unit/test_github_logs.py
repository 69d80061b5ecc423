"""A job's log as the fixer gets it."""

from __future__ import annotations

from claudetm.adapters.forge.github.logs import both_ends, failed_part, plain

RAW = """\ufeff2024-05-01T10:00:00.0000001Z Current runner version: '2.316.0'
2024-05-01T10:00:00.1000000Z ##[group]Operating System
2024-05-01T10:00:00.1000000Z Ubuntu
2024-05-01T10:00:00.1000000Z ##[endgroup]
2024-05-01T10:00:01.0000000Z ##[group]Run actions/checkout@v4
2024-05-01T10:00:01.0000000Z with:
2024-05-01T10:00:01.0000000Z   fetch-depth: 1
2024-05-01T10:00:01.0000000Z ##[endgroup]
2024-05-01T10:00:02.0000000Z ##[command]/usr/bin/git version
2024-05-01T10:00:03.0000000Z ##[group]Run pytest -q
2024-05-01T10:00:03.0000000Z \x1b[36;1mpytest -q\x1b[0m
2024-05-01T10:00:03.0000000Z \x1b[36;1mruff check\x1b[0m
2024-05-01T10:00:03.0000000Z shell: /usr/bin/bash -e {0}
2024-05-01T10:00:03.0000000Z ##[endgroup]
2024-05-01T10:00:04.0000000Z \x1b[31mFAILED\x1b[0m tests/test_a.py::test_it - assert 1 == 2
2024-05-01T10:00:04.0000000Z
2024-05-01T10:00:05.0000000Z ##[error]Process completed with exit code 1.
2024-05-01T10:00:06.0000000Z Post job cleanup.
2024-05-01T10:00:06.0000000Z Cleaning up orphan processes
""".replace("\n", "\r\n")


def test_time_stamps_colours_and_the_byte_order_mark_are_gone() -> None:
    text = plain(RAW.encode())
    assert text.startswith("Current runner version")
    assert "2024-05" not in text
    assert "\x1b" not in text
    assert "\r" not in text
    assert "\nFAILED tests/test_a.py::test_it - assert 1 == 2\n\n##[error]" in text


def test_only_the_failed_step_is_left_and_its_script_is_known() -> None:
    text, command = failed_part(plain(RAW.encode()))
    assert command == "pytest -q\nruff check"
    assert text.startswith("Run pytest -q\npytest -q\n")
    assert text.endswith("\n\nError: Process completed with exit code 1.\n")
    for noise in ("checkout", "runner version", "cleanup", "##["):
        assert noise not in text


def test_a_log_without_a_failed_step_is_left_whole() -> None:
    assert failed_part("one\n##[group]Run a\ntwo\n##[endgroup]\n") == ("one\nRun a\ntwo\n", "")


def test_every_failed_step_is_kept() -> None:
    log = "##[group]Run a\nno a\n##[error]a\n##[group]Run b\nfine\n##[group]Run c\nno c\n##[error]c\n"
    text, _ = failed_part(log)
    assert text == "Run a\nno a\nError: a\nRun c\nno c\nError: c\n"


def test_an_action_that_fails_is_no_script() -> None:
    log = "##[group]Run actions/setup-node@v4\nwith:\n  x: 1\n##[endgroup]\n##[error]no\n"
    assert failed_part(log)[1] == ""


def test_an_empty_log_is_empty() -> None:
    assert failed_part(plain(b"")) == ("", "")


def test_a_line_that_only_looks_like_a_stamp_in_its_middle_stays() -> None:
    assert plain(b"2024-05-01T10:00:00.0Z at 2024-05-01T10:00:00.0Z\n") == "at 2024-05-01T10:00:00.0Z\n"


def test_of_a_long_text_both_ends_are_kept_by_whole_lines() -> None:
    text = "".join(f"line {n}\n" for n in range(60_000))
    cut = both_ends(text)
    assert len(cut) < 300_000
    assert cut.startswith("line 0\n")
    assert cut.endswith("line 59999\n")
    assert all(line.startswith(("line ", "[… ")) for line in cut.splitlines())
    assert both_ends("short\n") == "short\n"
