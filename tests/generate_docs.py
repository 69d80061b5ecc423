"""Write the generated parts of docs/: what stands between a pair of markers comes from the code, never by hand.

Run as `python tests/generate_docs.py` (`make docs`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from claudetm.intake import transitions as queue
from claudetm.workflow.transitions import CHANGE, RUN, Table, diagram
from commands_reference import exit_codes, reference
from configuration_reference import settings
from monitor_reference import options
from sego_reference import sego_api, sego_paths

DOCS: Final = Path(__file__).parent.parent / "docs"

_PART: Final = re.compile(r"(<!-- generated: (?P<name>\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def _tables() -> str:
    return "\n\n".join(_table(title, table) for title, table in (("phase", RUN), ("stage", CHANGE)))


def _table(title: str, table: Table) -> str:
    """Return every row of one table; events that lead to the same place share a line."""
    lines = [f"| {title} | event | leads to | brought about by |", "|---|---|---|---|"]
    for place, rows in table.items():
        grouped: dict[tuple[str, str], list[str]] = {}
        for event, row in rows.items():
            to = "(stays)" if row.to == place else str(row.to)
            grouped.setdefault((to, ", ".join(sorted(row.origins))), []).append(event.__name__)
        lines += [f"| {place} | {', '.join(names)} | {to} | {who} |" for (to, who), names in grouped.items()]
    return "\n".join(lines)


PARTS: Final[Mapping[str, Callable[[], str]]] = {
    "diagram": diagram,
    "tables": _tables,
    "queue": queue.markdown,
    "commands": reference,
    "exit-codes": exit_codes,
    "settings": settings,
    "monitor-options": options,
    "sego-api": sego_api,
    "sego-paths": sego_paths,
}


def generated(text: str) -> str:
    """Return a page with its generated parts as the code has them now. Raises KeyError for an unknown part."""
    return _PART.sub(lambda m: f"{m[1]}\n{PARTS[m['name']]()}\n\n{m[3]}", text)


def main() -> None:
    """Rewrite the pages whose generated parts differ."""
    for page in sorted(DOCS.rglob("*.md")):
        old = page.read_text(encoding="utf-8")
        if (new := generated(old)) != old:
            page.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
