"""A file that GitHub redirects to, such as a job's log: read where it lies, without the token, its end alone kept."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final
from urllib.parse import urljoin, urlsplit

import requests

from claudetm.adapters.forge.github.place import is_loopback

SECONDS: Final = 120.0
"""For the whole of a file."""

REDIRECTS: Final = frozenset({301, 302, 307, 308})
HOPS: Final = 4
_PIECE: Final = 1 << 16
_GONE: Final = (404, 410)
_OK: Final = 200


class NoFile(Exception):  # noqa: N818 - a fact about the file
    """The file cannot be had from where it lies; the text says why, without the address's path, which is signed."""


class FileGone(NoFile):
    """There is no such file any more, or not yet."""


class FileUnsafe(NoFile):
    """It lies where it would come unencrypted."""


def last_bytes(url: str, most: int, agent: str, *, seconds: float, unencrypted: bool = False) -> bytes:
    """Return the file's last `most` bytes, beginning with a whole line where it is cut. Raises NoFile.

    `seconds` is how long one answer may take. Over http it comes from this machine alone, if `unencrypted`.
    """
    with requests.Session() as session:
        session.auth = _no_credential
        for _ in range(HOPS):
            address = urlsplit(url)
            if address.scheme != "https" and not (unencrypted and is_loopback(address.hostname or "")):
                raise FileUnsafe(f"{origin(url)}: it is not an https address")
            session.trust_env = address.scheme == "https"  # no proxy to this machine
            try:
                with session.get(
                    url, headers={"User-Agent": agent}, timeout=seconds, stream=True, allow_redirects=False
                ) as response:
                    if response.status_code not in REDIRECTS:
                        return _end(response, most)
                    url = goal(url, response.headers)
            except (OSError, ValueError) as error:  # requests' errors are OSErrors
                raise NoFile(f"{origin(url)}: {reason(error)}") from None
    raise NoFile(f"{origin(url)} redirects in circles")


def _no_credential(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Stand in for a login, so that none is taken from ~/.netrc."""
    return request


def _end(response: requests.Response, most: int) -> bytes:
    if response.status_code != _OK:
        kind = FileGone if response.status_code in _GONE else NoFile
        raise kind(f"{origin(response.url)} answered {response.status_code}")
    deadline = time.monotonic() + SECONDS
    kept, cut = bytearray(), False
    for piece in response.iter_content(_PIECE):
        kept += piece
        if len(kept) > 2 * most + _PIECE:
            del kept[: -most - 1]
            cut = True
        if time.monotonic() > deadline:
            raise NoFile(f"{origin(response.url)} took over {SECONDS:.0f} s")
    return whole_lines(bytes(kept), most, cut=cut)


def whole_lines(data: bytes, most: int, *, cut: bool = False) -> bytes:
    """Return the last `most` bytes, from a line's beginning where something is left out (or was: `cut`)."""
    if len(data) <= most and not cut:
        return data
    _, _, whole = data[-most - 1 :].partition(b"\n")
    return whole or data[-most:]


def goal(url: str, headers: Mapping[str, str]) -> str:
    """Return where a redirect leads, "" where that is no address."""
    try:
        return urljoin(url, headers.get("location", ""))
    except ValueError:
        return ""


def origin(url: str) -> str:
    """Return an address without its path, which may be a signed one."""
    address = urlsplit(url)
    return f"{address.scheme}://{address.hostname}" if address.hostname else "nowhere"


def reason(error: Exception) -> str:
    """Return in words why nothing came. The libraries' own texts hold whole addresses."""
    said = str(error)
    if isinstance(error, requests.Timeout):
        return "it did not answer in time"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy cannot be reached"
    if "CERTIFICATE_VERIFY_FAILED" in said:
        return "its certificate is not trusted here"
    if "NameResolutionError" in said or "getaddrinfo" in said:
        return "its name is not known here"
    if "NewConnectionError" in said or "refused" in said:
        return "it cannot be connected to"
    return "the connection was lost" if isinstance(error, OSError) else "its answer cannot be read"
