"""Cheap test, without the run, whether an event may match a subscription.

Called by the subscription index of a worker, by the harness of `testing`, and by `event_filters` for
attributes and keys. Invariants: linear in the size of the event, never jq, and no false negatives: where
only the run can decide, the result is True.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import jsonschema_rs

from iogate.expressions import paths
from iogate.json_values import is_same, scalar_to_text

_PLAIN = re.compile(r"[A-Za-z0-9._:/-]*")
"""Text that is not a pattern, dots included: types and addresses."""

_ATTRIBUTE = "@"
"""Prefix of attribute names in index keys; no path begins with it."""


def may_match(wanted: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    """Prefilter an event: tell whether one entry of a frame's `wants` may match it."""
    for name, text in wanted["match"].items():
        if not matches_text(text, event.get(name)):
            return False
    for text, expected in wanted["correlate"]:
        path = _path(text)
        if path is not None and not same_key(expected, _found(path, event)):
            return False
    return True


def event_type(wanted: Mapping[str, Any]) -> str:
    """Return the only event type that an entry passes the prefilter with; empty if there may be several."""
    text: str = wanted["match"].get("type", "")
    return text if _PLAIN.fullmatch(text) else ""


def index_key(wanted: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the key to index a prefilter's entry by: place in events (for `text_at`) and text; or None.

    A correlation key is preferred to an attribute, because it is more selective.
    """
    for path, expected in wanted["correlate"]:
        text = _as_text(expected)
        if text is not None and _path(path) is not None:
            return path, text
    for name, text in wanted["match"].items():
        if name != "type" and _PLAIN.fullmatch(text):
            return f"{_ATTRIBUTE}{name}", text
    return None


def text_at(place: str, event: Mapping[str, Any]) -> str | None:
    """Return the text of an event at a place of the prefilter's `index_key`; None if it has none."""
    if place.startswith(_ATTRIBUTE):
        return _as_text(event.get(place.removeprefix(_ATTRIBUTE)))
    path = _path(place)
    return None if path is None else _as_text(_found(path, event))


def matches_text(wanted: str, value: Any) -> bool:
    """Prefilter by a text: tell whether an attribute equals it, or matches it as a pattern of the whole.

    Numbers and booleans are compared as the text that HTTP headers carry.
    """
    text = _as_text(value)
    if text is None:
        return False
    if text == wanted:
        return True
    if _PLAIN.fullmatch(wanted):
        return False
    pattern = _pattern(wanted)
    return pattern is not None and pattern.is_valid(text)


def same_key(expected: Any, found: Any) -> bool:
    """Prefilter by a correlation key: null never matches; 7, 7.0 and "7" are equal."""
    if found is None:
        return False
    if isinstance(found, dict | list) or isinstance(expected, dict | list):
        return is_same(found, expected)
    return _as_text(found) == _as_text(expected)


def _as_text(value: Any) -> str | None:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return None if value is None else scalar_to_text(value)


@lru_cache(maxsize=4096)
def _pattern(text: str) -> jsonschema_rs.Validator | None:
    """Compile a pattern of the prefilter in a linear-time dialect; return None for text that is none."""
    try:
        return jsonschema_rs.Draft202012Validator(
            {"pattern": f"^(?:{text})$"}, pattern_options=jsonschema_rs.RegexOptions()
        )
    except (ValueError, jsonschema_rs.ValidationError):
        return None


@lru_cache(maxsize=4096)
def _path(text: str) -> paths.Path | None:
    """Parse a prefilter's expression as a path into an event; return None if only jq can evaluate it."""
    parsed = paths.parse(text)
    return parsed if isinstance(parsed, paths.Path) and parsed.variable is None else None


def _found(path: paths.Path, event: Mapping[str, Any]) -> Any:
    try:
        return path.of(event)
    except paths.UnfitError:
        return None
