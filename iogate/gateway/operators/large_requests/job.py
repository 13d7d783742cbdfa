"""Messages between a gateway and the process of a large request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from iogate.gateway.http.responses import ErrorResponse
from iogate.operators.roles import Way

if TYPE_CHECKING:
    from iogate.gateway.operators.operation import Operation


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A request after the checks of credentials, role and headers; its body is the next message."""

    operation: str
    actor: str
    role: int
    via: Way
    origin: str
    path: dict[str, str]
    """Values of the names in the path of the operation."""
    key: str | None
    """Idempotency-Key."""
    raw_path: bytes
    query: bytes
    headers: list[tuple[bytes, bytes]]
    """Headers without credentials."""
    store_url: str
    cpu_s: int
    """Limit of processor time; the process ends when it is reached."""
    memory_bytes: int
    """Limit of memory beyond that in use before the body is decoded."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """Head of the response to a large request; its body is the next message."""

    status: int
    headers: list[tuple[bytes, bytes]]
    """Headers beside those that each JSON response has."""
    code: str = ""
    """Code of an error."""


def too_costly(operation: Operation) -> ErrorResponse:
    """Return the response to a large request that takes too much time or memory."""
    outcome = (
        "the list of revisions shows whether it was published" if operation.changes else "nothing was changed"
    )
    return ErrorResponse(
        400,
        "requestError.invalidParams",
        f"The body takes too much time or memory to process; {outcome}",
    )
