"""`python -m bench versions --other DIR`: calls accepted a second by this checkout and by another one.

Both serve the same project from one store, the embedded one of this checkout with `appendfsync always`, and
take turns; the order changes from round to round. DIR is a checkout of another version in which `make setup`
was run. Prints the median of each and their ratio; ends with 1 if the ratio is under `--least`.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from pathlib import Path

from bench.site import Site, arguments_of, load, redis_server

OURS = "/v1/api/bench/noop/async"


def _round(site: Site, seconds: float) -> float:
    """Return the calls accepted a second, with an empty store."""
    site.store.flushall()
    site.apply()
    with site.gateway() as port:
        load(port, OURS, seconds=1)
        return float(load(port, OURS, seconds=seconds)["per_second"])


def main(arguments: list[str]) -> None:
    parser = arguments_of("versions", __doc__)
    parser.add_argument("--other", type=Path, required=True, help="the other checkout")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--least", type=float, default=0.97)
    given = parser.parse_args(arguments)
    rates: dict[str, list[float]] = {"this": [], "other": []}
    with tempfile.TemporaryDirectory(prefix="iogate-bench-") as name, redis_server(Path(name)) as store:
        sites = {
            "this": Site(Path(name), store),
            "other": Site(Path(name), store, checkout=given.other.absolute()),
        }
        for number in range(given.rounds):
            for side in sorted(sites, reverse=number % 2 == 0):
                rates[side].append(_round(sites[side], given.seconds))
    medians = {side: statistics.median(each) for side, each in rates.items()}
    ratio = medians["this"] / medians["other"]
    print(json.dumps({"medians": medians, "ratio": round(ratio, 3), "rounds": rates}))
    sys.exit(ratio < given.least)
