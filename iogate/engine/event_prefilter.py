"""Whether an event may concern a subscription: what can be told cheaply, far from the run.

Called by the matcher of a worker and by the harness of `testing`, for events and subscriptions that may go
together; and by `listen` for attributes and keys. Invariants: linear in the size of the event, never jq,
and no event that a run would take is held back: where only the run can tell, the answer is yes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import jsonschema_rs

from iogate.expressions import paths

_PLAIN = re.compile(r"[A-Za-z0-9._:/-]*")
"""Text that stands for itself, dots included: types and addresses are no patterns."""

_ATTRIBUTE = "@"
"""No path begins with it."""


def may_match(wanted: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    """Tell whether one entry of a frame's `wants` may take the event."""
    for name, text in wanted["match"].items():
        if not matches_text(text, event.get(name)):
            return False
    for text, expected in wanted["correlate"]:
        path = _path(text)
        if path is not None and not same_key(expected, _found(path, event)):
            return False
    return True


def event_type(wanted: Mapping[str, Any]) -> str:
    """The one type of event that the entry can take; empty where there may be several."""
    text: str = wanted["match"].get("type", "")
    return text if _PLAIN.fullmatch(text) else ""


def index_key(wanted: Mapping[str, Any]) -> tuple[str, str] | None:
    """Where an event must have which text for the entry to take it, by `text_at`; None: no one text decides.

    The key of a correlation rather than an attribute: it tells more subscriptions apart.
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
    """The text that an event has at a place of `key_of`; None where it has none."""
    if place.startswith(_ATTRIBUTE):
        return _as_text(event.get(place.removeprefix(_ATTRIBUTE)))
    path = _path(place)
    return None if path is None else _as_text(_found(path, event))


def matches_text(wanted: str, value: Any) -> bool:
    """Tell whether an attribute is the wanted text, or matches it as a pattern of the whole text.

    Numbers and booleans count as the text that HTTP headers carry them in.
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
    """Tell whether an event carries the correlation key: null is none; 7, 7.0 and "7" are one."""
    if found is None:
        return False
    if isinstance(found, dict | list) or isinstance(expected, dict | list):
        return json.dumps(found, sort_keys=True) == json.dumps(expected, sort_keys=True)
    return _as_text(found) == _as_text(expected)


def _as_text(value: Any) -> str | None:
    match value:
        case str():
            return value
        case float() if value.is_integer():
            return str(int(value))
        case bool() | int() | float():
            return json.dumps(value)
        case _:
            return None


@lru_cache(maxsize=4096)
def _pattern(text: str) -> jsonschema_rs.Validator | None:
    """The pattern, in a dialect that takes linear time; None for text that is no pattern."""
    try:
        return jsonschema_rs.Draft202012Validator(
            {"pattern": f"^(?:{text})$"}, pattern_options=jsonschema_rs.RegexOptions()
        )
    except (ValueError, jsonschema_rs.ValidationError):
        return None


@lru_cache(maxsize=4096)
def _path(text: str) -> paths.Path | None:
    """The plain path into the event that the expression is; None where only jq can tell."""
    parsed = paths.parse(text)
    return parsed if isinstance(parsed, paths.Path) and parsed.variable is None else None


def _found(path: paths.Path, event: Mapping[str, Any]) -> Any:
    try:
        return path.of(event)
    except paths.UnfitError:
        return None
