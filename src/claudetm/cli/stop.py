"""`claudetm stop`: sessions are interrupted, what they did is kept."""

from __future__ import annotations

import typer


def command(
    cancel: bool = typer.Option(False, "--cancel", help="Give the run up; open pull requests are listed and left."),
) -> None:
    """Interrupt running sessions; what they did is kept. `claudetm resume` carries on."""
    from claudetm.cli.state import find, load, send

    state = find()
    print(f"stop: {send(state, 'cancel' if cancel else 'stop', {})}")
    if cancel:
        for change in load(state).changes.values():
            if change.number and not change.settled:
                print(f"left open: #{change.number} {change.url or change.branch}")
