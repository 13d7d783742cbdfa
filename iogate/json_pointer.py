"""JSON Pointers (RFC 6901): names of places in a JSON document.

Used for pointers to tasks, for messages about invalid inputs, and for references in JSON Schemas and OpenAPI
documents. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias
from urllib.parse import unquote

Pointer: TypeAlias = tuple[str | int, ...]
"""Path of names and indexes from the root of a document."""


def escape(name: str) -> str:
    """Return a name as a reference token: `~` as `~0` and `/` as `~1`."""
    return name.replace("~", "~0").replace("/", "~1")


def unescape(token: str) -> str:
    """Return the name that a reference token stands for."""
    return token.replace("~1", "/").replace("~0", "~")


def join(path: Iterable[str | int]) -> str:
    """Return the pointer of a path of names and indexes, `/do/0/a`; the empty text for the root."""
    return "".join(f"/{escape(str(step))}" for step in path)


def value_at(document: Any, path: Iterable[str | int]) -> Any:
    """Return the value at the end of a path.

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
    value = document
    for token in fragment.split("/")[1:]:
        step = unescape(unquote(token))
        if isinstance(value, Mapping) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            raise LookupError(fragment)
    return value
