"""An HTTP request as one object, which every check and handler of the gateway takes.

Built from the ASGI scope by `app`, and by `caller_routes` for the routes of Litestar. Invariant: only
`Bodies.read` and `Bodies.release` change a request, and only its body.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

if TYPE_CHECKING:
    from litestar.types import HTTPScope

RawHeaders: TypeAlias = Sequence[tuple[bytes, bytes]]
Receive: TypeAlias = Callable[[], Awaitable[Any]]
"""Returns the next ASGI message from the client."""

MAX_HEADERS: Final = 32_768
"""Limit of bytes of all names and values."""
_NONE: Final[frozenset[bytes]] = frozenset()


async def _receive_nothing() -> Any:
    return {"type": "http.disconnect"}


class Request(msgspec.Struct, kw_only=True):
    """An HTTP request: its head, and its body after `Bodies.read`."""

    method: str
    raw_path: bytes = b""
    """Path as sent, without the query string."""
    query: bytes = b""
    raw_headers: RawHeaders = ()
    """Each header, with its name in lower case."""
    headers: Mapping[bytes, bytes] = {}
    """Headers by name; the last value of a repeated one."""
    repeated: frozenset[bytes] = _NONE
    """Names of the headers that appear more than once."""
    address: str = ""
    """Address of the client, which trusted proxies may have named; empty if it is unknown."""
    scope: Any = None
    """The ASGI scope, for what only few requests need of it."""
    receive: Receive = _receive_nothing
    body: bytes = b""
    is_read: bool = False
    """True after the whole body was read from the connection."""
    started_s: float = 0.0
    """Time of arrival, by `time.perf_counter`."""

    def __repr__(self) -> str:
        # Headers, query and body may contain credentials.
        return f"<Request {self.method}>"

    def has_large_headers(self) -> bool:
        """Tell whether the headers of the request are larger than MAX_HEADERS."""
        headers = self.headers
        return sum(map(len, headers)) + sum(map(len, headers.values())) > MAX_HEADERS


def from_scope(scope: HTTPScope, receive: Receive) -> Request:
    """Return the request of an ASGI scope; `receive` reads its body."""
    raw: Any = scope["headers"]  # the server's is a list
    headers = dict(raw)
    client = scope["client"]
    return Request(
        method=scope["method"],
        raw_path=scope["raw_path"],
        query=scope["query_string"],
        raw_headers=raw,
        headers=headers,
        repeated=_NONE if len(headers) == len(raw) else _repeated(raw),
        address=client[0] if client else "",
        scope=scope,
        receive=receive,
        started_s=time.perf_counter(),
    )


def _repeated(raw: RawHeaders) -> frozenset[bytes]:
    counts = Counter(name for name, _ in raw)
    return frozenset(name for name, count in counts.items() if count > 1)
