"""`python -m bench versions --other DIR`: calls accepted or runs executed a second, beside another checkout.

Both serve the same project from one store, the embedded one of this checkout with `appendfsync always`, and
take turns; the order changes from round to round. DIR is a checkout of another version in which `make setup`
was run. `--question run` measures the runs that one worker completes a second, from a full queue. Prints the
medians of each and the ratio of the rates; ends with 1 if it is under `--least`. The processor time of the
store and of the gateway or worker for one call, in microseconds, depends less on what else the machine does.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple

from bench.site import Site, arguments_of, load, redis_server, wait_for

OURS = "/v1/api/bench/noop/async"
QUEUED: Final = 8_000
"""Runs to execute for each second of a round."""


class _Round(NamedTuple):
    per_second: float
    store_us: float
    """Processor time of the store for one call, in microseconds."""
    process_us: float
    """Processor time of the gateway, or of the worker, for one call, in microseconds."""


def _accept(site: Site, seconds: float) -> _Round:
    """Measure accepting with an empty store."""
    site.store.flushall()
    site.apply()
    with site.gateway() as port:
        load(port, OURS, seconds=1)
        before = site.used_s(site.gateway_pid)
        result = load(port, OURS, seconds=seconds)
        used = zip(before, site.used_s(site.gateway_pid), strict=True)
        return _Round(
            result["per_second"], *(round(1e6 * (end - start) / result["good"], 1) for start, end in used)
        )


def _run(site: Site, seconds: float) -> _Round:
    """Measure executing a full queue, between the first tenth and nine tenths: neither start nor tail."""
    site.store.flushall()
    site.apply()
    queued = int(QUEUED * seconds)
    with site.gateway() as port:
        load(port, OURS, seconds=60, requests=queued)
    with site.worker() as worker:
        _wait_ended(site, queued // 10)
        first, began, before = _ended(site), time.perf_counter(), site.used_s(worker.pid)
        _wait_ended(site, queued * 9 // 10)
        ended, took_s, after = _ended(site) - first, time.perf_counter() - began, site.used_s(worker.pid)
        used = zip(before, after, strict=True)
        return _Round(
            round(ended / took_s, 1), *(round(1e6 * (end - start) / ended, 1) for start, end in used)
        )


def _ended(site: Site) -> int:
    return int(site.store.zcard("rq:finished:iogate"))


def _wait_ended(site: Site, count: int) -> None:
    wait_for(lambda: _ended(site) >= count, f"{count} runs completed", 120)


QUESTIONS: Final = {"accept": _accept, "run": _run}


def main(arguments: list[str]) -> None:
    parser = arguments_of("versions", __doc__)
    parser.add_argument("--other", type=Path, required=True, help="the other checkout")
    parser.add_argument("--question", choices=QUESTIONS, default="accept")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--least", type=float, default=0.97)
    given = parser.parse_args(arguments)
    rounds: dict[str, list[_Round]] = {"this": [], "other": []}
    with tempfile.TemporaryDirectory(prefix="iogate-bench-") as name, redis_server(Path(name)) as store:
        sites = {
            "this": Site(Path(name), store),
            "other": Site(Path(name), store, checkout=given.other.absolute()),
        }
        for number in range(given.rounds):
            for side in sorted(sites, reverse=number % 2 == 0):
                rounds[side].append(QUESTIONS[given.question](sites[side], given.seconds))
    rates = {side: statistics.median(one.per_second for one in each) for side, each in rounds.items()}
    store_us = {side: statistics.median(one.store_us for one in each) for side, each in rounds.items()}
    process_us = {side: statistics.median(one.process_us for one in each) for side, each in rounds.items()}
    ratio = rates["this"] / rates["other"]
    found = {"medians": rates, "ratio": round(ratio, 3), "store_us": store_us, "process_us": process_us}
    print(json.dumps({**found, "rounds": rounds}))
    sys.exit(ratio < given.least)
