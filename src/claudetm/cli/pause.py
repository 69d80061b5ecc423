"""`claudetm pause`: running sessions finish, nothing new starts."""

from __future__ import annotations


def command() -> None:
    """Let running sessions finish and start nothing new. `claudetm resume` carries on."""
    from claudetm.cli.state import find, send

    print(f"pause: {send(find(), 'pause', {})}")
