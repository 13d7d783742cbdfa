"""Changes with an Idempotency-Key: a repetition gets the response to the first request.

Used by `operator_api`. Invariants: of several requests of an operator with one key, at most one is executed,
except of changes that free memory while the store is too full to keep the key; a request that failed for a
reason of the gateway or the store may be repeated.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from iogate.errors import Unreachable
from iogate.gateway.calls.call_keys import header_key
from iogate.gateway.http.responses import ErrorResponse, HTTPError, Response
from iogate.store.connection.failures import StoreFull
from iogate.store.operators.replies import Reply

if TYPE_CHECKING:
    from iogate.gateway.http.request import Request
    from iogate.store.store import Store

HEADER: Final = b"idempotency-key"
KEPT: Final = 256 * 1024
"""Bytes of a response that is kept; a request with a larger one may be executed again."""
_REPLAYED: Final = (b"idempotent-replayed", b"true")
_MISMATCH: Final = ErrorResponse(
    422,
    "requestError.idempotencyMismatch",
    "This Idempotency-Key was used for another request",
)
_PENDING: Final = ErrorResponse(
    409,
    "requestError.conflict",
    "A request with this Idempotency-Key is still being executed",
    [(b"retry-after", b"1")],
)
_encode = msgspec.json.Encoder(order="deterministic").encode


def key_of(request: Request) -> str | None:
    """Return the Idempotency-Key of an operator's request; None without one. Raises HTTPError: a 400."""
    return header_key(HEADER, request)


def fingerprint(
    name: str, path: Mapping[str, str], given: Mapping[str, Any], version: str | None = None
) -> str:
    """Return the digest of an operator's request: its operation, path, parameters, and If-Match version."""
    parts = [name, path, {**given}, *([] if version is None else [version])]
    return hashlib.sha256(_encode(parts)).hexdigest()


def change_id(operator: str, key: str) -> str:
    """Return the id of a change by operator and Idempotency-Key: by it, the store recognises repetitions."""
    return hashlib.sha256(f"{operator}\0{key}".encode()).hexdigest()[:32]


async def once(
    store: Store,
    operator: str,
    key: str,
    digest: str,
    execute: Callable[[], Awaitable[Response]],
    *,
    frees_memory: bool,
) -> Response:
    """Return the response to the first request with a key of an operator: by `execute`, or the kept one.

    `frees_memory`: execute the change also if the store is too full to keep the key. Raises StoreFull if the
    store is full and `frees_memory` is false, and HTTPError: the 422 for another request, the 409 while the
    first one is being executed.
    """
    try:
        earlier = await store.replies.claim(operator, key, digest)
    except StoreFull:
        if not frees_memory:
            raise
        return await execute()
    if earlier is not None:
        if earlier.fingerprint != digest:
            raise HTTPError(_MISMATCH)
        if not earlier.status:
            raise HTTPError(_PENDING)
        return _response(earlier)
    is_kept = False
    try:
        response = await execute()
        is_kept = response.status < 500 and len(response.content) <= KEPT
        if is_kept:
            reply = Reply(fingerprint=digest, status=response.status, body=response.content.decode())
            try:
                await store.replies.keep(operator, key, reply)
            except StoreFull:
                # The change is made; a repetition changes nothing twice, by its id or by its nature.
                is_kept = False
        return response
    finally:
        if not is_kept:
            with contextlib.suppress(Unreachable):  # the claim ends by itself
                await store.replies.release(operator, key)


def _response(kept: Reply) -> Response:
    """Return the kept response to the first request with a key; a refusal is an ErrorResponse, as it was."""
    if kept.status < 400:
        return Response(kept.status, kept.body.encode(), [_REPLAYED])
    error = msgspec.json.decode(kept.body)["response"]["error"]
    return ErrorResponse(
        kept.status,
        error["code"],
        error["message"],
        [_REPLAYED],
        hint=error.get("hint", ""),
        iog=error.get("iog", ""),
    )
