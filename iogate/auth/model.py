"""Forms of authentication of callers and event senders, and the sources of their secrets.

One model for every place with an `auth`: API documents, the setting `events`, revisions, gateways and the
command line. Two sets of secrets: a file may contain a literal one (`Secret`), a revision may not
(`StoredSecret`). The structs are part of the stored format of revisions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, Literal, TypeAlias, TypeVar

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
    """Return the source of a secret in the `auth` model, `env NAME` or `file PATH`; empty for a hash."""
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


SignatureScheme: TypeAlias = Literal["github", "standard-webhooks", "stripe", "slack", "meta", "hmac"]
TOLERANCE_S = 300.0


class SignatureFormat(msgspec.Struct, frozen=True, kw_only=True):
    """Position of a signature in a request, and the parts of the request that it signs."""

    header: str
    """Header with the signatures."""
    prefix: str = ""
    """Text before each signature; elements of the header without it are ignored."""
    algorithm: Literal["sha256", "sha1", "sha512", "ed25519"] = "sha256"
    """Hash of an HMAC, or `ed25519` for signatures that a public key verifies."""
    encoding: Literal["hex", "base64"] = "hex"
    signed: str = "{body}"
    """Template of the signed text: `{timestamp}.{body}`."""
    timestamp: str = ""
    """Header with the time of the signature; empty if there is none."""
    timestamp_prefix: str = ""
    """Text before the time, if the header has several elements."""
    unit: Literal["s", "ms"] = "s"
    id: str = ""
    """Header with the id of the delivery; empty if there is none."""


class SignatureAuth(msgspec.Struct, Generic[S_co], frozen=True, kw_only=True, tag="signature"):
    """Authentication by a signature of the body. There are two secrets during a rotation."""

    scheme: SignatureScheme
    secrets: tuple[S_co, ...]
    caller: str
    """Caller of the runs."""
    tolerance_s: float = TOLERANCE_S
    """Largest difference of a signed time from now."""
    verify_token: tuple[S_co, ...] = ()
    """Of `meta`: token of the request that registers the URL."""
    declared: SignatureFormat | None = None
    """Of `hmac`: the format."""


class JwtAuth(msgspec.Struct, Generic[S_co], frozen=True, kw_only=True, tag="jwt"):
    """Tokens that an issuer has signed (RFC 7519).

    The keys come from `jwks`, `key` or `secret`; without any, from the OpenID configuration of the issuer.
    """

    issuer: str | None = None
    """Required value of `iss`; None: any."""
    audience: tuple[str, ...] = ()
    """`aud` must have one of these; empty: any."""
    jwks: str | None = None
    key: tuple[S_co, ...] = ()
    secret: tuple[S_co, ...] = ()
    algorithms: tuple[str, ...] = ()
    """Empty: all that fit the keys."""
    claims: dict[str, Any] = {}
    """Claim, or JSON Pointer into the claims, to its required value, or to a list of the allowed ones."""
    scopes: tuple[str, ...] = ()
    caller: str = "sub"
    """Claim, or JSON Pointer into the claims, that names the caller."""
    leeway_s: float = 60.0


Form: TypeAlias = NoAuth | TokenAuth[S_co] | UserAuth[S_co] | SignatureAuth[S_co] | JwtAuth[S_co]


class AnyAuth(msgspec.Struct, Generic[S_co], frozen=True, kw_only=True, tag="any"):
    """Credentials for one of the forms are enough."""

    any: tuple[Form[S_co], ...]


Auth: TypeAlias = Form[S_co] | AnyAuth[S_co]
StoredAuth: TypeAlias = Auth[StoredSecret]


def alternatives(auth: Auth[S_co]) -> tuple[Form[S_co], ...]:
    """Return the forms of authentication in the `auth` model: those of `any`, else the form itself."""
    return auth.any if isinstance(auth, AnyAuth) else (auth,)


def simplest(auth: Auth[S_co]) -> Auth[S_co]:
    """Return the `auth` model, or the only form of its `any`, which accepts the same callers."""
    forms = alternatives(auth)
    return forms[0] if len(forms) == 1 else auth


def secrets_of(auth: Auth[S_co]) -> Iterator[S_co]:
    """Yield each secret of all forms in the `auth` model."""
    for form in alternatives(auth):
        match form:
            case TokenAuth(tokens=named) | UserAuth(users=named):
                for given in named.values():
                    yield from given
            case SignatureAuth():
                yield from form.secrets
                yield from form.verify_token
            case JwtAuth():
                yield from form.key
                yield from form.secret
