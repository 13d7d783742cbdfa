"""Data of YAML texts without faults, read without positions in a third of the time of the composer.

Called by the reader. Invariant: the data is that of the composer, which finds no problem in the text;
everything unusual (tags, anchors, keys that are no text, large files) is left to the composer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import yaml

from iogate.documents.yaml.composer import MAX_DEPTH, MAX_NODES, join_surrogates
from iogate.documents.yaml.scalars import UnfitNumber, resolve

_Parser: Any = getattr(getattr(yaml, "cyaml", None), "CParser", None)

# A node takes at least half a character: `[:]` holds three.
_LONGEST: Final = MAX_NODES // 2

_resolve = lru_cache(maxsize=4096)(resolve)


class _Unusual(Exception):
    """Leaves the text to the composer; never seen outside this module."""


def read_data(text: str) -> Any:
    """Return the data of a YAML text without faults; None for any other, and for some without."""
    if len(text) > _LONGEST or _Parser is None:
        return None
    try:
        next_event: Callable[[], Any] = _Parser(join_surrogates(text)).get_event
        next_event()
        if next_event().__class__ is not yaml.DocumentStartEvent:
            return None
        data = _value(next_event(), next_event, 1)
        next_event()
        return data if next_event().__class__ is yaml.StreamEndEvent else None
    except (_Unusual, UnfitNumber, yaml.YAMLError):
        return None


def _value(event: Any, next_event: Callable[[], Any], depth: int) -> Any:
    """Read the data of the YAML value that starts with `event`, without positions."""
    kind = event.__class__
    if event.anchor is not None or event.tag is not None or depth > MAX_DEPTH:
        raise _Unusual
    if kind is yaml.ScalarEvent:
        return event.value if event.style else _resolve(event.value)
    if kind is yaml.MappingStartEvent:
        return _mapping(next_event, depth)
    elements: list[Any] = []
    while True:
        event = next_event()
        if event.__class__ is yaml.SequenceEndEvent:
            return elements
        elements.append(_value(event, next_event, depth + 1))


def _mapping(next_event: Callable[[], Any], depth: int) -> dict[str, Any]:
    members: dict[str, Any] = {}
    while True:
        event = next_event()
        if event.__class__ is not yaml.ScalarEvent:
            if event.__class__ is yaml.MappingEndEvent:
                return members
            raise _Unusual
        key: str = event.value
        if event.anchor is not None or event.tag is not None or key in members:
            raise _Unusual
        if not event.style and (key == "<<" or not _is_text(_resolve(key))):
            raise _Unusual
        members[key] = _value(next_event(), next_event, depth + 1)


def _is_text(key: Any) -> bool:
    """Tell whether a plain key in the data to read counts as text: a whole number does, too."""
    return key.__class__ is str or key.__class__ is int
