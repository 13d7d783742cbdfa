"""Keys of an issuer: fetched once, refreshed early, kept while it is down, withdrawn at once."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from iogate.auth.jwt_form import ASYMMETRIC
from iogate.auth.model import JwtAuth
from iogate.gateway.authentication import key_sets
from iogate.gateway.authentication.authenticator import Authenticator
from iogate.gateway.authentication.jwt_keys import MAX_KEYS, UnusableKeys, read_key_set
from iogate.gateway.authentication.key_sets import MAX_AGE_S, REFRESH_S, UNKNOWN_S, KeySet, KeySets, KeySource
from iogate.gateway.authentication.request_credentials import BEARER, Credential
from iogate.gateway.http.responses import HTTPError
from tests.gateway.authentication.tokens import ISSUER, jwk, key_set, private_key, token
from tests.gateway.driver import request, until

ANY = frozenset(ASYMMETRIC)
SOURCE = KeySource(jwks="https://issuer.test/keys")


class Issuer:
    """An issuer whose set of keys, failures and slowness a test chooses, and a clock."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.keys = list(keys)
        self.failure = ""
        self.fetched: list[KeySource] = []
        self.open = asyncio.Event()
        self.open.set()
        self.now = 1000.0
        self.sets = KeySets(self.fetch, monotonic=lambda: self.now)

    async def fetch(self, source: KeySource) -> bytes:
        self.fetched.append(source)
        await self.open.wait()
        if self.failure:
            raise UnusableKeys(self.failure)
        return key_set(*self.keys)

    @asynccontextmanager
    async def running(self) -> Any:
        """The background task of a gateway."""
        task = asyncio.create_task(self.sets.run())
        try:
            yield
        finally:
            task.cancel()

    async def loaded(self) -> KeySet:
        found = self.sets.get(SOURCE)
        found.start_fetch()
        await until(lambda: _soon(lambda: found._fetching is None))
        return found


async def _soon(condition: Callable[[], bool]) -> bool:
    return condition()


def signed(number: int = 0, kid: str | None = None, **changed: Any) -> bytes:
    header = {} if kid is None else {"kid": kid}
    return token(key=private_key("p256", number), header=header, **changed).encode()


@pytest.fixture(autouse=True)
def _quick_and_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_sets, "_TICK_S", 0.02)
    monkeypatch.setattr(key_sets, "WAIT_S", 30.0)


async def test_a_set_is_fetched_in_the_background_and_refreshed_before_it_gets_old() -> None:
    issuer = Issuer(jwk("p256", kid="a"))
    found = issuer.sets.get(SOURCE)
    async with issuer.running():
        await until(lambda: _soon(lambda: bool(found.keys)))
        assert await found.verify(signed(kid="a"), ANY) is not None
        assert len(issuer.fetched) == 1
        issuer.keys = [jwk("p256", 1, kid="b")]
        issuer.now += REFRESH_S
        issuer.sets._added.set()
        await until(lambda: _soon(lambda: len(issuer.fetched) == 2))
        assert await found.verify(signed(1, kid="b"), ANY) is not None
    assert issuer.fetched == [SOURCE] * 2


async def test_two_apis_of_one_issuer_share_a_set_and_one_of_none_is_dropped() -> None:
    issuer = Issuer(jwk("p256"))
    first, second = (Authenticator(JwtAuth(issuer=ISSUER), key_sets=issuer.sets) for _ in range(2))
    async with issuer.running():
        await until(lambda: _soon(lambda: len(issuer.fetched) == 1))
        assert await first.identify(_bearer(signed())) == ("JWT", "ada")
        assert second.known_caller({BEARER: Credential(signed(), BEARER)}) is None
        assert await second.identify(_bearer(signed())) == ("JWT", "ada")
        assert issuer.fetched == [KeySource(issuer=ISSUER)]
        del first, second

        async def is_dropped() -> bool:
            gc.collect()  # while a fetch ends, its task still refers to the set
            return not issuer.sets._sets

        await until(is_dropped)


def _bearer(bearer: bytes) -> Any:
    return request((b"authorization", b"Bearer " + bearer))


async def test_an_unknown_key_is_looked_for_once_in_ten_seconds() -> None:
    issuer = Issuer(jwk("p256", kid="a"))
    found = await issuer.loaded()
    issuer.keys.append(jwk("p256", 1, kid="b"))
    assert await found.verify(signed(1, kid="b"), ANY) is None, "fetched a moment ago"
    issuer.now += UNKNOWN_S
    assert await found.verify(signed(1, kid="b"), ANY) is not None, "the new key of a rotation"
    assert len(issuer.fetched) == 2
    for number in range(50):
        assert await found.verify(signed(2, kid=f"forged-{number}"), ANY) is None
    assert len(issuer.fetched) == 2
    issuer.now += UNKNOWN_S
    many = [found.verify(signed(2, kid=f"forged-{number}"), ANY) for number in range(50)]
    assert not any(await asyncio.gather(*many))
    assert len(issuer.fetched) == 3, "one fetch for all of them"


async def test_a_token_is_verified_by_the_key_that_it_names_only() -> None:
    issuer = Issuer(jwk("p256", kid="a"), jwk("p256", 1, kid="b"), jwk("rsa", kid="a"))
    found = await issuer.loaded()
    assert await found.verify(signed(kid="a"), ANY) is not None
    assert await found.verify(signed(kid="b"), ANY) is None
    assert await found.verify(signed(1, kid="b"), ANY) is not None
    assert await found.verify(token("RS256", header={"kid": "a"}).encode(), ANY) is not None
    assert await found.verify(signed(1), ANY) is not None


async def test_keys_without_a_name_are_tried() -> None:
    found = await Issuer(jwk("p256"), jwk("p256", 1), jwk("rsa")).loaded()
    for number, kid in ((0, None), (1, None), (1, "some")):
        assert await found.verify(signed(number, kid=kid), ANY) is not None
    assert await found.verify(signed(2), ANY) is None


async def test_a_withdrawn_key_verifies_nothing_any_more() -> None:
    issuer = Issuer(jwk("p256", kid="a"), jwk("p256", 1, kid="b"))
    found = await issuer.loaded()
    old, kept = signed(kid="a"), signed(1, kid="b")
    assert await found.verify(old, ANY) is not None
    assert await found.verify(kept, ANY) is not None
    issuer.keys = [jwk("p256", 1, kid="b")]
    await issuer.loaded()
    assert found.remembered(old) is None
    assert found.remembered(kept) is not None
    issuer.now += UNKNOWN_S
    assert await found.verify(old, ANY) is None


async def test_the_last_keys_stay_while_the_issuer_is_down_for_a_day(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, key_sets.__name__)
    issuer = Issuer(jwk("p256", kid="a"))
    found = await issuer.loaded()
    issuer.failure = "it is down"
    known = signed(kid="a")
    assert await found.verify(known, ANY) is not None
    dues = []
    for _ in range(9):
        issuer.now = found.due_s
        await issuer.loaded()
        dues.append(found.due_s - issuer.now)
    assert dues[0] <= 1.2
    assert 48 <= dues[-1] <= 72, "the pauses grow to a minute"
    assert await found.verify(signed(kid="a", sub="bob"), ANY) is not None
    assert list(found.unset) == []
    issuer.now += MAX_AGE_S
    assert found.remembered(known) is None
    with pytest.raises(UnusableKeys):
        await found.verify(known, ANY)
    assert found.unset == (f"keys of {SOURCE} cannot be loaded: it is down",)
    issuer.failure = ""
    await issuer.loaded()
    assert [*found.unset, found.problem] == [""]
    assert await found.verify(known, ANY) is not None
    first, second, third = (record.getMessage() for record in caplog.records)
    assert first == third == f"1 key of {SOURCE} loaded"
    assert second.startswith(f"keys of {SOURCE} cannot be loaded: it is down; ")
    assert "the last ones stay in use for 23h5" in second


async def test_without_keys_a_call_waits_for_the_first_fetch_and_then_gets_503(
    caplog: pytest.LogCaptureFixture,
) -> None:
    issuer = Issuer(jwk("p256"))
    issuer.open.clear()
    authenticator = Authenticator(JwtAuth(issuer=ISSUER, jwks=SOURCE.jwks), key_sets=issuer.sets)
    assert authenticator.unset == (), "nothing is known yet"
    waiting = asyncio.create_task(authenticator.identify(_bearer(signed())))
    await until(lambda: _soon(lambda: len(issuer.fetched) == 1))
    issuer.open.set()
    assert await waiting == ("JWT", "ada")

    issuer = Issuer(jwk("p256"))
    issuer.failure = "it is down"
    authenticator = Authenticator(JwtAuth(issuer=ISSUER, jwks=SOURCE.jwks), key_sets=issuer.sets)
    for _ in range(3):
        with pytest.raises(HTTPError) as refused:
            await authenticator.identify(_bearer(signed()))
        assert refused.value.response.status == 503
        assert dict(refused.value.response.headers)[b"retry-after"] == b"1"
    assert len(issuer.fetched) == 1, "again after a pause only"
    assert authenticator.unset == (f"keys of {SOURCE} cannot be loaded: it is down",)
    assert "tokens of this issuer get a 503" in caplog.text
    with pytest.raises(HTTPError) as refused:
        await authenticator.identify(request())
    assert refused.value.response.status == 401
    issuer.failure, issuer.now = "", issuer.now + 2
    assert await authenticator.identify(_bearer(signed())) == ("JWT", "ada")


async def test_a_defect_of_the_fetch_is_a_failure_like_another_one(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(_: KeySource) -> bytes:
        raise RuntimeError("a defect")

    found = KeySet(SOURCE, fetch=broken)
    with pytest.raises(UnusableKeys):
        await found.verify(signed(), ANY)
    assert found.unset == (f"keys of {SOURCE} cannot be loaded: RuntimeError('a defect')",)
    assert "Traceback" in caplog.text


def test_a_set_has_the_public_keys_for_signatures() -> None:
    keys = [
        jwk("rsa", kid="a"),
        jwk("p256", kid="b", use="sig", alg="ES256"),
        jwk("ed25519", kid="c", key_ops=["verify"]),
        jwk("p384", use="enc"),
        jwk("p384", key_ops=["sign"]),
        jwk("p384", alg="ES256"),
        jwk("rsa1024"),
        jwk("k256"),
        {"kty": "oct", "k": "c2VjcmV0"},
        {"kty": "RSA", "n": "!", "e": "AQAB"},
        {"kty": "RSA", "n": 5},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "OKP", "crv": "X25519", "x": "A" * 43},
        {"kty": ["RSA"]},
        {"kty": "AKP"},
        "text",
        None,
    ]
    found = {key.kid: key.algorithms for key in read_key_set(key_set(*keys))}  # type: ignore[arg-type]
    assert found == {
        "a": {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"},
        "b": {"ES256"},
        "c": {"EdDSA"},
    }


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the key set is not valid JSON"),
        (b"<html>", "the key set is not valid JSON"),
        (b"\xff", "the key set is not valid JSON: it is not valid UTF-8"),
        (b"[" * 10_000, "the key set is not valid JSON: it is nested deeper than"),
        (b"[]", 'the key set is not an object with a list "keys"'),
        (b'{"keys": {}}', 'the key set is not an object with a list "keys"'),
        (b'{"keys": []}', "the key set has no public key for signatures that iogate knows"),
        (json.dumps({"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}).encode(), "the key set has no public key"),
    ],
)
def test_a_set_without_a_key_is_a_failure(data: bytes, message: str) -> None:
    with pytest.raises(UnusableKeys, match=message):
        read_key_set(data)


def test_the_size_of_a_set_is_bounded() -> None:
    keys = [jwk("p256", kid=str(number)) for number in range(MAX_KEYS + 50)]
    assert len(read_key_set(key_set(*keys))) == MAX_KEYS


def test_nothing_shows_a_shared_secret() -> None:
    from iogate.gateway.authentication.jwt_keys import read_secret

    assert "s3cret" not in repr(read_secret("s3cret" * 9))
