"""URLs of callbacks, and the hosts that an API lets its callers name.

Used by the models of documents and by the gateway. Pure. Invariant: a URL that passes is absolute, https
unless its host is this machine, and carries no credentials.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final
from urllib.parse import SplitResult, urlsplit

LONGEST: Final = 2_048
HOST: Final = r"(?:\*|(?:\*\.)?[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]+\])(?::(?:[0-9]{1,5}|\*))?"
"""A host, `*.` and a domain, or `*`; each with an optional port, or `:*` for every port."""
EXPECTED: Final = "a host such as hooks.example.com, *.example.com, localhost:8080 or localhost:*"

_PRINTABLE: Final = re.compile(r"[!-~]+")
_NAME: Final = re.compile(
    r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*"
)
_ENTRY: Final = re.compile(r"(\[[^\]]*\]|[^:]*)(?::([0-9]+|\*))?")
_PORTS: Final = {"http": 80, "https": 443}


def fault(url: str) -> str | None:
    """Return why a text is not valid as the URL of a callback; None if it is."""
    if len(url) > LONGEST:
        return f"it is longer than {LONGEST} characters"
    if not _PRINTABLE.fullmatch(url):
        return "it has spaces, or characters that are not ASCII"
    parts = _split(url)
    if parts is None or not parts.hostname or parts.scheme not in _PORTS or parts.port == 0:
        return "it is not an absolute https:// URL"
    if "@" in parts.netloc:
        return "it contains a user or a password"
    if not _is_host(normal_host(parts.hostname)):
        return "its host is not a name or an address"
    if "#" in url:
        return "it has a fragment"
    if parts.scheme == "http" and not is_this_machine(parts.hostname):
        return "it is not https, which only hosts of this machine may leave out"
    return None


def entry_fault(entry: str) -> str | None:
    """Return the form of an entry of `allow` for hosts of callbacks; None if it has it."""
    if re.fullmatch(HOST, entry) is None:
        return EXPECTED
    host, port = _split_entry(entry)
    if port.isdigit() and not 1 <= int(port) <= 65_535:
        return "a host with a port from 1 to 65535, or :* for every port"
    name = host.removeprefix("*.")
    if host == "*":
        return None
    if host.startswith("["):
        return (
            None
            if ":" in host and _is_ip(host[1:-1])
            else "a host with an IPv6 address such as [2001:db8::1]"
        )
    if _is_address(name):
        if host == name and _is_ip(name):
            return None
        return "a host with a domain, or an address of four decimal numbers such as 192.0.2.1"
    if _is_host(name):
        return None
    return "a host with parts of 1 to 63 letters, digits and inner hyphens, such as hooks.example.com"


def is_allowed(url: str, hosts: Sequence[str]) -> bool:
    """Tell whether the host of a callback URL without `fault` is one of these hosts."""
    return allowing_entry(url, hosts) is not None


def allowing_entry(url: str, hosts: Sequence[str]) -> str | None:
    """Return the entry that allows the host of a callback URL; None if none does.

    The URL has no `fault`. If several entries allow it, the result is one without `*`, if any.

    `*.example.com` stands for every name below that domain, and `*` for every name; addresses must be written
    out. An entry without a port allows that of the scheme, 443 or 80, and one with `:*` every port.
    """
    parts = _split(url)
    if parts is None or not parts.hostname:
        return None
    name, usual = normal_host(parts.hostname), _PORTS.get(parts.scheme, 443)
    port = usual if parts.port is None else parts.port
    matching = [entry for entry in hosts if _matches(name, port, usual, entry)]
    return min(matching, key=is_pattern, default=None)


def is_pattern(entry: str) -> bool:
    """Tell whether an entry of `allow` stands for several hosts of callbacks."""
    return entry.startswith("*")


def host_of(url: str) -> str:
    """Return the normal form of the host of a callback URL without `fault`; the same for each spelling."""
    parts = _split(url)
    return normal_host((parts.hostname if parts is not None else None) or "")


def normal_host(host: str) -> str:
    """Return a callback's host in small letters, as IDNA, without a final dot; addresses shortened."""
    name = host.strip("[]").lower().rstrip(".")
    if ":" in name:
        name = name.partition("%")[0]
    try:
        address = ip_address(name)
    except ValueError:
        pass
    else:
        return str(getattr(address, "ipv4_mapped", None) or address)
    if not name.isascii():
        with contextlib.suppress(UnicodeError):
            return name.encode("idna").decode()
    return name


def is_this_machine(host: str) -> bool:
    """Tell whether the host of a callback always means the machine itself."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _matches(name: str, port: int, usual: int, entry: str) -> bool:
    host, wanted = _split_entry(entry)
    if wanted != "*" and port != (int(wanted) if wanted else usual):
        return False
    if host == "*":
        return not _is_address(name)
    if host.startswith("*."):
        return name.endswith(host[1:]) and len(name) > len(host) - 1 and not _is_address(name)
    return name == normal_host(host)


def _split_entry(entry: str) -> tuple[str, str]:
    """Return the host and port of an entry of `allow` for callbacks; the port is empty if not given."""
    found = _ENTRY.fullmatch(entry)
    return (found[1], found[2] or "") if found is not None else (entry, "")


def _is_host(name: str) -> bool:
    """Tell whether the normal host of a callback has the form of a name or of an address."""
    return _is_ip(name) or (len(name) <= 253 and _NAME.fullmatch(name) is not None)


def _is_ip(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _is_address(name: str) -> bool:
    """Tell whether the host of a callback is an address, also in a form such as 0x7f000001."""
    if _is_ip(name):
        return True
    return not re.search(r"[a-z]", name.rpartition(".")[2]) or re.match(r"0x", name) is not None


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts
