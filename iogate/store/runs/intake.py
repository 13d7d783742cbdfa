"""Intake of calls: durable acceptance of runs in batches.

Called by the gateway for each request. Concurrent requests share one MULTI/EXEC of at most 64 scripts, and so
one fsync. Invariants: `Accepted` means stored as durably as the server is configured; after StoreUnavailable
the outcome is unknown, and the caller must not respond with 202. A repeated call is idempotent, because the
script recognises the nonce of this process in the facts of the run.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections import deque
from collections.abc import Mapping
from typing import Any, Literal

import hiredis
import msgspec

from iogate.security.keyring import Keyring
from iogate.store import keys
from iogate.store.connection import scripts
from iogate.store.connection.connection import Connection, is_missing_script, pack
from iogate.store.connection.failures import Drained, NotPermitted, StoreUnavailable, Unanswered, Unconfirmed
from iogate.store.connection.memory_watermark import Memory
from iogate.store.integrity.seals import Facts, seal_facts
from iogate.store.runs.compression import LARGE, deflate
from iogate.store.runs.run_ends import RunEnds, packed_ends
from iogate.store.runs.traffic import Extras, Repeatable, Traffic, packed, packed_attributes
from iogate.store.runs.uids import UidSource

log = logging.getLogger(__name__)

GROUP = 64
TRIES = 2
"""Retries after a broken connection, within the deadline."""
DEADLINE_S = 0.9
"""Deadline of an accept, so that the gateway responds with 503 within a second."""
CONFIRM_MARGIN_S = 0.1
"""Time reserved from the timeout of the replicas, so that the reply of WAIT arrives before the deadline."""

_MULTI = pack("MULTI")
_EXEC = pack("EXEC")

Reason = Literal["mismatch", "disabled", "stale", "queue_full", "rate", "memory", "taken", "files"]


class AcceptRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Call to be stored as a new run."""

    uid: str
    api: str
    digest: str
    """Digest of the API by which the gateway validated the call; the store rejects a stale one."""
    revision: int
    workflow: str
    program: str
    input: bytes
    caller: str = ""
    retention_s: float = 604_800.0
    timeout_s: float | None = None
    idempotency_key: str | None = None
    idempotency_ttl_s: float = 86_400.0
    fingerprint: str = ""
    traffic: Traffic | None = None
    """Rules beyond rate and queue of the API; None for an API without any."""
    trace: str = ""
    """Trace context of the caller, or empty."""
    after: RunEnds | None = None
    """What follows the end of the run; None: nothing."""
    attributes: Mapping[str, str] | None = None
    """Attributes by which the run is found; None or empty: none."""


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """Result of a call that was stored; `replayed`: earlier, under the same idempotency key."""

    uid: str
    replayed: bool = False
    coalesced: bool = False
    """Whether the call has replaced the input of a run that earlier calls have made."""
    held: bool = False
    """Whether the run does not start, because its API is on hold."""


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Result of a call that was not stored, with its reason."""

    reason: Reason
    retry_after_s: float = 0.0
    """Time after which the same call is probably accepted."""


class _PendingAccept:
    __slots__ = ("answer", "deadline", "first_uid", "packed", "request", "sent", "tries")

    def __init__(
        self,
        request: AcceptRequest,
        packed: bytes,
        deadline: float,
        answer: asyncio.Future[Accepted | Refusal],
    ) -> None:
        self.request = request
        self.first_uid = request.uid
        self.packed = packed
        self.deadline = deadline
        self.tries = 0
        self.sent = False
        """True after an attempt without a reply: the store may have the run."""
        self.answer = answer


def _repeatable(request: AcceptRequest, key: str) -> Repeatable:
    return Repeatable(
        key=keys.idempotency(request.api, request.caller, key),
        ttl=max(1, int(request.idempotency_ttl_s * 1000)),
        print=request.fingerprint,
    )


class Intake:
    """Intake of one gateway process, for any number of concurrent accepts."""

    def __init__(self, connection: Connection, ring: Keyring) -> None:
        self._connection = connection
        self._ring = ring
        self._memory = Memory(connection)
        self._uids = UidSource()
        self._nonce = secrets.token_hex(4)
        self._queue: deque[_PendingAccept] = deque()
        self._sender: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        """Cached, because `get_running_loop` is a system call before Python 3.12."""
        self._logged = ""

    def uid(self) -> str:
        """Draw a run id for a call that the intake is to accept."""
        return self._uids.next()

    async def accept(self, request: AcceptRequest) -> Accepted | Refusal:
        """Accept a call by the intake: store its run, or return the reason why it was refused.

        Raises Unanswered if the store does not answer in time, so that the outcome is unknown, and
        StoreUnavailable if the run was not stored, because the store is out of reach or drained.
        """
        deadline = time.monotonic() + DEADLINE_S
        if len(request.input) >= LARGE:
            # In a thread, because it takes milliseconds and must not block other calls.
            smaller = await asyncio.to_thread(deflate, request.input)
            request = msgspec.structs.replace(request, input=smaller)
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        pending = _PendingAccept(
            request, self._pack(request, request.uid), deadline, self._loop.create_future()
        )
        self._queue.append(pending)
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send_all(), name="intake")
        return await pending.answer

    async def check_primary(self) -> None:
        """Check that the connection of this intake is to the primary.

        Raises StoreUnavailable if not.
        """
        await self._connection.check_primary()

    async def close(self) -> None:
        if self._sender is not None:
            self._sender.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sender
        self._fail(list(self._queue), StoreUnavailable("closed"))
        self._queue.clear()
        await self._connection.close()

    def _pack(self, request: AcceptRequest, call: str) -> bytes:
        """Return the command by which the intake accepts a call; `call` is the first uid it was given."""
        # Two calls with equal input that become one run differ, so that only a repetition is none.
        is_merged = request.traffic is not None and request.traffic.merge
        facts = Facts(
            request.revision,
            request.workflow,
            request.program,
            request.caller,
            request.timeout_s,
            f"{self._nonce}-{call}" if is_merged else self._nonce,
            trace=request.trace,
        )
        return pack(
            "EVALSHA",
            scripts.script("accept").sha,
            0,
            request.uid,
            request.api,
            request.digest,
            seal_facts(self._ring, request.uid, request.api, facts, request.input),
            request.input,
            max(1, int(request.retention_s * 1000)),
            *self._extras(request),
        )

    def _extras(self, request: AcceptRequest) -> tuple[bytes, ...]:
        """Return the last argument of the intake's accept script, which most calls do without."""
        key, after = request.idempotency_key, request.after
        if key is None and request.traffic is None and after is None and not request.attributes:
            return ()
        extras = Extras(
            traffic=request.traffic,
            repeatable=None if key is None else _repeatable(request, key),
            ends=None if after is None else packed_ends(self._ring, request.uid, after),
            attributes=packed_attributes(request.attributes) if request.attributes else None,
        )
        return (packed(extras),)

    async def _send_all(self) -> None:
        # Let the requests of this loop iteration join the group.
        await asyncio.sleep(0)
        while self._queue:
            group = [self._queue.popleft() for _ in range(min(GROUP, len(self._queue)))]
            try:
                await self._send(group)
            except Exception as error:  # noqa: BLE001 -- each caller must get the error
                self._fail(group, error)

    async def _send(self, group: list[_PendingAccept]) -> None:
        now = time.monotonic()
        group = [pending for pending in group if not self._expired(pending, now)]
        if not group:
            return
        sending = False
        try:
            # A store that does not answer must not delay a caller beyond its deadline.
            size = sum(len(pending.packed) for pending in group)
            await self._memory.check(group[0].deadline - now, size=size)
            now = time.monotonic()
            sending = True
            replies = await self._transact(group, group[0].deadline - now)
        except Unconfirmed as error:
            # The rest of the deadline was spent on waiting for the replicas.
            self._fail(group, error)
            return
        except StoreUnavailable as error:
            for pending in group:
                pending.sent |= sending and isinstance(error, Unanswered)
            self._retry(group, error)
            return
        missing = False
        for pending, reply in zip(group, replies, strict=True):
            if is_missing_script(reply):
                missing = True
                self._queue.append(pending)
            else:
                self._answer(pending, reply)
        if missing:
            await self._connection.load()

    async def _transact(self, group: list[_PendingAccept], timeout_s: float) -> list[Any]:
        """Send the intake's batch of calls, wait for replicas, and return the replies, errors included."""
        count, confirmed = len(group), 2 if self._connection.replicas else 0
        parts = [pending.packed for pending in group]
        if count > 1:
            parts = [_MULTI, *parts, _EXEC]
        if confirmed:
            # Outside the transaction, because WAIT does not block within one.
            parts.append(self._connection.confirmation(int((timeout_s - CONFIRM_MARGIN_S) * 1000)))
        replies = await self._connection.send(
            b"".join(parts), len(parts) - bool(confirmed) + confirmed, timeout_s=timeout_s
        )
        if confirmed:
            self._connection.check_confirmation(replies[-confirmed:])
            del replies[-confirmed:]
        if count == 1:
            return replies
        *queued, done = replies
        if isinstance(done, hiredis.ReplyError):
            # Nothing was executed: the server rejected a command before EXEC (it is full or loading).
            first = next((q for q in queued if isinstance(q, hiredis.ReplyError)), done)
            return [first] * count
        executed: list[Any] = done
        return executed

    def _answer(self, pending: _PendingAccept, reply: Any) -> None:
        if isinstance(reply, hiredis.ReplyError):
            text = str(reply)
            if text.startswith("OOM"):
                self._set(pending, Refusal(reason="memory", retry_after_s=keys.FULL_S))
            else:
                self._fail([pending], self._failure(text))
            return
        code = reply[0]
        if code == b"ok":
            self._set(pending, Accepted(uid=reply[1].decode(), held=len(reply) > 2))
        elif code == b"replayed":
            self._set(pending, Accepted(uid=reply[1].decode(), replayed=True))
        elif code == b"coalesced":
            self._set(pending, Accepted(uid=reply[1].decode(), coalesced=True, held=reply[2] == 1))
        elif code == b"coalesce":
            self._send_with(reply[1].decode(), pending)
        elif code == b"taken":
            # Another gateway has drawn the same uid, or the run that it named has started.
            self._send_with(self._uids.next(), pending)
        elif code == b"drained":
            self._fail([pending], Drained(reply[1] / 1000))
        else:
            retry_after_s = reply[1] / 1000 if len(reply) > 1 else 0.0
            self._set(pending, Refusal(reason=code.decode(), retry_after_s=retry_after_s))

    def _failure(self, reply: str) -> Exception:
        found = self._connection.failure(reply, "EVALSHA")
        if isinstance(found, NotPermitted) and found.message != self._logged:
            # Callers get a 503 without the reason, so it is logged here.
            self._logged = found.message
            log.error("%s; %s", found.message, found.hint, extra={"action": "store.forbidden"})
        return found

    def _send_with(self, uid: str, pending: _PendingAccept) -> None:
        """Send a call of the intake with another uid, which its facts are sealed for."""
        pending.request = msgspec.structs.replace(pending.request, uid=uid)
        pending.packed = self._pack(pending.request, pending.first_uid)
        self._queue.append(pending)

    def _retry(self, group: list[_PendingAccept], error: StoreUnavailable) -> None:
        """Queue the intake's batch again after a broken connection; the script is idempotent."""
        now = time.monotonic()
        for pending in reversed(group):
            pending.tries += 1
            if pending.tries > TRIES:
                self._fail([pending], Unanswered("connection lost") if pending.sent else error)
            elif not self._expired(pending, now):
                self._queue.appendleft(pending)

    def _expired(self, pending: _PendingAccept, now: float) -> bool:
        if pending.answer.done():
            return True
        if now < pending.deadline:
            return False
        late = f"{self._connection.address} gave no answer within {DEADLINE_S:g} s"
        self._fail([pending], Unanswered(late) if pending.sent else StoreUnavailable(late))
        return True

    @staticmethod
    def _set(pending: _PendingAccept, outcome: Accepted | Refusal) -> None:
        if not pending.answer.done():
            pending.answer.set_result(outcome)

    @staticmethod
    def _fail(group: list[_PendingAccept], error: Exception) -> None:
        for pending in group:
            if not pending.answer.done():
                pending.answer.set_exception(error)
