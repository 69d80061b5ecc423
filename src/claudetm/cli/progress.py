"""`claudetm progress`: what has happened, as Markdown."""

from __future__ import annotations


def command() -> None:
    """Show what has been done and what is left."""
    from claudetm.cli.state import find, load
    from claudetm.workflow.markdown import progress_markdown

    print(progress_markdown(load(find())))
