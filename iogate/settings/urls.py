"""Addresses of the gateway: its URL, derived from the settings, and which hosts are this machine."""

from __future__ import annotations

import ipaddress
from typing import Final

from iogate.settings.table import Settings

EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - only compared, not listened on
"""Wildcard addresses, and a loopback address of the same machine."""


def gateway_url(settings: Settings) -> str:
    """Return the URL of the gateway: `public_url`, else one of `host` and `port`."""
    if settings.public_url:
        return settings.public_url
    bracketed = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{EVERYWHERE.get(settings.host, bracketed)}:{settings.port}"


def is_loopback(host: str) -> bool:
    """Tell whether a socket on this host accepts connections of this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
