"""Turns an HTTP response into a task's output: bounded reading, decompression, decoding.

Called by `http`. Invariant: never more than the cap in memory, compressed or not.
"""

from __future__ import annotations

import base64
import zlib
from typing import TYPE_CHECKING, Any, Final, Literal

from iogate.effects import values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import ClientResponse

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


class BadResponse(Exception):
    """A complete answer that cannot become an output: too large, or not what it says it is."""


async def read(response: ClientResponse, *, cap: int) -> bytes:
    """Read the whole body, decompressed.

    Raises BadResponse as soon as it is larger than `cap`.
    """
    inflate = _Inflate(response.headers.get("Content-Encoding", ""), cap)
    body = bytearray()
    async for chunk in response.content.iter_chunked(CHUNK):
        body += inflate.feed(chunk, room=cap - len(body))
        if len(body) > cap:
            raise BadResponse(f"its body is larger than {cap} bytes")
    return bytes(body)


class _Inflate:
    """Undoes `gzip` and `deflate`, the two that calls ask for, never past a given room."""

    def __init__(self, encoding: str, cap: int) -> None:
        self._cap = cap
        self._inflater: Any = None  # zlib's class has no public name
        self._raw_allowed = False
        match encoding.strip().lower():
            case "" | "identity":
                pass
            case "gzip" | "x-gzip":
                self._inflater = zlib.decompressobj(wbits=31)
            case "deflate":
                self._inflater = zlib.decompressobj()
                self._raw_allowed = True
            case other:
                raise BadResponse(f'its Content-Encoding "{other[:40]}" was not asked for')

    def feed(self, chunk: bytes, *, room: int) -> bytes:
        if self._inflater is None:
            return chunk
        try:
            data: bytes = self._inflater.decompress(chunk, room + 1)
        except zlib.error:
            # Some servers send "deflate" without the zlib wrapper that the standard asks for.
            if not self._raw_allowed:
                raise BadResponse("its compressed body is broken") from None
            self._raw_allowed = False
            self._inflater = zlib.decompressobj(wbits=-15)
            return self.feed(chunk, room=room)
        self._raw_allowed = False
        if self._inflater.unconsumed_tail:
            raise BadResponse(f"its body is larger than {self._cap} bytes")
        return data


def output(
    response: ClientResponse,
    body: bytes,
    *,
    mode: Literal["raw", "content", "response"],
    request: Mapping[str, Any],
) -> Any:
    """Shape the output as the call asked for: base64, decoded content, or the whole response."""
    match mode:
        case "raw":
            return base64.b64encode(body).decode("ascii")
        case "content":
            return content(response, body)
        case "response":
            headers: dict[str, str] = {}
            for name, value in response.headers.items():
                canonical = name.title() if name.islower() else name
                headers[canonical] = f"{headers[canonical]}, {value}" if canonical in headers else value
            return {
                "request": dict(request),
                "statusCode": response.status,
                "headers": headers,
                "content": content(response, body),
            }


def content(response: ClientResponse, body: bytes) -> Any:
    """Decode by content type: JSON is parsed, text stays text, all else becomes base64; nothing is null."""
    if not body:
        return None
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind == "application/json" or kind.endswith("+json"):
        try:
            return values.parse(body)
        except ValueError as fault:
            raise BadResponse(f"its body is not the JSON that its Content-Type promises: {fault}") from None
    if kind.startswith("text/") or kind.endswith("+xml") or kind in TEXTUAL:
        return _text(response, body)
    if not kind:
        try:
            return body.decode()
        except UnicodeDecodeError:
            pass
    return base64.b64encode(body).decode("ascii")


def _text(response: ClientResponse, body: bytes) -> str:
    """Decode as the charset says, else as UTF-8; bytes that do not fit become the replacement character."""
    try:
        text = body.decode(response.charset or "utf-8", errors="replace")
    except LookupError:
        text = body.decode(errors="replace")
    return text.encode("utf-8", errors="replace").decode()
