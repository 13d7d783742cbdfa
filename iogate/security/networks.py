"""IP addresses and networks: parsing, one normal form for equal addresses, sets with fast lookup.

Used by the settings, by API documents, by plans and by the gateway. Pure. Invariant: an IPv6 address that
only maps an IPv4 address (RFC 4291, section 2.5.5.2) is that IPv4 address everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    collapse_addresses,
    ip_address,
    ip_interface,
)
from typing import Final, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

FORMS: Final = "an address or a network, such as 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32"
_MAPPED_BITS: Final = 96
LONGEST: Final = 64
"""Characters; an address or network is shorter."""


def parse_address(text: str) -> Address | None:
    """Parse an IP address to the normal form in which it is looked up in networks; None for other text.

    A text with a zone is no address.
    """
    if len(text) > LONGEST or "%" in text:
        return None
    try:
        found = ip_address(text)
    except ValueError:
        return None
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        return found.ipv4_mapped
    return found


def parse_network(text: str) -> Network:
    """Parse an IP network, or an address as the network of its own.

    Raises ValueError with the correct form: a network whose address has bits below the prefix is a mistake.
    """
    if len(text) > LONGEST or "%" in text:
        raise ValueError(f"expected {FORMS}")
    try:
        given = ip_interface(text)
    except ValueError:
        raise ValueError(f"expected {FORMS}") from None
    network: Network = given.network
    if "/" in text and not text.rpartition("/")[2].isdecimal():
        raise ValueError(f"expected {FORMS}, with the mask as a number of bits: {network}")
    if given.ip != network.network_address:
        raise ValueError(f"{text} has bits below its prefix: write {network}, or {given.ip} for the address")
    if isinstance(network, IPv6Network) and network.prefixlen >= _MAPPED_BITS:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))
    return network


def to_text(network: Network) -> str:
    """Return the shortest text of an IP network; that of a single address has no prefix."""
    alone = network.prefixlen == network.max_prefixlen
    return str(network.network_address if alone else network)


class NetworkSet:
    """Set of networks; a lookup takes one step for each length of prefix among them."""

    def __init__(self, networks: Iterable[Network]) -> None:
        given = list(networks)
        found: list[Network] = [
            *collapse_addresses(each for each in given if isinstance(each, IPv4Network)),
            *collapse_addresses(each for each in given if isinstance(each, IPv6Network)),
        ]
        self.networks = tuple(found)
        """The fewest networks with these addresses, in order."""
        self._by_shift: dict[int, dict[int, frozenset[int]]] = {
            version: _by_shift(each for each in found if each.version == version) for version in (4, 6)
        }

    def __bool__(self) -> bool:
        return bool(self.networks)

    def __contains__(self, address: Address) -> bool:
        number = int(address)
        for shift, prefixes in self._by_shift[address.version].items():  # noqa: SIM110 - twice as fast
            if number >> shift in prefixes:
                return True
        return False

    def covers(self, network: Network) -> bool:
        """Tell whether all addresses of a network are in this set."""
        first, last = network.network_address, network.broadcast_address
        if first not in self:
            return False
        # The set is collapsed, so that one of its networks contains the whole of any covered network.
        return any(
            each.version == network.version and first in each and last in each for each in self.networks
        )


def _by_shift(networks: Iterator[Network]) -> dict[int, frozenset[int]]:
    """Return the prefixes of IP networks by the number of bits below them."""
    found: dict[int, set[int]] = {}
    for each in networks:
        shift = each.max_prefixlen - each.prefixlen
        found.setdefault(shift, set()).add(int(each.network_address) >> shift)
    return {shift: frozenset(prefixes) for shift, prefixes in sorted(found.items(), reverse=True)}
