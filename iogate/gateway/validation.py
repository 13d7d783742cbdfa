"""Validates requests: small ones at once, large ones and those of costly schemas in a process of their own.

Redacts inputs that are shown, too. Used by `calls`, `arrivals` and `runs`; one process for each gateway,
started when it is first needed. Invariants: the event loop is never held longer than a few milliseconds,
whatever is sent; jobs are done one at a time, and the number of jobs that wait is bounded.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from iogate.gateway import answers, cloudevents, content, decoding
from iogate.gateway.answers import ErrorAnswer, Failed
from iogate.gateway.content import Input, Sent
from iogate.gateway.schema import ON_LOOP, Undescribed
from iogate.gateway.validation_process import (
    LENGTH,
    TOO_COSTLY,
    CallJob,
    Defect,
    Events,
    EventsJob,
    Job,
    Outcome,
    Redacted,
    RedactJob,
    Refusal,
    Result,
)
from iogate.store import reading

if TYPE_CHECKING:
    from iogate.gateway.routes import Route

log = logging.getLogger(__name__)

ON_LOOP_BYTES: Final = 32 * 1024
"""A larger request is decoded in the process: 1 MiB of small objects takes 70 ms."""
SLOW_NUMBERS: Final = 64
"""Numbers that take the decoder long, 1e308 for example, up to which a request is decoded on the loop."""
REDACTED_ON_LOOP: Final = 4 * 1024
"""A larger input is redacted in the process: 1 MiB of small objects takes a second."""
FEW_BYTES: Final = 512
"""A smaller body holds too few of them to be worth counting."""
WAITING: Final = 64
"""Jobs in progress and waiting."""
WAIT_S: Final = 20.0
STOP_S: Final = 1.0
_PASSED: Final = ("PATH", "PYTHONPATH", "PYTHONHOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR")

UNSHOWN: Final = b'"[too costly to show]"'
"""Shown in place of an input that the process cannot redact within its bounds."""
BUSY: Final = answers.unavailable("Too many large requests are being validated; nothing was accepted")
_decode = msgspec.msgpack.Decoder(Result).decode
_encode = msgspec.msgpack.Encoder().encode


@dataclass(frozen=True, kw_only=True)
class _Process:
    """A validation process with the connection to it."""

    child: subprocess.Popen[bytes]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def exchange(self, message: bytes) -> Result:
        """Send a job and return its result; raises IncompleteReadError or OSError if the process dies."""
        self.writer.write(len(message).to_bytes(LENGTH, "big") + message)
        await self.writer.drain()
        size = int.from_bytes(await self.reader.readexactly(LENGTH), "big")
        return _decode(await self.reader.readexactly(size))

    async def end(self) -> int:
        """Close the connection, at which the process ends by itself, and return its exit code."""
        self.writer.close()
        try:
            return await asyncio.to_thread(self.child.wait, STOP_S)
        except subprocess.TimeoutExpired:
            self.child.kill()
            return await asyncio.to_thread(self.child.wait)


def _spawn(connection: socket.socket) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "iogate.gateway.validation_process"],
        stdin=connection.fileno(),
        stdout=connection.fileno(),
        # The validator writes there whenever it gets no memory; the process sends its own exceptions back.
        stderr=subprocess.DEVNULL,
        env={name: os.environ[name] for name in _PASSED if name in os.environ},
    )


async def _start() -> _Process:
    ours, theirs = socket.socketpair()
    with theirs:
        child = await asyncio.to_thread(_spawn, theirs)
    reader, writer = await asyncio.open_connection(sock=ours)
    return _Process(child=child, reader=reader, writer=writer)


class Validation:
    """See the module."""

    def __init__(self) -> None:
        self._process: _Process | None = None
        self._known: set[str] = set()
        """Digests of the schemas that the process has."""
        self._turn = asyncio.Lock()
        self._jobs: set[asyncio.Task[Outcome]] = set()

    @property
    def process_id(self) -> int | None:
        """Process id of the validation process, None while there is none."""
        return self._process.child.pid if self._process is not None else None

    def input_now(self, route: Route, sent: Sent, *, fingerprint: bool) -> Input | None:
        """Return the input of a call that is validated quickly, None for one that `input` has to validate.

        Raises Failed: the 4xx that describes the error.
        """
        schema = route.schema
        size = sent.size
        if size > ON_LOOP_BYTES or (schema is not None and size > schema.quick_size):
            return None
        if size > FEW_BYTES and decoding.count_slow_numbers(sent.body) > SLOW_NUMBERS:
            return None
        try:
            return content.read(sent, schema, fingerprint=fingerprint, describing=ON_LOOP)
        except Undescribed:
            # The process has the time.
            return None

    async def input(self, route: Route, sent: Sent, *, fingerprint: bool) -> Input:
        """Return the input of a call, validated in the process.

        Raises Failed: the 4xx that describes the error, or a 503.
        """
        job = CallJob(sent=sent, digest=route.digest, schema=None, fingerprint=fingerprint)
        outcome = await self._perform(job, route)
        assert isinstance(outcome, Input)
        return outcome

    async def events(
        self, headers: Mapping[bytes, bytes], repeated: frozenset[bytes], body: bytes
    ) -> list[bytes]:
        """Return the events of a request, each as JSON. Raises as `input` does."""
        if len(body) <= ON_LOOP_BYTES and decoding.count_slow_numbers(body) <= SLOW_NUMBERS:
            return cloudevents.read(headers, repeated, body)
        outcome = await self._perform(EventsJob(headers=dict(headers), repeated=repeated, body=body), None)
        assert isinstance(outcome, Events)
        return outcome.events

    async def redacted(self, stored: bytes) -> bytes:
        """Return a stored input as JSON without secrets. Raises Failed: a 503, or the 500 of a defect."""
        if len(stored) <= REDACTED_ON_LOOP and decoding.count_slow_numbers(stored) <= SLOW_NUMBERS:
            return reading.redacted(stored)
        try:
            outcome = await self._perform(RedactJob(input=stored), None)
        except Failed as failed:
            if failed.answer.status != TOO_COSTLY[0]:
                raise
            return UNSHOWN
        assert isinstance(outcome, Redacted)
        return outcome.json

    async def close(self) -> None:
        """End the process."""
        for job in self._jobs:
            job.cancel()
        await asyncio.gather(*self._jobs, return_exceptions=True)
        await self._end()

    async def _perform(self, job: Job, route: Route | None) -> Input | Events | Redacted:
        if len(self._jobs) >= WAITING:
            raise Failed(BUSY)
        # A task of its own: a caller that hangs up must not leave half a message in the pipe.
        task = asyncio.create_task(self._in_turn(job, route), name="validation")
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)
        try:
            async with asyncio.timeout(WAIT_S):
                outcome = await asyncio.shield(task)
        except TimeoutError:
            raise Failed(BUSY) from None
        if isinstance(outcome, Refusal):
            raise Failed(ErrorAnswer(outcome.status, outcome.code, outcome.message))
        if isinstance(outcome, Defect):
            log.error("validation failed: %s", outcome.traceback, extra={"action": "validation.failed"})
            raise Failed(answers.CRASHED)
        return outcome

    async def _in_turn(self, job: Job, route: Route | None) -> Outcome:
        async with self._turn:
            try:
                process = self._process or await self._begin()
                if isinstance(job, CallJob) and route is not None and job.digest not in self._known:
                    job = msgspec.structs.replace(job, schema=msgspec.json.encode(route.api.input_schema))
                    self._known.add(job.digest)
                async with asyncio.timeout(WAIT_S):
                    result = await process.exchange(_encode(job))
            except (TimeoutError, asyncio.CancelledError):
                await self._end()
                raise
            except (asyncio.IncompleteReadError, OSError):
                return await self._died()
            if result.last:
                await self._end()
            return result.outcome

    async def _begin(self) -> _Process:
        self._known.clear()
        self._process = await _start()
        return self._process

    async def _died(self) -> Outcome:
        """Return the response to the job at which the process died; the next job gets a new one."""
        assert self._process is not None
        code = await self._end()
        if code in (-signal.SIGPROF, -signal.SIGABRT, -signal.SIGKILL):
            status, kind, message = TOO_COSTLY
            return Refusal(status=status, code=kind, message=message)
        log.error(
            "the validation process ended with code %s",
            code,
            extra={"action": "validation.died", "code": code},
        )
        crashed = answers.CRASHED
        return Refusal(status=crashed.status, code=crashed.code, message=crashed.message)

    async def _end(self) -> int | None:
        process, self._process = self._process, None
        return await process.end() if process is not None else None
