"""Start of the tracer of a process, also where OpenTelemetry is missing or broken.

Called by gateways and workers at their start, and by `doctor`. Invariant: whatever the import of
OpenTelemetry raises stops no process.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from iogate.telemetry import otel_variables

if TYPE_CHECKING:
    from iogate.telemetry.tracing import Tracing

log = logging.getLogger(__name__)


def start(environment: Mapping[str, str]) -> Tracing | None:
    """Start the tracer of this process at startup, if OpenTelemetry is configured and can be imported.

    None unless OpenTelemetry's own variables name a collector; None, with a warning, if it cannot be made.
    """
    variables = otel_variables.read(environment)
    if not variables or otel_variables.find_problem(variables):
        return None  # the parent has logged the problem
    if problem := find_broken_import():
        log.warning(problem, extra={"action": "traces.off"})
        return None
    from iogate.telemetry import tracing  # noqa: PLC0415 - few processes export traces

    return tracing.start(variables)


def find_broken_import() -> str:
    """Import OpenTelemetry at startup; return why that is impossible and what to do, else an empty text."""
    try:
        from iogate.telemetry import tracing  # noqa: F401, PLC0415 - few processes export traces
    except Exception as error:  # noqa: BLE001 - a broken package may raise anything
        return (
            f"OpenTelemetry cannot be imported ({type(error).__name__}: {error}): no traces are exported; "
            'install it again with: pip install --force-reinstall "iogate[otel]"'
        )
    return ""
