"""URLs of callbacks, and the hosts that an API lets its callers name.

Used by the models of documents and by the gateway. Pure. Invariant: a URL that passes is absolute, https
unless its host is this machine, and carries no credentials.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final
from urllib.parse import SplitResult, urlsplit

LONGEST: Final = 2_048
HOST: Final = r"(?:\*|(?:\*\.)?[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?"
"""A host, `*.` and a domain, or `*`; each with an optional port."""

_PRINTABLE: Final = re.compile(r"[!-~]+")


def fault(url: str) -> str | None:
    """Return why a URL cannot be the target of a callback; None if it can."""
    if len(url) > LONGEST:
        return f"it is longer than {LONGEST} characters"
    if not _PRINTABLE.fullmatch(url):
        return "it has spaces, or characters that are not ASCII"
    parts = _split(url)
    if parts is None or not parts.hostname or parts.scheme not in ("http", "https"):
        return "it is not an absolute https:// URL"
    if "@" in parts.netloc:
        return "it contains a user or a password"
    if "#" in url:
        return "it has a fragment"
    if parts.scheme == "http" and not is_this_machine(parts.hostname):
        return "it is not https, which only hosts of this machine may leave out"
    return None


def is_allowed(url: str, hosts: Sequence[str], *, named: bool = False) -> bool:
    """Tell whether the host of a URL without `fault` is one of these hosts.

    `*.example.com` stands for every name below that domain, and `*` for every name; addresses must be written
    out. A host without a port allows every port. `named`: only if it is written without `*`.
    """
    parts = _split(url)
    if parts is None or not parts.hostname:
        return False
    name = parts.hostname.rstrip(".")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return any(_matches(name, port, pattern) for pattern in hosts if not (named and "*" in pattern))


def is_this_machine(host: str) -> bool:
    """Tell whether a host name or address always means the machine itself."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _matches(name: str, port: int, pattern: str) -> bool:
    host, colon, wanted = pattern.rpartition(":") if re.search(r":[0-9]+\Z", pattern) else (pattern, "", "")
    if colon and int(wanted) != port:
        return False
    if host == "*":
        return not _is_address(name)
    if host.startswith("*."):
        return name.endswith(host[1:]) and len(name) > len(host) - 1
    return name == host.strip("[]")


def _is_address(name: str) -> bool:
    """Tell whether a host is an address, also in a form that only some systems read, such as 0x7f000001."""
    try:
        ip_address(name)
    except ValueError:
        return not re.search(r"[a-z]", name.rpartition(".")[2]) or re.match(r"0x", name) is not None
    return True


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts
