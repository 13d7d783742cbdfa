"""Termination signals, received in order on the event loop of a process.

Used by the supervisor. One request may arrive twice: `make` forwards a signal that its whole group received.
Invariant: such an echo, at any time until the exit, is not a second request and does not kill the process.
"""

from __future__ import annotations

import asyncio
import atexit
import signal
import time
from types import FrameType

NUMBERS = (signal.SIGTERM, signal.SIGINT)
ECHO_S = 1.0
"""Time after a request in which its echo may arrive."""


class Termination:
    """Queue of the termination signals of this process."""

    def __init__(self) -> None:
        self._received: asyncio.Queue[int] = asyncio.Queue()
        self._handled: list[signal.Signals] = []
        self._requested_at: float | None = None

    async def request(self) -> int:
        """Wait for the next termination signal and return its number."""
        loop = asyncio.get_running_loop()
        for number in NUMBERS:
            if number not in self._handled:
                loop.add_signal_handler(number, self._received.put_nowait, number)
                self._handled.append(number)
        received = await self._received.get()
        self._requested_at = time.monotonic()
        return received

    async def second_request(self) -> None:
        """Wait for a further termination signal that is not an echo."""
        begun = time.monotonic()
        await self._received.get()
        while time.monotonic() - begun < ECHO_S:
            await self._received.get()

    def release(self) -> None:
        """Remove the handlers of termination signals; after a request, its echoes are still ignored."""
        loop = asyncio.get_running_loop()
        # A signal that arrives between two handlers stays pending.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, self._handled)
        try:
            for number in self._handled:
                loop.remove_signal_handler(number)
                if self._requested_at is not None:
                    signal.signal(number, self._ignore_echo)
                    # At exit the interpreter restores the default actions of signals with Python handlers.
                    atexit.register(signal.signal, number, signal.SIG_IGN)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._handled.clear()

    def _ignore_echo(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - of the interface
        if self._requested_at is None or time.monotonic() - self._requested_at >= ECHO_S:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
