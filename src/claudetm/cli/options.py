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

MODEL: Final[Any] = typer.Option(
    None, "-m", "--model", help="opus, sonnet, haiku, or a full claude-… id, for all work."
)
MAX_SESSIONS: Final[Any] = typer.Option(
    None, "-n", "--max-sessions", help="Stop before the next session after so many."
)
MAX_COST: Final[Any] = typer.Option(None, "--max-cost", help="Budget of the run in US dollars.")
MAX_TURNS: Final[Any] = typer.Option(None, "--max-turns", help="Turns of one session.")
TIMEOUT: Final[Any] = typer.Option(None, "--timeout", help="Time for one session: minutes, or 90s, 30m, 2h.")
SANDBOX: Final[Any] = typer.Option(
    None, "--sandbox", help="auto, on or off: run agents and commands under bubblewrap.", rich_help_panel=REACH
)
TRUST: Final[Any] = typer.Option(
    None,
    "--trust-project-settings",
    help="Load the repository's own .claude settings, hooks and servers.",
    rich_help_panel=REACH,
)
