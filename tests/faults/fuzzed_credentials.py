"""`python -m tests.faults.fuzzed_credentials`: fuzzed credentials, methods, paths and headers.

A real gateway has an API of every form of authentication, and receives requests that are valid by
construction, or have one or more mutations, over kept-alive connections from many addresses. For each
request the generator knows whether it may be accepted, and whether it must be. Ends with 1 if a request was
accepted that must not be, if the store has a run that no response has named, if a valid request was refused,
or if a status is 5xx; and unless credentials of another API get exactly a 404 for a run. It takes about four
minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from iogate.store.embedded.server import temporary_server
from iogate.store.store import Store, open_store
from tests.faults import raw_http
from tests.faults.fuzzed_requests import Fuzzed, Generator, Run
from tests.faults.fuzzed_targets import ENVIRONMENT
from tests.gateway.driver import announced, listening, publish, spawn, until
from tests.keys import RING

BLOCK = 100
"""Requests of one address, which may send twenty wrong credentials that cost a hash."""
CONNECTIONS = 16


@dataclass(kw_only=True)
class Found:
    """Results of all requests."""

    seed: int
    requests: int = 0
    seconds: float = 0.0
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    """By kind of request and status, 0 for a closed connection."""
    wrong: list[str] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    valid: int = 0
    """Requests that must be accepted."""
    uids: set[str] = field(default_factory=set)
    runs: int = 0
    """Runs in the store, except those of the preparation."""

    @property
    def accepted(self) -> int:
        """Number of calls with a 202."""
        return sum(
            count for (kind, status), count in self.statuses.items() if status == 202 and kind != "cancel"
        )

    @property
    def holds(self) -> bool:
        return not self.faults and self.runs == len(self.uids) and 0 < self.valid < self.requests

    def table(self) -> str:
        kinds = sorted({kind for kind, _ in self.statuses})
        statuses = sorted({status for _, status in self.statuses})
        lines = [
            f"{'seed ' + str(self.seed):<22}" + "".join(f"{status or 'closed':>8}" for status in statuses)
        ]
        lines += [
            f"{kind:<22}" + "".join(f"{self.statuses[kind, status] or '':>8}" for status in statuses)
            for kind in kinds
        ]
        totals = [sum(self.statuses[kind, status] for kind in kinds) for status in statuses]
        lines.append(f"{'total ' + str(self.requests):<22}" + "".join(f"{total:>8}" for total in totals))
        lines.append(f"{self.valid} must be accepted, {self.accepted} calls were")
        lines.append(f"runs {self.runs}, uids of responses {len(self.uids)}, {self.seconds:.0f} s")
        lines += [f"FAULT {count:>5} x {name}" for name, count in self.faults.most_common()]
        return "\n".join(lines + [f"  {each}" for each in self.wrong[:20]])

    def judge(self, sent: Fuzzed, got: raw_http.Response | None) -> None:
        """Compare a response with those that are right; None is a closed connection."""
        status = got.status if got is not None else 0
        self.requests += 1
        self.valid += sent.must
        self.statuses[sent.kind, status] += 1
        fault = ""
        accepted = status in {200, 201, 202}
        if got is not None and status == 202 and b'"uid"' in got.body and sent.kind != "cancel":
            self.uids.add(got.body.rpartition(b'"uid":"')[2].partition(b'"')[0].decode())
        if status >= 500:
            fault = "5xx"
        elif accepted and not sent.may:
            fault = "accepted, and must not be"
        elif status == 0 and not sent.malformed:
            fault = "closed without a response"
        elif sent.must and not accepted and status != 429:
            fault = "refused, and is valid"
        elif sent.exactly is not None and status not in {sent.exactly, 429}:
            fault = f"not {sent.exactly}"
        if fault:
            self.faults[f"{fault}: {sent.kind}"] += 1
            self.wrong.append(f"{fault}: {status} to {sent.data[:300]!r}, {got.body[:120] if got else b''!r}")


async def _send(found: Found, generator: Generator, port: int, blocks: list[int], left: list[int]) -> None:
    """Send blocks of requests, each from an address of its own."""
    while blocks:
        block = blocks.pop()
        chance = random.Random(f"{found.seed}-{block}")
        address = (f"127.{1 + block // 60_000}.{block // 250 % 250}.{1 + block % 250}", 0)
        reader = writer = None
        for _ in range(left[block]):
            sent = generator.next(chance)
            if writer is None:
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", port, local_addr=address, limit=1 << 18
                )
            assert reader is not None
            got = None
            try:
                writer.write(sent.data)
                got = await raw_http.response(reader, sent.method)
            except (*raw_http.BROKEN, ValueError):
                pass
            found.judge(sent, got)
            if got is None or got.closes or sent.malformed or b" HTTP/1.0\r\n" in sent.data[:9_000]:
                writer.transport.abort()
                writer = None
        if writer is not None:
            writer.close()


async def _prepared(store: Store, generator: Generator, port: int) -> list[Run]:
    """Return a run of each target that has callers."""
    chance, runs = random.Random(0), []
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for target in generator.targets:
        if target.is_closed:
            continue
        writer.write(generator.good(target, chance).data)
        got = await raw_http.response(reader)
        if got.status == 200:  # the test of a webhook, which starts no run
            continue
        assert got.status == 202, (target.name, got)
        uid = got.headers["location"].rpartition("/")[2].partition("?")[0]
        runs.append(Run(target=target, uid=uid, link=got.headers["location"]))
    writer.close()
    assert sum((await store.runs.counts()).values()) == len(runs)
    return runs


async def campaign(url: str, folder: Path, *, requests: int, seed: int) -> Found:
    """Return the results of so many requests."""
    store = await open_store(url, client_name="fuzzed_credentials", keyring=RING)
    await store.call("FLUSHALL")
    found = Found(seed=seed)
    with listening() as on:
        port = on.getsockname()[1]
        targets = Generator(port, []).targets
        await publish(store, *(each.api() for each in targets))
        os.environ.update(ENVIRONMENT)
        gateway = spawn(url, on, folder)
        try:
            await until(lambda: announced(store, gateway), 60.0)
            runs = await _prepared(store, Generator(port, []), port)
            generator = Generator(port, runs)
            counts = [min(BLOCK, requests - first) for first in range(0, requests, BLOCK)]
            blocks = list(reversed(range(len(counts))))
            began_s = time.monotonic()
            async with asyncio.TaskGroup() as group:
                for _ in range(CONNECTIONS):
                    group.create_task(_send(found, generator, port, blocks, counts))
            found.seconds = time.monotonic() - began_s
            found.runs = sum((await store.runs.counts()).values()) - len(runs)
            if gateway.process.poll() is not None:
                found.faults["the gateway ended"] += 1
        finally:
            gateway.stop()
            await store.close()
            for name in ENVIRONMENT:
                os.environ.pop(name, None)
    return found


async def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.fuzzed_credentials", description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    given = parser.parse_args(arguments)
    with temporary_server() as server, tempfile.TemporaryDirectory() as folder:
        found = await campaign(server.url, Path(folder), requests=given.requests, seed=given.seed)
    print(found.table())
    return 0 if found.holds else 1


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(asyncio.run(main(sys.argv[1:])))
