"""Public keys of webhook senders that sign with Ed25519 (RFC 8032) instead of an HMAC.

Used by `signature_schemes` for Standard Webhooks (`v1a`). Pure. Invariant: the package `cryptography`, an
extra, is imported only for a secret that is a public key.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

PREFIX: Final = "whpk_"
MOST: Final = 8
"""Signatures of a request that are verified: senders have two of them while they rotate their key."""
_KEY_BYTES: Final = 32


class PublicKey:
    """An Ed25519 key that verifies signatures."""

    def __init__(self, text: str) -> None:
        """Read the Ed25519 key of a webhook sender: `whpk_` and base64. Raises ValueError with the reason."""
        try:
            data = binascii.a2b_base64(text.strip().removeprefix(PREFIX), strict_mode=True)
        except (binascii.Error, ValueError):
            data = b""
        if len(data) != _KEY_BYTES:
            raise ValueError("is no public key of Standard Webhooks, which is whpk_ and base64 of 32 bytes")
        self._key = _load(data)

    def verifies(self, text: bytes, signatures: Sequence[bytes]) -> bool:
        """Tell whether this Ed25519 key verifies one of the unpadded base64 signatures of a text."""
        return any(self._verifies(text, each) for each in signatures[:MOST])

    def _verifies(self, text: bytes, signature: bytes) -> bool:
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - an extra

        try:
            self._key.verify(binascii.a2b_base64(signature + b"==", strict_mode=True), text)
        except (InvalidSignature, binascii.Error, ValueError):
            return False
        return True


class Verifier:
    """Verifies the signatures of one format with one public key."""

    __slots__ = ("_key", "_parts")

    def __init__(self, parts: Sequence[tuple[bytes, str]], key: PublicKey) -> None:
        """Create an Ed25519 verifier; `parts` is the template of the signed text, as `parts_of` splits it."""
        self._parts, self._key = parts, key

    def matches(self, values: Mapping[str, bytes], signatures: Sequence[bytes]) -> bool:
        """Tell whether one of the Ed25519 signatures is valid; `values` has the signed parts."""
        text = b"".join(literal + (values[part] if part else b"") for literal, part in self._parts)
        return self._key.verifies(text, signatures)


def _load(data: bytes) -> Ed25519PublicKey:
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415 - an extra
    except ImportError:
        raise ValueError(
            "is a public key, which needs the package cryptography, and that is not installed: "
            'pip install "iogate[signing]"'
        ) from None
    return ed25519.Ed25519PublicKey.from_public_bytes(data)
