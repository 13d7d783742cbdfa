"""Spans of OpenTelemetry, exported by OTLP; the only package that imports OpenTelemetry, an extra.

    settings    variables `OTEL_…` of a process, and whether they turn tracing on
    export      exporter whose failures are logged once per interval
    session     HTTP session that reads little of each response
    tracing     tracer of a process, and its spans

Gateways and workers call `settings.read`, and import `tracing` only if it is on.
"""
