"""Models of `auth`: schemes of authentication, and the forms of a secret.

A literal secret is a SecretStr, so that no representation of a model shows it.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    SecretStr,
)
from pydantic_core import CoreSchema

from iogate.documents.base_model import (
    Maybe,
    StrictModel,
    as_tag,
    field_error,
    rule_error,
    tag_name,
    type_error,
    type_name,
)
from iogate.documents.field_types import IsList, IsMapping, Seconds, Text, TextList, matching
from iogate.documents.problems import listed

_FORMS = "{env: NAME}, {file: PATH}, {hash: …} or a literal text"
_AUTH_KEYS = ("token", "tokens", "user", "users", "signature", "jwt", "any")


class EnvSecret(StrictModel):
    env: Annotated[Text, AfterValidator(matching(r"[A-Za-z_][A-Za-z0-9_]*", "the name of a variable"))]
    """The environment variable that holds the secret."""


class FileSecret(StrictModel):
    file: Annotated[Text, AfterValidator(matching(r"(?s)[^\0]+", "the path of a file"))]
    """The file that holds the secret; its trailing line break does not count."""


_HASH = (
    r"sha256:[0-9a-f]{64}|\$argon2id\$v=[0-9]+\$m=[0-9]+,t=[0-9]+,p=[0-9]+\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+"
)


class HashSecret(StrictModel):
    hash: Annotated[
        Text,
        AfterValidator(
            matching(_HASH, "sha256: and 64 hex digits, or $argon2id$…, as `iogate secret hash` writes it")
        ),
    ]
    """The secret's hash, as `iogate secret hash` prints it."""


def _secret_branch(value: Any) -> str | None:
    match value:
        case str():
            return tag_name("literal")
        case dict():
            for key in ("env", "file", "hash"):
                if key in value:
                    return tag_name(key)
    return None


def _secret(value: Any) -> Any:
    match value:
        case str() if not value:
            raise rule_error("the secret is empty", code=8, hint=f"give {_FORMS}")
        case bool() | int() | float():
            raise rule_error(
                f"a secret must be text, not {type_name(value)}",
                code=8,
                hint="quote it: a YAML number loses leading zeros and signs",
            )
        case dict() if _secret_branch(value) is None:
            raise rule_error("this is no form of a secret", code=8, hint=f"give {_FORMS}")
        case str() | dict():
            return value
    raise type_error(_FORMS, value)


Secret = Annotated[
    Annotated[EnvSecret, as_tag("env")]
    | Annotated[FileSecret, as_tag("file")]
    | Annotated[HashSecret, as_tag("hash")]
    | Annotated[SecretStr, as_tag("literal")],
    Discriminator(_secret_branch),
    BeforeValidator(_secret),
]


def _rotation(value: Any) -> Any:
    if not isinstance(value, list):
        return [value]
    if len(value) != 2:
        raise rule_error("a list of secrets holds two: the old one and the new one", code=8)
    return value


class _OneOrTwo:
    """Tells editors that a secret may stand without its list."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        listed_schema = handler(core)
        return {"anyOf": [listed_schema["items"], {**listed_schema, "minItems": 2, "maxItems": 2}]}


Secrets = Annotated[list[Secret], BeforeValidator(_rotation), _OneOrTwo()]
"""One secret, or two while one is rotated out; always a list here."""


def _named(value: Any) -> Any:
    if isinstance(value, dict) and not value:
        raise rule_error("at least one name is needed", code=6)
    return value


_CallerName = Annotated[
    Text, AfterValidator(matching(r"[^\s:\x00-\x1f\x7f]{1,128}", "a name without spaces and colons"))
]
_NamedSecrets = Annotated[dict[_CallerName, Secrets], BeforeValidator(_named), IsMapping]


def _clear(value: list[Any]) -> list[Any]:
    for number, secret in enumerate(value):
        if isinstance(secret, HashSecret):
            raise rule_error(
                "a signature is checked with the secret itself, a hash of it will not do",
                code=8,
                hint="give {env: NAME} or {file: PATH}",
                key=number if len(value) > 1 else None,
            )
    return value


_ClearSecrets = Annotated[Secrets, AfterValidator(_clear)]


class TokenAuth(StrictModel):
    token: Secrets
    """One token opens the door."""


class TokensAuth(StrictModel):
    tokens: _NamedSecrets
    """A token for each named caller."""


class UserAuth(StrictModel):
    near: ClassVar = {"username": "user", "name": "user", "pass": "password", "secret": "password"}

    user: _CallerName
    password: Secrets


class UsersAuth(StrictModel):
    users: _NamedSecrets
    """A password for each user."""


class Signature(StrictModel):
    scheme: Literal["standard-webhooks", "github"]
    """How the body is signed: Standard Webhooks, or GitHub's X-Hub-Signature-256."""
    secret: _ClearSecrets
    tolerance: Maybe[Seconds] = None
    """How old a signed timestamp may be; default 5m."""


class SignatureAuth(StrictModel):
    signature: Signature


class Jwt(StrictModel):
    issuer: Text
    """What `iss` must be; its OpenID configuration gives the keys where neither `jwks` nor `secret` does."""
    audience: Text
    """What `aud` must hold."""
    jwks: Maybe[Text] = None
    """URL of the issuer's key set."""
    secret: Maybe[_ClearSecrets] = None
    """Shared secret of the HS algorithms."""
    algorithms: Maybe[
        Annotated[
            list[Literal["RS256", "RS384", "RS512", "ES256", "ES384", "EdDSA", "HS256", "HS384", "HS512"]],
            IsList,
        ]
    ] = None
    claims: Maybe[Annotated[dict[str, Any], IsMapping]] = None
    """Claims that must have these values."""
    scopes: Maybe[TextList] = None
    caller: Maybe[Text] = None
    """The claim that names the caller; default `sub`."""
    leeway: Maybe[Seconds] = None


class JwtAuth(StrictModel):
    jwt: Jwt


def _flat(value: Any) -> Any:
    for number, one in enumerate(value if isinstance(value, list) else ()):
        if isinstance(one, dict) and "any" in one:
            raise rule_error('"any" stands inside of "any"', code=6, hint="list its forms here", key=number)
    return value


class AnyAuth(StrictModel):
    any: Annotated[list[Auth], Field(min_length=1), BeforeValidator(_flat), IsList]
    """The first form that the caller's credentials fit."""


def _auth_branch(value: Any) -> str | None:
    if value == "none":
        return tag_name("none")
    if isinstance(value, dict):
        for key in _AUTH_KEYS:
            if key in value:
                return tag_name(key)
        if "password" in value or "username" in value:
            return tag_name("user")
    return None


def _auth(value: Any) -> Any:
    forms = "none, or a mapping with " + listed(_AUTH_KEYS)
    if value is None:
        raise field_error("iogate_null", expected=forms)
    if isinstance(value, str) and value != "none":
        raise field_error("iogate_format", expected=forms, got=None)
    if not isinstance(value, str | dict):
        raise type_error(forms, value)
    if _auth_branch(value) is None:
        key = next(iter(value), None)
        raise field_error("iogate_unknown", allowed=list(_AUTH_KEYS), meant=None, tip=None, key=key)
    found = [key for key in _AUTH_KEYS if key in value] if isinstance(value, dict) else []
    if len(found) > 1:
        raise rule_error(
            f"one form of authentication, not {' and '.join(found)}",
            code=6,
            hint="say {any: [ … ]} to accept either",
            key=found[1],
        )
    return value


Auth = Annotated[
    Annotated[Literal["none"], as_tag("none")]
    | Annotated[TokenAuth, as_tag("token")]
    | Annotated[TokensAuth, as_tag("tokens")]
    | Annotated[UserAuth, as_tag("user")]
    | Annotated[UsersAuth, as_tag("users")]
    | Annotated[SignatureAuth, as_tag("signature")]
    | Annotated[JwtAuth, as_tag("jwt")]
    | Annotated[AnyAuth, as_tag("any")],
    Discriminator(_auth_branch),
    BeforeValidator(_auth),
]
