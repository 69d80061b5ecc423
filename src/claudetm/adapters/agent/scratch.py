"""Temporary folders of a run: named after it, so that what a killed driver left is found and removed by the next.

Between its making and its reading a launcher's folder holds the model's credential, so none may outlast its run.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from pathlib import Path

from claudetm.adapters.git.clean_room import remove_tree


def scratch(run: str) -> tempfile.TemporaryDirectory[str]:
    """Return a new temporary folder of the run, for a `with` block: removed at its end."""
    return tempfile.TemporaryDirectory(prefix=_prefix(run), ignore_cleanup_errors=True)


def clear(run: str, folder: Path | None = None) -> int:
    """Remove the run's temporary folders in `folder` (the system's); return how many. Its driver begins with it."""
    name = re.compile(re.escape(_prefix(run)) + "[a-z0-9_]{8}")
    found = [p for p in (folder or Path(tempfile.gettempdir())).glob("claudetm-*") if name.fullmatch(p.name)]
    for path in found:
        with contextlib.suppress(OSError):  # somebody else's: /tmp is everybody's
            remove_tree(path)
    return len(found)


def _prefix(run: str) -> str:
    return f"claudetm-{re.sub(r'[^A-Za-z0-9-]', '', run)}-"
