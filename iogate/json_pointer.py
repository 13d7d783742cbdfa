"""JSON Pointers (RFC 6901): names of places in a JSON document.

Used for pointers to tasks, for messages about invalid inputs, and for references in JSON Schemas and OpenAPI
documents. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias
from urllib.parse import unquote

Pointer: TypeAlias = tuple[str | int, ...]
"""Path of names and indexes from the root of a document."""

_INDEX: Final = re.compile("0|[1-9][0-9]{0,8}")


def escape(name: str) -> str:
    """Return a name as a token of a JSON Pointer: `~` as `~0` and `/` as `~1`."""
    return name.replace("~", "~0").replace("/", "~1")


def unescape(token: str) -> str:
    """Return the name that a token of a JSON Pointer stands for."""
    return token.replace("~1", "/").replace("~0", "~")


def join(path: Iterable[str | int]) -> str:
    """Return the pointer of a path of names and indexes, `/do/0/a`; the empty text for the root."""
    return "".join(f"/{escape(str(step))}" for step in path)


def parse(pointer: str) -> tuple[str, ...]:
    """Return the reference tokens of a valid pointer, unescaped."""
    return tuple(unescape(token) for token in pointer.split("/")[1:])


def find(document: Any, tokens: Iterable[str]) -> Any:
    """Return the value at the reference tokens of a pointer.

    Raises LookupError if the document has no such place.
    """
    value = document
    for token in tokens:
        if isinstance(value, Mapping) and token in value:
            value = value[token]
        elif isinstance(value, list) and _INDEX.fullmatch(token) and int(token) < len(value):
            value = value[int(token)]
        else:
            raise LookupError(token)
    return value


def value_at(document: Any, path: Iterable[str | int]) -> Any:
    """Return the value in a JSON document at a path, the names and indexes of a pointer.

    Raises LookupError or TypeError if the document has no such place.
    """
    value = document
    for step in path:
        value = value[step]
    return value


def resolve_fragment(document: Any, fragment: str) -> Any:
    """Return the value at a pointer in its form as a URI fragment, `#/$defs/item` (RFC 6901, section 6).

    Raises LookupError if the fragment is not a pointer or the document has no such place.
    """
    if fragment != "#" and not fragment.startswith("#/"):
        raise LookupError(fragment)
    return find(document, (unescape(unquote(token)) for token in fragment.split("/")[1:]))
