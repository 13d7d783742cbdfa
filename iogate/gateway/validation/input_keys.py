"""Keys of calls in their inputs: the text at a JSON Pointer.

Used by `call_input`, also in the validation process, and by `calls.call_keys`. Pure.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from iogate import json_pointer
from iogate.gateway.http.responses import invalid
from iogate.json_values import type_name

Tokens: TypeAlias = tuple[str, ...]
"""A JSON Pointer as its reference tokens."""

MOST_CHARACTERS: Final = 255
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
        case str():
            text = found
        case bool() | list() | dict():
            place = json_pointer.join(tokens)
            raise invalid(
                f"The type at {place} of the input is {type_name(found)}; expected string or number"
            )
        case None:
            return None
        case float() if found.is_integer() and abs(found) < _EXACT:
            text = str(int(found))  # 1.0 and 1e0 are the number 1
        case _:
            text = str(found)
    if not 1 <= len(text) <= MOST_CHARACTERS:
        raise invalid(
            f"The text at {json_pointer.join(tokens)} of the input has {len(text)} characters; expected 1 to "
            f"{MOST_CHARACTERS}"
        )
    return text
