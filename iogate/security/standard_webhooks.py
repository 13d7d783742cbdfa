"""Signatures of Standard Webhooks 1.0 (standardwebhooks.com, "Signature scheme"), symmetric form `v1`.

Used by the delivery of callbacks. Pure. Invariant: the signature covers id, timestamp and the exact bytes of
the body, so that a receiver detects each change and each replay.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import Final

ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"
PREFIX: Final = "whsec_"
"""A secret with this prefix is base64; any other secret is used as it is."""


def key(secret: str) -> bytes:
    """Return the key of a secret of Standard Webhooks: the part behind `whsec_`, or else its UTF-8 bytes.

    Raises ValueError if that part is not base64 or empty, and for an empty secret.
    """
    if not secret.startswith(PREFIX):
        if not secret:
            raise ValueError("the secret is empty")
        return secret.encode("utf-8", "surrogatepass")
    encoded = secret.removeprefix(PREFIX)
    try:
        decoded = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except binascii.Error:
        decoded = b""
    if not decoded:
        raise ValueError(f"the secret begins with {PREFIX}, and what follows is not base64")
    return decoded


def sign(key: bytes, id_: str, timestamp_s: int, body: bytes) -> str:
    """Return the signature of a Standard Webhooks message: `v1,` and the HMAC-SHA256 in base64."""
    signed = b"%b.%d.%b" % (id_.encode(), timestamp_s, body)
    return "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()


def headers(key: bytes, id_: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """Return the three headers of a Standard Webhooks message."""
    return {ID: id_, TIMESTAMP: str(timestamp_s), SIGNATURE: sign(key, id_, timestamp_s, body)}
