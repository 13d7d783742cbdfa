"""Events given on the command line: parsed, completed, and published one by one when a run waits for them.

Used by `run_command`, whose store has only that run and its children. Invariant: an event is published only
while a task listens and the previous event has been processed, so that no later listener misses an event.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from iogate.cli.options import read_json
from iogate.cli.run.local_links import use_link
from iogate.errors import Misused
from iogate.security.one_time_links import EVENT
from iogate.timing.clock import epoch_ms

if TYPE_CHECKING:
    from iogate.store.store import Store

SOURCE = "/command-line"
POLL_S = 0.02
EXAMPLE = """--event '{"type": "com.example.paid", "data": {"amount": 7}}'"""


def read_events(given: Sequence[str]) -> list[bytes]:
    """Parse CloudEvents that the command line gives with `--event`, and add missing attributes.

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
    from iogate.engine.expression_scope import describe_time

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
async def publish_events(
    store: Store, events: Sequence[bytes], links: Mapping[str, Collection[str]]
) -> AsyncIterator[Sequence[bytes]]:
    """Publish the command line's events in the background, each when a task listens; yield those left.

    An event of a link uses that link of a run; `links` has the declared links by workflow.
    """
    left = list(events)
    publishing = asyncio.create_task(_publish_when_awaited(store, left, links), name="publish events")
    try:
        yield left
    finally:
        publishing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await publishing


async def _publish_when_awaited(
    store: Store, left: list[bytes], links: Mapping[str, Collection[str]]
) -> None:
    while left:
        if await store.events.all_listen():
            # An event of a link that no run has yet does not hold up those behind it.
            for number, event in enumerate(left):
                if await _publish(store, event, links):
                    del left[number]
                    break
        await asyncio.sleep(POLL_S)


async def _publish(store: Store, event: bytes, links: Mapping[str, Collection[str]]) -> bool:
    """Publish an event of the command line; return False if no run has its link unused."""
    kind = type_of(event)
    if kind.startswith(EVENT):
        return await use_link(store, links, kind.removeprefix(EVENT), event)
    await store.events.publish([event])
    return True


def type_of(event: bytes) -> str:
    """Return the type of an event given on the command line, which `read_events` has returned."""
    import msgspec

    return str(msgspec.json.decode(event)["type"])
