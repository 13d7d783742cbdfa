"""Standard Webhooks signed by a private key (`v1a`): verified with the public key of the sender."""

from __future__ import annotations

import sys

import pytest

from iogate.auth.model import EnvSecret, SignatureAuth, StoredSecret
from iogate.auth.signature_schemes import key_of
from tests.gateway.driver import Reply, World, api
from tests.gateway.webhooks import WHSEC

# Made by openssl 3.0 (genpkey -algorithm ed25519, pkeyutl -sign -rawin) of the text of the published vector.
WHPK = "whpk_I56TaiVyLqTJqej31x5MPXZKuxMUGHLK/84EcholloA="
V1A = "169LSCTnTxBMYB2zPDDeSQCsqI35R53PFjBCk6mFFyNsELK0BPSZl2cOaYRW8+ORZmBcRwYtcXwYmfoKsj+8Aw=="
STANDARD = {"webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330"}
V1 = "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
TEST = b'{"test": 2432232314}'


INVALID = {"error": {"code": "requestError.unauthorized", "message": "Signature is invalid"}}


def accepting(*names: str) -> SignatureAuth[StoredSecret]:
    secrets = tuple(EnvSecret(name=name) for name in names)
    return SignatureAuth(scheme="standard-webhooks", secrets=secrets, caller="standard-webhooks")


async def post(world: World, body: bytes, headers: dict[str, str]) -> Reply:
    return await world.ask("/v1/api/hooks/in/async", "POST", headers, body)


@pytest.fixture
def asymmetric(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A gateway in the minute of the vectors that has the public key of the sender."""
    monkeypatch.setenv("WHPK", WHPK)
    monkeypatch.setenv("WHSEC", WHSEC)
    monkeypatch.setattr(world.live.clock, "now_ms", lambda: 1_614_265_330_000 + 100)
    return world


@pytest.mark.parametrize("word", ["webhook", "svix"])
async def test_a_signature_by_a_private_key_is_verified_with_the_public_one(
    asymmetric: World, word: str
) -> None:
    await asymmetric.publish(api("hooks/in", accepting("WHPK")))
    headers = {name.replace("webhook", word): value for name, value in STANDARD.items()}
    name, flipped = f"{word}-signature", "0" + V1A[1:]
    for given in (f"v1a,{V1A}", f"v1,{V1} v1a,{flipped} v1a,{V1A}", f"v1a,{V1A.rstrip('=')}"):
        reply = await post(asymmetric, TEST, headers | {name: given})
        assert reply.status == 202, given
    run = await asymmetric.store.runs.show(reply.uid)
    assert run is not None
    assert (run.caller, run.input) == ("standard-webhooks", b'{"test":2432232314}')
    for given, body in ((f"v1a,{V1A}", TEST + b" "), (f"v1a,{flipped}", TEST)):
        refused = await post(asymmetric, body, headers | {name: given})
        assert (refused.status, refused.json) == (401, INVALID), given
    for given in (f"v1,{V1}", f"v1a,{V1A[:-4]}", "v1a,", V1A):
        refused = await post(asymmetric, TEST, headers | {name: given})
        assert (refused.status, refused.message) == (
            401,
            f"Signature is malformed: the header {word}-signature has no signature of the expected form",
        ), given
    late = headers | {f"{word}-timestamp": "1614265729", name: f"v1a,{V1A}"}
    assert "has expired" in (await post(asymmetric, TEST, late)).message
    assert asymmetric.live.bodies.held == 0


async def test_a_public_key_and_a_secret_are_accepted_side_by_side(asymmetric: World) -> None:
    both = accepting("WHPK", "WHSEC")
    await asymmetric.publish(api("hooks/in", both))
    wrong, wrong_a = "A" + V1[1:], "A" + V1A[1:]
    for given, status in (
        (f"v1a,{V1A}", 202),
        (f"v1,{V1}", 202),
        (f"v1,{wrong} v1a,{V1A}", 202),
        (f"v1,{V1} v1a,{wrong_a}", 202),
        (f"v1,{wrong} v1a,{wrong_a}", 401),
        (f"v1,{wrong}", 401),
        (f"v1a,{wrong_a}", 401),
    ):
        reply = await post(asymmetric, TEST, STANDARD | {"webhook-signature": given})
        assert reply.status == status, given


async def test_only_the_first_signatures_by_private_keys_are_verified(asymmetric: World) -> None:
    await asymmetric.publish(api("hooks/in", accepting("WHPK")))
    wrong = f"v1a,{'A' * 86} "
    for count, status in ((7, 202), (8, 401)):
        given = {"webhook-signature": wrong * count + f"v1a,{V1A}"}
        assert (await post(asymmetric, TEST, STANDARD | given)).status == status


@pytest.mark.parametrize(
    "key", ["whpk_", "whpk_AAAA", WHPK[:-3] + "!!=", WHPK.replace("whpk_", "whpk_whpk_")]
)
def test_a_text_that_is_no_public_key_is_named(key: str) -> None:
    with pytest.raises(ValueError, match="whpk_ and base64 of 32 bytes"):
        key_of("standard-webhooks", key)


async def test_a_public_key_without_the_package_is_a_503_and_the_log_says_what_to_install(
    asymmetric: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric", None)
    await asymmetric.publish(api("hooks/in", accepting("WHPK")))
    reply = await post(asymmetric, TEST, STANDARD | {"webhook-signature": f"v1a,{V1A}"})
    assert (reply.status, reply.code) == (503, "serverError.unavailable")
    assert (
        "env WHPK is a public key, which needs the package cryptography, and that is not installed: "
        'pip install "iogate[signing]"'
    ) in caplog.text
