"""Cron expressions in a time zone: next due time, also across DST changes.

Used by compiler (checks) and by store and worker (due times), through `compiler.schedules`. Pure.
croniter evaluates the fields, for wall-clock times without a zone; this module handles DST: an expression
whose hour field starts with `*` follows elapsed time, any other the wall clock, with one tick per named
time: a tick in the skipped hour fires when the clock jumps, a tick in the repeated hour fires the first time.
"""

from __future__ import annotations

import re
from collections import deque
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import CroniterBadDateError, CroniterError, croniter

NAMES: Final = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_FIELDS: Final = ("minute", "hour", "day of month", "month", "day of week")
_FIELD: Final = re.compile(r"(?!R(?:/|$))[0-9A-Za-z*?,/#-]+", re.IGNORECASE)
"""Without croniter's random fields: a tick must be the same for every worker."""
_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - wall-clock time; the zone is applied later
_STEP: Final = timedelta(hours=6)
"""No zone changes its clock twice within this time."""
_SECOND: Final = timedelta(seconds=1)


class InvalidCron(ValueError):
    """An invalid expression, or one that never fires; the message gives the expected form."""


class UnknownZone(ValueError):
    """A name that is not a time zone of the IANA database."""


def zone(name: str) -> ZoneInfo:
    """Return the time zone of an IANA name such as `Europe/Berlin`, for a cron expression.

    Raises UnknownZone.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        # ValueError: a name outside of the database; OSError: the name of one of its folders.
        raise UnknownZone(
            f'unknown time zone "{name[:60]}"; expected an IANA name such as Europe/Berlin'
        ) from None


class Cron:
    """Cron expression in a time zone: 5 fields, or 6 with the seconds first, or a name such as `@daily`."""

    def __init__(self, text: str, zone_name: str = "UTC") -> None:
        """Parse the expression. Raises InvalidCron or UnknownZone."""
        self._zone = zone(zone_name)
        self._text = " ".join(text.split())
        fields = self._text.split(" ")
        _check(self._text, fields)
        self._elapsed = self._text == "@hourly" or (len(fields) > 1 and fields[-4].startswith("*"))
        self._wall_after(_EPOCH)

    def after_ms(self, instant_ms: int) -> int:
        """Return the first due time of a cron expression after an instant, in milliseconds since 1970.

        Raises InvalidCron if there is none within fifty years.
        """
        instant = datetime.fromtimestamp(instant_ms // 1000, UTC)
        wall = self._wall(instant)
        while True:
            offset = self._offset(instant)
            found = self._wall_after(wall)
            moment = _utc(found - offset)
            change = self._change(instant, moment)
            if change is None:
                return int(moment.timestamp()) * 1000
            before, after = change.replace(tzinfo=None) + offset, self._wall(change)
            if not self._elapsed and after > before > found - (after - before):
                return int(change.timestamp()) * 1000  # DST spring-forward: fires when the clock jumps
            instant = change
            # DST fall-back: a wall-clock schedule has already fired in the first of the two equal hours.
            wall = (after if self._elapsed else max(before, after)) - _SECOND

    def newest_ms(self, first_ms: int, until_ms: int, most: int) -> list[int]:
        """Return the last `most` due times of a cron expression from `first_ms` to `until_ms`, in order."""
        span_ms = 1000 * most
        while True:
            start_ms = max(first_ms, until_ms - span_ms)
            found: deque[int] = deque(maxlen=most)
            moment_ms = first_ms if start_ms == first_ms else self.after_ms(start_ms)
            while moment_ms <= until_ms:
                found.append(moment_ms)
                moment_ms = self.after_ms(moment_ms)
            if len(found) == most or start_ms == first_ms:
                return list(found)
            span_ms *= 4

    def _wall_after(self, wall: datetime) -> datetime:
        try:
            found: datetime = croniter(self._text, wall, second_at_beginning=True).get_next(datetime)
        except CroniterBadDateError:
            raise InvalidCron(f'"{self._text}" never fires') from None
        return found

    def _offset(self, instant: datetime) -> timedelta:
        return instant.astimezone(self._zone).utcoffset() or timedelta()

    def _wall(self, instant: datetime) -> datetime:
        return instant.astimezone(self._zone).replace(tzinfo=None, fold=0)

    def _change(self, after: datetime, until: datetime) -> datetime | None:
        """Return the first second in (after, until] at which the UTC offset of a cron's time zone differs.

        None if it does not differ.
        """
        offset = self._offset(after)
        while after < until:
            ahead = min(after + _STEP, until)
            if self._offset(ahead) != offset:
                while ahead - after > _SECOND:
                    middle = after + timedelta(seconds=(ahead - after) // _SECOND // 2)
                    if self._offset(middle) == offset:
                        after = middle
                    else:
                        ahead = middle
                return ahead
            after = ahead
        return None


@lru_cache(256)
def cron(text: str, zone_name: str) -> Cron:
    """Parse a cron expression, or return it from a cache.

    Raises InvalidCron or UnknownZone.
    """
    return Cron(text, zone_name)


def _utc(wall: datetime) -> datetime:
    return wall.replace(tzinfo=UTC)


def _check(text: str, fields: list[str]) -> None:
    if text.startswith("@"):
        if text not in NAMES:
            raise InvalidCron(f'unknown schedule "{text[:40]}"; expected one of {", ".join(NAMES)}')
        return
    if len(fields) not in (5, 6) or not text:
        raise InvalidCron(
            "expected 5 fields (minute, hour, day of month, month, day of week), or 6 with the seconds first;"
            f" got {len(fields) if text else 0}"
        )
    names = _FIELDS if len(fields) == 5 else ("second", *_FIELDS)
    for index, (name, field) in enumerate(zip(names, fields, strict=True)):
        alone = " ".join(field if each == index else "*" for each in range(len(fields)))
        if not _FIELD.fullmatch(field) or not _expands(alone):
            raise InvalidCron(f'"{field[:40]}" is not a valid {name}')
    if not _expands(text):
        raise InvalidCron(f'"{text[:80]}" is not a valid cron expression')


def _expands(text: str) -> bool:
    try:
        croniter.expand(text, second_at_beginning=True)
    except (CroniterError, ValueError, KeyError, IndexError, AttributeError):
        return False
    return True
