"""`python -m tests.faults.hostile_bodies`: 50 hostile bodies against 20 schemas, beside a good client.

A gateway of this process takes every pair; a ticker on its loop measures by the processor time of the thread
how long one callback held it, which other processes of the machine do not change. Then a real gateway serves
a good client, first alone and then beside hostile ones.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from iogate.store.embedded.server import temporary_server
from iogate.store.store import open_store
from tests.gateway.driver import World, announced, api, listening, opened, publish, spawn, until
from tests.keys import RING

MIB = 1024 * 1024
LIMIT = MIB
HOLD_S = 0.05
GROWTH = 64 * MIB


def _filled(item: bytes | Callable[[int], bytes], *, size: int = LIMIT - 64) -> bytes:
    """Return as many items as fit, with commas between them."""
    found: list[bytes] = []
    length, number = 0, 0
    while True:
        each = item if isinstance(item, bytes) else item(number)
        length += len(each) + 1
        if length > size:
            return b",".join(found)
        found.append(each)
        number += 1


def _list(item: bytes | Callable[[int], bytes], *, size: int = LIMIT - 64) -> bytes:
    return b"[" + _filled(item, size=size) + b"]"


def _map(member: bytes | Callable[[int], bytes], *, size: int = LIMIT - 64) -> bytes:
    return b"{" + _filled(member, size=size) + b"}"


def _deep(levels: int, *, opening: bytes = b"[", inner: bytes = b"", closing: bytes = b"]") -> bytes:
    return opening * levels + inner + closing * levels


SMALL = 31 * 1024
"""Below the size that leaves the loop."""
_RANDOM = random.Random(7)

BODIES: dict[str, Callable[[], bytes]] = {
    # Nested.
    "deep lists": lambda: _deep(LIMIT // 2),
    "deep lists, open": lambda: b"[" * LIMIT,
    "deep lists, closed": lambda: b"]" * LIMIT,
    "deep maps": lambda: _deep(LIMIT // 6, opening=b'{"a":', inner=b"1", closing=b"}"),
    "deep pairs": lambda: _deep(LIMIT // 9, opening=b'[{"a":', inner=b"1", closing=b"}]"),
    "64 levels, wide": lambda: _deep(62, inner=_list(b"{}", size=LIMIT - 200)),
    "64 levels, many": lambda: _list(_deep(60)),
    "64 maps, many": lambda: _list(_deep(60, opening=b'{"a":', inner=b"1", closing=b"}")),
    "comb": lambda: _list(b"[[][[]]]"),
    "18 maps": lambda: _deep(18, opening=b'{"a":', inner=b"1", closing=b"}"),
    "60 maps": lambda: _deep(60, opening=b'{"a":', inner=b"1", closing=b"}"),
    "60 lists": lambda: _deep(60),
    # Wide.
    "lines of {}": lambda: b'{"lines":' + _list(b"{}") + b"}",
    "{}": lambda: _list(b"{}"),
    "[]": lambda: _list(b"[]"),
    "zeros": lambda: _list(b"0"),
    "numbers": lambda: _list(lambda n: b"%d" % n),
    "floats": lambda: _list(lambda n: b"%d.5e3" % n),
    "long integers": lambda: _list(b"9" * 400),
    "nulls": lambda: _list(b"null"),
    "pairs": lambda: _list(lambda n: b'{"x":%d}' % n),
    "equal pairs": lambda: _list(b'{"x":4999}'),
    "last choice": lambda: _list(b"4999"),
    "small strings": lambda: _list(b'"aaaaaaaaaaaaaaaaaaaaaaaab"'),
    "empty strings": lambda: _list(b'""'),
    "dates": lambda: _list(b'"2026-01-01T00:00:00Z"'),
    "wrong dates": lambda: _list(b'"2026-01-41T00:00:00Z"'),
    "lists of lists": lambda: _list(_list(b"1", size=1000)),
    # Many errors.
    "lines of text": lambda: b'{"lines":' + _list(b'"x"') + b"}",
    "lines of nulls": lambda: b'{"lines":' + _list(b"null") + b"}",
    "wrong members": lambda: _map(lambda n: b'"k%d":"x"' % n),
    "31 KiB of {}": lambda: b'{"lines":' + _list(b"{}", size=SMALL) + b"}",
    "31 KiB of pairs": lambda: _list(b'{"x":4999}', size=SMALL),
    "31 KiB of strings": lambda: _list(b'"aaaaaaaaaaaaaaaaaaaaaaaab"', size=SMALL),
    "one member, large": lambda: b'{"a":' + _list(b"0") + b"}",
    # Long strings.
    "a": lambda: b'"' + b"a" * (LIMIT - 64) + b'"',
    "a, then b": lambda: b'{"text":"' + b"a" * (LIMIT - 64) + b'b"}',
    "31 KiB of a": lambda: b'{"text":"' + b"a" * SMALL + b'b"}',
    "escapes": lambda: b'"' + b"\\u0061" * (LIMIT // 6 - 10) + b'"',
    "quotes": lambda: b'"' + b'\\"' * (LIMIT // 2 - 10) + b'"',
    "open string": lambda: b'"' * (LIMIT - 1),
    "backslashes": lambda: b'"' + b"\\" * (LIMIT - 65) + b'"',
    "spaces": lambda: b" " * LIMIT,
    "spaces around": lambda: b" " * (LIMIT // 2) + b"{}" + b" " * (LIMIT // 2 - 2),
    # Many keys.
    "keys": lambda: _map(lambda n: b'"k%d":1' % n),
    "equal keys": lambda: _map(b'"k":1'),
    "random keys": lambda: _map(lambda n: b'"%x%d":1' % (_RANDOM.getrandbits(64), n)),
    "keys with slashes": lambda: _map(lambda n: b'"/~%d/":{}' % n),
    "maps of keys": lambda: _list(b'{"a":1,"b":2,"c":3,"d":4}'),
    "noise": lambda: _RANDOM.randbytes(LIMIT),
}

_NODE = {"anyOf": [{"properties": {"a": {"$ref": "#/$defs/n"}}, "required": [name]} for name in ("y", "z")]}

SCHEMAS: dict[str, Any] = {
    "anything": True,
    "lines": {
        "properties": {"lines": {"type": "array", "items": {"type": "object", "required": ["sku"]}}},
        "type": "object",
    },
    "unique": {"uniqueItems": True, "additionalProperties": {"uniqueItems": True}},
    "pattern": {"items": {"pattern": "^(a|aa)+$"}, "properties": {"text": {"pattern": "^(a+)+$"}}},
    "backtracking": {
        "items": {"pattern": "^(?=a)(a|aa)+$"},
        "properties": {"text": {"pattern": "^(?!b)(a+)+$"}},
    },
    "tree": {
        "$defs": {"n": {"items": {"$ref": "#/$defs/n"}, "additionalProperties": {"$ref": "#/$defs/n"}}},
        "$ref": "#/$defs/n",
        "type": "object",
    },
    "exponential": {"$defs": {"n": _NODE}, "$ref": "#/$defs/n"},
    "product": {"items": {"oneOf": [{"anyOf": [{"minimum": a + b} for a in range(8)]} for b in range(8)]}},
    "objects to choose": {"items": {"enum": [{"x": n} for n in range(5000)]}},
    "numbers to choose": {"items": {"enum": list(range(5000))}},
    "closed": {"properties": {"a": {}}, "additionalProperties": False, "items": {"maxProperties": 0}},
    "unevaluated": {
        "allOf": [{"properties": {"a": {}}, "prefixItems": [{}]}],
        "unevaluatedProperties": False,
        "unevaluatedItems": False,
    },
    "contains": {"contains": {"const": {"x": -1}}, "minContains": 5},
    "much required": {"required": [f"n{n}" for n in range(1000)]},
    "formats": {"items": {"type": "string", "format": "date-time"}},
    "names": {"propertyNames": {"pattern": "^[a-z]{1,3}$"}, "maxProperties": 10},
    "conditions": {"items": {"if": {"required": ["x"]}, "then": {"minProperties": 9}, "else": False}},
    "short": {"type": "string", "maxLength": 5, "properties": {"text": {"maxLength": 5}}},
    "dependent": {"dependentSchemas": {"a": {"maxProperties": 0}}, "additionalProperties": {"minLength": 2}},
    "levels": {"items": {"items": {"items": {"items": {"allOf": [{"type": "string"}, {"minLength": 3}]}}}}},
}


@dataclass(kw_only=True)
class Trial:
    """Figures of one pair."""

    body: str
    schema: str
    status: int
    seconds: float
    held_s: float


@dataclass(kw_only=True)
class Campaign:
    """Figures of all pairs."""

    trials: list[Trial] = field(default_factory=list)
    grown: int = 0
    """Bytes of this process over those it had before the first pair."""
    grown_beside: int = 0
    """The same of its validation process."""

    @property
    def held_s(self) -> float:
        return max(trial.held_s for trial in self.trials)

    def table(self) -> str:
        worst = sorted(self.trials, key=lambda trial: -trial.held_s)[:5]
        slowest = sorted(self.trials, key=lambda trial: -trial.seconds)[:5]
        statuses = Counter(trial.status for trial in self.trials)
        return "\n".join(
            [
                f"{len(self.trials)} pairs, statuses {dict(statuses)}, grown by {self.grown / MIB:.0f} MiB, "
                f"validation by {self.grown_beside / MIB:.0f} MiB",
                *(f"loop held {t.held_s * 1e3:6.1f} ms  {t.status}  {t.schema} / {t.body}" for t in worst),
                *(f"response {t.seconds * 1e3:8.1f} ms  {t.status}  {t.schema} / {t.body}" for t in slowest),
            ]
        )


def _resident(pid: int | str = "self") -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) * 1024
    return 0


class Ticker:
    """Measures how long the loop is held, and the memory of the gateway."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.held_s = 0.0
        self.most = 0
        self.most_beside = 0

    def look(self) -> None:
        """Note the memory of the gateway and of its validation process."""
        process = self._world.live.validation.process_id
        self.most = max(self.most, _resident())
        self.most_beside = max(self.most_beside, _resident(process) if process is not None else 0)

    async def run(self) -> None:
        last_s, ticks = time.thread_time(), 0
        while True:
            await asyncio.sleep(0.001)
            now_s = time.thread_time()
            self.held_s = max(self.held_s, now_s - last_s)
            ticks += 1
            if ticks % 10 == 0:
                self.look()
            last_s = time.thread_time()


@contextlib.asynccontextmanager
async def measured(world: World) -> AsyncIterator[Ticker]:
    ticker = Ticker(world)
    ticking = asyncio.create_task(ticker.run())
    try:
        yield ticker
    finally:
        ticking.cancel()
        await asyncio.gather(ticking, return_exceptions=True)


def apis(schemas: Iterable[str]) -> list[Any]:
    return [api(f"hostile/s{list(SCHEMAS).index(name)}", input_schema=SCHEMAS[name]) for name in schemas]


async def every_pair(world: World, bodies: Iterable[str], schemas: Iterable[str]) -> Campaign:
    """Send each body to an API of each schema."""
    names = list(schemas)
    await world.publish(*apis(names))
    campaign = Campaign()
    # The first large body starts the process: what it has then is no growth.
    await world.ask("/v1/api/hostile/s0/async", "POST", body=b" " * LIMIT)
    async with measured(world) as ticker:
        ticker.look()
        before, before_beside = ticker.most, ticker.most_beside
        for body in bodies:
            content = BODIES[body]()
            assert len(content) <= LIMIT, body
            for name in names:
                await asyncio.sleep(0.002)
                ticker.held_s = 0.0
                started_s = time.perf_counter()
                reply = await world.ask(
                    f"/v1/api/hostile/s{list(SCHEMAS).index(name)}/async",
                    "POST",
                    {"content-type": "application/json"},
                    content,
                )
                seconds = time.perf_counter() - started_s
                await asyncio.sleep(0.002)
                campaign.trials.append(
                    Trial(body=body, schema=name, status=reply.status, seconds=seconds, held_s=ticker.held_s)
                )
        campaign.grown = ticker.most - before
        campaign.grown_beside = ticker.most_beside - before_beside
    return campaign


async def attack(
    port: int, bodies: list[bytes], paths: list[str], *, clients: int, stop: asyncio.Event | None
) -> int:
    """Send hostile bodies from several connections until told to stop, or one from each."""
    sent = 0

    async def one(number: int) -> None:
        nonlocal sent
        choice = random.Random(number)
        while stop is None or not stop.is_set():
            content, path = choice.choice(bodies), choice.choice(paths)
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                head = (
                    f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(content)}\r\n"
                    "content-type: application/json\r\nconnection: close\r\n\r\n"
                )
                writer.write(head.encode() + content)
                await writer.drain()
                await reader.read()
                writer.close()
                sent += 1
            if stop is None:
                return

    await asyncio.gather(*(one(number) for number in range(clients)))
    return sent


async def good(port: int, seconds: float) -> list[float]:
    """Latencies of one client that calls 50 times a second."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    content = b'{"sku":"A-1"}'
    request = (
        b"POST /v1/api/good/one/async HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\n\r\n%s" % (len(content), content)
    )
    latencies: list[float] = []
    ends_s = time.perf_counter() + seconds
    while time.perf_counter() < ends_s:
        started_s = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        assert head.startswith(b"HTTP/1.1 202"), head
        latencies.append(time.perf_counter() - started_s)
        await asyncio.sleep(0.02)
    writer.close()
    return latencies


def p99(latencies: list[float]) -> float:
    return statistics.quantiles(latencies, n=100)[-1]


@dataclass(kw_only=True)
class Beside:
    """Figures of a real gateway whose good client has hostile neighbours: medians of several rounds."""

    alone_s: float
    attacked_s: float
    sent: int
    """Hostile bodies."""
    grown: int
    """Bytes of the gateway."""
    grown_beside: int
    """Bytes of its validation process."""


def _children(pid: int) -> int:
    """Return the resident bytes of the children of a process."""
    found: set[str] = set()
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            found |= set((thread / "children").read_text(encoding="ascii").split())
    return sum(_resident(int(child)) for child in found)


async def _watch(pid: int, stop: asyncio.Event) -> tuple[int, int]:
    own, children = 0, 0
    while not stop.is_set():
        own, children = max(own, _resident(pid)), max(children, _children(pid))
        await asyncio.sleep(0.02)
    return own, children


async def good_client(url: str, folder: Path, *, seconds: float, clients: int, rounds: int) -> Beside:
    """Measure a good client of a real gateway, in turn alone and beside hostile ones."""
    store = await open_store(url, client_name="hostile", keyring=RING)
    await store.call("FLUSHALL")
    good_api = api("good/one", input_schema={"type": "object", "required": ["sku"]})
    await publish(store, *apis(SCHEMAS), good_api)
    bodies = [make() for make in BODIES.values()]
    paths = [f"/v1/api/hostile/s{number}/async" for number in range(len(SCHEMAS))]
    alone: list[float] = []
    attacked: list[float] = []
    total = 0
    with listening() as on:
        gateway = spawn(url, on, folder)
        try:
            await until(lambda: announced(store, gateway))
            await good(gateway.port, 1.0)
            # The first large body starts the validation process: what it has then is no growth.
            await attack(gateway.port, [b" " * LIMIT], paths[:1], clients=1, stop=None)
            pid = gateway.process.pid
            before, before_beside = _resident(pid), _children(pid)
            ended = asyncio.Event()
            watching = asyncio.create_task(_watch(pid, ended))
            for _ in range(rounds):
                alone.append(p99(await good(gateway.port, seconds)))
                stop = asyncio.Event()
                attacking = asyncio.create_task(
                    attack(gateway.port, bodies, paths, clients=clients, stop=stop)
                )
                try:
                    attacked.append(p99(await good(gateway.port, seconds)))
                finally:
                    stop.set()
                    total += await attacking
            ended.set()
            most, most_beside = await watching
        finally:
            gateway.stop()
            await store.close()
    return Beside(
        alone_s=statistics.median(alone),
        attacked_s=statistics.median(attacked),
        sent=total,
        grown=most - before,
        grown_beside=most_beside - before_beside,
    )


async def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.hostile_bodies", description=__doc__)
    parser.add_argument("--bodies", nargs="*", default=list(BODIES), metavar="BODY")
    parser.add_argument("--schemas", nargs="*", default=list(SCHEMAS), metavar="SCHEMA")
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="of the good client in each round, alone and beside"
    )
    parser.add_argument("--rounds", type=int, default=5, help="whose medians are taken")
    parser.add_argument("--clients", type=int, default=2, help="hostile connections beside the good client")
    given = parser.parse_args(arguments)
    with temporary_server() as server, tempfile.TemporaryDirectory() as folder:
        store = await open_store(server.url, client_name="hostile", keyring=RING)
        async with opened(store) as world:
            campaign = await every_pair(world, given.bodies, given.schemas)
        await store.close()
        print(campaign.table(), flush=True)
        beside = await good_client(
            server.url, Path(folder), seconds=given.seconds, clients=given.clients, rounds=given.rounds
        )
    figures = {
        "held_ms": round(campaign.held_s * 1e3, 1),
        "grown_mib": round(beside.grown / MIB, 1),
        "grown_validation_mib": round(beside.grown_beside / MIB, 1),
        "p99_alone_ms": round(beside.alone_s * 1e3, 2),
        "p99_beside_ms": round(beside.attacked_s * 1e3, 2),
        "hostile_bodies": beside.sent,
    }
    print(json.dumps(figures))
    holds = campaign.held_s < HOLD_S and beside.grown < GROWTH and beside.attacked_s < 2 * beside.alone_s
    return 0 if holds else 1


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(asyncio.run(main(sys.argv[1:])))
