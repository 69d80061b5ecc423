"""`claudetm say`: the user's own words for the next session."""

from __future__ import annotations

import typer


def command(text: str = typer.Argument(help="What the agent shall know.")) -> None:
    """Tell the next session something, in your own words."""
    from claudetm.bootstrap.texts import check_text
    from claudetm.cli.state import find, send

    said = check_text("message", text, 'say something, as in `claudetm say "use the existing parser"`')
    print(f"say: {send(find(), 'say', {'text': said})}")
