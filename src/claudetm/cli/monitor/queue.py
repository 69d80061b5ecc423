"""`claudetm monitor queue`: what waits to be taken, in order."""

from __future__ import annotations

from pathlib import Path

from claudetm.cli.monitor.options import AS_JSON, NAME, WORKING_DIR


def command(working_dir: Path = WORKING_DIR, name: str = NAME, as_json: bool = AS_JSON) -> None:
    """Show what waits, in the order in which it will be taken."""
    from claudetm.cli.monitor.look import dump, look
    from claudetm.cli.monitor.table import open_rows, show

    rows = [row for row in open_rows(look(working_dir, name)) if row.position]
    if as_json:
        dump([row.data() for row in rows])
    elif rows:
        show(rows)
    else:
        print("nothing waits")
