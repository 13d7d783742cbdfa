"""Spans of the runs of a worker: one for each lease of a run, and one for each effect, event and callback.

Called by the executor, the effects and the callbacks if tracing is on. The spans of a run are below the trace
context that is kept on it; a run without one, such as that of a schedule, is a trace of its own. Invariants:
spans have names, places and outcomes, never data; nothing here decides how a run goes on.

    call (gateway) ──▶ lease 1 ──▶ effect, effect, event
                  └──▶ lease 2, linked to lease 1 ──▶ effect, child run ──▶ …
                  └──▶ callback
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

import msgspec

from iogate import trace_context
from iogate.engine.commands import (
    CallFunction,
    CallHttp,
    CallOpenApi,
    Emit,
    Perform,
    Performed,
    RunContainer,
    RunProcess,
)
from iogate.errors import STANDARD_TYPES
from iogate.messages import shorten
from iogate.store.revisions.due_schedules import LIVE_REVISION
from iogate.telemetry.tracing import context_text, derived_span, derived_trace

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from iogate.engine.commands import Effect
    from iogate.store.runs.claims import Claim
    from iogate.store.runs.views import RunView
    from iogate.telemetry.tracing import Span, Tracing
    from iogate.worker.runs.run import Run

EMITTED: Final = 1_000
"""Events of one commit that get a span each."""
CANCELLED: Final = "cancelled"
LOST: Final = "lease_lost"
LONGEST_KIND: Final = 120


class RunSpans:
    """Spans of the runs of one worker."""

    def __init__(self, tracing: Tracing, *, redact: Callable[[str], str]) -> None:
        tracing.redact = redact
        self._tracing = tracing
        self._leases: dict[str, Span] = {}
        """Span of each run that the worker holds, by uid."""
        self._emits: dict[str, list[Emit]] = {}
        """Events that the next commit of a run publishes."""

    # Leases.

    def begin(self, claim: Claim) -> Claim:
        """Start the span of a lease; return the claim with its context, for effects and children."""
        if claim.forged or (claim.revision == LIVE_REVISION and not claim.depth):
            # The run of a subscription never ends: each run that it starts is a trace of its own.
            return claim
        name = f"run {claim.workflow}"
        parent, trace_id = claim.trace, 0
        if not parent:
            trace_id = derived_trace(claim.uid)
            if claim.token > 1:
                first = derived_span(claim.uid, 1)
                parent = context_text(trace_id, first, sampled=self._tracing.is_sampled(trace_id, name))
        links = []
        if claim.token > 1:
            trace = parent.split("-")[1]
            before = derived_span(claim.uid, claim.token - 1)
            links = [context_text(int(trace, 16), before, sampled=trace_context.is_sampled(parent))]
        span = self._tracing.start(
            name,
            "consumer",
            parent=parent,
            trace_id=trace_id,
            span_id=derived_span(claim.uid, claim.token),
            links=links,
            attributes={
                "iogate.run.uid": claim.uid,
                "iogate.run.attempt": claim.attempt,
                "iogate.run.lease": claim.token,
                "iogate.api": claim.api,
                "iogate.workflow": claim.workflow,
                "iogate.revision": claim.revision,
            },
        )
        self.release(claim.uid)
        self._leases[claim.uid] = span
        return msgspec.structs.replace(claim, trace=span.context)

    def release(self, uid: str, reason: str = LOST) -> None:
        """End the span of a lease that ends without a commit."""
        self._emits.pop(uid, None)
        if (span := self._leases.pop(uid, None)) is not None:
            span.fail(reason)
            span.end()

    # Effects.

    def effect(self, claim: Claim, perform: Perform) -> Span:
        """Start the span of an effect."""
        name, kind, more = _describe(perform.effect)
        return self._tracing.start(
            name,
            kind,
            parent=claim.trace,
            attributes={
                "iogate.run.uid": claim.uid,
                "iogate.api": claim.api,
                "iogate.workflow": claim.workflow,
                "iogate.task": perform.reference,
                "iogate.idempotency_key": perform.idempotency_key,
                **more,
            },
        )

    @staticmethod
    def finish(span: Span, performed: Performed | None, *, missing: str = CANCELLED) -> None:
        """End the span of an effect with its outcome, or with the kind of error that left none."""
        if performed is None:
            span.fail(missing)
        elif (error := performed.error) is not None:
            code = (error.process or {}).get("code")
            if isinstance(code, int):
                span.set("process.exit.code", code)
            answered = performed.definite and error.response is not None
            span.fail(str(error.status) if answered else kind_of(error.to_json()))
        span.end()

    def emitting(self, uid: str, emits: Iterable[Emit]) -> None:
        """Take note, for their spans, of events that the next commit of a run publishes."""
        self._emits.setdefault(uid, []).extend(emits)

    def committed(self, run: Run) -> None:
        """Make the spans of the events that a commit has published; end the lease's if it lets the run go."""
        claim = run.claim
        for emit in self._emits.pop(run.uid, ())[:EMITTED]:
            event = emit.event
            self._tracing.start(
                f"emit {event['type']}",
                "producer",
                parent=claim.trace,
                attributes={
                    "iogate.run.uid": claim.uid,
                    "iogate.api": claim.api,
                    "iogate.workflow": claim.workflow,
                    "iogate.task": emit.reference,
                    "cloudevents.event_id": event["id"],
                    "cloudevents.event_source": event["source"],
                    "cloudevents.event_type": event["type"],
                },
            ).end()
        if run.leaving:
            self._left(run)

    def _left(self, run: Run) -> None:
        """End the span of a lease whose last commit was applied."""
        span = self._leases.pop(run.uid, None)
        if span is None:
            return
        if run.committing == "end":
            status = run.state.status
            span.set("iogate.run.status", status)
            if status == "faulted":
                span.fail(kind_of(run.state.error or {}))
        else:
            span.set("iogate.run.status", "waiting" if run.committing == "park" else "pending")
        span.end()

    # Callbacks.

    def callback(self, run: RunView, number: int) -> Span:
        """Start the span of a try of a callback, below the context that is kept on the run."""
        parent, _, state = run.trace.partition(" ")
        context = trace_context.read(parent.encode(), state.encode())  # the view has not verified its seal
        trace_id = 0 if context else derived_trace(run.uid)
        if not context:
            sampled = self._tracing.is_sampled(trace_id, "callback")
            context = context_text(trace_id, derived_span(run.uid, 1), sampled=sampled)
        return self._tracing.start(
            "callback",
            "client",
            parent=context,
            attributes={
                "iogate.run.uid": run.uid,
                "iogate.run.status": run.status,
                "iogate.api": run.api,
                "iogate.workflow": run.workflow,
                "iogate.callback.try": number,
            },
        )


def kind_of(error: Mapping[str, Any]) -> str:
    """Return the kind of an error for a span: the last part of a standard type, or the author's type."""
    kind = str(error.get("type") or "runtime")
    return kind.rpartition("/")[2] if kind in STANDARD_TYPES else shorten(kind, LONGEST_KIND)


def _describe(effect: Effect) -> tuple[str, str, dict[str, str | int | bool]]:
    """Return name, kind and attributes of the span of an effect, without its arguments."""
    match effect:
        case CallHttp(method=method):
            return method.upper(), "client", {}
        case CallOpenApi(name=name):
            return f"call {name}" if name else "call openapi", "client", {}
        case RunProcess(kind="shell"):
            return "run shell", "internal", {}
        case RunProcess(language=language):
            return f"run script {language}", "internal", {}
        case RunContainer(image=image):
            return "run container", "internal", {"container.image.name": image}
        case CallFunction(name=name, version=version):
            return f"call {name}:{version}", "internal", {"iogate.function": f"{name}:{version}"}
