"""The generated parts of docs/sego-api.md: the contract as it ships, and the paths by their names."""

from __future__ import annotations

from dataclasses import fields

from claudetm.adapters.sources.sego.settings import Paths
from sego_contract import FILE, operations


def sego_api() -> str:
    """Return the contract, byte for byte, in a block."""
    return f"```yaml\n{FILE.read_text(encoding='utf-8').strip()}\n```"


def sego_paths() -> str:
    """Return each path's name with the operations at it."""
    rows = ["| name | path | |", "|---|---|---|"]
    for each in fields(Paths):
        there = [
            f"{method} ({told['x-claudetm-status']})" for method, path, told in operations() if path == each.default
        ]
        rows.append(f"| `{each.name}` | `{each.default}` | {', '.join(there)} |")
    return "\n".join(rows)
