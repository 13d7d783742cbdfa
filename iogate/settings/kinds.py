"""Types of setting values, such as a number, a size or a list, each with a reader and a JSON Schema.

Used by `table`. Pure: a reader raises InvalidValue, without the name of the setting.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from iogate import sizes
from iogate.timing import durations

_SHARE = re.compile(r"(?:[1-9][0-9]?|100)%")

Form = Literal["text", "number", "boolean", "list", "map"]


class InvalidValue(Exception):
    """An invalid value of a setting; the message names the expected form."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Type of a setting: `read` validates a value and raises InvalidValue, `form` is its form in YAML."""

    read: Callable[[Any], Any]
    form: Form
    schema: Mapping[str, Any]


def pattern(expected: str, pattern: str) -> Kind:
    """Return the kind of text that matches a regular expression as a whole."""
    compiled = re.compile(pattern)

    def _read(value: Any) -> str:
        if not isinstance(value, str) or not compiled.fullmatch(value):
            raise InvalidValue(expected)
        return value

    return Kind(read=_read, form="text", schema={"type": "string", "pattern": f"^(?:{pattern})$"})


def number(low: int, high: int) -> Kind:
    """Return the kind of whole numbers from `low` to `high`."""

    def _read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise InvalidValue(f"a whole number from {low} to {high}")
        return value

    return Kind(read=_read, form="number", schema={"type": "integer", "minimum": low, "maximum": high})


def choice(*choices: str) -> Kind:
    """Return the kind of one of some words."""

    def _read(value: Any) -> str:
        if value not in choices:
            raise InvalidValue("one of " + ", ".join(choices))
        return str(value)

    return Kind(read=_read, form="text", schema={"enum": list(choices)})


def list_of(item: Kind, expected: str) -> Kind:
    """Return the kind of lists of a kind, which are read without duplicates."""

    def _read(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise InvalidValue(expected)
        try:
            return tuple(dict.fromkeys(item.read(each) for each in value))
        except InvalidValue:
            raise InvalidValue(expected) from None

    return Kind(read=_read, form="list", schema={"type": "array", "items": dict(item.schema)})


def mapping_of(
    read_item: Callable[[str, Any], Any], expected: str, properties: Mapping[str, Any] | None = None
) -> Kind:
    """Return the kind of maps with text keys; `read_item` gets key and value."""

    def _read(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise InvalidValue(expected)
        return {key: read_item(key, each) for key, each in value.items()}

    return Kind(read=_read, form="map", schema={"type": "object", "additionalProperties": properties or True})


def boolean() -> Kind:
    """Return the kind of `true` and `false`."""

    def _read(value: Any) -> bool:
        if not isinstance(value, bool):
            raise InvalidValue("true or false")
        return value

    return Kind(read=_read, form="boolean", schema={"type": "boolean"})


def size(low: int = 1) -> Kind:
    """Return the kind of a size in bytes, at least `low`: `64MiB` or a whole number of bytes."""

    def _read(value: Any) -> int:
        whole = isinstance(value, int) and not isinstance(value, bool)
        found = sizes.parse_size(str(value)) if whole or isinstance(value, str) else None
        if found is None or found < low:
            raise InvalidValue(sizes.FORMS + (f", at least {low} bytes" if low > 1 else ""))
        return found

    schema = {"type": ["string", "integer"], "pattern": f"^{sizes.PATTERN}$"}
    return Kind(read=_read, form="text", schema=schema)


def size_or_share(low: int) -> Kind:
    """Return the kind of a size in bytes, at least `low`, or of a percentage from 1 % to 100 %."""
    plain = size(low)
    expected = f"{sizes.FORMS}, at least {low} bytes, or a percentage from 1% to 100%"

    def _read(value: Any) -> int | str:
        if isinstance(value, str) and _SHARE.fullmatch(value):
            return value
        try:
            return int(plain.read(value))
        except InvalidValue:
            raise InvalidValue(expected) from None

    schema = {"type": ["string", "integer"], "pattern": f"^(?:{sizes.PATTERN}|{_SHARE.pattern})$"}
    return Kind(read=_read, form="text", schema=schema)


def duration(low_s: float, high_s: float) -> Kind:
    """Return the kind of a length of time in seconds: `30s`, `1h30m`, `PT5M` or a number of seconds."""
    expected = (
        f"{durations.FORMS}, from {durations.format_seconds(low_s)} to {durations.format_seconds(high_s)}"
    )

    def _read(value: Any) -> float:
        if isinstance(value, str) and re.fullmatch(r"\d{1,9}(\.\d{1,3})?", value, re.ASCII):
            found = float(value)  # environment variables are text
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found = float(value)
        else:
            try:
                found = durations.read_duration(value).seconds
            except durations.InvalidDuration:
                raise InvalidValue(expected) from None
        if not low_s <= found <= high_s:
            raise InvalidValue(expected)
        return found

    return Kind(read=_read, form="text", schema={"type": ["string", "number"]})
