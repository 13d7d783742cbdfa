"""Equal addresses have one form, and a set of networks has exactly their addresses."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iogate.security.networks import NetworkSet, parse_address, parse_network, to_text

V4 = st.builds(lambda number: IPv4Address(number & 0xFFFFFFFF), st.integers(0, 2**32 - 1))
V6 = st.builds(IPv6Address, st.integers(0, 2**128 - 1))
# Few bits, so that networks meet.
NETWORKS = st.lists(
    st.builds(
        lambda bits, length: IPv4Network((bits << 24, length), strict=False),
        st.integers(0, 255),
        st.integers(0, 12),
    )
)


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("192.0.2.7", "192.0.2.7/32"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:DB8:0::/32", "2001:db8::/32"),
        ("::1", "::1/128"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:192.0.2.7", "192.0.2.7/32"),
        ("::/0", "::/0"),
    ],
)
def test_a_network_is_read_in_its_normal_form(text: str, network: str) -> None:
    assert parse_network(text) == ip_network(network)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10.0.0.1/8", "10.0.0.1/8 has bits below its prefix: write 10.0.0.0/8, or 10.0.0.1 for the address"),
        ("10.0.0.0/255.0.0.0", "with the mask as a number of bits: 10.0.0.0/8"),
        ("10.0.0.0/33", "expected an address or a network, such as 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32"),
        ("010.0.0.1", "expected an address"),
        ("fe80::1%eth0", "expected an address"),
        ("partner.example.com", "expected an address"),
        ("", "expected an address"),
        ("1" * 5000, "expected an address"),
    ],
)
def test_an_invalid_network_has_a_message(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        parse_network(text)


@given(st.one_of(V4, V6))
def test_an_address_is_read_back_and_a_mapped_one_is_the_ipv4_address(
    address: IPv4Address | IPv6Address,
) -> None:
    assert parse_address(str(address)) == (getattr(address, "ipv4_mapped", None) or address)
    if isinstance(address, IPv4Address):
        assert parse_address(f"::ffff:{address}") == address
        assert parse_address(f"::FFFF:{int(address) >> 16:x}:{int(address) & 0xFFFF:x}") == address


@given(st.text())
def test_no_text_breaks_the_reading_of_an_address(text: str) -> None:
    assert parse_address(text) is None or ip_address(text) is not None


@given(NETWORKS, V4)
def test_a_set_has_the_addresses_of_its_networks(networks: list[IPv4Network], address: IPv4Address) -> None:
    assert (address in NetworkSet(networks)) == any(address in each for each in networks)
    assert IPv6Address(0) not in NetworkSet(networks)


@given(NETWORKS, st.integers(0, 255), st.integers(0, 12))
def test_a_set_covers_a_network_that_its_networks_have_together(
    networks: list[IPv4Network], bits: int, length: int
) -> None:
    network = IPv4Network((bits << 24, length), strict=False)
    parts = network.subnets(new_prefix=12)
    assert NetworkSet(networks).covers(network) == all(
        any(part.subnet_of(each) for each in networks) for part in parts
    )


def test_the_text_of_a_single_address_has_no_prefix() -> None:
    assert [to_text(parse_network(each)) for each in ("10.0.0.1/32", "::1", "10.0.0.0/8")] == [
        "10.0.0.1",
        "::1",
        "10.0.0.0/8",
    ]
