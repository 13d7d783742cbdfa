"""Addresses of the gateway: its URL, derived from the settings, and which hosts are this machine."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import Final

from iogate.settings.table import Settings

EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - only compared, not listened on
"""Wildcard addresses, and a loopback address of the same machine."""


def gateway_url(settings: Settings) -> str:
    """Return the gateway's URL by the settings: `public_url`, else one of `host` and `port`."""
    if settings.public_url:
        return settings.public_url
    bracketed = f"[{settings.host}]" if ":" in settings.host else settings.host
    scheme = "https" if settings.tls else "http"
    return f"{scheme}://{EVERYWHERE.get(settings.host, bracketed)}:{settings.port}"


def console_url(settings: Settings) -> str:
    """Return the URL of the console and of the HTTP API of operators, by the settings."""
    if settings.console_port is None:
        return gateway_url(settings)
    return gateway_url(replace(settings, public_url=None, port=settings.console_port))


def own_certificate(settings: Settings) -> str | None:
    """Return the certificate file of the gateway's URL by the settings, unless callers use a `public_url`."""
    return None if settings.public_url or not settings.tls else settings.tls["cert"]


def is_loopback(host: str) -> bool:
    """Tell whether the URL of a gateway, by its host, is reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
