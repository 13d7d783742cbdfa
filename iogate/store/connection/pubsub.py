"""Publish/subscribe as a hint that something has changed; messages carry no data that must not be lost.

Used by waits, watches and workers. Invariants: each waiter also polls, so a lost message causes a delay
only; a silent subscription is pinged, and replaced if no reply comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from iogate.errors import Unreachable
from iogate.store.connection.primary_endpoint import Endpoint
from iogate.store.connection.socket import KEEPALIVE

if TYPE_CHECKING:
    from redis.asyncio.client import PubSub as RedisPubSub

Listener = Callable[[str], None]

CONNECT_S = 1.0
_KEEPALIVE = {"socket_keepalive": True, "socket_keepalive_options": KEEPALIVE}
PING_S = 5.0
"""Silence after which the subscription is pinged; after twice as long it is replaced."""
LOOK_S = 1.0
"""Interval at which its server is compared with the primary of the other connections."""
CANCEL_AGAIN_S = 0.1


class PubSub:
    """Shared subscription of the process, opened for the first listener and kept alive.

    A channel stays subscribed, so that the next wait on it starts at once, unless it is `passing`.
    """

    def __init__(self, endpoint: Endpoint, *, name: str) -> None:
        self._endpoint = endpoint
        self._name = f"{name.replace(' ', '-')}-pubsub"
        self._listeners: defaultdict[str, Counter[Listener]] = defaultdict(Counter)
        self._task: asyncio.Task[None] | None = None
        self._subscription: RedisPubSub | None = None
        self._subscribed: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    @contextlib.asynccontextmanager
    async def listening(
        self, channel: str, listener: Listener, *, passing: bool = False
    ) -> AsyncIterator[None]:
        """Subscribe to a channel: call `listener` with each message; wait up to CONNECT_S for it first.

        A listener that is registered several times is called once per message. A `passing` channel is
        unsubscribed when its last listener leaves.
        """
        new = channel not in self._listeners
        listeners = self._listeners[channel]
        listeners[listener] += 1
        try:
            if self._task is None:
                self._task = asyncio.create_task(self._listen(), name="store pubsub")
            elif new and self._subscription is not None:
                with contextlib.suppress(*_broken()):
                    await self._subscription.subscribe(channel)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CONNECT_S):
                    await self._subscribed[channel].wait()
            yield
        finally:
            # This also runs after a cancellation during the wait for the subscription.
            listeners[listener] -= 1
            if not listeners[listener]:
                del listeners[listener]
            if passing and not listeners and self._listeners.get(channel) is listeners:
                del self._listeners[channel]
                self._subscribed.pop(channel, None)
                if self._subscription is not None:
                    with contextlib.suppress(*_broken()):
                        await self._subscription.unsubscribe(channel)

    async def close(self) -> None:
        task, self._task = self._task, None
        # redis-py may turn a cancellation that coincides with a timeout into TimeoutError.
        while task is not None and not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=CANCEL_AGAIN_S)

    async def _listen(self) -> None:
        """Listen to the channels of publish/subscribe, again after each lost connection."""
        while True:
            with contextlib.suppress(*_broken()):
                await self._session()
            await asyncio.sleep(0.2)

    async def _session(self) -> None:
        """Listen to publish/subscribe until the connection is dead or its server is not the primary."""
        from redis.asyncio import Redis  # noqa: PLC0415 - slow to import, and only for a connection

        url = self._endpoint.current or (await self._endpoint.urls())[0]
        tcp: dict[str, Any] = {} if url.startswith("unix:") else _KEEPALIVE
        client = Redis.from_url(
            url, client_name=self._name, socket_connect_timeout=CONNECT_S, protocol=2, **tcp
        )
        try:
            async with client.pubsub() as subscription:
                await subscription.connect()
                # From here on, `listening` subscribes and unsubscribes by itself.
                self._subscription = subscription
                if self._listeners:
                    await subscription.subscribe(*self._listeners)
                heard = pinged = time.monotonic()
                while self._endpoint.current in {"", url}:
                    message = await subscription.get_message(timeout=LOOK_S)
                    now = time.monotonic()
                    if message is not None:
                        heard = now
                        self._dispatch(message)
                    elif now - heard > 2 * PING_S:
                        return  # a middlebox has forgotten the connection, or the server is gone
                    elif now - max(heard, pinged) > PING_S:
                        pinged = now
                        await subscription.ping()
        finally:
            self._subscription = None
            self._subscribed.clear()
            await client.aclose()

    def _dispatch(self, message: dict[str, bytes | str]) -> None:
        if message["type"] == "pong":
            return
        channel = _text(message["channel"])
        if channel not in self._listeners:
            return
        if message["type"] == "subscribe":
            self._subscribed[channel].set()
        elif message["type"] == "message":
            for listener in tuple(self._listeners[channel]):
                listener(_text(message["data"]))


def _broken() -> tuple[type[Exception], ...]:
    """Return the errors of a broken connection of publish/subscribe."""
    from redis.exceptions import RedisError  # noqa: PLC0415 - slow to import, and only for a connection

    return RedisError, OSError, TimeoutError, Unreachable


def _text(value: bytes | str) -> str:
    # Anyone may publish anything, so invalid UTF-8 must not end the subscription.
    return value.decode(errors="replace") if isinstance(value, bytes) else value


class Doorbell:
    """Event for one waiter; several rings before a wait count as one."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self, _text: str = "") -> None:
        self._event.set()

    async def wait(self, at_most_s: float) -> bool:
        """Wait for a message that rings this bell; return False after `at_most_s` seconds without one."""
        try:
            async with asyncio.timeout(at_most_s):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True
