"""Sending of large responses and streams, under a memory budget of the process and a deadline.

Used by `exchange` for the responses of calls, and by `app` for those of Litestar. The server takes a body at
once, and would hold all of it until its caller has read it; a body over LARGE, and a stream, are handed over
in chunks as they are read. Invariants: responses that wait for their callers take no more than the budget,
except a single one of any size, and streams that hold little, whose number is limited; a caller that takes no
part within the deadline loses its connection, and the slowest callers do so if others need their memory; a
response up to LARGE is sent as it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, Final

from iogate.gateway.http.responses import ErrorResponse, Response
from iogate.logs import Throttle

if TYPE_CHECKING:
    from collections.abc import Callable

    from litestar.types import Scope, Send

    from iogate.gateway.connections import Peer

log = logging.getLogger(__name__)

PACED: Final = "iogate.paced"
"""Key of the ASGI scope with the PacedSend of a request that Litestar handles."""
LARGE: Final = 64 * 1024
CHUNK: Final = 32 * 1024
LAST_CHUNK: Final = 4 * 1024
"""Size of the chunks at the end of a body: the server writes up to 16 chunks at once."""
QUEUED: Final = 4
"""Chunks that the server queues before it writes them."""
SERVER: Final = 64 * 1024
"""Bytes that the server may hold of a response whose last chunks have left the queue."""
EVENTS: Final = 512
"""Size of the chunks of a stream, of which the server therefore holds at most 10 KiB."""
FREE: Final = 32 * 1024
"""Bytes that a stream may hold without counting towards the budget: the number of streams is limited, too."""
BUDGET: Final = 16 * 1024 * 1024
TIMEOUT_S: Final = 30.0
STALLED_S: Final = 1.0
"""Time without progress after which a response is given up if others need its memory."""

TOO_MANY: Final = ErrorResponse(
    503,
    "serverError.unavailable",
    "Too many large responses wait for callers that read slowly; repeat the request",
    [(b"retry-after", b"1")],
)


class Cut(Exception):
    """A response was given up, because its caller reads too slowly."""


def is_large(response: Response) -> bool:
    """Tell whether a response counts towards the budget."""
    return len(response.content) > LARGE


class LargeResponses:
    """The large responses and streams of this process that wait for their callers."""

    def __init__(
        self,
        budget: int = BUDGET,
        timeout_s: float = TIMEOUT_S,
        close: Callable[[Peer], None] = lambda _: None,
    ) -> None:
        """`close` closes the connection to a peer."""
        self._budget = budget
        self.timeout_s = timeout_s
        self._close = close
        self._held = 0
        self._waiting: dict[_Sending, None] = {}
        """Responses that wait, those without progress for the longest time first."""
        self._looking = False
        self._throttle = Throttle()

    @property
    def held(self) -> int:
        """Bytes of all responses that wait for their callers."""
        return self._held

    def admits(self, size: int) -> bool:
        """Tell whether a response of this size may be sent now; give up stalled ones if need be."""
        self._make_room(size + SERVER)
        return not self._held or self._held + size + SERVER <= self._budget

    async def send(self, response: Response, scope: Scope | None, send: Send, *, last: bool) -> None:
        """Send a response that is large and was admitted; `last`: and let the server close the connection.

        A caller that reads too slowly does not get the rest of it.
        """
        sending = _Sending(self, scope, send)
        try:
            await send(response.start_last() if last else response.start)
            await sending.body(response.content)
        except Cut:
            return

    def paced(self, scope: Scope, send: Send) -> PacedSend:
        """Return the `send` of a request that Litestar handles."""
        return PacedSend(self, scope, send)

    def hold(self, sending: _Sending, size: int) -> None:
        """Count the memory of a response from now on, which has made progress."""
        self._held += size - sending.held
        sending.held = size
        self._waiting.pop(sending, None)
        if size:
            sending.since_s = asyncio.get_running_loop().time()
            self._waiting[sending] = None
            self._make_room(0)

    def _make_room(self, size: int) -> None:
        """Give up stalled responses until the others and `size` more bytes are within the budget."""
        if self._held + size <= self._budget:
            return
        loop = asyncio.get_running_loop()
        latest_s = loop.time() - STALLED_S
        for sending in [*self._waiting]:
            if self._held + size <= self._budget or sending.since_s > latest_s:
                break
            sending.cut()
        if self._held > self._budget and not self._looking:
            self._looking = True
            loop.call_later(STALLED_S, self._look)

    def _look(self) -> None:
        self._looking = False
        self._make_room(0)

    def was_cut(self, peer: Peer | None) -> None:
        """Close the connection of a response that was given up, if it carries no others."""
        if peer is not None:
            self._close(peer)
        if self._throttle.passes():
            log.warning(
                "a response was given up, because its caller reads too slowly",
                extra={"action": "response.cut", "address": peer[0] if peer is not None else ""},
            )


class _Sending:
    """A response or stream that is being sent."""

    __slots__ = ("_all", "_limit", "_peer", "_send", "held", "is_cut", "since_s")

    def __init__(self, every: LargeResponses, scope: Any, send: Send) -> None:
        self._all = every
        self._send = send
        self._peer: Peer | None = None
        if scope is not None and scope.get("http_version") != "2":
            self._peer = scope.get("peer") or scope.get("client")
        self.held = 0
        self.since_s = 0.0
        """Time of the last progress, by the loop."""
        self.is_cut = False
        self._limit: asyncio.Timeout | None = None
        """Deadline of the part that waits."""

    def cut(self) -> None:
        """Give up the response; the task that sends it gets Cut."""
        if self.is_cut:
            return
        self.is_cut = True
        self._all.hold(self, 0)
        self._all.was_cut(self._peer)
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(0.0)

    async def body(self, content: bytes) -> None:
        """Send a whole body. Raises Cut."""
        size, held = len(content), len(content) + SERVER
        try:
            for at in range(0, size, CHUNK):
                step = CHUNK if size - at > SERVER + CHUNK else LAST_CHUNK
                await self.part(content[at : at + CHUNK], step, held)
            if self._peer is not None:
                # The server drops a chunk without data when it reads it: then it has read all chunks before.
                await self.part(b"", 1, held, empty=QUEUED)
        finally:
            self._all.hold(self, 0)
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def part(self, data: bytes, step: int, held: int, *, empty: int = 0) -> None:
        """Send a part in chunks of `step` bytes, and `empty` chunks without data.

        The response counts `held` bytes until its next part. Raises Cut if the caller does not take the part
        in time, or others need the memory.
        """
        if not self.is_cut:
            every = self._all
            every.hold(self, held)
            try:
                # One deadline for all chunks: it costs as much as the sending of one.
                async with asyncio.timeout(every.timeout_s) as self._limit:
                    for at in range(0, len(data), step):
                        chunk = data[at : at + step]
                        await self._send({"type": "http.response.body", "body": chunk, "more_body": True})
                    for _ in range(empty):
                        await self._send({"type": "http.response.body", "body": b"", "more_body": True})
            except TimeoutError:
                self.cut()
            finally:
                self._limit = None
        if self.is_cut:
            raise Cut

    @property
    def waits(self) -> bool:
        """Whether a part waits for the caller."""
        return self._limit is not None

    def waits_no_more(self) -> None:
        """Count nothing for the response until its next part."""
        self._all.hold(self, 0)


class PacedSend:
    """The `send` of a request that Litestar handles: it sends large bodies and streams under the budget."""

    __slots__ = ("_all", "_is_head", "_kind", "_send", "_sending", "backlog")

    def __init__(self, every: LargeResponses, scope: Scope, send: Send) -> None:
        self._all = every
        self._send = send
        self._sending = _Sending(every, scope, send)
        self._is_head = scope.get("method") == "HEAD"
        self._kind = "small"
        """`small`, `large`, `stream`, or `refused`."""
        self.backlog = 0
        """Bytes that the source of a stream holds beside the chunk that it sends."""

    @property
    def is_cut(self) -> bool:
        """Whether the response was given up."""
        return self._sending.is_cut

    def cut_if_waiting(self) -> None:
        """Give up a stream whose caller is behind."""
        if self._sending.waits:
            self._sending.cut()

    async def __call__(self, message: Any) -> None:
        """Send an ASGI message. Raises Cut if a stream was given up."""
        if message["type"] == "http.response.start":
            message = self._started(message)
        elif self._kind == "large":
            # The traceback of an error would keep the body until the next run of the garbage collector.
            with contextlib.suppress(Cut):
                await self._sending.body(message["body"])
            return
        elif self._kind == "refused":
            return
        elif self._kind == "stream" and message.get("more_body"):
            await self._stream(message["body"])
            return
        await self._send(message)
        if self._kind == "refused":
            await self._send({"type": "http.response.body", "body": TOO_MANY.content, "more_body": False})

    def _started(self, message: Any) -> Any:
        """Return the start of the response to send."""
        size = next((int(value) for name, value in message["headers"] if name == b"content-length"), None)
        if self._is_head:
            return message
        if size is None:
            self._kind = "stream"
        elif size > LARGE:
            self._kind = "large" if self._all.admits(size) else "refused"
        return TOO_MANY.start if self._kind == "refused" else message

    async def _stream(self, data: bytes) -> None:
        try:
            held = len(data) + self.backlog
            await self._sending.part(data, EVENTS, held if held > FREE else 0)
        finally:
            self._sending.waits_no_more()
