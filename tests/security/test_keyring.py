"""Seals equal HMAC-SHA256 and are valid for one purpose; invalid keys are reported."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from iogate.errors import Misused
from iogate.gateway.authentication.run_links import Links
from iogate.security.keyring import PURPOSES, Keyring, Mac, derive, generate_pair
from tests.keys import LINK_KEY, RING

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("length", [0, 1, 32, 63, 64, 65, 200])
def test_a_mac_is_the_hmac_of_context_and_message(length: int) -> None:
    key = bytes(range(length))
    for context, message in ((b"", b""), (b"", b"m" * 1000), (b"c\0", b""), (b"c" * 64, b"\xff" * 129)):
        wanted = hmac.digest(key, context + message, "sha256")
        mac = Mac(key, context)
        assert mac.digest(message) == wanted
        assert mac.digest(message) == wanted, "a second message with the same key"
        assert mac.seal(message) == base64.b64encode(wanted[:16])[:22]


def test_stored_seals_and_links_stay_valid() -> None:
    """Made by the first release with seals: a change of a byte would invalidate what stores hold."""
    assert derive("k" * 40, "run").hex() == hkdf("k" * 40, "run").hex()
    assert (
        RING.sign("run", b"1", b"a")
        == base64.b64encode(hmac.digest(hkdf(LINK_KEY, "run"), b"1,1,:1a", "sha256")[:16])[:22]
    )
    for key in ("key", "x" * 64, "x" * 65, "ü" * 50):
        for scope, context in (("read", b"iogate run link v1\0"), ("cancel", b"iogate run link v2 cancel\0")):
            expiry = (1000).to_bytes(5, "big")
            mac = hmac.new(key.encode(), context + expiry + b"77", hashlib.sha256).digest()[:20]
            sig = base64.urlsafe_b64encode(expiry + mac).rstrip(b"=")
            assert Links(key).location("77", 1000, scope) == b"/v1/runs/77?sig=" + sig  # type: ignore[arg-type]
            assert Links("new", [key]).scope("77", sig.decode(), 999) == scope


def hkdf(key: str, info: str) -> bytes:
    """RFC 5869 for one block, spelled out."""
    extracted = hmac.new(b"iogate keyring v1", key.encode(), hashlib.sha256).digest()
    return hmac.new(extracted, info.encode() + b"\x01", hashlib.sha256).digest()


def test_a_seal_is_valid_for_its_purpose_and_parts_only() -> None:
    seal = RING.sign("run", b"1", b"23")
    assert RING.verify("run", seal, b"1", b"23")
    for parts in ((b"12", b"3"), (b"123",), (b"1", b"23", b""), (b"", b"1", b"23"), (b"1", b"24"), ()):
        assert not RING.verify("run", seal, *parts), parts
    for purpose in PURPOSES:
        assert RING.verify(purpose, seal, b"1", b"23") == (purpose == "run")
    assert not Keyring(("o" * 40,)).verify("run", seal, b"1", b"23")
    assert Keyring(("o" * 40, LINK_KEY)).verify("run", seal, b"1", b"23")
    for wrong in (b"", seal[:-1], seal + b"A", seal.lower(), b"\xff" * 22):
        assert not RING.verify("run", wrong, b"1", b"23")


def test_no_key_is_shown() -> None:
    private, public = generate_pair()
    ring = Keyring((LINK_KEY,), publish_key=private, publishers=[public])
    assert LINK_KEY not in repr(ring) + repr(vars(ring))
    assert private not in repr(ring) + repr(vars(ring))
    assert re.fullmatch("[0-9a-f]{12}", ring.ids[0])


def test_the_public_key_of_a_pair_verifies_its_signatures() -> None:
    (private, public), (_, other) = generate_pair(), generate_pair()
    assert re.fullmatch(r"ed25519-private:[A-Za-z0-9_-]{43}", private)
    assert re.fullmatch(r"ed25519:[A-Za-z0-9_-]{43}", public)
    publisher, gateway = (
        Keyring(publish_key=f" {private}\n"),
        Keyring((LINK_KEY,), publishers=[other, public]),
    )
    signature = publisher.sign_revision(b"7", b"data")
    kind, name, value = signature.split(":")
    assert gateway.revision_fault(signature, b"7", b"data") is None
    assert gateway.revision_fault(signature, b"8", b"data") == "its signature does not match it"
    assert gateway.revision_fault(signature, b"7", b"Data") == "its signature does not match it"
    for wrong in ("", "!", value[:-4], value * 2, "ü"):
        assert gateway.revision_fault(f"{kind}:{name}:{wrong}", b"7", b"data") == (
            "its signature does not match it"
        )
    assert Keyring((LINK_KEY,), publishers=[other]).revision_fault(signature, b"7", b"data") == (
        f"it is signed with the key {name}, which is not in publishers"
    )
    assert RING.revision_fault(signature, b"7", b"data") == (
        f"it is signed with the key {name}, which is not in publishers"
    )
    # With publishers, link_key signs no revision any more.
    mine = RING.sign_revision(b"7", b"data")
    assert RING.revision_fault(mine, b"7", b"data") is None
    assert gateway.revision_fault(mine, b"7", b"data") == "it is not signed by one of the publishers"
    assert gateway.revision_fault("", b"7", b"data") == "it has no signature"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "ed25519-private:",
        "ed25519-private:" + "A" * 42,
        "ed25519-private:" + "A" * 44,
        "ed25519-private:" + "ü" * 43,
        "ed25519-private:" + "=" * 43,
        "ed25519:" + "A" * 43,
        "A" * 43,
    ],
)
def test_an_invalid_publish_key_is_reported_without_showing_it(text: str) -> None:
    with pytest.raises(Misused) as caught:
        Keyring(publish_key=text)
    assert caught.value.code == "IOG675"
    assert caught.value.message == (
        "publish_key: expected a key of the form ed25519-private:…, with 43 characters after it"
    )
    assert caught.value.hint == "`iogate secret pair` makes a pair of keys"


@pytest.mark.parametrize("text", ["", "ed25519:", "ed25519:" + "A" * 42, "ed25519-private:" + "A" * 43])
def test_an_invalid_publisher_is_reported(text: str) -> None:
    with pytest.raises(Misused) as caught:
        Keyring(publishers=[text])
    assert caught.value.message == (
        "publishers: expected a key of the form ed25519:…, with 43 characters after it"
    )


def test_a_revision_that_the_own_publishers_would_refuse_is_not_signed() -> None:
    (private, public), (stranger, _) = generate_pair(), generate_pair()
    for ring, given in (
        (Keyring((LINK_KEY,), publishers=[public]), "is not set"),
        (Keyring((LINK_KEY,), publish_key=stranger, publishers=[public]), "belongs to none of them"),
    ):
        with pytest.raises(Misused, match=f"publishers are set, and publish_key {given}: gateways") as caught:
            ring.sign_revision(b"1", b"data")
        assert caught.value.code == "IOG675"
    both = Keyring((LINK_KEY,), publish_key=private, publishers=[public])
    assert both.revision_fault(both.sign_revision(b"1", b"data"), b"1", b"data") is None


def test_processes_without_the_package_name_the_package_to_install(tmp_path: Path) -> None:
    """In processes in which `cryptography` cannot be imported; one that sets neither key needs it not."""
    (tmp_path / "cryptography.py").write_text("raise ImportError('not here')\n")
    environment = {"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": "/usr/bin:/bin", "IOGATE_LINK_KEY": LINK_KEY}
    environment |= {"IOGATE_REDIS_URL": "redis://127.0.0.1:1", "IOGATE_PORT": "1"}
    publishers = {"IOGATE_PUBLISHERS": f'["{generate_pair()[1]}"]'}
    code = f"from iogate.security.keyring import Keyring; print(Keyring(({LINK_KEY!r},)).sign_revision(b'1'))"
    commands = [["-m", "iogate.gateway"], ["-m", "iogate.worker"], ["-c", code]]
    with ExitStack() as stack:
        gateway, worker, signing = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, *command],
                    cwd=tmp_path,
                    env=environment | publishers,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            )
            for command in commands
        ]
        assert signing.communicate(timeout=60)[0].startswith("hmac:")
        for process in (gateway, worker):
            out, _ = process.communicate(timeout=60)
            assert process.returncode == 64, out
            said = json.loads(out.splitlines()[-1])
            assert said["code"] == "IOG675"
            assert said["message"] == (
                "publish_key and publishers need the package cryptography, which is not installed "
                '(install iogate with its extra: pip install "iogate[signing]")'
            )
