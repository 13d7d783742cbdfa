"""Builds the request of a `call: http`: URL with query, headers, body, idempotency key.

Called by `http_calls`. Invariant: no header changes the framing of the message, and after a redirect to
another origin only harmless headers are left.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from multidict import CIMultiDict
from yarl import URL

import iogate
from iogate import json_values, trace_context
from iogate.effects.http import multipart, urls
from iogate.errors import WorkflowError
from iogate.http_syntax import is_token, media_type
from iogate.security.redaction_patterns import may_be_secret, redact_query

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from iogate.engine.commands import CallHttp

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
FRAMING: Final = frozenset({"content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer"})

KEPT_ACROSS_ORIGINS: Final = frozenset(
    {"accept", "accept-encoding", "accept-language", "content-type", "user-agent", "idempotency-key"}
)


@dataclass(frozen=True, kw_only=True)
class Request:
    """An HTTP request to send."""

    method: str
    url: URL
    headers: CIMultiDict[str]
    body: bytes | None
    at_most_once: bool = False
    """True if it must not be repeated after a broken connection, whatever its method."""

    def redirected(self, url: URL, *, status: int, same_origin: bool) -> Request:
        """Return the HTTP request after a redirect: 307 and 308 repeat method and body, others become GET."""
        method, body, headers = self.method, self.body, self.headers.copy()
        if not same_origin:
            headers = CIMultiDict((n, v) for n, v in headers.items() if n.lower() in KEPT_ACROSS_ORIGINS)
        if status not in {307, 308} and method not in {"GET", "HEAD"}:
            method, body = "GET", None
            headers.popall("Content-Type", None)
            headers.popall("Idempotency-Key", None)
        return replace(self, method=method, url=url, headers=headers, body=body)

    def redacted(self) -> dict[str, Any]:
        """Return the HTTP request for a `response` output, without values that may be secrets."""
        url = str(self.url.with_user(None).with_query(None).with_fragment(None))
        query = self.url.raw_query_string
        return {
            "method": self.method.lower(),
            "uri": f"{url}?{redact_query(query)}" if query else url,
            "headers": {n: v for n, v in self.headers.items() if not may_be_secret(n)},
        }


def configuration_error(detail: str) -> WorkflowError:
    """Return the error for an HTTP call with invalid arguments, which no request can be built from."""
    return WorkflowError("configuration", title="HTTP call cannot be made", detail=detail)


def build_request(
    call: CallHttp, *, idempotency_key: str, trace: str = "", at_most_once: bool = False
) -> Request:
    """Build the first request of an HTTP call; a header of the author has priority over those of `trace`.

    Raises WorkflowError, of type configuration, for a call that cannot be sent.
    """
    method = call.method.upper()
    if not is_token(method):
        raise configuration_error("the method is not an HTTP method")
    if method == "CONNECT":
        raise configuration_error("CONNECT asks a proxy for a tunnel, which no call can use")
    url = parse_url(call.url)
    if url.raw_user is not None and call.authentication is not None:
        raise configuration_error(
            f"the endpoint holds a user, and the call has {call.authentication.scheme} authentication; "
            "keep one of them"
        )
    pairs = list(_encode_pairs(call.query, "query parameter"))
    if pairs:
        url = url.extend_query(pairs)
    headers: CIMultiDict[str] = CIMultiDict(
        {"Accept": "*/*", "Accept-Encoding": "gzip, deflate", "User-Agent": f"iogate/{iogate.__version__}"}
    )
    headers.update(trace_context.headers(trace))
    body, content_type = _encode_body(call)
    if content_type:
        headers["Content-Type"] = content_type
    if method not in SAFE_METHODS and idempotency_key:
        # Task names are free text: what a header cannot hold is percent-encoded.
        headers["Idempotency-Key"] = quote(idempotency_key, safe="!#$&'()*+,/:;=?@[]~")
    for name, value in call.headers.items():
        _check_header(name, value)
        headers[name] = value
    if content_type and content_type.startswith(multipart.MEDIA_TYPE):
        headers["Content-Type"] = content_type  # the author's value lacks the boundary
    if url.raw_user is not None and "Authorization" in headers:
        raise configuration_error(
            'the endpoint holds a user, and the call an "Authorization"; keep one of them'
        )
    return Request(method=method, url=url, headers=headers, body=body, at_most_once=at_most_once)


def parse_url(text: str, *, subject: str = "the endpoint") -> URL:
    """Parse the absolute http(s) URL of a request to build, which messages never quote.

    Raises WorkflowError.
    """
    try:
        url = urls.parse(text.strip())
        valid = url.scheme in {"http", "https"} and bool(url.raw_host) and url.port is not None
    except ValueError:
        valid = False
    if not valid:
        raise configuration_error(f"{subject} is not an absolute http:// or https:// URL")
    return url.with_fragment(None)


def _encode_pairs(members: Mapping[str, Any], subject: str) -> Iterator[tuple[str, str]]:
    for name, value in members.items():
        for item in value if isinstance(value, list) else [value]:
            text = json_values.scalar_to_text(item)
            if text is None:
                raise configuration_error(f'{subject} "{name}" is an object; use text, numbers or a list')
            if item is not None:
                yield name, text


def _encode_body(call: CallHttp) -> tuple[bytes | None, str | None]:
    """Encode the body of a request: text unchanged, a form if the Content-Type says so, else JSON."""
    if not call.has_body:
        return None, None
    declared = next((v for n, v in call.headers.items() if n.lower() == "content-type"), "")
    kind = media_type(declared)
    if isinstance(call.body, multipart.FileContent):
        return call.body.data, call.body.content_type
    if isinstance(call.body, bytes):
        return call.body, "application/octet-stream"
    if isinstance(call.body, str):
        return call.body.encode(), "text/plain; charset=utf-8"
    if kind == "application/x-www-form-urlencoded" and isinstance(call.body, dict):
        return urlencode(list(_encode_pairs(call.body, "field"))).encode(), kind
    if kind == multipart.MEDIA_TYPE and isinstance(call.body, dict):
        return multipart.encode(call.body)
    return json_values.to_json(call.body).encode(), "application/json"


def _check_header(name: str, value: str) -> None:
    if not is_token(name):
        raise configuration_error("the name of a header is not a valid one")
    if name.lower() in FRAMING:
        raise configuration_error(f'header "{name}" is set by the client itself; leave it out')
    if any(c in value for c in "\r\n\0"):
        raise configuration_error(f'the value of header "{name}" holds a line break')
