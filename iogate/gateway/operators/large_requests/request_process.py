"""Process that executes one request of an operator with a large body.

Started by `large_requests` as `python -m iogate.gateway.operators.large_requests.request_process`, with the
settings of its gateway. It reads a `Job` and the body, and writes a `Result` and the body of the response.
Invariants: it has a connection to the store of its own; it ends after one request, and at the latest at its
limit of processor time; a request that takes too much memory is refused, and if the system runs out of
memory, this process ends first.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Final

import msgspec

from iogate import logs, settings
from iogate.errors import IogateError
from iogate.gateway.authentication.run_links import Links
from iogate.gateway.child_process import read_message, write_message
from iogate.gateway.http.client_address import TrustedProxies
from iogate.gateway.http.request import Request, from_scope
from iogate.gateway.http.responses import CRASHED, ErrorResponse, HTTPError, Response
from iogate.gateway.operators import error_responses
from iogate.gateway.operators.large_requests.job import Job, Result, too_costly
from iogate.gateway.operators.operation import Operation
from iogate.gateway.operators.operations import OPERATIONS
from iogate.gateway.operators.operator_api import OperatorApi
from iogate.gateway.state import GatewayState
from iogate.operators.operator_tokens import OperatorTokens
from iogate.operators.roles import Actor, Role
from iogate.security.keyring import Keyring
from iogate.settings import Settings
from iogate.store.integrity import trust
from iogate.store.integrity.newest_seals import NewestSeals
from iogate.store.store import Store, open_store
from iogate.supervision import handover

log = logging.getLogger("iogate.gateway")

_FIRST_TO_END: Final = "1000"
_EVERY_RESPONSE: Final = (b"content-type", b"cache-control", b"content-length")
_OPERATIONS: Final = {each.name: each for each in OPERATIONS}


async def respond(job: Job, body: bytes, chosen: Settings) -> Response:
    """Execute the request of a job in this process, and return the response, maybe an error."""
    operation = _OPERATIONS[job.operation]
    root = Path.cwd()
    ring = trust.gateway_keyring(chosen, root)
    try:
        store = await open_store(
            job.store_url,
            client_name=f"iogate-request-{os.getpid()}",
            keyring=ring,
            replicas=chosen.confirming,
            seals=NewestSeals(chosen.data_dir, job.store_url),
        )
    except (IogateError, TimeoutError) as error:
        return error_responses.respond(error)
    try:
        actor = Actor(name=job.actor, role=Role(job.role), via=job.via, origin=job.origin)
        api = OperatorApi(_state(chosen, store, ring, root), OperatorTokens({}))
        request = _request(job, operation, body)
        found = await api.execute(operation, actor, request, path=job.path, key=job.key)
        assert isinstance(found, Response), operation.name
    except HTTPError as failed:
        return failed.response
    finally:
        with contextlib.suppress(IogateError, TimeoutError):
            await store.refusals.flush()
        await store.close()
    return found


def _state(chosen: Settings, store: Store, ring: Keyring, root: Path) -> GatewayState:
    """Return the state that operations with large bodies read: settings, and the keys of routes."""
    return GatewayState(
        settings=chosen,
        links=Links(chosen.link_key or "", chosen.previous_link_keys),
        loopback=False,
        public_url=chosen.public_url or "",
        trusted_proxies=TrustedProxies(chosen.trusted_proxies) if chosen.trusted_proxies else None,
        root=root,
        store=store,
        fingerprint=ring.fingerprint,
    )


def _request(job: Job, operation: Operation, body: bytes) -> Request:
    async def receive() -> dict[str, str]:
        return {"type": "http.disconnect"}

    scope = {
        "method": operation.method,
        "raw_path": job.raw_path,
        "query_string": job.query,
        "headers": job.headers,
        "client": None,
    }
    request = from_scope(scope, receive)  # type: ignore[arg-type]  # a plain mapping is a scope
    request.body, request.is_read = body, True
    return request


def _limit(job: Job) -> None:
    """Limit processor time and memory of the request process for its job."""
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    most = job.cpu_s if hard < 0 else min(job.cpu_s, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (most, hard))
    with contextlib.suppress(OSError), Path("/proc/self/statm").open(encoding="ascii") as file:
        virtual = int(file.read().split()[0]) * resource.getpagesize()
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        most = virtual + job.memory_bytes
        resource.setrlimit(resource.RLIMIT_AS, (most if hard < 0 else min(most, hard), hard))


def _execute(job: Job, body: bytes, chosen: Settings) -> Response:
    """Return the response to a job; that to one without enough memory is an error, too."""
    extra = {"action": "operation.failed", "operation": job.operation}
    try:
        return asyncio.run(respond(job, body, chosen))
    except BaseExceptionGroup as errors:
        if errors.subgroup(MemoryError) is None:
            log.exception("%s failed", job.operation, extra=extra)
            return CRASHED
    except MemoryError:
        pass
    except Exception:
        log.exception("%s failed", job.operation, extra=extra)
        return CRASHED
    return too_costly(_OPERATIONS[job.operation])


def main() -> int:
    """Execute one request of the gateway in this process, and return the exit code."""
    # A service manager may signal all processes, but the gateway decides when this one ends.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        # Before the handover, after which the file belongs to the superuser.
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_END, encoding="ascii")
    handover.receive()
    chosen = settings.from_environment()
    logs.set_up(chosen.log_format)
    # A core dump would contain secrets.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Calls come first.
    os.nice(10)
    # Values have no cycles.
    gc.disable()
    head, body = read_message(sys.stdin.buffer), read_message(sys.stdin.buffer)
    if head is None or body is None:
        return 0
    job = msgspec.msgpack.decode(head, type=Job)
    _limit(job)
    found = _execute(job, body, chosen)
    code = found.code if isinstance(found, ErrorResponse) else ""
    headers = [each for each in found.headers if each[0] not in _EVERY_RESPONSE]
    result = Result(status=found.status, headers=headers, code=code)
    with contextlib.suppress(BrokenPipeError):
        write_message(sys.stdout.buffer, msgspec.msgpack.encode(result))
        write_message(sys.stdout.buffer, found.content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
