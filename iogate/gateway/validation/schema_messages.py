"""Reasons why a value does not fit its JSON Schema, for the messages of a 400.

Used by `schema`. Pure. Invariant: a message says what is wrong before it shows a value, and shows no more
than the beginning of a long one.
"""

from __future__ import annotations

import json
from typing import Any, Final

import jsonschema_rs

from iogate.messages import shorten

MAX_CHARACTERS: Final = 300
MAX_SHOWN: Final = 80
"""Limit of a value in a message, in characters."""
MAX_READ: Final = 64 * 1024
"""Limit of a message in which the end of its value is searched for, in characters."""

_SIZES: Final = {
    "maxItems": ("item", "at most"),
    "minItems": ("item", "at least"),
    "maxLength": ("character", "at most"),
    "minLength": ("character", "at least"),
    "maxProperties": ("property", "at most"),
    "minProperties": ("property", "at least"),
}
_DECODER: Final = json.JSONDecoder()


def reason(error: jsonschema_rs.ValidationError) -> str:
    """Return a message about an error by a JSON Schema, at most MAX_CHARACTERS characters."""
    kind = error.kind
    if kind.name in _SIZES:
        noun, bound = _SIZES[kind.name]
        limit: int = getattr(kind, "limit")  # noqa: B009 -- the union of all kinds has no such attribute
        verb = "is" if limit == 1 else "are"
        needed = "allowed" if bound == "at most" else "needed"
        value: Any = error.instance
        return f"has {_counted(len(value), noun)}; {bound} {limit} {verb} {needed}"
    if kind.name == "const":
        expected: Any = getattr(kind, "expected_value")  # noqa: B009
        return f"{_shown(error.instance)} is not {_shown(expected)}"
    return shorten(_with_short_value(error.message), MAX_CHARACTERS)


def _counted(count: int, noun: str) -> str:
    if count == 1:
        return f"1 {noun}"
    return f"{count} {noun.removesuffix('y')}ies" if noun.endswith("y") else f"{count} {noun}s"


def _shown(value: Any) -> str:
    return shorten(json.dumps(value, ensure_ascii=False), MAX_SHOWN)


def _with_short_value(message: str) -> str:
    """Return a message about a schema error with only the beginning of the value that it begins with."""
    if not MAX_SHOWN < len(message) <= MAX_READ:
        return message
    try:
        _, end = _DECODER.raw_decode(message)
    except (ValueError, RecursionError):
        return message
    return shorten(message[:end], MAX_SHOWN) + message[end:]
