"""Faults of runs for reasons outside their workflow.

Used by `loader` and `executor`. Invariant: a defect of iogate, or data that it cannot read or store, faults
one run and not the worker.
"""

from __future__ import annotations

import logging
from typing import Any

from iogate.errors import WorkflowError
from iogate.store.state_codec import TooDeep
from iogate.worker.runs.run import Run

log = logging.getLogger(__name__)


class RunFault(Exception):
    """Reason to fault a run outside its workflow; `kind` is an error type of the standard."""

    def __init__(self, kind: str, detail: str, title: str | None = None) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.title = title

    def to_json(self) -> dict[str, Any]:
        """Return the error of a run that faults for a reason outside its workflow."""
        return WorkflowError(self.kind, title=self.title, detail=self.detail, instance="/").to_json()


def fault_from(run: Run, failure: str, error: Exception) -> RunFault:
    """Return the fault of a run whose step failed; log a defect of iogate with its traceback."""
    if isinstance(error, TooDeep):
        return RunFault("runtime", str(error), error.title)
    log.error(
        "run %s: %s",
        run.uid,
        failure,
        exc_info=error,
        extra={"action": "run.broken", "uid": run.uid},
    )
    return RunFault("runtime", f"internal error: {failure}: {type(error).__name__}: {error}")
