"""Counts of this gateway for Prometheus.

The calls only add to plain integers; Prometheus objects are made when someone scrapes. Invariant:
counters of an API never go back while the process lives, whatever revision is live.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

if TYPE_CHECKING:
    from prometheus_client import Metric

CONTENT_TYPE = "text/plain; version=0.0.4"
"""The server adds the charset."""
BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Counts:
    """What happened to the calls of one API."""

    __slots__ = ("accepted", "buckets", "refused", "replayed", "seconds")

    def __init__(self) -> None:
        self.accepted = 0
        self.replayed = 0
        self.refused: dict[str, int] = {}
        self.buckets = [0] * (len(BOUNDS_S) + 1)
        self.seconds = 0.0

    def took(self, seconds: float) -> None:
        """Note how long an accepted call took."""
        self.buckets[bisect_left(BOUNDS_S, seconds)] += 1
        self.seconds += seconds

    def refuse(self, code: str) -> None:
        self.refused[code] = self.refused.get(code, 0) + 1


class EventCounts:
    """What happened to the events that were sent in."""

    __slots__ = ("accepted", "refused", "repeated")

    def __init__(self) -> None:
        self.accepted = 0
        self.repeated = 0
        self.refused: dict[str, int] = {}
        """Requests, by code."""

    def refuse(self, code: str) -> None:
        self.refused[code] = self.refused.get(code, 0) + 1


class _Scrape(Collector):
    def __init__(
        self,
        counts: Mapping[str, Counts],
        events: EventCounts,
        runs: Mapping[str, int],
        queued: int | None,
        revision: int | None,
    ) -> None:
        self._counts, self._events, self._runs = counts, events, runs
        self._queued, self._revision = queued, revision

    def collect(self) -> Iterator[Metric]:
        accepted = CounterMetricFamily("iogate_calls_accepted", "Calls answered with a uid", labels=["api"])
        replayed = CounterMetricFamily(
            "iogate_calls_replayed", "Accepted calls whose idempotency key had a run already", labels=["api"]
        )
        refused = CounterMetricFamily("iogate_calls_refused", "Calls refused", labels=["api", "code"])
        took = HistogramMetricFamily(
            "iogate_accept_seconds", "Time from the request's head to its 202", labels=["api"]
        )
        for api, counts in self._counts.items():
            accepted.add_metric([api], counts.accepted)
            replayed.add_metric([api], counts.replayed)
            for code, number in counts.refused.items():
                refused.add_metric([api, code], number)
            total, buckets = 0, []
            for bound, number in zip((*map(str, BOUNDS_S), "+Inf"), counts.buckets, strict=True):
                total += number
                buckets.append((bound, float(total)))
            took.add_metric([api], buckets, counts.seconds)
        yield from (accepted, replayed, refused, took)
        yield from self._of_events()
        runs = GaugeMetricFamily("iogate_runs", "Runs in the store", labels=["status"])
        for status, number in self._runs.items():
            runs.add_metric([status], number)
        yield runs
        if self._queued is not None:
            yield GaugeMetricFamily("iogate_queue_depth", "Runs that wait for a worker", self._queued)
        if self._revision is not None:
            yield GaugeMetricFamily("iogate_revision", "Number of the revision in use", self._revision)

    def _of_events(self) -> Iterator[Metric]:
        yield CounterMetricFamily("iogate_events_accepted", "Events stored", self._events.accepted)
        yield CounterMetricFamily(
            "iogate_events_repeated", "Events accepted whose source and id were known", self._events.repeated
        )
        refused = CounterMetricFamily(
            "iogate_events_refused", "Requests with events refused", labels=["code"]
        )
        for code, number in self._events.refused.items():
            refused.add_metric([code], number)
        yield refused


def exposition(
    counts: Mapping[str, Counts],
    *,
    events: EventCounts,
    runs: Mapping[str, int],
    queued: int | None,
    revision: int | None,
) -> bytes:
    """The text that Prometheus reads."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Scrape(counts, events, runs, queued, revision))
    return generate_latest(registry)
