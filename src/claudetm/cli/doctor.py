"""`claudetm doctor`: what stands in the way of a run, each with its remedy. Only `--repair` changes anything."""

from __future__ import annotations

import shutil
import textwrap
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from claudetm.doctor import Finding

_WIDEST = 80
_NARROWEST = 40
_INDENT = 10 + 16  # state and name


def command(
    repair: bool = typer.Option(
        False, "--repair", help="Mend damaged journals, keeping copies; end agents whose driver is dead."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print the findings as a list of objects."),
) -> None:
    """Look for what stands in the way of a run, and say what helps. Exit code 1 when something fails."""
    from claudetm.cli.state import here, of_task
    from claudetm.doctor import State, examine

    found = []
    task = of_task()
    for finding in examine(here(), mend=repair, task=task.root if task else None):
        found.append(finding)
        if not as_json:
            print(_lines(finding), flush=True)
    if as_json:
        import json
        from dataclasses import asdict

        print(json.dumps([asdict(f) for f in found], indent=2, ensure_ascii=False))
    else:
        print(f"\n{_verdict(found)}")
    raise typer.Exit(1 if any(f.state is State.FAILURE for f in found) else 0)


def _lines(finding: Finding) -> str:
    """Return a finding as aligned lines of at most 80 columns; a path or a command is never broken."""
    width = max(_NARROWEST, min(_WIDEST, shutil.get_terminal_size((_WIDEST, 24)).columns))
    indent = " " * _INDENT

    def fold(opening: str, text: str) -> str:
        words = " ".join(text.split())
        return textwrap.fill(
            words,
            width,
            initial_indent=opening,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )

    lines = [fold(f"{finding.state:<10}{finding.name:<16}", finding.found)]
    if finding.remedy:
        lines.append(fold(indent, f"help: {finding.remedy}"))
    return "\n".join(lines)


def _verdict(found: list[Finding]) -> str:
    from claudetm.doctor import State

    failures = sum(f.state is State.FAILURE for f in found)
    warnings = sum(f.state is State.WARNING for f in found)
    counts = ", ".join(
        f"{n} {what}{'' if n == 1 else 's'}" for n, what in ((failures, "failure"), (warnings, "warning"))
    )
    return f"{'not ready' if failures else 'ready'}: {counts}"
