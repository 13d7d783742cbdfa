"""Inbox of a run: reads messages from the store and converts them to events of the engine.

Used by `executor` and `loader`. Invariant: the engine gets each message once, in the order of the numbers. An
invalid message becomes an event that no task waits for, so that the next commit removes it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from iogate.engine.commands import Arrived, ChildEnded
from iogate.errors import Unreachable
from iogate.store import keys
from iogate.store.connection.connection import CommandFailed
from iogate.store.runs.claims import Message
from iogate.store.state_codec import decode
from iogate.worker.ports import Leases
from iogate.worker.runs.run import Run

log = logging.getLogger(__name__)

NO_FRAME = 0
"""No frame has this id."""


class _Ended(msgspec.Struct):
    status: Literal["completed", "faulted", "cancelled"]
    output: Any = None
    error: dict[str, Any] | None = None


_ended = msgspec.json.Decoder(_Ended)


class InboxReader:
    """Reader of inboxes; calls `arrived` for a run that has got messages."""

    def __init__(self, leases: Leases, arrived: Callable[[Run], None]) -> None:
        self._leases = leases
        self._arrived = arrived
        self._reading: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()

    @property
    def reading(self) -> bool:
        """Whether a read of an inbox is under way."""
        return bool(self._reading)

    def look(self, run: Run) -> None:
        """Read the run's inbox soon; a read that fails is repeated when the lease is renewed."""
        if run.gone:
            return
        if run.uid in self._reading:
            self._again.add(run.uid)
            return
        task = asyncio.create_task(self._read(run))
        self._reading[run.uid] = task
        task.add_done_callback(lambda _: self._read_through(run))

    def _read_through(self, run: Run) -> None:
        self._reading.pop(run.uid, None)
        if run.uid in self._again:
            self._again.discard(run.uid)
            self.look(run)

    async def _read(self, run: Run) -> None:
        try:
            messages = await self._leases.inbox(run.uid, run.claim.token)
        except (Unreachable, CommandFailed) as error:
            log.debug("inbox of run %s: %s", run.uid, error, extra={"action": "inbox.postponed"})
            return
        if not run.gone and deliver(run, messages):
            self._arrived(run)


def deliver(run: Run, messages: Sequence[Message]) -> bool:
    """Put new messages into the inbox of a run; return whether there were any."""
    fresh = (
        (message.number, _engine_event(run, message)) for message in messages if run.is_new(message.number)
    )
    # The store stops at either bound; it counts the seals, too.
    is_large = sum(len(message.data) for message in messages) > keys.TAKE_BYTES // 2
    return run.hear(fresh, more=is_large or len(messages) >= keys.INBOX_READ)


def _engine_event(run: Run, message: Message) -> Arrived | ChildEnded:
    if message.forged:
        return Arrived(frame=NO_FRAME, number=message.number, event={})
    try:
        if message.kind == "child":
            ended = _ended.decode(message.data)
            return ChildEnded(
                frame=message.frame,
                number=message.number,
                status=ended.status,
                output=ended.output,
                error=ended.error,
            )
        event = decode(message.data)
        if not isinstance(event, Mapping):
            raise TypeError("not a JSON object")  # noqa: TRY301 - handled like invalid JSON
        return Arrived(frame=message.frame, number=message.number, event=event)
    except (ValueError, TypeError, msgspec.MsgspecError) as error:
        log.warning(
            "run %s: dropped message %d, which cannot be read: %s",
            run.uid,
            message.number,
            error,
            extra={"action": "message.dropped", "uid": run.uid},
        )
        return Arrived(frame=NO_FRAME, number=message.number, event={})
