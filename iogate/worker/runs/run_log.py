"""Log lines about runs of a worker that stop or fault.

Used by `executor`. Invariant: however many runs fault, the log of their errors stays readable.
"""

from __future__ import annotations

import logging

from iogate import logs
from iogate.worker.runs.run import Run

log = logging.getLogger(__name__)


class RunLog:
    """Log lines about runs that stop or fault; of runs that fault, not more than a reader can follow."""

    def __init__(self) -> None:
        self._faults = logs.Throttle()

    def lost(self, run: Run, reason: str) -> None:
        """Log that a run stops without a fault here, since another worker may have its lease."""
        log.warning("run %s: lease lost: %s", run.uid, reason, extra={"action": "lease.lost", "uid": run.uid})

    def refused(self, run: Run, reason: str) -> None:
        """Log that a run faults, since the store accepts other commits but not its."""
        log.error(
            "run %s: the store refused the commit: %s",
            run.uid,
            reason,
            extra={"action": "commit.refused", "uid": run.uid},
        )

    def left_out(self, run: Run) -> None:
        """Log that runs of a schedule do not start for events, since too many of them are waiting."""
        log.warning(
            "%s: no runs start for events: too many runs of the schedule are waiting",
            run.api,
            extra={"action": "schedule.failed", "api": run.api},
        )

    def faulted(self, run: Run) -> None:
        """Log the error of a run that has faulted, unless too many did at once."""
        if not self._faults.passes():
            return
        error, claim = run.state.error or {}, run.claim
        facts = {
            "action": "run.faulted",
            "uid": run.uid,
            "api": claim.api,
            "workflow": claim.workflow,
            "error": str(error.get("type"))[:200],
            "status": error.get("status"),
            "task": str(error.get("instance") or "/")[:200],
        }
        if left_out := self._faults.left_out():
            facts["left_out"] = left_out
        title = str(error.get("title") or error.get("type"))[:200]
        log.warning("run %s faulted: %s", run.uid, title, extra=facts)
