"""`python -m tests.faults.holds`: callers that send their bodies slowly while an API is held and disabled.

Real gateways and a real worker, whose runs each call a counting server once. Many callers send their bodies
in pieces, for longer than a switch takes; meanwhile the API is put on hold, disabled and enabled again by the
command line. Times are those of the store. Ends with 1 if a call was accepted after `disable` had returned,
if a run started between a hold and its release, or if an accepted call did not run exactly once. 20 rounds
take about five minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from iogate.compiler.revision import Limits
from iogate.settings import Settings
from iogate.store.embedded.server import temporary_server
from iogate.store.store import Store, open_store
from tests.faults import raw_http
from tests.gateway.driver import announced, listening, spawn, until
from tests.http_server import HttpServer
from tests.keys import LINK_KEY, RING
from tests.worker.site import ROOT, Site, workflow

NAME: Final = "test/count"
PIECES: Final = 8
LONGEST: Final = 2
"""Number of calls that end only after the first release, however fast the others are."""
ENDS_S: Final = 60.0

Switch = Callable[[str], Awaitable[None]]
"""Executes `disable --hold` ("hold"), `disable` or `enable`."""


@dataclass
class Effects(HttpServer):
    """Counts the calls of the runs by the number of the caller's call."""

    calls: Counter[int] = field(default_factory=Counter)

    async def respond(self, path: str, headers: dict[str, str], body: bytes) -> bytes:
        assert path
        assert headers
        self.calls[json.loads(body)["number"]] += 1
        return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call, by the clock of the caller."""

    number: int
    status: int
    uid: str = ""
    began_s: float
    answered_s: float


@dataclass(kw_only=True)
class Found:
    """Results of all rounds."""

    rounds: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    """0: the gateway closed the connection of a refused call before its body had arrived."""
    across: Counter[str] = field(default_factory=Counter)
    """Calls that began before a switch, or before all, and got their response after it."""
    held: int = 0
    """Runs that were accepted on hold, or waited for the release."""
    late: int = 0
    """Calls that were accepted between the return of `disable` and the release."""
    kept_out: int = 0
    """Calls of that time that got a 403."""
    early: int = 0
    """Runs that started on hold."""
    lost: int = 0
    """Accepted calls whose run did not complete."""
    repeated: int = 0
    """Accepted calls that did not run exactly once, and refused ones that ran."""
    unknown: int = 0
    """Runs of the store that no response has named."""

    @property
    def holds(self) -> bool:
        faults = self.late + self.early + self.lost + self.repeated + self.unknown
        tried = self.held and self.kept_out and self.across["all"]
        return not faults and set(self.statuses) <= {0, 202, 403} and tried > 0

    def table(self) -> str:
        return raw_http.table(
            [
                ("rounds of hold, disable and release", self.rounds),
                ("calls by status", dict(self.statuses)),
                ("calls under way across a switch", dict(self.across)),
                ("runs that waited for the release", self.held),
                ("calls refused while disabled", self.kept_out),
                ("accepted after disable had returned", self.late),
                ("started on hold", self.early),
                ("accepted, and not completed", self.lost),
                ("not run exactly once", self.repeated),
                ("runs that no response has named", self.unknown),
            ]
        )


class Callers:
    """Callers that each make one slow call after the other, on connections of their own."""

    def __init__(self, port: int, count: int, slowest_s: float) -> None:
        self.calls: list[Call] = []
        self.released = asyncio.Event()
        """Set after the first release."""
        self._port, self._slowest_s = port, slowest_s
        self._number = 0
        self._stopping = False
        self._tasks = [asyncio.create_task(self._run()) for _ in range(count)]

    async def stop(self) -> None:
        """Let the calls that are under way end."""
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def _run(self) -> None:
        while not self._stopping:
            self._number += 1
            self.calls.append(await self._call(self._number))

    async def _call(self, number: int) -> Call:
        body = json.dumps({"number": number, "text": "x" * 200}).encode()
        headers = [("host", "localhost"), ("content-type", "application/json"), ("connection", "close")]
        sent = raw_http.request("POST", f"/v1/api/{NAME}/async", headers, body)
        pause_s = random.uniform(0.0, self._slowest_s) / PIECES
        began_s = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        head = len(sent) - len(body)
        size = -(-len(body) // PIECES)
        writer.write(sent[:head])
        response = asyncio.create_task(raw_http.response(reader))
        status, uid = 0, ""
        try:
            for at in range(head, len(sent), size):
                await asyncio.wait({response}, timeout=pause_s)
                if number <= LONGEST and at + size >= len(sent):
                    await self._response_or_release(response)
                if response.done():  # refused before its body
                    break
                writer.write(sent[at : at + size])
            got = await response
            status, uid = got.status, json.loads(got.body)["response"].get("uid", "")
        except raw_http.BROKEN:
            pass
        writer.transport.abort()
        return Call(
            number=number,
            status=status,
            uid=uid,
            began_s=began_s,
            answered_s=time.monotonic(),
        )

    async def _response_or_release(self, response: asyncio.Task[raw_http.Response]) -> None:
        release = asyncio.create_task(self.released.wait())
        await asyncio.wait({response, release}, return_when=asyncio.FIRST_COMPLETED)
        release.cancel()


async def _round(store: Store, callers: Callers, switch: Switch, found: Found, phase_s: float) -> None:
    """Put the API on hold, disable it, and release it.

    The hold lasts until a call was accepted on it, the rest until one was refused.
    """
    first = len(callers.calls)
    times_s: dict[str, float] = {}
    times_ms: dict[str, int] = {}

    async def is_held() -> bool:
        return (await store.runs.counts())["pending"] > 0

    async def is_refused() -> bool:
        return any(call.status == 403 and call.answered_s > times_s["disable"] for call in callers.calls)

    await asyncio.sleep(phase_s)
    for word, shown in (("hold", is_held), ("disable", is_refused), ("enable", None)):
        times_ms[f"before {word}"] = await store.now_ms()
        await switch(word)
        times_s[word], times_ms[word] = time.monotonic(), await store.now_ms()
        await asyncio.sleep(phase_s)
        if shown is not None:
            await until(shown, ENDS_S)
    callers.released.set()
    deadline = time.monotonic() + ENDS_S
    while (
        len(callers.calls) < first + 1
        or callers.calls[-1].began_s < times_s["enable"]
        or sum(call.number <= LONGEST for call in callers.calls) < LONGEST
    ):
        assert time.monotonic() < deadline, "no call after the release"
        await asyncio.sleep(0.05)
    found.rounds += 1
    released_ms = times_ms["before enable"]
    for call in callers.calls[first:]:
        for name, at_s in times_s.items():
            found.across[name] += call.began_s < at_s < call.answered_s
        found.across["all"] += call.began_s < times_s["hold"] and times_s["enable"] < call.answered_s
        refused = call.status == 403
        found.kept_out += refused and times_s["disable"] < call.answered_s < times_s["enable"]
        if not call.uid:
            continue
        view = await store.runs.wait(call.uid, max(0.1, deadline - time.monotonic()))
        if view is None or view.status != "completed" or view.started_at_ms is None:
            found.lost += 1
            continue
        found.late += times_ms["disable"] < view.created_at_ms < released_ms
        found.early += times_ms["hold"] < view.started_at_ms < released_ms
        found.held += view.created_at_ms < released_ms <= view.started_at_ms


async def campaign(
    url: str,
    folder: Path,
    *,
    rounds: int,
    callers: int,
    slowest_s: float,
    gateways: int = 2,
    phase_s: float = 1.0,
    commands: bool = True,
) -> Found:
    """Return the results of so many rounds, with a pause of `phase_s` after each switch.

    Without `commands` this process switches the API itself.
    """
    store = await open_store(url, client_name="holds", keyring=RING)
    await store.call("FLUSHALL")
    settings = Settings(redis_url=url, data_dir=folder / ".iogate", log_format="json", link_key=LINK_KEY)
    site = Site(store=store, intake=store.intake(), settings=settings, folder=folder)
    found = Found()

    async def by_command(word: str) -> None:
        words = ["disable", "--hold"] if word == "hold" else [word]
        command = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "iogate", "-q", "-C", str(folder), *words, NAME),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "IOGATE_REDIS_URL": url, "IOGATE_LINK_KEY": LINK_KEY, "PYTHONPATH": str(ROOT)},
        )
        _, problems = await command.communicate()
        assert command.returncode == 0, problems.decode()

    async def by_store(word: str) -> None:
        await store.gates.set_enabled([NAME], word == "enable", author="campaign", hold=word == "hold")

    async with Effects() as effects:
        count = {
            "call": "http",
            "with": {"method": "post", "endpoint": effects.url, "body": {"number": "${ .number }"}},
        }
        await site.publish(workflow("count", {"count": count}), limits=Limits(queued=1_000_000))
        with listening() as on:
            processes = [spawn(url, on, folder) for _ in range(gateways)]
            try:
                await site.worker()
                await until(lambda: announced(store, *processes), 60.0)
                calling = Callers(on.getsockname()[1], callers, slowest_s)
                switch = by_command if commands else by_store
                for _ in range(rounds):
                    await _round(store, calling, switch, found, phase_s)
                await calling.stop()
                uids = {call.uid for call in calling.calls if call.uid}
                for uid in uids:
                    await store.runs.wait(uid, ENDS_S)
                found.statuses.update(call.status for call in calling.calls)
                found.unknown = sum((await store.runs.counts()).values()) - len(uids)
                found.repeated = sum(effects.calls[each.number] != bool(each.uid) for each in calling.calls)
            finally:
                for process in processes:
                    process.stop()
                await site.close()
                await store.close()
    return found


async def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.holds", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--callers", type=int, default=100)
    parser.add_argument("--slowest", type=float, default=10.0, help="most seconds of a call")
    given = parser.parse_args(arguments)
    with temporary_server() as server, tempfile.TemporaryDirectory() as folder:
        found = await campaign(
            server.url, Path(folder), rounds=given.rounds, callers=given.callers, slowest_s=given.slowest
        )
    print(found.table())
    return 0 if found.holds else 1


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(asyncio.run(main(sys.argv[1:])))
