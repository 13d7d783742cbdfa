"""Tracer of one process: spans with their contexts, exported in batches by a thread of their own.

Created by gateways and workers after they were started, if `settings.read` turns tracing on; the provider is
never shared with a process that forks. Called on the event loop only. Invariants: to start, to end and to
export a span never blocks the loop; every text in a span is redacted; closing takes at most FLUSH_S.

Identifiers of spans that another process must know are derived from the run, and not stored: `derived_span`
of a run and its lease, `derived_trace` of a run that no caller has put into a trace.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)
from opentelemetry.trace import Span as SdkSpan

from iogate import logs, trace_context
from iogate.security.redaction import disguises
from iogate.telemetry import otel_variables
from iogate.telemetry.export import ReportingExporter, SdkLog
from iogate.telemetry.export_session import BoundedSession
from iogate.version import __version__

log = logging.getLogger(__name__)

FLUSH_S: Final = 2.0
"""Longest time that a process waits at its end for the export of its last spans."""
SERVICE: Final = "iogate"
"""Name of the service, unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES gives another one."""
KINDS: Final = {
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "consumer": SpanKind.CONSUMER,
    "producer": SpanKind.PRODUCER,
    "internal": SpanKind.INTERNAL,
}

Attributes = Mapping[str, str | int | bool]


class _Ids(RandomIdGenerator):
    """Generator of random identifiers, of which the next ones may be given."""

    trace_id = span_id = 0

    def generate_trace_id(self) -> int:
        given, self.trace_id = self.trace_id, 0
        return given or super().generate_trace_id()

    def generate_span_id(self) -> int:
        given, self.span_id = self.span_id, 0
        return given or super().generate_span_id()


class Span:
    """A span that was started."""

    __slots__ = ("_redact", "_span", "context")

    def __init__(self, span: SdkSpan, redact: Callable[[str], str], parent: str) -> None:
        self._span = span
        self._redact = redact
        self.context = _text_of(span.get_span_context())
        """Trace context to pass on, in the form of `trace_context`."""
        if parent and not span.is_recording() and not trace_context.is_sampled(parent):
            self.context = parent  # nothing has a span here, as without tracing

    def rename(self, name: str) -> None:
        self._span.update_name(self._redact(name))

    def set(self, name: str, value: str | int | bool) -> None:  # noqa: FBT001 - a value, not a flag
        """Set an attribute of this OpenTelemetry span."""
        self._span.set_attribute(name, self._redact(value) if isinstance(value, str) else value)

    def fail(self, kind: str) -> None:
        """Set the status of this OpenTelemetry span to an error of a kind, with few possible values."""
        self.set("error.type", kind)
        self._span.set_status(Status(StatusCode.ERROR))

    def end(self) -> None:
        self._span.end()


class Tracing:
    """Tracer of one process."""

    def __init__(
        self,
        provider: TracerProvider,
        exporter: ReportingExporter,
        ids: _Ids,
    ) -> None:
        self._provider = provider
        self._exporter = exporter
        self._ids = ids
        self._tracer = provider.get_tracer("iogate", __version__)
        self.redact: Callable[[str], str] = logs.scrub
        """Redacts each text of a span."""

    def start(
        self,
        name: str,
        kind: str,
        *,
        parent: str = "",
        trace_id: int = 0,
        span_id: int = 0,
        links: Sequence[str] = (),
        attributes: Attributes | None = None,
    ) -> Span:
        """Start a span of the tracer below the trace context `parent`, or as the root of a trace.

        `trace_id` and `span_id` are those of the span, or random ones if they are 0; `links` are contexts.
        """
        redact = self.redact
        given = {
            key: redact(value) if isinstance(value, str) else value
            for key, value in (attributes or {}).items()
        }
        context = Context()
        if (above := _context_of(parent)) is not None:
            context = set_span_in_context(NonRecordingSpan(above), context)
        self._ids.trace_id, self._ids.span_id = (0 if above is not None else trace_id), span_id
        span = self._tracer.start_span(
            redact(name),
            context=context,
            kind=KINDS[kind],
            attributes=given,
            links=[Link(linked) for text in links if (linked := _context_of(text)) is not None],
        )
        return Span(span, redact, parent)

    def is_sampled(self, trace_id: int, name: str) -> bool:
        """Tell whether the tracer's sampler chooses the root of a trace."""
        chosen = self._provider.sampler.should_sample(None, trace_id, name)
        return chosen.decision is Decision.RECORD_AND_SAMPLE

    async def close(self) -> None:
        """Export the last spans of the tracer, for at most FLUSH_S; not if the collector is out of reach."""
        self._exporter.closing = self._exporter.failing
        if self._exporter.failing:
            return
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def flush() -> None:
            with contextlib.suppress(Exception):
                self._provider.shutdown()
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(done.set)

        # A daemon: the end of the process does not wait for it.
        threading.Thread(target=flush, name="last spans", daemon=True).start()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(done.wait(), FLUSH_S)
        self._exporter.closing = True


def start(variables: Mapping[str, str]) -> Tracing | None:
    """Create the tracer of this process from `OTEL_…`; None, with a warning, if it cannot be made."""
    logs.hide(disguises(otel_variables.secrets(variables)))
    name, target = otel_variables.endpoint(variables)
    try:
        with _environment(variables):
            exporter = ReportingExporter(OTLPSpanExporter(session=_session(variables)), target)
            processor = BatchSpanProcessor(exporter)
            ids = _Ids()
            provider = TracerProvider(resource=_resource(variables), id_generator=ids, shutdown_on_exit=False)
    except Exception as error:  # noqa: BLE001 - wrong variables must not stop a gateway or a worker
        log.warning(
            "no traces are exported: the variables OTEL_… cannot be used: %s: %s",
            type(error).__name__,
            error,
            extra={"action": "traces.off"},
        )
        return None
    provider.add_span_processor(processor)
    SdkLog(exporter).attach()
    log.info("traces are exported to %s (%s)", target, name, extra={"action": "traces.on"})
    return Tracing(provider, exporter, ids)


def _session(variables: Mapping[str, str]) -> BoundedSession | None:
    """Return the session of the tracer's exporter; None if a plug-in of a variable provides one."""
    return None if any(name.endswith("_CREDENTIAL_PROVIDER") for name in variables) else BoundedSession()


def derived_span(uid: str, token: int) -> int:
    """Derive the identifier of the tracer's span for one lease of a run."""
    return _number(f"{uid}/{token}", 8)


def derived_trace(uid: str) -> int:
    """Derive the identifier of the tracer's trace for a run that nothing has put into a trace."""
    return _number(uid, 16)


def context_text(trace_id: int, span_id: int, *, sampled: bool) -> str:
    """Format the identifiers of a span as the text of a trace context, as the tracer takes it."""
    return f"00-{trace_id:032x}-{span_id:016x}-{'01' if sampled else '00'}"


def _number(text: str, size: int) -> int:
    digest = hashlib.blake2b(text.encode(), digest_size=size, person=b"iogate trace").digest()
    return int.from_bytes(digest, "big") or 1


def _resource(variables: Mapping[str, str]) -> Resource:
    named = variables.get("OTEL_SERVICE_NAME") or "service.name=" in variables.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    )
    own: dict[str, str | int] = {"service.version": __version__, "process.pid": os.getpid()}
    if not named:
        own["service.name"] = SERVICE
    return Resource.create({**own})


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables from the handover while the tracer reads them: no script may inherit them."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _text_of(context: SpanContext) -> str:
    """Format a span context of the OpenTelemetry SDK as text for the tracer's callers."""
    text = f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"
    state = context.trace_state.to_header()
    return f"{text} {state}" if state else text


def _context_of(text: str) -> SpanContext | None:
    """Convert a trace context from the tracer's text form to the OpenTelemetry SDK's; None if empty."""
    if not text:
        return None
    parent, _, state = text.partition(" ")
    _, trace_id, span_id, flags = parent.split("-")
    return SpanContext(
        int(trace_id, 16),
        int(span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(int(flags, 16)),
        trace_state=TraceState.from_header([state]) if state else None,
    )
