"""What Sego answers when it does not give what was asked for, each in one sentence with its remedy."""

from __future__ import annotations

import email.utils
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from claudetm.ports.source import SourceBusy, SourceRefused
from claudetm.redact import printable, redact

_LONGEST_WAIT: Final = 3600.0
_LONGEST_REASON: Final = 300


def key_refused() -> SourceRefused:
    """Return what is said of a key that is not let in: 401, or 403 where everybody's tasks are."""
    return SourceRefused(
        "Sego refuses the API key: make a new one in Sego's settings, then set SEGO_API_KEY or call"
        " `claudetm monitor init`"
    )


def unreachable(address: str, why: str, until: float) -> SourceBusy:
    """Return what is said where no connection comes about, or none that lasts."""
    return SourceBusy(
        f"Sego cannot be reached at {address} ({clean(why)}): see whether that address opens in a browser; the"
        " monitor goes on asking",
        until,
    )


def no_project(project: str) -> SourceRefused:
    """Return what is said of a project that is not there, or not for this key."""
    return SourceRefused(
        f"Sego has no project {clean(project)} for this key: set SEGO_PROJECT_ID to one that `claudetm monitor init`"
        " lists"
    )


def nothing_there(path: str) -> SourceRefused:
    """Return what is said where a list that every server has is missing."""
    return SourceRefused(
        f"Sego has nothing at {clean(path)}: correct SEGO_API_URL, or name the server's own path in"
        " monitor.sego.paths"
    )


def elsewhere(address: str, location: str) -> SourceRefused:
    """Return what is said of a redirect: the key goes to the address that was set, and nowhere else."""
    target = urlsplit(location)
    where = f"{target.scheme}://{target.hostname}" if target.hostname else location or "another place"
    return SourceRefused(
        f"Sego at {address} points to {clean(where)}, where the API key is not sent: set SEGO_API_URL to that address"
        " if it is yours"
    )


def not_understood(status: int, path: str, why: str) -> SourceRefused:
    """Return what is said where the server finds a request wrong: its contract is another one."""
    return SourceRefused(
        f"Sego answers {status} at {clean(path)} ({clean(why)}): its API is not the one of docs/sego-api.md; name its"
        " paths in monitor.sego.paths"
    )


def forbidden(path: str, why: str) -> SourceRefused:
    """Return what is said where the key is good, but not for this."""
    return SourceRefused(
        f"Sego does not let this API key at {clean(path)} ({clean(why)}): ask whoever runs the project there, or use"
        " another key"
    )


def too_many(until: float) -> SourceBusy:
    """Return what is said of 429."""
    return SourceBusy("Sego asks to be asked less often; the monitor waits as long as it says", until)


def broken(status: int, path: str, until: float) -> SourceBusy:
    """Return what is said of a server's own error."""
    return SourceBusy(
        f"Sego answers {status} at {clean(path)}, an error of its own; the monitor goes on asking", until
    )


def unreadable(path: str, why: str, until: float) -> SourceBusy:
    """Return what is said of an answer that is none: a page of a proxy, a cut or an endless one."""
    return SourceBusy(
        f"What Sego answers at {clean(path)} cannot be read ({clean(why)}); the monitor goes on asking", until
    )


def clean(text: str) -> str:
    """Return a server's or a library's words as one short line without secrets."""
    return redact(re.sub(r"\s+", " ", printable(text)).strip())[:_LONGEST_REASON]


def asked_to_wait(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds that `Retry-After` names, at most an hour; None where it names none."""
    said = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}", said):
        return min(max(float(said), 1.0), _LONGEST_WAIT)
    try:
        when = email.utils.parsedate_to_datetime(said)
    except ValueError:
        return None
    return min(max(when.timestamp() - now, 1.0), _LONGEST_WAIT)
