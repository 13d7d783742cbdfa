"""Credentials are verified against accepted values of every form."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from argon2.low_level import Type, hash_secret
from hypothesis import given
from hypothesis import strategies as st

from iogate.security import secrets
from iogate.security.failure_limit import ADDRESSES, FAILURES, Busy
from iogate.security.password_hashing import AT_ONCE, WAITING, Hashing, Parameters, parameters
from iogate.security.secrets import Verifier


async def test_a_plain_or_hashed_token_is_accepted() -> None:
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


async def test_both_secrets_are_valid_during_a_rotation() -> None:
    verifier = Verifier({"token": ("old", "new")})
    assert [await verifier.token(text) for text in ("old", "new", "older")] == ["token", "token", None]


async def test_a_password_is_valid_only_for_its_user() -> None:
    verifier = Verifier({"ann": ("one",), "bob": (secrets.hash_password("two"),)})
    assert await verifier.password("ann", "one") == "ann"
    assert await verifier.password("bob", "two") == "bob"
    assert await verifier.password("ann", "two") is None
    assert await verifier.password("bob", "one") is None
    assert await verifier.password("eve", "one") is None


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Costs of the Argon2 computations of a test."""
    found: list[int] = []
    matches, spend = secrets._matches, Parameters.spend

    def counted_match(hashed: bytes, presented: bytes) -> bool:
        found.append(parameters(hashed).cost)
        return matches(hashed, presented)

    def counted_spend(self: Parameters, presented: bytes) -> None:
        found.append(self.cost)
        spend(self, presented)

    monkeypatch.setattr(secrets, "_matches", counted_match)
    monkeypatch.setattr(Parameters, "spend", counted_spend)
    return found


def cheap(text: str, *, memory_kib: int = 64, passes: int = 1) -> str:
    return hash_secret(
        text.encode(),
        b"0123456789abcdef",
        time_cost=passes,
        memory_cost=memory_kib,
        parallelism=1,
        hash_len=32,
        type=Type.ID,
    ).decode()


async def test_each_wrong_login_takes_the_work_of_the_costliest_user(computed: list[int]) -> None:
    rotated = (cheap("old", memory_kib=1024, passes=3), cheap("new", memory_kib=2048, passes=2))
    verifier = Verifier(
        {"ann": ("clear",), "bob": (cheap("two"),), "eve": rotated, "tom": (cheap("x", memory_kib=4096),)}
    )
    costs = {}
    for user in ("ann", "bob", "eve", "tom", "nobody"):
        computed.clear()
        assert await verifier.password(user, "wrong") is None
        costs[user] = sum(computed)
    assert set(costs.values()) == {1024 * 3 + 2048 * 2}, costs
    assert await verifier.password("eve", "new") == "eve"
    computed.clear()
    assert await verifier.password("eve", "new") == "eve"
    assert computed == []


async def test_an_address_that_sends_wrong_passwords_waits_before_they_are_hashed(
    computed: list[int],
) -> None:
    now = 1000.0
    hashing = Hashing(monotonic=lambda: now)
    verifier = Verifier({"bob": (cheap("two"),)}, hashing=hashing)
    for _ in range(FAILURES):
        assert await verifier.password("bob", "wrong", address="192.0.2.1") is None
    computed.clear()
    with pytest.raises(Busy) as caught:
        await verifier.password("bob", "two", address="192.0.2.1")
    assert (caught.value.retry_after_s, computed) == (1.0, [])
    assert await verifier.password("bob", "two", address="192.0.2.2") == "bob"
    # One that was right within the last minute is not hashed, and so not refused.
    assert await verifier.password("bob", "two", address="192.0.2.1") == "bob"
    now += 1.0
    assert await verifier.password("bob", "wrong", address="192.0.2.1") is None
    with pytest.raises(Busy):
        await verifier.password("bob", "wrong", address="192.0.2.1")


async def test_right_passwords_of_one_address_are_not_counted() -> None:
    now = 1000.0
    verifier = Verifier(
        {"bob": (cheap("two"),)}, hashing=Hashing(monotonic=lambda: now), monotonic=lambda: now
    )
    for _ in range(3 * FAILURES):
        verifier._right.clear()
        assert await verifier.password("bob", "two", address="192.0.2.1") == "bob"


@pytest.mark.parametrize("is_token", [True, False])
async def test_a_burst_of_a_right_credential_is_hashed_once_and_not_refused(
    computed: list[int], *, is_token: bool
) -> None:
    hashing = Hashing(monotonic=lambda: 1000.0)
    verifier = Verifier({"bob": (cheap("two"),)}, hashing=hashing)

    async def check() -> str | None:
        if is_token:
            return await verifier.token("two", address="192.0.2.1")
        return await verifier.password("bob", "two", address="192.0.2.1")

    assert await asyncio.gather(*(check() for _ in range(3 * FAILURES))) == ["bob"] * 3 * FAILURES
    assert len(computed) == 1
    assert verifier._running == {}


async def test_each_of_a_burst_of_equal_wrong_passwords_is_counted(computed: list[int]) -> None:
    hashing = Hashing(monotonic=lambda: 1000.0)
    verifier = Verifier({"bob": (cheap("two"),)}, hashing=hashing)
    burst = (verifier.password("bob", "wrong", address="192.0.2.1") for _ in range(3 * FAILURES))
    results = await asyncio.gather(*burst, return_exceptions=True)
    assert [type(each) for each in results] == [type(None)] * FAILURES + [Busy] * 2 * FAILURES
    assert len(computed) == 1


async def test_a_check_continues_for_others_when_the_first_caller_disconnects(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started, release = threading.Event(), threading.Event()
    matches = secrets._matches

    def wait(hashed: bytes, presented: bytes) -> bool:
        started.set()
        return release.wait(60) and matches(hashed, presented)

    monkeypatch.setattr(secrets, "_matches", wait)
    verifier = Verifier({"bob": (cheap("two"),)})
    first = asyncio.create_task(verifier.password("bob", "two"))
    assert await asyncio.to_thread(started.wait, 10)
    second = asyncio.create_task(verifier.password("bob", "two"))
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    release.set()
    assert first.cancelled()
    assert await second == "bob"


async def test_a_password_that_finds_the_queue_of_hashes_full_is_no_failure() -> None:
    hashing = Hashing(monotonic=lambda: 1000.0)
    release = threading.Event()
    waiting = [asyncio.create_task(hashing.run(release.wait, 60)) for _ in range(AT_ONCE + WAITING)]
    await asyncio.sleep(0)
    verifier = Verifier({"bob": (cheap("two"),)}, hashing=hashing)
    for number in range(2 * FAILURES):
        with pytest.raises(Busy):
            await verifier.password("bob", f"any {number}", address="192.0.2.1")
    release.set()
    await asyncio.gather(*waiting)
    assert await verifier.password("bob", "two", address="192.0.2.1") == "bob"


async def test_wrong_passwords_are_counted_also_without_a_hash_and_plain_tokens_are_not() -> None:
    now = 1000.0
    hashing = Hashing(monotonic=lambda: now)
    verifier = Verifier({"ann": ("one",), "bob": ("two",)}, hashing=hashing, monotonic=lambda: now)
    assert await verifier.password("bob", "two", address="192.0.2.2") == "bob"
    for _ in range(FAILURES):
        assert await verifier.password("ann", "wrong", address="192.0.2.1") is None
    for guess in ("wrong", "one"):
        with pytest.raises(Busy):
            await verifier.password("ann", guess, address="192.0.2.1")
    # One that was right within the last minute is not refused.
    assert await verifier.password("bob", "two", address="192.0.2.1") == "bob"
    assert await verifier.token("wrong", address="192.0.2.1") is None
    assert await verifier.token("one", address="192.0.2.1") == "ann"
    for _ in range(2 * FAILURES):
        now += 1.0
        assert await verifier.password("ann", "one", address="192.0.2.1") == "ann"


def test_an_ipv6_customer_is_one_address_and_addresses_are_bounded() -> None:
    hashing = Hashing(monotonic=lambda: 1.0)
    for number in range(FAILURES):
        hashing.count_attempt(f"2001:db8::{number:x}")
    with pytest.raises(Busy):
        hashing.count_attempt("2001:db8::ffff")
    hashing.count_attempt("2001:db8:0:1::1")
    for number in range(ADDRESSES + 10):
        hashing.count_attempt(f"192.0.{number // 256}.{number % 256}")
    assert len(hashing.failures) == ADDRESSES


async def test_abandoned_computations_keep_their_slot_and_too_many_are_refused() -> None:
    hashing = Hashing()
    release = threading.Event()
    waiting = [asyncio.create_task(hashing.run(release.wait, 60)) for _ in range(AT_ONCE + WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(Busy):
        await hashing.run(time.monotonic)
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    started = asyncio.create_task(hashing.run(time.monotonic))
    done, _ = await asyncio.wait({started}, timeout=0.05)
    assert not done
    release.set()
    assert await started


async def test_a_right_password_is_hashed_after_a_minute_without_use_and_a_wrong_one_each_time(
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
        now += 59
    assert computed == [b"two"]
    now += 2
    assert await verifier.password("bob", "two") == "bob"
    assert computed == [b"two", b"two"]
    for _ in range(2):
        assert await verifier.password("bob", "twice") is None
    assert computed.count(b"twice") == 2


async def test_many_verifications_at_once_do_not_block_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """They wait here until the loop has gone on."""
    verifier = Verifier({"bob": (secrets.hash_password("two"),)})
    ticks = 0
    enough = threading.Event()
    right = secrets._matches

    def matches(hashed: bytes, presented: bytes) -> bool:
        assert enough.wait(60), "the loop is blocked"
        return right(hashed, presented)

    monkeypatch.setattr(secrets, "_matches", matches)

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.001)
            ticks += 1
            if ticks == 3:
                enough.set()

    ticking = asyncio.create_task(tick())
    assert await asyncio.gather(*(verifier.password("bob", "wrong") for _ in range(6))) == [None] * 6
    ticking.cancel()


@given(st.text(st.characters()))
def test_no_text_makes_a_verifier_raise(text: str) -> None:
    verifier = Verifier({"a": ("token",)})
    assert asyncio.run(verifier.token(text)) == ("a" if text == "token" else None)
    assert asyncio.run(verifier.password(text, text)) is None


def test_nothing_shows_a_secret() -> None:
    assert "s3cret" not in repr(Verifier({"a": ("s3cret",)})) + repr(Verifier({"a": ("s3cret",)}).__dict__)
