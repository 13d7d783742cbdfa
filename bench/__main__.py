"""`make bench`: iogate beside what one writes by hand with RQ, on one Redis with `appendfsync always`.

Three questions, each answered by the median of several rounds in which both sides take turns:

    accept      calls answered 202 a second, token and JSON Schema on, 64 connections
    run         no-op runs a second of one worker process, its queue full
    end to end  runs a second from the first call to the last completed run, one gateway and one worker

`python -m bench waiting` asks another: what runs cost that wait, and how late their timers fire.
`python -m bench herd` measures what many timers that are due at once cost other callers.
`python -m bench streams` measures what open event streams cost other callers.
`python -m bench versions` compares how fast this checkout and another one accept calls.
`python -m bench signatures` compares calls with a signature of GitHub and calls with a token.
`python -m bench index` measures lists of 300,000 runs.
`python -m bench console` measures pages of the console with 100,000 runs.
`python -m bench live` measures how soon the console shows a commit, and what watched runs cost.
`python -m bench gitops` measures `validate`, `plan` and `rollback` with 1,000 APIs and 1,000 workflows.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import console, gitops, herd, index, live, signatures, streams, versions, waiting
from bench.site import Site, load, redis_server, wait_for

OURS = "/v1/api/bench/noop/async"
PEERS = "/noop"
OTHERS = {
    "console": console.main,
    "waiting": waiting.main,
    "herd": herd.main,
    "live": live.main,
    "streams": streams.main,
    "versions": versions.main,
    "gitops": gitops.main,
    "index": index.main,
    "signatures": signatures.main,
}


class Bench:
    def __init__(self, site: Site, *, rounds: int, seconds: float) -> None:
        self.site = site
        self.rounds = rounds
        self.seconds = seconds

    def ours_ended(self) -> int:
        return int(self.site.store.zcard("rq:finished:iogate"))

    def peers_ended(self) -> int:
        return int(self.site.store.zcard("rq:finished:peer"))

    def clear(self) -> None:
        """An empty store with the revision in it: no round pays for the one before."""
        self.site.store.flushall()
        self.site.apply()

    def accept(self) -> tuple[list[float], list[float]]:
        ours, peers = [], []
        for _ in range(self.rounds):
            self.clear()
            with self.site.gateway() as port:
                load(port, OURS, seconds=1)
                ours.append(load(port, OURS, seconds=self.seconds)["per_second"])
            self.clear()
            with self.site.endpoint() as port:
                load(port, PEERS, seconds=1)
                peers.append(load(port, PEERS, seconds=self.seconds)["per_second"])
        return ours, peers

    def run(self) -> tuple[list[float], list[float]]:
        ours, peers = [], []
        for _ in range(self.rounds):
            self.clear()
            with self.site.gateway() as port:
                load(port, OURS, seconds=60, requests=int(8000 * self.seconds))
            with self.site.worker():
                ours.append(self.rate(self.ours_ended, share=int(8000 * self.seconds)))
            self.clear()
            with self.site.endpoint() as port:
                load(port, PEERS, seconds=60, requests=int(300 * self.seconds))
            with self.site.simple_worker():
                peers.append(self.rate(self.peers_ended, share=int(300 * self.seconds)))
        return ours, peers

    def rate(self, ended: Callable[[], int], *, share: int) -> float:
        """Ends a second between the first tenth and nine tenths of `share`: neither start nor tail."""
        low, high = share // 10, share * 9 // 10
        wait_for(lambda: ended() >= low, "first tenth", 120)
        first, started = ended(), time.perf_counter()
        wait_for(lambda: ended() >= high, "nine tenths", 120)
        return round((ended() - first) / (time.perf_counter() - started), 1)

    def end_to_end(self) -> tuple[list[float], list[float]]:
        ours, peers = [], []
        for _ in range(self.rounds):
            self.clear()
            with self.site.gateway() as port, self.site.worker():
                load(port, OURS, seconds=10, requests=200)
                wait_for(lambda: self.ours_ended() >= 200, "warm-up")
                ours.append(self.flow(port, OURS, self.ours_ended, requests=int(2500 * self.seconds)))
            self.clear()
            with self.site.endpoint() as port, self.site.simple_worker():
                load(port, PEERS, seconds=10, requests=70)
                wait_for(lambda: self.peers_ended() >= 70, "warm-up")
                peers.append(self.flow(port, PEERS, self.peers_ended, requests=int(150 * self.seconds)))
        return ours, peers

    def flow(self, port: int, path: str, ended: Callable[[], int], *, requests: int) -> float:
        before, started = ended(), time.perf_counter()
        load(port, path, seconds=120, requests=requests)
        wait_for(lambda: ended() - before >= requests, "all completed", 120)
        return round(requests / (time.perf_counter() - started), 1)


def describe(question: str, row: dict[str, Any]) -> str:
    return (
        f"{question:<12} iogate {row['iogate']:>9}/s   by hand {row['byHand']:>9}/s   {row['ratio']} times"
        f"   rounds {row['iogateRounds']} {row['byHandRounds']}"
    )


def main() -> None:
    # So that the store and the processes of a measurement end with it, also at the time limit of a caller.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if (others := OTHERS.get(sys.argv[1] if len(sys.argv) > 1 else "")) is not None:
        others(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--only", choices=["accept", "run", "end_to_end"])
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="iogate-bench-") as name, redis_server(Path(name)) as store:
        bench = Bench(Site(Path(name), store), rounds=arguments.rounds, seconds=arguments.seconds)
        figures = {}
        for question in ("accept", "run", "end_to_end"):
            if arguments.only in (None, question):
                ours, peers = getattr(bench, question)()
                figures[question] = {
                    "iogate": statistics.median(ours),
                    "byHand": statistics.median(peers),
                    "ratio": round(statistics.median(ours) / statistics.median(peers), 1),
                    "iogateRounds": ours,
                    "byHandRounds": peers,
                }
                if not arguments.json:
                    print(describe(question, figures[question]), flush=True)
        if arguments.json:
            print(json.dumps({"schema": "iogate.bench/v1", **figures}))


if __name__ == "__main__":
    main()
