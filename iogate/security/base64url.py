"""Base64 for URLs without padding (RFC 7515, appendix C): signatures, keys and parts of tokens.

Used by the keyring, the gateway's signed links and OAuth. Pure.
"""

from __future__ import annotations

import base64


def encode(data: bytes) -> str:
    """Return the data in unpadded base64url."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decode(text: str) -> bytes:
    """Return the data of a text in unpadded base64url. Raises ValueError."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
