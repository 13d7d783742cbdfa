"""Signed links to runs, valid without credentials until they expire.

Pure. Invariant: a signature is valid for one uid, one expiry and one scope, and is compared in constant time.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Literal

from iogate.security import base64url
from iogate.security.keyring import Mac

Scope = Literal["read", "cancel"]
"""`cancel` includes `read`."""

_MAC = 20  # bytes: 160 bits
_EXPIRY = 5  # bytes: seconds since 1970, until the year 36812
_CONTEXTS: dict[Scope, bytes] = {
    # Releases without scopes signed with this context, too: their links only read.
    "read": b"iogate run link v1\0",
    "cancel": b"iogate run link v2 cancel\0",
}


class Links:
    """Signs links to runs with `key`, and verifies them with `key` and the `previous` keys.

    Without a key there are no signed links.
    """

    def __init__(self, key: str | None, previous: Sequence[str] = ()) -> None:
        self._macs = [
            {scope: Mac(each.encode(), context) for scope, context in _CONTEXTS.items()}
            for each in (key, *previous)
            if key and each
        ]

    def location(self, uid: str, expires_s: float, scope: Scope = "read") -> bytes:
        """Return the signed link to a run; `expires_s` is in seconds since 1970 by the store's clock."""
        if not self._macs:
            return b"/v1/runs/" + uid.encode()
        expiry = int(expires_s).to_bytes(_EXPIRY, "big")
        signature = base64url.encode(expiry + _sign(self._macs[0][scope], uid, expiry))
        return f"/v1/runs/{uid}?sig={signature}".encode()

    def scope(self, uid: str, signature: str, now_s: float) -> Scope | None:
        """Return the scope of a signed link to a run; None if its signature is invalid or has expired."""
        if not self._macs:
            return None
        try:
            decoded = base64url.decode(signature)
        except ValueError:
            return None
        expiry, mac = decoded[:_EXPIRY], decoded[_EXPIRY:]
        found: Scope | None = None
        for macs in self._macs:
            for scope, key in macs.items():
                if hmac.compare_digest(mac, _sign(key, uid, expiry)):
                    found = scope
        return found if int.from_bytes(expiry, "big") >= now_s else None


def _sign(mac: Mac, uid: str, expiry: bytes) -> bytes:
    return mac.digest(expiry + uid.encode("utf-8", "surrogatepass"))[:_MAC]
