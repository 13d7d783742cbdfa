"""Memory budget of the process for large responses and streams, from reading their data to sending them.

Used by `exchange` for the responses of calls, by `app` for those of Litestar, and by `run_reader`, which
reserves the memory of a run before it reads it. The server takes a body at once, and would hold all of it
until its caller has read it; a body over LARGE, and a stream, are handed over in chunks as they are read.
Invariants: responses that are prepared or wait for their callers take no more than the budget, except a
single one of any size, and streams that hold little, whose number is limited; no network can exclude others
by responses that are prepared; a caller that takes no part within the deadline loses its connection, and the
slowest callers do so if others need their memory; a response up to LARGE is sent as it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from iogate.gateway.http.responses import ErrorResponse, HTTPError, Response
from iogate.logs import Throttle
from iogate.security.failure_limit import network

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from litestar.types import Scope, Send

    from iogate.gateway.client_connections import Peer

log = logging.getLogger(__name__)

PACED: Final = "iogate.paced"
"""Key of the ASGI scope with the PacedSend of a request that Litestar handles, which reserves memory."""
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
    "Too many large responses are being prepared, or wait for callers that read slowly; repeat the request",
    [(b"retry-after", b"1")],
)


async def _send_nothing(_: Any) -> None:
    raise AssertionError("a response that is only prepared is not sent")


class Cut(Exception):
    """A response was given up, because its caller reads too slowly."""


def is_large(response: Response) -> bool:
    """Tell whether a response is large, and counts towards the memory budget."""
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
        self._prepared: dict[Sending, None] = {}
        """Responses whose preparation waits and may be given up, the oldest first."""
        self._waiting: dict[Sending, None] = {}
        """Responses that wait, those without progress for the longest time first."""
        self._looking = False
        self._throttle = Throttle()

    @property
    def held(self) -> int:
        """Bytes of all responses that are prepared or wait for their callers."""
        return self._held

    def admits(self, size: int, sending: Sending | None = None) -> bool:
        """Tell whether a response of this size may be held now; give up stalled ones if need be.

        Its memory replaces that which `sending` has reserved for it.
        """
        own = 0 if sending is None else sending.held
        more = size + SERVER - own
        self._make_room(more)
        if self._fits(more, own):
            return True
        return sending is not None and self._displace(more, sending)

    def _fits(self, more: int, own: int) -> bool:
        """Tell whether a response may hold so many bytes more than the `own` ones that it has."""
        return self._held == own or self._held + more <= self._budget

    def _displace(self, more: int, sending: Sending) -> bool:
        """Give up responses that are prepared for networks with more than that of `sending` would have.

        Return whether there is room now. The newest ones are given up.
        """
        while not self._fits(more, sending.held):
            used: Counter[str] = Counter()
            for each in self._prepared:
                used[each.network] += each.held
            most, size = max(used.items(), key=lambda item: item[1], default=("", 0))
            if size <= used[sending.network] + more:
                return False
            self._give_up(next(each for each in reversed(self._prepared) if each.network == most))
        return True

    def _give_up(self, sending: Sending) -> None:
        """End the preparation of a large response; the task that waits for it gets the 503."""
        del self._prepared[sending]
        self.count(sending, 0)
        assert sending.limit is not None, "it is prepared"
        sending.limit.reschedule(0.0)

    async def send(self, response: Response, scope: Scope | None, send: Send, *, last: bool) -> None:
        """Send a response that is large and was admitted; `last`: and let the server close the connection.

        A caller that reads too slowly does not get the rest of it.
        """
        sending = Sending(self, scope, send)
        try:
            await send(response.start_last() if last else response.start)
            await sending.body(response.content)
        except Cut:
            return

    def preparation(self, scope: Scope | None) -> Sending:
        """Return a large response to prepare, which `send` then sends as another one."""
        return Sending(self, scope, _send_nothing)

    def paced(self, scope: Scope, send: Send) -> PacedSend:
        """Return the `send` of a request that Litestar handles, for large responses and streams."""
        return PacedSend(self, scope, send)

    def count(self, sending: Sending, size: int) -> None:
        """Count the memory of a response from now on, which is not sent yet."""
        self._held += size - sending.held
        sending.held = size

    @asynccontextmanager
    async def preparing(self, sending: Sending) -> AsyncIterator[None]:
        """Let others displace the response meanwhile. Raises HTTPError, the 503, if one does."""
        self._prepared[sending] = None
        try:
            async with asyncio.timeout(None) as sending.limit:
                yield
        except TimeoutError:
            if sending in self._prepared:
                raise
            raise HTTPError(TOO_MANY) from None
        finally:
            sending.limit = None
            self._prepared.pop(sending, None)

    def hold(self, sending: Sending, size: int) -> None:
        """Count the memory of a response from now on, which has made progress."""
        self.count(sending, size)
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


class Sending:
    """A response or stream that is being prepared or sent."""

    __slots__ = ("_address", "_all", "_peer", "_send", "held", "is_cut", "limit", "since_s")

    def __init__(self, every: LargeResponses, scope: Any, send: Send) -> None:
        self._all = every
        self._send = send
        self._peer: Peer | None = None
        client = None if scope is None else scope.get("client")
        self._address = "" if client is None else client[0]
        if scope is not None and scope.get("http_version") != "2":
            self._peer = scope.get("peer") or scope.get("client")
        self.held = 0
        self.since_s = 0.0
        """Time of the last progress, by the loop."""
        self.is_cut = False
        self.limit: asyncio.Timeout | None = None
        """Deadline of the part that waits, or end of the preparation."""

    def reserve(self, size: int) -> None:
        """Reserve memory for the response before it is sent. Raises HTTPError, the 503, without room."""
        if not self._all.admits(size, self):
            raise HTTPError(TOO_MANY)
        self._all.count(self, size)

    @property
    def network(self) -> str:
        """Network of the client of a large response."""
        return network(self._address)

    def preparing(self) -> AbstractAsyncContextManager[None]:
        """Let others displace the response meanwhile. Raises HTTPError, the 503, if one does."""
        return self._all.preparing(self)

    def release(self) -> None:
        """Count no memory for the large response any more."""
        self._all.count(self, 0)

    def cut(self) -> None:
        """Abort the large response to free its memory; the task that sends it receives Cut."""
        if self.is_cut:
            return
        self.is_cut = True
        self._all.hold(self, 0)
        self._all.was_cut(self._peer)
        if self.limit is not None and not self.limit.expired():
            self.limit.reschedule(0.0)

    async def body(self, content: bytes) -> None:
        """Send the whole body of a large response. Raises Cut."""
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
        """Send a part of a large response in chunks of `step` bytes, and `empty` chunks without data.

        The response counts `held` bytes until its next part. Raises Cut if the caller does not take the part
        in time, or others need the memory.
        """
        if not self.is_cut:
            every = self._all
            every.hold(self, held)
            try:
                # One deadline for all chunks: it costs as much as the sending of one.
                async with asyncio.timeout(every.timeout_s) as self.limit:
                    for at in range(0, len(data), step):
                        chunk = data[at : at + step]
                        await self._send({"type": "http.response.body", "body": chunk, "more_body": True})
                    for _ in range(empty):
                        await self._send({"type": "http.response.body", "body": b"", "more_body": True})
            except TimeoutError:
                self.cut()
            finally:
                self.limit = None
        if self.is_cut:
            raise Cut

    @property
    def waits(self) -> bool:
        """Whether a part of the large response waits for the caller to read it."""
        return self.limit is not None

    def waits_no_more(self) -> None:
        """Count no memory for the large response until its next part."""
        self._all.hold(self, 0)


class PacedSend:
    """The `send` of a request that Litestar handles: it sends large bodies and streams under the budget."""

    __slots__ = ("_all", "_is_head", "_kind", "_send", "backlog", "sending")

    def __init__(self, every: LargeResponses, scope: Scope, send: Send) -> None:
        self._all = every
        self._send = send
        self.sending = Sending(every, scope, send)
        """The response, of which a handler reserves the memory."""
        self._is_head = scope.get("method") == "HEAD"
        self._kind = "small"
        """`small`, `large`, `stream`, or `refused`."""
        self.backlog = 0
        """Bytes that the source of a stream holds beside the chunk that it sends."""

    @property
    def is_cut(self) -> bool:
        """Whether the large response or stream was given up."""
        return self.sending.is_cut

    def cut_if_waiting(self) -> None:
        """Cut a large response or stream if a part of it waits for its caller."""
        if self.sending.waits:
            self.sending.cut()

    async def __call__(self, message: Any) -> None:
        """Send an ASGI message. Raises Cut if a stream was given up."""
        if message["type"] == "http.response.start":
            message = self._started(message)
        elif self._kind == "large":
            # The traceback of an error would keep the body until the next run of the garbage collector.
            with contextlib.suppress(Cut):
                await self.sending.body(message["body"])
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
        """Return the start of the response to send, large, small or a stream."""
        size = next((int(value) for name, value in message["headers"] if name == b"content-length"), None)
        if self._is_head:
            return message
        if size is None:
            self._kind = "stream"
        elif size > LARGE and self._all.admits(size, self.sending):
            self._kind = "large"
            self._all.count(self.sending, size + SERVER)
            return message
        elif size > LARGE:
            self._kind = "refused"
        # The data of the response are no longer needed, or all of it is handed over at once.
        self.sending.release()
        return TOO_MANY.start if self._kind == "refused" else message

    async def _stream(self, data: bytes) -> None:
        try:
            held = len(data) + self.backlog
            await self.sending.part(data, EVENTS, held if held > FREE else 0)
        finally:
            self.sending.waits_no_more()
