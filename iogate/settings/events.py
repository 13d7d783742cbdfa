"""Validation of the setting `events`: credentials of event senders, and sinks for events.

Called by `table`; the gateway uses `auth`, workers use `sinks`. Pure. Invariants: references to secrets stay
references, no message repeats a value, and reading a result again returns the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from iogate.http_syntax import is_token

_URL: Final = re.compile(r"https?://[^\s/?#]+[^\s#]*")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_CALLER: Final = re.compile(r"[^\s:\x00-\x1f\x7f]{1,128}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HASH: Final = re.compile(
    r"sha256:[0-9a-f]{64}|\$argon2id\$v=[0-9]+\$m=[0-9]+,t=[0-9]+,p=[0-9]+(\$[A-Za-z0-9+/]+){2}"
)
_OWN_HEADERS: Final = frozenset({"content-type", "content-length", "host", "transfer-encoding"})
_FORMS: Final = "{env: NAME}, {file: PATH}, {hash: …} or a text"
_AUTHS: Final = "none, or one of {token}, {tokens}, {user, password}, {users} and {any: [ … ]}"


class InvalidValue(Exception):
    """An invalid value; the message names the place and the expected form, to follow the word "expected"."""


def read(value: Any) -> dict[str, Any]:
    """Return the setting with its defaults filled in. Raises InvalidValue."""
    if not isinstance(value, Mapping) or not value.keys() <= {"auth", "sinks"}:
        raise InvalidValue("{auth: AUTH, sinks: {NAME: SINK}}, with no other key")
    found: dict[str, Any] = {}
    if value.get("auth") is not None:
        found["auth"] = _auth(value["auth"], "auth")
    sinks = value.get("sinks")
    if sinks is not None:
        if not isinstance(sinks, Mapping):
            raise InvalidValue("sinks to be a map of name to {url: URL}")
        found["sinks"] = {
            _named(name, "sinks", _NAME): _sink(sink, f"sinks.{name}") for name, sink in sinks.items()
        }
    return found


def has_literal(auth: Any) -> bool:
    """Tell whether a validated `auth` contains a secret in plain text."""
    match auth:
        case {"any": parts}:
            return any(map(has_literal, parts))
        case {"token": secret} | {"password": secret}:
            given = [secret]
        case {"tokens": named} | {"users": named}:
            given = list(named.values())
        case _:
            return False
    return any(
        isinstance(each, str) for some in given for each in (some if isinstance(some, list) else [some])
    )


def _auth(value: Any, where: str) -> Any:
    if value == "none":
        return "none"
    match value:
        case {"signature": _} | {"jwt": _}:
            raise InvalidValue(f"{where} to be {_AUTHS}: signatures and JWT are not executed by this release")
        case {"token": secret} if len(value) == 1:
            return {"token": _secrets(secret, f"{where}.token")}
        case {"tokens": Mapping() as named} if len(value) == 1 and named:
            return {"tokens": _callers(named, f"{where}.tokens")}
        case {"user": str(user), "password": secret} if len(value) == 2 and _CALLER.fullmatch(user):
            return {"user": user, "password": _secrets(secret, f"{where}.password")}
        case {"users": Mapping() as named} if len(value) == 1 and named:
            return {"users": _callers(named, f"{where}.users")}
        case {"any": [*parts]} if len(value) == 1 and parts:
            if any(isinstance(part, Mapping) and "any" in part for part in parts):
                raise InvalidValue(f"{where}.any to list forms other than any")
            return {"any": [_auth(part, f"{where}.any[{number}]") for number, part in enumerate(parts)]}
    raise InvalidValue(f"{where} to be {_AUTHS}")


def _callers(named: Mapping[Any, Any], where: str) -> dict[str, Any]:
    return {
        _named(name, where, _CALLER): _secrets(secret, f"{where}.{name}") for name, secret in named.items()
    }


def _named(name: Any, where: str, pattern: re.Pattern[str]) -> str:
    if isinstance(name, str) and pattern.fullmatch(name):
        return name
    raise InvalidValue(f"the names in {where} to be text without spaces and colons")


def _secrets(value: Any, where: str) -> Any:
    """Read one secret, or two during a rotation."""
    if not isinstance(value, list | tuple):
        return _secret(value, where)
    if len(value) != 2:
        raise InvalidValue(f"{where} to list two secrets, the old one and the new one")
    return [_secret(each, where) for each in value]


def _secret(value: Any, where: str) -> Any:
    match value:
        case str() if value:
            return value
        case {"hash": str(text)} if len(value) == 1 and _HASH.fullmatch(text):
            return {"hash": text}
        case bool() | int() | float():
            raise InvalidValue(f"{where} to be a text in quotes: a YAML number loses leading zeros and signs")
    reference = _reference(value)
    if reference is None:
        raise InvalidValue(f"{where} to be {_FORMS}")
    return reference


def _reference(value: Any) -> dict[str, str] | None:
    match value:
        case {"env": str(variable)} if len(value) == 1 and _VARIABLE.fullmatch(variable):
            return {"env": variable}
        case {"file": str(path)} if len(value) == 1 and path and "\0" not in path:
            return {"file": path}
    return None


def _sink(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping) or "url" not in value:
        raise InvalidValue(f"{where} to be a map with a url")
    strange = sorted(map(str, value.keys() - _SINK.keys()))
    if strange:
        raise InvalidValue(f"{where} to have no key {strange[0]!r}; its keys are {', '.join(_SINK)}")
    defaults = {"headers": {}, "emitted": True, "lifecycle": False}
    given = {key: each for key, each in value.items() if each is not None}
    return {key: _SINK[key](each, f"{where}.{key}") for key, each in (defaults | given).items()}


def _url(value: Any, where: str) -> str:
    if isinstance(value, str) and _URL.fullmatch(value):
        return value
    raise InvalidValue(f"{where} to be a URL with http:// or https://")


def _headers(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidValue(f"{where} to be a map of header to text, {{env: NAME}} or {{file: PATH}}")
    found: dict[str, Any] = {}
    for name, each in value.items():
        if not isinstance(name, str) or not is_token(name) or name.lower() in _OWN_HEADERS:
            raise InvalidValue(f"{where} to name headers; those of the body are set by iogate")
        plain = isinstance(each, str) and each.isprintable()
        found[name] = each if plain else _reference(each)
        if found[name] is None:
            raise InvalidValue(f"{where}.{name} to be a text of one line, {{env: NAME}} or {{file: PATH}}")
    return found


def _flag(value: Any, where: str) -> bool:
    if isinstance(value, bool):
        return value
    raise InvalidValue(f"{where} to be true or false")


def _types(value: Any, where: str) -> list[str]:
    if isinstance(value, list | tuple) and value and all(isinstance(each, str) and each for each in value):
        try:
            return [re.compile(each).pattern for each in value]
        except re.error:
            raise InvalidValue(f"{where} to be regular expressions; one does not compile") from None
    raise InvalidValue(f"{where} to be a list of regular expressions of event types")


_SINK: Final[Mapping[str, Callable[[Any, str], Any]]] = {
    "url": _url,
    "headers": _headers,
    "emitted": _flag,
    "lifecycle": _flag,
    "types": _types,
}

_REFERENCE_SCHEMA: Final = {
    "type": "object",
    "minProperties": 1,
    "maxProperties": 1,
    "properties": {"env": {"type": "string"}, "file": {"type": "string"}},
    "additionalProperties": False,
}
SCHEMA: Final = {
    "type": "object",
    "properties": {
        "auth": {"anyOf": [{"const": "none"}, {"type": "object"}]},
        "sinks": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["url"],
                "properties": {
                    "url": {"type": "string", "pattern": "^https?://"},
                    "headers": {
                        "type": "object",
                        "additionalProperties": {"anyOf": [{"type": "string"}, _REFERENCE_SCHEMA]},
                    },
                    "emitted": {"type": "boolean"},
                    "lifecycle": {"type": "boolean"},
                    "types": {"type": "array", "minItems": 1, "items": {"type": "string"}},
                },
                "additionalProperties": False,
            },
        },
    },
    "additionalProperties": False,
}
"""JSON Schema for editors."""
