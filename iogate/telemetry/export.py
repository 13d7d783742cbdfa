"""Exporter of spans that reports its failures once per interval.

Created by `tracing`. Its methods are called in the thread of the batch processor, never on an event loop.
Invariants: a collector that is out of reach costs only memory of the bounded queue and one log record per
interval; what the SDK logs reaches the log of iogate only through this module.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from iogate.messages import shorten

log = logging.getLogger(__name__)

INTERVAL_S: Final = 300.0
"""Shortest time between two records about failed exports of one process."""
LONGEST_REASON: Final = 400
_LOGGERS: Final = (
    "opentelemetry.exporter",
    "opentelemetry.sdk._shared_internal",
    "opentelemetry.sdk.trace.export",
    "urllib3",
)
"""Loggers of exporters, of the batch processor in old and new releases, and of the HTTP client."""


class ReportingExporter(SpanExporter):
    """Exporter that passes batches on, counts those that are lost, and logs both beginnings and ends."""

    def __init__(
        self, inner: SpanExporter, target: str, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Create an exporter of spans; `target` names the collector in log records, without credentials."""
        self._inner = inner
        self._target = target
        self._monotonic = monotonic
        self._lost = 0
        self._logged_s = -INTERVAL_S
        self.failing = False
        """Whether the last export failed, or one that is under way is being repeated."""
        self.closing = False
        """Whether the process ends, and nothing is logged any more."""
        self._reason = ""
        self._warned = False
        """Whether a record tells of failures, so that one about their end is due."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export a batch of spans; log its loss, at most once per interval."""
        self._reason = ""
        try:
            result = self._inner.export(spans)
        except Exception as error:  # noqa: BLE001 - an exporter must not end the thread
            self._reason = f"{type(error).__name__}: {error}"
            result = SpanExportResult.FAILURE
        if result is SpanExportResult.SUCCESS:
            if self.failing:
                self._log_recovery()
            self.failing = False
        else:
            self._lost += len(spans)
            self.note(self._reason or "the collector refused them")
        return result

    def note(self, reason: str) -> None:
        """Take note of the reason why an export of spans failed; log it if the last record is old enough."""
        self.failing, self._reason = True, reason
        now_s = self._monotonic()
        if self.closing or now_s - self._logged_s < INTERVAL_S:
            return
        self._logged_s, self._warned = now_s, True
        lost = f"; {self._lost} spans are lost" if self._lost else ""
        log.warning(
            "traces cannot be exported to %s: %s%s; runs and calls go on without",
            self._target,
            shorten(" ".join(reason.split()), LONGEST_REASON),
            lost,
            extra={"action": "traces.lost"},
        )

    def _log_recovery(self) -> None:
        if self._warned and not self.closing:
            log.info(
                "traces are exported to %s again; %d spans were lost",
                self._target,
                self._lost,
                extra={"action": "traces.exported"},
            )
        self._lost, self._warned = 0, False

    def shutdown(self) -> None:
        """Close the connections of the exporter of spans, and stop repeated tries."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Flush the exporter of spans, which buffers nothing."""
        return self._inner.force_flush(timeout_millis)


class SdkLog(logging.Handler):
    """Handler of everything that OpenTelemetry logs: reasons of failed exports, in place of many records.

    It drops all other records: callers can cause some, for example with an invalid `tracestate`.
    """

    def __init__(self, exporter: ReportingExporter) -> None:
        super().__init__(logging.WARNING)
        self._exporter = exporter

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a message of OpenTelemetry about an export of spans on as the reason why it failed."""
        if record.name.startswith(_LOGGERS):
            self._exporter.note(record.getMessage())

    def attach(self) -> None:
        """Become the only log handler of OpenTelemetry, for failed exports, and of its HTTP client."""
        for name in ("opentelemetry", "urllib3"):
            logger = logging.getLogger(name)
            logger.handlers[:] = [self]
            logger.propagate = False
