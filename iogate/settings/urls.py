"""URL of the gateway, derived from the settings."""

from __future__ import annotations

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
