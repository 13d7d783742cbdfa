"""`python -m bench signatures`: signed calls accepted a second, beside calls with a token.

Both APIs have the same schema. The signed one gets deliveries of GitHub, each with its own id, which is the
idempotency key of its run. The two take turns; the order changes from round to round. Prints the median of
each and their ratio; ends with 1 if the ratio is under `--least`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import statistics
import sys
import tempfile
from pathlib import Path

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


def main(arguments: list[str]) -> None:
    parser = arguments_of("signatures", __doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--least", type=float, default=0.8)
    given = parser.parse_args(arguments)
    rates: dict[str, list[float]] = {"token": [], "signed": []}
    with tempfile.TemporaryDirectory(prefix="iogate-bench-") as name, redis_server(Path(name)) as store:
        site = Site(Path(name), store)
        for number in range(given.rounds):
            for side in sorted(PATHS, reverse=number % 2 == 0):
                store.flushall()
                site.apply()
                with site.gateway() as port:
                    for seconds in (1, given.seconds):
                        found = load(port, PATHS[side], seconds=seconds, headers=HEADERS[side])
                rates[side].append(float(found["per_second"]))
    medians = {side: statistics.median(each) for side, each in rates.items()}
    ratio = medians["signed"] / medians["token"]
    print(json.dumps({"medians": medians, "ratio": round(ratio, 3), "rounds": rates}))
    sys.exit(ratio < given.least)
