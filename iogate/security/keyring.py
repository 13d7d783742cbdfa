"""Keys that authenticate data in the store: one key per purpose, derived from `link_key`.

Used by gateways, workers and the command line, which open the store with a `Keyring`. Pure. Invariants: a
signature is valid for one purpose and one sequence of parts; signing uses the first key and verification
accepts all keys, for rotation; no repr shows a key or a derived key.

    link_key ── HKDF-SHA256 (RFC 5869), info = purpose ──▶ key ── HMAC-SHA256, first 128 bits ──▶ seal

Revisions may be signed with Ed25519 instead, if `apply` runs elsewhere: `publish_key` signs, and a keyring
with `publishers` accepts no other signature of a revision. Only then is the package `cryptography` imported.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from typing import Any, Final, Literal

from iogate.errors import Misused
from iogate.security import base64url

Purpose = Literal["revision", "run", "state", "end", "event", "link", "callback", "batch"]
PURPOSES: Final[tuple[Purpose, ...]] = (
    *("revision", "run", "state", "end", "event", "link", "callback", "batch"),
)

SEAL_CHARACTERS: Final = 22
"""Length of a seal: 128 bits in unpadded base64."""
_SEAL_BYTES = 16
_BLOCK_BYTES = 64
_LENGTHS = [b"%d," * count + b":" for count in range(8)]
"""Formats of the lengths of parts, by the number of parts."""
_SALT = b"iogate keyring v1"
PUBLIC_PREFIX: Final = "ed25519:"
PRIVATE_PREFIX: Final = "ed25519-private:"
_PROGRAM = b"program"
"""First part of the signed data of a program; that of a revision is a number."""
_MISSING_KEY = "IOG670"
_BAD_KEY = "IOG675"


def derive(key: str, info: str, length: int = 32) -> bytes:
    """Derive a key of the keyring of at most 32 bytes with HKDF-SHA256 (RFC 5869, sections 2.2 and 2.3)."""
    extracted = hmac.digest(_SALT, key.encode("utf-8", "surrogatepass"), "sha256")
    return hmac.digest(extracted, info.encode() + b"\x01", "sha256")[:length]


class Mac:
    """HMAC-SHA256 with one key (RFC 2104) and an optional fixed prefix of each message.

    Copies of two prepared hashes take half the time of `hmac.digest`, which prepares both for each message,
    and two thirds of the time of a copy of `hmac.HMAC`.
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes, context: bytes = b"") -> None:
        block = (key if len(key) <= _BLOCK_BYTES else digest(key)).ljust(_BLOCK_BYTES, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block) + context)
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def digest(self, message: bytes) -> bytes:
        """Return the 32 bytes of the HMAC of context and message by this key of the keyring."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.digest()

    def seal(self, message: bytes) -> bytes:
        """Return the seal of a message by this key: the first 128 bits of the HMAC in unpadded base64."""
        return binascii.b2a_base64(self.digest(message)[:_SEAL_BYTES], newline=False)[:SEAL_CHARACTERS]


def _message(parts: Sequence[bytes]) -> bytes:
    """Join parts to sign with a key after their lengths, so that no two sequences give the same bytes."""
    return b"".join((_LENGTHS[len(parts)] % tuple(map(len, parts)), *parts))


class Keyring:
    """Set of keys that signs with `keys[0]` and verifies with all `keys`.

    `publish_key` is a private key and `publishers` are public keys of `generate_pair`. Raises Misused for an
    invalid Ed25519 key, or if `cryptography` is missing.
    """

    def __init__(
        self, keys: Sequence[str] = (), *, publish_key: str | None = None, publishers: Sequence[str] = ()
    ) -> None:
        self._macs: dict[Purpose, tuple[Mac, ...]] = {
            purpose: tuple(Mac(derive(key, purpose)) for key in keys) for purpose in PURPOSES
        }
        self._fingerprints = Mac(derive(keys[0], "fingerprint")) if keys else None
        self.ids: tuple[str, ...] = tuple(derive(key, "id", 6).hex() for key in keys)
        """Public name of each key, which reveals nothing about the key."""
        self._private = None if publish_key is None else _private(publish_key)
        self._publishers = {_id_of(key): _public(key) for key in publishers}

    @classmethod
    def ephemeral(cls) -> Keyring:
        """Return a keyring with a random key, for a store that ends with this process."""
        return cls((secrets.token_urlsafe(32),))

    @property
    def can_sign(self) -> bool:
        """True for a keyring with a key for signing runs and states."""
        return bool(self.ids)

    @property
    def verifies_revisions(self) -> bool:
        """True for a keyring with a key or a publisher for verifying revisions."""
        return bool(self.ids or self._publishers)

    @property
    def publishes(self) -> bool:
        """True for a keyring with a key for signing revisions."""
        return self._private is not None or self.can_sign

    @property
    def signs_programs(self) -> bool:
        """True for a keyring with `publish_key`."""
        return self._private is not None

    def fingerprint(self, source: str, secret: str) -> str | None:
        """Return the fingerprint of a secret by the keyring, equal for equal secrets; None without a key.

        It is an HMAC, cut to 32 bits: without the key, nobody can test a guess, and even with it, many
        guesses fit.
        """
        if self._fingerprints is None:
            return None
        message = _message([source.encode("utf-8", "surrogatepass"), secret.encode("utf-8", "surrogatepass")])
        return self._fingerprints.digest(message)[:4].hex()

    def sign(self, purpose: Purpose, *parts: bytes) -> bytes:
        """Return the seal of `parts` by the keyring: SEAL_CHARACTERS characters of unpadded base64.

        Raises Misused without a key.
        """
        macs = self._macs[purpose]
        if not macs:
            raise missing("the key that authenticates stored data is needed")
        return macs[0].seal(_message(parts))

    def verify(self, purpose: Purpose, seal: bytes, *parts: bytes) -> bool:
        """Tell whether a key of the keyring made `seal` for this purpose and these parts."""
        message = _message(parts)
        for mac in self._macs[purpose]:  # noqa: SIM110 - a generator costs as much as the comparison
            if hmac.compare_digest(mac.seal(message), seal):
                return True
        return False

    def sign_revision(self, *parts: bytes) -> str:
        """Sign the parts of a revision with the keyring: `ed25519:KEY:SIGNATURE`, or `hmac:KEY:SEAL`.

        Raises Misused without a key, or if `publishers` would refuse the signature.
        """
        if self._publishers and (self._private is None or self._private[0] not in self._publishers):
            given = "is not set" if self._private is None else "belongs to none of them"
            raise Misused(
                f"publishers are set, and publish_key {given}: gateways and workers would refuse it",
                code=_BAD_KEY,
                hint="set publish_key to the private key of one of the publishers, or apply where it is set",
            )
        if self._private is not None:
            name, key = self._private
            return f"ed25519:{name}:{base64url.encode(key.sign(_message(parts)))}"
        seal = self.sign("revision", *parts)
        return f"hmac:{self.ids[0]}:{seal.decode()}"

    def sign_program(self, digest: str) -> str:
        """Sign a program with the keyring, for workers with `publishers`; empty without `publish_key`."""
        return "" if self._private is None else self.sign_revision(_PROGRAM, digest.encode())

    def program_fault(self, signature: str, digest: str) -> str | None:
        """Return why the keyring does not accept a program's signature; None also without `publishers`."""
        return self.revision_fault(signature, _PROGRAM, digest.encode()) if self._publishers else None

    def revision_fault(self, signature: str, *parts: bytes) -> str | None:
        """Return why the keyring does not accept a revision's signature; None if it does."""
        kind, _, rest = signature.partition(":")
        name, _, value = rest.partition(":")
        if not signature:
            return "it has no signature"
        if kind == "ed25519":
            key = self._publishers.get(name)
            if key is None:
                return f"it is signed with the key {name:.32}, which is not in publishers"
            return None if _signed(key, value, _message(parts)) else "its signature does not match it"
        if self._publishers:
            return "it is not signed by one of the publishers"
        if kind == "hmac" and name not in self.ids:
            return f"it is signed with another link_key (its name is {name:.32}, ours is {self.ids[0]})"
        if kind == "hmac" and self.verify("revision", value.encode("utf-8", "surrogatepass"), *parts):
            return None
        return "its signature does not match it"


NO_KEYS: Final = Keyring()
"""Keyring of readers, which neither verify nor sign."""


def missing(why: str) -> Misused:
    """Return the error of an operation that needs a key in a process without a keyring."""
    return Misused(
        f"{why}, and link_key is not set",
        code=_MISSING_KEY,
        hint="set the link_key of the gateways and workers: it is in their settings, or in link_key in "
        "their data_dir",
    )


def digest(data: bytes) -> bytes:
    """Return the SHA-256 of data, which stands for it among the parts that a keyring signs."""
    return hashlib.sha256(data).digest()


def generate_pair() -> tuple[str, str]:
    """Generate an Ed25519 pair of keys for keyrings: private for `publish_key`, public for `publishers`.

    Raises Misused if `cryptography` is missing.
    """
    module = _ed25519()
    private = module.Ed25519PrivateKey.generate()
    return PRIVATE_PREFIX + base64url.encode(private.private_bytes_raw()), PUBLIC_PREFIX + base64url.encode(
        private.public_key().public_bytes_raw()
    )


def _ed25519() -> Any:
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415 - an optional extra
    except ImportError:
        raise Misused(
            "publish_key and publishers need the package cryptography, which is not installed",
            code=_BAD_KEY,
            hint='install iogate with its extra: pip install "iogate[signing]"',
        ) from None
    return ed25519


def _raw(text: str, prefix: str, setting: str) -> bytes:
    encoded = text.strip().removeprefix(prefix)
    try:
        data = base64url.decode(encoded)
    except ValueError:
        data = b""
    if not text.strip().startswith(prefix) or len(data) != 32:
        raise Misused(
            f"{setting}: expected a key of the form {prefix}…, with 43 characters after it",
            code=_BAD_KEY,
            hint="`iogate secret pair` makes a pair of keys",
        )
    return data


def _private(text: str) -> tuple[str, Any]:
    data = _raw(text, PRIVATE_PREFIX, "publish_key")
    key = _ed25519().Ed25519PrivateKey.from_private_bytes(data)
    return _name(key.public_key().public_bytes_raw()), key


def _public(text: str) -> Any:
    return _ed25519().Ed25519PublicKey.from_public_bytes(_raw(text, PUBLIC_PREFIX, "publishers"))


def _id_of(text: str) -> str:
    return _name(_raw(text, PUBLIC_PREFIX, "publishers"))


def _name(public: bytes) -> str:
    return digest(public)[:6].hex()


def _signed(key: Any, signature: str, message: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - an optional extra

    try:
        key.verify(base64url.decode(signature), message)
    except (InvalidSignature, ValueError):
        return False
    return True
