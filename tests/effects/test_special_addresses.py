"""Special-purpose addresses of IANA's registries are not public, in any notation."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from iogate.effects.http.address_policy import (
    AddressPolicy,
    ForbiddenAddress,
    Trust,
    is_public,
    reachable_addresses,
    unwrap_ipv4,
)

SPECIAL_V4 = [
    ip_network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
]
SPECIAL_V6 = [
    ip_network(text)
    for text in (
        "::/128",
        "::1/128",
        "64:ff9b:1::/48",
        "100::/64",
        "100:0:0:1::/64",
        "2001::/32",
        "2001:2::/48",
        "2001:10::/28",
        "2001:20::/28",
        "2001:db8::/32",
        "3fff::/20",
        "5f00::/16",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    )
]

public_v4 = st.ip_addresses(v=4).filter(lambda each: not any(each in network for network in SPECIAL_V4))
special_v4 = st.sampled_from(SPECIAL_V4).flatmap(lambda network: st.ip_addresses(network=network))
special_v6 = st.sampled_from(SPECIAL_V6).flatmap(lambda network: st.ip_addresses(network=network))


def low(prefix: str, inner: IPv4Address) -> IPv6Address:
    return IPv6Address(int(IPv6Address(prefix)) | int(inner))


def embeddings(inner: IPv4Address) -> list[IPv6Address]:
    """Return the IPv6 addresses that embed an IPv4 one: compatible, mapped, translated, NAT64, 6to4."""
    tunnel = IPv6Address(0x2002 << 112 | int(inner) << 80 | 1)
    return [low(prefix, inner) for prefix in ("::", "::ffff:0:0", "::ffff:0:0:0", "64:ff9b::")] + [tunnel]


def locally_translated(inner: IPv4Address) -> list[IPv6Address]:
    """RFC 6052, section 2.2, under 64:ff9b:1::/48: prefixes of 48, 56, 64 and 96 bits."""
    prefix, value = int(IPv6Address("64:ff9b:1::")), int(inner)
    high, rest = value >> 16, value & 0xFFFF
    return [
        IPv6Address(prefix | high << 64 | rest << 40),
        IPv6Address(prefix | value >> 24 << 64 | (value & 0xFFFFFF) << 32),
        IPv6Address(prefix | value << 24),
        IPv6Address(prefix | value),
    ]


@given(special_v4)
@example(IPv4Address("192.88.99.1"))
@example(IPv4Address("255.255.255.255"))
def test_no_notation_of_a_special_address_is_public(inner: IPv4Address) -> None:
    assert not is_public(inner)
    for outer in embeddings(inner):
        assert not is_public(unwrap_ipv4(outer)), outer


@given(special_v6)
@example(IPv6Address("fec0::1"))
@example(IPv6Address("64:ff9b:1::8.8.8.8"))
def test_special_ranges_of_ipv6_are_not_public(address: IPv6Address) -> None:
    assert not is_public(unwrap_ipv4(address))


@given(public_v4)
def test_public_addresses_are_public_in_each_notation(inner: IPv4Address) -> None:
    assert is_public(inner)
    assert all(unwrap_ipv4(outer) == inner for outer in embeddings(inner) if int(inner) > 1)


@given(st.ip_addresses(network="2400::/6"))
def test_global_unicast_of_ipv6_is_public(address: IPv6Address) -> None:
    assert is_public(unwrap_ipv4(address))
    assert reachable_addresses(address) == (address,)


@given(st.ip_addresses(v=4))
def test_addresses_of_local_nat64_are_unwrapped(inner: IPv4Address) -> None:
    for outer in locally_translated(inner):
        assert outer in IPv6Network("64:ff9b:1::/48")
        assert inner in reachable_addresses(outer)


@given(st.ip_addresses(v=4), st.ip_addresses(v=4), st.integers(0, 0xFFFFFFFF))
def test_both_ends_of_a_teredo_tunnel_are_checked(
    server: IPv4Address, client: IPv4Address, rest: int
) -> None:
    outer = IPv6Address(0x20010000 << 96 | int(server) << 64 | rest << 32 | int(client) ^ 0xFFFFFFFF)
    assert reachable_addresses(outer) == (outer, server, client)


@pytest.mark.parametrize("trust", list(Trust))
@pytest.mark.parametrize("inner", ["169.254.169.254", "168.63.129.16"])
async def test_no_notation_reaches_metadata_services(inner: str, trust: Trust) -> None:
    policy = AddressPolicy(allow_hosts=["*", "::/0", "0.0.0.0/0"], redis_url=None)
    address = ip_address(inner)
    assert isinstance(address, IPv4Address)
    assert address in IPv4Network(f"{inner}/32")
    for outer in (*embeddings(address), *locally_translated(address)):
        with pytest.raises(ForbiddenAddress, match="a link-local or metadata address; no call may reach it"):
            await policy.admit(URL(f"http://[{outer}]/"), trust)


@pytest.mark.parametrize("host", ["fec0::1", "64:ff9b:1::808:808", "::ffff:0:10.0.0.1", "192.88.99.1"])
async def test_a_redirect_does_not_reach_a_special_range(host: str) -> None:
    policy = AddressPolicy(allow_hosts=["*"], redis_url=None)
    bracketed = f"[{host}]" if ":" in host else host
    with pytest.raises(ForbiddenAddress, match="which is not a public address"):
        await policy.admit(URL(f"http://{bracketed}/"), Trust.REDIRECTED)
