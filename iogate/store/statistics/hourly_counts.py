"""Counts of runs in one or more hours, from the hashes that `statistics.lua` writes.

Used by `statistics`. Pure. Invariant: counts add up field by field, so that those of a day are the sum of
those of its hours; fields are only decoded once they are summed up, since a week of many APIs has millions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from iogate.store.statistics.histograms import LAST_BUCKET, Histogram

HOUR_MS = 3_600_000

Numbers = Mapping[bytes, int]
"""Fields of the hash of an hour, or their sums."""


class Series(msgspec.Struct, frozen=True, order=True):
    """API and workflow of counted runs."""

    api: str
    workflow: str
    """`namespace/name:version`."""
    child: bool = False
    """Whether other runs have started these runs."""


class Counts:
    """Counts in a time: of runs accepted then, and of attempts that ended then; a run can have several."""

    __slots__ = ("numbers",)

    def __init__(self, numbers: Numbers) -> None:
        self.numbers = numbers

    @property
    def accepted(self) -> int:
        """Number of runs accepted in these hours that a worker has taken, or that ended before."""
        return self.waits.count + self.numbers.get(b"n", 0)

    @property
    def completed(self) -> int:
        """Number of runs that completed in these hours, each with its last attempt."""
        return self.durations.count

    @property
    def faulted(self) -> int:
        """Number of attempts that faulted in these hours, more than that of runs if a run was retried."""
        return self.fault_durations.count

    @property
    def cancelled(self) -> int:
        return self.numbers.get(b"x", 0)

    @property
    def retried(self) -> int:
        return self.numbers.get(b"r", 0)

    @property
    def waits(self) -> Histogram:
        """Times from the acceptance in these hours until a worker took the runs."""
        return self._histogram(b"w", b"q")

    @property
    def durations(self) -> Histogram:
        """Times from the start to the end of the runs completed in these hours.

        The time of a retried run begins with the retry.
        """
        return self._histogram(b"c", b"d")

    @property
    def fault_durations(self) -> Histogram:
        """Times from the start to the end of the runs faulted in these hours, likewise."""
        return self._histogram(b"f", b"e")

    def _histogram(self, letter: bytes, total: bytes) -> Histogram:
        buckets = {
            int(name[1:]): number
            for name, number in self.numbers.items()
            if name.startswith(letter) and name[1:].isdigit() and len(name) < 5
        }
        known = {bucket: number for bucket, number in buckets.items() if bucket <= LAST_BUCKET}
        return Histogram(known, self.numbers.get(total, 0))


NONE = Counts({})


class Sum:
    """Sum of counts."""

    __slots__ = ("_numbers",)

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}

    def add(self, counts: Counts) -> None:
        """Add the counts of hours to this sum."""
        numbers = self._numbers
        for name, number in counts.numbers.items():
            numbers[name] = numbers.get(name, 0) + number

    @property
    def counts(self) -> Counts:
        return Counts(self._numbers)


def total(counts: Iterable[Counts]) -> Counts:
    """Return the sum of hourly counts."""
    whole = Sum()
    for each in counts:
        whole.add(each)
    return whole.counts


def decode_series(member: str) -> Series | None:
    """Decode a member of the set of series of hourly counts; None for one that another program wrote."""
    match member.split(" "):
        case [api, workflow]:
            return Series(api, workflow)
        case [api, workflow, "child"]:
            return Series(api, workflow, child=True)
        case _:
            return None


def encode_series(series: Series) -> str:
    """Return the stored name of a series of hourly counts."""
    return f"{series.api} {series.workflow}{' child' if series.child else ''}"


def decode_counts(flat: Sequence[bytes]) -> Counts:
    """Decode the reply to HGETALL of an hour; fields without a number are left out."""
    items = iter(flat)
    try:
        return Counts({name: int(value) for name, value in zip(items, items, strict=True)})
    except ValueError:
        fields = zip(flat[::2], flat[1::2], strict=True)
        return Counts({name: int(value) for name, value in fields if value.isdigit() and len(value) < 16})
