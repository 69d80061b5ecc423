"""What `--help` prints fits 80 columns, with the name of every option whole."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from claudetm.cli.app import build
from commands_reference import commands

APPLICATION = dict(commands())


@pytest.mark.parametrize("words", APPLICATION)
def test_no_option_s_name_is_cut(words: str) -> None:
    called = words.split()
    shown = CliRunner(env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"}).invoke(build(called), [*called, "--help"])
    assert shown.exit_code == 0
    assert max(map(len, shown.output.splitlines())) <= 80
    names = [name for p in APPLICATION[words].params for name in (*p.opts, *p.secondary_opts) if name.startswith("-")]
    assert [name for name in names if name not in shown.output] == []
