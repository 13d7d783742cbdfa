"""Allowed values of the header Host: protection against DNS rebinding.

A web page whose name resolves to this machine may read everything that is served under that name. So a
request is served only if its `Host` cannot be such a name. Used by `app` for every request. Invariants: a
gateway on loopback serves only loopback addresses, since browsers send neither `Origin` nor `Sec-Fetch-Site`
with an image from `[::ffff:127.0.0.1]`; another gateway serves every address, since a page there came from
that machine.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

REMEMBERED: Final = 256
"""Size of the cache of accepted values of `Host`."""
LONGEST: Final = 300
_PRIVATE: Final = (".local", ".internal", ".localhost")
"""Domains that cannot be registered."""
_HOST: Final = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\[\]:@/?#%\s]+))(?::[0-9]*)?", re.IGNORECASE)
"""An IPv6 address without a zone, or a name or IPv4 address; then a port."""


class Hosts:
    """Set of the host names that are served: those of the settings, and names that no attacker can own."""

    def __init__(
        self,
        names: Iterable[str] = (),
        *,
        listens_on: str = "127.0.0.1",
        public_url: str | None = None,
        loopback: bool = True,
    ) -> None:
        """`names` is the setting `hosts`; `loopback`: only this machine reaches the gateway."""
        given = [name.lower().rstrip(".") for name in names]
        self._all = "*" in given
        self._exact = {name for name in given if not name.startswith("*")} | {"localhost"}
        self._endings = tuple(name[1:] for name in given if name.startswith("*."))
        self._exact.add(listens_on.lower())
        if public_url and (host := urlsplit(public_url).hostname):
            self._exact.add(host)
        self._loopback = loopback
        self._lenient = not loopback and not given
        if self._lenient:
            self._exact.add(socket.gethostname().lower())
        self._known: set[bytes] = set()

    def serves(self, host: bytes | None) -> bool:
        """Tell whether a request with this `Host` is served; a request without it is not from a browser."""
        if self._all or not host or host in self._known:
            return True
        if len(host) > LONGEST or not self._is_served(_name(host.decode("latin-1"))):
            return False
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known.add(host)
        return True

    def _is_served(self, name: str) -> bool:
        if not name:
            return False
        if name in self._exact or name.endswith(self._endings):
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            pass
        else:
            return not self._loopback or _is_loopback(address)
        if name.endswith(".localhost"):
            return True
        return self._lenient and ("." not in name or name.endswith(_PRIVATE))


def _is_loopback(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Tell whether browsers treat a host as loopback; they do not if it is an IPv4-mapped address."""
    return address.is_loopback and getattr(address, "ipv4_mapped", None) is None


def _name(host: str) -> str:
    """Return the name in a `Host` header, `HOST` or `HOST:PORT`, without brackets; empty for another form."""
    found = _HOST.fullmatch(host)
    if found is None:
        return ""
    return (found[1] or found[2]).lower().rstrip(".")
