"""The floor: an empty typer app with claudetm's commands and one rich table. What cannot be undercut with typer."""

from __future__ import annotations

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def _table() -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for name in ("change", "stage", "tasks", "title"):
        table.add_column(name)
    table.add_row("c1", "merged", "2/2", "Greet people")
    Console(highlight=False).print(table)


for name in (
    "start",
    "resume",
    "pause",
    "stop",
    "status",
    "plan",
    "progress",
    "context",
    "logs",
    "pr",
    "comments",
    "fix-pr",
    "review",
    "explain",
    "say",
    "undo",
    "clean",
    "monitor",
    "config",
    "init",
    "doctor",
    "demo",
):
    app.command(name, help="Do something that takes a line to say.")(_table)

if __name__ == "__main__":
    app()
