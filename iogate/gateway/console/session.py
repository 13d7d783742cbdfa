"""Session of an operator in a browser: a signed cookie, which no process has to remember.

The cookie names the operator, the generation of the operator's token, and its end. The role is not in it:
each request looks it up. So a session ends after its time, or when the operator or the token is removed
from the settings. Used by `console` and `login`. Invariants: the key of the signature is derived from
`link_key` for this purpose alone; a cookie of another deployment on the same host has another name.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from typing import Final

import msgspec

from iogate.security import base64url
from iogate.security.keyring import Mac

LONGEST_S: Final = 8 * 3600
"""A session ends after this time, however active it is."""
LOGIN_S: Final = 900
"""Time in which the login link of `iogate up` can be used."""
_MAC_BYTES: Final = 20
_SESSION: Final = b"iogate console session v1\0"
_LOGIN: Final = b"iogate console login v1\0"
_NAME: Final = b"iogate console cookie v1\0"


class Session(msgspec.Struct, frozen=True, array_like=True):
    """Content of a cookie."""

    operator: str
    generation: str
    ends_s: int
    """Seconds since 1970, by the store's clock."""


class LoginLink(msgspec.Struct, frozen=True, array_like=True):
    """Content of a login link, which can be used once."""

    operator: str
    generation: str
    ends_s: int
    number: str
    """Random text that identifies the link."""


_session = msgspec.msgpack.Decoder(Session)
_link = msgspec.msgpack.Decoder(LoginLink)
_encode = msgspec.msgpack.Encoder().encode


class Sessions:
    """Signs cookies and login links with the first key, and verifies them with all keys."""

    def __init__(self, key: str, previous: Sequence[str] = ()) -> None:
        keys = [each.encode() for each in (key, *previous) if each]
        self._sessions = [Mac(each, _SESSION) for each in keys]
        self._links = [Mac(each, _LOGIN) for each in keys]
        self._names = [f"iogate_{Mac(each, _NAME).digest(b'').hex()[:8]}" for each in keys]

    @property
    def cookie(self) -> str:
        """Name of the cookie of a session."""
        return self._names[0]

    @property
    def previous_cookies(self) -> tuple[str, ...]:
        """Names of the cookies of sessions that began under an earlier key."""
        return tuple(name for name in self._names if name != self.cookie)

    @property
    def outcome_cookie(self) -> str:
        """Name of the cookie with the outcome of a form, beside that of the session."""
        return f"{self.cookie}_outcome"

    def sign(self, operator: str, generation: str, now_s: float) -> str:
        """Return the value of the cookie for a session that begins now."""
        return _signed(self._sessions[0], _encode(Session(operator, generation, int(now_s) + LONGEST_S)))

    def find(self, cookies: dict[str, str], now_s: float) -> Session | None:
        """Return the session of a request by its cookies; None if it has none, or if it has ended."""
        for name, mac in zip(self._names, self._sessions, strict=True):
            content = _verified([mac], cookies.get(name, ""))
            if content is not None:
                found = _session.decode(content)
                return found if found.ends_s > now_s else None
        return None

    def sign_link(self, operator: str, generation: str, now_s: float) -> str:
        """Return the text of a login link that can be used from now on."""
        link = LoginLink(operator, generation, int(now_s) + LOGIN_S, secrets.token_hex(12))
        return _signed(self._links[0], _encode(link))

    def read_link(self, text: str, now_s: float) -> LoginLink | None:
        """Return the content of a login link; None if it is not signed, or too old."""
        content = _verified(self._links, text)
        if content is None:
            return None
        found = _link.decode(content)
        return found if found.ends_s > now_s else None


def _signed(mac: Mac, content: bytes) -> str:
    return base64url.encode(mac.digest(content)[:_MAC_BYTES] + content)


def _verified(macs: Sequence[Mac], text: str) -> bytes | None:
    """Return the content of the signed text of a session or login link; None if no key has signed it."""
    try:
        decoded = base64url.decode(text)
    except ValueError:
        return None
    signature, content = decoded[:_MAC_BYTES], decoded[_MAC_BYTES:]
    if content and any(hmac.compare_digest(mac.digest(content)[:_MAC_BYTES], signature) for mac in macs):
        return content
    return None
