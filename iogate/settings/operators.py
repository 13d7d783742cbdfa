"""The setting `operators`: names, tokens and roles of the people and machines that operate the system.

`table` imports this module only if the setting is given. Pure. Invariants: a token is a reference or a hash,
never a text in clear, and reading a result again returns the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from iogate.auth.forms import SECRETS, SOURCES
from iogate.auth.model import HashedSecret, LiteralSecret, Secret, StoredSecret
from iogate.value_types.collection_types import Key, Schema, ValueType, map_of, record
from iogate.value_types.faults import broken_rule
from iogate.value_types.scalar_types import choice, pattern

ROLES: Final = ("read", "operate", "admin")
"""Roles in ascending order; each may do all that the ones before it may."""
_RULE: Final = 8
"""Code of errors in secrets, as in `auth`."""


@dataclass(frozen=True, kw_only=True)
class DeclaredOperator:
    """One operator of the setting; `tokens` are two during a rotation."""

    tokens: tuple[StoredSecret, ...]
    role: str


def declared(operators: Mapping[str, Any]) -> dict[str, DeclaredOperator]:
    """Return the operators in the setting `operators` by name, with the sources of their tokens."""
    return {
        name: DeclaredOperator(
            tokens=cast("tuple[StoredSecret, ...]", SECRETS.read(given["token"])), role=given["role"]
        )
        for name, given in operators.items()
    }


def _read_token(value: Any) -> Any:
    """Validate a token in the setting `operators`, unchanged: child processes read the setting again."""
    for path, secret in _each(SECRETS.read(value)):
        if isinstance(secret, LiteralSecret):
            raise broken_rule(
                "a token in clear is visible to everyone who can read this file",
                code=_RULE,
                hint="give {env: NAME}, {file: PATH}, or {hash: …} from `iogate secret new`",
                path=path,
            )
        if isinstance(secret, HashedSecret) and not secret.value.startswith("sha256:"):
            raise broken_rule(
                "a token is hashed with SHA-256, a password with Argon2",
                code=_RULE,
                hint="give {hash: …} from `iogate secret new`",
                path=path,
            )
    return value


def _each(given: tuple[Secret, ...]) -> Iterator[tuple[tuple[int, ...], Secret]]:
    for number, secret in enumerate(given):
        yield ((number,) if len(given) > 1 else ()), secret


def _token_schema() -> Schema:
    one = {"anyOf": [each.schema() for each in SOURCES.values()]}
    return {"anyOf": [*one["anyOf"], {"type": "array", "items": one, "minItems": 2, "maxItems": 2}]}


OPERATORS: Final[ValueType[dict[str, Any]]] = map_of(
    pattern(
        "up to 64 letters, digits, dots, dashes, underscores and @",
        r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}",
    ),
    record(
        {
            "token": Key(
                type=ValueType(read=_read_token, schema=_token_schema),
                description="The token, or two during a rotation.",
            ),
            "role": Key(type=choice(*ROLES), description="What the operator may do."),
        },
        dict,
        near={"tokens": "token", "secret": "token", "password": "token", "roles": "role"},
    ),
    "a map of name to {token: SECRET, role: ROLE}",
)
