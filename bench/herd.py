"""`python -m bench herd`: how long another API's callers wait while many timers are due at the same moment.

50,000 runs (unless told) wait for one moment, with one gateway and one worker. From a second before it until
all have ended, a caller of another API calls `/sync` again and again. Prints its latencies; ends with 1 if
the longest is over 250 ms.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.site import BODY, TOKEN, Site, arguments_of, redis_server, wait_for
from bench.waiting import Waiting, accepted
from iogate.store import keys

MOST_MS = 250.0
PAUSE_S = 0.02


class Caller:
    """Calls the API that has nothing to do with the herd."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def call(self) -> float:
        """Return the milliseconds of one call."""
        headers = {"token": TOKEN, "content-type": "application/json"}
        began = time.perf_counter()
        self._connection.request("POST", "/v1/api/bench/noop/sync", BODY, headers)
        response = self._connection.getresponse()
        response.read()
        if response.status != http.client.OK:
            raise RuntimeError(f"/sync answered {response.status}")
        return (time.perf_counter() - began) * 1000


def herd(site: Site, runs: int, park_s: float) -> dict[str, Any]:
    """Wake the herd; return how it went for the other API."""
    waiting = Waiting(site, runs)
    waiting.clear()
    moment = time.time() + park_s
    inputs = [json.dumps({"at": int(moment * 1000)}).encode()] * runs
    asyncio.run(accepted(site.environment["BENCH_REDIS"], "bench/alarm", inputs))
    with site.gateway() as port, site.worker():
        wait_for(waiting.parked, "all runs wait", 600)
        quiet = Caller(port)
        before = sorted(quiet.call() for _ in range(50))
        spare_s = moment - time.time()
        if spare_s < 0:
            raise RuntimeError(f"all runs waited {-spare_s:.0f} s too late: give --park more")
        time.sleep(max(0.0, spare_s - 1.0))
        latencies: list[float] = []
        caller = Caller(port)
        woken = time.perf_counter() + moment - time.time()
        done = runs + len(before)
        while waiting.store.zcard(keys.INDEX + "completed") < done + len(latencies):
            latencies.append(caller.call())
            time.sleep(PAUSE_S)
        took_s = time.perf_counter() - woken
    ordered = sorted(latencies)
    return {
        "runs": runs,
        "allEndedAfterS": round(took_s, 1),
        "calls": len(ordered),
        "quietMedianMs": round(before[len(before) // 2], 1),
        "quietLongestMs": round(before[-1], 1),
        "medianMs": round(ordered[len(ordered) // 2], 1),
        "p99Ms": round(ordered[int(len(ordered) * 0.99)], 1),
        "longestMs": [round(each, 1) for each in ordered[:-6:-1]],
    }


def main(arguments: list[str]) -> None:
    parser = arguments_of("herd", __doc__)
    parser.add_argument("--runs", type=int, default=50_000)
    parser.add_argument("--park", type=float, default=180.0, help="seconds until the runs are due")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="iogate-bench-") as name, redis_server(Path(name)) as store:
        found = herd(Site(Path(name), store), given.runs, given.park)
    print(json.dumps(found))
    raise SystemExit(found["longestMs"][0] > MOST_MS)
