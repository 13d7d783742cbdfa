"""Presented credentials are judged rightly, whatever form the accepted ones have."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iogate import secrets
from iogate.secrets import Verifier


async def test_a_token_opens_the_door_clear_hashed_or_argon2() -> None:
    verifier = Verifier(
        {
            "shop": ("clear-token",),
            "till": (secrets.hash_token("hashed-token"),),
            "slow": (secrets.hash_password("slow-token"),),
        }
    )
    assert await verifier.token("clear-token") == "shop"
    assert await verifier.token("hashed-token") == "till"
    assert await verifier.token("slow-token") == "slow"
    assert await verifier.token("no-token") is None
    assert await verifier.token("") is None


async def test_a_hash_itself_is_no_credential() -> None:
    hashed = secrets.hash_token("secret")
    assert await Verifier({"a": (hashed,)}).token(hashed) is None


async def test_both_secrets_hold_while_one_is_rotated_out() -> None:
    verifier = Verifier({"token": ("old", "new")})
    assert [await verifier.token(text) for text in ("old", "new", "older")] == ["token", "token", None]


async def test_a_password_holds_for_its_own_user_only() -> None:
    verifier = Verifier({"ann": ("one",), "bob": (secrets.hash_password("two"),)})
    assert await verifier.password("ann", "one") == "ann"
    assert await verifier.password("bob", "two") == "bob"
    assert await verifier.password("ann", "two") is None
    assert await verifier.password("bob", "one") is None
    assert await verifier.password("eve", "one") is None


async def test_an_unknown_user_costs_an_argon2_too(monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[bytes] = []
    right = secrets._matches

    def count(hashed: bytes, presented: bytes) -> bool:
        computed.append(hashed)
        return right(hashed, presented)

    verifier = Verifier({"bob": (secrets.hash_password("two"),)})
    monkeypatch.setattr(secrets, "_matches", count)
    await verifier.password("bob", "wrong")
    known = len(computed)
    await verifier.password("eve", "wrong")
    assert (known, len(computed)) == (1, 2)


async def test_a_right_password_is_hashed_once_a_minute_and_a_wrong_one_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    computed: list[bytes] = []
    right = secrets._matches

    def count(hashed: bytes, presented: bytes) -> bool:
        computed.append(presented)
        return right(hashed, presented)

    now = 1000.0
    verifier = Verifier({"bob": (secrets.hash_password("two"),)}, monotonic=lambda: now)
    monkeypatch.setattr(secrets, "_matches", count)
    for _ in range(3):
        assert await verifier.password("bob", "two") == "bob"
    assert computed == [b"two"]
    now += 61
    assert await verifier.password("bob", "two") == "bob"
    assert computed == [b"two", b"two"]
    for _ in range(2):
        assert await verifier.password("bob", "twice") is None
    assert computed.count(b"twice") == 2


async def test_many_judgements_at_once_do_not_stop_the_loop() -> None:
    verifier = Verifier({"bob": (secrets.hash_password("two"),)})
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.001)
            ticks += 1

    ticking = asyncio.create_task(tick())
    assert await asyncio.gather(*(verifier.password("bob", "wrong") for _ in range(6))) == [None] * 6
    ticking.cancel()
    assert ticks >= 3


@given(st.text(st.characters()))
def test_no_text_makes_a_verifier_raise(text: str) -> None:
    verifier = Verifier({"a": ("token",)})
    assert asyncio.run(verifier.token(text)) == ("a" if text == "token" else None)
    assert asyncio.run(verifier.password(text, text)) is None


def test_nothing_shows_a_secret() -> None:
    assert "s3cret" not in repr(Verifier({"a": ("s3cret",)})) + repr(Verifier({"a": ("s3cret",)}).__dict__)
