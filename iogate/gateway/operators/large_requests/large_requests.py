"""Executor of large requests of operators, each in a process of its own.

Used by `operator_api`. Decoding and planning hold the interpreter lock, and a thread would make all calls of
the gateway wait. Invariants: in a gateway process, an operator has one such request at a time, and one that
only reads and one that changes are executed; their bodies do not count towards the budget of those of calls.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import msgspec

from iogate.gateway import child_process
from iogate.gateway.http.access_log import CODE
from iogate.gateway.http.body import content_length, wait_until_left
from iogate.gateway.http.responses import CLOSE, CRASHED, ErrorResponse, HTTPError, Response, unavailable
from iogate.gateway.operators.error_responses import UNANSWERED
from iogate.gateway.operators.large_requests.job import Job, Result, too_costly
from iogate.settings import to_environment
from iogate.supervision import handover

if TYPE_CHECKING:
    from iogate.gateway.child_process import ChildProcess
    from iogate.gateway.http.body import Bodies
    from iogate.gateway.http.request import Request
    from iogate.gateway.operators.operation import Operation
    from iogate.gateway.state import GatewayState
    from iogate.operators.roles import Actor

log = logging.getLogger(__name__)

LARGE_BYTES: Final = 64 * 1024
"""Largest body that the gateway decodes itself; the process for a larger one takes half a second to start."""
WAIT_S: Final = 30.0
"""Longest wait for earlier large requests."""
START_S: Final = 30.0
"""Longest time for the start of a process, until it takes the settings."""
GRACE_S: Final = 5.0
"""Time beyond that of its operation after which the process is killed."""
CPU_S: Final = 40
"""Processor time of one request: less than the time of an operation, so that the response says the cause."""
MEMORY_BYTES: Final = 512 * 1024 * 1024
MEMORY_PER_BYTE: Final = 32
"""Limit of memory per byte of the body; a number of two bytes takes 40 once it is decoded."""
_PROCESS: Final = "iogate.gateway.operators.large_requests.request_process"
_CREDENTIALS: Final = (b"authorization", b"cookie")
# SIGXCPU: processor time; SIGKILL: out of memory; SIGABRT, SIGSEGV: native code whose allocation failed.
_COSTLY_EXITS: Final = (-signal.SIGXCPU, -signal.SIGABRT, -signal.SIGKILL, -signal.SIGSEGV)

BUSY: Final = unavailable(
    "An earlier request with a large body is still being executed; repeat this one later", 5.0
)
LEFT: Final = ErrorResponse(
    408, "requestError.timeout", "The client closed the connection before the response", [CLOSE]
)
NOT_STARTED: Final = unavailable(
    "The process that executes large requests cannot be started; nothing was changed: repeat the request "
    "later"
)


class LargeRequests:
    """Executor of large requests of operators for one gateway."""

    def __init__(self, state: GatewayState) -> None:
        self._state = state
        self._operators: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._kinds = {changes: asyncio.Lock() for changes in (False, True)}
        """Locks of the operations that only read, and of those that change."""

    @asynccontextmanager
    async def admit(self, operation: Operation, actor: Actor, request: Request) -> AsyncIterator[Bodies]:
        """Wait until the operator has no other large request, and yield the reader of the body.

        A request whose body cannot be large does not wait. Raises HTTPError, a 503, if the wait takes too
        long.
        """
        length = content_length(request.headers)
        if operation.body_limit <= LARGE_BYTES or (length is not None and length <= LARGE_BYTES):
            yield self._state.bodies
            return
        async with _held(self._operators[actor.name]):
            yield self._state.operator_bodies

    async def execute(
        self, operation: Operation, actor: Actor, request: Request, path: Mapping[str, str], key: str | None
    ) -> Response:
        """Execute a request with a large body, and return its response.

        `path` has the values in its path, `key` is its Idempotency-Key. Raises HTTPError: a 400, 408, 500 or
        503.
        """
        store = await self._state.check_store()
        job = Job(
            operation=operation.name,
            actor=actor.name,
            role=actor.role,
            via=actor.via,
            origin=actor.origin,
            path=dict(path),
            key=key,
            raw_path=request.raw_path,
            query=request.query,
            headers=[each for each in request.raw_headers if each[0] not in _CREDENTIALS],
            store_url=store.url,
            cpu_s=CPU_S,
            memory_bytes=MEMORY_BYTES + MEMORY_PER_BYTE * len(request.body),
        )
        async with _held(self._kinds[operation.changes]):
            return await self._run_process(operation, request, job)

    async def _run_process(self, operation: Operation, request: Request, job: Job) -> Response:
        """Start the process, send the request, and return its response. Raises as `execute` does."""
        process = await self._start()
        try:
            async with asyncio.timeout(operation.limit_s + GRACE_S):
                await process.send(msgspec.msgpack.encode(job))
                await process.send(request.body)
                if operation.changes:
                    return await _receive(process, request)
                return await _receive_unless_left(process, request)
        except TimeoutError:
            process.child.kill()
            raise HTTPError(UNANSWERED if operation.changes else too_costly(operation)) from None
        except (asyncio.IncompleteReadError, OSError):
            raise HTTPError(await _died(process, operation)) from None
        finally:
            await process.end()

    async def _start(self) -> ChildProcess:
        """Start the process for one large request and send it the settings. Raises HTTPError, a 503."""
        values = {**os.environ, **handover.variables(), **to_environment(self._state.settings)}
        try:
            ours, theirs = socket.socketpair()
            with ours:
                with theirs:
                    process = await child_process.start(
                        _PROCESS,
                        stderr=None,
                        environment={
                            **handover.minimal(os.environ),
                            handover.SOCKET_FD: str(theirs.fileno()),
                        },
                        files=[theirs.fileno()],
                    )
                try:
                    async with asyncio.timeout(START_S):
                        await handover.send(ours, values)
                except BaseException:
                    process.child.kill()
                    await process.end()
                    raise
        except (OSError, TimeoutError) as error:
            why = "it takes too long" if isinstance(error, TimeoutError) else error
            extra = {"action": "operation.not_started"}
            log.error("cannot start the process of a large request: %s", why, extra=extra)  # noqa: TRY400 - says all
            raise HTTPError(NOT_STARTED) from None
        return process


async def _receive(process: ChildProcess, request: Request) -> Response:
    """Return the response of the process of a large request. Raises as `ChildProcess.receive` does."""
    result = msgspec.msgpack.decode(await process.receive(), type=Result)
    request.scope[CODE] = result.code
    return Response(result.status, await process.receive(), result.headers)


async def _receive_unless_left(process: ChildProcess, request: Request) -> Response:
    """Return the response to a large request that only reads; end the process if its client leaves.

    Raises as `_receive` does, and HTTPError, a 408, after the client has left.
    """
    receiving = asyncio.create_task(_receive(process, request))
    leaving = asyncio.create_task(wait_until_left(request))
    try:
        await asyncio.wait([receiving, leaving], return_when=asyncio.FIRST_COMPLETED)
        if receiving.done():
            return receiving.result()
        process.child.kill()
        raise HTTPError(LEFT)
    finally:
        receiving.cancel()
        leaving.cancel()
        await asyncio.gather(receiving, leaving, return_exceptions=True)


@asynccontextmanager
async def _held(lock: asyncio.Lock) -> AsyncIterator[None]:
    """Hold a lock of large requests. Raises HTTPError, a 503, if that takes too long."""
    try:
        async with asyncio.timeout(WAIT_S):
            await lock.acquire()
    except TimeoutError:
        raise HTTPError(BUSY) from None
    try:
        yield
    finally:
        lock.release()


async def _died(process: ChildProcess, operation: Operation) -> ErrorResponse:
    """Return the response to a large request during which its process died."""
    code = await process.end()
    is_costly = code in _COSTLY_EXITS
    log.log(
        logging.WARNING if is_costly else logging.ERROR,
        "the process of a large request died with code %s",
        code,
        extra={"action": "operation.died", "operation": operation.name, "code": code},
    )
    return too_costly(operation) if is_costly else CRASHED
