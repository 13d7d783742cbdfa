"""`python -m bench signatures`: signed calls accepted a second, beside calls with a token.

Both APIs have the same schema. The signed one gets deliveries of GitHub, each with its own id, which is the
idempotency key of its run. Both call one gateway, in windows that take turns; the order changes from round to
round. Prints the median of each, the median of the ratios of each round, and the processor time of store and
gateway for one call, in microseconds, which depends less on what else the machine does; ends with 1 if the
ratio is under `--least`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from bench.site import BODY, TOKEN, Site, arguments_of, load, redis_server

PATHS = {"token": "/v1/api/bench/noop/async", "signed": "/v1/api/bench/signed/async"}
SIGNATURE = hmac.new(TOKEN.encode(), BODY.encode(), hashlib.sha256).hexdigest()
HEADERS = {
    "token": [f"token: {TOKEN}"],
    "signed": [
        f"X-Hub-Signature-256: sha256={SIGNATURE}",
        "X-GitHub-Delivery: {number}",
        "X-GitHub-Event: push",
    ],
}


class _Window(NamedTuple):
    per_second: float
    store_us: float
    """Processor time of the store for one call, in microseconds."""
    gateway_us: float


def _window(site: Site, port: int, side: str, number: int, seconds: float) -> _Window:
    # The ids of a delivery are unique over all windows.
    headers = [header.replace("{number}", f"{number}-{{number}}") for header in HEADERS[side]]
    before = site.used_s(site.gateway_pid)
    found = load(port, PATHS[side], seconds=seconds, headers=headers)
    used = zip(before, site.used_s(site.gateway_pid), strict=True)
    return _Window(
        found["per_second"], *(round(1e6 * (end - start) / found["good"], 1) for start, end in used)
    )


def main(arguments: list[str]) -> None:
    parser = arguments_of("signatures", __doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--least", type=float, default=0.8)
    given = parser.parse_args(arguments)
    rounds: dict[str, list[_Window]] = {"token": [], "signed": []}
    with tempfile.TemporaryDirectory(prefix="iogate-bench-") as name, redis_server(Path(name)) as store:
        site = Site(Path(name), store)
        site.apply()
        with site.gateway() as port:
            for side in PATHS:
                _window(site, port, side, given.rounds, 1.0)
            for number in range(given.rounds):
                for side in sorted(PATHS, reverse=number % 2 == 0):
                    rounds[side].append(_window(site, port, side, number, given.seconds))
    medians = {
        side: _Window(*(statistics.median(each) for each in zip(*windows, strict=True)))._asdict()
        for side, windows in rounds.items()
    }
    pairs = list(zip(rounds["signed"], rounds["token"], strict=True))
    ratio = statistics.median(signed.per_second / token.per_second for signed, token in pairs)
    processor = statistics.median(
        (token.store_us + token.gateway_us) / (signed.store_us + signed.gateway_us) for signed, token in pairs
    )
    found = {"medians": medians, "ratio": round(ratio, 3), "processor_ratio": round(processor, 3)}
    print(json.dumps({**found, "rounds": rounds}))
    sys.exit(ratio < given.least)
