"""Types of texts, numbers, sizes and lengths of time."""

from __future__ import annotations

import re
from typing import Any, Final, NoReturn

from iogate import sizes
from iogate.timing import durations
from iogate.value_types.collection_types import ValueType
from iogate.value_types.faults import Fault, InvalidValue, wrong_form, wrong_type

_SHARE: Final = r"(?:[1-9][0-9]?|100)%"

RATE_PATTERN: Final = r"([0-9]{1,9}(?:\.[0-9]{1,6})?) ?/ ?(s|m|h|d)"
RATE_FORMS: Final = "a rate such as 50/s, 100/m or 1000/h"
_RATE: Final = re.compile(RATE_PATTERN)
_RATE_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def text() -> ValueType[str]:
    """Return the value type of any text, a scalar."""

    def _read(value: Any) -> str:
        if not isinstance(value, str):
            raise wrong_type("text", value)
        return value

    return ValueType(read=_read, form="text", schema=lambda: {"type": "string"})


def matching_text(expected: str, pattern: str) -> ValueType[str]:
    """Return the value type of a text by a regular expression; a value of another type is another error."""
    plain = text()

    def _read(value: Any) -> str:
        if not re.fullmatch(pattern, plain.read(value)):
            raise wrong_form(expected, value)
        return str(value)

    return ValueType(read=_read, form="text", schema=plain.schema)


def pattern(expected: str, pattern: str) -> ValueType[str]:
    """Return the value type of scalars that are text and match a regular expression as a whole."""

    def _read(value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise wrong_form(expected)
        return value

    return ValueType(
        read=_read, form="text", schema=lambda: {"type": "string", "pattern": f"^(?:{pattern})$"}
    )


def choice(*choices: str) -> ValueType[str]:
    """Return the value type of a scalar that is one of some words."""

    def _read(value: Any) -> str:
        if value not in choices:
            raise InvalidValue(Fault(kind="choice", choices=choices, given=value))
        return str(value)

    return ValueType(read=_read, form="text", schema=lambda: {"enum": list(choices)})


def number(low: int, high: int) -> ValueType[int]:
    """Return the value type of whole numbers from `low` to `high`."""

    def _read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise wrong_form(f"a whole number from {low} to {high}")
        return value

    return ValueType(
        read=_read, form="number", schema=lambda: {"type": "integer", "minimum": low, "maximum": high}
    )


def boolean() -> ValueType[bool]:
    """Return the value type of `true` and `false`."""

    def _read(value: Any) -> bool:
        if not isinstance(value, bool):
            raise wrong_form("true or false")
        return value

    return ValueType(read=_read, form="boolean", schema=lambda: {"type": "boolean"})


def size(low: int = 1) -> ValueType[int]:
    """Return the value type of sizes in bytes, at least `low`: `64MiB` or a whole number of bytes."""

    def _read(value: Any) -> int:
        expected = sizes.FORMS + (f", at least {low} bytes" if low > 1 else "")
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise wrong_type(expected, value)
        found = sizes.parse_size(str(value))
        if found is None or found < low:
            raise wrong_form(expected, str(value))
        return found

    return ValueType(
        read=_read,
        form="text",
        schema=lambda: {
            "type": ["string", "integer"],
            "pattern": f"^{sizes.PATTERN}$",
            "examples": ["1MiB"],
        },
    )


def size_or_share(low: int) -> ValueType[int | str]:
    """Return the value type of sizes in bytes, at least `low`, or of percentages from 1 % to 100 %."""
    plain = size(low)

    def _read(value: Any) -> int | str:
        if isinstance(value, str) and re.fullmatch(_SHARE, value):
            return value
        try:
            return plain.read(value)
        except InvalidValue:
            raise wrong_form(
                f"{sizes.FORMS}, at least {low} bytes, or a percentage from 1% to 100%"
            ) from None

    return ValueType(
        read=_read,
        form="text",
        schema=lambda: {"type": ["string", "integer"], "pattern": f"^(?:{sizes.PATTERN}|{_SHARE})$"},
    )


def parse_rate(text: str) -> float | None:
    """Parse the scalar of a rate, 50/s or 100/m, into a number per second; None for any other text."""
    found = _RATE.fullmatch(text)
    return float(found[1]) / _RATE_S[found[2]] or None if found else None


def rate() -> ValueType[float]:
    """Return the value type of rates, such as `50/s`; per second."""

    def _read(value: Any) -> float:
        found = parse_rate(value) if isinstance(value, str) else None
        if found is None:
            raise wrong_form(RATE_FORMS)
        return found

    return ValueType(
        read=_read,
        form="text",
        schema=lambda: {"type": "string", "pattern": f"^{RATE_PATTERN}$", "examples": ["50/s"]},
    )


def interval() -> ValueType[float]:
    """Return the value type of scalars for lengths of time with a unit, above zero; in seconds."""

    def _read(value: Any) -> float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            raise wrong_type(durations.FORMS, value, f"{value} seconds are {value}s")
        if not isinstance(value, str):
            raise wrong_type(durations.FORMS, value)
        try:
            seconds = durations.parse_duration(value).seconds
        except durations.InvalidDuration as error:
            reason = "" if str(error).startswith("expected") else f" ({error})"
            raise wrong_form(durations.FORMS + reason, value) from None
        if seconds <= 0:
            raise wrong_form("longer than nothing", value)
        return seconds

    return ValueType(
        read=_read, form="text", schema=lambda: {"type": "string", "examples": ["5m", "1h30m", "7d", "PT5M"]}
    )


def duration(low_s: float, high_s: float) -> ValueType[float]:
    """Return the value type of scalars for durations, in seconds: `30s`, `1h30m`, `PT5M` or a number."""

    def _invalid() -> NoReturn:
        low, high = map(durations.format_seconds, (low_s, high_s))
        raise wrong_form(f"{durations.FORMS}, from {low} to {high}") from None

    def _read(value: Any) -> float:
        if isinstance(value, str) and re.fullmatch(r"\d{1,9}(\.\d{1,3})?", value, re.ASCII):
            found = float(value)  # environment variables are text
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found = float(value)
        else:
            try:
                found = durations.read_duration(value).seconds
            except durations.InvalidDuration:
                _invalid()
        if not low_s <= found <= high_s:
            _invalid()
        return found

    return ValueType(read=_read, form="text", schema=lambda: {"type": ["string", "number"]})
