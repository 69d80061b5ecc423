"""`claudetm comments`: what was said about the pull requests, both sides of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from claudetm.cli.pulls import Looked


def command(
    number: int | None = typer.Argument(
        None, min=1, help="One pull request; all of them without it.", show_default=False
    ),
    every: bool = typer.Option(
        False, "--all", help="Also what is resolved, asks for nothing, is over or not listened to."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print them as JSON."),
) -> None:
    """Show the open conversations: where, who, what was answered, in which commit."""
    from claudetm.cli.pulls import look

    looked = look(number, remarks=True, silent=as_json)
    show(looked, number, every=every, as_json=as_json)


def show(looked: Looked, number: int | None = None, *, every: bool = False, as_json: bool = False) -> None:
    """Print the conversations of one pull request, or of all of them."""
    from claudetm.cli.pulls import heading, print_json, tell_thread, thread_data, threads

    shown = [looked.find(number)] if number else list(looked.pulls)
    found = list(threads(shown, every=every))
    if as_json:
        print_json(
            [thread_data(t, s.pull.number, heard=t not in s.ignored, url=s.addresses.get(t.id, "")) for s, t in found]
        )
        return
    if not found:
        others = sum(1 for _ in threads(shown, every=True))
        print("No conversation is open" + (f"; `claudetm comments --all` shows {others}." if others else "."))
    last = 0
    for seen, thread in found:
        if seen.pull.number != last:
            print(("\n" if last else "") + heading(seen))
            last = seen.pull.number
        tell_thread(thread, 2, heard=thread not in seen.ignored, url=seen.addresses.get(thread.id, ""))
