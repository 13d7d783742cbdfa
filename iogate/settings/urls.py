"""Addresses that follow from settings: the URL of the gateway."""

from __future__ import annotations

from typing import Final

from iogate.settings.table import Settings

EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - not listened on, only read
"""Addresses that stand for all of a machine, and one of its own."""


def gateway_url(settings: Settings) -> str:
    """Return the URL of the gateway of these settings: `public_url`, else that of `host` and `port`."""
    if settings.public_url:
        return settings.public_url
    bracketed = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{EVERYWHERE.get(settings.host, bracketed)}:{settings.port}"
