"""`claudetm monitor`: takes tasks as they appear, works them, reports back. One file a subcommand."""

from __future__ import annotations

from importlib import import_module
from typing import Final

import typer

from claudetm.cli.monitor.run import callback

SUBCOMMANDS: Final = ("init", "status", "tasks", "queue", "add", "apply", "retry", "sego", "service", "work")
"""Each is a module here with a function `command`, or a typer `app`, in `--help`'s order; `work` is hidden."""

app = typer.Typer(invoke_without_command=True)
app.callback()(callback)

for _name in SUBCOMMANDS:
    _module = import_module(f"{__name__}.{_name}")
    if hasattr(_module, "app"):
        app.add_typer(_module.app, name=_name)
    else:
        app.command(_name, hidden=_name == "work")(_module.command)
