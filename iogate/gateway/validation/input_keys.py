"""Keys and attributes of calls in their inputs: the text at a JSON Pointer.

Used by `call_input`, also in the validation process, and by `calls.call_keys`. Pure.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from iogate import json_pointer
from iogate.gateway.http.responses import invalid
from iogate.json_values import type_name
from iogate.security.redaction_patterns import redact_links

Tokens: TypeAlias = tuple[str, ...]
"""A JSON Pointer as its reference tokens."""

MOST_CHARACTERS: Final = 255
MOST_ATTRIBUTE_BYTES: Final = 256
_EXACT: Final = 2.0**53
"""Up to this number a float holds each integer."""


def text_at(value: Any, tokens: Tokens) -> str | None:
    """Return the key of a call at a pointer of its input, as text; None if there is none, or null.

    Raises HTTPError: a 400 for a value that cannot be a key.
    """
    try:
        found = json_pointer.find(value, tokens)
    except LookupError:
        return None
    match found:
        case bool() | list() | dict():
            place = json_pointer.join(tokens)
            raise invalid(
                f"The type at {place} of the input is {type_name(found)}; expected string or number"
            )
        case None:
            return None
        case _:
            text = _text(found)
    if not 1 <= len(text) <= MOST_CHARACTERS:
        raise invalid(
            f"The text at {json_pointer.join(tokens)} of the input has {len(text)} characters; expected 1 to "
            f"{MOST_CHARACTERS}"
        )
    return text


def attribute_at(value: Any, tokens: Tokens) -> str | None:
    """Return the attribute of a call at a pointer of its input, as text.

    None for a place that does not exist, for null, objects and lists, and for an empty or too long text.
    """
    try:
        found = json_pointer.find(value, tokens)
    except LookupError:
        return None
    match found:
        case bool():
            text = "true" if found else "false"
        case None | list() | dict():
            return None
        case _:
            text = redact_links(_text(found))
    return text if 0 < len(text.encode("utf-8", "surrogatepass")) <= MOST_ATTRIBUTE_BYTES else None


def _text(found: str | float) -> str:
    if isinstance(found, float) and found.is_integer() and abs(found) < _EXACT:
        return str(int(found))  # 1.0 and 1e0 are the number 1
    return str(found)
