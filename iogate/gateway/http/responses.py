"""HTTP responses, and the common form of errors.

Used by every route. Invariant: each response carries `Cache-Control: no-store`, and the body of an error is
`{"response":{"error":{"code","message"}}}`; those to operators may also have `hint` and `iog`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

if TYPE_CHECKING:
    from litestar.types import HTTPResponseBodyEvent, HTTPResponseStartEvent, Send

from iogate.store.connection.failures import Drained, StoreFull, Unanswered, Unconfirmed

Headers: TypeAlias = list[tuple[bytes, bytes]]

CLOSE = (b"connection", b"close")
NO_STORE = (b"cache-control", b"no-store")
DRAINED_S = 5.0
"""Upper limit of `Retry-After` while the store is drained."""

_encode = msgspec.json.Encoder(order=None, decimal_format="number").encode


class Response:
    """A complete response with prebuilt ASGI messages, which may be sent any number of times."""

    __slots__ = ("_body", "content", "headers", "start", "status")

    def __init__(
        self,
        status: int,
        content: bytes,
        headers: Iterable[tuple[bytes, bytes]] = (),
        *,
        content_type: bytes = b"application/json",
        store: bool = False,
    ) -> None:
        """`store`: whether caches may store the response; if so, `headers` must have the cache rules."""
        self.status = status
        self.content = content
        self.headers: Headers = [
            (b"content-type", content_type),
            *(() if store else (NO_STORE,)),
            (b"content-length", str(len(content)).encode()),
            *headers,
        ]
        self.start: HTTPResponseStartEvent = {
            "type": "http.response.start",
            "status": status,
            "headers": self.headers,
        }
        self._body: HTTPResponseBodyEvent = {
            "type": "http.response.body",
            "body": content,
            "more_body": False,
        }

    async def send_last(self, send: Send) -> None:
        """Send the HTTP response and close the connection, since this process is about to end."""
        await send(self.start_last())
        await send(self._body)

    def start_last(self) -> HTTPResponseStartEvent:
        """Return the message that starts the last HTTP response of a connection."""
        last = self.headers if CLOSE in self.headers else [*self.headers, CLOSE]
        return {**self.start, "headers": last}

    async def send(self, send: Send) -> None:
        """Send the HTTP response."""
        await send(self.start)
        await send(self._body)


class ErrorResponse(Response):
    """A response in the common form of errors."""

    __slots__ = ("code", "hint", "message")

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        headers: Iterable[tuple[bytes, bytes]] = (),
        *,
        hint: str = "",
        iog: str = "",
    ) -> None:
        """`hint` is the next step, and `iog` the code that `iogate explain` knows; absent if empty."""
        super().__init__(status, error_body(code, message, hint=hint, iog=iog), headers)
        self.code = code
        self.message = message
        self.hint = hint

    @property
    def text(self) -> str:
        """The message with its hint, on one line."""
        return f"{self.message}; {self.hint}" if self.hint else self.message


class HTTPError(Exception):
    """Raised by a check that fails; `response` is sent to the caller."""

    def __init__(self, response: ErrorResponse) -> None:
        super().__init__(response.message)
        self.response = response


def error_body(code: str, message: str, *, hint: str = "", iog: str = "") -> bytes:
    """Encode the body of an error response in the common form, without empty `hint` and `iog`."""
    more = {name: text for name, text in (("hint", hint), ("iog", iog)) if text}
    return _encode({"response": {"error": {"code": code, "message": message, **more}}})


def json_response(value: Any, status: int = 200, headers: Iterable[tuple[bytes, bytes]] = ()) -> Response:
    """Return an HTTP response with the body `{"response": value}`."""
    return Response(status, _encode({"response": value}), headers)


def invalid(message: str) -> HTTPError:
    """Return the HTTP error with a 400 response in the common form, for invalid content."""
    return HTTPError(ErrorResponse(400, "requestError.invalidParams", message))


def too_large(limit: int) -> HTTPError:
    """Return the HTTP error with a 413 response in the common form, for a body of over `limit` bytes."""
    return HTTPError(ErrorResponse(413, "requestError.tooLarge", f"The body is larger than {limit} bytes"))


def unsupported(message: str) -> HTTPError:
    """Return the HTTP error with a 415 response, for an unsupported content type or encoding."""
    return HTTPError(ErrorResponse(415, "requestError.unsupportedMediaType", message))


def not_allowed(verb: str, allowed: str) -> ErrorResponse:
    """Return the 405 response for a method that the path does not support."""
    return ErrorResponse(
        405,
        "requestError.methodNotAllowed",
        f"The method {verb} is not allowed here; expected {allowed}",
        [(b"allow", allowed.encode())],
    )


TWO_HOSTS = ErrorResponse(
    400, "requestError.invalidParams", "The header Host is given more than once", [CLOSE]
)


def misdirected(host: bytes | None) -> ErrorResponse:
    """Return a 421 response in the common form, for a request to a host name that is not served."""
    name = ascii((host or b"").decode("latin-1")[:80])[1:-1]
    return ErrorResponse(
        421,
        "requestError.misdirected",
        f"The host {name} is not served here; the setting hosts of the gateway names more",
        [CLOSE],
    )


def too_many(message: str, retry_after_s: float) -> ErrorResponse:
    """Return a 429 response in the common form of errors; `retry_after_s` is rounded up."""
    seconds = max(1, -int(-retry_after_s // 1))
    return ErrorResponse(
        429,
        "requestError.tooManyRequests",
        f"{message}; retry in {seconds} s",
        [(b"retry-after", str(seconds).encode())],
    )


def unavailable(message: str, retry_after_s: float = 1.0) -> ErrorResponse:
    """Return a 503 response in the common form of errors; `retry_after_s` is rounded up."""
    seconds = str(max(1, math.ceil(retry_after_s))).encode()
    return ErrorResponse(503, "serverError.unavailable", message, [(b"retry-after", seconds)])


def store_error(error: BaseException, unanswered: ErrorResponse) -> ErrorResponse:
    """Return the 503 response for an error of the store; `unanswered` if it may have been executed."""
    match error:
        case Drained():
            # A failover takes seconds; the operator usually opens the store before the limit.
            return unavailable("The store is closed for a planned failover", min(error.left_s, DRAINED_S))
        case Unconfirmed():
            return UNCONFIRMED
        case StoreFull():
            return STORE_FULL
        case Unanswered() | TimeoutError():
            return unanswered
        case _:
            return STORE_DOWN


NO_ROUTE = ErrorResponse(404, "requestError.notFound", "There is no such API")
NO_RUN = ErrorResponse(
    404,
    "requestError.notFound",
    "There is no such run, or it takes the credentials of its API or its signed link to see it",
)
NO_PATH = ErrorResponse(404, "requestError.notFound", "There is nothing at this path")
NOT_ENABLED = ErrorResponse(403, "requestError.notEnabled", "The API is not enabled")
BROKEN_OFF = ErrorResponse(
    400, "requestError.invalidParams", "The body ended before it was complete", [CLOSE]
)
TIMED_OUT = ErrorResponse(408, "requestError.timeout", "The body did not arrive in time", [CLOSE])
HEADERS_TOO_LARGE = ErrorResponse(
    431,
    "requestError.headersTooLarge",
    "The headers are larger than 32768 bytes",
    [CLOSE],
)
OVER_BUDGET = ErrorResponse(
    503,
    "serverError.unavailable",
    "Too many request bodies are being read; nothing was accepted",
    [(b"retry-after", b"1"), CLOSE],
)
STORE_DOWN = unavailable("The store is out of reach; nothing was accepted")
STORE_SLOW = unavailable("The store did not answer in time; repeat the request")
UNANSWERED = unavailable(
    "The store did not answer in time, so that the call may or may not have been accepted; "
    "repeat it with the same idempotency key"
)
EVENTS_UNANSWERED = unavailable(
    "The store did not answer in time, so that the events may or may not have been accepted; "
    "repeat them with the same ids"
)
UNCONFIRMED = unavailable(
    "Too few replicas have confirmed the call, so that it may or may not have been accepted; "
    "repeat it with the same idempotency key"
)
STORE_FULL_MESSAGE = "The store has no memory left; nothing was accepted"
STORE_FULL = unavailable(STORE_FULL_MESSAGE, 10.0)
NO_REVISION = unavailable("No revision is loaded yet")
STALE = unavailable("The API changed while this call was validated; call again")
UNCONFIGURED = unavailable("The credentials of this API are not configured on this gateway")
KEYS_MISSING = unavailable("The keys that verify tokens are not available on this gateway")
CRASHED = ErrorResponse(500, "serverError.internal", "The gateway failed on this call; its log says why")
