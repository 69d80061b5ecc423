"""Options that several commands share, each said once."""

from __future__ import annotations

from typing import Any, Final

import typer

REACH: Final = "What agents can reach"
"""A panel of its own in the help, as it would else be too narrow for the names."""

LOG_LEVEL: Final[Any] = typer.Option(
    "normal", "--log-level", help="quiet: only how it ended; normal; or verbose: what the agent does, too."
)
LOG_FORMAT: Final[Any] = typer.Option("text", "--log-format", help="text or json.")
AS_JSON: Final[Any] = typer.Option(
    False,
    "--json",
    help="The same as --log-format json: on standard output a JSON object a line (type, seq, time, change, text,"
    ' data), the last one of type "ended" with ending, exit_code and next.',
)
