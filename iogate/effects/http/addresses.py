"""Where calls may go: the guard against requests that data, a redirect or DNS bends inwards.

Called by `calls` before each hop, and by its resolvers for each name that they look up: the connection is
made to the very addresses that were checked, so a name that changes between check and use gains nothing.

Three degrees of trust in a URL:

    REVIEWED     the host is written in a reviewed file or in `endpoints`: any address
    REDIRECTED   another server named it: public addresses, and what `allow_hosts` lists
    COMPUTED     it came out of data: only what `allow_hosts` lists

Never, whatever the trust: link-local addresses, the metadata services of clouds, and the store.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

from aiohttp import ThreadedResolver
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

Address = IPv4Address | IPv6Address


class Trust(Enum):
    REVIEWED = "reviewed"
    REDIRECTED = "redirected"
    COMPUTED = "computed"


class Forbidden(Exception):
    """An address that this call must not reach; says which and what to do."""


METADATA: Final = frozenset(
    ip_address(text)
    for text in ("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254")
)
"""Metadata and host services of clouds that do not sit on a link-local address."""

NAT64: Final = ip_network("64:ff9b::/96")


def unwrap(address: Address) -> Address:
    """Give the IPv4 address inside an IPv6 one that only carries it: mapped, compatible, NAT64, 6to4."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in NAT64 or (int(address) >> 32 == 0 and int(address) > 1):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def literal(host: str) -> Address | None:
    """Give the address that a URL's host spells out, None for a name.

    Raises Forbidden for the old spellings (decimal, octal, hexadecimal, shortened) that C libraries take
    for an address and readers do not.
    """
    try:
        return unwrap(ip_address(host.partition("%")[0]))
    except ValueError:
        pass
    try:
        socket.inet_aton(host.rstrip("."))
    except OSError:
        return None
    raise Forbidden(f'host "{host}" is an address in disguise; write it as four plain decimal numbers')


def is_public(address: Address) -> bool:
    return address.is_global and not address.is_multicast


class AddressPolicy:
    """Judges URLs and addresses by the settings `allow_hosts` and `redis_url`."""

    def __init__(self, *, allow_hosts: Sequence[str], redis_url: str | None) -> None:
        self._listed = [entry.lower() for entry in allow_hosts]
        store = urlsplit(redis_url or "")
        tcp = store.scheme in {"redis", "rediss"}
        self._store_host = (store.hostname or "localhost") if tcp else None
        self._store_port = (store.port or 6379) if tcp else 0

    async def admit(self, url: URL, trust: Trust) -> None:
        """Judge the host as it is written; names are judged again by their addresses, in the resolver."""
        host, port = (url.raw_host or "").lower().rstrip("."), url.port or 0
        if trust is not Trust.REVIEWED and url.raw_user is not None:
            raise Forbidden("a URL that is not written in the workflow must not carry a user or password")
        address = literal(host)
        if trust is Trust.COMPUTED and not self._lists(host, port, address):
            raise Forbidden(
                f'host "{host}" came out of data and is not in "allow_hosts"; '
                f'add "{host}" to that setting to let computed URLs reach it'
            )
        if host == self._store_host and port == self._store_port:
            raise Forbidden(f'"{host}:{port}" is the store; no call may reach it')
        if address is not None:
            await self.check(address, host=host, port=port, guarded=trust is not Trust.REVIEWED)

    async def check(self, address: Address, *, host: str, port: int, guarded: bool) -> None:
        """Judge an address that a connection is about to be made to."""
        address = unwrap(address)
        if address.is_link_local or address in METADATA:
            raise Forbidden(f'"{host}" is {address}, a link-local or metadata address; no call may reach it')
        if port == self._store_port and await self._is_store(address):
            raise Forbidden(f'"{host}:{port}" is the store; no call may reach it')
        if guarded and not is_public(address) and not self._lists(host, port, address, by_pattern=False):
            raise Forbidden(
                f'"{host}" is {address}, which is not a public address; '
                f'name the host in "allow_hosts" or write it in the workflow to let calls reach it'
            )

    def _lists(self, host: str, port: int, address: Address | None, *, by_pattern: bool = True) -> bool:
        """Say whether `allow_hosts` names it: `host`, `host:port`, an address, a network, `*.domain`, `*`."""
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

    async def _is_store(self, address: Address) -> bool:
        if self._store_host is None:
            return False
        stores = await _addresses(self._store_host)
        local = address.is_loopback or address.is_unspecified
        return address in stores or (local and any(s.is_loopback or s.is_unspecified for s in stores))


def _within(address: Address, network: str) -> bool:
    try:
        return address in ip_network(network, strict=False)
    except ValueError:
        return False


async def _addresses(host: str) -> set[Address]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return set()
    return {unwrap(ip_address(str(sockaddr[0]).partition("%")[0])) for *_, sockaddr in found}


class CheckedResolver(AbstractResolver):
    """Resolves names and lets through only addresses that the policy admits."""

    def __init__(self, policy: AddressPolicy, *, guarded: bool) -> None:
        self._policy = policy
        self._guarded = guarded
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        # One bad address condemns the name: an honest name has none, and picking the good ones would
        # leave the choice to whoever runs the name server.
        for result in found:
            address = ip_address(result["host"].partition("%")[0])
            await self._policy.check(address, host=host, port=port, guarded=self._guarded)
        return found

    async def close(self) -> None:
        await self._resolver.close()
