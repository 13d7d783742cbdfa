"""Description of an `auth` for people: the kinds of credentials that it accepts.

Used by tables and JSON of APIs. Invariant: no secret, and no place of one, is named.
"""

from __future__ import annotations

from typing import assert_never

from iogate.auth.model import (
    Auth,
    JwtAuth,
    NoAuth,
    Secret,
    SignatureAuth,
    TokenAuth,
    UserAuth,
    alternatives,
)


def describe(auth: Auth[Secret]) -> str:
    """Return the kinds of credentials that an `auth` accepts: `token or signature (github)`."""
    kinds: list[str] = []
    for form in alternatives(auth):
        match form:
            case NoAuth():
                kinds.append("none")
            case TokenAuth():
                kinds.append("token")
            case UserAuth():
                kinds.append("user/password")
            case SignatureAuth(scheme=scheme):
                kinds.append(f"signature ({scheme})")
            case JwtAuth():
                kinds.append("jwt")
            case _:
                assert_never(form)
    return " or ".join(dict.fromkeys(kinds))
