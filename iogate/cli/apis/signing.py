"""Signing of requests that `debug` and `api call` send, as the sender of the API's signature does it.

Used by `credentials`, which resolves the secret.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from iogate.errors import Misused

if TYPE_CHECKING:
    from iogate.auth.model import Auth, SignatureAuth


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """A request before it has credentials."""

    verb: str
    path: str
    """Target of the request, with its query."""
    body: bytes
    url: str
    """URL of the gateway, without the path."""
    headers: Mapping[str, str]
    """Headers that the user gives."""


def headers_of(auth: Auth[Any]) -> Iterable[str]:
    """Return the names of the signature headers of a request that a command signs, in lower case."""
    from iogate.auth.model import SignatureAuth, alternatives
    from iogate.auth.signature_schemes import scheme_of

    return [
        format_.header.lower()
        for form in alternatives(auth)
        if isinstance(form, SignatureAuth)
        for format_ in scheme_of(form).formats
    ]


def sign(form: SignatureAuth[Any], secret: str, request: Outgoing, *, api: str) -> dict[str, str]:
    """Return the headers with which a command signs a request as the sender of the API's signature does.

    The id of the delivery is the one in the headers of the user, else a new one, so that each request starts
    a run. Raises Misused for a secret that is not one of the scheme, and for a public key.
    """
    from iogate.auth.signature_schemes import Signer, key_of, scheme_of
    from iogate.effects.gateway_client import sent_target

    format_ = scheme_of(form).formats[0]
    try:
        key = key_of(form.scheme, secret)
    except ValueError as error:
        raise Misused(f"{api}: the secret {error}") from None
    if not isinstance(key, bytes):
        raise Misused(
            f"{api}: the secret is the public key of the sender, which signs with a private one",
            hint="send a signed request with --header, or add a secret with whsec_ for tests to the list",
        )
    given = {name.lower(): value for name, value in request.headers.items()}
    delivery = given.get(format_.id.lower()) or secrets.token_hex(16)
    return Signer(format_, key).headers(
        body=request.body,
        now_s=time.time(),
        delivery=delivery,
        method=request.verb,
        path=(path := sent_target(request.path)),
        url=request.url + path,
    )


def identifies_by_body(auth: Auth[Any], headers: Mapping[str, str]) -> bool:
    """Tell whether requests that a command signs are attempts of one delivery if they have the same body."""
    from iogate.auth.model import SignatureAuth, alternatives
    from iogate.auth.signature_schemes import scheme_of

    schemes = [scheme_of(form) for form in alternatives(auth) if isinstance(form, SignatureAuth)]
    return any(scheme.delivery and scheme.formats[0].header in headers for scheme in schemes)
