"""Stored form of `auth`: each literal secret is replaced by its hash.

Called by the compiler for APIs and by `settings` for event senders. Invariant: the result contains no
secret in clear text, and equal files give equal results, because the salt of a password follows from the
place and the user.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import assert_never, cast

from iogate.auth.model import (
    AnyAuth,
    Auth,
    Form,
    HashedSecret,
    JwtAuth,
    LiteralSecret,
    NoAuth,
    Secret,
    SignatureAuth,
    StoredAuth,
    StoredSecret,
    TokenAuth,
    UserAuth,
)
from iogate.security import secrets


def stored(auth: Auth[Secret], *, place: str) -> StoredAuth:
    """Return `auth` without literal secrets; `place` is the id of the API or `events`."""
    if isinstance(auth, AnyAuth):
        return AnyAuth(any=tuple(_form(form, place) for form in auth.any))
    return _form(auth, place)


def _form(form: Form[Secret], place: str) -> Form[StoredSecret]:
    match form:
        case NoAuth():
            return form
        case TokenAuth(tokens=tokens):
            return TokenAuth(tokens={name: tuple(map(_token, given)) for name, given in tokens.items()})
        case UserAuth(users=users):
            return UserAuth(users=_passwords(users, place))
        case SignatureAuth():
            return SignatureAuth(
                scheme=form.scheme,
                secrets=tuple(map(_reference, form.secrets)),
                caller=form.caller,
                tolerance_s=form.tolerance_s,
                verify_token=tuple(map(_token, form.verify_token)),
                declared=form.declared,
            )
        case JwtAuth():
            for each in (*form.key, *form.secret):
                _reference(each)
            return cast("JwtAuth[StoredSecret]", form)
        case _:
            assert_never(form)


def _reference(secret: Secret) -> StoredSecret:
    assert not isinstance(secret, LiteralSecret), "forms refuses a literal secret of a signature and of a JWT"
    return secret


def _token(secret: Secret) -> StoredSecret:
    if isinstance(secret, LiteralSecret):
        return HashedSecret(value=secrets.hash_token(secret.text))
    return secret


def _passwords(users: Mapping[str, tuple[Secret, ...]], place: str) -> dict[str, tuple[StoredSecret, ...]]:
    return {user: tuple(_password(each, place, user) for each in given) for user, given in users.items()}


def _password(secret: Secret, place: str, user: str) -> StoredSecret:
    if not isinstance(secret, LiteralSecret):
        return secret
    salt = hashlib.sha256(f"{place}\0{user}".encode()).digest()[:16]
    return HashedSecret(value=secrets.hash_password(secret.text, salt=salt))
