"""Whether there is a newer version, asked once a day by a process of its own that nobody waits for.

It asks pip, so wherever pip is configured to look; the answer lies in the cache and is told at the next start. No
pip, no network or an odd answer is no news.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from claudetm import __version__
from claudetm.redact import SECRET_VARIABLES

DAY: Final = 86_400.0  # seconds
_PATIENCE: Final = 60.0  # seconds for pip
_RELEASE: Final = re.compile(r"claudetm \((\d+(?:\.\d+)*)\)")


def stamp_file() -> Path:
    """Return where the last answer lies, whether or not there is one."""
    import platformdirs

    return platformdirs.user_cache_path("claudetm") / "update.json"


def notice(version: str = __version__) -> str:
    """Return the sentence about a newer version, or ""."""
    latest = str(_stamp(stamp_file()).get("latest", ""))
    if not re.fullmatch(r"\d+(\.\d+)*", latest) or _parts(latest) <= _parts(version):
        return ""
    return f"claudetm {latest} is out, this is {version}: pip install --upgrade claudetm (or --no-update-check)."


def ask_in_background(now: float | None = None) -> bool:
    """Let a process of its own ask, unless the last one did within a day; return whether one was started."""
    path, now = stamp_file(), time.time() if now is None else now
    checked = _stamp(path).get("checked", 0.0)
    if isinstance(checked, int | float) and 0 <= now - checked < DAY:
        return False
    try:
        _write(path, {**_stamp(path), "checked": now})  # so that one that fails is not asked at each start
        asking = subprocess.Popen(
            [sys.executable, "-m", "claudetm.bootstrap.updates"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={n: v for n, v in os.environ.items() if n not in SECRET_VARIABLES},
            start_new_session=True,
            cwd="/",  # a folder of the user's could hold a module named pip
        )
    except OSError:
        return False
    threading.Thread(target=asking.wait, daemon=True).start()  # or it would stay behind as a zombie
    return True


def latest(said: str) -> str:
    """Return the version that `pip index versions` names, or ""."""
    found = _RELEASE.match(said)
    return found[1] if found else ""


def ask() -> None:
    """Ask pip and keep the answer."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "index", "versions"]
    with suppress(OSError, subprocess.SubprocessError):
        ended = subprocess.run(
            [*command, "claudetm"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
        if version := latest(ended.stdout):
            _write(stamp_file(), {"checked": time.time(), "latest": version})


def _stamp(path: Path) -> Mapping[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _write(path: Path, data: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    draft.write_text(json.dumps(data), encoding="utf-8")
    draft.replace(path)


def _parts(version: str) -> list[int]:
    return [int(n) for n in re.findall(r"\d+", version)]


if __name__ == "__main__":
    ask()
