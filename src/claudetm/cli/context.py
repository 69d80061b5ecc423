"""`claudetm context`: what sessions have learned and later ones are told."""

from __future__ import annotations


def command() -> None:
    """Show what earlier sessions learned, as later ones are told it."""
    from claudetm.cli.state import find, load
    from claudetm.workflow.markdown import context_markdown

    print(context_markdown(load(find())))
