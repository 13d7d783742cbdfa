"""The input of a call: from its body, its query or the whole request, judged by the API's schema.

Pure. Invariant: no credential is ever part of an input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iogate.gateway import decoding
from iogate.gateway.answers import invalid, unsupported
from iogate.gateway.schema import plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from litestar.types import HTTPScope

    from iogate.gateway.auth import RawHeaders
    from iogate.gateway.routes import Route

_JSON_LABELS = (b"", b"application/json")


def check_encoding(headers: Mapping[bytes, bytes]) -> None:
    """A compressed body is refused: its size says nothing about what it becomes."""
    encoding = headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding not in (b"identity", b""):
        name = encoding.decode("latin-1")[:40]
        raise unsupported(f"The content encoding {name} is not read; expected none")


def read(route: Route, scope: HTTPScope, headers: Mapping[bytes, bytes], body: bytes) -> Any:
    """The input that the run will have, or the 4xx that says what is wrong with it."""
    whole = route.api.input_from == "request"
    posted = scope["method"] == "POST"
    query = scope["query_string"]
    if whole:
        value: Any = {
            "method": scope["method"],
            "headers": _headers(scope["headers"], route.guard.stripped),
            "query": _fields(route, decoding.pairs(query, "query string"), "query"),
            "body": _body(route, headers, body, "body") if posted else {},
        }
    elif posted:
        value = _body(route, headers, body, None)
    else:
        value = _fields(route, decoding.pairs(query, "query string"), None)
    if route.schema is not None:
        route.schema.check(value)
    return value


def _body(route: Route, headers: Mapping[bytes, bytes], body: bytes, within: str | None) -> Any:
    label = headers.get(b"content-type", b"")
    value = decoding.body(body, label)
    # JSON says its types itself; fields of a form are all strings.
    if type(value) is dict and label not in _JSON_LABELS and body.lstrip()[:1] != b"{":
        return _fields(route, value, within)
    return value


def _fields(route: Route, fields: Mapping[str, Any], within: str | None) -> dict[str, Any]:
    if not fields:
        return {}
    return route.schema.read(fields, within) if route.schema is not None else plain(fields)


def _headers(raw: RawHeaders, stripped: frozenset[bytes]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in raw:
        if name in stripped:
            continue
        key, text = name.decode("latin-1"), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers


def check_key(name: bytes, headers: Mapping[bytes, bytes], repeated: frozenset[bytes]) -> str | None:
    """The idempotency key of a call, None without one."""
    key = headers.get(name)
    if key is None:
        return None
    if name in repeated:
        raise invalid(f"The header {name.decode()} is given more than once")
    if not 1 <= len(key) <= 255:
        raise invalid(f"The header {name.decode()} has {len(key)} characters; expected 1 to 255")
    return key.decode("latin-1")
