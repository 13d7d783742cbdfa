"""JSON values: strict parsing, validation, comparison, and conversion to text.

Used by all packages that exchange data with callers, workflows and servers. Pure. Invariant: a valid value is
null, boolean, integer, finite float, text that UTF-8 can encode, list or object with text keys, at most
MAX_DEPTH deep.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any, Final, NoReturn, TypeAlias

JsonObject: TypeAlias = Mapping[str, Any]
"""An object as parsed, which nobody changes."""

MAX_DEPTH: Final = 256
"""Maximum nesting: deeper values would exhaust the stack of recursive code."""
SHOWN: Final = 120
"""Characters of a value in a message."""


class InvalidNumber(ValueError):
    """A number that JSON does not have, such as NaN, or that no float can hold."""


def parse(data: str | bytes) -> Any:
    """Parse strict JSON: without NaN, Infinity and numbers that no float can hold.

    Raises ValueError, whose text describes the error without quoting the data.
    """
    try:
        value = json.loads(data, parse_constant=_refuse_constant, parse_float=_finite)
    except json.JSONDecodeError as fault:
        raise ValueError(f"{fault.msg} at line {fault.lineno}, column {fault.colno}") from None
    except UnicodeDecodeError:
        raise ValueError("it is not valid UTF-8") from None
    except RecursionError:
        raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels") from None
    check(value)
    return value


def check(value: Any) -> None:
    """Check that a value is a JSON value that can be stored.

    Raises ValueError if it is not.
    """
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH + 1):
        below: list[Any] = []
        for item in level:
            match item:
                case None | bool() | int():
                    pass
                case str():
                    _check_text(item)
                case float():
                    if not isfinite(item):
                        raise ValueError(f"{item} is not a JSON number")
                case list() | tuple():
                    below.extend(item)
                case dict():
                    for key in item:
                        if not isinstance(key, str):
                            raise ValueError(f"an object's key is {type(key).__name__}, not text")  # noqa: TRY004 - callers expect ValueError
                        _check_text(key)
                    below.extend(item.values())
                case _:
                    raise ValueError(f"{type(item).__name__} is not a JSON type")
        if not below:
            return
        level = below
    raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels")


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("a text holds half a surrogate pair, which UTF-8 cannot encode") from None


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidNumber(f"{name} is not a JSON number")


def _finite(digits: str) -> float:
    number = float(digits)
    if not isfinite(number):
        raise InvalidNumber("a number is out of range")
    return number


def type_name(value: Any) -> str:
    """Return the name of the type of a JSON value, as jq and JSON Schema have it."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list() | tuple():
            return "array"
        case _:
            return "object"


def is_same(first: Any, second: Any) -> bool:
    """Tell whether two JSON values are written in the same way: true is not 1, and 1 is not 1.0."""
    return first is second or canonical(first) == canonical(second)


def canonical(value: Any) -> str:
    """Return the JSON of a value with sorted keys: equal for values that are written in the same way."""
    return json.dumps(value, sort_keys=True)


def is_equal(first: Any, second: Any) -> bool:
    """Tell whether two JSON values are equal as in JSON Schema: 1 is 1.0, but true is not 1."""
    if isinstance(first, bool) or isinstance(second, bool):
        return first is second
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return first.keys() == second.keys() and all(is_equal(first[name], second[name]) for name in first)
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        return len(first) == len(second) and all(map(is_equal, first, second))
    return bool(first == second)


def to_json(value: Any) -> str:
    """Return compact JSON with all characters unescaped. Raises RecursionError for deeply nested data."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def to_text(value: Any) -> str:
    """Return a string unchanged, other values as JSON, like jq's `tostring`. Raises RecursionError."""
    return value if isinstance(value, str) else to_json(value)


def scalar_to_text(value: Any) -> str | None:
    """Return a JSON scalar as text, null as the empty text; None for an object or an array."""
    match value:
        case None:
            return ""
        case str() | bool() | int() | float():
            return to_text(value)
        case _:
            return None


def differences(expected: Any, actual: Any, at: str = "output") -> tuple[str, ...]:
    """Compare JSON values: return a message for each difference from the value that a test expects."""
    match expected, actual:
        case dict(), dict():
            found: list[str] = []
            for key, value in expected.items():
                place = f"{at}.{key}"
                if key in actual:
                    found += differences(value, actual[key], place)
                else:
                    found.append(f"{place}: expected {short_json(value)}, it is missing")
            return tuple(found)
        case list(), list():
            if len(expected) != len(actual):
                return (f"{at}: expected {len(expected)} items, got {len(actual)}: {short_json(actual)}",)
            pairs = zip(expected, actual, strict=True)
            return tuple(d for n, (e, a) in enumerate(pairs) for d in differences(e, a, f"{at}[{n}]"))
        case _:
            if expected == actual and isinstance(expected, bool) == isinstance(actual, bool):
                return ()
            return (f"{at}: expected {short_json(expected)}, got {short_json(actual)}",)


def short_json(value: Any) -> str:
    """Return a JSON value as JSON text for a message, shortened if it is long."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
