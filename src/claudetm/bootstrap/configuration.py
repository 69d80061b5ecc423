"""The configuration as it holds in one repository: whoever asks for it there gets the same answer."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from claudetm.adapters.git.user_repository import tracks
from claudetm.adapters.store.directory import NAME
from claudetm.config import KEYS, Resolved, debug, resolve, user_file
from claudetm.credentials import credential


def configuration(
    root: Path | None,
    flags: Mapping[str, Any] | None = None,
    *,
    look: bool = False,
    draft: Mapping[str, Any] | None = None,
) -> Resolved:
    """Return every setting in the repository whose worktree is `root`; None is outside of one.

    Raises ClaudetmError, in one sentence.
    With `look` nothing changes on the disk: a file that holds a key and is open to others is only named. A `draft`
    is what the repository's file is about to hold.
    """
    project = root / NAME / "config.json" if root is not None else None
    tracked = root is not None and project is not None and tracks(root, project)
    resolved = resolve(flags, environment(), project, user_file(), tracked=tracked, tighten=not look, draft=draft)
    if draft is not None:
        return resolved
    debug(resolved, os.environ)
    return resolved


def environment() -> Mapping[str, str]:
    """Return the environment, with what was withdrawn from it where that is a setting."""
    return {**os.environ, _SEGO_KEY: key} if (key := credential(_SEGO_KEY)) else os.environ


_SEGO_KEY: Final = KEYS["monitor.sego.api_key"].variable
