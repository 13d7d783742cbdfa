"""Functions that send events to a gateway in this process, and read the stored ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from iogate.auth.model import StoredAuth
from iogate.store import keys
from iogate.store.integrity.seals import open_event
from iogate.store.store import Store
from tests.gateway.driver import Reply, World, build

EVENT = {"specversion": "1.0", "id": "e1", "source": "/shop", "type": "order.placed"}
BINARY = {"ce-specversion": "1.0", "ce-id": "e1", "ce-source": "/shop", "ce-type": "order.placed"}
STRUCTURED = {"content-type": "application/cloudevents+json"}
BATCH = {"content-type": "application/cloudevents-batch+json"}


def open_to(world: World, auth: StoredAuth | None) -> World:
    """The same gateway, with the setting `events.auth`."""
    world.live.senders = auth
    world.application = build(world.live, world.refresher)
    return world


async def send(
    world: World,
    value: Any = None,
    headers: Mapping[str, str] = STRUCTURED,
    *,
    body: bytes | None = None,
    method: str = "POST",
) -> Reply:
    content = body if body is not None else b"" if value is None else json.dumps(value).encode()
    return await world.ask("/v1/events", method, dict(headers), content)


async def stored(store: Store) -> list[dict[str, Any]]:
    """What the matcher finds."""
    entries = await store.call("LRANGE", keys.EVENTS, 0, -1)
    opened = [open_event(store.keyring, entry.partition(b" ")[2]) for entry in entries]
    return [json.loads(event or b"") for event in opened]
