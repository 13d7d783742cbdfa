"""Counts of the gateway for Prometheus.

Calls only add to plain integers; Prometheus objects are created for each scrape. Invariant: counters of an
API never decrease while the process lives, whichever revision is live.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, TypeVar

import msgspec
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

if TYPE_CHECKING:
    from prometheus_client import Metric

_Number = TypeVar("_Number", int, float)

CONTENT_TYPE = "text/plain; version=0.0.4"
"""The server adds the charset."""
BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Counts(msgspec.Struct):
    """Counters of the calls of one API."""

    accepted: int = 0
    replayed: int = 0
    coalesced: int = 0
    refused: dict[str, int] = {}
    buckets: list[int] = msgspec.field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    seconds: float = 0.0

    def observe(self, seconds: float) -> None:
        """Count an accepted call with its duration, for the metrics of its API."""
        self.buckets[bisect_left(BOUNDS_S, seconds)] += 1
        self.seconds += seconds

    def refuse(self, code: str) -> None:
        self.refused[code] = self.refused.get(code, 0) + 1

    def add(self, other: Counts) -> None:
        """Add the metrics of an API's calls in another process."""
        self.accepted += other.accepted
        self.replayed += other.replayed
        self.coalesced += other.coalesced
        _add(self.refused, other.refused)
        self.buckets = [own + more for own, more in zip(self.buckets, other.buckets, strict=True)]
        self.seconds += other.seconds


class EventCounts(msgspec.Struct):
    """Counters of the events that clients sent."""

    accepted: int = 0
    repeated: int = 0
    refused: dict[str, int] = {}
    """Refused requests by error code."""

    def refuse(self, code: str) -> None:
        self.refused[code] = self.refused.get(code, 0) + 1

    def add(self, other: EventCounts) -> None:
        """Add the metrics of events in another process."""
        self.accepted += other.accepted
        self.repeated += other.repeated
        _add(self.refused, other.refused)


class Snapshot(msgspec.Struct, kw_only=True):
    """Counters and gauges of one gateway process, or of several."""

    apis: dict[str, Counts] = {}
    events: EventCounts = msgspec.field(default_factory=EventCounts)
    processes: int = 0
    streams: int = 0
    revision: int | None = None
    """The oldest revision that one of the processes uses."""
    certificate_expiry_s: float | None = None
    """Unix time at which the first certificate of one of the processes expires; None without TLS."""

    def add(self, other: Snapshot) -> None:
        """Add another snapshot of the metrics: sums, the older revision, and the earlier expiry."""
        for api, counts in other.apis.items():
            self.apis.setdefault(api, Counts()).add(counts)
        self.events.add(other.events)
        self.processes += other.processes
        self.streams += other.streams
        self.revision = _least(self.revision, other.revision)
        self.certificate_expiry_s = _least(self.certificate_expiry_s, other.certificate_expiry_s)

    def counters(self) -> Snapshot:
        """Return the counters among the metrics of a snapshot, which outlast a process; no gauges."""
        return Snapshot(apis=self.apis, events=self.events)


def _least(one: _Number | None, other: _Number | None) -> _Number | None:
    return min((each for each in (one, other) if each is not None), default=None)


def _add(into: dict[str, int], other: Mapping[str, int]) -> None:
    for name, number in other.items():
        into[name] = into.get(name, 0) + number


class StoreFigures(msgspec.Struct, kw_only=True):
    """Counts and gauges of the store, the same at each gateway; one that was not read is None or empty."""

    runs: Mapping[str, int] = {}
    """Runs by status."""
    queued: int | None = None
    """Runs that wait for a worker."""
    forged: Mapping[str, int] = {}
    """Objects that did not verify, by kind."""
    callbacks: tuple[Mapping[str, int], int] | None = None
    """Tries by outcome, and the callbacks to be delivered."""
    skips: Mapping[str, Mapping[str, int]] = {}
    """Ticks of schedules without a run, by schedule and reason."""
    workers: int | None = None
    memory: tuple[int, int] | None = None
    """Memory in use by the server, and its limit (0: none), in bytes."""


class _Scrape(Collector):
    def __init__(self, processes: Snapshot, store: StoreFigures) -> None:
        self._processes, self._store = processes, store

    def collect(self) -> Iterator[Metric]:
        accepted = CounterMetricFamily("iogate_calls_accepted", "Calls answered with a uid", labels=["api"])
        replayed = CounterMetricFamily(
            "iogate_calls_replayed", "Accepted calls whose idempotency key had a run already", labels=["api"]
        )
        coalesced = CounterMetricFamily(
            "iogate_calls_coalesced", "Accepted calls that replaced the input of a run", labels=["api"]
        )
        refused = CounterMetricFamily("iogate_calls_refused", "Calls refused", labels=["api", "code"])
        duration = HistogramMetricFamily(
            "iogate_accept_seconds", "Time from the request's head to its acceptance", labels=["api"]
        )
        for api, counts in self._processes.apis.items():
            accepted.add_metric([api], counts.accepted)
            replayed.add_metric([api], counts.replayed)
            coalesced.add_metric([api], counts.coalesced)
            for code, number in counts.refused.items():
                refused.add_metric([api, code], number)
            total, buckets = 0, []
            for bound, number in zip((*map(str, BOUNDS_S), "+Inf"), counts.buckets, strict=True):
                total += number
                buckets.append((bound, float(total)))
            duration.add_metric([api], buckets, counts.seconds)
        yield from (accepted, replayed, coalesced, refused, duration)
        yield from self._of_events()
        yield from self._of_store()
        processes = self._processes
        if processes.revision is not None:
            yield GaugeMetricFamily(
                "iogate_revision", "Number of the oldest revision that a process uses", processes.revision
            )
        if processes.certificate_expiry_s is not None:
            yield GaugeMetricFamily(
                "iogate_tls_certificate_expiry_timestamp_seconds",
                "Unix time at which the first certificate of the gateway's TLS expires",
                processes.certificate_expiry_s,
            )
        yield GaugeMetricFamily("iogate_gateways", "Gateway processes of this port", processes.processes)
        yield GaugeMetricFamily("iogate_streams", "Event streams that are open", processes.streams)

    def _of_store(self) -> Iterator[Metric]:
        store = self._store
        runs = GaugeMetricFamily("iogate_runs", "Runs in the store", labels=["status"])
        for status, number in store.runs.items():
            runs.add_metric([status], number)
        yield runs
        if store.queued is not None:
            yield GaugeMetricFamily("iogate_queue_depth", "Runs that wait for a worker", store.queued)
        if store.workers is not None:
            yield GaugeMetricFamily("iogate_workers", "Worker processes of the store", store.workers)
        if store.memory is not None:
            used, limit = store.memory
            yield GaugeMetricFamily("iogate_store_memory_bytes", "Memory in use by the store", used)
            if limit:
                yield GaugeMetricFamily(
                    "iogate_store_memory_limit_bytes", "Limit of the memory of the store", limit
                )
        if store.callbacks is not None:
            tries, waiting = store.callbacks
            tried = CounterMetricFamily("iogate_callbacks", "Tries of callbacks", labels=["outcome"])
            for outcome, number in tries.items():
                tried.add_metric([outcome], number)
            yield tried
            yield GaugeMetricFamily("iogate_callbacks_waiting", "Callbacks to be delivered", waiting)
        skipped = CounterMetricFamily(
            "iogate_schedule_ticks_skipped", "Ticks of schedules without a run", labels=["schedule", "reason"]
        )
        for schedule, reasons in store.skips.items():
            for reason, number in reasons.items():
                skipped.add_metric([schedule, reason], number)
        yield skipped
        forged = CounterMetricFamily(
            "iogate_store_refused", "Objects in the store that did not verify", labels=["kind"]
        )
        for kind, number in store.forged.items():
            forged.add_metric([kind], number)
        yield forged

    def _of_events(self) -> Iterator[Metric]:
        yield CounterMetricFamily("iogate_events_accepted", "Events stored", self._processes.events.accepted)
        yield CounterMetricFamily(
            "iogate_events_repeated",
            "Events accepted whose source and id were known",
            self._processes.events.repeated,
        )
        refused = CounterMetricFamily(
            "iogate_events_refused", "Requests with events refused", labels=["code"]
        )
        for code, number in self._processes.events.refused.items():
            refused.add_metric([code], number)
        yield refused


def exposition(processes: Snapshot, store: StoreFigures) -> bytes:
    """Return the metrics of gateway processes and of the store in the text format of Prometheus."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Scrape(processes, store))
    return generate_latest(registry)
