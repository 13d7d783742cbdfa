"""Signed links to runs: whoever was given the 202 may follow its run until the link expires.

Pure. Invariant: a signature holds for one uid and one expiry, compared in constant time.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

_MAC = 20  # bytes: 160 bits
_EXPIRY = 5  # bytes: seconds since 1970, until the year 36812
_CONTEXT = b"iogate run link v1\0"


class Links:
    """Makes and checks the `sig` of a run's link. Without a key there are no signed links."""

    def __init__(self, key: str | None) -> None:
        self._mac = hmac.new(key.encode(), _CONTEXT, hashlib.sha256) if key else None

    def location(self, uid: str, expires_s: float) -> bytes:
        """Path of a run, signed."""
        if self._mac is None:
            return b"/v1/runs/" + uid.encode()
        expiry = int(expires_s).to_bytes(_EXPIRY, "big")
        signature = base64.urlsafe_b64encode(expiry + self._sign(uid, expiry)).rstrip(b"=")
        return b"/v1/runs/" + uid.encode() + b"?sig=" + signature

    def holds(self, uid: str, signature: str, now_s: float) -> bool:
        """Whether this signature opens this run at this time."""
        if self._mac is None:
            return False
        try:
            decoded = base64.b64decode(signature + "=" * (-len(signature) % 4), altchars=b"-_", validate=True)
        except ValueError:
            return False
        expiry, mac = decoded[:_EXPIRY], decoded[_EXPIRY:]
        right = hmac.compare_digest(mac, self._sign(uid, expiry))
        return right and int.from_bytes(expiry, "big") >= now_s

    def _sign(self, uid: str, expiry: bytes) -> bytes:
        assert self._mac is not None
        mac = self._mac.copy()
        mac.update(expiry + uid.encode("utf-8", "surrogatepass"))
        return mac.digest()[:_MAC]
