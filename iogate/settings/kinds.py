"""Kinds of setting values, such as a whole number, a size or a list: a reader and a JSON Schema for each.

Used by the table of settings. Pure: a reader raises Unexpected and never names the setting.
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


class Unexpected(Exception):
    """A value that does not fit its setting; the message names the expected form."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Reader of one setting: `form` is its shape in YAML, `schema` its JSON Schema for editors."""

    read: Callable[[Any], Any]
    form: Form
    schema: Mapping[str, Any]


def pattern(expected: str, pattern: str) -> Kind:
    compiled = re.compile(pattern)

    def read(value: Any) -> str:
        if not isinstance(value, str) or not compiled.fullmatch(value):
            raise Unexpected(expected)
        return value

    return Kind(read=read, form="text", schema={"type": "string", "pattern": f"^(?:{pattern})$"})


def number(low: int, high: int) -> Kind:
    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise Unexpected(f"a whole number from {low} to {high}")
        return value

    return Kind(read=read, form="number", schema={"type": "integer", "minimum": low, "maximum": high})


def choice(*choices: str) -> Kind:
    def read(value: Any) -> str:
        if value not in choices:
            raise Unexpected("one of " + ", ".join(choices))
        return str(value)

    return Kind(read=read, form="text", schema={"enum": list(choices)})


def list_of(item: Kind, expected: str) -> Kind:
    def read(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise Unexpected(expected)
        try:
            return tuple(dict.fromkeys(item.read(each) for each in value))
        except Unexpected:
            raise Unexpected(expected) from None

    return Kind(read=read, form="list", schema={"type": "array", "items": dict(item.schema)})


def mapping_of(
    read_item: Callable[[str, Any], Any], expected: str, properties: Mapping[str, Any] | None = None
) -> Kind:
    def read(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise Unexpected(expected)
        return {key: read_item(key, each) for key, each in value.items()}

    return Kind(read=read, form="map", schema={"type": "object", "additionalProperties": properties or True})


def boolean() -> Kind:
    """Return the kind of `true` and `false`."""

    def read(value: Any) -> bool:
        if not isinstance(value, bool):
            raise Unexpected("true or false")
        return value

    return Kind(read=read, form="boolean", schema={"type": "boolean"})


def size(low: int = 1) -> Kind:
    """Return the kind of a size in bytes, at least `low`: `64MiB` or a whole number of bytes."""

    def read(value: Any) -> int:
        whole = isinstance(value, int) and not isinstance(value, bool)
        found = sizes.parse_size(str(value)) if whole or isinstance(value, str) else None
        if found is None or found < low:
            raise Unexpected(sizes.FORMS + (f", at least {low} bytes" if low > 1 else ""))
        return found

    schema = {"type": ["string", "integer"], "pattern": f"^{sizes.PATTERN}$"}
    return Kind(read=read, form="text", schema=schema)


def size_or_share(low: int) -> Kind:
    """Return the kind of a size in bytes, at least `low`, or of a percentage from 1 % to 100 %."""
    plain = size(low)
    expected = f"{sizes.FORMS}, at least {low} bytes, or a percentage from 1% to 100%"

    def read(value: Any) -> int | str:
        if isinstance(value, str) and _SHARE.fullmatch(value):
            return value
        try:
            return int(plain.read(value))
        except Unexpected:
            raise Unexpected(expected) from None

    schema = {"type": ["string", "integer"], "pattern": f"^(?:{sizes.PATTERN}|{_SHARE.pattern})$"}
    return Kind(read=read, form="text", schema=schema)


def duration(low_s: float, high_s: float) -> Kind:
    """Return the kind of a length of time in seconds: `30s`, `1h30m`, `PT5M` or a number of seconds."""
    expected = (
        f"{durations.FORMS}, from {durations.format_seconds(low_s)} to {durations.format_seconds(high_s)}"
    )

    def read(value: Any) -> float:
        if isinstance(value, str) and re.fullmatch(r"\d{1,9}(\.\d{1,3})?", value, re.ASCII):
            found = float(value)  # the environment has no numbers
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found = float(value)
        else:
            try:
                found = durations.read_duration(value).seconds
            except durations.InvalidDuration:
                raise Unexpected(expected) from None
        if not low_s <= found <= high_s:
            raise Unexpected(expected)
        return found

    return Kind(read=read, form="text", schema={"type": ["string", "number"]})
