"""`claudetm monitor add`: what the monitor would refuse is refused at once, and nothing is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import chdir
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from claudetm.cli.monitor.add import command
from claudetm.errors import UsageError

APP = typer.Typer()
APP.command()(command)


@pytest.fixture(autouse=True)
def here(tmp_path: Path) -> Iterator[Path]:
    with chdir(tmp_path):
        yield tmp_path


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("",), "The task is empty; say what to do"),
        (("\udcff",), "The task is not UTF-8 text; write it in UTF-8"),
        (("Do it", "--title", "\udcff"), "What is said of the task is not UTF-8 text; write it in UTF-8"),
        (("Do it", "--mode", "question"), "The monitor would refuse this task: `mode` must be goal or session"),
        (("Do it", "--model", "sonet"), "`model` must be a model (perhaps sonnet), not 'sonet'"),
        (("Do it", "--budget", "-1"), "`budget` must be an amount in US dollars above 0"),
        (("Do it", "--timeout", "soon"), "`timeout` must be a duration above 0"),
        (("Do it", "--priority", "soon"), "`priority` must be high, normal, low or a whole number"),
        (("Do it", "--skill", "/x"), "`skill` must be the name of a skill"),
        (("Do it", "--no-auto-commit", "--auto-push"), "`auto_push` needs `auto_commit`"),
        (("Do it", "--repository", "nowhere"), "the repository "),
        (("Do it", "--name", "../x"), "--name cannot be that: its name holds a character that cannot be shown"),
        (("Do it", "--name", "x" * 120), "--name cannot be that: its name has 125 bytes"),
    ],
)
def test_what_the_monitor_would_refuse_is_not_written(here: Path, arguments: Sequence[str], why: str) -> None:
    refused = CliRunner().invoke(APP, list(arguments), env={"XDG_CONFIG_HOME": str(here), "SEGO_WORKING_DIR": None})
    assert isinstance(refused.exception, UsageError), refused
    assert why in str(refused.exception)
    assert list(here.iterdir()) == []
