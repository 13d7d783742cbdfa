"""Events given on the command line: parsed, completed, and published one by one when a run waits for them.

Used by `run_command`, whose store has only that run and its children. Invariant: an event is published only
while a task listens and the previous event has been processed, so that no later listener misses an event.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from iogate.cli.options import read_json
from iogate.errors import Misused
from iogate.timing.clock import epoch_ms

if TYPE_CHECKING:
    from iogate.store.store import Store

SOURCE = "/command-line"
POLL_S = 0.02
EXAMPLE = """--event '{"type": "com.example.paid", "data": {"amount": 7}}'"""


def read_events(given: Sequence[str]) -> list[bytes]:
    """Parse CloudEvents in JSON and add missing attributes.

    Raises Misused for other values, and as `read_json` does.
    """
    import msgspec

    events = []
    for text in given:
        value = read_json(text, "--event", EXAMPLE)
        events += [
            msgspec.json.encode(_with_defaults(each))
            for each in (value if isinstance(value, list) else [value])
        ]
    return events


def _with_defaults(event: Any) -> dict[str, Any]:
    from iogate.engine.scope import describe_time

    if not isinstance(event, dict) or not isinstance(event.get("type"), str) or not event["type"]:
        raise Misused(
            "--event: not a CloudEvent: expected an object with a type",
            hint=f"for example {EXAMPLE}",
        )
    whole = {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "source": SOURCE,
        "time": describe_time(epoch_ms())["iso8601"],
        **event,
    }
    for name in ("specversion", "id", "source"):
        if not isinstance(whole[name], str) or not whole[name]:
            raise Misused(f"--event: not a CloudEvent: {name} must be text, and not empty")
    return whole


@contextlib.asynccontextmanager
async def publish_events(store: Store, events: Sequence[bytes]) -> AsyncIterator[Sequence[bytes]]:
    """Publish events in the background, each when a task listens; yield the unpublished ones."""
    left = list(events)
    publishing = asyncio.create_task(_publish_when_awaited(store, left), name="publish events")
    try:
        yield left
    finally:
        publishing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await publishing


async def _publish_when_awaited(store: Store, left: list[bytes]) -> None:
    while left:
        if await store.events.all_listen():
            await store.events.publish([left.pop(0)])
        else:
            await asyncio.sleep(POLL_S)
