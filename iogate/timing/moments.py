"""Moments in filters: a date and time, or how long ago, such as `24h`.

Used by options of commands and by query parameters of operators. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final

from iogate.timing.durations import InvalidDuration, parse_duration

FORMS: Final = "how long ago, such as 1h or 7d, or a date and time, such as 2026-01-31 or 2026-01-31T09:30"


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment: `ms` since 1970, or `ms` before now."""

    ms: int
    is_ago: bool

    def at_ms(self, now_ms: int) -> int:
        """Return the moment in milliseconds since 1970."""
        return now_ms - self.ms if self.is_ago else self.ms


def parse_moment(text: str, zone: tzinfo | None = None) -> Moment:
    """Parse a moment; a time without an offset is in `zone`, or in that of this machine.

    Raises ValueError for any other text.
    """
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        pass
    else:
        try:
            if at.tzinfo is None:
                at = at.astimezone() if zone is None else at.replace(tzinfo=zone)
            return Moment(int(at.timestamp() * 1000), is_ago=False)
        except (ValueError, OverflowError):  # at an end of the calendar
            raise ValueError(FORMS) from None
    if text.isascii() and text.isdigit() and len(text) < 12:
        return Moment(int(text) * 1000, is_ago=True)
    try:
        duration = parse_duration(text)
    except InvalidDuration:
        raise ValueError(FORMS) from None
    if duration.months:
        raise ValueError(FORMS)
    return Moment(duration.milliseconds, is_ago=True)
