"""Options that several commands of the monitor share. Loads nothing: every `claudetm --help` imports it."""

from __future__ import annotations

from typing import Any, Final

import typer

WORKING_DIR: Final[Any] = typer.Option(None, "--working-dir", help="Where the monitor works (here).")
NAME: Final[Any] = typer.Option("", "--name", help="Of a second monitor in the same folder.")
AS_JSON: Final[Any] = typer.Option(False, "--json", help="Print as JSON.")
