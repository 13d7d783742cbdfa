"""Reading of request bodies under a size limit, a deadline, and a memory budget of the process.

Used by `call_handler`, `event_intake`, `exchange`, `operator_api`, `large_requests` and `validator`.
Invariants: a body never takes more than its limit and one chunk, all bodies together take no more than the
budget, and reading ends at most `LOOK_S` after the deadline.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from iogate.gateway.http.responses import (
    BROKEN_OFF,
    CLOSE,
    OVER_BUDGET,
    TIMED_OUT,
    ErrorResponse,
    HTTPError,
    too_large,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from iogate.gateway.http.request import Request

DEADLINE_S = 20.0
"""For a whole body; each MiB of the limit adds a second."""
LOOK_S = 0.25
BUDGET: Final = 64 * 1024 * 1024
DRAINED: Final = 32 * 1024 * 1024
DRAIN_S: Final = 2.0


class _Reading:
    """A body that is being read: its deadline, its size so far, and the response if it is given up."""

    __slots__ = ("due_s", "given_up", "held", "task")

    def __init__(self, due_s: float, task: asyncio.Task[Any] | None) -> None:
        self.due_s = due_s
        self.held = 0
        self.given_up: ErrorResponse | None = None
        self.task = task

    def give_up(self, response: ErrorResponse) -> None:
        """Make the reader of this body respond with `response`."""
        if self.given_up is None and self.task is not None and self.task.cancel():
            self.given_up = response


class Bodies:
    """The bodies that this process reads and processes.

    One timer serves all deadlines: a timer per body costs more than reading the body.
    """

    def __init__(self, budget: int = BUDGET) -> None:
        self._budget = budget
        self._held = 0
        self._readings: dict[_Reading, None] = {}
        """Bodies that are still arriving, oldest first."""
        self._looking = False
        self._loop: asyncio.AbstractEventLoop | None = None
        """Looked up once: before Python 3.12 that is a system call."""

    @property
    def held(self) -> int:
        """Bytes of all request bodies, until `release`."""
        return self._held

    def _begin(self, seconds: float) -> _Reading:
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        reading = _Reading(loop.time() + seconds, asyncio.current_task(loop))
        self._readings[reading] = None
        if not self._looking:
            self._looking = True
            loop.call_later(LOOK_S, self._look, loop)
        return reading

    def _make_room(self, reading: _Reading) -> None:
        """Give up request bodies until the others are within the budget; `reading` has just grown.

        The body that has been arriving longest is given up, so that incomplete bodies of slow senders do not
        keep others out. Raises HTTPError if that is this one, or all others are complete.
        """
        while self._held > self._budget and self._held > reading.held:
            for oldest in self._readings:
                if oldest.held and oldest.given_up is None:
                    break
            else:
                oldest = reading
            if oldest is reading:
                raise HTTPError(OVER_BUDGET)
            oldest.give_up(OVER_BUDGET)
            self._forget(oldest)

    def release(self, request: Request) -> None:
        """Drop the body of a request, if it was read, and return its bytes to the budget."""
        self._held -= len(request.body)
        request.body = b""

    def _forget(self, reading: _Reading) -> None:
        self._held -= reading.held
        reading.held = 0

    def shorten(self, seconds: float) -> None:
        """Limit the remaining time of each request body that is being read."""
        latest_s = asyncio.get_running_loop().time() + seconds
        for reading in self._readings:
            reading.due_s = min(reading.due_s, latest_s)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now_s = loop.time()
        for reading in self._readings:
            if reading.due_s <= now_s:
                reading.give_up(TIMED_OUT)
        self._looking = bool(self._readings)
        if self._looking:
            loop.call_later(LOOK_S, self._look, loop)

    async def read(self, request: Request, *, limit: int, deadline_s: float = DEADLINE_S) -> None:
        """Read the whole body of a request into it; the body counts towards the budget until `release`.

        Raises HTTPError: 400, 408, 413 or 503.
        """
        length = content_length(request.headers)
        if length == 0:
            request.is_read = True
            return
        if length is not None and length > limit:
            raise too_large(limit)
        reading = self._begin(deadline_s + limit / 1_048_576)
        receive = request.receive
        chunks: list[bytes] = []
        size = 0
        try:
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise HTTPError(BROKEN_OFF)  # noqa: TRY301 - a function for the loop costs each call a coroutine
                chunk = message.get("body", b"")
                size += len(chunk)
                if size > limit:
                    raise too_large(limit)  # noqa: TRY301 - likewise
                reading.held += len(chunk)
                self._held += len(chunk)
                if self._held > self._budget:
                    self._make_room(reading)
                # The server sets `more_body` after the last byte, too: the length saves an iteration.
                if size == length or not message.get("more_body"):
                    if chunks:
                        chunks.append(chunk)
                        chunk = b"".join(chunks)
                    request.body, request.is_read = chunk, True
                    return
                chunks.append(chunk)
        except asyncio.CancelledError:
            self._forget(reading)
            response, task = reading.given_up, reading.task
            if response is not None and task is not None and not task.uncancel():
                raise HTTPError(response) from None
            raise
        except BaseException:
            self._forget(reading)
            raise
        finally:
            del self._readings[reading]


def content_length(headers: Mapping[bytes, bytes]) -> int | None:
    """Return the length of a request body by Content-Length, None without one."""
    value = headers.get(b"content-length")
    if value is None or b"transfer-encoding" in headers:
        return None
    return int(value) if value.isdigit() and len(value) < 19 else None


async def drain_before_error(request: Request, response: ErrorResponse) -> None:
    """Drain the unread body of a request before its error response, unless that closes the connection."""
    if not request.is_read and request.method != "GET" and CLOSE not in response.headers:
        await _drain(request)


async def _drain(request: Request) -> None:
    """Read and discard a bounded part of a refused body.

    A client that sends its whole body before it reads loses the response if the connection closes meanwhile.
    A client that waits for `100 Continue` has sent nothing.
    """
    headers = request.headers
    left = content_length(headers)
    if left == 0 or b"expect" in headers or (left is None and b"transfer-encoding" not in headers):
        return
    left = DRAINED if left is None else min(left, DRAINED)
    try:
        async with asyncio.timeout(DRAIN_S):
            while left > 0:
                message = await request.receive()
                if message["type"] != "http.request" or not message.get("more_body"):
                    return
                left -= len(message.get("body", b""))
    except TimeoutError:
        return


async def wait_until_left(request: Request) -> None:
    """Wait until the client closes the connection, after the body of its request was read.

    Never returns if the client sent further bytes after the request: the server then stops reading until the
    response.
    """
    while (await request.receive())["type"] != "http.disconnect":
        pass
