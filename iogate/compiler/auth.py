"""Authentication of callers: from the form in documents to the one that gateways use. Called by `compile`.

Invariant: no literal secret leaves this module. A token becomes its SHA-256; a password becomes an
Argon2id hash whose salt follows from the API and the user, so that equal files compile equally.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from pydantic import SecretStr

from iogate.compiler.faults import Placed, Surroundings
from iogate.compiler.features import unexecuted
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
from iogate.documents import api as documents
from iogate.documents.problems import Problem
from iogate.json_pointer import Pointer
from iogate.security import secrets

_Part = NoAuth | TokenAuth | UserAuth


@dataclass(slots=True)
class Reader:
    """Reader of the `auth` of one API, which collects `problems`."""

    document: Placed
    surroundings: Surroundings
    api: str
    """Id of the API: part of the salts of its passwords."""
    problems: list[Problem] = field(default_factory=list)

    def read(self, auth: documents.Auth, pointer: Pointer) -> Auth | None:
        """Return the compiled form; None, with a problem, if this release executes no part of it."""
        parts = tuple(self._parts(auth, pointer))
        if not isinstance(auth, documents.AnyAuth):
            return parts[0] if parts else None
        return AnyAuth(any=parts) if parts else None

    def _parts(self, auth: documents.Auth, pointer: Pointer) -> Iterator[_Part]:
        match auth:
            case "none":
                yield NoAuth()
            case documents.TokenAuth():
                yield TokenAuth(tokens={"token": _tokens(auth.token)})
            case documents.TokensAuth():
                yield TokenAuth(tokens={name: _tokens(values) for name, values in auth.tokens.items()})
            case documents.UserAuth():
                yield UserAuth(users={auth.user: self._passwords(auth.user, auth.password)})
            case documents.UsersAuth():
                yield UserAuth(
                    users={user: self._passwords(user, values) for user, values in auth.users.items()}
                )
            case documents.SignatureAuth():
                self._unexecuted((*pointer, "signature"), "IOG401", "authentication by signature")
            case documents.JwtAuth():
                self._unexecuted((*pointer, "jwt"), "IOG402", "authentication by JWT")
            case documents.AnyAuth():
                for index, part in enumerate(auth.any):
                    yield from self._parts(part, (*pointer, "any", index))

    def _passwords(self, user: str, values: Iterable[documents.Secret]) -> tuple[Secret, ...]:
        salt = hashlib.sha256(f"{self.api}\0{user}".encode()).digest()[:16]
        return tuple(
            HashedSecret(value=secrets.hash_password(value.get_secret_value(), salt=salt))
            if isinstance(value, SecretStr)
            else _reference(value)
            for value in values
        )

    def _unexecuted(self, pointer: Pointer, code: str, name: str) -> None:
        self.problems.append(unexecuted(self.document, pointer, code, name, self.surroundings))


def _tokens(values: Iterable[documents.Secret]) -> tuple[Secret, ...]:
    return tuple(
        HashedSecret(value=secrets.hash_token(value.get_secret_value()))
        if isinstance(value, SecretStr)
        else _reference(value)
        for value in values
    )


def _reference(value: documents.EnvSecret | documents.FileSecret | documents.HashSecret) -> Secret:
    match value:
        case documents.EnvSecret():
            return EnvSecret(name=value.env)
        case documents.FileSecret():
            return FileSecret(path=value.file)
        case documents.HashSecret():
            return HashedSecret(value=value.hash)
