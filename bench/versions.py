"""`python -m bench versions --other DIR`: calls accepted a second, beside another checkout.

Both serve the same project from one store, the embedded one of this checkout with `appendfsync always`, and
take turns; the order changes from round to round. DIR is a checkout of another version in which `make setup`
was run. Prints the medians of each and the ratio of the rates; ends with 1 if it is under `--least`. The
processor time of the store and of the gateway for one call, in microseconds, depends less on what else the
machine does.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from bench.site import Site, arguments_of, load, redis_server

OURS = "/v1/api/bench/noop/async"


class _Round(NamedTuple):
    per_second: float
    store_us: float
    """Processor time of the store for one call, in microseconds."""
    gateway_us: float


def _round(site: Site, seconds: float) -> _Round:
    """Measure accepting with an empty store."""
    site.store.flushall()
    site.apply()
    with site.gateway() as port:
        load(port, OURS, seconds=1)
        before = site.used_s()
        result = load(port, OURS, seconds=seconds)
        used = zip(before, site.used_s(), strict=True)
        return _Round(
            result["per_second"], *(round(1e6 * (end - start) / result["good"], 1) for start, end in used)
        )


def main(arguments: list[str]) -> None:
    parser = arguments_of("versions", __doc__)
    parser.add_argument("--other", type=Path, required=True, help="the other checkout")
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
                rounds[side].append(_round(sites[side], given.seconds))
    rates = {side: statistics.median(one.per_second for one in each) for side, each in rounds.items()}
    store_us = {side: statistics.median(one.store_us for one in each) for side, each in rounds.items()}
    gateway_us = {side: statistics.median(one.gateway_us for one in each) for side, each in rounds.items()}
    ratio = rates["this"] / rates["other"]
    found = {"medians": rates, "ratio": round(ratio, 3), "store_us": store_us, "gateway_us": gateway_us}
    print(json.dumps({**found, "rounds": rounds}))
    sys.exit(ratio < given.least)
