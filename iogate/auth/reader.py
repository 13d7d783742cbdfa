"""Reader of `auth`: from the form in files to the model.

Used for API documents, for the setting `events` and by the command line. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from iogate.auth.forms import CLEAR_SECRETS, FORMS, NAMED_SECRETS, SECRET, SECRETS
from iogate.auth.jwt_form import KEYS
from iogate.auth.model import AnyAuth, Auth, NoAuth, Secret, SignatureAuth, alternatives
from iogate.value_types.collection_types import Key, ValueType, list_of, record
from iogate.value_types.faults import Fault, InvalidValue, ValuePath, broken_rule, wrong_form, wrong_type

_KEYS: Final = (*FORMS, "any")
_SIGN_EVENTS: Final = ("standard-webhooks", "hmac")
"""Schemes of signatures whose senders may send CloudEvents."""
_EXPECTED: Final = f"none, or a mapping with {', '.join(_KEYS[:-1])} or {_KEYS[-1]}"


def _read(value: Any) -> Auth[Secret]:
    key = _form_key(value)
    if key == "none":
        return NoAuth()
    if key == "any":
        return _ANY.read(value)
    return _RECORDS[key].read(value)


def _form_key(value: Any) -> str:
    """Read the key that distinguishes the form of `auth`. Raises InvalidValue if there is no single one."""
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


def _read_alternatives(value: Any) -> AnyAuth[Secret]:
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
    return AnyAuth(any=tuple(form for part in parts for form in alternatives(part)))


def _build_any(any: AnyAuth[Secret]) -> AnyAuth[Secret]:  # noqa: A002 - the key
    return any


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
AUTH: Final[ValueType[Auth[Secret]]] = ValueType(
    read=_read, schema=lambda: {"anyOf": [_FORM.schema(), _ANY.schema()]}
)
"""Type of `auth` in API documents."""
_FORM: Final[ValueType[Auth[Secret]]] = ValueType(
    read=_read, schema=lambda: {"anyOf": [{"const": "none"}, *(each.schema() for each in _RECORDS.values())]}
)
DEFINITIONS: Final[Mapping[str, ValueType[Any]]] = {
    "Auth": AUTH,
    "AuthForm": _FORM,
    "Secrets": SECRETS,
    "Secret": SECRET,
}
"""Types that JSON Schemas with `auth` define once."""


def _read_senders(value: Any) -> Auth[Secret]:
    """Read `auth` of event senders. Raises InvalidValue for a signature that is not one of CloudEvents."""
    accepted = AUTH.read(value)
    for number, form in enumerate(alternatives(accepted)):
        if isinstance(form, SignatureAuth) and form.scheme not in _SIGN_EVENTS:
            before = ("any", number) if isinstance(accepted, AnyAuth) else ()
            raise broken_rule(
                f"the scheme {form.scheme} signs deliveries that are no CloudEvents; events can have "
                f"{' or '.join(_SIGN_EVENTS)}",
                code=5,
                hint="declare an API for this sender, whose workflow can emit events",
                path=(*before, "signature", "scheme"),
            )
    return accepted


SENDER_AUTH: Final = ValueType(read=_read_senders, schema=AUTH.schema)
"""Type of `auth` of event senders."""


def literals(value: Any) -> Iterator[ValuePath]:
    """Yield the position of each literal secret in an `auth` that the reader has not checked yet."""
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
        if key.type in {SECRETS, CLEAR_SECRETS, KEYS}:
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
