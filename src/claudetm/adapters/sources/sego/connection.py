"""The connection to a Sego server: which host the key goes to, and through which proxy."""

from __future__ import annotations

from contextlib import suppress

import httpx2

from claudetm import __version__
from claudetm.adapters.sources.sego.settings import ADDRESS, SegoSettings, is_loopback
from claudetm.errors import ConfigError


def connected(settings: SegoSettings) -> httpx2.AsyncClient:
    """Return what connects. Raises ConfigError for an address or a proxy that it cannot use."""
    # A proxy of the environment would be handed what is meant for this machine alone.
    outside = not is_loopback(_host(settings.address))
    try:
        return httpx2.AsyncClient(
            headers={"Authorization": f"Bearer {settings.key}", "User-Agent": f"claudetm/{__version__}"},
            timeout=settings.answer_timeout,
            follow_redirects=False,
            trust_env=outside,
        )
    except (ImportError, ValueError, httpx2.InvalidURL):  # its words hold the proxy's password
        raise ConfigError(
            "The environment names a proxy that cannot be used for Sego: name one as http://host:port in HTTPS_PROXY,"
            " and unset ALL_PROXY"
        ) from None


def _host(address: str) -> str:
    """Return the host that the library would ask. Raises ConfigError where it sees none, or another than we did."""
    with suppress(httpx2.InvalidURL, UnicodeError):
        found = httpx2.URL(address)
        if found.scheme == "https" or is_loopback(found.host):
            return found.host
    raise ConfigError(f"{address!r} is no address of a Sego server; write it like {ADDRESS}")
