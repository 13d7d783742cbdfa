"""Validation of requests: small ones on the event loop, large or costly ones in a separate process.

Also redacts inputs for responses. Used by `call_handler`, `event_intake`, `link_handler` and `caller_routes`;
each gateway has one such process, started when it is first needed. Invariants: no request blocks the event
loop for longer than a few milliseconds; jobs run one at a time in the order of `fair_queue`, and a job whose
caller has disconnected is not started.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from iogate.gateway import child_process
from iogate.gateway.child_process import ChildProcess
from iogate.gateway.events import cloudevents
from iogate.gateway.http import decoding, responses
from iogate.gateway.http.body import wait_until_left
from iogate.gateway.http.responses import CLOSE, ErrorResponse, HTTPError
from iogate.gateway.validation import call_input, link_data
from iogate.gateway.validation.call_input import Input, Sent
from iogate.gateway.validation.fair_queue import FairQueue, sharer_of
from iogate.gateway.validation.link_data import LinkData
from iogate.gateway.validation.schema import ON_LOOP, Undescribed
from iogate.gateway.validation.validation_process import (
    SCHEMAS,
    TOO_COSTLY,
    CallJob,
    Defect,
    Events,
    EventsJob,
    Job,
    LinkJob,
    Outcome,
    Redacted,
    RedactJob,
    Refusal,
    Result,
    UnknownSchema,
)
from iogate.store.runs import presentation

if TYPE_CHECKING:
    from iogate.gateway.calls.routing_table import Route
    from iogate.gateway.http.request import Request
    from iogate.gateway.links.link_definitions import Definition

log = logging.getLogger(__name__)

ON_LOOP_BYTES: Final = 32 * 1024
"""Larger requests are decoded in the process: 1 MiB of small objects takes 70 ms."""
SLOW_NUMBERS: Final = 64
"""Limit of numbers that are slow to decode, such as 1e308, for requests decoded on the loop."""
CONTAINERS_ON_LOOP: Final = 2_000
"""Limit of lists and maps for requests decoded on the loop, which takes a millisecond."""
REDACTED_ON_LOOP: Final = 4 * 1024
"""Larger inputs are redacted in the process: 1 MiB of small objects takes a second."""
FEW_BYTES: Final = 512
"""Smaller bodies have too few of either to need counting."""
WAIT_S: Final = 20.0
_PROCESS: Final = "iogate.gateway.validation.validation_process"

UNSHOWN: Final = b'"[too costly to show]"'
"""Replacement for an input that the process cannot redact within its limits."""
BUSY: Final = responses.unavailable(
    "Too many large requests are being processed; nothing was accepted: repeat the request later, or send "
    f"at most {ON_LOOP_BYTES // 1024} KiB, which seldom waits"
)
OWN_BUSY: Final = responses.too_many(
    "Too many large requests from this address are being processed; send fewer at once", 1.0
)
NOT_STARTED: Final = responses.unavailable(
    "The process that validates large requests cannot be started; nothing was accepted: repeat the request "
    "later"
)
LEFT: Final = ErrorResponse(
    408,
    "requestError.timeout",
    "The caller left before the request was validated; nothing was accepted",
    [CLOSE],
)
_decode = msgspec.msgpack.Decoder(Result).decode
_encode = msgspec.msgpack.Encoder().encode


@dataclass(frozen=True, kw_only=True, eq=False)
class _Waiting:
    """A job and the future of its outcome, which its caller cancels when it leaves."""

    job: Job
    route: Route | None
    outcome: asyncio.Future[Outcome]

    def fail(self, error: Exception) -> None:
        if not self.outcome.done():
            self.outcome.set_exception(error)


def _is_decoded_quickly(body: bytes) -> bool:
    """Tell whether the validator decodes a body of at most ON_LOOP_BYTES within a millisecond."""
    return (
        body.count(b"{") + body.count(b"[") <= CONTAINERS_ON_LOOP
        and decoding.count_slow_numbers(body) <= SLOW_NUMBERS
    )


class Validation:
    """Validator of the requests of one gateway, and owner of its validation process."""

    def __init__(self) -> None:
        self._process: ChildProcess | None = None
        self._known: set[str] = set()
        """Digests of the schemas sent to the process, which may have dropped some."""
        self._queue: FairQueue[_Waiting] = FairQueue()
        self._serving: asyncio.Task[None] | None = None

    @property
    def process_id(self) -> int | None:
        """Id of the process that the validator has started, None while there is none."""
        return self._process.child.pid if self._process is not None else None

    def input_now(self, route: Route, sent: Sent, *, fingerprint: bool) -> Input | None:
        """Return the input of a call that is validated quickly, None for one that `input` has to validate.

        Raises HTTPError: the 4xx that describes the error.
        """
        schema = route.schema
        size = sent.size
        if size > ON_LOOP_BYTES or (schema is not None and size > schema.quick_size):
            return None
        if size > FEW_BYTES and not _is_decoded_quickly(sent.decoded):
            return None
        try:
            return call_input.read(
                sent,
                schema,
                fingerprint=fingerprint,
                pointers=route.pointers,
                attributes=route.attribute_pointers,
                describing=ON_LOOP,
            )
        except Undescribed:
            # The process has more time to describe the errors.
            return None

    async def input(self, route: Route, sent: Sent, request: Request, *, fingerprint: bool) -> Input:
        """Return the input of a call, validated in the process; `sent` are the parts of `request`.

        Raises HTTPError: the 4xx that describes the error, the 429 for too many requests of one address, or a
        503.
        """
        job = CallJob(
            sent=sent,
            digest=route.digest,
            schema=None,
            fingerprint=fingerprint,
            pointers=route.pointers,
            attributes=route.attribute_pointers,
        )
        outcome = await self._perform(job, route, sent.size, route.api.id, request)
        assert isinstance(outcome, Input)
        return outcome

    async def events(self, request: Request) -> list[bytes]:
        """Validate the events of a request that was read; return each as JSON. Raises as `input` does."""
        body = request.body
        if len(body) <= ON_LOOP_BYTES and _is_decoded_quickly(body):
            return cloudevents.read(request.headers, request.repeated, body)
        job = EventsJob(headers=dict(request.headers), repeated=request.repeated, body=body)
        outcome = await self._perform(job, None, len(body), "events", request)
        assert isinstance(outcome, Events)
        return outcome.events

    async def link_data(self, definition: Definition, request: Request) -> LinkData:
        """Validate the data of a request for a one-time link that was read. Raises as `input` does."""
        body, schema = request.body, definition.schema
        content_type = request.headers.get(b"content-type", b"")
        if (
            len(body) <= ON_LOOP_BYTES
            and (schema is None or len(body) <= schema.quick_size)
            and _is_decoded_quickly(decoding.readable(body, content_type))
        ):
            try:
                return link_data.read(body, content_type, definition.form, schema, describing=ON_LOOP)
            except Undescribed:
                pass
        job = LinkJob(body=body, content_type=content_type, form=msgspec.json.encode(definition.form))
        outcome = await self._perform(job, None, len(body), "links", request)
        assert isinstance(outcome, LinkData)
        return outcome

    async def redacted(self, stored: bytes, request: Request) -> bytes:
        """Redact a stored input in the validation process; return it as JSON without secrets.

        Raises HTTPError: a 429, a 503, or the 500 of a defect.
        """
        if len(stored) <= REDACTED_ON_LOOP and decoding.count_slow_numbers(stored) <= SLOW_NUMBERS:
            return presentation.redacted(stored)
        try:
            outcome = await self._perform(RedactJob(input=stored), None, len(stored), "runs", request)
        except HTTPError as failed:
            if failed.response.status != TOO_COSTLY[0]:
                raise
            return UNSHOWN
        assert isinstance(outcome, Redacted)
        return outcome.json

    async def close(self) -> None:
        """End the validator and its process."""
        if self._serving is not None:
            self._serving.cancel()
            await asyncio.gather(self._serving, return_exceptions=True)
        now_s = asyncio.get_running_loop().time()
        while (found := self._queue.pop(now_s)) is not None:
            found[0].outcome.cancel()
        await self._end()

    async def _perform(
        self, job: Job, route: Route | None, size: int, api: str, request: Request
    ) -> Input | Events | LinkData | Redacted:
        loop = asyncio.get_running_loop()
        sharer = sharer_of(request.address, api)
        waiting = _Waiting(job=job, route=route, outcome=loop.create_future())
        for displaced, is_own in self._queue.push(waiting, sharer, size, loop.time()):
            refusal = HTTPError(OWN_BUSY if is_own else BUSY)
            if displaced is waiting:
                raise refusal
            displaced.fail(refusal)
        if self._serving is None or self._serving.done():
            # A separate task, so that a caller that disconnects does not leave half a message in the pipe.
            self._serving = asyncio.create_task(self._serve(), name="validation")
        left = asyncio.create_task(wait_until_left(request), name="left")
        try:
            ends: list[asyncio.Future[Any]] = [waiting.outcome, left]
            await asyncio.wait(ends, timeout=WAIT_S, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.outcome.done():
                raise HTTPError(LEFT if left.done() else BUSY)
            outcome = waiting.outcome.result()
        except TimeoutError:
            raise HTTPError(BUSY) from None
        finally:
            left.cancel()
            self._queue.remove(waiting)
            waiting.outcome.cancel()
        if isinstance(outcome, Refusal):
            raise HTTPError(ErrorResponse(outcome.status, outcome.code, outcome.message))
        if isinstance(outcome, Defect):
            log.error("validation failed: %s", outcome.traceback, extra={"action": "validation.failed"})
            raise HTTPError(responses.CRASHED)
        return outcome

    async def _serve(self) -> None:
        """Validate the requests that wait in the validator's queue until it is empty."""
        loop = asyncio.get_running_loop()
        while (found := self._queue.pop(started_s := loop.time())) is not None:
            waiting, sharer = found
            try:
                outcome = await self._outcome(waiting.job, waiting.route)
            except asyncio.CancelledError:
                waiting.outcome.cancel()
                raise
            except Exception as error:  # noqa: BLE001 - the caller raises it
                waiting.fail(error)
            else:
                if not waiting.outcome.done():
                    waiting.outcome.set_result(outcome)
            self._queue.charge(sharer, loop.time() - started_s, loop.time())

    async def _outcome(self, job: Job, route: Route | None) -> Outcome:
        outcome = await self._exchange(job, route)
        if isinstance(outcome, UnknownSchema):
            self._known.clear()
            outcome = await self._exchange(job, route)
            assert not isinstance(outcome, UnknownSchema)
        return outcome

    async def _exchange(self, job: Job, route: Route | None) -> Outcome | UnknownSchema:
        process = self._process or await self._begin()
        try:
            async with asyncio.timeout(WAIT_S):
                await process.send(self._message(job, route))
                result = _decode(await process.receive())
        except (TimeoutError, asyncio.CancelledError):
            await self._end()
            raise
        except (asyncio.IncompleteReadError, OSError):
            return await self._died()
        if result.last:
            await self._end()
        return result.outcome

    def _message(self, job: Job, route: Route | None) -> bytes:
        """Return a job for the validator's process, with its schema unless the process was sent it."""
        if isinstance(job, CallJob) and route is not None and job.digest not in self._known:
            if len(self._known) >= SCHEMAS:
                self._known.clear()
            self._known.add(job.digest)
            job = msgspec.structs.replace(job, schema=msgspec.json.encode(route.api.input_schema))
        return _encode(job)

    async def _begin(self) -> ChildProcess:
        """Start the process of the validator. Raises HTTPError: a 503 if the system cannot start it."""
        self._known.clear()
        try:
            # The validator writes to stderr when it runs out of memory; the process reports its exceptions in
            # results.
            self._process = await child_process.start(_PROCESS, stderr=subprocess.DEVNULL)
        except OSError as error:
            extra = {"action": "validation.not_started"}
            log.error("cannot start the validation process: %s", error, extra=extra)  # noqa: TRY400 - says all
            raise HTTPError(NOT_STARTED) from None
        return self._process

    async def _died(self) -> Outcome:
        """Return the response to the job during which the validator's process died."""
        assert self._process is not None
        code = await self._end()
        if code in (-signal.SIGPROF, -signal.SIGABRT, -signal.SIGKILL):
            status, kind, message = TOO_COSTLY
            return Refusal(status=status, code=kind, message=message)
        log.error(
            "validation process died with code %s",
            code,
            extra={"action": "validation.died", "code": code},
        )
        crashed = responses.CRASHED
        return Refusal(status=crashed.status, code=crashed.code, message=crashed.message)

    async def _end(self) -> int | None:
        process, self._process = self._process, None
        return await process.end() if process is not None else None
