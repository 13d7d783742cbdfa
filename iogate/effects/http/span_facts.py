"""Facts of an HTTP call for its span, by the semantic conventions of OpenTelemetry.

Called by `http_calls` if tracing is on. Invariant: a span has the address as the author wrote it, without
query, credentials, data and what looks like a key; that of a computed address has only its server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iogate.effects.http.target_names import redacted_path

if TYPE_CHECKING:
    from iogate.effects.http.request import Request
    from iogate.engine.commands import CallHttp
    from iogate.telemetry.tracing import Span


def describe_request(span: Span, call: CallHttp, request: Request) -> None:
    """Set the name and the attributes of the span of an HTTP call that is about to be made."""
    method, url = request.method, request.url
    span.set("http.request.method", method)
    span.set("server.address", url.host or "")
    if url.port is not None:
        span.set("server.port", url.port)
    if "${" in call.address or not (path := redacted_path(call.address)):
        span.rename(method)
        return
    span.rename(f"{method} {path}")
    span.set("url.template", path)
    if "{" not in path:
        span.set("url.full", f"{url.origin()}{path}")
