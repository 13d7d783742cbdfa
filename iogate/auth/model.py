"""Forms of authentication of callers and event senders, and the sources of their secrets.

One model for every place with an `auth`: API documents, the setting `events`, revisions, gateways and the
command line. Two sets of secrets: a file may contain a literal one (`Secret`), a revision may not
(`StoredSecret`). The structs are part of the stored format of revisions.
"""

from __future__ import annotations

from typing import Generic, TypeAlias, TypeVar

import msgspec


class EnvSecret(msgspec.Struct, frozen=True, kw_only=True, tag="env"):
    """Secret in an environment variable."""

    name: str


class FileSecret(msgspec.Struct, frozen=True, kw_only=True, tag="file"):
    """Secret in a file; the line break at its end is not part of it."""

    path: str


class HashedSecret(msgspec.Struct, frozen=True, kw_only=True, tag="hash"):
    """`sha256:HEX` for tokens, `$argon2id$…` for passwords."""

    value: str


class LiteralSecret(msgspec.Struct, frozen=True, kw_only=True, tag="literal"):
    """Secret in clear text in a file; no representation shows it."""

    text: str

    def __repr__(self) -> str:
        return "LiteralSecret(…)"


StoredSecret: TypeAlias = EnvSecret | FileSecret | HashedSecret
Secret: TypeAlias = StoredSecret | LiteralSecret


def source_of(secret: StoredSecret) -> str:
    """Return the source of a secret on the machine, `env NAME` or `file PATH`; empty for a hash."""
    match secret:
        case EnvSecret(name=name):
            return f"env {name}"
        case FileSecret(path=path):
            return f"file {path}"
        case _:
            return ""


S_co = TypeVar("S_co", covariant=True)


class NoAuth(msgspec.Struct, frozen=True, kw_only=True, tag="none"):
    """Every caller is accepted."""


class TokenAuth(msgspec.Struct, Generic[S_co], frozen=True, kw_only=True, tag="token"):
    """Name of each caller to the tokens that it may use: two during a rotation.

    `{token: SECRET}` has the one caller `token`.
    """

    tokens: dict[str, tuple[S_co, ...]]


class UserAuth(msgspec.Struct, Generic[S_co], frozen=True, kw_only=True, tag="user"):
    """Each user to the passwords that it may use: two during a rotation."""

    users: dict[str, tuple[S_co, ...]]


Form: TypeAlias = NoAuth | TokenAuth[S_co] | UserAuth[S_co]


class AnyAuth(msgspec.Struct, Generic[S_co], frozen=True, kw_only=True, tag="any"):
    """Credentials for one of the forms are enough."""

    any: tuple[Form[S_co], ...]


Auth: TypeAlias = Form[S_co] | AnyAuth[S_co]
StoredAuth: TypeAlias = Auth[StoredSecret]


def alternatives(auth: Auth[S_co]) -> tuple[Form[S_co], ...]:
    """Return the forms that are accepted: those of `any`, else the form itself."""
    return auth.any if isinstance(auth, AnyAuth) else (auth,)
