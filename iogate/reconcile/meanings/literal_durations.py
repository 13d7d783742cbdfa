"""Literal durations of definitions in one form, so that `{seconds: 60}` and `PT1M` are no difference.

Used by `workflows`. Pure. Invariant: only places where the language has a duration are changed, never data.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from iogate.compiler import resolved_references
from iogate.compiler.reader.definition import DefinitionReader
from iogate.json_pointer import Pointer
from iogate.json_values import JsonObject
from iogate.reconcile.json_diff import JsonChange
from iogate.timing.durations import InvalidDuration, format_iso, from_object, parse_iso

_KEYS: Final = frozenset({"wait", "timeout", "timeouts", "after", "delay", "duration", "jitter", "retries"})
"""Keys above or at a duration."""


def may_concern(found: Iterable[JsonChange]) -> bool:
    """Tell whether one of these changes may be about a literal duration."""
    return any(not _KEYS.isdisjoint(map(str, change.path)) for change in found)


def in_one_form(definition: JsonObject) -> JsonObject:
    """Return a definition with its literal durations in ISO 8601."""
    plain, resolved = resolved_references.split(definition)
    reader = DefinitionReader(plain, {}, resolved)
    reader.read()
    changed: Any = definition
    for place in reader.index.durations:
        text = _iso(place.element)
        if text is not None and text != place.element:
            changed = _replaced(changed, place.pointer, place.element, text)
    result: JsonObject = changed
    return result


def _iso(source: object) -> str | None:
    """Return a literal duration in ISO 8601; None for an expression."""
    try:
        if isinstance(source, str):
            return format_iso(parse_iso(source))
        return format_iso(from_object(source)) if isinstance(source, dict) else None
    except InvalidDuration:
        return None


def _replaced(value: Any, path: Pointer, old: object, new: str) -> Any:
    """Return a copy of a value with another duration at a path, if the old one is there."""
    if not path:
        return new if value == old else value
    step, *rest = path
    if isinstance(value, dict) and step in value:
        return {**value, step: _replaced(value[step], tuple(rest), old, new)}
    if isinstance(value, list) and isinstance(step, int) and step < len(value):
        return [*value[:step], _replaced(value[step], tuple(rest), old, new), *value[step + 1 :]]
    return value
