"""Validation of JSON values from outside, which frames will store.

Called by `responses` and `function_calls`. Invariant: a valid value is null, boolean, integer, finite float,
text that UTF-8 can encode, list or object with text keys, at most MAX_DEPTH deep.
"""

from __future__ import annotations

import json
from math import isfinite
from typing import Any, Final, NoReturn

MAX_DEPTH: Final = 256
"""Maximum nesting: deeper values would exhaust the stack of recursive code."""


def parse(data: bytes) -> Any:
    """Parse strict JSON.

    Raises ValueError, whose text describes the error without quoting the data.
    """
    try:
        value = json.loads(data, parse_constant=_no_constant, parse_float=_finite)
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


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _finite(digits: str) -> float:
    number = float(digits)
    if not isfinite(number):
        raise ValueError("a number is out of range")
    return number
