"""Address policy of calls: protection against server-side request forgery by data, redirects or DNS.

Called by `transport` before each request, and by its resolvers for each name: connections are made to the
checked addresses only, which prevents DNS rebinding.

Three degrees of trust in a URL:

    REVIEWED     the host is written in a reviewed file or in `endpoints`: any address
    REDIRECTED   another server named it: public addresses, and hosts in `allow_hosts`
    COMPUTED     it came from data: only hosts in `allow_hosts`

Always forbidden: link-local addresses, the metadata services of clouds, and the store. An IPv6 address that
embeds an IPv4 address for a translator or a tunnel must satisfy the rules for both.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from iogate.effects.http import name_lookup
from iogate.effects.http.name_lookup import NameLookup
from iogate.settings.redis_url import PORT, Host, hosts, sentinels

Address = IPv4Address | IPv6Address


class Trust(Enum):
    """Trust in a URL, by its origin."""

    REVIEWED = "reviewed"
    REDIRECTED = "redirected"
    COMPUTED = "computed"


_TRUST_ORDER: Final = [Trust.REVIEWED, Trust.REDIRECTED, Trust.COMPUTED]


def lower_trust(one: Trust, other: Trust) -> Trust:
    """Return the lower of two degrees of trust in URLs, by the address policy."""
    return max(one, other, key=_TRUST_ORDER.index)


class ForbiddenAddress(Exception):
    """An address that this call must not reach; the message names it and the setting that allows it."""


METADATA_SERVICES: Final = frozenset(
    ip_address(text)
    for text in ("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254")
)
"""Metadata and host services of clouds that are not on a link-local address."""

_LAST_32_BITS: Final = tuple(
    ip_network(text)
    for text in (
        "::ffff:0:0/96",  # mapped, RFC 4291
        "::ffff:0:0:0/96",  # translated, RFC 2765
        "64:ff9b::/96",  # NAT64, RFC 6052
    )
)
"""Prefixes of IPv6 addresses that only embed an IPv4 address; `::/96` (RFC 4291) is another."""

LOCAL_NAT64: Final = IPv6Network("64:ff9b:1::/48")
"""RFC 8215: the operator of a network chooses the prefix within it, and so the place of the IPv4 address."""
TEREDO: Final = IPv6Network("2001::/32")
"""RFC 4380."""

GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
"""Range of the public IPv6 internet; addresses outside are local, translated or unassigned."""
SPECIAL_RANGES: Final = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",  # this network, RFC 791
        "10.0.0.0/8",  # private, RFC 1918
        "100.64.0.0/10",  # shared by carriers, RFC 6598
        "127.0.0.0/8",  # loopback, RFC 1122
        "169.254.0.0/16",  # link-local, RFC 3927
        "172.16.0.0/12",  # private, RFC 1918
        "192.0.0.0/24",  # protocol assignments, RFC 6890
        "192.0.2.0/24",  # documentation, RFC 5737
        "192.88.99.0/24",  # 6to4 relays, RFC 7526
        "192.168.0.0/16",  # private, RFC 1918
        "198.18.0.0/15",  # benchmarks, RFC 2544
        "198.51.100.0/24",  # documentation, RFC 5737
        "203.0.113.0/24",  # documentation, RFC 5737
        "224.0.0.0/4",  # multicast, RFC 5771
        "240.0.0.0/4",  # reserved, and broadcast, RFC 1112
        "2001::/23",  # protocol assignments, Teredo among them, RFC 2928
        "2001:db8::/32",  # documentation, RFC 3849
        "2002::/16",  # 6to4, RFC 3056: `unwrap_ipv4` gives the address that counts
        "3fff::/20",  # documentation, RFC 9637
    )
)
"""Special-purpose ranges of IANA's registries that are not part of the public internet. They are listed
because `is_global` of the standard library differs between Python versions and takes ranges for translation
and site-local addresses as public."""


def unwrap_ipv4(address: Address) -> Address:
    """Return the IPv4 address in an IPv6 address, which the policy checks in its place; others unchanged.

    The kinds are mapped, translated, NAT64 and 6to4.
    """
    if isinstance(address, IPv4Address):
        return address
    if address.sixtofour is not None:
        return address.sixtofour
    compatible = int(address) >> 32 == 0 and int(address) > 1
    if compatible or any(address in network for network in _LAST_32_BITS):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def reachable_addresses(address: Address) -> tuple[Address, ...]:
    """Return the addresses behind an IP that the SSRF policy checks: itself, and tunneled IPv4 ones.

    For local NAT64 there is one address for each length of the prefix (RFC 6052, section 2.2).
    """
    address = unwrap_ipv4(address)
    bits = int(address)
    if isinstance(address, IPv6Address) and address in TEREDO:
        server, client = bits >> 64 & 0xFFFFFFFF, ~bits & 0xFFFFFFFF
        return address, IPv4Address(server), IPv4Address(client)
    if isinstance(address, IPv6Address) and address in LOCAL_NAT64:
        # Bits 64 to 71 are no part of the IPv4 address, wherever it begins.
        joined = (bits >> 64) << 56 | bits & (1 << 56) - 1
        placed = {joined >> (120 - length - 32) & 0xFFFFFFFF for length in (48, 56, 64)}
        return address, *(IPv4Address(each) for each in sorted({*placed, bits & 0xFFFFFFFF}))
    return (address,)


def parse_literal(host: str) -> Address | None:
    """Return the address that is the host of a URL, for a check by the policy; None for a name.

    Raises Forbidden for old notations of addresses (decimal, octal, hexadecimal, shortened), which C
    libraries accept and reviewers overlook.
    """
    try:
        return unwrap_ipv4(ip_address(host.partition("%")[0]))
    except ValueError:
        pass
    try:
        socket.inet_aton(host.rstrip("."))
    except OSError:
        return None
    raise ForbiddenAddress(f'host "{host}" is an address in disguise; write it as four plain decimal numbers')


def is_public(address: Address) -> bool:
    """Tell whether the policy takes an address, after `unwrap_ipv4`, for one of the public internet."""
    if isinstance(address, IPv6Address) and address not in GLOBAL_UNICAST:
        return False
    return not any(address in network for network in SPECIAL_RANGES)


class AddressPolicy:
    """Policy for URLs and addresses, from the settings `allow_hosts` and `redis_url`."""

    def __init__(self, *, allow_hosts: Sequence[str], redis_url: str | None) -> None:
        self._listed = [entry.lower() for entry in allow_hosts]
        self._stores = _store_hosts(redis_url)
        self.lookup = NameLookup()

    def close(self) -> None:
        """Start no further lookup of a name."""
        self.lookup.close()

    async def admit(self, url: URL, trust: Trust) -> None:
        """Check the host of a URL by the policy, as written; the resolver checks the addresses of names.

        Raises Forbidden.
        """
        host, port = (url.raw_host or "").lower().rstrip("."), url.port or 0
        if trust is not Trust.REVIEWED and url.raw_user is not None:
            raise ForbiddenAddress(
                "a URL that is not written in the workflow must not carry a user or password"
            )
        address = parse_literal(host)
        if trust is Trust.COMPUTED and not self._lists(host, port, address):
            raise ForbiddenAddress(
                f'host "{host}" came from data and is not in "allow_hosts"; '
                f'add "{host}" to that setting to let computed URLs reach it'
            )
        if (host, port) in self._stores:
            raise ForbiddenAddress(f'"{host}:{port}" is the store; no call may reach it')
        if address is not None:
            await self.check(address, host=host, port=port, guarded=trust is not Trust.REVIEWED)

    async def check(self, address: Address, *, host: str, port: int, guarded: bool) -> None:
        """Check an IP address by the policy before a connection to it.

        Raises Forbidden, and TimeoutError if the name of the store cannot be looked up in time.
        """
        for each in reachable_addresses(address):
            if each.is_link_local or each in METADATA_SERVICES:
                raise ForbiddenAddress(
                    f'"{host}" is {each}, a link-local or metadata address; no call may reach it'
                )
            if await self._is_store(each, port):
                raise ForbiddenAddress(f'"{host}:{port}" is the store; no call may reach it')
        address = unwrap_ipv4(address)
        if guarded and not is_public(address) and not self._lists(host, port, address, by_pattern=False):
            raise ForbiddenAddress(
                f'"{host}" is {address}, which is not a public address; '
                f'name the host in "allow_hosts" or write it in the workflow to let calls reach it'
            )

    def _lists(self, host: str, port: int, address: Address | None, *, by_pattern: bool = True) -> bool:
        """Tell whether `allow_hosts` lists a host or an address, also by a network or a pattern.

        An entry is `host`, `host:port`, an address, a network, `*.domain` or `*`.
        """
        bracketed = f"[{host}]" if ":" in host else host
        names = {host, bracketed, f"{bracketed}:{port}"}
        for entry in self._listed:
            if entry in names:
                return True
            if by_pattern and (entry == "*" or (entry.startswith("*.") and host.endswith(entry[1:]))):
                return True
            if address is not None and "/" in entry and _within(address, entry):
                return True
        return False

    async def _is_store(self, address: Address, port: int) -> bool:
        named = [host for host, at in self._stores if at == port]
        stores = set[Address]().union(*[await self._addresses(host) for host in named])
        local = address.is_loopback or address.is_unspecified
        return address in stores or (local and any(s.is_loopback or s.is_unspecified for s in stores))

    async def _addresses(self, host: str) -> set[Address]:
        try:
            found = await self.lookup.find(host)
        except TimeoutError:
            raise  # the address may be the store's
        except OSError:
            return set()
        return {unwrap_ipv4(ip_address(each["host"].partition("%")[0])) for each in found}


def _store_hosts(url: str | None) -> frozenset[Host]:
    """Return hosts and ports of the store, which the policy forbids; sentinels may share its host."""
    named = hosts(url or "")
    usual = [(host, PORT) for host, _ in named] if url and sentinels(url) else []
    return frozenset([*named, *usual])


def _within(address: Address, network: str) -> bool:
    try:
        return address in ip_network(network, strict=False)
    except ValueError:
        return False


class CheckedResolver(AbstractResolver):
    """Resolver that accepts a name only if the policy admits all its addresses."""

    def __init__(self, policy: AddressPolicy, *, guarded: bool) -> None:
        self._policy = policy
        self._guarded = guarded

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a name that the policy admits.

        Raises OSError if there are none, also if the lookup takes too long, and Forbidden.
        """
        try:
            found = await self._policy.lookup.find(host, port, family=family, flags=socket.AI_ADDRCONFIG)
        except TimeoutError:
            limit_s = name_lookup.TIMEOUT_S
            raise socket.gaierror(None, f"its name was not resolved within {limit_s:g} s") from None
        # One forbidden address forbids the name: legitimate names have none, and to select the allowed ones
        # would leave the choice to the operator of the name server.
        for result in found:
            address = ip_address(result["host"].partition("%")[0])
            await self._policy.check(address, host=host, port=port, guarded=self._guarded)
        return found

    async def close(self) -> None:
        """Release nothing: the lookup belongs to the policy."""
