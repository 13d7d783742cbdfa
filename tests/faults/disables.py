"""`iogate disable` under load, with a gateway stopped meanwhile: no call is accepted after it has returned.

`python -m tests.faults.disables` does it 200 times and ends with 1 where a call was accepted too late. Rounds
that do not fit into `--limit` seconds are left out, reported, and end it with 1, too.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from iogate.store import keys
from iogate.store.embedded.server import find_embedded
from iogate.store.store import Store, open_store
from tests import fork_server
from tests.faults import load
from tests.faults.site import Site
from tests.ports import free_port

API = """\
module: shop
auth: none
retention: 1h
methods:
  buy: {workflow: shop/buy, enabled: true, limits: {queued: 100000}}
"""
WORKFLOW = """\
document: {dsl: '1.0.3', namespace: shop, name: buy, version: 1.0.0}
do:
  - buy: {set: {bought: 1}}
"""
NAME = "shop/buy"
SERVING_S = 60.0
PAUSE_S = 0.1
"""Pause of a caller between two calls."""
OPEN_S = 60.0
COMMAND_S = 60.0
"""Longest time of one command; the stopped gateway is resumed after it."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call, by the clock of the caller."""

    sent_s: float
    answered_s: float
    status: int


@dataclass(kw_only=True)
class Seen:
    """What all rounds have seen."""

    rounds: int = 0
    late_calls: int = 0
    """Calls that were sent after the command had returned, and accepted."""
    late_runs: int = 0
    """Runs that the store accepted after the command had returned, whenever they were sent."""
    stopped: Counter[int] = field(default_factory=Counter)
    """Answers of the stopped gateway after it was resumed, to calls from before the command returned."""
    refused: int = 0
    accepted: int = 0
    slowest_s: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return {
            "rounds": self.rounds,
            "accepted": self.accepted,
            "refused": self.refused,
            "answersOfStoppedGateways": dict(self.stopped),
            "slowestCommandS": round(self.slowest_s, 2),
            "acceptedTooLate": self.late_calls + self.late_runs,
        }


class Callers:
    """Callers that each keep one connection to a gateway, and call again after each answer."""

    def __init__(self, url: str, number: int) -> None:
        self.calls: list[Call] = []
        self.number = number
        self._url = url
        self._tasks = [asyncio.create_task(self._run()) for _ in range(number)]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self) -> None:
        async with load.session(15.0, fresh=False) as http:
            while True:
                sent_s = time.monotonic()
                try:
                    async with http.post(self._url, json={}) as answer:
                        await answer.read()
                        status = answer.status
                except load.BROKEN:
                    status = 0
                self.calls.append(Call(sent_s=sent_s, answered_s=time.monotonic(), status=status))
                await asyncio.sleep(PAUSE_S)

    async def until(self, count: int, status: int, *, sent_after_s: float) -> None:
        """Wait for this many answers with a status to calls that were sent after a time."""
        deadline = time.monotonic() + OPEN_S
        while sum(each.status == status and each.sent_s > sent_after_s for each in self.calls) < count:
            assert time.monotonic() < deadline, f"no {status} in time"
            await asyncio.sleep(0.01)


async def campaign(
    folder: Path, *, rounds: int, gateways: int = 3, callers: int = 12, limit_s: float = math.inf
) -> Seen:
    """Enable and disable the API; stop a gateway before each command, and resume it afterwards.

    No round begins after `limit_s`.
    """
    ends_s = time.monotonic() + limit_s
    for name, text in (("apis.d/shop.yaml", API), ("workflows.d/buy.yaml", WORKFLOW)):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    port = free_port()
    (folder / "iogate.yaml").write_text(f"port: {port}\ngateways: {gateways}\n")
    site, base = Site(folder, port), f"http://127.0.0.1:{port}"
    site.ensure_parent()
    seen = Seen()
    async with load.session(15.0) as http:
        try:
            await load.until_serving(http, base, SERVING_S)
            url = await asyncio.to_thread(find_embedded, folder / ".iogate")
            assert url is not None
            store = await open_store(url, client_name="disables")
            calling = Callers(f"{base}/v1/api/{NAME}/async", callers)
            try:
                for number in range(rounds):
                    if time.monotonic() > ends_s:
                        break
                    await _round(site, store, calling, seen, number)
            finally:
                await calling.stop()
                await store.close()
        finally:
            await site.stop()
            site.sweep()
    return seen


async def _round(site: Site, store: Store, callers: Callers, seen: Seen, number: int) -> None:
    await store.gates.set_enabled([NAME], True, author="campaign")
    await callers.until(1, 202, sent_after_s=time.monotonic())
    callers.calls.clear()
    pid = site.kill("gateway", number, signal.SIGSTOP)
    assert pid is not None
    try:
        await asyncio.sleep(0.1)
        began = time.monotonic()
        arguments = ("--all", "--yes") if number % 2 else (NAME,)
        with (site.folder / "command.log").open("ab") as log:
            # Forked, since it is to end before the supervisor replaces the stopped gateway, after 10 s.
            command = fork_server.start(
                *("iogate", "-q", "-C", str(site.folder), "disable", *arguments),
                environment=os.environ,
                folder=site.folder,
                stdout=log,
                stderr=log,
                patient=True,
            )
        code = await asyncio.to_thread(command.wait, COMMAND_S)
        returned_s, returned_ms = time.monotonic(), await store.now_ms()
        assert code == 0, "the command failed"
    finally:
        with contextlib.suppress(ProcessLookupError):  # the supervisor has replaced it
            os.kill(pid, signal.SIGCONT)
    await callers.until(2 * callers.number, 403, sent_after_s=returned_s)
    seen.rounds += 1
    seen.slowest_s = max(seen.slowest_s, returned_s - began)
    calls = list(callers.calls)
    late = [each for each in calls if each.sent_s > returned_s]
    assert late, "no call was made after the command"
    seen.late_calls += sum(each.status == 202 for each in late)
    seen.refused += sum(each.status == 403 for each in calls)
    seen.accepted += sum(each.status == 202 for each in calls)
    seen.stopped.update(
        each.status for each in calls if each.sent_s < returned_s - 0.02 and each.answered_s > returned_s
    )
    counts = [
        await store.call("ZCOUNT", keys.INDEX + status, f"({returned_ms}", "+inf") for status in keys.STATUSES
    ]
    seen.late_runs += sum(counts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--gateways", type=int, default=3)
    parser.add_argument("--limit", type=float, default=900, metavar="SECONDS", help="longest time")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="iogate-faults-") as name:
        seen = asyncio.run(
            campaign(
                Path(name) / "site",
                rounds=arguments.rounds,
                gateways=arguments.gateways,
                limit_s=arguments.limit,
            )
        )
    sys.stdout.write(json.dumps(seen.to_json(), indent=1) + "\n")
    if missing := arguments.rounds - seen.rounds:
        sys.stderr.write(f"{missing} of {arguments.rounds} rounds did not fit into {arguments.limit:g} s\n")
    raise SystemExit(bool(seen.late_calls + seen.late_runs or missing) or not seen.stopped)


if __name__ == "__main__":
    main()
