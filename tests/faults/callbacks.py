"""Callbacks to a receiver that fails half of the time: all are delivered, signed, and accepted once each.

`python -m tests.faults.callbacks` ends 10,000 runs while two deliveries are at work, and ends with 1 if a
callback is missing, was accepted twice, has a wrong signature, or changed its body between two tries.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from iogate.auth.model import FileSecret
from iogate.compiler.revision import Callback, Limits
from iogate.effects.dispatcher import Effects
from iogate.security import standard_webhooks
from iogate.settings import Settings
from iogate.store import keys
from iogate.store.embedded.server import temporary_server
from iogate.store.runs.leases import Commit
from iogate.store.store import Store
from iogate.worker.events.callback_delivery import CallbackDelivery, Pace
from iogate.worker.events.run_end_rules import RunEndRules
from iogate.worker.secrets.redaction import Redaction
from tests.conftest import opened_store
from tests.http_server import HttpServer
from tests.keys import LINK_KEY
from tests.worker.site import NOOP, Site

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PACE = Pace(first_s=0.2, factor=1.5, longest_s=2.0)
"""The order of the tries of production, in less time."""
BATCH = 50


@dataclass
class HalfBroken(HttpServer):
    """Receiver that refuses, breaks off or accepts a request by chance."""

    chance: random.Random = field(default_factory=lambda: random.Random(20261128))
    tries: int = 0
    accepted: Counter[str] = field(default_factory=Counter)
    forged: int = 0
    bodies: dict[str, str] = field(default_factory=dict)
    changed: int = 0

    async def respond(self, path: str, headers: dict[str, str], body: bytes) -> bytes | None:
        del path
        self.tries += 1
        id_, at_s = headers[standard_webhooks.ID], int(headers[standard_webhooks.TIMESTAMP])
        signature = standard_webhooks.sign(standard_webhooks.key(SECRET), id_, at_s, body)
        if headers[standard_webhooks.SIGNATURE] != signature or abs(time.time() - at_s) > 300:
            self.forged += 1
        digest = hashlib.sha256(body).hexdigest()
        if self.bodies.setdefault(id_, digest) != digest:
            self.changed += 1
        if self.chance.random() < 0.5:
            status = self.chance.choice((500, 503, 429, 404, 0))
            return None if status == 0 else b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status
        self.accepted[id_] += 1
        return b"HTTP/1.1 204 Yes\r\n\r\n"


@dataclass(kw_only=True)
class Seen:
    """Outcome of a campaign."""

    runs: int
    tries: int = 0
    delivered: int = 0
    accepted_more_than_once: int = 0
    missing: int = 0
    forged: int = 0
    changed: int = 0
    recorded: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        faults = self.accepted_more_than_once + self.missing + self.forged + self.changed
        return not faults and self.delivered == self.runs == self.recorded["delivered"]

    def to_json(self) -> dict[str, Any]:
        return {
            "runs": self.runs,
            "tries": self.tries,
            "delivered": self.delivered,
            "acceptedMoreThanOnce": self.accepted_more_than_once,
            "missing": self.missing,
            "forged": self.forged,
            "changedBodies": self.changed,
            "records": dict(self.recorded),
            "seconds": round(self.seconds, 1),
        }


async def campaign(redis_url: str, store: Store, folder: Path, *, runs: int, limit_s: float) -> Seen:
    """End runs, and deliver their callbacks."""
    (folder / "cb").write_text(SECRET)
    settings = Settings(
        redis_url=redis_url, data_dir=folder / ".iogate", log_format="json", link_key=LINK_KEY
    )
    site = Site(store=store, intake=store.intake(), settings=settings, folder=folder)
    began_s = time.monotonic()
    async with HalfBroken() as receiver, delivering(store, settings, folder):
        try:
            callback = Callback(url=f"{receiver.url}/ends", secret=FileSecret(path="cb"))
            await site.publish(NOOP, callback=callback, limits=Limits(queued=runs + 1))
            uids: list[str] = []
            while len(uids) < runs:
                wanted = min(BATCH, runs - len(uids))
                uids += await asyncio.gather(*(site.call(data={"n": n}) for n in range(wanted)))
            await end(store, uids)
            while len(receiver.accepted) < runs and time.monotonic() - began_s < limit_s:
                await asyncio.sleep(0.1)
            await asyncio.sleep(1.0)
            # The outcomes of the last tries are recorded after their responses.
            while await store.call("ZCARD", keys.CALLBACKS) and time.monotonic() - began_s < limit_s:
                await asyncio.sleep(0.1)
        finally:
            await site.close()
    seen = Seen(runs=runs, tries=receiver.tries, seconds=time.monotonic() - began_s)
    seen.delivered = len(receiver.accepted)
    seen.accepted_more_than_once = sum(1 for count in receiver.accepted.values() if count > 1)
    seen.missing = sum(1 for uid in uids if f"run_{uid}_1" not in receiver.accepted)
    seen.forged, seen.changed = receiver.forged, receiver.changed
    for uid in uids:
        record = await store.callbacks.record(uid)
        kind = "none" if record is None else "delivered" if record.delivered_ms is not None else "waiting"
        seen.recorded[kind] += 1
    return seen


async def end(store: Store, uids: list[str]) -> None:
    """End runs as a worker does."""
    left = set(uids)
    while left:
        taken = await store.leases.take("w", 100)
        commits = [
            Commit(
                uid=claim.uid,
                token=claim.token,
                seq=claim.seq + 1,
                move="end",
                status="completed",
                output=b'{"uid":"%b"}' % claim.uid.encode(),
            )
            for claim in taken.claims
        ]
        if commits:
            await store.leases.commit(commits)
        left -= {claim.uid for claim in taken.claims}


@contextlib.asynccontextmanager
async def delivering(store: Store, settings: Settings, folder: Path) -> AsyncIterator[None]:
    """Deliver as two workers do, in this process."""
    async with Effects(settings=settings) as effects:
        tasks = [
            asyncio.create_task(
                CallbackDelivery(
                    store=store,
                    effects=effects,
                    rules=RunEndRules(store.revisions),
                    redaction=Redaction,
                    root=folder,
                    pace=PACE,
                ).run()
            )
            for _ in range(2)
        ]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _main(runs: int, limit_s: float) -> Seen:
    with temporary_server() as server, tempfile.TemporaryDirectory(prefix="iogate-callbacks-") as folder:
        async with opened_store(server.url) as store:
            return await campaign(server.url, store, Path(folder), runs=runs, limit_s=limit_s)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.callbacks", description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000, help="runs, each with one callback")
    parser.add_argument("--limit", type=float, default=900.0, metavar="S", help="longest time")
    given = parser.parse_args()
    seen = asyncio.run(_main(given.runs, given.limit))
    print(json.dumps(seen.to_json()))
    return 0 if seen.holds else 1


if __name__ == "__main__":
    sys.exit(main())
