"""Trusted proxies name the client; nobody else does, and no header lets a client choose its address."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iogate.errors import InvalidFiles
from iogate.gateway.http.client_address import MOST_HOPS, TrustedProxies
from iogate.security.failure_limit import FAILURES
from iogate.settings import read
from tests.gateway.driver import USER, World, api, build

PROXIES = TrustedProxies(["10.0.0.0/8", "2001:db8:1::/48"])
PROXY, CLIENT = "10.0.0.1", "198.51.100.7"


def client(*headers: tuple[str, str], peer: str = PROXY) -> str:
    return PROXIES.client(peer, raw(headers))


def raw(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode("latin-1")) for name, value in headers]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (CLIENT, CLIENT),
        (f"1.1.1.1, {CLIENT}", CLIENT),
        (f"garbage, {CLIENT}, 10.0.0.2,10.9.9.9", CLIENT),
        (f"{CLIENT}:4711", CLIENT),
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ("2001:DB8::7", "2001:db8::7"),
        (f"::ffff:{CLIENT}", CLIENT),
        (f"{CLIENT}, ::ffff:10.0.0.2", CLIENT),
        (f"{CLIENT}, , 10.0.0.2,", CLIENT),
        (f"{CLIENT}{',' * (MOST_HOPS - 1)}", CLIENT),
        ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("2001:db8:1::5", "2001:db8:1::5"),
    ],
)
def test_the_last_address_that_is_no_proxy_is_the_client(value: str, expected: str) -> None:
    assert client(("x-forwarded-for", value)) == expected
    assert not PROXIES.is_doubtful(expected, raw([("x-forwarded-for", value)]))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (f"for={CLIENT}", CLIENT),
        (f"For={CLIENT};proto=https;by=10.0.0.1", CLIENT),
        (f'for=1.1.1.1, for="{CLIENT}:80" ; host="a,b;c"', CLIENT),
        ('for="[2001:db8::7]:4711"', "2001:db8::7"),
        ('for="[2001:db8::7]:_port"', "2001:db8::7"),
        (f'for="{CLIENT[:-1]}\\7"', CLIENT),
        (f"for={CLIENT},for=10.0.0.2", CLIENT),
        (f"for=unknown, for={CLIENT}", CLIENT),
    ],
)
def test_forwarded_names_the_client(value: str, expected: str) -> None:
    assert client(("forwarded", value)) == expected


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("x-forwarded-for", "")],
        [("x-forwarded-for", "unknown")],
        [("x-forwarded-for", f"{CLIENT}, 010.0.0.2")],
        [("x-forwarded-for", f"{CLIENT}, fe80::1%eth0")],
        [("x-forwarded-for", f"{CLIENT}, [10.0.0.2]:80")],
        [("x-forwarded-for", f"{CLIENT}, 10.0.0.2:80:80")],
        [("x-forwarded-for", ", ".join([CLIENT, *["10.0.0.2"] * MOST_HOPS]))],
        [("x-forwarded-for", f"{CLIENT}{',' * MOST_HOPS}")],
        [("x-forwarded-for", CLIENT), *[("x-forwarded-for", "")] * MOST_HOPS],
        [("forwarded", "for=unknown")],
        [("forwarded", "for=_hidden")],
        [("forwarded", f"for={CLIENT};for=1.1.1.1")],
        [("forwarded", f"by={CLIENT}")],
        [("forwarded", f'for="unclosed, for={CLIENT}')],
        [("forwarded", f"for={CLIENT} for=1.1.1.1")],
        [("forwarded", f"for = {CLIENT}")],
        [("forwarded", "for=[2001:db8::7]")],
        [("forwarded", f'for="[{CLIENT}]"')],
        [("forwarded", f"for={CLIENT}"), ("x-forwarded-for", "1.1.1.1")],
        [("forwarded", "malformed"), ("x-forwarded-for", CLIENT)],
    ],
    ids=str,
)
def test_without_a_correct_address_the_peer_counts(headers: list[tuple[str, str]]) -> None:
    assert client(*headers) == PROXY
    assert PROXIES.is_doubtful(PROXY, raw(headers)) == bool(headers)


def test_two_headers_that_agree_name_the_client() -> None:
    assert client(("forwarded", f"for={CLIENT}"), ("x-forwarded-for", f"1.1.1.1, {CLIENT}")) == CLIENT


def test_several_lines_of_a_header_are_one_list() -> None:
    assert client(("x-forwarded-for", f"1.1.1.1,{CLIENT}"), ("x-forwarded-for", "10.0.0.2")) == CLIENT
    assert client(("forwarded", f"for={CLIENT}"), ("forwarded", "for=10.0.0.2")) == CLIENT


@pytest.mark.parametrize("peer", [CLIENT, "::1", "2001:db8:2::1", "unix", ""])
def test_headers_of_another_peer_have_no_effect(peer: str) -> None:
    assert client(("x-forwarded-for", "1.1.1.1"), ("forwarded", "for=1.1.1.1"), peer=peer) == peer
    assert not PROXIES.is_doubtful(peer, raw([("x-forwarded-for", "1.1.1.1")]))


def test_a_mapped_peer_is_the_proxy() -> None:
    assert client(("x-forwarded-for", CLIENT), peer=f"::ffff:{PROXY}") == CLIENT


ADDRESSES = st.one_of(
    st.builds(IPv4Address, st.integers(0, 2**32 - 1)), st.builds(IPv6Address, st.integers(0, 2**128 - 1))
)
HEADER = st.text(st.characters(min_codepoint=9, max_codepoint=255), max_size=60)


def is_foreign(address: IPv4Address | IPv6Address) -> bool:
    """Tell whether an address is not one of a proxy, behind which an earlier one counts."""
    return client(("x-forwarded-for", f"{CLIENT}, {address}")) != CLIENT


@given(HEADER, ADDRESSES.filter(is_foreign))
def test_nothing_that_a_client_sends_changes_the_address_that_its_proxy_appends(
    forged: str, address: IPv4Address | IPv6Address
) -> None:
    """The one header that the proxy appends to; the client may also send the other one, and be unknown."""
    true = str(getattr(address, "ipv4_mapped", None) or address)
    appended = f"{forged}, {address}"
    assert client(("x-forwarded-for", appended)) == true
    assert client(("x-forwarded-for", appended), ("forwarded", forged)) in (true, PROXY)
    quoted = f'for="[{address}]"' if ":" in str(address) else f"for={address}"
    assert client(("forwarded", forged), ("forwarded", quoted)) == true
    assert client(("forwarded", f"{forged}, {quoted}")) in (true, PROXY)


@given(st.lists(st.tuples(st.sampled_from(["forwarded", "x-forwarded-for"]), HEADER), max_size=4))
def test_no_header_breaks_the_parser(headers: list[tuple[str, str]]) -> None:
    found = client(*headers)
    assert found == PROXY or str(ip_address(found)) == found


async def test_limits_and_the_log_use_the_address_of_the_client(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.live.trusted_proxies = TrustedProxies(["127.0.0.1"])
    world.application = build(world.live, world.refresher)
    await world.publish(api("t/t", USER))
    caplog.set_level(logging.INFO, "iogate.gateway.http.access_log")
    wrong = {"user": "iolinker", "password": "wrong"}
    for _ in range(FAILURES):
        world.live.hashing.count_attempt(CLIENT)
    refused = await world.call("t/t", x_forwarded_for=f"1.1.1.1, {CLIENT}", **wrong)
    assert refused.status == 429
    assert [line.address for line in caplog.records if hasattr(line, "address")] == [CLIENT]
    other = await world.call("t/t", x_forwarded_for="198.51.100.8", **wrong)
    assert other.status == 401
    missing = await world.ask("/v1/runs/1", headers={"x-forwarded-for": CLIENT, **wrong})
    assert missing.status == 429


def test_the_setting_is_a_list_of_networks() -> None:
    given_ = ["::ffff:10.0.0.0/104", "192.0.2.7/32", "192.0.2.7"]
    assert read({"trusted_proxies": given_}).trusted_proxies == ("10.0.0.0/8", "192.0.2.7")
    assert read(environment={"IOGATE_TRUSTED_PROXIES": '["127.0.0.1"]'}).trusted_proxies == ("127.0.0.1",)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            ["10.0.0.1/8"],
            "trusted_proxies[0]: 10.0.0.1/8 has bits below its prefix: write 10.0.0.0/8, or 10.0.0.1 for the "
            "address",
        ),
        (
            ["proxy.example.com"],
            "trusted_proxies[0]: expected an address or a network, such as 192.0.2.7, 10.0.0.0/8 or "
            '2001:db8::/32, got "proxy.example.com"',
        ),
        ("127.0.0.1", 'trusted_proxies: expected a list of networks, such as [10.0.0.0/8], got "127.0.0.1"'),
        ([8], "trusted_proxies[0]: expected an address or a network, such as"),
    ],
)
def test_an_invalid_setting_has_a_message(value: object, message: str) -> None:
    with pytest.raises(InvalidFiles) as raised:
        read({"trusted_proxies": value})
    assert message in str(raised.value)
