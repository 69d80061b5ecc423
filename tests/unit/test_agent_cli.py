"""Which Claude Code sessions run on where `agent.cli` asks for the user's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from claudetm.adapters.agent.cli import cli_on_path
from claudetm.errors import AgentError


def test_the_claude_on_path_is_taken_where_it_really_lies(tmp_path: Path) -> None:
    real = tmp_path / "versions" / "2" / "claude"
    real.parent.mkdir(parents=True)
    real.write_text("#!/bin/sh\n")
    real.chmod(0o755)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "claude").symlink_to(real)
    assert cli_on_path(str(tmp_path / "bin")) == real


@pytest.mark.parametrize("mode", [None, 0o644])
def test_without_a_claude_that_runs_one_sentence_says_how_to_come_by_it(tmp_path: Path, mode: int | None) -> None:
    if mode is not None:
        (tmp_path / "claude").write_text("")
        (tmp_path / "claude").chmod(mode)
    with pytest.raises(AgentError) as refused:
        cli_on_path(str(tmp_path))
    said = str(refused.value)
    assert said.startswith("Claude CLI is not available: ")
    assert "npm install -g @anthropic-ai/claude-code" in said
    assert "log in with `claude`" in said
