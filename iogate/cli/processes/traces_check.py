"""Check of the export of traces, for `doctor`."""

from __future__ import annotations

import os
from collections.abc import Iterator

from iogate.cli.processes.doctor_finding import Finding


def check_traces() -> Iterator[Finding]:
    """Check that a command started from this shell can export traces, if its variables turn them on."""
    from iogate.telemetry import otel_variables, startup

    variables = otel_variables.read(os.environ)
    if not variables:
        return
    problem = otel_variables.find_problem(variables) or startup.find_broken_import()
    if problem:
        message, _, hint = problem.partition(": no traces are exported; ")
        yield Finding(
            about="traces", verdict="warning", message=f"{message}: no traces are exported", hint=hint
        )
        return
    name, target = otel_variables.endpoint(variables)
    yield Finding(about="traces", verdict="ok", message=f"exported to {target} ({name})")
