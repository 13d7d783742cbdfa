"""Records of live revisions that a test forges: sealed by whoever has a key, or by nobody."""

from __future__ import annotations

import time
from typing import Any, Final, cast

from iogate.security.keyring import Keyring
from iogate.store import keys
from iogate.store.revisions.live_record import LiveRecord
from iogate.store.store import Store
from tests.keys import RING

SEAL: Final = keys.LIVE_SEAL


async def make_live(store: Store, number: int, digest: str, ring: Keyring = RING) -> None:
    """Make a revision live as a publisher with this key does, whatever is stored of it."""
    sealer = LiveRecord(cast("Any", None), ring)
    seal = sealer.seal("default", (number, digest), {}, time.time_ns() // 1_000_000)
    await store.call("HSET", keys.LIVE, "number", number, "digest", digest, SEAL, seal)
    await tell(store)


async def tell(store: Store) -> None:
    """Tell all processes that the record has changed."""
    await store.call("HINCRBY", keys.LIVE, "changes", 1)
    await store.call("PUBLISH", keys.CHANGE_CHANNEL, "1")


async def record(store: Store) -> list[bytes]:
    """Return the stored record of the project `default`, for `put_back`."""
    found: list[bytes] = await store.call("HMGET", keys.LIVE, "number", "digest", SEAL)
    return found


async def put_back(store: Store, taken: list[bytes], *, sealed: bool = True) -> None:
    """Restore an earlier record, with its seal or without any."""
    number, digest, seal = taken
    await store.call("HSET", keys.LIVE, "number", number, "digest", digest)
    await store.call("HDEL", keys.LIVE, SEAL)
    if sealed:
        await store.call("HSET", keys.LIVE, SEAL, seal)
    await tell(store)
