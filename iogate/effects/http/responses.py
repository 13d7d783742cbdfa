"""Converts an HTTP response to a task's output: bounded reading, decompression, decoding.

Called by `transport` and `http_calls`. Invariant: never more than the cap in memory, compressed or not.
"""

from __future__ import annotations

import base64
import codecs
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from iogate import json_values
from iogate.errors import RESPONSE_HEADERS
from iogate.http_syntax import media_type

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import ClientResponse
    from multidict import CIMultiDict

    from iogate.security.redaction import Redactor

CHUNK: Final = 64 * 1024

TEXTUAL: Final = frozenset(
    {
        "application/xml",
        "application/javascript",
        "application/ecmascript",
        "application/x-www-form-urlencoded",
        "application/yaml",
        "application/x-yaml",
        "application/toml",
        "application/sql",
        "application/graphql",
        "application/x-ndjson",
        "application/jsonl",
    }
)


@dataclass(frozen=True, kw_only=True)
class Response:
    """A complete response."""

    status: int
    headers: CIMultiDict[str]
    charset: str | None
    body: bytes
    """Decompressed body."""


MAX_ERROR_BODY: Final = 8 * 1024
"""Maximum size of the body of an error response for the workflow; the rest is cut off."""
_MAX_ERROR_HEADER: Final = 256


class BadResponse(Exception):
    """A complete response that cannot become an output: too large, or not in its declared format."""


async def read_body(response: ClientResponse, *, cap: int) -> bytes:
    """Read the whole body of a response, decompressed.

    Raises BadResponse as soon as it is larger than `cap`, before or after decompression: compressed data may
    contain nothing, without an end.
    """
    inflate = _Decompressor(response.headers.get("Content-Encoding", ""), cap)
    body = bytearray()
    received = 0
    async for chunk in response.content.iter_chunked(CHUNK):
        received += len(chunk)
        body += inflate.feed(chunk, room=cap - len(body))
        if max(received, len(body)) > cap:
            raise BadResponse(f"its body is larger than {cap} bytes")
    inflate.finish()
    return bytes(body)


async def read_body_start(response: ClientResponse, *, cap: int) -> bytes:
    """Read the beginning of a response, at most `cap` bytes; empty if it cannot be decompressed.

    It ends after `cap` bytes before decompression, too.
    """
    body = bytearray()
    received = 0
    try:
        inflate = _Decompressor(response.headers.get("Content-Encoding", ""), cap)
        async for chunk in response.content.iter_chunked(CHUNK):
            received += len(chunk)
            body += inflate.feed(chunk, room=cap - len(body))
            if max(received, len(body)) >= cap:
                break
    except BadResponse:
        return b""
    return bytes(body[:cap])


def redact_error_response(response: Response, redactor: Redactor) -> dict[str, Any]:
    """Return the part of an error response that a workflow may see: `status`, `headers`, `body`.

    The body is decoded like that of an output, if possible: incomplete JSON is text. It is null if it is
    empty, or neither JSON nor text.
    """
    headers: dict[str, str] = {}
    for name in RESPONSE_HEADERS:
        if name in response.headers:
            headers[name] = redactor.text(", ".join(response.headers.getall(name)))[:_MAX_ERROR_HEADER]
    return {"status": response.status, "headers": headers, "body": _redact_error_body(response, redactor)}


def _redact_error_body(response: Response, redactor: Redactor) -> Any:
    if len(response.body) <= MAX_ERROR_BODY:
        try:
            found = decode_body(response)
        except BadResponse:
            return redactor.text(_decode_text(response))
        return found if not isinstance(found, str) or _is_text(response) else None
    if not _is_text(response):
        return None
    # A secret may span the cut, so the text after it is redacted, too.
    return redactor.split(_decode_text(response), MAX_ERROR_BODY)[0]


def _is_text(response: Response) -> bool:
    kind = media_type(response.headers.get("Content-Type", ""))
    if not kind:
        return b"\0" not in response.body
    return _is_json(kind) or kind.startswith("text/") or kind.endswith("+xml") or kind in TEXTUAL


class _Decompressor:
    """Decompressor for `gzip` and `deflate`, which calls accept, with a limit of its output."""

    def __init__(self, encoding: str, cap: int) -> None:
        self._cap = cap
        self._wbits = 0
        self._begun = False
        match encoding.strip().lower():
            case "" | "identity":
                pass
            case "gzip" | "x-gzip":
                self._wbits = 31
            case "deflate":
                self._wbits = 15
            case other:
                raise BadResponse(f'its Content-Encoding is "{other[:40]}"; gzip and deflate are read')
        self._inflater = zlib.decompressobj(self._wbits or 15)

    def feed(self, chunk: bytes, *, room: int) -> bytes:
        """Decompress a chunk of a response. Raises BadResponse if the result is larger than `room`."""
        if not self._wbits:
            return chunk
        parts: list[bytes] = []
        while chunk:
            if self._inflater.eof:
                if self._wbits != 31:
                    break  # data after the end of a deflated body is ignored
                self._inflater = zlib.decompressobj(self._wbits)  # a gzip body may have several members
            part = self._inflate(chunk, room)
            parts.append(part)
            room -= len(part)
            if self._inflater.unconsumed_tail:
                raise BadResponse(f"its body is larger than {self._cap} bytes")
            chunk = self._inflater.unused_data
        return b"".join(parts)

    def _inflate(self, chunk: bytes, room: int) -> bytes:
        begun, self._begun = self._begun, True
        try:
            return self._inflater.decompress(chunk, max(room, 0) + 1)
        except zlib.error:
            # Some servers send "deflate" without the zlib wrapper that the standard requires.
            if begun or self._wbits != 15:
                raise BadResponse("its compressed body is broken") from None
            self._wbits = -15
            self._inflater = zlib.decompressobj(self._wbits)
            return self._inflate(chunk, room)

    def finish(self) -> None:
        """Check the end of a compressed response. Raises BadResponse for an incomplete one."""
        if self._begun and not self._inflater.eof:
            raise BadResponse("its compressed body is broken")


def to_output(
    response: Response, *, mode: Literal["raw", "content", "response"], request: Mapping[str, Any]
) -> Any:
    """Return the output of an HTTP call in its mode: base64, decoded content, or the whole response.

    Raises BadResponse.
    """
    match mode:
        case "raw":
            return base64.b64encode(response.body).decode("ascii")
        case "content":
            return decode_body(response)
        case "response":
            headers: dict[str, str] = {}
            for name, value in response.headers.items():
                canonical = name.title() if name.islower() else name
                headers[canonical] = f"{headers[canonical]}, {value}" if canonical in headers else value
            return {
                "request": dict(request),
                "statusCode": response.status,
                "headers": headers,
                "content": decode_body(response),
            }


def decode_body(response: Response) -> Any:
    """Decode a response by content type: JSON is parsed, text stays, else base64; an empty body gives null.

    Raises BadResponse for invalid JSON.
    """
    body = response.body
    if not body:
        return None
    kind = media_type(response.headers.get("Content-Type", ""))
    if _is_json(kind):
        try:
            return json_values.parse(_to_utf8(body, response.charset))
        except ValueError as fault:
            raise BadResponse(f"its body is not the JSON that its Content-Type promises: {fault}") from None
    if kind.startswith("text/") or kind.endswith("+xml") or kind in TEXTUAL:
        return _decode_text(response)
    if not kind:
        try:
            return body.decode()
        except UnicodeDecodeError:
            pass
    return base64.b64encode(body).decode("ascii")


def _is_json(kind: str) -> bool:
    return kind in {"application/json", "text/json"} or kind.endswith("+json")


def _to_utf8(body: bytes, charset: str | None) -> bytes:
    """Return the JSON of a response as UTF-8: some servers declare another charset."""
    try:
        codec = codecs.lookup(charset or "utf-8").name
        # The parser detects Unicode encodings by their first bytes.
        return body if codec.startswith("utf") else body.decode(codec).encode()
    except (LookupError, UnicodeError):
        return body


def _decode_text(response: Response) -> str:
    """Decode a response by its charset, by default UTF-8; invalid bytes become replacement characters."""
    try:
        text = response.body.decode(response.charset or "utf-8", errors="replace")
    except LookupError:
        text = response.body.decode(errors="replace")
    return text.encode("utf-8", errors="replace").decode()
