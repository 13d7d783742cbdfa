"""Declaration of the forms of `auth`: their keys, the types of these, and the part of the model they become.

Read by `reader`, which derives errors, JSON Schema and warnings from it: a new form is one entry in `FORMS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from iogate.auth.jwt_form import JWT
from iogate.auth.model import (
    Form,
    HashedSecret,
    LiteralSecret,
    Secret,
    TokenAuth,
    UserAuth,
)
from iogate.auth.references import references
from iogate.auth.signature_form import signature
from iogate.value_types.collection_types import Key, Schema, ValueType, list_of, map_of, record
from iogate.value_types.faults import broken_rule, type_name, wrong_type
from iogate.value_types.scalar_types import matching_text

_SOURCES: Final = "{env: NAME}, {file: PATH}, {hash: …} or a literal text"
_HASH: Final = (
    r"sha256:[0-9a-f]{64}|\$argon2id\$v=[0-9]+\$m=[0-9]+,t=[0-9]+,p=[0-9]+\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+"
)

SOURCES: Final[Mapping[str, ValueType[Secret]]] = {
    **references(
        env="The environment variable that holds the secret.",
        file="The file that holds the secret; its trailing line break does not count.",
    ),
    "hash": record(
        {
            "hash": Key(
                type=matching_text(
                    "sha256: and 64 hex digits, or $argon2id$…, as `iogate secret hash` writes it", _HASH
                ),
                description="The secret's hash, as `iogate secret hash` prints it.",
            )
        },
        lambda hash: HashedSecret(value=hash),  # noqa: A006 - the key
    ),
}
"""Key of each source of a secret, and its type; a text is the secret itself."""


def _read_secret(value: Any) -> Secret:
    match value:
        case str():
            if not value:
                raise broken_rule("the secret is empty", code=8, hint=f"give {_SOURCES}")
            return LiteralSecret(text=value)
        case bool() | int() | float():
            raise broken_rule(
                f"a secret must be text, not {type_name(value)}",
                code=8,
                hint="quote it: a YAML number loses leading zeros and signs",
            )
        case Mapping():
            for key, source in SOURCES.items():
                if key in value:
                    return source.read(value)
            raise broken_rule("this is no form of a secret", code=8, hint=f"give {_SOURCES}")
    raise wrong_type(_SOURCES, value)


def _read_secrets(value: Any) -> tuple[Secret, ...]:
    if not isinstance(value, list | tuple):
        return (_read_secret(value),)
    if len(value) != 2:
        raise broken_rule("a list of secrets holds two: the old one and the new one", code=8)
    return tuple(list_of(SECRET).read(value))


def _read_clear(value: Any) -> tuple[Secret, ...]:
    given = _read_secrets(value)
    for number, secret in enumerate(given):
        path = (number,) if len(given) > 1 else ()
        if isinstance(secret, HashedSecret):
            raise broken_rule(
                "a signature is checked with the secret itself, a hash of it will not do",
                code=8,
                hint="give {env: NAME} or {file: PATH}",
                path=path,
                on_key=bool(path),
            )
        if isinstance(secret, LiteralSecret):
            raise broken_rule(
                "a signature is checked with the secret itself, and no revision contains a secret in clear",
                code=36,
                hint="give {env: NAME} or {file: PATH}",
                path=path,
                on_key=bool(path),
            )
    return given


def _read_named(value: Any) -> dict[str, tuple[Secret, ...]]:
    if isinstance(value, Mapping) and not value:
        raise broken_rule("at least one name is needed", code=6)
    return map_of(CALLER, SECRETS).read(value)


def _secrets_schema() -> Schema:
    one = SECRET.schema()
    return {"anyOf": [one, {"type": "array", "items": one, "minItems": 2, "maxItems": 2}]}


SECRET: Final = ValueType(
    read=_read_secret,
    schema=lambda: {"anyOf": [*(each.schema() for each in SOURCES.values()), {"type": "string"}]},
)
SECRETS: Final = ValueType(read=_read_secrets, schema=_secrets_schema)
"""One secret, or two during a rotation."""
CLEAR_SECRETS: Final = ValueType(read=_read_clear, schema=_secrets_schema)
"""Secrets of which a hash does not suffice."""
CALLER: Final = matching_text("a name without spaces and colons", r"[^\s:\x00-\x1f\x7f]{1,128}")
NAMED_SECRETS: Final = ValueType(
    read=_read_named, schema=lambda: {"type": "object", "additionalProperties": SECRETS.schema()}
)
"""Secrets of each caller."""

SIGNATURE: Final = signature(CLEAR_SECRETS, SECRETS, CALLER)


@dataclass(frozen=True, kw_only=True)
class FormType:
    """Declaration of one form; its first key distinguishes it from the others."""

    keys: Mapping[str, Key]
    build: Callable[..., Form[Secret]]
    """Called with the values of the keys that are given."""
    near: Mapping[str, str] = field(default_factory=dict)
    """Common words for a key, and the key."""
    recognised_by: tuple[str, ...] = ()
    """Keys that mean this form if the first key is missing."""


FORMS: Final[Mapping[str, FormType]] = {
    "token": FormType(
        keys={"token": Key(type=SECRETS, description="The token of all callers.")},
        build=lambda token: TokenAuth(tokens={"token": token}),
    ),
    "tokens": FormType(
        keys={"tokens": Key(type=NAMED_SECRETS, description="A token for each named caller.")},
        build=lambda tokens: TokenAuth(tokens=tokens),
    ),
    "user": FormType(
        keys={"user": Key(type=CALLER), "password": Key(type=SECRETS)},
        build=lambda user, password: UserAuth(users={user: password}),
        near={"username": "user", "name": "user", "pass": "password", "secret": "password"},
        recognised_by=("password", "username"),
    ),
    "users": FormType(
        keys={"users": Key(type=NAMED_SECRETS, description="A password for each user.")},
        build=lambda users: UserAuth(users=users),
    ),
    "signature": FormType(
        keys={"signature": Key(type=SIGNATURE)},
        build=lambda signature: signature,
    ),
    "jwt": FormType(
        keys={"jwt": Key(type=JWT)},
        build=lambda jwt: jwt,
    ),
}
"""Each form by the key that distinguishes it; `none` and `any` are the reader's."""
