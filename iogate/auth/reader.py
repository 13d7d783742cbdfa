"""Reader of `auth`: from the form in files to the model.

Used for API documents, for the setting `events` and by the command line. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from iogate.auth.forms import CLEAR_SECRETS, FORMS, NAMED_SECRETS, SECRET, SECRETS, Unexecuted
from iogate.auth.model import AnyAuth, Auth, NoAuth, Secret, SignatureAuth, alternatives
from iogate.value_types.faults import Fault, InvalidValue, ValuePath, broken_rule, wrong_form, wrong_type
from iogate.value_types.structures import Key, ValueType, list_of, record

_KEYS: Final = (*FORMS, "any")
_EXPECTED: Final = f"none, or a mapping with {', '.join(_KEYS[:-1])} or {_KEYS[-1]}"


@dataclass(frozen=True, kw_only=True)
class DeclaredAuth:
    """Valid `auth` of a file."""

    accepted: Auth[Secret] | None = None
    """Forms that this release executes; None if there are none."""
    refused: tuple[tuple[ValuePath, Unexecuted], ...] = ()
    """Forms that this release does not execute, each with its position in `auth`."""


def _read(value: Any) -> DeclaredAuth:
    key = _form_key(value)
    if key == "none":
        return DeclaredAuth(accepted=NoAuth())
    if key == "any":
        return _ANY.read(value)
    built = _RECORDS[key].read(value)
    if isinstance(built, Unexecuted):
        return DeclaredAuth(refused=(((key,), built),))
    return DeclaredAuth(accepted=built)


def _form_key(value: Any) -> str:
    """Return the key that distinguishes the form of `auth`. Raises InvalidValue if there is no single one."""
    if value == "none":
        return "none"
    if isinstance(value, str) or value == {}:
        raise wrong_form(_EXPECTED)
    if not isinstance(value, Mapping):
        raise wrong_type(_EXPECTED, value)
    found = [key for key in _KEYS if key in value]
    if len(found) > 1:
        raise broken_rule(
            f"one form of authentication, not {' and '.join(found)}",
            code=6,
            hint="say {any: [ … ]} to accept either",
            path=(found[1],),
            on_key=True,
        )
    if found:
        return found[0]
    for key, form in FORMS.items():
        if any(each in value for each in form.recognised_by):
            return key
    raise InvalidValue(Fault(kind="unknown", path=(next(iter(value)),), choices=_KEYS))


def _read_alternatives(value: Any) -> DeclaredAuth:
    given = value if isinstance(value, list | tuple) else ()
    for number, each in enumerate(given):
        if isinstance(each, Mapping) and "any" in each:
            raise broken_rule(
                '"any" stands inside of "any"',
                code=6,
                hint="list its forms here",
                path=(number,),
                on_key=True,
            )
    parts = list_of(AUTH).read(value)
    if not parts:
        raise InvalidValue(Fault(kind="empty"))
    accepted = [part.accepted for part in parts if part.accepted is not None]
    return DeclaredAuth(
        accepted=AnyAuth(any=tuple(form for auth in accepted for form in alternatives(auth)))
        if accepted
        else None,
        refused=tuple(
            ((number, *path), why) for number, part in enumerate(parts) for path, why in part.refused
        ),
    )


def _build_any(any: DeclaredAuth) -> DeclaredAuth:  # noqa: A002 - the key
    return DeclaredAuth(
        accepted=any.accepted, refused=tuple((("any", *path), why) for path, why in any.refused)
    )


_RECORDS: Final = {key: record(form.keys, form.build, near=form.near) for key, form in FORMS.items()}
_ANY: Final = record(
    {
        "any": Key(
            type=ValueType(
                read=_read_alternatives,
                schema=lambda: {"type": "array", "minItems": 1, "items": _FORM.schema()},
            ),
            description="The first form that the caller's credentials fit.",
        )
    },
    _build_any,
)
AUTH: Final[ValueType[DeclaredAuth]] = ValueType(
    read=_read, schema=lambda: {"anyOf": [_FORM.schema(), _ANY.schema()]}
)
"""Type of `auth` in API documents."""
_FORM: Final[ValueType[DeclaredAuth]] = ValueType(
    read=_read, schema=lambda: {"anyOf": [{"const": "none"}, *(each.schema() for each in _RECORDS.values())]}
)
DEFINITIONS: Final[Mapping[str, ValueType[Any]]] = {
    "Auth": AUTH,
    "AuthForm": _FORM,
    "Secrets": SECRETS,
    "Secret": SECRET,
}
"""Types that JSON Schemas with `auth` define once."""


def _read_executed(value: Any) -> DeclaredAuth:
    declared = AUTH.read(value)
    _refuse_signatures(declared.accepted)
    if declared.refused:
        raise InvalidValue(
            *(
                Fault(
                    kind="rule",
                    message=f"{why.name} is not executed by this release",
                    path=path,
                    on_key=True,
                )
                for path, why in declared.refused
            )
        )
    return declared


def _refuse_signatures(accepted: Auth[Secret] | None) -> None:
    """Raise InvalidValue for a signature, which events do not have."""
    for number, form in enumerate(alternatives(accepted) if accepted is not None else ()):
        if isinstance(form, SignatureAuth):
            raise broken_rule(
                "a signature authenticates calls of APIs, not senders of events",
                code=5,
                hint="ask for a token; for webhooks, declare an API",
                path=("any", number, "signature") if isinstance(accepted, AnyAuth) else ("signature",),
                on_key=True,
            )


EXECUTED_AUTH: Final = ValueType(read=_read_executed, schema=AUTH.schema)
"""Type of `auth` where this release must execute all forms."""


def literals(value: Any) -> Iterator[ValuePath]:
    """Yield the position of each secret in clear text in an `auth` of a file, which may be invalid."""
    if not isinstance(value, Mapping):
        return
    for form in FORMS.values():
        meant = {word: form.keys[key] for word, key in form.near.items()}
        yield from _literals_of_keys({**meant, **form.keys}, value)
    parts = value.get("any")
    for number, each in enumerate(parts if isinstance(parts, list | tuple) else ()):
        for path in literals(each):
            yield ("any", number, *path)


def _literals_of_keys(keys: Mapping[str, Key], value: Any) -> Iterator[ValuePath]:
    for name, key in keys.items():
        given = value.get(name) if isinstance(value, Mapping) else None
        if key.type in {SECRETS, CLEAR_SECRETS}:
            found = _literals_of_secrets(given)
        elif key.type is NAMED_SECRETS:
            found = (
                (caller, *path)
                for caller, each in (given.items() if isinstance(given, Mapping) else ())
                for path in _literals_of_secrets(each)
            )
        else:
            found = _literals_of_keys(key.type.keys, given)
        yield from ((name, *path) for path in found)


def _literals_of_secrets(value: Any) -> Iterator[ValuePath]:
    if isinstance(value, str):
        if value:
            yield ()
    elif isinstance(value, list | tuple):
        for number, each in enumerate(value):
            yield from ((number, *path) for path in _literals_of_secrets(each))
