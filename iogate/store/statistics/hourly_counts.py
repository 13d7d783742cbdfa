"""Hourly counts of a series of runs, decoded from the hash that `statistics.lua` writes.

Used by `statistics`. Pure. Invariant: counts add up: those of a day are the sum of those of its hours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from iogate.store.statistics.histograms import LAST_BUCKET, Histogram

HOUR_MS = 3_600_000


class Series(msgspec.Struct, frozen=True, order=True):
    """API and workflow of counted runs."""

    api: str
    workflow: str
    """`namespace/name:version`."""
    child: bool = False
    """Whether other runs have started these runs."""


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of runs in a time: of those accepted then, and of those ended then."""

    accepted: int = 0
    """Runs accepted then that a worker has taken, or that ended before."""
    waits: Histogram = Histogram()
    """Times from the acceptance of these until a worker took them."""
    completed: int = 0
    faulted: int = 0
    cancelled: int = 0
    retried: int = 0
    durations: Histogram = Histogram()
    """Times from the start to the end of the completed runs; of a retried run, from the retry."""
    fault_durations: Histogram = Histogram()
    """Likewise of the faulted runs."""

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            accepted=self.accepted + other.accepted,
            waits=self.waits + other.waits,
            completed=self.completed + other.completed,
            faulted=self.faulted + other.faulted,
            cancelled=self.cancelled + other.cancelled,
            retried=self.retried + other.retried,
            durations=self.durations + other.durations,
            fault_durations=self.fault_durations + other.fault_durations,
        )


NONE = Counts()


def total(counts: Iterable[Counts]) -> Counts:
    """Return the sum of counts."""
    return sum(counts, NONE)


def decode_series(member: str) -> Series | None:
    """Decode a member of the set of series; None for one that another program wrote."""
    match member.split(" "):
        case [api, workflow]:
            return Series(api, workflow)
        case [api, workflow, "child"]:
            return Series(api, workflow, child=True)
        case _:
            return None


def encode_series(series: Series) -> str:
    """Return the stored name of a series."""
    return f"{series.api} {series.workflow}{' child' if series.child else ''}"


def decode_counts(fields: Mapping[str, bytes]) -> Counts:
    """Decode the counts of an hour; fields that another program wrote are left out."""
    numbers = {
        name: int(value) for name, value in fields.items() if value.isdigit() and len(value) < 16 and name
    }
    waits = Histogram(_buckets(numbers, "w"), numbers.get("q", 0))
    durations = Histogram(_buckets(numbers, "c"), numbers.get("d", 0))
    faults = Histogram(_buckets(numbers, "f"), numbers.get("e", 0))
    return Counts(
        accepted=waits.count + numbers.get("n", 0),
        waits=waits,
        completed=durations.count,
        faulted=faults.count,
        cancelled=numbers.get("x", 0),
        retried=numbers.get("r", 0),
        durations=durations,
        fault_durations=faults,
    )


def _buckets(numbers: Mapping[str, int], letter: str) -> dict[int, int]:
    return {
        int(name[1:]): number
        for name, number in numbers.items()
        if name[0] == letter and name[1:].isdigit() and int(name[1:]) <= LAST_BUCKET
    }
