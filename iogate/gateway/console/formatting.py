"""Times, durations, counts, sizes and JSON as people read them, for the pages of the console.

Used by templates, `timeline`, `json_tree` and the page of a run. Pure: the current time is an argument.
Invariant: a value that cannot be read is shown as a dash, never as an error, since stored records may come
from other programs.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import Any, Final

import msgspec

NOTHING: Final = "\N{EN DASH}"

INDENTED_BYTES: Final = 64 * 1024
"""Bytes of a value that is indented: one that is nested deeply takes up to 600 times as much."""

_UNITS: Final = ((86_400, "day"), (3_600, "h"), (60, "min"), (1, "s"))


def to_ms(text: str | None) -> int | None:
    """Parse a time of RFC 3339 for a page: return milliseconds since 1970; None for another text."""
    if not isinstance(text, str):
        return None
    try:
        return round(dt.datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None


def _utc(text: str) -> dt.datetime | None:
    ms = to_ms(text)
    return None if ms is None else dt.datetime.fromtimestamp(ms / 1000, tz=dt.UTC)


def exact(text: str | None) -> str:
    """Format a time of RFC 3339 for a page, in full and in UTC: `2026-11-28 13:12:03.248 UTC`."""
    at = _utc(text) if text else None
    return NOTHING if at is None else f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03} UTC"


def clock(text: str | None, now_ms: int) -> str:
    """Format a time for a page, in UTC, with its date unless it is today: `13:12:03`, `Nov 27 13:12:03`."""
    at = _utc(text) if text else None
    if at is None:
        return NOTHING
    now = dt.datetime.fromtimestamp(now_ms / 1000, tz=dt.UTC)
    if at.date() == now.date():
        return f"{at:%H:%M:%S}"
    return f"{at:%b} {at.day} {at:%H:%M:%S}" if at.year == now.year else f"{at:%Y-%m-%d %H:%M}"


def ago(text: str | None, now_ms: int) -> str:
    """Format a time for a page, relative to now: `just now`, `5 min ago`, `in 2 h`."""
    at = to_ms(text)
    if at is None:
        return NOTHING
    seconds = (now_ms - at) / 1000
    if abs(seconds) < 1:
        return "just now"
    for size, unit in _UNITS:
        if (count := int(abs(seconds) // size)) >= 1:
            name = f"{count} {unit}{'s' if unit == 'day' and count > 1 else ''}"
            return f"{name} ago" if seconds > 0 else f"in {name}"
    return "just now"


def duration(ms: float | None) -> str:
    """Format a duration for a page, with three digits at most: `7 ms`, `3.31 s`, `2 h 5 min`, `3 d 4 h`."""
    if ms is None:
        return NOTHING
    if ms < 1000:
        return f"{max(0, round(ms))} ms"
    seconds = ms / 1000
    if seconds < 59.95:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return _two(whole, 60, "min", "s")
    return _two(whole // 60, 60, "h", "min") if whole < 86_400 else _two(whole // 3600, 24, "d", "h")


def _two(count: int, size: int, large: str, small: str) -> str:
    whole, rest = divmod(count, size)
    return f"{whole} {large} {rest} {small}" if rest else f"{whole} {large}"


def between(start: str | None, end: str | None) -> float | None:
    """Return the milliseconds between two times of RFC 3339 on a page; None if one is missing."""
    first, last = to_ms(start), to_ms(end)
    return None if first is None or last is None else max(0, last - first)


def count(number: int, noun: str, plural: str | None = None) -> str:
    """Format a count for a page: `1 run`, `1,204 runs`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def size(octets: int) -> str:
    """Format a number of bytes for a page: `512 B`, `1.5 KiB`, `12 MiB`."""
    if octets < 1024:
        return f"{octets} B"
    value = float(octets)
    for unit in ("KiB", "MiB", "GiB"):
        value /= 1024
        if value < 1024 or unit == "GiB":
            break
    return f"{value:.1f} {unit}" if value < 10 else f"{value:,.0f} {unit}"


def json_text(value: Any) -> str:
    """Format a JSON value for a page, with line breaks; a text stays as it is."""
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)


def indent_json(encoded: bytes) -> bytes:
    """Format encoded JSON for a page, with indentation; a large value stays unchanged."""
    return encoded if len(encoded) > INDENTED_BYTES else msgspec.json.format(encoded, indent=2)
