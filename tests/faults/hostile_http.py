"""`python -m tests.faults.hostile_http`: a good client of a gateway beside hostile ones, and malformed JSON.

One gateway serves plain HTTP/1.1, another one TLS and HTTP/2. First every JSON text gets its status, and
keeps its value if it is accepted. Then each attack runs in a process of its own: the good client calls and
reads in several windows before it and during it. Ends with 1 if a response is a 5xx other than the 503
of an attacker, if a gateway ends, if its memory grows by more than 50 MiB, or if an attack doubles the p99 of
the good client (median of its windows). With all attacks it takes about twelve minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import ssl
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Final

from iogate.compiler.revision import Limits
from iogate.store.embedded.server import temporary_server
from iogate.store.store import Store, open_store
from tests import certificates
from tests.faults import hostile_clients, hostile_http2, hostile_json, raw_http
from tests.faults.hostile_clients import Scene, as_call
from tests.faults.raw_http import MIB, p99
from tests.gateway.driver import Gateway, announced, api, listening, publish, spawn, until
from tests.keys import RING
from tests.store.builders import accepted, commit

GROWTH: Final = 50 * MIB
GROWTH_IN_ALL: Final = 2 * GROWTH
"""Of all attacks: the allocator keeps most of what one has taken, in pieces that fit the next one badly."""
GOOD: Final = json.dumps({"lines": [{"sku": f"A-{n}", "amount": n} for n in range(20)]}).encode()
LARGE: Final = json.dumps({"lines": [{"sku": f"A-{n}", "text": "x" * 70} for n in range(9_000)]}).encode()
GOOD_API: Final = api("good/one", input_schema={"type": "object"}, limits=Limits(queued=10_000_000))
HOSTILE_API: Final = api("hostile/one", limits=Limits(queued=10_000_000))
ENTRIES: Final = 1_000
"""Entries of the long journal."""
PAUSE_S: Final = 0.02
RAMP_S: Final = 3.0
BEGINS_S: Final = 20.0
"""Most time until an attack has opened its first connection."""
PLAIN, TLS = hostile_clients.ATTACKS, hostile_http2.ATTACKS
ATTACKS: Final = {**PLAIN, **TLS}


@dataclass(kw_only=True)
class Trial:
    """Figures of one attack."""

    name: str
    alone_s: list[float] = field(default_factory=list)
    """The p99 of each window without the attack."""
    beside_s: list[float] = field(default_factory=list)
    """The p99 of each window with it."""
    medians_s: tuple[float, float] = (0.0, 0.0)
    """Medians of all calls, without and with the attack."""
    grown: int = 0
    """Bytes of the gateway and its validation process since before the attack."""
    grown_in_all: int = 0
    """The same since the start of the campaign."""
    seen: Counter[str] = field(default_factory=Counter)
    unavailable: int = 0
    """Requests of the good client during the attack that got a 503."""

    @property
    def ratio(self) -> float:
        return statistics.median(self.beside_s) / statistics.median(self.alone_s)

    @property
    def faults(self) -> list[str]:
        """Reasons why the attack succeeded, except that it slowed the good client down."""
        found = [
            f"{count} x {name}" for name, count in self.seen.items() if name.startswith("5") and name != "503"
        ]
        found += [f"{self.unavailable} x 503 for the good client"] if self.unavailable else []
        found += ["memory"] if self.grown > GROWTH or self.grown_in_all > GROWTH_IN_ALL else []
        return found if self.seen["opened"] else [*found, "no connection"]

    def line(self) -> str:
        alone, beside = (statistics.median(each) * 1e3 for each in (self.alone_s, self.beside_s))
        p50 = "/".join(f"{each * 1e3:.1f}" for each in self.medians_s)
        return (
            f"{self.name:<24}{alone:9.1f}{beside:9.1f}{self.ratio:7.2f}  {p50:>11}{self.grown / MIB:9.1f}"
            f"{self.grown_in_all / MIB:8.1f}  {dict(self.seen.most_common())}"
        )


TITLE: Final = (
    f"{'attack':<24}{'alone ms':>9}{'beside':>9}{'ratio':>7}  {'p50 ms':>11}{'MiB':>9}{'in all':>8}  seen"
)


@dataclass(kw_only=True)
class Found:
    """Results of the campaign."""

    texts: Counter[str] = field(default_factory=Counter)
    """Statuses of JSON texts, by the set that they belong to."""
    wrong_texts: list[str] = field(default_factory=list)
    trials: list[Trial] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    """Gateways that no longer work after the attacks."""

    @property
    def survives(self) -> bool:
        """Whether all is right except, perhaps, the speed of the good client."""
        return not self.wrong_texts and not self.ended and not any(each.faults for each in self.trials)

    @property
    def holds(self) -> bool:
        return self.survives and all(each.ratio < 2 for each in self.trials)

    def table(self) -> str:
        lines = [f"JSON texts: {dict(sorted(self.texts.items()))}"]
        lines += [f"  WRONG {each}" for each in self.wrong_texts[:20]]
        lines += [TITLE, *(each.line() for each in self.trials)] if self.trials else []
        lines += [f"FAULT {each.name}: {', '.join(each.faults)}" for each in self.trials if each.faults]
        lines += [f"SLOW  {each.name}: {each.ratio:.2f}" for each in self.trials if each.ratio >= 2]
        return "\n".join(lines + [f"FAULT the gateway of {each} does not work" for each in self.ended])


class GoodClient:
    """A client with one connection that calls and reads its run, 50 times a second at most."""

    def __init__(self, port: int, *, tls: bool) -> None:
        self._port, self._tls = port, tls
        self.unavailable = 0
        """Responses with the status 503."""

    async def calls(self, seconds: float, body: bytes = GOOD) -> list[float]:
        """Return the seconds of each request.

        Raises AssertionError for a status that is neither a success nor 503.
        """
        context: ssl.SSLContext | None = None
        if self._tls:
            context = hostile_http2.untrusting()
            context.set_alpn_protocols(["http/1.1"])
        reader, writer = await asyncio.open_connection(
            "127.0.0.1",
            self._port,
            local_addr=("127.0.0.2", 0),
            limit=MIB,
            ssl=context,
            server_hostname="localhost" if self._tls else None,
        )
        headers = [("host", "localhost"), ("content-type", "application/json")]
        call = raw_http.request("POST", "/v1/api/good/one/async", headers, body)
        found: list[float] = []
        try:
            ends_s = time.perf_counter() + seconds
            while len(found) < 2 or time.perf_counter() < ends_s:  # p99 needs two
                data = call
                for _ in range(2):
                    began_s = time.perf_counter()
                    writer.write(data)
                    got = await raw_http.response(reader)
                    found.append(time.perf_counter() - began_s)
                    assert got.status in {200, 202, 503}, got
                    if got.status == 503:
                        self.unavailable += 1
                        break
                    data = raw_http.request("GET", got.headers.get("location", ""), headers)
                await asyncio.sleep(PAUSE_S)
        finally:
            writer.transport.abort()  # a closing handshake of TLS could outlive the event loop
        return found


class Memory:
    """Resident memory of a gateway and its validation process, at most."""

    def __init__(self, gateway: Gateway) -> None:
        self._pid = gateway.process.pid
        self.first = self.most = 0

    def look(self) -> int:
        """Note the memory of this moment, and return it."""
        now = sum(raw_http.resident(each) for each in [self._pid, *raw_http.children(self._pid)])
        self.first = self.first or now
        self.most = max(self.most, now)
        return now

    async def watch(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(0.1)


@asynccontextmanager
async def attacking(
    name: str, scene: Scene, clients: int, seen: Counter[str], *, apart: bool
) -> AsyncIterator[None]:
    """Attack meanwhile, in a process of its own if `apart`; then add what its clients have seen."""
    if not apart:
        attack = asyncio.ensure_future(ATTACKS[name][0](scene, clients, seen))
        begins_s = time.perf_counter() + BEGINS_S
        try:
            while not (seen["opened"] or attack.done() or time.perf_counter() > begins_s):
                await asyncio.sleep(0.01)
            yield
        finally:
            attack.cancel()
            await asyncio.gather(attack, return_exceptions=True)
        return
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.faults.hostile_http", "--child", name),
        *("--scene", json.dumps(asdict(scene)), "--clients", str(clients)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        await process.stdout.readline()
        await asyncio.sleep(RAMP_S)
        yield
    finally:
        output, _ = await process.communicate(b"\n")
        seen.update(json.loads(output))


async def child(name: str, scene: Scene, clients: int) -> None:
    """Attack until the parent sends a line, and print what the clients have seen."""
    seen: Counter[str] = Counter()
    attack = asyncio.ensure_future(ATTACKS[name][0](scene, clients, seen))
    print("attacking", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    failed = attack.done() and attack.exception()
    attack.cancel()
    await asyncio.gather(attack, return_exceptions=True)
    if failed:
        raise failed
    print(json.dumps(seen))


async def json_texts(port: int, found: Found) -> None:
    """Send each text once, and read the accepted ones back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=4 * MIB)
    sets = {
        "accepted": ({202}, hostile_json.accepted()),
        "refused": ({400}, hostile_json.refused()),
        "either": ({202, 400}, hostile_json.either()),
    }
    for expected, (statuses, texts) in sets.items():
        for name, text in texts.items():
            writer.write(as_call(text))
            got = await raw_http.response(reader)
            found.texts[f"{expected} {got.status}"] += 1
            if got.status not in statuses:
                found.wrong_texts.append(f"{expected}, {name}: {got.status} {text[:60]!r} {got.body[:100]!r}")
            elif expected == "accepted":
                writer.write(raw_http.request("GET", got.headers["location"], [("host", "localhost")]))
                shown = await raw_http.response(reader)
                if shown.status != 200 or json.loads(shown.body)["response"]["input"] != json.loads(text):
                    found.wrong_texts.append(f"changed, {name}: {text[:60]!r} {shown.body[:300]!r}")
    writer.close()


async def _scene(store: Store, port: int) -> Scene:
    """Start the runs that attacks read: one with a long journal, and one with a large input."""
    intake = store.intake()
    ended, waiting, large = [await accepted(intake, GOOD_API, input=body) for body in (b"{}", b"{}", LARGE)]
    claims = {each.uid: each for each in (await store.leases.take("w1", 10)).claims}
    entry = {"at": 1, "kind": "task.started", "reference": "/do/0/" + "r" * 100, "name": "n" * 100}
    journal = [json.dumps(entry).encode()] * ENTRIES
    commits = [
        commit(claims[ended], "end", journal=journal),
        commit(claims[waiting], "park", journal=journal),
    ]
    assert all(each.applied for each in await store.leases.commit(commits))
    return Scene(
        port=port, ended=f"/v1/runs/{ended}", waiting=f"/v1/runs/{waiting}", large=f"/v1/runs/{large}"
    )


def _show_nothing(_line: str) -> None:
    return


@dataclass(frozen=True, kw_only=True)
class Effort:
    """Extent of a campaign."""

    seconds: float = 8.0
    """Length of a window."""
    windows: int = 3
    """Number of windows before each attack, and during it."""
    clients: int | None = None
    """Connections of each attack; None: as many as it says."""
    apart: bool = True
    """Whether each attack has a process of its own."""
    show: Callable[[str], object] = _show_nothing
    """Shows the figures of each attack when it has ended."""


async def _trial(name: str, scene: Scene, good: GoodClient, memory: Memory, effort: Effort) -> Trial:
    """Measure the good client without and with an attack."""
    trial = Trial(name=name)
    clients = effort.clients or ATTACKS[name][1]
    alone = [await good.calls(effort.seconds) for _ in range(effort.windows)]
    good.unavailable = 0
    before = memory.most = memory.look()
    async with attacking(name, scene, clients, trial.seen, apart=effort.apart):
        beside = [await good.calls(effort.seconds) for _ in range(effort.windows)]
    trial.unavailable = good.unavailable
    trial.alone_s, trial.beside_s = [p99(each) for each in alone], [p99(each) for each in beside]
    trial.medians_s = (statistics.median(chain(*alone)), statistics.median(chain(*beside)))
    trial.grown, trial.grown_in_all = memory.most - before, memory.most - memory.first
    return trial


async def _attack_gateway(
    url: str, folder: Path, found: Found, names: list[str], effort: Effort, settings: dict[str, Any]
) -> None:
    """Start a gateway, and measure all attacks of one kind."""
    store = await open_store(url, client_name="hostile_http", keyring=RING)
    await store.call("FLUSHALL")
    await publish(store, GOOD_API, HOSTILE_API)
    with listening() as on:
        gateway = spawn(url, on, folder, **settings)
        try:
            await until(lambda: announced(store, gateway), 60.0)
            good = GoodClient(gateway.port, tls="tls" in settings)
            scene = await _scene(store, gateway.port)
            await good.calls(min(1.0, effort.seconds))
            # The first large body starts the validation process: what it has then is no growth.
            await good.calls(0.1, LARGE)
            memory = Memory(gateway)
            memory.look()
            watching = asyncio.create_task(memory.watch())
            if "tls" not in settings:
                await json_texts(gateway.port, found)
            for name in names:
                trial = await _trial(name, scene, good, memory, effort)
                found.trials.append(trial)
                effort.show(trial.line())
                if gateway.process.poll() is not None:
                    break
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await good.calls(0.2)
        except (*raw_http.BROKEN, AssertionError) as error:
            found.ended.append(f"{', '.join(names)}: {error!r}")
        finally:
            gateway.stop()
            await store.close()


async def campaign(url: str, folder: Path, *, names: list[str], effort: Effort) -> Found:
    """Return the results of these attacks, and of the JSON texts unless all attacks are over TLS."""
    found = Found()
    if plain := [each for each in names if each in PLAIN]:
        await _attack_gateway(url, folder, found, plain, effort, {})
    if encrypted := [each for each in names if each in TLS]:
        cert, key = certificates.made(folder)
        settings = {"tls": json.dumps({"cert": str(cert), "key": str(key)}), "http2": "true"}
        await _attack_gateway(url, folder, found, encrypted, effort, settings)
    return found


async def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.hostile_http", description=__doc__)
    parser.add_argument(
        "--attacks", nargs="*", default=[*PLAIN, *TLS], choices=[*PLAIN, *TLS], metavar="NAME"
    )
    parser.add_argument("--seconds", type=float, default=8.0, help="length of a window of the good client")
    parser.add_argument("--windows", type=int, default=3, help="before and during each attack")
    parser.add_argument("--clients", type=int, help="connections of each attack")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--scene", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.child:
        await child(given.child, Scene(**json.loads(given.scene)), given.clients)
        return 0
    effort = Effort(
        seconds=given.seconds, windows=given.windows, clients=given.clients, show=partial(print, flush=True)
    )
    print(TITLE, flush=True)
    with temporary_server() as server, tempfile.TemporaryDirectory() as folder:
        found = await campaign(server.url, Path(folder), names=given.attacks, effort=effort)
    print(found.table())
    return 0 if found.holds else 1


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(asyncio.run(main(sys.argv[1:])))
