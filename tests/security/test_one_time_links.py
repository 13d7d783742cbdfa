"""The address of a one-time link is valid for exactly its run, its name and its end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iogate.errors import Misused
from iogate.security.keyring import NO_KEYS, Keyring
from iogate.security.one_time_links import PATH, OneTimeLink, address, verified

RING = Keyring(("first", "second"))
NAMES = st.from_regex(r"\A[A-Za-z][A-Za-z0-9_-]{0,39}\Z")
LINKS = st.builds(
    OneTimeLink,
    uid=st.integers(0, 10**19 - 1).map(str),
    name=NAMES,
    expires_s=st.integers(0, 10**11 - 1),
)


def token(link: OneTimeLink, ring: Keyring = RING) -> str:
    url = address(ring, "https://gate.example", link.uid, link.name, link.expires_s)
    assert url.startswith(f"https://gate.example{PATH}")
    return url.rpartition("/")[2]


@given(LINKS)
def test_an_address_gives_its_link(link: OneTimeLink) -> None:
    made = token(link)
    assert made.isascii()
    assert not set(made) & set("%+/=?&#")
    assert verified(RING, made) == link


@given(LINKS, LINKS)
def test_a_signature_is_valid_for_one_link(link: OneTimeLink, other: OneTimeLink) -> None:
    signature = token(link).rpartition(".")[2]
    moved = f"{other.uid}.{other.name}.{other.expires_s}.{signature}"
    assert verified(RING, moved) == (link if link == other else None)


@given(LINKS, st.integers(0, 21), st.characters(codec="utf-8"))
def test_a_changed_character_invalidates_it(link: OneTimeLink, at: int, character: str) -> None:
    made = token(link)
    place = len(made) - 1 - at
    changed = made[:place] + character + made[place + 1 :]
    assert (verified(RING, changed) is not None) == (changed == made)


@given(st.text())
def test_other_text_is_no_link(text: str) -> None:
    assert verified(RING, text) is None


def test_links_outlive_a_rotation_of_the_key() -> None:
    link = OneTimeLink(uid="1", name="approve", expires_s=5)
    assert verified(Keyring(("new", "first")), token(link)) == link
    assert verified(Keyring(("new",)), token(link)) is None


def test_without_a_key_there_are_no_addresses() -> None:
    with pytest.raises(Misused, match="link_key is not set"):
        address(NO_KEYS, "", "1", "approve", 5)
