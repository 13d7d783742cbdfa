"""Credentials in the headers of a request: `token`, `user` and `password`, `Authorization`.

Used by `authenticator`, `equal_work` and the forms. Pure. Nothing here knows what an API accepts.
Invariant: a credential is hashed at most once per request, however many APIs compare it.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from iogate.gateway.http.responses import invalid
from iogate.security import secrets
from iogate.security.secrets import Presented

_JWT: Final = re.compile(rb"e[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*=*")
"""Three parts, of which the first is a JSON object in base64url."""


class Credential:
    """One credential of a request for a run, which the forms of several APIs verify."""

    def __init__(self, value: Any, carrier: Carrier) -> None:
        self.value = value
        """A token, or user and password."""
        self._carrier = carrier

    @cached_property
    def hashed(self) -> Presented:
        """The credential as verifiers of several APIs compare it."""
        return self._carrier.hash(self.value)

    @cached_property
    def is_jwt(self) -> bool:
        """Whether the credential of a request has the form of a JWT."""
        return is_jwt(self.value)


@dataclass(frozen=True, kw_only=True, eq=False)
class Carrier:
    """Headers that carry one credential."""

    name: str
    """The credential in messages, with its article."""
    headers: frozenset[bytes]
    """Headers other than `Authorization`."""
    read: Callable[[Mapping[bytes, bytes], bytes, bytes], Any]
    """Returns the credential of headers and of scheme and rest of `Authorization`; without one a false value.

    Raises HTTPError, a 400, if they contradict each other.
    """
    hash: Callable[[Any], Presented]
    is_in: Callable[[Mapping[bytes, bytes]], bool]
    """Tells whether headers contain the credential, be it readable or not."""


def authorization(headers: Mapping[bytes, bytes]) -> tuple[bytes, bytes]:
    """Return scheme, in lower case, and credentials of a request's Authorization; both may be empty."""
    value = headers.get(b"authorization")
    if value is None:
        return b"", b""
    scheme, _, rest = value.partition(b" ")
    return scheme.lower(), rest.strip()


def is_jwt(token: bytes) -> bool:
    """Tell whether a bearer token among the credentials of a request has the form of a JWT."""
    return _JWT.fullmatch(token) is not None


def to_text(value: bytes) -> str:
    """Decode a credential of a request, whose encoding no header states."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _read_token(headers: Mapping[bytes, bytes], scheme: bytes, rest: bytes) -> bytes:
    plain = headers.get(b"token", b"")
    if scheme != b"bearer" or not rest:
        return plain
    if plain and plain != rest:
        raise invalid("The headers token and Authorization name different tokens")
    return rest


def _hash_token(token: bytes) -> Presented:
    return secrets.presented(to_text(token))


def _has_token(headers: Mapping[bytes, bytes]) -> bool:
    return bool(headers.get(b"token")) or headers.get(b"authorization", b"")[:6].lower() == b"bearer"


def _read_user(headers: Mapping[bytes, bytes], scheme: bytes, rest: bytes) -> tuple[bytes, bytes] | None:
    user, password = headers.get(b"user", b""), headers.get(b"password", b"")
    plain = (user, password) if user and password else None
    if scheme != b"basic" or not rest:
        return plain
    try:
        name, colon, secret = base64.b64decode(rest, validate=True).partition(b":")
    except binascii.Error:
        name, colon, secret = b"", b"", b""
    # Undecodable credentials count as wrong, not as missing: no user has an empty password.
    decoded = (name, secret) if colon else (b"", b"")
    if plain is not None and plain != decoded:
        raise invalid("The headers user and password contradict Authorization")
    return decoded


def _hash_password(user: tuple[bytes, bytes]) -> Presented:
    return secrets.presented(to_text(user[1]), to_text(user[0]))


def _has_password(headers: Mapping[bytes, bytes]) -> bool:
    has_both = bool(headers.get(b"user") and headers.get(b"password"))
    return has_both or headers.get(b"authorization", b"")[:6].lower() == b"basic "


BEARER: Final = Carrier(
    name="a token",
    headers=frozenset({b"token"}),
    read=_read_token,
    hash=_hash_token,
    is_in=_has_token,
)
"""The header `token`, or a bearer token (RFC 6750)."""
BASIC: Final = Carrier(
    name="user and password",
    headers=frozenset({b"user", b"password"}),
    read=_read_user,
    hash=_hash_password,
    is_in=_has_password,
)
"""The headers `user` and `password`, or basic credentials (RFC 7617)."""
