"""A signed link gives access to one run until it expires."""

from __future__ import annotations

import pytest

from iogate.gateway.authentication.run_links import Links

UID = "213996969363910656"


def signature(links: Links, uid: str = UID, expires_s: float = 1000.0) -> str:
    path, _, sig = links.location(uid, expires_s).decode().partition("?sig=")
    assert path == f"/v1/runs/{uid}"
    return sig


def test_a_signature_is_valid_until_its_expiry() -> None:
    links = Links("key")
    sig = signature(links)
    assert links.scope(UID, sig, 999) == "read"
    assert links.scope(UID, sig, 1000) == "read"
    assert links.scope(UID, sig, 1001) is None


def test_a_signature_is_valid_for_its_scope() -> None:
    links = Links("key")
    cancelling = links.location(UID, 1000, "cancel").decode().partition("?sig=")[2]
    assert links.scope(UID, cancelling, 999) == "cancel"
    assert links.scope(UID, cancelling, 1001) is None
    assert cancelling != signature(links)


def test_a_link_of_a_release_without_scopes_only_reads() -> None:
    """Made by 0.1 for the key "key" and the expiry 1000."""
    assert Links("key").scope(UID, "AAAAA-gHd0k7IHSWIF14I273aGKLRfNxZg", 999) == "read"


def test_a_signature_is_valid_only_for_its_uid_and_key() -> None:
    sig = signature(Links("key"))
    assert Links("key").scope(UID[:-1] + "7", sig, 0) is None
    assert Links("other").scope(UID, sig, 0) is None
    assert Links(None).scope(UID, sig, 0) is None


@pytest.mark.parametrize("sig", ["", "=", "x", "ä", "A" * 34, "%00", "\ud800", "A" * 100_000])
def test_malformed_signatures_are_invalid(sig: str) -> None:
    assert Links("key").scope(UID, sig, 0) is None


def test_every_changed_character_invalidates_a_signature() -> None:
    links = Links("key")
    sig = signature(links)
    for place, character in enumerate(sig[:-1]):
        changed = sig[:place] + ("A" if character != "A" else "B") + sig[place + 1 :]
        assert links.scope(UID, changed, 0) is None


def test_without_a_key_a_location_is_not_signed() -> None:
    assert Links(None).location(UID, 1) == f"/v1/runs/{UID}".encode()
