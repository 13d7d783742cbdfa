"""Durations in the forms of settings and the DSL: `5m`, `1h30m`, `PT5M`, `P1M`, `{minutes: 5}`.

Used by documents and compiler (limits, timeouts, retention) and by the engine (waits, retries). Pure:
a duration in months has a length only from an instant, which the caller gives.
"""

from __future__ import annotations

import calendar
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

FORMS: Final = "a duration such as 5m, 1h30m, 7d, 250ms or PT5M"

_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_OBJECT: Final = {"days": "d", "hours": "h", "minutes": "m", "seconds": "s", "milliseconds": "ms"}

_SHORT = re.compile(
    r"(?:([0-9]+(?:\.[0-9]+)?)w)?(?:([0-9]+(?:\.[0-9]+)?)d)?(?:([0-9]+(?:\.[0-9]+)?)h)?"
    r"(?:([0-9]+(?:\.[0-9]+)?)m)?(?:([0-9]+(?:\.[0-9]+)?)s)?(?:([0-9]+(?:\.[0-9]+)?)ms)?"
)
_NUMBER = r"([0-9]+(?:\.[0-9]+)?)"
_ISO = re.compile(
    rf"P(?!$)(?:{_NUMBER}Y)?(?:{_NUMBER}M)?(?:{_NUMBER}W)?(?:{_NUMBER}D)?"
    rf"(?:T(?=[0-9])(?:{_NUMBER}H)?(?:{_NUMBER}M)?(?:{_NUMBER}S)?)?"
)
_LONGEST: Final = 100
# Ten thousand years, more than calendars support.
_MOST_MS: Final = 10_000 * 366 * _MS["d"]
_TOO_LONG: Final = "the duration is longer than ten thousand years"
_MEAN_MONTH_MS: Final = 2_629_746_000


class InvalidDuration(ValueError):
    """A text or object that is not a duration; the message gives the expected form."""


class TooLong(InvalidDuration):
    """A duration beyond the range of the calendar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Duration:
    """Length of time in whole calendar months plus milliseconds."""

    months: int = 0
    milliseconds: int = 0

    @property
    def seconds(self) -> float:
        """The length of the duration in seconds.

        Raises InvalidDuration if it has months, which have a length only from a given instant.
        """
        if self.months:
            raise InvalidDuration(f"{format_duration(self)} has no fixed length; use days")
        return self.milliseconds / 1000

    def after_ms(self, instant_ms: int) -> int:
        """Return the instant that is this duration after another, both in milliseconds since 1970, in UTC.

        Months are added first; the 31st plus a month is the last day of the next month.
        Raises TooLong beyond the year 9999.
        """
        if not self.months:
            return instant_ms + self.milliseconds
        at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=instant_ms)
        year, month = divmod(at.year * 12 + at.month - 1 + self.months, 12)
        if not 1 <= year <= 9999:
            raise TooLong(f"{format_duration(self)} reaches beyond the year 9999")
        day = min(at.day, calendar.monthrange(year, month + 1)[1])
        moved = at.replace(year=year, month=month + 1, day=day)
        return instant_ms + (moved - at) // timedelta(milliseconds=1) + self.milliseconds


def parse_duration(text: str) -> Duration:
    """Parse a duration: ISO 8601 (`PT5M`, `P1Y2M`, `P2W`, fractions) or short (`5m`, `1h30m`, `250ms`).

    Raises InvalidDuration.
    """
    if not text or len(text) > _LONGEST:
        raise InvalidDuration(f"expected {FORMS}")
    return parse_iso(text) if text[0] == "P" else _short(text)


def parse_iso(text: str) -> Duration:
    """Parse an ISO 8601 duration, the only text form of the DSL.

    Raises InvalidDuration.
    """
    found = _ISO.fullmatch(text) if len(text) <= _LONGEST else None
    if found is None:
        raise InvalidDuration("expected an ISO 8601 duration such as PT5M, PT0.5S or P1DT12H")
    years, months, *rest = found.groups()
    # A fraction of a month has no calendar meaning: it counts as a fraction of a mean month.
    fraction, whole = math.modf(_part(years, 12) + _part(months, 1))
    units = ("w", "d", "h", "m", "s")
    total = sum(_part(value, _MS[unit]) for value, unit in zip(rest, units, strict=True))
    return _bounded(int(whole), total + fraction * _MEAN_MONTH_MS)


def from_object(parts: Mapping[str, object]) -> Duration:
    """Parse the duration object of the DSL, such as `{minutes: 1, seconds: 30}`.

    Raises InvalidDuration.
    """
    total = 0.0
    for name, value in parts.items():
        if name not in _OBJECT:
            raise InvalidDuration(f"a duration has no {name!r}; it has {', '.join(_OBJECT)}")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InvalidDuration(f"{name} of a duration must be a number")
        try:
            total += value * _MS[_OBJECT[name]]
        except OverflowError:  # an integer that no float can hold
            raise TooLong(_TOO_LONG) from None
    return _bounded(0, total)


def read_duration(value: object) -> Duration:
    """Parse an evaluated DSL duration: text or object.

    Raises InvalidDuration.
    """
    if isinstance(value, str):
        return parse_duration(value)
    if isinstance(value, Mapping):
        return from_object(value)
    raise InvalidDuration(f"expected {FORMS}, or an object such as {{minutes: 5}}")


def format_duration(duration: Duration) -> str:
    """Return the shortest text that parses to the same duration: `1h30m`, or ISO 8601 with months."""
    if duration.months:
        years, months = divmod(duration.months, 12)
        date = (f"{years}Y" if years else "") + (f"{months}M" if months else "")
        rest = f"T{duration.milliseconds / 1000:.3f}".rstrip("0").rstrip(".") + "S"
        return f"P{date}{rest if duration.milliseconds else ''}"
    left = abs(duration.milliseconds)
    text = ""
    for unit in ("d", "h", "m", "s", "ms"):
        count, left = divmod(left, _MS[unit])
        if count:
            text += f"{count}{unit}"
    return ("-" if duration.milliseconds < 0 else "") + (text or "0s")


def format_iso(duration: Duration) -> str:
    """Return the duration in ISO 8601, the text form of the DSL: `PT1H30M`."""
    years, months = divmod(duration.months, 12)
    days, left = divmod(duration.milliseconds, _MS["d"])
    hours, left = divmod(left, _MS["h"])
    minutes, left = divmod(left, _MS["m"])
    date = "".join(f"{n}{unit}" for n, unit in ((years, "Y"), (months, "M"), (days, "D")) if n)
    seconds = f"{left / 1000:.3f}".rstrip("0").rstrip(".")
    time = "".join(f"{n}{unit}" for n, unit in ((hours, "H"), (minutes, "M")) if n)
    time += f"{seconds}S" if left else ""
    return f"P{date}{f'T{time}' if time else ''}" if date or time else "PT0S"


def format_seconds(seconds: float) -> str:
    """Return a duration in seconds as text for people: `1h30m`."""
    return format_duration(Duration(milliseconds=round(seconds * 1000)))


def _short(text: str) -> Duration:
    found = _SHORT.fullmatch(text)
    if found is None:
        raise InvalidDuration(f"expected {FORMS}")
    units = ("w", "d", "h", "m", "s", "ms")
    total = sum(_part(value, _MS[unit]) for value, unit in zip(found.groups(), units, strict=True))
    return _bounded(0, total)


def _part(text: str | None, scale: int) -> float:
    return float(text) * scale if text else 0.0


def _bounded(months: int, milliseconds: float) -> Duration:
    if not abs(milliseconds) + months * _MEAN_MONTH_MS <= _MOST_MS:
        raise TooLong(_TOO_LONG)
    return Duration(months=months, milliseconds=round(milliseconds))
