"""Credentials of event senders: the setting `events.auth`, compiled for the authenticator.

Used by `__main__` and the command line. Invariant: a literal secret is kept as its hash only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from iogate.compiler.revision import (
    AnyAuth,
    Auth,
    EnvSecret,
    FileSecret,
    HashedSecret,
    NoAuth,
    Secret,
    TokenAuth,
    UserAuth,
)
from iogate.security import secrets


def auth(setting: Any) -> Auth | None:
    """Return the compiled form of the validated setting; None without a setting: no sender is allowed."""
    if setting is None:
        return None
    if isinstance(setting, Mapping) and "any" in setting:
        return AnyAuth(any=tuple(_part(each) for each in setting["any"]))
    return _part(setting)


def _part(setting: Any) -> NoAuth | TokenAuth | UserAuth:
    match setting:
        case {"token": secret}:
            return TokenAuth(tokens={"token": _secrets(secret, None)})
        case {"tokens": named}:
            return TokenAuth(tokens={name: _secrets(secret, None) for name, secret in named.items()})
        case {"user": user, "password": secret}:
            return UserAuth(users={user: _secrets(secret, user)})
        case {"users": named}:
            return UserAuth(users={user: _secrets(secret, user) for user, secret in named.items()})
    return NoAuth()


def _secrets(given: Any, user: str | None) -> tuple[Secret, ...]:
    return tuple(_secret(each, user) for each in (given if isinstance(given, list | tuple) else (given,)))


def _secret(given: Any, user: str | None) -> Secret:
    match given:
        case {"env": name}:
            return EnvSecret(name=name)
        case {"file": path}:
            return FileSecret(path=path)
        case {"hash": value}:
            return HashedSecret(value=value)
    if user is None:
        return HashedSecret(value=secrets.hash_token(given))
    salt = hashlib.sha256(f"events\0{user}".encode()).digest()[:16]
    return HashedSecret(value=secrets.hash_password(given, salt=salt))
