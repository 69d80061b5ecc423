"""Markdown that a command prints reads as it was written: the backslashes are for files."""

from __future__ import annotations

import pytest

from claudetm.cli.state import show
from claudetm.workflow.markdown import _code, _text


@pytest.mark.parametrize("text", ["a_b *c* `d` [e](f) <g> #h", r"C:\new\*", "1. one", "`` x ``"])
def test_what_a_file_escapes_is_shown_as_it_was_said(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    show(_text(text))
    assert capsys.readouterr().out == f"{text}\n"


@pytest.mark.parametrize("command", [r"grep '\.py$' a", r"echo \` a", r"a \\ b"])
def test_a_code_span_is_shown_as_it_is(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    show(f"- Command: {_code(command)}")
    assert capsys.readouterr().out == f"- Command: {_code(command)}\n"
