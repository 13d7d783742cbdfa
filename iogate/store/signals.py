"""Doorbells: publish/subscribe as a hint that something happened, never as the news itself.

Used by waits, watches and workers. Invariant: whoever waits looks again by itself after `at_most_s`, so
a message lost with a connection delays but never loses anything.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable

from redis.asyncio import Redis
from redis.exceptions import RedisError

Listener = Callable[[str], None]


class Signals:
    """One subscription for the process, opened with the first listener and kept alive."""

    def __init__(self, url: str, *, name: str) -> None:
        self._url = url
        self._name = f"{name.replace(' ', '-')}-signals"
        self._listeners: defaultdict[str, set[Listener]] = defaultdict(set)
        self._task: asyncio.Task[None] | None = None
        self._subscribed = asyncio.Event()
        self._changed = asyncio.Event()

    @contextlib.asynccontextmanager
    async def listening(self, channel: str, listener: Listener) -> AsyncIterator[None]:
        """Call `listener` with each message; waits a moment for the subscription to stand."""
        new = not self._listeners[channel]
        self._listeners[channel].add(listener)
        if new:
            self._subscribed.clear()
            self._changed.set()
        if self._task is None:
            self._task = asyncio.create_task(self._listen(), name="store signals")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await self._subscribed.wait()
        try:
            yield
        finally:
            self._listeners[channel].discard(listener)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _listen(self) -> None:
        while True:
            with contextlib.suppress(RedisError, OSError, asyncio.TimeoutError):
                await self._session()
            self._subscribed.clear()
            await asyncio.sleep(0.2)

    async def _session(self) -> None:
        client = Redis.from_url(self._url, client_name=self._name, socket_connect_timeout=1, protocol=2)
        try:
            async with client.pubsub(ignore_subscribe_messages=True) as subscription:
                while True:
                    self._changed.clear()
                    await subscription.subscribe(*list(self._listeners))
                    self._subscribed.set()
                    while not self._changed.is_set():
                        message = await subscription.get_message(timeout=0.25)
                        if message is not None:
                            self._tell(message["channel"].decode(), message["data"].decode())
        finally:
            await client.aclose()

    def _tell(self, channel: str, text: str) -> None:
        for listener in tuple(self._listeners[channel]):
            listener(text)


class Doorbell:
    """An event that several rings before a wait count as one."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self, _text: str = "") -> None:
        self._event.set()

    async def wait(self, at_most_s: float) -> bool:
        """True when it rang, False when the time passed."""
        try:
            async with asyncio.timeout(at_most_s):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True
