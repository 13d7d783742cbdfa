"""Spans of OpenTelemetry, exported by OTLP; the only package that imports OpenTelemetry, an extra.

    otel_variables  variables `OTEL_…` of a process, and whether they turn tracing on
    startup         start of the tracer, also if OpenTelemetry is missing or broken
    export          exporter whose failures are logged once per interval
    export_session  HTTP session that reads little of each response
    tracing         tracer of a process, and its spans

Gateways and workers call `otel_variables.read`, and import `tracing` only if it is on.
"""
