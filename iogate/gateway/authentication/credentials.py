"""Credentials in the headers of a request: `token`, `user` and `password`, `Authorization`.

Used by `authenticator` and `equal_work`. Pure. Nothing here knows which credentials an API accepts.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from iogate.gateway.http.responses import HTTPError, invalid
from iogate.security import secrets
from iogate.security.secrets import Presented

if TYPE_CHECKING:
    from iogate.gateway.http.request import Request

HEADERS: Final = frozenset({b"authorization", b"token", b"user", b"password"})
"""Headers that carry credentials."""
_JWT: Final = re.compile(rb"e[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*=*")
"""Three parts, of which the first is a JSON object in base64url."""


class Credentials(NamedTuple):
    """The credentials of a request, of each kind that an API may accept."""

    token: Presented | None = None
    user: Presented | None = None
    jwt: bytes = b""
    """The token, if it has the form of a JWT."""


def read_credentials(request: Request) -> Credentials:
    """Return the credentials of a request; empty if they contradict each other."""
    if request.repeated & HEADERS:
        return Credentials()
    headers = request.headers
    bearer, basic = authorization(headers)
    try:
        token, user = one_token(headers, bearer), one_user(headers, basic)
    except HTTPError:
        return Credentials()
    return Credentials(
        secrets.presented(to_text(token)) if token else None,
        secrets.presented(to_text(user[1]), to_text(user[0])) if user else None,
        token if token and is_jwt(token) else b"",
    )


def is_jwt(token: bytes) -> bool:
    """Tell whether a bearer token has the form of a JWT."""
    return _JWT.fullmatch(token) is not None


def authorization(headers: Mapping[bytes, bytes]) -> tuple[bytes, bytes]:
    """Return the bearer token and the basic credentials of the header Authorization; one is empty."""
    scheme, _, rest = headers.get(b"authorization", b"").partition(b" ")
    scheme, rest = scheme.lower(), rest.strip()
    return rest if scheme == b"bearer" else b"", rest if scheme == b"basic" else b""


def one_token(headers: Mapping[bytes, bytes], bearer: bytes) -> bytes:
    """Return the token of `token` or `Authorization`. Raises HTTPError, a 400, if they differ."""
    plain = headers.get(b"token", b"")
    if plain and bearer and plain != bearer:
        raise invalid("The headers token and Authorization name different tokens")
    return plain or bearer


def one_user(headers: Mapping[bytes, bytes], basic: bytes) -> tuple[bytes, bytes] | None:
    """Return user and password of their headers, or the basic credentials.

    Raises HTTPError, a 400, if they differ.
    """
    user, password = headers.get(b"user", b""), headers.get(b"password", b"")
    plain = (user, password) if user and password else None
    if not basic:
        return plain
    try:
        name, colon, secret = base64.b64decode(basic, validate=True).partition(b":")
    except binascii.Error:
        name, colon, secret = b"", b"", b""
    # Undecodable credentials count as wrong, not as missing: no user has an empty password.
    decoded = (name, secret) if colon else (b"", b"")
    if plain is not None and plain != decoded:
        raise invalid("The headers user and password contradict Authorization")
    return decoded


def to_text(value: bytes) -> str:
    """Decode a credential, whose encoding no header states."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
