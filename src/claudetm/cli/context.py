"""`claudetm context`: what sessions have learned and later ones are told."""

from __future__ import annotations

import typer


def command(as_json: bool = typer.Option(False, "--json", help="Print what was learned and said as JSON.")) -> None:
    """Show what earlier sessions learned and what you said, as later ones are told it."""
    from claudetm.cli.state import find, load, show
    from claudetm.workflow.markdown import context_markdown

    run = load(find())
    if as_json:
        import json

        said = [text for _, text in run.messages]
        print(json.dumps({"learnings": list(run.learnings), "said": said}, indent=2, ensure_ascii=False))
    else:
        show(context_markdown(run))
