"""`claudetm progress`: what is done, under way and left, as Markdown."""

from __future__ import annotations

import typer

_FIELDS = ("run", "phase", "halt", "tasks", "sessions", "used", "changes", "landed", "next")


def command(as_json: bool = typer.Option(False, "--json", help="Print the progress as JSON.")) -> None:
    """Show what has been done and what is left."""
    from claudetm.cli.state import find, load, show
    from claudetm.workflow.markdown import progress_markdown, state_data

    run = load(find())
    if as_json:
        import json

        data = state_data(run)
        print(json.dumps({name: data[name] for name in _FIELDS}, indent=2, ensure_ascii=False))
    else:
        show(progress_markdown(run))
