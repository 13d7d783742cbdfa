"""Collector of traces: a real OTLP receiver over HTTP, which decodes what it gets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1 import trace_pb2

from tests.http_server import HttpServer

KINDS = {1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}


@dataclass(kw_only=True)
class Seen:
    """A span that was exported."""

    name: str
    kind: str
    trace: str
    id: str
    parent: str
    links: list[str]
    attributes: dict[str, Any]
    failed: bool
    service: str

    @property
    def uid(self) -> Any:
        return self.attributes.get("iogate.run.uid")


def _value(value: Any) -> Any:
    return getattr(value, value.WhichOneof("value"))


@dataclass
class Collector(HttpServer):
    """Receiver of `POST /v1/traces`."""

    spans: list[Seen] = field(default_factory=list)
    raw: bytes = b""
    """Everything that was received, with the headers."""
    headers: list[dict[str, str]] = field(default_factory=list)

    async def respond(self, path: str, headers: dict[str, str], body: bytes) -> bytes | None:
        assert path == "/v1/traces"
        assert headers["content-type"] == "application/x-protobuf"
        self.headers.append(headers)
        self.raw += body
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = {each.key: _value(each.value) for each in group.resource.attributes}
            for scope in group.scope_spans:
                self.spans += [self._seen(span, resource) for span in scope.spans]
        return b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n"

    @staticmethod
    def _seen(span: trace_pb2.Span, resource: dict[str, Any]) -> Seen:
        return Seen(
            name=span.name,
            kind=KINDS[span.kind],
            trace=span.trace_id.hex(),
            id=span.span_id.hex(),
            parent=span.parent_span_id.hex(),
            links=[link.span_id.hex() for link in span.links],
            attributes={each.key: _value(each.value) for each in span.attributes},
            failed=span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
            service=str(resource["service.name"]),
        )

    def of(self, uid: str) -> list[Seen]:
        """Return the spans of a run, in the order of their export."""
        return [span for span in self.spans if span.uid == uid]

    def named(self, uid: str, name: str) -> list[Seen]:
        return [span for span in self.of(uid) if span.name == name]
