"""Failures of the export are logged once per interval, and never raised."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk.trace", reason="the extra otel is not installed")

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import TraceState

from iogate.telemetry import tracing
from iogate.telemetry.export import INTERVAL_S, ReportingExporter, SdkLog


class Inner(SpanExporter):
    outcome: SpanExportResult | Exception = SpanExportResult.SUCCESS

    def export(self, _: Sequence[ReadableSpan]) -> SpanExportResult:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


def test_a_failure_is_logged_once_per_interval(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    now_s = [1000.0]
    inner = Inner()
    exporter = ReportingExporter(inner, "http://collector:4318", monotonic=lambda: now_s[0])
    batch: Any = [object()] * 3
    assert exporter.export(batch) is SpanExportResult.SUCCESS
    inner.outcome = RuntimeError("no route\nto host")
    for _ in range(5):
        assert exporter.export(batch) is SpanExportResult.FAILURE
    now_s[0] += INTERVAL_S
    inner.outcome = SpanExportResult.FAILURE
    exporter.export(batch)
    failing = [exporter.failing]
    inner.outcome = SpanExportResult.SUCCESS
    exporter.export(batch)
    exporter.export(batch)
    assert [*failing, exporter.failing] == [True, False]
    failed = "traces cannot be exported to http://collector:4318"
    assert [record.getMessage() for record in caplog.records] == [
        f"{failed}: RuntimeError: no route to host; 3 spans are lost; runs and calls go on without",
        f"{failed}: the collector refused them; 18 spans are lost; runs and calls go on without",
        "traces are exported to http://collector:4318 again; 18 spans were lost",
    ]


def test_only_records_about_exports_are_reasons_of_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    """Any caller causes another one with an invalid `tracestate`."""
    exporter = ReportingExporter(Inner(), "http://collector:4318")
    SdkLog(exporter).attach()
    assert len(TraceState.from_header(["no member of a list"])) == 0
    logging.getLogger("opentelemetry.sdk.trace").warning("Setting attribute on ended span.")
    assert (exporter.failing, caplog.messages) == (False, [])
    logging.getLogger("opentelemetry.sdk._shared_internal").warning("Queue full, dropping %s.", "Span")
    assert exporter.failing
    failed = "traces cannot be exported to http://collector:4318"
    assert caplog.messages == [f"{failed}: Queue full, dropping Span.; runs and calls go on without"]


def test_wrong_variables_stop_no_process(caplog: pytest.LogCaptureFixture) -> None:
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_BSP_SCHEDULE_DELAY": "-1"}
    assert tracing.start(variables) is None
    (record,) = caplog.records
    assert record.getMessage() == (
        "no traces are exported: the variables OTEL_… cannot be used: "
        "ValueError: schedule_delay_millis must be positive."
    )
    assert not [name for name in os.environ if name.startswith("OTEL_BSP")], "scripts inherit none of them"


def test_identifiers_follow_from_the_run() -> None:
    assert tracing.derived_span("17", 2) == tracing.derived_span("17", 2) != tracing.derived_span("17", 1)
    assert 0 < tracing.derived_span("17", 2) < 2**64
    assert 0 < tracing.derived_trace("17") < 2**128
    assert tracing.context_text(1, 2, sampled=False) == f"00-{'0' * 31}1-{'0' * 15}2-00"
